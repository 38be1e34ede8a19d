//! Closes by FIN.

use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use super::error::{Context, Result, ScenarioError};
use finwait_core::TcpState::{Close, Closing, Established, FinWait1, FinWait2, SynRecv, SynSent};
use finwait_core::record::{CloseKind, FirstCloser, LocalCause, Role, Successor, Waves};
use socket2::{Domain, Socket, Type};

use super::made::{Fact, Made, MadeConnection, MadeSide};
use super::sides::{ACTIVE, Orderly, PASSIVE, client_side, server_side};
use super::stage::{
    Listening, Pair, Stage, answer_end, at_once, connect_socket, fill, pass, read_to_end, shut_send,
};

/// Payload from the client to the server, and back.
const REQUEST: usize = 4;
const REPLY: usize = 6;

/// Request, reply, FIN by the client, answered at once.
pub(super) fn client_first(stage: &Stage<'_>, name: &'static str) -> Result<Made> {
    let (listening, pair) = stage.one_pair()?;
    client_first_over(stage, name, listening, pair)
}

pub(super) fn client_first_over(
    stage: &Stage<'_>,
    name: &'static str,
    listening: Listening,
    pair: Pair,
) -> Result<Made> {
    let Pair { client, server, local, remote } = pair;
    exchange(&client, &server)?;
    let quick = close_both(stage.client(), client, stage.server(), server)?;
    let (mut mine, mut theirs) = (client_side(stage, &ACTIVE), server_side(&PASSIVE));
    orderly(true, quick).describe(stage, &mut mine, &mut theirs);
    stage.single(name, listening, (local, remote), (mine, theirs))
}

pub(super) fn server_first(stage: &Stage<'_>, name: &'static str) -> Result<Made> {
    let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
    exchange(&client, &server)?;
    let quick = close_both(stage.server(), server, stage.client(), client)?;
    let (mut mine, mut theirs) = (client_side(stage, &PASSIVE), server_side(&ACTIVE));
    orderly(false, quick).describe(stage, &mut mine, &mut theirs);
    stage.single(name, listening, (local, remote), (mine, theirs))
}

pub(super) fn slow_server(stage: &Stage<'_>, name: &'static str) -> Result<Made> {
    let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
    exchange(&client, &server)?;
    stage.client().close(client)?;
    // The delayed acknowledgement ends FIN_WAIT1; the socket is gone then, its mini-socket waits.
    stage.wait_for(local, remote, FinWait2)?;
    stage.server().close(server)?;
    let (mut mine, mut theirs) = (client_side(stage, &ACTIVE), server_side(&PASSIVE));
    orderly(true, false).describe(stage, &mut mine, &mut theirs);
    theirs.waves = Fact::Shown(Waves::Four);
    stage.single(name, listening, (local, remote), (mine, theirs))
}

pub(super) fn half_close(stage: &Stage<'_>, name: &'static str) -> Result<Made> {
    let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
    pass(&client, &server, REQUEST)?;
    let client = shut_send(stage.client(), client)?;
    read_to_end(&server)?;
    // The reply acknowledges the FIN, so the server's own FIN is another segment.
    pass(&server, &client, REPLY)?;
    stage.server().close(server)?;
    read_to_end(&client)?;
    stage.client().close(client)?;
    let (mut mine, mut theirs) = (client_side(stage, &ACTIVE), server_side(&PASSIVE));
    let facts = Orderly {
        waves: Fact::Shown(Waves::Four),
        successor: Fact::Shown(Successor::TimeWait),
        ..orderly(true, false)
    };
    facts.describe(stage, &mut mine, &mut theirs);
    mine.cause = Fact::True(LocalCause::Shutdown);
    stage.single(name, listening, (local, remote), (mine, theirs))
}

pub(super) fn shutdown_then_close(stage: &Stage<'_>, name: &'static str) -> Result<Made> {
    let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
    exchange(&client, &server)?;
    let client = shut_send(stage.client(), client)?;
    stage.wait_for(local, remote, FinWait2)?;
    stage.client().close(client)?;
    stage.server().close(server)?;
    let mut mine = client_side(stage, &[FinWait1, FinWait2, FinWait2, Close]);
    let mut theirs = server_side(&PASSIVE);
    orderly(true, false).describe(stage, &mut mine, &mut theirs);
    mine.cause = Fact::True(LocalCause::Shutdown);
    theirs.waves = Fact::Shown(Waves::Four);
    stage.single(name, listening, (local, remote), (mine, theirs))
}

pub(super) fn unsent_data(stage: &Stage<'_>, name: &'static str) -> Result<Made> {
    let (listening, pair) = narrow_pair(stage)?;
    let Pair { client, server, local, remote } = pair;
    let sent = fill(&client)?;
    stage.client().close(client)?;
    let received = stage.server().run(move || {
        let received = read_to_end(&server)?;
        drop(server);
        Ok(received)
    })?;
    if sent != received {
        return Err(ScenarioError::unexpected(format!("sent {sent} bytes, received {received}")));
    }
    let (mut mine, mut theirs) = (client_side(stage, &ACTIVE), server_side(&PASSIVE));
    // Whether the FIN was acknowledged with the data before it or on the server's own is the kernel's choice.
    let facts = Orderly {
        client_first: true,
        sent,
        received: 0,
        waves: Fact::Open,
        successor: Fact::True(Successor::TimeWait),
    };
    facts.describe(stage, &mut mine, &mut theirs);
    mine.unsent = true;
    stage.single(name, listening, (local, remote), (mine, theirs))
}

/// The client's FIN waits behind unsent data; the server's overtakes it.
pub(super) fn crossed(stage: &Stage<'_>, name: &'static str) -> Result<Made> {
    let (listening, Pair { client, server, local, remote }) = narrow_pair(stage)?;
    let sent = fill(&client)?;
    stage.client().close(client)?;
    let server = shut_send(stage.server(), server)?;
    stage.wait_for(local, remote, Closing)?;
    let received = stage.server().run(move || {
        let received = read_to_end(&server)?;
        drop(server);
        Ok(received)
    })?;
    if sent != received {
        return Err(ScenarioError::unexpected(format!("sent {sent} bytes, received {received}")));
    }
    let mut mine = client_side(stage, &[FinWait1, Closing, Close]);
    mine.kind = Fact::Shown(CloseKind::Simultaneous);
    // Data was still ahead of our FIN when the server's came.
    mine.first_closer = Fact::Shown(FirstCloser::Peer);
    mine.closer = Fact::Shown(stage.client().owner());
    mine.successor = Fact::Shown(Successor::TimeWait);
    mine.bytes_sent = Fact::Shown(sent);
    mine.bytes_received = Fact::Shown(0);
    mine.unsent = true;
    // The server's FIN was acknowledged before the client's came: for it, the client answered.
    let mut theirs = server_side(&ACTIVE);
    theirs.kind = Fact::Shown(CloseKind::Active);
    theirs.cause = Fact::True(LocalCause::Shutdown);
    theirs.closer = Fact::Shown(stage.server().owner());
    theirs.successor = Fact::Shown(Successor::TimeWait);
    theirs.bytes_sent = Fact::Shown(0);
    theirs.bytes_received = Fact::Shown(sent);
    stage.single(name, listening, (local, remote), (mine, theirs))
}

pub(super) fn self_connect(stage: &Stage<'_>, name: &'static str) -> Result<Made> {
    let at = SocketAddr::new(stage.address(), 0);
    let (socket, at) = stage.client().run(move || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&at.into())?;
        let at = socket.local_addr()?.as_socket().context("no IP address")?;
        Ok((connect_socket(socket, at)?, at))
    })?;
    stage.client().close(socket)?;
    stage.settle(at, at)?;
    let states = [Close, SynSent, SynRecv, Established, FinWait1, Closing, Close];
    let mut side = MadeSide::through(&states);
    side.role = Fact::Shown(Role::OpenedBoth);
    side.opener = Fact::Shown(stage.client().owner());
    side.closer = Fact::Shown(stage.client().owner());
    side.kind = Fact::Shown(CloseKind::Simultaneous);
    side.first_closer = Fact::Shown(FirstCloser::Both);
    side.successor = Fact::Shown(Successor::TimeWait);
    let connection = MadeConnection { name, local: at, remote: at, client: side, server: None };
    Ok(Made { connections: vec![connection], listeners: Vec::new() })
}

/// A connection whose server takes little before it reads, and whose client keeps much.
fn narrow_pair(stage: &Stage<'_>) -> Result<(Listening, Pair)> {
    const NARROW: usize = 4096;
    const WIDE: usize = 256 * 1024;
    let at = SocketAddr::new(stage.address(), 0);
    let listening = stage.listen_with(at, 16, Some(NARROW))?;
    let to = listening.address;
    let client = stage.client().run(move || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_send_buffer_size(WIDE)?;
        connect_socket(socket, to)
    })?;
    let pair = stage.pair_of(client, &listening)?;
    Ok((listening, pair))
}

fn exchange(client: &TcpStream, server: &TcpStream) -> Result<()> {
    pass(client, server, REQUEST)?;
    pass(server, client, REPLY)
}

/// `first` closes, `second` waits in read() and closes at the end. Tells whether the answer was surely at once.
fn close_both(
    first: &super::Actor,
    first_stream: TcpStream,
    second: &super::Actor,
    second_stream: TcpStream,
) -> Result<bool> {
    let answer = answer_end(second, second_stream);
    let start = Instant::now();
    first.close(first_stream)?;
    answer.wait()?;
    Ok(at_once(start))
}

/// An orderly close after [`exchange`]. One that was answered at once takes three segments and ends in TIME_WAIT in
/// plain sight; another may do so behind a mini-socket.
fn orderly(client_first: bool, quick: bool) -> Orderly {
    let (waves, successor) = if quick {
        (Fact::Shown(Waves::Three), Fact::Shown(Successor::TimeWait))
    } else {
        (Fact::Open, Fact::True(Successor::TimeWait))
    };
    Orderly { client_first, sent: REQUEST as u64, received: REPLY as u64, waves, successor }
}
