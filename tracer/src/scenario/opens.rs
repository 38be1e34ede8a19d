//! Ways to open, or to fail to; and addresses of other families.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::error::{Context, Result, ScenarioError};
use finwait_core::TcpState::SynSent;
use finwait_core::record::CloseKind;
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};

use super::closes::client_first_over;
use super::made::{Fact, Made, MadeConnection};
use super::sides::unanswered;
use super::stage::{Stage, connect, connect_socket};

/// A port that is taken, so that nobody else listens there, but not listened at.
fn silent_port(stage: &Stage<'_>) -> Result<(Socket, SocketAddr)> {
    let at = SocketAddr::new(stage.address(), 0);
    stage.server().run(move || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&at.into())?;
        let address = socket.local_addr()?.as_socket().context("no IP address")?;
        Ok((socket, address))
    })
}

pub(super) fn refused(stage: &Stage<'_>, name: &'static str) -> Result<Made> {
    let (holder, remote) = silent_port(stage)?;
    let from = SocketAddr::new(stage.address(), 0);
    let (socket, local) = stage.client().run(move || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&from.into())?;
        let local = socket.local_addr()?.as_socket().context("no IP address")?;
        expect_refusal(&socket, remote)?;
        Ok((socket, local))
    })?;
    stage.client().close(socket)?;
    drop(holder);
    let client = unanswered(stage, CloseKind::Refused);
    let connection = MadeConnection { name, local, remote, client, server: None };
    Ok(Made { connections: vec![connection], listeners: Vec::new() })
}

fn expect_refusal(socket: &Socket, remote: SocketAddr) -> Result<()> {
    match socket.connect(&remote.into()) {
        Err(error) if error.raw_os_error() == Some(Errno::CONNREFUSED.raw_os_error()) => Ok(()),
        Err(error) => Err(error).context("a connect that should be refused"),
        Ok(()) => Err(ScenarioError::unexpected(format!(
            "a connect to {remote} was answered, though nobody listens there"
        ))),
    }
}

/// A full queue of connections to accept makes the listener's kernel drop the next SYN.
pub(super) fn cancelled(stage: &Stage<'_>, name: &'static str) -> Result<Made> {
    let listening = stage.listen_with(SocketAddr::new(stage.address(), 0), 0, None)?;
    let to = listening.address;
    let occupant = stage.client().run(move || connect(to))?;
    let (socket, local) = stage.client().run(move || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&to.into()) {
            Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {}
            other => {
                return Err(ScenarioError::unexpected(format!(
                    "a connect that should hang ended: {other:?}"
                )));
            }
        }
        let local = socket.local_addr()?.as_socket().context("no IP address")?;
        Ok((socket, local))
    })?;
    stage.wait_for(local, to, SynSent)?;
    stage.client().close(socket)?;
    stage.settle(local, to)?;
    let mut client = unanswered(stage, CloseKind::ConnectCancelled);
    client.closer = Fact::True(stage.client().owner());
    // The connection that filled the queue is accepted after all.
    let pair = stage.pair_of(occupant, &listening)?;
    let mut made = client_first_over(stage, name, listening, pair)?;
    made.connections.push(MadeConnection { name, local, remote: to, client, server: None });
    Ok(made)
}

/// The kernel keeps the socket's cookie, and shows the first connection's port when the second begins.
pub(super) fn reconnect(stage: &Stage<'_>, name: &'static str) -> Result<Made> {
    let (holder, nowhere) = silent_port(stage)?;
    let listening = stage.listen()?;
    let to = listening.address;
    let client = stage.client().run(move || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        expect_refusal(&socket, nowhere)?;
        connect_socket(socket, to)
    })?;
    let pair = stage.pair_of(client, &listening)?;
    let mut made = client_first_over(stage, name, listening, pair)?;
    drop(holder);
    // The kernel chose the source, 127.0.0.1, and a port that it has taken back.
    let local = SocketAddr::new(IpAddr::from([127, 0, 0, 1]), 0);
    let client = unanswered(stage, CloseKind::Refused);
    made.connections.insert(0, MadeConnection { name, local, remote: nowhere, client, server: None });
    Ok(made)
}

pub(super) fn ipv6(stage: &Stage<'_>, name: &'static str) -> Result<Made> {
    let listening = stage.listen_with(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 0), 16, None)?;
    let pair = stage.pair(&listening)?;
    client_first_over(stage, name, listening, pair)
}

pub(super) fn mapped(stage: &Stage<'_>, name: &'static str) -> Result<Made> {
    let IpAddr::V4(address) = stage.address() else {
        return Err(ScenarioError::unexpected("no IPv4 address to map"));
    };
    let listening = stage.listen_with(SocketAddr::new(address.to_ipv6_mapped().into(), 0), 16, None)?;
    let pair = stage.pair(&listening)?;
    client_first_over(stage, name, listening, pair)
}

pub(super) fn dual_stack(stage: &Stage<'_>, name: &'static str) -> Result<Made> {
    let listening = stage.listen_with(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0), 16, None)?;
    let to = SocketAddr::new(stage.address(), listening.address.port());
    let client = stage.client().run(move || connect(to))?;
    let pair = stage.pair_of(client, &listening)?;
    client_first_over(stage, name, listening, pair)
}
