//! Closes by RST: by the application, by an administrator, by the kernel for a child that nobody accepts.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use finwait_core::TcpState::{Close, CloseWait, FinWait2};
use finwait_core::record::{
    CloseKind, FirstCloser, LocalCause, ResetCause, ResetDirection, Successor, Waves,
};
use rustix::io::Errno;
use rustix::net::connect_unspec;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tracer::scenario::sides::{ACTIVE, client_side, reset_received, reset_sent, server_side};
use tracer::scenario::stage::{Pair, connect, until};
use tracer::scenario::{Actor, Context, Fact, Made, MadeReset, Result, ScenarioError, SideName};

use super::{exchange, orderly, single};
use crate::support::{not_made, on_loopback, over_link};
use crate::wire::tap::Way;

#[test]
fn disconnect_by_af_unspec() {
    let run = on_loopback(|stage| {
        let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
        exchange(&client, &server)?;
        let client = stage.client().run(move || {
            connect_unspec(&client)?;
            Ok(client)
        })?;
        stage.settle(local, remote)?;
        stage.client().close(client)?;
        stage.server().close(server)?;
        let mine =
            reset_sent(client_side(stage, &[Close]), stage.client().owner(), ResetCause::Disconnect, 0);
        let theirs = reset_received(server_side(&[Close]));
        single(stage, "disconnect", listening, (local, remote), (mine, theirs))
    });
    let (client, server) = (run.assert_whole().client(0), run.server(0));
    assert_eq!((client.error.value(), server.error.value()), (Some(&0), Some(&104)));
}

#[test]
fn server_closes_with_unread_data() {
    let run = over_link(|stage, _| {
        let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
        exchange(&client, &server)?;
        (&client).write_all(b"0123456789")?;
        let mut seen = [0; 10];
        until("data to leave unread", || Ok((server.peek(&mut seen)? == 10).then_some(())))?;
        stage.server().close(server)?;
        stage.settle(local, remote)?;
        stage.client().close(client)?;
        let mine = reset_received(client_side(stage, &[Close]));
        let theirs = reset_sent(server_side(&[Close]), stage.server().owner(), ResetCause::UnreadData, 10);
        single(stage, "server with unread data", listening, (local, remote), (mine, theirs))
    });
    let (client, server) = (run.assert_whole().client(0), run.server(0));
    assert_eq!((client.error.value(), server.error.value()), (Some(&104), Some(&0)));
}

/// The peer's FIN has come and is acknowledged; what came before it is not read.
#[test]
fn close_with_unread_data_after_the_peers_fin() {
    let run = on_loopback(|stage| {
        let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
        exchange(&client, &server)?;
        stage.client().run(move || {
            (&client).write_all(b"0123456789")?;
            drop(client);
            Ok(())
        })?;
        stage.wait_for(local, remote, FinWait2)?;
        stage.server().close(server)?;
        stage.settle(local, remote)?;
        let cause = ResetCause::UnreadData;
        let mut theirs = reset_sent(server_side(&[CloseWait, Close]), stage.server().owner(), cause, 10);
        theirs.first_closer = Fact::Shown(FirstCloser::Peer);
        let mut mine = client_side(stage, &ACTIVE);
        mine.kind = Fact::Shown(CloseKind::Active);
        mine.first_closer = Fact::Shown(FirstCloser::Local);
        mine.closer = Fact::Shown(stage.client().owner());
        single(stage, "unread data after FIN", listening, (local, remote), (mine, theirs))
    });
    run.assert_whole();
    assert!(run.wire(0, SideName::Client).reset(Way::Received));
}

/// The listener closes with a child in its queue that had its peer's FIN already.
#[test]
fn child_never_accepted_dropped_after_the_peers_fin() {
    let run = on_loopback(|stage| {
        let listening = stage.listen()?;
        let to = listening.address;
        let client = stage.client().run(move || connect(to))?;
        let (local, remote) = (client.local_addr()?, client.peer_addr()?);
        listening.wait_acceptable()?;
        stage.client().close(client)?;
        stage.wait_for(local, remote, FinWait2)?;
        let mut child = server_side(&[CloseWait, Close]);
        child.kind = Fact::Shown(CloseKind::Dropped);
        child.first_closer = Fact::Shown(FirstCloser::Peer);
        child.closer = Fact::True(stage.server().owner());
        child.cause = Fact::Shown(LocalCause::ListenerClosed);
        child.successor = Fact::Shown(Successor::Nothing);
        child.waves = Fact::Never;
        let mut mine = client_side(stage, &ACTIVE);
        mine.kind = Fact::Shown(CloseKind::Active);
        mine.first_closer = Fact::Shown(FirstCloser::Local);
        mine.closer = Fact::Shown(stage.client().owner());
        let made = single(stage, "child dropped after FIN", listening, (local, remote), (mine, child))?;
        stage.settle(local, remote)?;
        Ok(made)
    });
    run.assert_whole();
}

#[test]
fn child_never_accepted_until_the_peer_has_closed() {
    let run = on_loopback(|stage| {
        let listening = stage.listen()?;
        let to = listening.address;
        let client = stage.client().run(move || connect(to))?;
        let (local, remote) = (client.local_addr()?, client.peer_addr()?);
        listening.wait_acceptable()?;
        let client = stage.client().run(move || {
            (&client).write_all(b"data")?;
            Ok(client)
        })?;
        stage.client().close(client)?;
        stage.wait_for(local, remote, FinWait2)?;
        let accepting = listening.socket.try_clone()?;
        let server = stage.server().run(move || {
            let (server, _) = accepting.accept()?;
            server.set_nonblocking(false)?;
            (&server).read_exact(&mut [0; 4])?;
            Ok(server)
        })?;
        stage.server().close(server)?;
        let (mut mine, mut theirs) = (client_side(stage, &ACTIVE), server_side(&super::sides::PASSIVE));
        orderly(true).describe(stage, &mut mine, &mut theirs);
        (mine.bytes_sent, theirs.bytes_received) = (Fact::Shown(4), Fact::Shown(4));
        (mine.bytes_received, theirs.bytes_sent) = (Fact::Shown(0), Fact::Shown(0));
        theirs.waves = Fact::Shown(Waves::Four);
        stage.single("accepted after the peer closed", listening, (local, remote), (mine, theirs))
    });
    let server = run.assert_whole().server(0);
    assert_eq!(server.kind.value(), Some(&CloseKind::Passive));
}

/// SO_LINGER 0 in CLOSE_WAIT: the peer closed first, and is answered by a reset.
#[test]
fn so_linger_0_after_the_peers_fin() {
    let run = on_loopback(|stage| {
        let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
        exchange(&client, &server)?;
        stage.client().close(client)?;
        stage.wait_for(local, remote, FinWait2)?;
        stage.server().run(move || {
            SockRef::from(&server).set_linger(Some(Duration::ZERO))?;
            drop(server);
            Ok(())
        })?;
        stage.settle(local, remote)?;
        let mut mine = client_side(stage, &ACTIVE);
        mine.kind = Fact::Shown(CloseKind::Active);
        mine.first_closer = Fact::Shown(FirstCloser::Local);
        mine.closer = Fact::Shown(stage.client().owner());
        let cause = ResetCause::LingerZero;
        let mut theirs = reset_sent(server_side(&[CloseWait, Close]), stage.server().owner(), cause, 0);
        theirs.first_closer = Fact::Shown(FirstCloser::Peer);
        single(stage, "SO_LINGER 0 in CLOSE_WAIT", listening, (local, remote), (mine, theirs))
    });
    run.assert_whole();
    assert!(run.wire(0, SideName::Server).reset(Way::Sent));
}

#[test]
fn destroyed_by_an_administrator() {
    let mut lacking = None;
    let run = on_loopback(|stage| {
        let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
        exchange(&client, &server)?;
        if let Err(error) = destroy(stage.client(), local, remote) {
            lacking = Some(error);
            let pair = Pair { client, server, local, remote };
            let connection = super::client_closes_first(stage, "not destroyed", pair)?;
            let listener = stage.close_listener(listening)?;
            return Ok(Made { connections: vec![connection], listeners: vec![listener] });
        }
        stage.settle(local, remote)?;
        stage.client().close(client)?;
        stage.server().close(server)?;
        let mut mine = client_side(stage, &[Close]);
        mine.kind = Fact::Shown(CloseKind::Killed);
        mine.first_closer = Fact::Never;
        // The task that destroys a socket does not own it.
        mine.closer = Fact::Never;
        mine.successor = Fact::Shown(Successor::Nothing);
        mine.waves = Fact::Never;
        mine.cause = Fact::Shown(LocalCause::Administrator);
        mine.reset = Some(MadeReset {
            direction: Fact::Shown(ResetDirection::Sent),
            cause: Fact::True(ResetCause::Administrator),
            unread: Fact::True(0),
        });
        let theirs = reset_received(server_side(&[Close]));
        single(stage, "destroyed", listening, (local, remote), (mine, theirs))
    });
    if let Some(error) = lacking {
        return not_made("destroyed", &format!("INET_DIAG_DESTROY: {error}"));
    }
    let (client, server) = (run.assert_whole().client(0), run.server(0));
    assert_eq!((client.error.value(), server.error.value()), (Some(&103), Some(&104)));
    assert!(run.wire(0, SideName::Client).reset(Way::Sent));
    assert_eq!(
        server.reset.and_then(|reset| reset.direction.value().copied()),
        Some(ResetDirection::Received)
    );
}

/// What `ss -K` does: SOCK_DESTROY for one socket (sock_diag(7), struct inet_diag_req_v2).
fn destroy(actor: &Actor, local: SocketAddr, remote: SocketAddr) -> Result<()> {
    const NETLINK_SOCK_DIAG: i32 = 4;
    const SOCK_DESTROY: u16 = 21;
    const REQUEST_AND_ACK: u16 = 1 | 4;
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (local.ip(), remote.ip()) else {
        return Err(ScenarioError::unexpected("only IPv4 sockets are destroyed"));
    };
    let mut message = Vec::new();
    message.extend(72u32.to_ne_bytes());
    message.extend(SOCK_DESTROY.to_ne_bytes());
    message.extend(REQUEST_AND_ACK.to_ne_bytes());
    message.extend([0; 8]); // sequence number, sender
    message.extend([2, 6, 0, 0]); // AF_INET, IPPROTO_TCP, no extensions
    message.extend(u32::MAX.to_ne_bytes()); // every state
    message.extend(local.port().to_be_bytes());
    message.extend(remote.port().to_be_bytes());
    for address in [source, destination] {
        message.extend(address.octets());
        message.extend([0; 12]);
    }
    message.extend([0; 4]); // any interface
    message.extend([0xff; 8]); // any cookie
    actor.run(move || {
        let protocol = Some(Protocol::from(NETLINK_SOCK_DIAG));
        let mut socket = Socket::new(Domain::from(16), Type::RAW, protocol).context("sock_diag")?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.write_all(&message)?;
        let mut answer = [0; 256];
        let length = socket.read(&mut answer)?;
        let code = answer.get(16..20).filter(|_| length >= 20).context("a short answer")?;
        match i32::from_ne_bytes(code.try_into().map_err(|_| ScenarioError::unexpected("no errno"))?) {
            0 => Ok(()),
            negative => Err(Errno::from_raw_os_error(-negative).into()),
        }
    })
}
