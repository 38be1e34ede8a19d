//! Ways to end, as the kernel shows them, and what may be said of each.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it fails")]

mod script;

use finwait_core::TcpState::{
    Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent,
};
use finwait_core::record::{
    CloseKind, CloseRecord, FirstCloser, ResetCause, ResetDirection, Role, SeenFrom, Successor, TimeoutCause,
    Waves,
};
use finwait_core::{Evidence, Reason, TcpState};
use script::{MILLI, RESETS, SECOND, Script, Sock, accepted, opened};

fn dwell_ns(close: &CloseRecord, state: TcpState) -> Result<u64, Reason> {
    let dwell = close.dwells.iter().find(|dwell| dwell.state == state).expect("the state was passed through");
    dwell.duration_ns.value().copied().ok_or_else(|| dwell.duration_ns.reason().unwrap())
}

/// close() by the client at `at`, its FIN queued.
fn client_closes(script: &mut Script, sock: &mut Sock, at: u64) {
    sock.by(100, "curl").shut(true, true);
    script.step(sock, at, Established, FinWait1);
    let tcp = sock.tcp();
    tcp.write_seq = tcp.write_seq.map(|n| n + 1);
    tcp.snd_nxt = tcp.write_seq;
    sock.softirq().flags(true, false);
}

fn fin_acked(script: &mut Script, sock: &mut Sock, at: u64, clock: u64) {
    let tcp = sock.tcp();
    (tcp.snd_una, tcp.snd_nxt) = (tcp.write_seq, tcp.write_seq);
    tcp.bytes_acked = tcp.bytes_acked.map(|n| n + 1);
    tcp.clock_cache_ns = Some(clock);
    script.step(sock, at, FinWait1, FinWait2);
}

#[test]
fn client_closes_and_the_peer_answers_in_one_segment() {
    let mut script = Script::new();
    let mut sock = opened(&mut script, 1);
    sock.acked(512).received(2000).read_all();
    client_closes(&mut script, &mut sock, 48 * MILLI);
    fin_acked(&mut script, &mut sock, 48 * MILLI + 400_000, 7);
    sock.flags(true, true).received(1);
    script.step(&mut sock, 48 * MILLI + 400_500, FinWait2, Close).quiet(SECOND, 0);
    let close = script.close();
    assert_eq!(close.kind.value(), Some(&CloseKind::Active));
    assert_eq!(close.first_closer.value(), Some(&FirstCloser::Local));
    assert_eq!(close.role.value(), Some(&Role::Opened));
    assert_eq!(close.waves.value(), Some(&Waves::Three));
    assert!(close.waves.evidence().contains(Evidence::SameSegment));
    assert_eq!(close.successor.value(), Some(&Successor::TimeWait));
    assert_eq!(close.seen_from, SeenFrom::Handshake);
    assert_eq!(close.handshake_ns.value(), Some(&300_000));
    assert_eq!(close.life_ns.value(), Some(&(47 * MILLI + 400_500)));
    assert_eq!(dwell_ns(&close, FinWait1), Ok(400_000));
    assert_eq!(close.bytes_sent.value(), Some(&512));
    assert_eq!(close.bytes_received.value(), Some(&2000));
    assert_eq!(close.opener.value().unwrap().comm.to_string(), "curl");
    assert_eq!(close.closer.value().unwrap().tgid.0, 100);
}

#[test]
fn client_closes_and_the_peer_keeps_its_half_open_while_the_application_waits() {
    let mut script = Script::new();
    let mut sock = opened(&mut script, 1);
    sock.by(100, "curl").shut(false, true);
    script.step(&mut sock, 10 * MILLI, Established, FinWait1);
    sock.softirq();
    sock.tcp().write_seq = Some(1002);
    fin_acked(&mut script, &mut sock, 10 * MILLI + 400_000, 7);
    sock.flags(false, true).received(1);
    sock.tcp().clock_cache_ns = Some(8);
    script.step(&mut sock, 3110 * MILLI, FinWait2, Close).quiet(10 * SECOND, 0);
    let close = script.close();
    assert_eq!(close.kind.value(), Some(&CloseKind::Active));
    assert_eq!(close.waves.value(), Some(&Waves::Four));
    let slow: Vec<TcpState> = close.dwells.iter().filter(|d| d.slow).map(|d| d.state).collect();
    assert_eq!(slow, [FinWait2]);
}

#[test]
fn what_follows_an_orphans_fin_wait2_is_not_guessed() {
    let mut script = Script::new().hooks(RESETS);
    let mut sock = opened(&mut script, 1);
    client_closes(&mut script, &mut sock, 10 * MILLI);
    fin_acked(&mut script, &mut sock, 50 * MILLI, 7);
    script.step(&mut sock, 50 * MILLI + 2000, FinWait2, Close).quiet(SECOND, 0);
    let close = script.close();
    assert_eq!(close.kind.value(), Some(&CloseKind::Active));
    assert_eq!(close.successor.reason(), Some(Reason::HiddenFinWait2));
    assert_eq!(close.waves.reason(), Some(Reason::HiddenFinWait2));
    assert_eq!(dwell_ns(&close, FinWait2), Err(Reason::HiddenFinWait2));
    assert_eq!(dwell_ns(&close, FinWait1), Ok(40 * MILLI));
}

#[test]
fn an_orphan_that_leaves_fin_wait2_at_once_may_have_been_aborted_unless_resets_are_seen() {
    let mut script = Script::new();
    let mut sock = opened(&mut script, 1);
    client_closes(&mut script, &mut sock, 10 * MILLI);
    fin_acked(&mut script, &mut sock, 50 * MILLI, 7);
    script.step(&mut sock, 50 * MILLI + 2000, FinWait2, Close).quiet(SECOND, 0);
    assert_eq!(script.close().kind.reason(), Some(Reason::HiddenFinWait2));
}

#[test]
fn close_after_shutdown_is_kept_as_a_step() {
    let mut script = Script::new();
    let mut sock = opened(&mut script, 1);
    sock.by(100, "curl").shut(false, true);
    script.step(&mut sock, 10 * MILLI, Established, FinWait1);
    sock.softirq();
    sock.tcp().write_seq = Some(1002);
    fin_acked(&mut script, &mut sock, 11 * MILLI, 7);
    sock.by(100, "curl").shut(true, true);
    script.step(&mut sock, 20 * MILLI, FinWait2, FinWait2);
    sock.flags(true, false);
    script.step(&mut sock, 20 * MILLI + 10, FinWait2, Close).quiet(SECOND, 0);
    let steps: Vec<_> = script.close().steps.iter().map(|s| (s.old, s.new)).collect();
    assert!(steps.contains(&(FinWait2, FinWait2)));
    let last = script.transitions().pop().unwrap();
    assert_eq!(last.in_old_state_ns.value(), Some(&(9 * MILLI + 10)), "counted from the state's first entry");
}

fn server_after_the_peers_fin(script: &mut Script) -> Sock {
    let mut sock = accepted(script, 2);
    sock.received(100).read_all().received(1).flags(false, true).shut(true, false);
    script.step(&mut sock, 10 * MILLI, Established, CloseWait);
    sock
}

#[test]
fn peer_closes_and_the_server_answers_before_the_delayed_ack() {
    for (pending, waves) in [(true, Waves::Three), (false, Waves::Four)] {
        let mut script = Script::new();
        let mut sock = server_after_the_peers_fin(&mut script);
        let tcp = sock.tcp();
        tcp.rcv_wup = if pending { tcp.rcv_nxt.map(|n| n - 1) } else { tcp.rcv_nxt };
        sock.by(811, "nginx").shut(true, true);
        script.step(&mut sock, 10 * MILLI + 200_000, CloseWait, LastAck);
        sock.softirq().flags(true, true).acked(1);
        script.step(&mut sock, 41 * MILLI, LastAck, Close).quiet(SECOND, 0);
        let close = script.close();
        assert_eq!(close.kind.value(), Some(&CloseKind::Passive));
        assert_eq!(close.first_closer.value(), Some(&FirstCloser::Peer));
        assert_eq!(close.role.value(), Some(&Role::Accepted));
        assert_eq!(close.waves.value(), Some(&waves));
        assert_eq!(close.successor.value(), Some(&Successor::Nothing));
        assert_eq!(close.opener.reason(), Some(Reason::NotVisible));
        assert_eq!(close.closer.value().unwrap().comm.to_string(), "nginx");
        assert_eq!(dwell_ns(&close, CloseWait), Ok(200_000));
        assert_eq!(close.bytes_received.value(), Some(&100));
        assert_eq!(close.bytes_sent.value(), Some(&0));
    }
}

#[test]
fn both_close_at_once() {
    let mut script = Script::new();
    let mut sock = opened(&mut script, 1);
    client_closes(&mut script, &mut sock, 10 * MILLI);
    sock.flags(true, true).received(1);
    script.step(&mut sock, 30 * MILLI, FinWait1, Closing);
    sock.acked(0).tcp().snd_una = Some(1002);
    let tcp = sock.tcp();
    (tcp.write_seq, tcp.bytes_acked) = (Some(1002), Some(2));
    script.step(&mut sock, 60 * MILLI, Closing, Close).quiet(SECOND, 0);
    let close = script.close();
    assert_eq!(close.kind.value(), Some(&CloseKind::Simultaneous));
    assert_eq!(close.first_closer.value(), Some(&FirstCloser::Both));
    assert_eq!(close.successor.value(), Some(&Successor::TimeWait));
}

/// How a socket in `old` shows itself when it goes to CLOSE.
type Shown = fn(&mut Sock);

/// The end of an opened connection in ESTABLISHED.
fn ends(shown: Shown) -> CloseRecord {
    let mut script = Script::new();
    let mut sock = opened(&mut script, 1);
    shown(&mut sock);
    script.step(&mut sock, 20 * MILLI, Established, Close).quiet(SECOND, 0);
    script.close()
}

#[test]
fn resets_that_were_sent_name_their_cause() {
    let linger: Shown = |sock| {
        sock.by(100, "curl").shut(true, true);
        sock.now.flags.as_mut().unwrap().linger = true;
    };
    let unread: Shown = |sock| {
        sock.by(100, "curl").shut(true, true).received(4096);
    };
    let both: Shown = |sock| {
        sock.by(100, "curl").shut(true, true).received(4096);
        sock.now.flags.as_mut().unwrap().linger = true;
    };
    let disconnect: Shown = |sock| {
        sock.by(100, "curl");
    };
    for (shown, cause, unread_bytes) in [
        (linger, ResetCause::LingerZero, 0),
        (unread, ResetCause::UnreadData, 4096),
        (both, ResetCause::UnreadData, 4096),
        (disconnect, ResetCause::Disconnect, 0),
    ] {
        let close = ends(shown);
        assert_eq!(close.kind.value(), Some(&CloseKind::Reset), "{cause}");
        let reset = close.reset.unwrap();
        assert_eq!(reset.direction.value(), Some(&ResetDirection::Sent), "{cause}");
        assert_eq!(reset.cause.value(), Some(&cause));
        assert_eq!(reset.unread_bytes.value(), Some(&unread_bytes), "{cause}");
        assert_eq!(close.closer.value().unwrap().comm.to_string(), "curl");
        assert_eq!(close.first_closer.reason(), Some(Reason::DidNotHappen));
    }
}

#[test]
fn errors_name_who_gave_up() {
    let received: Shown = |sock| {
        sock.err(104);
    };
    let killed: Shown = |sock| {
        sock.by(9, "ss").err(103);
    };
    let keepalive: Shown = |sock| {
        sock.err(110).tcp().probes_out = Some(3);
    };
    let resent: Shown = |sock| {
        sock.err(110).tcp().retransmits = Some(5);
        sock.tcp().write_seq = Some(1500);
    };
    let unreachable: Shown = |sock| {
        sock.err(113).tcp().retransmits = Some(5);
        sock.tcp().write_seq = Some(1500);
    };
    let nothing: Shown = |_| {};
    for (shown, kind, timeout) in [
        (received, Some(CloseKind::Reset), None),
        (killed, Some(CloseKind::Killed), None),
        (keepalive, Some(CloseKind::TimedOut), Some(TimeoutCause::Keepalive)),
        (resent, Some(CloseKind::TimedOut), Some(TimeoutCause::Retransmission)),
        (unreachable, Some(CloseKind::TimedOut), Some(TimeoutCause::Retransmission)),
        (nothing, None, None),
    ] {
        let close = ends(shown);
        assert_eq!(close.kind.value().copied(), kind);
        assert_eq!(close.timeout.and_then(|cause| cause.value().copied()), timeout);
        assert!(
            close.closer.value().is_none(),
            "neither the kernel nor ss closed it as its owner: {:?}",
            close.closer
        );
    }
}

#[test]
fn an_error_from_before_the_connection_proves_nothing() {
    let mut script = Script::new();
    let mut sock = Sock::new(1, 1000, 9000);
    sock.by(100, "curl").err(104);
    script.step(&mut sock, MILLI, Close, SynSent);
    sock.softirq().acked(1);
    script.step(&mut sock, 2 * MILLI, SynSent, Established);
    script.step(&mut sock, 20 * MILLI, Established, Close).quiet(SECOND, 0);
    assert_eq!(script.close().kind.reason(), Some(Reason::NoKnownWay));
}

#[test]
fn a_reset_after_close_may_be_either_ends() {
    for (both_shut, direction) in [(true, None), (false, Some(ResetDirection::Received))] {
        let mut script = Script::new();
        let mut sock = opened(&mut script, 1);
        sock.by(100, "curl").shut(both_shut, true);
        script.step(&mut sock, 10 * MILLI, Established, FinWait1);
        sock.softirq().flags(both_shut, false).err(104);
        sock.tcp().write_seq = Some(1002);
        script.step(&mut sock, 12 * MILLI, FinWait1, Close).quiet(SECOND, 0);
        let close = script.close();
        assert_eq!(close.kind.value(), Some(&CloseKind::Reset));
        assert_eq!(close.reset.unwrap().direction.value().copied(), direction);
    }
}

#[test]
fn a_reset_in_close_wait_shows_as_epipe() {
    let mut script = Script::new();
    let mut sock = server_after_the_peers_fin(&mut script);
    sock.err(32);
    script.step(&mut sock, 12 * MILLI, CloseWait, Close).quiet(SECOND, 0);
    let close = script.close();
    assert_eq!(close.kind.value(), Some(&CloseKind::Reset));
    assert_eq!(close.reset.unwrap().direction.value(), Some(&ResetDirection::Received));
    assert_eq!(close.first_closer.value(), Some(&FirstCloser::Peer));
}

#[test]
fn a_last_ack_that_is_never_acknowledged_is_an_orphans_timeout() {
    let mut script = Script::new();
    let mut sock = server_after_the_peers_fin(&mut script);
    sock.by(811, "nginx").shut(true, true);
    script.step(&mut sock, 11 * MILLI, CloseWait, LastAck);
    sock.softirq().flags(true, true).err(110);
    sock.tcp().write_seq = Some(5001);
    script.step(&mut sock, 9 * SECOND, LastAck, Close).quiet(20 * SECOND, 0);
    let close = script.close();
    assert_eq!(close.kind.value(), Some(&CloseKind::TimedOut));
    assert_eq!(close.timeout.unwrap().value(), Some(&TimeoutCause::Orphan));
    assert!(close.dwells.iter().any(|d| d.state == LastAck && d.slow));
}

#[test]
fn handshakes_fail_in_their_own_ways() {
    let refused: Shown = |sock| {
        sock.softirq().err(111);
    };
    let timed_out: Shown = |sock| {
        sock.softirq().err(110);
    };
    let cancelled: Shown = |sock| {
        sock.shut(true, true);
    };
    let no_port: Shown = |sock| {
        (sock.now.inet_sport, sock.now.num) = (None, None);
    };
    let unreachable: Shown = |sock| {
        sock.softirq().err(113);
    };
    for (shown, kind) in [
        (refused, CloseKind::Refused),
        (timed_out, CloseKind::ConnectTimedOut),
        (cancelled, CloseKind::ConnectCancelled),
        (no_port, CloseKind::NoFreePort),
        (unreachable, CloseKind::ConnectFailed),
    ] {
        let mut script = Script::new();
        let mut sock = Sock::new(1, 1000, 9000);
        sock.by(100, "curl");
        script.step(&mut sock, MILLI, Close, SynSent);
        shown(&mut sock);
        script.step(&mut sock, 2 * MILLI, SynSent, Close).quiet(SECOND, 0);
        let close = script.close();
        assert_eq!(close.kind.value(), Some(&kind));
        assert_eq!(close.role.value(), Some(&Role::Opened));
    }
}

#[test]
fn a_descriptors_last_port_does_not_hide_that_there_was_none() {
    let mut script = Script::new();
    let mut sock = Sock::new(1, 1000, 9000);
    sock.by(100, "curl").now.num = None;
    script.step(&mut sock, MILLI, Close, SynSent);
    script.step(&mut sock, 2 * MILLI, SynSent, Close).quiet(SECOND, 0);
    let close = script.close();
    assert_eq!(close.kind.reason(), Some(Reason::AbortWithoutError));
    assert_eq!(close.local.port, None);
}

#[test]
fn a_child_that_was_never_accepted_goes_with_its_listener() {
    let mut script = Script::new();
    let mut sock = Sock::new(2, 5000, 7000);
    sock.now.inode = None;
    script.step(&mut sock, MILLI, Listen, SynRecv);
    script.step(&mut sock, MILLI + 10, SynRecv, Established);
    script.step(&mut sock, SECOND, Established, Close).quiet(2 * SECOND, 0);
    let close = script.close();
    assert_eq!(close.kind.value(), Some(&CloseKind::Dropped));
    assert_eq!(close.reset.unwrap().cause.value(), Some(&ResetCause::ListenerClosed));
}

#[test]
fn without_the_sockets_fields_nothing_is_claimed_but_who_closed_first() {
    let mut script = Script::new();
    let mut sock = opened(&mut script, 1);
    let bare = |sock: &mut Sock| {
        sock.now.tcp = finwait_core::observation::TcpFields::default();
        (sock.now.err, sock.now.flags, sock.now.shutdown, sock.now.lock_owned, sock.now.task) =
            (None, None, None, None, None);
    };
    bare(&mut sock);
    script.step(&mut sock, 10 * MILLI, Established, FinWait1);
    script.step(&mut sock, 11 * MILLI, FinWait1, FinWait2);
    script.step(&mut sock, 12 * MILLI, FinWait2, Close).quiet(SECOND, 0);
    let close = script.close();
    assert_eq!(close.first_closer.value(), Some(&FirstCloser::Local));
    assert_eq!(close.kind.reason(), Some(Reason::FieldAbsent));
    assert_eq!(close.successor.reason(), Some(Reason::FieldAbsent));
    assert_eq!(close.closer.reason(), Some(Reason::FieldAbsent));
    assert_eq!(dwell_ns(&close, FinWait1), Ok(MILLI));
}
