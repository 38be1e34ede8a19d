//! FIN_WAIT2 and what can end it: the peer's FIN, late data, time, a reset, TCP_LINGER2; in the socket or in the
//! mini-socket that took its place.

use std::io::Write;
use std::net::TcpStream;

use finwait_core::TcpState::{Close, CloseWait, Established, FinWait1, FinWait2, LastAck};
use finwait_core::record::{
    CloseKind, FinOutcome, FirstCloser, LocalCause, ResetCause, ResetDirection, Successor, TimeWaitEnd, Waves,
};
use finwait_core::{Reason, TcpState};
use tracer::scenario::sides::{ACTIVE, client_side, reset_received, reset_sent, server_side};
use tracer::scenario::stage::{Pair, Stage, shut_send};
use tracer::scenario::{Fact, MadeReset, MadeSide, Result, SideName};

use super::{dwell_ns, exchange, orderly, set_sysctl, set_tcp, single};
use crate::support::{Run, on_loopback, over_link, with_time_waits};
use crate::wire::link::{Fate, Toward};
use crate::wire::tap::Way;

/// A client whose FIN was acknowledged, and whose mini-socket waits on out of sight.
fn hidden(stage: &Stage<'_>) -> MadeSide {
    let mut side = client_side(stage, &ACTIVE);
    side.closer = Fact::Shown(stage.client().owner());
    side.cause = Fact::True(LocalCause::Close);
    side.fin_outcome = Fact::Shown(FinOutcome::Acknowledged);
    side.kind = Fact::Shown(CloseKind::Active);
    side.first_closer = Fact::Shown(FirstCloser::Local);
    side.bytes_sent = Fact::Shown(super::REQUEST as u64);
    side.bytes_received = Fact::Shown(super::REPLY as u64);
    side
}

/// A server that had the client's FIN, then its reset, in `rest` after ESTABLISHED.
fn reset_after_fin(rest: &[TcpState]) -> MadeSide {
    let mut side = reset_received(server_side(rest));
    side.first_closer = Fact::Shown(FirstCloser::Peer);
    side
}

/// Writes, and closes when the peer's reset has come.
fn write_until_reset(stage: &Stage<'_>, server: TcpStream) -> Result<()> {
    let (remote, local) = (server.local_addr()?, server.peer_addr()?);
    (&server).write_all(b"late")?;
    stage.gone(remote, local)?;
    stage.server().close(server)
}

#[test]
fn late_data_to_a_fin_wait2_mini_socket() {
    let run = over_link(|stage, _| {
        let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
        exchange(&client, &server)?;
        stage.client().close(client)?;
        stage.wait_for(local, remote, FinWait2)?;
        write_until_reset(stage, server)?;
        // The mini-socket dies of the data.
        stage.gone(local, remote)?;
        let theirs = reset_after_fin(&[CloseWait, Close]);
        single(stage, "late data", listening, (local, remote), (hidden(stage), theirs))
    });
    let (client, server) = (run.assert_whole().client(0), run.server(0));
    assert_eq!(client.successor.reason(), Some(Reason::HiddenFinWait2));
    assert_eq!(server.error.value(), Some(&32));
    assert!(run.wire(0, SideName::Client).reset(Way::Sent));
    run.assert_time_wait_ended(0, SideName::Client, TimeWaitEnd::LateData);
}

/// The client's mini-socket waits for the shortest time there is, and is gone before the server does anything.
fn orphan(name: &'static str, then: impl FnOnce(&Stage<'_>, TcpStream) -> Result<MadeSide>) -> Run {
    with_time_waits(|stage| {
        set_sysctl(stage.client(), "ipv4/tcp_fin_timeout", "1")?;
        let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
        exchange(&client, &server)?;
        stage.client().close(client)?;
        stage.wait_for(local, remote, FinWait2)?;
        stage.gone(local, remote)?;
        let theirs = then(stage, server)?;
        stage.settle(local, remote)?;
        single(stage, name, listening, (local, remote), (hidden(stage), theirs))
    })
}

#[test]
fn fin_wait2_orphan_timeout_then_the_server_sends() {
    let run = orphan("FIN_WAIT2 timeout", |stage, server| {
        write_until_reset(stage, server)?;
        Ok(reset_after_fin(&[CloseWait, Close]))
    });
    let server = run.assert_whole().server(0);
    assert_eq!(run.client(0).successor.reason(), Some(Reason::HiddenFinWait2));
    assert_eq!(server.error.value(), Some(&32));
    run.assert_time_wait_ended(0, SideName::Client, TimeWaitEnd::FinWait2TimedOut);
    // The client's host waited at least a second before it forgot the connection.
    assert!(dwell_ns(server, CloseWait).is_some_and(|ns| ns > 1_000_000_000), "{:?}", server.dwells);
}

#[test]
fn fin_wait2_orphan_timeout_then_the_server_closes() {
    let run = orphan("FIN_WAIT2 timeout, then close", |stage, server| {
        stage.server().close(server)?;
        let mut side = reset_after_fin(&[CloseWait, LastAck, Close]);
        side.closer = Fact::Shown(stage.server().owner());
        side.cause = Fact::True(LocalCause::Close);
        Ok(side)
    });
    assert_eq!(run.assert_whole().server(0).error.value(), Some(&104));
}

#[test]
fn fin_timeout_above_60_keeps_the_socket_for_the_rest() {
    let run = on_loopback(|stage| {
        set_sysctl(stage.client(), "ipv4/tcp_fin_timeout", "62")?;
        let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
        exchange(&client, &server)?;
        stage.client().close(client)?;
        stage.wait_for(local, remote, FinWait2)?;
        // What exceeds 60 s is spent in the socket. Its row shows the keepalive timer (2), a mini-socket's its own (3).
        stage.wait_for_mini_socket(local, remote)?;
        stage.server().close(server)?;
        let mut theirs = server_side(&[CloseWait, LastAck, Close]);
        let mut mine = hidden(stage);
        orderly(true).describe(stage, &mut mine, &mut theirs);
        theirs.waves = Fact::Shown(Waves::Four);
        stage.single("tcp_fin_timeout 62", listening, (local, remote), (mine, theirs))
    });
    let client = run.assert_whole().client(0);
    assert_eq!(client.successor.reason(), Some(Reason::HiddenFinWait2));
    let entered = client.steps.iter().find(|step| step.new == FinWait2).expect("FIN_WAIT2").at;
    let left = client.closed_at.expect("an end").since(entered).expect("later");
    assert!((1_900_000_000..2_500_000_000).contains(&left), "{left} ns in FIN_WAIT2");
}

const TCP_LINGER2: i32 = 8;

/// The client, with TCP_LINGER2 below 0, closes and resets in FIN_WAIT2; `rest` are its states.
fn linger2(stage: &Stage<'_>, rest: &[TcpState]) -> (MadeSide, MadeSide) {
    let mut mine = reset_sent(client_side(stage, rest), stage.client().owner(), ResetCause::Linger2, 0);
    mine.first_closer = Fact::Shown(FirstCloser::Local);
    (mine, reset_after_fin(&[CloseWait, Close]))
}

#[test]
fn tcp_linger2_below_0_resets_when_the_fin_is_acknowledged() {
    let run = on_loopback(|stage| {
        let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
        exchange(&client, &server)?;
        set_tcp(&client, TCP_LINGER2, -1)?;
        stage.client().close(client)?;
        stage.settle(local, remote)?;
        stage.server().close(server)?;
        single(stage, "TCP_LINGER2 -1", listening, (local, remote), linger2(stage, &ACTIVE))
    });
    let (client, server) = (run.assert_whole().client(0), run.server(0));
    assert_eq!(client.error.value(), Some(&0));
    assert_eq!(server.error.value(), Some(&32));
}

#[test]
fn tcp_linger2_below_0_resets_when_a_half_closed_socket_is_closed() {
    let run = on_loopback(|stage| {
        let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
        exchange(&client, &server)?;
        set_tcp(&client, TCP_LINGER2, -1)?;
        let client = shut_send(stage.client(), client)?;
        stage.wait_for(local, remote, FinWait2)?;
        stage.client().close(client)?;
        stage.settle(local, remote)?;
        stage.server().close(server)?;
        let (mut mine, theirs) = linger2(stage, &[FinWait1, FinWait2, FinWait2, Close]);
        mine.cause = Fact::True(LocalCause::Shutdown);
        single(stage, "TCP_LINGER2 -1, half-closed", listening, (local, remote), (mine, theirs))
    });
    run.assert_whole();
    assert!(run.wire(0, SideName::Client).reset(Way::Sent));
}

/// The client closes; what the server sends at that moment meets the closed socket, which answers with a reset.
fn data_after_close(crossing: bool) -> Run {
    over_link(move |stage, link| {
        let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
        exchange(&client, &server)?;
        if crossing {
            link.every(Fate::Hold, |segment, toward| toward == Toward::Server && segment.flags.fin);
        } else {
            // The acknowledgement of the FIN comes with the data alone.
            link.every(Fate::Drop, |segment, toward| {
                toward == Toward::Client && segment.payload_bytes == 0 && !segment.flags.rst
            });
        }
        stage.client().close(client)?;
        if crossing {
            link.wait_kept(1)?;
        } else {
            stage.wait_for(remote, local, CloseWait)?;
        }
        (&server).write_all(b"late")?;
        // The reset overtakes the FIN that is held.
        stage.gone(local, remote)?;
        stage.gone(remote, local)?;
        stage.server().close(server)?;
        let rest: &[TcpState] = if crossing { &[FinWait1, Close] } else { &ACTIVE };
        let mut mine = client_side(stage, rest);
        mine.kind = Fact::True(CloseKind::Reset);
        mine.first_closer = Fact::Shown(FirstCloser::Local);
        mine.closer = Fact::Shown(stage.client().owner());
        mine.successor = Fact::True(Successor::Nothing);
        mine.waves = Fact::Never;
        mine.reset = Some(MadeReset {
            direction: Fact::True(ResetDirection::Sent),
            cause: Fact::True(ResetCause::DataAfterClose),
            unread: Fact::Open,
        });
        let theirs = if crossing {
            reset_received(server_side(&[Close]))
        } else {
            reset_after_fin(&[CloseWait, Close])
        };
        single(stage, "data after close", listening, (local, remote), (mine, theirs))
    })
}

#[test]
fn close_and_the_peers_data_crosses_the_fin() {
    let run = data_after_close(true);
    let client = run.assert_whole().client(0);
    assert_eq!(client.error.value(), Some(&104));
    let wire = run.wire(0, SideName::Client);
    assert!(wire.reset(Way::Sent) && !wire.reset(Way::Received), "{wire:?}");
    assert_eq!(client.first_closer.value(), Some(&FirstCloser::Local));
}

#[test]
fn close_and_the_peers_data_acknowledges_the_fin() {
    let run = data_after_close(false);
    let (client, server) = (run.assert_whole().client(0), run.server(0));
    assert_eq!((client.error.value(), server.error.value()), (Some(&0), Some(&32)));
    assert!(run.wire(0, SideName::Client).reset(Way::Sent));
}

/// A reset that neither end sent reaches the client's host while its mini-socket waits in FIN_WAIT2.
#[test]
fn reset_from_outside_in_fin_wait2() {
    let run = over_link(|stage, link| {
        let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
        exchange(&client, &server)?;
        stage.client().close(client)?;
        stage.wait_for(local, remote, FinWait2)?;
        link.inject_reset(remote, local)?;
        stage.gone(local, remote)?;
        stage.server().close(server)?;
        stage.settle(local, remote)?;
        let mut theirs = reset_after_fin(&[CloseWait, LastAck, Close]);
        theirs.closer = Fact::Shown(stage.server().owner());
        theirs.cause = Fact::True(LocalCause::Close);
        single(stage, "reset in FIN_WAIT2", listening, (local, remote), (hidden(stage), theirs))
    });
    assert_eq!(run.assert_whole().client(0).successor.reason(), Some(Reason::HiddenFinWait2));
    run.assert_time_wait_ended(0, SideName::Client, TimeWaitEnd::ResetReceived);
    let wire = run.wire(0, SideName::Client);
    assert!(wire.reset(Way::Received), "{wire:?}");
}

/// The same while the application still holds the socket: its connection is reset.
#[test]
fn reset_from_outside_in_fin_wait2_of_a_half_closed_socket() {
    let run = over_link(|stage, link| {
        let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
        exchange(&client, &server)?;
        let client = shut_send(stage.client(), client)?;
        stage.wait_for(local, remote, FinWait2)?;
        link.inject_reset(remote, local)?;
        stage.gone(local, remote)?;
        stage.client().close(client)?;
        stage.server().close(server)?;
        stage.settle(local, remote)?;
        let mut mine = reset_received(client_side(stage, &ACTIVE));
        mine.first_closer = Fact::Shown(FirstCloser::Local);
        mine.closer = Fact::Shown(stage.client().owner());
        mine.cause = Fact::True(LocalCause::Shutdown);
        let mut theirs = reset_after_fin(&[CloseWait, LastAck, Close]);
        theirs.closer = Fact::Shown(stage.server().owner());
        theirs.cause = Fact::True(LocalCause::Close);
        single(stage, "reset of a half-closed socket", listening, (local, remote), (mine, theirs))
    });
    assert_eq!(run.assert_whole().client(0).error.value(), Some(&104));
    assert_eq!(run.client(0).steps[1].new, Established);
}
