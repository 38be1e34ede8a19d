//! What becomes of a connection after its socket is gone, by each source, and what may be said of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it fails")]

mod script;

use finwait_core::TcpState::{Close, Established, FinWait1, FinWait2, Listen, SynRecv, SynSent, TimeWait};
use finwait_core::observation::{CallSite, DumpScope, Program, TimeWaitSource};
use finwait_core::record::{TimeWaitEnd, TimeWaitRecord, WaveTime};
use finwait_core::{BootId, MonoNs, Observation, Reason, Record, TcpState, Tracker, TrackerConfig};
use script::time_wait::{TimeWaits, row, time_waits};
use script::{MILLI, SECOND, Script, Sock, accepted, opened, run};

/// When the socket of every script reaches CLOSE.
const CLOSED: u64 = 20 * MILLI;

/// close() by a client; nothing left but FIN_WAIT2 → CLOSE.
fn in_fin_wait2(script: &mut Script) -> Sock {
    let mut sock = opened(script, 1);
    sock.by(100, "curl").shut(true, true);
    script.step(&mut sock, 10 * MILLI, Established, FinWait1);
    sock.softirq().flags(true, false);
    script.step(&mut sock, 19 * MILLI, FinWait1, FinWait2);
    sock
}

/// The peer's FIN came, `armed` says whether its time-wait socket was seen.
fn with_time_wait(source: TimeWaitSource, armed: bool) -> (Script, Sock) {
    let mut script = Script::new().watching(source);
    let mut sock = in_fin_wait2(&mut script);
    if source == TimeWaitSource::Fentry {
        script.asked(&sock, CLOSED - 3000, TimeWait);
    }
    if armed {
        script.armed(&sock, CLOSED - 2000, TimeWait);
    }
    sock.flags(true, true).received(1);
    script.step(&mut sock, CLOSED, FinWait2, Close);
    (script, sock)
}

/// close() before the peer's FIN: the mini-socket begins in FIN_WAIT2.
fn with_hidden_fin_wait2(source: TimeWaitSource) -> (Script, Sock) {
    let mut script = Script::new().watching(source);
    let mut sock = in_fin_wait2(&mut script);
    if source == TimeWaitSource::Fentry {
        script.asked(&sock, CLOSED - 3000, FinWait2);
    }
    if source != TimeWaitSource::Sweep {
        script.armed(&sock, CLOSED - 2000, FinWait2);
    }
    script.step(&mut sock, CLOSED, FinWait2, Close);
    (script, sock)
}

fn over(mut script: Script) -> TimeWaitRecord {
    script.quiet(200 * SECOND, 0);
    script.time_wait_record()
}

fn at(moment: u64) -> Option<WaveTime> {
    Some(WaveTime::at(MonoNs(moment)))
}

fn between(earliest: u64, latest: u64) -> Option<WaveTime> {
    Some(WaveTime { earliest: MonoNs(earliest), latest: MonoNs(latest) })
}

/// A later connection with the same addresses and ports, by connect() or from a SYN.
fn same_place(script: &mut Script, from: u64, to: u64, by_connect: bool) {
    let mut sock = Sock::new(9, 50, 60);
    if by_connect {
        sock.by(300, "again");
        script.step(&mut sock, from, Close, SynSent);
        sock.softirq();
        script.step(&mut sock, to, SynSent, Established);
    } else {
        script.step(&mut sock, from, Listen, SynRecv);
        script.step(&mut sock, to, SynRecv, Established);
    }
}

#[test]
fn two_msl_pass_undisturbed() {
    for source in [TimeWaitSource::Fentry, TimeWaitSource::Timer] {
        let (mut script, sock) = with_time_wait(source, true);
        script.expired(&sock, CLOSED + 61 * SECOND, TimeWait);
        let record = over(script);
        assert_eq!(record.source, source);
        assert_eq!(record.began.value().copied(), at(CLOSED));
        assert_eq!(record.from_fin_wait2.value(), Some(&false));
        assert_eq!(record.entered.value().copied(), at(CLOSED));
        assert_eq!(record.ended.value().copied(), at(CLOSED + 61 * SECOND));
        assert_eq!(record.end.value(), Some(&TimeWaitEnd::Expired));
        assert_eq!(record.time_wait_ns.value(), Some(&(61 * SECOND, 61 * SECOND)));
        assert_eq!(record.fin_wait2_ns.reason(), Some(Reason::DidNotHappen));
        assert_eq!(record.timeout_ns, Some(60 * SECOND));
        assert_eq!(record.ended_by.reason(), Some(Reason::NoTask));
        // A timer set anew within its bucket of the wheel passes no tracepoint.
        assert_eq!(record.rearmed, (source == TimeWaitSource::Fentry).then_some(0));
    }
}

#[test]
fn it_is_known_by_its_connection_and_comes_after_the_close_record() {
    let (mut script, sock) = with_time_wait(TimeWaitSource::Fentry, true);
    script.quiet(SECOND, 0).expired(&sock, 61 * SECOND, TimeWait).quiet(62 * SECOND, 0);
    let records = script.records();
    let place = |wanted: fn(&Record) -> bool| records.iter().position(wanted).unwrap();
    let close = place(|record| matches!(record, Record::Close(_)));
    let time_wait = place(|record| matches!(record, Record::TimeWait(_)));
    assert!(close < time_wait);
    assert_eq!(records[close].conn_id(), records[time_wait].conn_id());
}

#[test]
fn the_peers_fin_comes_to_the_mini_socket() {
    let flip = CLOSED + 3 * SECOND;
    let (mut script, sock) = with_hidden_fin_wait2(TimeWaitSource::Fentry);
    script.disarmed(&sock, flip, TimeWait, Some(CallSite::Rearm));
    script.armed(&sock, flip + 10, TimeWait).armed(&sock, flip + SECOND, TimeWait);
    script.expired(&sock, flip + 62 * SECOND, TimeWait);
    let record = over(script);
    assert_eq!(record.from_fin_wait2.value(), Some(&true));
    assert_eq!(record.began.value().copied(), at(CLOSED));
    assert_eq!(record.entered.value().copied(), at(flip + 10));
    assert_eq!(record.fin_wait2_ns.value(), Some(&(3 * SECOND + 10, 3 * SECOND + 10)));
    assert_eq!(record.rearmed, Some(1), "the peer's FIN came again");
    assert_eq!(record.end.value(), Some(&TimeWaitEnd::Expired));
}

#[test]
fn a_timer_of_sixty_seconds_may_be_set_anew_without_a_trace() {
    let flip = CLOSED + 3 * SECOND;
    for (timeout, earliest) in [(60 * SECOND, CLOSED), (10 * SECOND, flip)] {
        let (mut script, sock) = with_hidden_fin_wait2(TimeWaitSource::Timer);
        for observation in &mut script.observations {
            if let finwait_core::Observation::TimeWait(event) = observation {
                event.timeout_ns = Some(timeout);
            }
        }
        script.armed(&sock, flip, TimeWait).expired(&sock, flip + 61 * SECOND, TimeWait);
        assert_eq!(over(script).entered.value().copied(), between(earliest, flip), "{timeout}");
    }
    let (mut script, sock) = with_hidden_fin_wait2(TimeWaitSource::Timer);
    script.expired(&sock, CLOSED + 63 * SECOND, TimeWait);
    let record = over(script);
    assert_eq!(record.entered.value().copied(), between(CLOSED, CLOSED + 3 * SECOND + 10 * MILLI));
}

#[test]
fn the_peers_fin_never_comes() {
    let (mut script, sock) = with_hidden_fin_wait2(TimeWaitSource::Fentry);
    script.expired(&sock, CLOSED + 11 * SECOND, FinWait2);
    let record = over(script);
    assert_eq!(record.end.value(), Some(&TimeWaitEnd::FinWait2TimedOut));
    assert_eq!(record.entered.reason(), Some(Reason::DidNotHappen));
    assert_eq!(record.time_wait_ns.reason(), Some(Reason::DidNotHappen));
    assert_eq!(record.fin_wait2_ns.value(), Some(&(11 * SECOND, 11 * SECOND)));
    assert_eq!(record.timeout_ns, Some(10 * SECOND));
}

#[test]
fn the_function_that_ended_it_tells_why() {
    for (site, state, end, by_a_task) in [
        (CallSite::Segment, TimeWait, TimeWaitEnd::ResetReceived, false),
        (CallSite::Segment, FinWait2, TimeWaitEnd::ResetReceived, false),
        (CallSite::Receive, TimeWait, TimeWaitEnd::ReusedBySyn, false),
        (CallSite::Receive, FinWait2, TimeWaitEnd::LateData, false),
        (CallSite::Connect, TimeWait, TimeWaitEnd::ReusedByConnect, true),
        (CallSite::Abort, TimeWait, TimeWaitEnd::Killed, true),
        (CallSite::Purge, TimeWait, TimeWaitEnd::NamespaceGone, false),
    ] {
        let (mut script, sock) = match state {
            TimeWait => with_time_wait(TimeWaitSource::Fentry, true),
            _ => with_hidden_fin_wait2(TimeWaitSource::Fentry),
        };
        script.disarmed(&sock, CLOSED + SECOND, state, Some(site));
        let record = over(script);
        assert_eq!(record.end.value(), Some(&end));
        assert_eq!(record.ended.value().copied(), at(CLOSED + SECOND));
        assert_eq!(record.ended_by.value().map(|owner| owner.tgid.0), by_a_task.then_some(7), "{end}");
    }
}

#[test]
fn a_reset_that_answers_a_segment_for_it_is_late_data_wherever_it_was_ended() {
    for site in [Some(CallSite::Receive), Some(CallSite::Other), None] {
        let (mut script, sock) = with_hidden_fin_wait2(TimeWaitSource::Fentry);
        script.reset_for(&sock, CLOSED + SECOND).disarmed(&sock, CLOSED + SECOND + 50, FinWait2, site);
        let record = over(script);
        assert_eq!(record.end.value(), Some(&TimeWaitEnd::LateData));
        assert_eq!(record.ended.value().copied(), at(CLOSED + SECOND + 50));
    }
    let (mut script, sock) = with_hidden_fin_wait2(TimeWaitSource::Sweep);
    script.reset_for(&sock, CLOSED + SECOND);
    let record = over(script);
    assert_eq!(record.end.value(), Some(&TimeWaitEnd::LateData));
    assert_eq!(record.ended.value().copied(), at(CLOSED + SECOND));
    assert_eq!(record.began.value().copied(), at(CLOSED));
}

#[test]
fn without_symbols_only_a_connection_in_the_same_place_tells_why() {
    let gone = CLOSED + SECOND;
    for (by_connect, from, end) in [
        (true, gone - 1000, Some(TimeWaitEnd::ReusedByConnect)),
        (true, gone + 1000, None), // connect() came after: something else had ended it
        (false, gone + 1000, Some(TimeWaitEnd::ReusedBySyn)),
    ] {
        let (mut script, sock) = with_time_wait(TimeWaitSource::Fentry, true);
        script.disarmed(&sock, gone, TimeWait, None);
        // In the order of the ring connect()'s first transition is before that; the tracker only compares times.
        same_place(&mut script, from, gone + 2000, by_connect);
        let record = over(script);
        assert_eq!(record.end.value().copied(), end, "{by_connect} {from}");
        let owner = (end == Some(TimeWaitEnd::ReusedByConnect)).then_some(300);
        assert_eq!(record.ended_by.value().map(|owner| owner.tgid.0), owner);
        assert_eq!(record.ended.value().copied(), at(gone));
    }
    let (mut script, sock) = with_time_wait(TimeWaitSource::Fentry, true);
    script.disarmed(&sock, gone, TimeWait, None);
    assert_eq!(over(script).end.reason(), Some(Reason::SymbolsHidden));
}

#[test]
fn taken_off_and_set_again_is_no_end() {
    let (mut script, sock) = with_time_wait(TimeWaitSource::Timer, true);
    script.disarmed(&sock, CLOSED + SECOND, TimeWait, Some(CallSite::Other));
    script.armed(&sock, CLOSED + SECOND + 10, TimeWait);
    script.disarmed(&sock, CLOSED + 62 * SECOND, TimeWait, Some(CallSite::Other));
    script.expired(&sock, CLOSED + 62 * SECOND + 10, TimeWait);
    let record = over(script);
    assert_eq!(record.end.value(), Some(&TimeWaitEnd::Expired));
    assert_eq!(record.ended.value().copied(), at(CLOSED + 62 * SECOND + 10));
}

#[test]
fn with_no_room_for_it_it_never_was() {
    for source in [TimeWaitSource::Fentry, TimeWaitSource::Timer] {
        let (script, _) = with_time_wait(source, false);
        let record = over(script);
        assert_eq!(record.end.value(), Some(&TimeWaitEnd::NeverAllocated));
        assert_eq!(record.began.reason(), Some(Reason::DidNotHappen));
        assert_eq!(record.entered.reason(), Some(Reason::DidNotHappen));
    }
}

#[test]
fn an_arming_that_may_be_lost_does_not_prove_that_there_was_no_room() {
    let (mut script, _) = with_time_wait(TimeWaitSource::Fentry, false);
    let mut other = Sock::new(2, 1, 1);
    other.now.inet_sport = finwait_core::Port::new(1);
    script.lose_hook(Program::TimeWaitArm).armed(&other, CLOSED + SECOND, TimeWait);
    let record = over(script);
    assert_eq!(record.end.reason(), Some(Reason::StillOpen));
    assert_eq!(record.began.reason(), Some(Reason::HookLoss));
}

#[test]
fn where_no_dump_shows_it_nothing_is_said() {
    let (mut script, _) = with_time_wait(TimeWaitSource::Sweep, false);
    script.dump(30 * SECOND, 30 * SECOND + MILLI, DumpScope::TimeWait, Vec::new());
    let record = over(script);
    for reason in [record.began.reason(), record.ended.reason(), record.end.reason()] {
        assert_eq!(reason, Some(Reason::BetweenDumps));
    }
}

#[test]
fn dumps_show_when_it_was_there() {
    let (mut script, sock) = with_hidden_fin_wait2(TimeWaitSource::Sweep);
    let dump = |script: &mut Script, second: u64, rows| {
        script.dump(second * SECOND, second * SECOND + MILLI, DumpScope::TimeWait, rows);
    };
    dump(&mut script, 1, vec![row(&sock, FinWait2, 59 * SECOND)]);
    dump(&mut script, 5, vec![row(&sock, TimeWait, 57 * SECOND)]);
    dump(&mut script, 62, vec![row(&sock, TimeWait, 0)]);
    dump(&mut script, 64, Vec::new());
    let record = over(script);
    assert_eq!(record.began.value().copied(), at(CLOSED));
    assert_eq!(record.entered.value().copied(), between(SECOND, 5 * SECOND + MILLI));
    assert_eq!(record.ended.value().copied(), between(62 * SECOND, 64 * SECOND + MILLI));
    assert_eq!(record.end.value(), Some(&TimeWaitEnd::Expired));
    assert_eq!(record.time_wait_ns.value(), Some(&(57 * SECOND - MILLI, 63 * SECOND + MILLI)));
}

#[test]
fn between_two_dumps_only_a_connection_in_its_place_before_its_time_tells_why_it_ended() {
    for (taken_at, by_connect, end) in [
        (30 * SECOND, true, Some(TimeWaitEnd::ReusedByConnect)),
        (30 * SECOND, false, Some(TimeWaitEnd::ReusedBySyn)),
        (61 * SECOND, true, None), // its time was over by then
    ] {
        let (mut script, sock) = with_time_wait(TimeWaitSource::Sweep, false);
        let rows = vec![row(&sock, TimeWait, 59 * SECOND)];
        script.dump(SECOND, SECOND + MILLI, DumpScope::TimeWait, rows);
        same_place(&mut script, taken_at, taken_at + 1000, by_connect);
        let record = over(script);
        assert_eq!(record.end.value().copied(), end, "{taken_at}");
        // A child holds the place from its first transition, a connect() from its second at the latest.
        let proven_at = if by_connect { taken_at + 1000 } else { taken_at };
        assert_eq!(record.ended.value().copied(), between(SECOND, proven_at));
    }
    let (mut script, sock) = with_time_wait(TimeWaitSource::Sweep, false);
    script.dump(SECOND, SECOND + MILLI, DumpScope::TimeWait, vec![row(&sock, TimeWait, 59 * SECOND)]);
    script.dump(9 * SECOND, 9 * SECOND + MILLI, DumpScope::TimeWait, Vec::new());
    assert_eq!(over(script).end.reason(), Some(Reason::BetweenDumps));
}

#[test]
fn a_dump_that_began_before_it_says_nothing_by_not_showing_it() {
    let (mut script, sock) = with_time_wait(TimeWaitSource::Sweep, false);
    script.dump(CLOSED - 1, SECOND, DumpScope::TimeWait, Vec::new());
    script.dump(2 * SECOND, 2 * SECOND + MILLI, DumpScope::TimeWait, vec![row(&sock, TimeWait, SECOND)]);
    let record = over(script);
    assert_eq!(record.began.value().copied(), at(CLOSED));
    assert_eq!(record.end.reason(), Some(Reason::StillOpen));
}

#[test]
fn what_is_still_there_at_the_end_of_the_run_is_still_open() {
    let (script, _) = with_time_wait(TimeWaitSource::Fentry, true);
    let record = over(script);
    assert_eq!(record.end.reason(), Some(Reason::StillOpen));
    assert_eq!(record.ended.reason(), Some(Reason::StillOpen));
    assert_eq!(record.entered.value().copied(), at(CLOSED));
}

#[test]
fn without_a_cookie_it_is_known_by_its_addresses_and_ports() {
    let (mut script, sock) = with_time_wait(TimeWaitSource::Fentry, true);
    script.expired(&sock, CLOSED + 61 * SECOND, TimeWait);
    for observation in &mut script.observations {
        match observation {
            finwait_core::Observation::TimeWait(event) => event.subject.cookie = None,
            finwait_core::Observation::StateChange(change) => change.cookie = None,
            _ => {}
        }
    }
    assert_eq!(over(script).end.value(), Some(&TimeWaitEnd::Expired));
}

#[test]
fn where_nothing_watches_there_are_no_records() {
    let (script, _) = with_time_wait(TimeWaitSource::Off, true);
    assert!(script.time_wait_records().is_empty());
}

#[test]
fn a_passive_close_leaves_no_record() {
    use TcpState::{CloseWait, LastAck};
    let mut script = Script::new().watching(TimeWaitSource::Fentry);
    let mut sock = accepted(&mut script, 2);
    sock.received(1).flags(false, true).shut(true, false);
    script.step(&mut sock, 10 * MILLI, Established, CloseWait);
    sock.by(811, "nginx").shut(true, true);
    script.step(&mut sock, 11 * MILLI, CloseWait, LastAck);
    sock.softirq().flags(true, true).acked(1);
    script.step(&mut sock, 12 * MILLI, LastAck, Close).quiet(SECOND, 0);
    assert!(script.time_wait_records().is_empty());
}

#[test]
fn when_the_table_is_full_the_oldest_is_told_as_still_open() {
    let mut script = Script::new().watching(TimeWaitSource::Fentry);
    for cookie in 1..=3 {
        let mut sock = Sock::new(cookie, 1, 1);
        (sock.now.inet_sport, sock.now.num) = (finwait_core::Port::new(1000 + cookie as u16), None);
        sock.flags(true, true);
        script.armed(&sock, CLOSED + cookie * 10, TimeWait);
        script.step(&mut sock, CLOSED + cookie * 10 + 5, FinWait2, Close);
    }
    let config = TrackerConfig { time_waits: 2, ..TrackerConfig::default() };
    let mut tracker = finwait_core::Tracker::new(config);
    script.observations.iter().for_each(|observation| tracker.observe(observation));
    let records: Vec<Record> = std::iter::from_fn(|| tracker.next_record()).collect();
    let early = time_waits(records);
    assert_eq!(early.len(), 1);
    assert_eq!(early[0].end.reason(), Some(Reason::StillOpen));
    assert_eq!(early[0].local.port.unwrap().0, 1001);
    assert_eq!(time_waits(run(&script.observations, config).0).len(), 3);
}

#[test]
fn what_another_boot_left_is_told_as_that_boots() {
    let (script, _) = with_time_wait(TimeWaitSource::Timer, true);
    let Some(Observation::Host(first)) = script.observations.first() else { panic!("no host") };
    let mut next = first.clone();
    next.boot_id = BootId(first.boot_id.0 + 1);
    let mut tracker = Tracker::new(TrackerConfig::default());
    script.observations.iter().for_each(|observation| tracker.observe(observation));
    tracker.observe(&Observation::Host(next));
    let records: Vec<_> = std::iter::from_fn(|| tracker.next_record()).collect();
    let boots: Vec<_> = records
        .iter()
        .filter_map(|record| match record {
            Record::Close(close) => Some(close.conn_id.boot),
            Record::TimeWait(record) => Some(record.conn_id.boot),
            _ => None,
        })
        .collect();
    assert_eq!(boots, [first.boot_id; 2]);
}
