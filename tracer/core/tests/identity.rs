//! Which events belong to one connection: generations, duplicates, children, losses, the full table.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it fails")]

mod script;

use finwait_core::TcpState::{
    Close, CloseWait, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent,
};
use finwait_core::observation::{Program, Stream};
use finwait_core::record::{CloseKind, FirstCloser, Role, SeenFrom};
use finwait_core::{MonoNs, Reason, SockAddr, SocketKey, TrackerConfig};
use script::{MILLI, SECOND, Script, Sock, accepted, opened, run};

#[test]
fn a_descriptor_that_connects_again_is_another_connection_of_the_same_cookie() {
    let mut script = Script::new();
    let mut sock = Sock::new(1, 1000, 9000);
    sock.by(100, "curl");
    script.step(&mut sock, MILLI, Close, SynSent);
    sock.softirq().err(111);
    script.step(&mut sock, 2 * MILLI, SynSent, Close);
    sock.by(100, "curl").err(0);
    script.step(&mut sock, 3 * MILLI, Close, SynSent);
    sock.softirq().err(111);
    script.step(&mut sock, 4 * MILLI, SynSent, Close).quiet(SECOND, 0);
    let closes = script.closes();
    assert_eq!(closes.len(), 2);
    assert_eq!(closes[0].conn_id.socket, closes[1].conn_id.socket);
    assert_ne!(closes[0].conn_id, closes[1].conn_id);
    assert!(closes.iter().all(|close| close.kind.value() == Some(&CloseKind::Refused)));
}

#[test]
fn a_repetition_by_the_shadow_is_dropped_and_counted() {
    let mut script = Script::new();
    let mut sock = opened(&mut script, 1);
    sock.by(100, "curl").shut(true, true);
    script.step(&mut sock, 10 * MILLI, Established, FinWait1);
    sock.now.stream = Stream { cpu: 0, program: Program::Shadow, depth: 0 };
    sock.now.seq = 0;
    let mut again = sock.clone();
    again.now.seq = 1;
    script.observations.push(finwait_core::Observation::StateChange(Box::new(again.now)));
    let (records, tracker) = run(&script.observations, TrackerConfig::default());
    assert_eq!(records.len(), 3);
    assert_eq!(tracker.accounting().duplicates, 1);
    assert_eq!(tracker.accounting().received, 3);
    assert_eq!(tracker.accounting().chain_breaks, 0);
}

/// FIN_WAIT1 as reported by `first`, then once more by `second` on CPU `cpu` after `between`: what counts as received, and
/// as a repetition.
fn told_twice(first: Program, second: Program, cpu: u16, between: impl FnOnce(&mut Sock)) -> (u64, u64) {
    let mut script = Script::new();
    let mut sock = opened(&mut script, 1);
    sock.by(100, "curl").shut(true, true);
    sock.now.stream = Stream { cpu: 0, program: first, depth: 0 };
    script.step(&mut sock, 10 * MILLI, Established, FinWait1);
    between(&mut sock);
    (sock.now.stream, sock.now.seq) = (Stream { cpu, program: second, depth: 0 }, 1);
    script.observations.push(finwait_core::Observation::StateChange(Box::new(sock.now)));
    let (_, tracker) = run(&script.observations, TrackerConfig::default());
    (tracker.accounting().received, tracker.accounting().duplicates)
}

#[test]
fn a_later_shadow_repeats_what_any_program_before_it_reported() {
    let later = [
        (Program::Prime, Program::Shadow2),
        (Program::Prime, Program::Shadow3),
        (Program::Shadow, Program::Shadow2),
        (Program::Shadow2, Program::Shadow3),
    ];
    for (first, second) in later {
        assert_eq!(told_twice(first, second, 0, |_| ()), (3, 1), "{second:?} after {first:?}");
    }
}

#[test]
fn a_program_does_not_repeat_one_that_comes_after_it() {
    for (first, second) in [(Program::Shadow2, Program::Shadow), (Program::Shadow, Program::Shadow)] {
        assert_eq!(told_twice(first, second, 0, |_| ()), (4, 0), "{second:?} after {first:?}");
    }
}

#[test]
fn a_repetition_after_the_task_went_to_another_cpu_shows_the_same_numbers() {
    assert_eq!(told_twice(Program::Prime, Program::Shadow, 1, |_| ()), (3, 1));
}

#[test]
fn on_another_cpu_other_numbers_are_another_event() {
    let told = |between: fn(&mut Sock)| told_twice(Program::Prime, Program::Shadow, 1, between);
    assert_eq!(told(|sock| sock.tcp().write_seq = Some(5)), (4, 0));
    assert_eq!(told(|sock| sock.tcp().rcv_nxt = Some(5)), (4, 0));
    assert_eq!(told(|sock| sock.tcp().snd_una = None), (4, 0), "no proof");
}

#[test]
fn a_self_transition_on_another_cpu_is_kept() {
    let mut script = Script::new();
    let mut sock = opened(&mut script, 1);
    sock.by(100, "curl").shut(false, true);
    script.step(&mut sock, 10 * MILLI, Established, FinWait1);
    script.step(&mut sock, 11 * MILLI, FinWait1, FinWait1);
    sock.now.stream = Stream { cpu: 1, program: Program::Shadow, depth: 0 };
    script.step(&mut sock, 12 * MILLI, FinWait1, FinWait1);
    let (_, tracker) = run(&script.observations, TrackerConfig::default());
    assert_eq!((tracker.accounting().received, tracker.accounting().duplicates), (5, 0));
}

#[test]
fn a_transition_that_only_the_shadow_saw_is_kept() {
    let mut script = Script::new();
    let mut sock = opened(&mut script, 1);
    sock.by(100, "curl").shut(true, true);
    sock.now.stream = Stream { cpu: 0, program: Program::Shadow, depth: 1 };
    script.step(&mut sock, 10 * MILLI, Established, FinWait1);
    let (_, tracker) = run(&script.observations, TrackerConfig::default());
    assert_eq!((tracker.accounting().received, tracker.accounting().duplicates), (3, 0));
}

#[test]
fn a_child_that_carries_its_listeners_cookie_gets_its_own_name_with_the_next_event() {
    let mut script = Script::new();
    let mut listener = Sock::new(7, 0, 0);
    listener.by(811, "nginx");
    script.step(&mut listener, MILLI, Close, Listen);
    let mut child = Sock::new(8, 5000, 7000);
    (child.now.cookie, child.now.dport) = (listener.now.cookie, None);
    script.step(&mut child, 2 * MILLI, Listen, SynRecv);
    (child.now.cookie, child.now.dport) = (Some(finwait_core::Cookie(8)), finwait_core::Port::new(51_000));
    script.step(&mut child, 2 * MILLI + 900, SynRecv, Established);
    let transitions = script.transitions();
    assert_eq!(transitions.len(), 3);
    assert_eq!(transitions[1].conn_id, transitions[2].conn_id);
    assert_eq!(transitions[1].conn_id.socket, SocketKey::Cookie(finwait_core::Cookie(8)));
    assert_eq!(transitions[1].remote.port, finwait_core::Port::new(51_000), "filled from the later event");
    let (_, tracker) = run(&script.observations, TrackerConfig::default());
    assert_eq!(tracker.open_connections(), 2, "listener and child");
}

#[test]
fn without_cookies_an_address_used_again_is_another_connection() {
    let mut script = Script::new();
    for (at, port) in [(MILLI, 40_001), (5 * MILLI, 40_002)] {
        let mut sock = Sock::new(3, 5000, 7000);
        sock.now.cookie = None;
        sock.now.inet_sport = finwait_core::Port::new(port);
        script.step(&mut sock, at, Listen, SynRecv);
        script.step(&mut sock, at + 1000, SynRecv, Established);
    }
    script.quiet(SECOND, 0);
    let closes = script.closes();
    assert_eq!(closes.len(), 1, "the first is over: its socket is another's now");
    assert_eq!(closes[0].kind.reason(), Some(Reason::EndNotSeen));
    assert_eq!(closes[0].conn_id.socket, SocketKey::Address(SockAddr(0xffff_0000 + 3 * 64)));
}

#[test]
fn a_missing_transition_takes_only_the_claims_that_need_it() {
    let mut script = Script::new();
    let mut sock = opened(&mut script, 1);
    script.lose(); // ESTABLISHED → FIN_WAIT1
    sock.flags(true, false).shut(true, true);
    let tcp = sock.tcp();
    (tcp.write_seq, tcp.snd_una, tcp.snd_nxt, tcp.bytes_acked) =
        (Some(1002), Some(1002), Some(1002), Some(2));
    tcp.clock_cache_ns = Some(7);
    script.step(&mut sock, 20 * MILLI, FinWait1, FinWait2);
    sock.flags(true, true).received(1);
    script.step(&mut sock, 20 * MILLI + 500, FinWait2, Close).quiet(SECOND, 1);
    let close = script.close();
    assert_eq!(close.kind.value(), Some(&CloseKind::Active));
    assert_eq!(close.first_closer.value(), Some(&FirstCloser::Local));
    assert_eq!(
        close.role.value(),
        Some(&Role::Opened),
        "the numbers prove that it is the connection that was opened"
    );
    assert!(close.life_ns.value().is_some());
    assert!(close.closer.value().is_none(), "its event was lost");
    assert_eq!(close.chain_breaks, 1);
    let fin_wait1 = close.dwells.iter().find(|d| d.state == Established).unwrap();
    assert_eq!(fin_wait1.duration_ns.reason(), Some(Reason::TransitionMissing));
}

#[test]
fn a_loss_between_proven_neighbours_changes_nothing() {
    let mut whole = Script::new();
    let mut holed = Script::new();
    for (script, lost) in [(&mut whole, false), (&mut holed, true)] {
        let mut sock = opened(script, 1);
        if lost {
            script.lose();
        }
        sock.by(100, "curl").shut(true, true);
        script.step(&mut sock, 10 * MILLI, Established, FinWait1);
        sock.softirq().err(104);
        script.step(&mut sock, 11 * MILLI, FinWait1, Close).quiet(SECOND, u64::from(lost));
    }
    assert_eq!(whole.close(), holed.close());
    assert!(whole.close().life_ns.value().is_some());
}

#[test]
fn a_loss_in_the_handshake_leaves_its_length_unknown() {
    let mut script = Script::new();
    let mut sock = Sock::new(1, 1000, 9000);
    sock.by(100, "curl");
    script.step(&mut sock, MILLI, Close, SynSent);
    script.lose();
    sock.softirq().acked(1);
    script.step(&mut sock, 2 * MILLI, SynSent, Established);
    sock.err(104);
    script.step(&mut sock, 3 * MILLI, Established, Close).quiet(SECOND, 1);
    let close = script.close();
    assert_eq!(close.handshake_ns.reason(), Some(Reason::LossInInterval));
    assert_eq!(close.life_ns.reason(), Some(Reason::LossInInterval));
    assert_eq!(close.opener.reason(), Some(Reason::LossInInterval));
    assert_eq!(close.role.value(), Some(&Role::Opened), "SYN_SENT was left: that event was received");
    assert_eq!(close.kind.value(), Some(&CloseKind::Reset));
}

#[test]
fn a_connection_from_before_is_seen_from_the_middle() {
    let mut script = Script::new();
    let mut sock = Sock::new(4, 1000, 9000);
    sock.shut(true, false).flags(false, true);
    script.step(&mut sock, 10 * MILLI, Established, CloseWait);
    sock.by(5, "api").shut(true, true);
    script.step(&mut sock, 30 * MILLI, CloseWait, LastAck);
    sock.softirq().flags(true, true);
    script.step(&mut sock, 31 * MILLI, LastAck, Close).quiet(SECOND, 0);
    let close = script.close();
    assert_eq!(close.seen_from, SeenFrom::Middle);
    assert_eq!(close.kind.value(), Some(&CloseKind::Passive));
    for reason in
        [close.role.reason(), close.life_ns.reason(), close.opener.reason(), close.bytes_sent.reason()]
    {
        assert_eq!(reason, Some(Reason::SeenFromMiddle));
    }
    let close_wait = close.dwells.iter().find(|d| d.state == CloseWait).unwrap();
    assert_eq!(close_wait.duration_ns.value(), Some(&(20 * MILLI)));
}

#[test]
fn the_full_table_gives_up_the_longest_idle_established_first() {
    let mut script = Script::new();
    let mut socks: Vec<Sock> = (1..=3).map(|cookie| accepted(&mut script, cookie)).collect();
    let mut opening = Sock::new(9, 1, 1);
    script.step(&mut opening, 5 * MILLI, Close, SynSent);
    let config = TrackerConfig { capacity: 3, ..TrackerConfig::default() };
    let (_, tracker) = run(&script.observations, config);
    assert_eq!((tracker.accounting().evicted, tracker.open_connections()), (1, 3));
    for (index, sock) in socks.iter_mut().enumerate() {
        sock.softirq().err(104);
        script.step(sock, (10 + index as u64) * MILLI, Established, Close);
    }
    script.quiet(SECOND, 0);
    let closes = script::closes(run(&script.observations, config).0);
    let evicted =
        closes.iter().find(|c| c.conn_id.socket == SocketKey::Cookie(finwait_core::Cookie(1))).unwrap();
    assert_eq!(evicted.seen_from, SeenFrom::CloseOnly, "later events of an evicted connection are no gap");
    let (_, tracker) = run(&script.observations, config);
    assert_eq!(tracker.accounting().chain_breaks, 0);
}

#[test]
fn a_close_is_told_after_50_ms_of_event_time_and_not_before_every_loss_is_known() {
    let mut script = Script::new();
    let mut sock = opened(&mut script, 1);
    sock.err(104);
    script.step(&mut sock, 10 * MILLI, Established, Close);
    let told = |script: &Script| {
        let mut tracker =
            finwait_core::Tracker::new(TrackerConfig { transitions: false, ..TrackerConfig::default() });
        script.observations.iter().for_each(|o| tracker.observe(o));
        tracker.next_record().is_some()
    };
    let watermark =
        |at| finwait_core::Observation::Watermark(finwait_core::observation::Watermark { at: MonoNs(at) });
    script.observations.push(watermark(59 * MILLI));
    script.quiet(59 * MILLI, 0);
    assert!(!told(&script), "49 ms");
    script.observations.push(watermark(61 * MILLI));
    assert!(!told(&script), "51 ms, counters read at 49 ms: what belongs to the close comes after it");
    script.quiet(61 * MILLI, 0);
    assert!(told(&script), "51 ms, counters read too");
    script.observations.retain(|o| !matches!(o, finwait_core::Observation::Counters(_)));
    assert!(!told(&script), "counters never read");
}

#[test]
fn the_last_ack_of_one_and_the_next_connection_on_the_same_address_stay_apart() {
    let mut script = Script::new();
    let mut first = Sock::new(1, 1000, 9000);
    first.shut(true, true).flags(true, true);
    script.step(&mut first, MILLI, LastAck, Close);
    let mut second = Sock::new(2, 5000, 6000);
    second.now.sock_addr = first.now.sock_addr;
    second.by(1, "a");
    script.step(&mut second, MILLI + 10, Close, SynSent);
    second.softirq().acked(1);
    script.step(&mut second, MILLI + 20, SynSent, Established);
    second.by(1, "a").shut(true, true);
    script.step(&mut second, MILLI + 30, Established, FinWait1);
    second.softirq();
    script.step(&mut second, MILLI + 40, FinWait1, FinWait2).quiet(SECOND, 0);
    assert_eq!(script.closes().len(), 1);
    assert_eq!(script.transitions().iter().filter(|t| t.chain_broken).count(), 0);
}

#[test]
fn behind_a_kernel_filter_handshakes_that_go_no_further_cost_no_connection_its_place() {
    let mut script = Script::new().filtered(true);
    let mut wanted = accepted(&mut script, 1);
    for cookie in 2..10 {
        let mut passing = Sock::new(cookie, 1, 1);
        script.step(&mut passing, cookie * MILLI, Close, SynSent);
    }
    let config = TrackerConfig { capacity: 3, ..TrackerConfig::default() };
    let (_, tracker) = run(&script.observations, config);
    assert_eq!((tracker.accounting().evicted, tracker.fates().unfollowed), (0, 6));
    wanted.softirq().err(104);
    script.step(&mut wanted, 20 * MILLI, Established, Close).quiet(200 * SECOND, 0);
    let (records, tracker) = run(&script.observations, config);
    assert_eq!(script::closes(records)[0].seen_from, SeenFrom::Handshake);
    assert_eq!(tracker.open_connections(), 0, "after 150 s no handshake is waited for");
}
