//! The kernel gives up: no answer to a SYN, a FIN, data or keepalive probes.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use finwait_core::TcpState::{Close, CloseWait, FinWait1, FinWait2, LastAck};
use finwait_core::record::{
    CloseKind, FinOutcome, FirstCloser, LocalCause, ResetCause, ResetDirection, Successor, TimeoutCause,
};
use rustix::io::Errno;
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use tracer::probe::host::{KernelVersion, kernel_release};
use tracer::scenario::sides::{ACTIVE, client_side, server_side, unanswered};
use tracer::scenario::stage::{Pair, Stage};
use tracer::scenario::{
    Context, Fact, Made, MadeConnection, MadeReset, MadeSide, Result, ScenarioError, SideName,
};

use super::{dwell_ns, exchange, set_sysctl, single};
use crate::support::{Run, not_made, over_link};
use crate::wire::link::{Fate, Toward};

/// A side on which the kernel gave up.
fn timed_out(mut side: MadeSide, cause: TimeoutCause) -> MadeSide {
    side.kind = Fact::Shown(CloseKind::TimedOut);
    side.successor = Fact::Shown(Successor::Nothing);
    side.waves = Fact::Never;
    side.cause = Fact::Shown(LocalCause::KernelTimer);
    side.timeout = Fact::Shown(cause);
    side
}

/// A server that closes when nobody is there any more: its FIN is answered by a reset.
fn answered_by_a_reset(stage: &Stage<'_>) -> MadeSide {
    let mut side = server_side(&[FinWait1, Close]);
    side.kind = Fact::Shown(CloseKind::Reset);
    side.first_closer = Fact::Shown(FirstCloser::Local);
    side.closer = Fact::Shown(stage.server().owner());
    side.cause = Fact::True(LocalCause::Close);
    side.fin_outcome = Fact::Shown(FinOutcome::Reset);
    side.successor = Fact::Shown(Successor::Nothing);
    side.waves = Fact::Never;
    side.reset = Some(MadeReset {
        direction: Fact::True(ResetDirection::Received),
        cause: Fact::Never,
        unread: Fact::True(0),
    });
    side
}

/// Waits until the kernel has given up on the client's socket, then closes it. Reading SO_ERROR any sooner could take the
/// error away before the transition shows it.
fn expect_timeout(stage: &Stage<'_>, client: Socket, ends: (SocketAddr, SocketAddr)) -> Result<()> {
    stage.gone(ends.0, ends.1)?;
    let error = client.take_error()?.and_then(|error| error.raw_os_error());
    assert_eq!(error, Some(Errno::TIMEDOUT.raw_os_error()));
    stage.client().close(client)
}

#[test]
fn connect_timeout() {
    let run = over_link(|stage, link| {
        set_sysctl(stage.client(), "ipv4/tcp_syn_retries", "1")?;
        let listening = stage.listen()?;
        link.every(Fate::Drop, |segment, _| segment.flags.syn);
        let to = listening.address;
        let (socket, local) = stage.client().run(move || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            match socket.connect(&to.into()) {
                Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {}
                other => return Err(ScenarioError::unexpected(format!("connect ended: {other:?}"))),
            }
            let local = socket.local_addr()?.as_socket().context("no IP address")?;
            Ok((socket, local))
        })?;
        expect_timeout(stage, socket, (local, to))?;
        let listener = stage.close_listener(listening)?;
        let mut client = unanswered(stage, CloseKind::ConnectTimedOut);
        client.cause = Fact::Shown(LocalCause::KernelTimer);
        let connection = MadeConnection { name: "connect timeout", local, remote: to, client, server: None };
        Ok(Made { connections: vec![connection], listeners: vec![listener] })
    });
    let client = run.assert_whole().client(0);
    assert_eq!(client.error.value(), Some(&110));
    // How many a retry count of 1 allows differs between kernels.
    let syns = run.sent(0, SideName::Client, |segment| segment.flags.syn);
    assert!(syns > 1);
    assert_eq!(client.total_retrans, Some(syns - 1));
    assert_eq!(client.handshake_ns.value(), None);
}

#[test]
fn peer_gone_in_last_ack() {
    let run = over_link(|stage, link| {
        set_sysctl(stage.server(), "ipv4/tcp_orphan_retries", "2")?;
        set_sysctl(stage.client(), "ipv4/tcp_fin_timeout", "1")?;
        let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
        exchange(&client, &server)?;
        stage.client().close(client)?;
        stage.wait_for(local, remote, FinWait2)?;
        link.every(Fate::Drop, |_, _| true);
        stage.server().close(server)?;
        stage.gone(remote, local)?;
        let mut mine = client_side(stage, &ACTIVE);
        mine.kind = Fact::Shown(CloseKind::Active);
        mine.first_closer = Fact::Shown(FirstCloser::Local);
        mine.closer = Fact::Shown(stage.client().owner());
        let mut theirs = timed_out(server_side(&[CloseWait, LastAck, Close]), TimeoutCause::Orphan);
        theirs.first_closer = Fact::Shown(FirstCloser::Peer);
        theirs.closer = Fact::Shown(stage.server().owner());
        theirs.cause = Fact::True(LocalCause::Close);
        theirs.fin_outcome = Fact::Shown(FinOutcome::GivenUp);
        single(stage, "peer gone in LAST_ACK", listening, (local, remote), (mine, theirs))
    });
    let server = run.assert_whole().server(0);
    assert_eq!(server.error.value(), Some(&110));
    assert_eq!(cause(server), Some(TimeoutCause::Orphan));
    let sent_again = run.wire(0, SideName::Server).sent_again.0;
    assert!(sent_again > 0, "the FIN went once only");
    assert_eq!(server.total_retrans, Some(sent_again));
    assert!(dwell_ns(server, LastAck).is_some_and(|ns| ns > 200_000_000), "{:?}", server.dwells);
}

fn cause(record: &finwait_core::record::CloseRecord) -> Option<TimeoutCause> {
    record.timeout.and_then(|claim| claim.value().copied())
}

/// The link falls silent and the client's kernel gives up after `then`; afterwards the link works again, and the
/// server, who knows of nothing, closes.
fn gives_up(
    name: &'static str,
    cause: TimeoutCause,
    acknowledged: bool,
    then: impl FnOnce(&Stage<'_>, TcpStream) -> Result<TcpStream>,
) -> Run {
    let keepalive = cause == TimeoutCause::Keepalive;
    over_link(|stage, link| {
        let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
        exchange(&client, &server)?;
        link.wait_acknowledged()?;
        link.every(Fate::Drop, |_, _| true);
        if !acknowledged {
            (&server).write_all(b"lost")?;
        }
        let client = then(stage, client)?;
        expect_timeout(stage, client.into(), (local, remote))?;
        let untouched = stage.rows()?.iter().any(|row| {
            (row.local, row.remote, row.state) == (remote, local, finwait_core::TcpState::Established)
        });
        assert!(untouched, "the server's end should not have noticed");
        link.heal();
        stage.server().close(server)?;
        stage.settle(local, remote)?;
        let mut mine = timed_out(client_side(stage, &[Close]), cause);
        mine.first_closer = Fact::Never;
        mine.closer = Fact::Never;
        if keepalive {
            mine.reset = Some(MadeReset {
                direction: Fact::Shown(ResetDirection::Sent),
                cause: Fact::True(ResetCause::Keepalive),
                unread: Fact::True(0),
            });
        }
        let mut theirs = answered_by_a_reset(stage);
        if !acknowledged {
            // Behind what was not acknowledged the FIN waits for the congestion window, and is never sent.
            theirs.first_closer = Fact::Never;
            theirs.fin_outcome = Fact::Open;
        }
        single(stage, name, listening, (local, remote), (mine, theirs))
    })
}

#[test]
fn keepalive_death() {
    let run = gives_up("keepalive death", TimeoutCause::Keepalive, true, |_, client| {
        let second = Duration::from_secs(1);
        let probes = TcpKeepalive::new().with_time(second).with_interval(second).with_retries(2);
        SockRef::from(&client).set_tcp_keepalive(&probes)?;
        Ok(client)
    });
    let client = run.assert_whole().client(0);
    assert_eq!(cause(client), Some(TimeoutCause::Keepalive));
    assert_eq!(client.error.value(), Some(&110));
    assert_eq!(run.server(0).error.value(), Some(&104));
}

#[test]
fn user_timeout() {
    let run = gives_up("user timeout", TimeoutCause::Retransmission, true, |_, client| {
        SockRef::from(&client).set_tcp_user_timeout(Some(Duration::from_millis(700)))?;
        (&client).write_all(b"lost")?;
        Ok(client)
    });
    assert_unacknowledged(&run);
}

#[test]
fn retransmission_timeout() {
    let run = gives_up("retransmission timeout", TimeoutCause::Retransmission, true, |stage, client| {
        set_sysctl(stage.client(), "ipv4/tcp_retries2", "2")?;
        (&client).write_all(b"lost")?;
        Ok(client)
    });
    assert_unacknowledged(&run);
}

fn assert_unacknowledged(run: &Run) {
    let client = run.assert_whole().client(0);
    assert_eq!(cause(client), Some(TimeoutCause::Retransmission));
    assert_eq!(client.error.value(), Some(&110));
    assert!(client.total_retrans.is_some_and(|count| count > 0), "{:?}", client.total_retrans);
    assert_eq!(
        client.bytes_sent.value(),
        Some(&(super::REQUEST as u64)),
        "what was lost was not acknowledged"
    );
}

/// The client closes and is never answered: FIN_WAIT1 ends by time.
#[test]
fn peer_gone_in_fin_wait1() {
    let run = over_link(|stage, link| {
        set_sysctl(stage.client(), "ipv4/tcp_orphan_retries", "2")?;
        let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
        exchange(&client, &server)?;
        link.wait_acknowledged()?;
        link.every(Fate::Drop, |_, toward| toward == Toward::Server);
        stage.client().close(client)?;
        stage.gone(local, remote)?;
        link.heal();
        stage.server().close(server)?;
        stage.settle(local, remote)?;
        let mut mine = timed_out(client_side(stage, &[FinWait1, Close]), TimeoutCause::Orphan);
        mine.first_closer = Fact::Shown(FirstCloser::Local);
        mine.closer = Fact::Shown(stage.client().owner());
        mine.cause = Fact::True(LocalCause::Close);
        mine.fin_outcome = Fact::Shown(FinOutcome::GivenUp);
        let theirs = answered_by_a_reset(stage);
        single(stage, "peer gone in FIN_WAIT1", listening, (local, remote), (mine, theirs))
    });
    assert_eq!(cause(run.assert_whole().client(0)), Some(TimeoutCause::Orphan));
}

/// Before, tcp_cwnd_test() lets a FIN pass without regard to the window: seen up to 6.1, and no more on 6.12.
const FULL_WINDOW_KEEPS_A_FIN: KernelVersion = KernelVersion(6, 12);

#[test]
fn a_fin_that_never_left_is_not_called_the_first() {
    let run = gives_up("FIN never sent", TimeoutCause::Retransmission, false, |stage, client| {
        set_sysctl(stage.client(), "ipv4/tcp_retries2", "2")?;
        (&client).write_all(b"lost")?;
        Ok(client)
    });
    let fins = run.sent(0, SideName::Server, |segment| segment.flags.fin);
    let version = KernelVersion::parse(&kernel_release()).expect("a version");
    if fins > 0 && version < FULL_WINDOW_KEEPS_A_FIN {
        let contradictions = run.contradictions();
        assert!(contradictions.is_empty(), "{contradictions:#?}\nseen {:#?}", run.seen.closes);
        return not_made("FIN never sent", "this kernel sends a last FIN whatever the congestion window");
    }
    assert_eq!(fins, 0, "the scene did not keep the FIN back");
    run.assert_whole();
}
