//! Dumps of the sockets that there are: what they make known, what they repair, and what an event outweighs.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it fails")]

mod script;

use finwait_core::TcpState::{
    Close, CloseWait, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent,
};
use finwait_core::observation::{CgroupNames, DumpScope, SocketRow, Tier, Workload};
use finwait_core::record::SeenFrom;
use finwait_core::{CgroupId, Cookie, NetNs, Observation, Port, Reason, TcpState, TrackerConfig};
use script::time_wait::{TimeWaits, row};
use script::{MILLI, SECOND, Script, Sock, accepted, opened, run, task};

/// A row that shows `sock` in `state`.
fn full(sock: &Sock, state: TcpState) -> SocketRow {
    SocketRow { mini: false, inode: Some(5), timer_ns: None, ..row(sock, state, 0) }
}

fn dump(script: &mut Script, at: u64, rows: Vec<SocketRow>) {
    script.dump(at, at + MILLI, DumpScope::Connections, rows);
}

/// The peer closed, then this end.
fn passive_close(script: &mut Script, sock: &mut Sock, at: u64) {
    sock.received(1).flags(false, true).shut(true, false).softirq();
    script.step(sock, at, Established, CloseWait);
    last_ack(script, sock, at + MILLI);
}

fn last_ack(script: &mut Script, sock: &mut Sock, at: u64) {
    sock.by(811, "nginx").shut(true, true);
    script.step(sock, at, CloseWait, LastAck);
    sock.softirq().flags(true, true).acked(1);
    script.step(sock, at + MILLI, LastAck, Close);
}

#[test]
fn a_connection_from_before_is_known_and_its_transitions_continue_it() {
    let mut script = Script::new();
    let mut sock = Sock::new(7, 100, 200);
    let holder = SocketRow {
        cgroup: Some(CgroupId(9)),
        uid: Some(33),
        holder: Some(task(50, "nginx")),
        ..full(&sock, Established)
    };
    dump(&mut script, 10 * MILLI, vec![holder]);
    (sock.now.cgroup, sock.now.uid) = (None, None);
    let workload = Workload {
        path: "/web.slice".into(),
        container: None,
        runtime: None,
        pod: None,
        unit: Some("web.service".into()),
    };
    script.observations.push(Observation::Cgroup(Box::new(CgroupNames { cgroup: CgroupId(9), workload })));
    passive_close(&mut script, &mut sock, 20 * MILLI);
    script.quiet(SECOND, 0);
    let close = script.close();
    assert_eq!(close.seen_from, SeenFrom::Middle);
    assert_eq!(close.conn_id.generation, 10 * MILLI, "it is known since the dump");
    assert_eq!((close.cgroup, close.uid), (Some(CgroupId(9)), Some(33)));
    assert_eq!(close.workload.unwrap().unit.as_deref(), Some("web.service"));
    assert_eq!(close.holder.unwrap().comm.to_string(), "nginx");
    assert_eq!(close.life_ns.reason(), Some(Reason::SeenFromMiddle));
    assert_eq!(close.chain_breaks, 0);
    let first = &script.transitions()[0];
    assert!(!first.chain_broken);
    assert_eq!(first.in_old_state_ns.reason(), Some(Reason::SeenFromMiddle));
}

#[test]
fn of_a_connection_from_before_even_its_last_transition_alone_is_seen_from_the_middle() {
    let mut script = Script::new();
    let mut sock = Sock::new(7, 100, 200);
    dump(&mut script, 10 * MILLI, vec![full(&sock, Established)]);
    sock.err(104);
    script.step(&mut sock, 20 * MILLI, Established, Close).quiet(SECOND, 0);
    assert_eq!(script.close().seen_from, SeenFrom::Middle);
}

#[test]
fn listeners_request_sockets_and_rows_without_a_name_are_not_taken() {
    let mut script = Script::new();
    let sock = Sock::new(7, 100, 200);
    let nameless = SocketRow { cookie: None, ..full(&sock, Established) };
    dump(&mut script, 10 * MILLI, vec![full(&sock, Listen), full(&sock, SynRecv), nameless]);
    let (_, tracker) = run(&script.observations, TrackerConfig::default());
    assert_eq!(tracker.fates().begun, 0);
}

#[test]
fn what_two_dumps_do_not_show_has_ended_unseen() {
    let mut script = Script::new();
    opened(&mut script, 1);
    dump(&mut script, 10 * MILLI, Vec::new());
    let mut once = script.clone();
    once.quiet(SECOND, 0);
    assert!(once.closes().is_empty(), "a single dump may have passed over it");
    dump(&mut script, 20 * MILLI, Vec::new());
    script.quiet(SECOND, 0);
    let close = script.close();
    assert_eq!(close.kind.reason(), Some(Reason::EndNotSeen));
    assert_eq!(close.closed_at, None);
}

#[test]
fn what_a_dump_cannot_show_is_still_there() {
    // Another namespace; an event since the dump began; a beginning since then; a listener.
    let mut script = Script::new();
    let mut elsewhere = Sock::new(1, 1, 1);
    elsewhere.now.netns = Some(NetNs(1));
    script.step(&mut elsewhere, MILLI, SynRecv, Established);
    let mut listener = Sock::new(4, 1, 1);
    script.step(&mut listener, MILLI, Close, Listen);
    let mut moving = opened(&mut script, 2);
    dump(&mut script, 5 * MILLI, Vec::new());
    let begin = 10 * MILLI;
    script.dump(begin, begin + MILLI, DumpScope::Connections, Vec::new());
    let end = script.observations.pop().unwrap();
    script.step(&mut moving, begin + 10, Established, FinWait1);
    script.step(&mut Sock::new(3, 1, 1), begin + 20, SynRecv, Established);
    script.observations.push(end);
    script.quiet(SECOND, 0);
    let (records, tracker) = run(&script.observations, TrackerConfig::default());
    assert!(script::closes(records).is_empty());
    assert_eq!(tracker.open_connections(), 4);
}

#[test]
fn a_row_that_is_older_than_an_event_changes_nothing() {
    let mut script = Script::new();
    let mut sock = accepted(&mut script, 1);
    let begin = 10 * MILLI;
    script.dump(begin, begin + 5 * MILLI, DumpScope::Connections, Vec::new());
    let end = script.observations.pop().unwrap();
    passive_close(&mut script, &mut sock, begin + 10);
    script.observations.push(Observation::Socket(Box::new(full(&sock, Established))));
    // Closed before its row was read; a connection that nobody knew closed likewise.
    let mut other = Sock::new(2, 1, 1);
    script.step(&mut other, begin + 30, LastAck, Close);
    script.observations.push(Observation::Socket(Box::new(full(&other, LastAck))));
    script.observations.push(end);
    script.quiet(SECOND, 0);
    let (records, tracker) = run(&script.observations, TrackerConfig::default());
    assert_eq!((script::closes(records).len(), tracker.fates().open), (2, 0));
}

#[test]
fn a_state_that_no_transition_led_to_breaks_the_chain() {
    let mut script = Script::new();
    let mut sock = accepted(&mut script, 1);
    let mut lost = sock.clone();
    lost.received(1).flags(false, true).shut(true, false);
    script.lose();
    sock.now = lost.now;
    dump(&mut script, 10 * MILLI, vec![full(&sock, CloseWait)]);
    last_ack(&mut script, &mut sock, 20 * MILLI);
    script.quiet(SECOND, 1);
    let close = script.close();
    assert_eq!(close.chain_breaks, 1);
    let transitions = script.transitions();
    assert_eq!(transitions.iter().filter(|record| record.chain_broken).count(), 1);
    assert!(
        close.dwells.iter().all(|d| d.state != CloseWait || d.duration_ns.value().is_none()),
        "when CLOSE_WAIT began was not seen"
    );
}

#[test]
fn another_connection_of_the_same_descriptor_ends_the_one_before() {
    let mut script = Script::new();
    let sock = opened(&mut script, 1);
    let elsewhere = SocketRow { remote_port: finwait_core::Port::new(1), ..full(&sock, Established) };
    dump(&mut script, 10 * MILLI, vec![elsewhere]);
    script.quiet(SECOND, 0);
    let (records, tracker) = run(&script.observations, TrackerConfig::default());
    let closes = script::closes(records);
    assert_eq!(closes.len(), 1);
    assert_eq!(closes[0].kind.reason(), Some(Reason::EndNotSeen));
    assert_eq!(tracker.open_connections(), 1);
}

#[test]
fn a_connection_known_by_its_address_gets_the_cookie_that_the_dump_made() {
    let mut script = Script::new();
    let mut sock = Sock::new(1, 1000, 9000);
    sock.now.cookie = None;
    script.step(&mut sock, MILLI, SynRecv, Established);
    sock.now.cookie = Some(Cookie(77));
    dump(&mut script, 10 * MILLI, vec![full(&sock, Established)]);
    passive_close(&mut script, &mut sock, 20 * MILLI);
    script.quiet(SECOND, 0);
    assert_eq!(script.close().steps.len(), 4, "one connection from its first event to its last");
}

/// 5.10 shows SYN_SENT without cookie and before there is a local port; the dump makes the cookie and shows the port.
#[test]
fn a_connection_that_has_no_name_and_no_port_yet_is_not_listed_a_second_time() {
    let mut script = Script::new();
    let mut sock = Sock::new(1, 1000, 9000);
    sock.by(100, "curl");
    (sock.now.cookie, sock.now.num, sock.now.inet_sport) = (None, None, None);
    script.step(&mut sock, MILLI, Close, SynSent);
    sock.softirq().acked(1);
    (sock.now.cookie, sock.now.num, sock.now.inet_sport) =
        (Some(Cookie(77)), Port::new(40_000), Port::new(40_000));
    let elsewhere = SocketRow { cookie: Some(Cookie(78)), remote_port: Port::new(9), ..full(&sock, SynSent) };
    dump(&mut script, 10 * MILLI, vec![full(&sock, SynSent), elsewhere]);
    script.step(&mut sock, 20 * MILLI, SynSent, Established);
    passive_close(&mut script, &mut sock, 30 * MILLI);
    script.quiet(SECOND, 0);
    let close = script.close();
    assert_eq!((close.steps.len(), close.seen_from), (5, SeenFrom::Handshake));
    let (_, tracker) = run(&script.observations, TrackerConfig::default());
    assert_eq!(tracker.fates().begun, 2, "the other one is listed");
}

#[test]
fn the_classic_tier_shows_no_cookie_to_join_by() {
    let mut script = Script::new();
    if let Some(Observation::Host(host)) = script.observations.first_mut() {
        host.tier = Tier::Classic;
    }
    dump(&mut script, 10 * MILLI, vec![full(&Sock::new(1, 1, 1), FinWait2)]);
    let (_, tracker) = run(&script.observations, TrackerConfig::default());
    assert_eq!(tracker.fates().begun, 0);
}

#[test]
fn a_dump_larger_than_the_table_puts_nobody_out() {
    let mut script = Script::new();
    let sock = opened(&mut script, 1);
    let rows = [1, 2, 3].map(|cookie| SocketRow { cookie: Some(Cookie(cookie)), ..full(&sock, Established) });
    dump(&mut script, 10 * MILLI, rows.into());
    let config = TrackerConfig { capacity: 2, ..TrackerConfig::default() };
    let (_, tracker) = run(&script.observations, config);
    let fates = tracker.fates();
    assert_eq!((fates.begun, fates.evicted, fates.open), (3, 1, 2));
}
