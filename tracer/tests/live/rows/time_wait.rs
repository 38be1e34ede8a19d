//! What follows the close: TIME_WAIT reused, hit by a SYN or a reset, listened over, or without room.

use std::net::SocketAddr;

use finwait_core::TcpState::TimeWait;
use finwait_core::record::{Successor, TimeWaitEnd};
use finwait_core::{ConnId, SocketKey};
use socket2::{Domain, Socket, Type};
use tracer::scenario::stage::{Listening, Pair, Stage, connect_socket};
use tracer::scenario::{Context, Fact, Made, Result, ScenarioError, SideName};

use super::{client_closes_first, server_closes_first, set_sysctl};
use crate::support::{Run, on_loopback, over_link, with_time_waits};

/// Connects from `from`, which may be in use by a mini-socket.
fn pair_from(stage: &Stage<'_>, listening: &Listening, from: SocketAddr) -> Result<Pair> {
    let to = listening.address;
    let client = stage.client().run(move || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&from.into())?;
        connect_socket(socket, to)
    })?;
    stage.pair_of(client, listening)
}

/// Two connections between the same two ends, the first of which leaves a TIME_WAIT with the client or the server.
fn twice(name: &'static str, client_waits: bool) -> Run {
    with_time_waits(|stage| {
        let listening = stage.listen()?;
        let pair = pair_from(stage, &listening, SocketAddr::new(stage.address(), 0))?;
        let from = pair.local;
        let first = if client_waits {
            client_closes_first(stage, name, pair)?
        } else {
            server_closes_first(stage, name, pair)?
        };
        let (waiting, other) = if client_waits { (from, first.remote) } else { (first.remote, from) };
        stage.wait_for(waiting, other, TimeWait)?;
        let again = pair_from(stage, &listening, from)?;
        let second = server_closes_first(stage, name, again)?;
        let listeners = vec![stage.close_listener(listening)?];
        Ok(Made { connections: vec![first, second], listeners })
    })
}

/// Both connections were told apart, in order, though addresses and ports are the same.
fn assert_told_apart(run: &Run) {
    run.assert_whole();
    let (first, second) = (run.client(0), run.client(1));
    assert_eq!((first.local, first.remote), (second.local, second.remote));
    assert_other_socket(first.conn_id, second.conn_id);
    assert_other_socket(run.server(0).conn_id, run.server(1).conn_id);
    assert!(first.closed_at <= second.steps.first().map(|step| step.at));
}

/// Each has a cookie of its own. 5.10 may show none, and the kernel uses a socket's address again at once.
fn assert_other_socket(one: ConnId, other: ConnId) {
    assert_ne!(one, other);
    if let (SocketKey::Cookie(one), SocketKey::Cookie(other)) = (one.socket, other.socket) {
        assert_ne!(one, other);
    }
}

#[test]
fn time_wait_reused_by_a_bound_connect() {
    let run = twice("TIME_WAIT reuse", true);
    assert_told_apart(&run);
    assert_ne!(run.client(0).successor.value(), Some(&Successor::Nothing));
    run.assert_time_wait_ended(0, SideName::Client, TimeWaitEnd::ReusedByConnect);
}

#[test]
fn syn_hitting_a_time_wait_at_the_server() {
    let run = twice("SYN in TIME_WAIT", false);
    assert_told_apart(&run);
    assert_ne!(run.server(0).successor.value(), Some(&Successor::Nothing));
    run.assert_time_wait_ended(0, SideName::Server, TimeWaitEnd::ReusedBySyn);
}

/// Listens at `at`, which its own connections may still hold in TIME_WAIT. They inherit SO_REUSEADDR.
fn listen_over(stage: &Stage<'_>, at: SocketAddr) -> Result<Listening> {
    let socket = stage.server().run(move || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&at.into()).context("bind")?;
        socket.listen(16)?;
        socket.set_nonblocking(true)?;
        Ok(std::net::TcpListener::from(socket))
    })?;
    let address = socket.local_addr()?;
    Ok(Listening { socket, address })
}

#[test]
fn so_reuseaddr_listens_again_during_time_wait() {
    let run = on_loopback(|stage| {
        let listening = listen_over(stage, SocketAddr::new(stage.address(), 0))?;
        let to = listening.address;
        let pair = stage.pair(&listening)?;
        let local = pair.local;
        let first = server_closes_first(stage, "before listening again", pair)?;
        let before = stage.close_listener(listening)?;
        stage.wait_for(to, local, TimeWait)?;
        let refused = stage.server().run(move || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            Ok(socket.bind(&to.into()).is_err())
        })?;
        if !refused {
            return Err(ScenarioError::unexpected("bound to a port in TIME_WAIT without SO_REUSEADDR"));
        }
        let again = listen_over(stage, to)?;
        let pair = stage.pair(&again)?;
        let second = client_closes_first(stage, "after listening again", pair)?;
        let listeners = vec![before, stage.close_listener(again)?];
        Ok(Made { connections: vec![first, second], listeners })
    });
    run.assert_whole();
}

#[test]
fn time_wait_bucket_overflow() {
    let run = with_time_waits(|stage| {
        set_sysctl(stage.client(), "ipv4/tcp_max_tw_buckets", "0")?;
        let before = overflows(stage)?;
        let (listening, pair) = stage.one_pair()?;
        let ends = (pair.local, pair.remote);
        let connection = client_closes_first(stage, "TIME_WAIT overflow", pair)?;
        stage.gone(ends.0, ends.1)?;
        let after = overflows(stage)?;
        if after == before {
            return Err(ScenarioError::unexpected("there was room for a TIME_WAIT after all"));
        }
        let listeners = vec![stage.close_listener(listening)?];
        let mut connection = connection;
        connection.client.successor = Fact::Open;
        Ok(Made { connections: vec![connection], listeners })
    });
    let client = run.assert_whole().client(0);
    let id = client.conn_id;
    let began = time_wait_end(&run, id);
    assert!(began.is_none_or(|end| end == TimeWaitEnd::NeverAllocated), "{began:?}");
}

/// How the mini-socket of that connection ended, where that is known.
fn time_wait_end(run: &Run, id: finwait_core::ConnId) -> Option<TimeWaitEnd> {
    let record = run.seen.time_waits.iter().find(|record| record.conn_id == id)?;
    record.end.value().copied()
}

/// TCPTimeWaitOverflow of the client's namespace.
fn overflows(stage: &Stage<'_>) -> Result<u64> {
    let path = format!("/proc/self/task/{}/net/netstat", stage.client().owner().pid.0);
    let text = std::fs::read_to_string(&path).context(&path)?;
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut pairs = names.split_ascii_whitespace().zip(values.split_ascii_whitespace());
    let value = pairs.find(|(name, _)| *name == "TCPTimeWaitOverflow").map(|(_, value)| value.parse());
    value.and_then(core::result::Result::ok).context("no TCPTimeWaitOverflow")
}

#[test]
fn reset_from_outside_in_time_wait() {
    let run = over_link(|stage, link| {
        let (listening, pair) = stage.one_pair()?;
        let (local, remote) = (pair.local, pair.remote);
        let connection = client_closes_first(stage, "reset in TIME_WAIT", pair)?;
        stage.wait_for(local, remote, TimeWait)?;
        link.inject_reset(remote, local)?;
        // Assassinated (RFC 1337): tcp_rfc1337 is off.
        stage.gone(local, remote)?;
        let listeners = vec![stage.close_listener(listening)?];
        Ok(Made { connections: vec![connection], listeners })
    });
    let client = run.assert_whole().client(0);
    assert_ne!(client.successor.value(), Some(&Successor::Nothing));
    run.assert_time_wait_ended(0, SideName::Client, TimeWaitEnd::ResetReceived);
    assert_eq!(client.reset, None, "what reaches the mini-socket does not end the connection");
}
