use finwait_core::observation::Tier;
use finwait_core::record::{CloseKind, Endpoint};
use finwait_core::{Claim, Reason, TcpState};

use super::*;
use crate::sink::samples_for_tests::{
    self as samples, Shared, both_ends, classic_transition, close, context, endpoint, killed, known, owner,
    time_wait, transition, unproven,
};

fn look(subject: Subject) -> Look {
    Look {
        subject,
        width: 100,
        wide: false,
        colour: false,
        time: false,
        timestamp: false,
        zone: TimeZone::UTC,
    }
}

fn table(look: Look, records: Vec<Record>) -> Vec<String> {
    let out = Shared::default();
    let mut sink = TableSink::new(Box::new(out.clone()), look);
    sink.context(&context());
    sink.begin().unwrap();
    for record in records {
        sink.record(&record).unwrap();
    }
    out.text().lines().map(ToOwned::to_owned).collect()
}

fn states(look: Look, records: Vec<TransitionRecord>) -> Vec<String> {
    table(look, records.into_iter().map(|record| Record::Transition(Box::new(record))).collect())
}

fn closes(look: Look, records: Vec<CloseRecord>) -> Vec<String> {
    table(look, records.into_iter().map(|record| Record::Close(Box::new(record))).collect())
}

fn long_v6() -> (Endpoint, Endpoint) {
    (
        endpoint("2001:db8:1111:2222:3333:4444:5555:6666", 443),
        endpoint("2001:db8:1111:2222:3333:4444:5555:7777", 60110),
    )
}

#[test]
fn states_look_as_tcpstates_users_know_them() {
    let lines = states(
        look(Subject::States),
        vec![
            transition(TcpState::Established, TcpState::FinWait1),
            classic_transition(TcpState::FinWait1, TcpState::FinWait2),
        ],
    );
    assert_eq!(
        lines,
        [
            "COOKIE PID     COMM     LADDR         LPORT RADDR           RPORT OLDSTATE    -> NEWSTATE        MS",
            "2a     9120    curl     10.0.0.5      39812 10.0.0.7        8080  ESTABLISHED -> FIN_WAIT1   47.123",
            "?      ?       ?        10.0.0.5      39812 10.0.0.7        8080  FIN_WAIT1   -> FIN_WAIT2   47.123",
        ]
    );
    assert!(lines.iter().all(|line| line.chars().count() <= 100));
}

#[test]
fn the_time_columns_come_first() {
    let look = Look { time: true, timestamp: true, ..look(Subject::States) };
    let lines = states(look, vec![transition(TcpState::Established, TcpState::FinWait1)]);
    assert!(lines[0].starts_with("TIME     TIME(s)    COOKIE"), "{}", lines[0]);
    assert!(lines[1].starts_with("20:24:11 0.148000   2a    "), "{}", lines[1]);
}

#[test]
fn wide_shows_addresses_and_the_socket_in_full() {
    let mut record = transition(TcpState::Established, TcpState::FinWait1);
    (record.local, record.remote) = long_v6();
    let narrow = states(look(Subject::States), vec![record.clone()]);
    assert!(narrow[1].contains("2001:db…55:7777"), "{}", narrow[1]);
    let wide = states(Look { wide: true, ..look(Subject::States) }, vec![record]);
    assert!(wide[0].starts_with("SKADDR           COOKIE"), "{}", wide[0]);
    assert!(wide[1].starts_with("ffff888012345680 2a"), "{}", wide[1]);
    assert!(wide[1].contains(" 2001:db8:1111:2222:3333:4444:5555:7777 "), "{}", wide[1]);
}

#[test]
fn a_listener_has_no_peer_and_a_broken_chain_is_marked() {
    let mut listener = transition(TcpState::Close, TcpState::Listen);
    listener.remote = Endpoint { addr: Some("0.0.0.0".parse().unwrap()), port: None };
    listener.in_old_state_ns = Claim::Unknown(Reason::DidNotHappen);
    let mut broken = transition(TcpState::FinWait2, TcpState::Close);
    broken.chain_broken = true;
    broken.in_old_state_ns = Claim::Unknown(Reason::TransitionMissing);
    let lines = states(look(Subject::States), vec![listener, broken]);
    assert!(
        lines[1].contains("39812 -               -     CLOSE       -> LISTEN           ?"),
        "{}",
        lines[1]
    );
    assert!(lines[2].ends_with("-> CLOSE        ? gap"), "{}", lines[2]);
}

#[test]
fn in_softirq_the_owner_is_shown_and_never_a_bystander() {
    let mut record = transition(TcpState::FinWait1, TcpState::FinWait2);
    record.actor = Claim::Unknown(Reason::NoTask);
    record.owner = Some(owner("nginx", 811, 812));
    assert!(states(look(Subject::States), vec![record])[1].starts_with("2a     811     nginx "));
}

#[test]
fn closes_answer_the_question_within_a_hundred_columns() {
    let mut passive = close();
    passive.role = known(finwait_core::record::Role::Accepted);
    passive.opener = Claim::Unknown(Reason::NotVisible);
    passive.closer = known(owner("nginx", 811, 811));
    passive.local = endpoint("10.0.0.5", 443);
    passive.remote = endpoint("203.0.113.9", 51122);
    passive.first_closer = known(finwait_core::record::FirstCloser::Peer);
    passive.kind = known(CloseKind::Passive);
    passive.dwells =
        vec![samples::dwell(TcpState::CloseWait, 200_000), samples::dwell(TcpState::LastAck, 31_000_000)];
    passive.successor = known(finwait_core::record::Successor::Nothing);
    let lines = closes(look(Subject::Closes), vec![passive, close(), unproven()]);
    assert_eq!(
        lines,
        [
            "TIME     OPENED BY     LOCAL  REMOTE              FIRST KIND         LIFE CLOSE",
            "20:24:14 nginx/811 ◀   :443   203.0.113.9:51122   peer  passive      3.1s CW 0.2ms · LA 31ms",
            "20:24:14 curl/9120 ▶   :39812 10.0.0.7:8080       local active       3.1s FW1 0.4ms · FW2 3.1s! · TW",
            "20:24:14 ? ◀           :443   [2001:db8::77]:60110 ?    unknown     ≥3.1s a transition is missing",
        ]
    );
    assert!(lines.iter().all(|line| line.chars().count() <= 100));
}

#[test]
fn a_wider_terminal_gets_more_columns() {
    let width = 160;
    let lines = closes(Look { width, ..look(Subject::Closes) }, vec![close(), unproven()]);
    assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:#?}");
    for title in ["LOCAL", "CLOSED BY", "CLOSE ", "SENT", "RCVD", "RTT"] {
        assert!(lines[0].contains(title), "{title}: {}", lines[0]);
    }
    for cell in ["10.0.0.5:39812", "active 4seg", "512", "2.0K", "0.3ms"] {
        assert!(lines[1].contains(cell), "{cell}: {}", lines[1]);
    }
    assert!(lines[2].trim_end().ends_with("?      ?      ?"), "{}", lines[2]);
}

#[test]
fn every_width_is_kept_to_whatever_the_record() {
    let mut record = close();
    (record.local, record.remote) = long_v6();
    record.opener = known(owner("a-very-long-nam", 4_194_303, 1));
    for width in [100, 101, 113, 120, 137, 150, 200, 300] {
        let lines = closes(Look { width, ..look(Subject::Closes) }, vec![record.clone(), close()]);
        for line in lines {
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
    }
}

#[test]
fn wide_cuts_nothing() {
    let mut record = close();
    (record.local, record.remote) = long_v6();
    record.opener = known(owner("a-very-long-nam", 4_194_303, 1));
    let lines = closes(Look { wide: true, ..look(Subject::Closes) }, vec![record]);
    for cell in
        ["a-very-long-nam/4194303 ▶", "[2001:db8:1111:2222:3333:4444:5555:7777]:60110", "local curl/9120"]
    {
        assert!(lines[1].contains(cell), "{cell}: {}", lines[1]);
    }
}

#[test]
fn who_ended_it_is_told_for_resets_and_refusals_too() {
    use finwait_core::record::{Reset, ResetDirection};
    let never = Claim::Unknown(Reason::DidNotHappen);
    let reset = |direction| CloseRecord {
        kind: known(CloseKind::Reset),
        first_closer: never,
        reset: Some(Reset {
            direction,
            cause: Claim::Unknown(Reason::NoKnownWay),
            unread_bytes: Claim::Unknown(Reason::FieldAbsent),
            state: TcpState::Established,
            reason: Claim::Unknown(Reason::NotVisible),
        }),
        ..close()
    };
    let ended = |kind| CloseRecord { kind: known(kind), first_closer: never, ..close() };
    for (record, first) in [
        (reset(known(ResetDirection::Sent)), "local"),
        (reset(known(ResetDirection::Received)), "peer "),
        (reset(Claim::Unknown(Reason::ResetOrLateData)), "-    "),
        (ended(CloseKind::Refused), "peer "),
        (ended(CloseKind::TimedOut), "-    "),
        (ended(CloseKind::Killed), "-    "),
        (unproven(), "?    "),
    ] {
        let lines = closes(look(Subject::Closes), vec![record]);
        let shown: String = lines[1].chars().skip(50).take(5).collect();
        assert!(
            shown.trim() == first.trim() || lines[1].contains(&format!(" {} ", first.trim())),
            "{lines:?}"
        );
    }
}

#[test]
fn what_stands_out_is_shown_within_the_same_width() {
    use finwait_core::record::{FinRetransmits, LocalCause};
    let resent = CloseRecord {
        fin_retransmits: known(FinRetransmits { by_timeout: 3, ..FinRetransmits::default() }),
        ..close()
    };
    let shut = CloseRecord { cause: known(LocalCause::Shutdown), ..close() };
    let lines = closes(look(Subject::Closes), vec![killed(), resent, shut]);
    assert_eq!(
        lines[1..],
        [
            "20:24:14 nginx/811 ◀   :39812 10.0.0.7:8080       local reset sent   3.1s unread 4.0K · killed 9",
            "20:24:14 curl/9120 ▶   :39812 10.0.0.7:8080       local active       3.1s FW2 3.1s! · FIN ×3",
            "20:24:14 curl/9120 ▶   :39812 10.0.0.7:8080       local active       3.1s FW2 3.1s! · shutdown",
        ]
    );
    assert!(lines.iter().all(|line| line.chars().count() <= 100));
}

#[test]
fn wide_names_the_kernels_reason_and_the_workload() {
    let of_unit = |container: Option<&str>, unit: Option<&str>| CloseRecord {
        workload: Some(std::sync::Arc::new(finwait_core::observation::Workload {
            container: container.map(ToOwned::to_owned),
            unit: unit.map(ToOwned::to_owned),
            ..samples::workload()
        })),
        ..close()
    };
    let records = vec![killed(), of_unit(None, Some("nginx.service")), of_unit(None, None), close()];
    let lines = closes(Look { wide: true, ..look(Subject::Closes) }, records);
    assert!(lines[0].ends_with(" WORKLOAD"), "{}", lines[0]);
    assert!(lines[1].contains("unread 4.0K in ESTABLISHED (TCP_ABORT_ON_CLOSE) · killed 9"), "{}", lines[1]);
    assert!(lines[1].ends_with(" 0a1b2c3d4e5f"), "{}", lines[1]);
    assert!(lines[2].ends_with(" nginx.service"), "{}", lines[2]);
    assert!(lines[3].contains(" /system.slice/docker-"), "{}", lines[3]);
    assert!(lines[4].ends_with(" ?"), "{}", lines[4]);
}

#[test]
fn a_time_wait_socket_ends_in_a_quiet_line_of_its_own() {
    use finwait_core::record::{TimeWaitEnd, TimeWaitRecord, WaveTime};
    let swept = TimeWaitRecord {
        ended: known(WaveTime { earliest: MonoNs(61_000_000_000), latest: MonoNs(62_000_000_000) }),
        from_fin_wait2: known(true),
        entered: Claim::Unknown(Reason::DidNotHappen),
        end: known(TimeWaitEnd::FinWait2TimedOut),
        fin_wait2_ns: known((59_952_000_000, 60_952_000_000)),
        time_wait_ns: Claim::Unknown(Reason::DidNotHappen),
        ..time_wait()
    };
    let reused = TimeWaitRecord {
        end: known(TimeWaitEnd::ReusedByConnect),
        ended_by: known(owner("curl", 9120, 9120)),
        fin_wait2_ns: Claim::Unknown(Reason::DidNotHappen),
        ..time_wait()
    };
    let open = TimeWaitRecord {
        ended: Claim::Unknown(Reason::StillOpen),
        end: Claim::Unknown(Reason::StillOpen),
        time_wait_ns: Claim::Unknown(Reason::StillOpen),
        ..time_wait()
    };
    let records = [time_wait(), swept, reused, open].map(|record| Record::TimeWait(Box::new(record)));
    let lines = table(look(Subject::Closes), records.to_vec());
    assert_eq!(
        lines[1..],
        [
            "20:25:15               :39812 10.0.0.7:8080             time-wait   1m04s FW2 3.1s · TW 1m01s · 2MSL over",
            "20:25:12               :39812 10.0.0.7:8080             orphan     ≥1m00s FW2 1m00s–1m01s · the peer never closed",
            "20:25:15               :39812 10.0.0.7:8080             time-wait   1m04s TW 1m01s · reused by connect (curl/9120)",
            "?                      :39812 10.0.0.7:8080             time-wait       ? FW2 3.1s · not over yet",
        ]
    );
    let coloured =
        table(Look { colour: true, ..look(Subject::Closes) }, vec![Record::TimeWait(Box::new(time_wait()))]);
    assert!(coloured[1].contains("\u{1b}[2mtime-wait\u{1b}[0m"), "{}", coloured[1]);
    assert_eq!(without_colour(&coloured[1]), lines[1]);
}

#[test]
fn both_ends_are_one_line() {
    let mut wrong = both_ends();
    wrong.acceptor_side.first_closer = known(finwait_core::record::FirstCloser::Local);
    let records = [both_ends(), wrong].map(|both| Record::BothEnds(Box::new(both)));
    let lines = table(look(Subject::Closes), records.to_vec());
    assert_eq!(
        lines[1..],
        [
            "20:24:14 curl/9120 ▶   :39812 10.0.0.7:8080 ◀ nginx/811 ▶ active/passive 3.1s FW2 3.1s! ◀ CW 3.1s!",
            "20:24:14 curl/9120 ▶   :39812 10.0.0.7:8080 ◀ nginx/811 ! active/passive 3.1s \
             FW2 3.1s! ◀ CW 3.1s! · ends disagree: who was first",
        ]
    );
    let wide = table(Look { wide: true, ..look(Subject::Closes) }, records.to_vec());
    assert!(wide[1].contains("FW1 0.4ms · FW2 3.1s! · TW ◀ CW 3.1s! · LA 0.1ms"), "{}", wide[1]);
}

#[test]
fn a_reset_between_both_ends_names_the_end_that_sent_it() {
    use finwait_core::record::{Reset, ResetDirection};
    let never = Claim::Unknown(Reason::DidNotHappen);
    let reset = |record: CloseRecord, direction| CloseRecord {
        kind: known(CloseKind::Reset),
        first_closer: never,
        reset: Some(Reset {
            direction: known(direction),
            cause: Claim::Unknown(Reason::NotVisible),
            unread_bytes: Claim::Unknown(Reason::FieldAbsent),
            state: TcpState::Established,
            reason: Claim::Unknown(Reason::NotVisible),
        }),
        ..record
    };
    let ends = both_ends();
    let (sent, received) = (ResetDirection::Sent, ResetDirection::Received);
    for (opener, acceptor, mark) in [
        (sent, received, "▶ reset sent/rcvd"),
        (received, sent, "◀ reset rcvd/sent"),
        (sent, sent, "! reset sent"),
    ] {
        let both = BothEnds {
            opener_side: reset(ends.opener_side.clone(), opener),
            acceptor_side: reset(ends.acceptor_side.clone(), acceptor),
        };
        let lines = table(look(Subject::Closes), vec![Record::BothEnds(Box::new(both))]);
        assert!(lines[1].contains(&format!("nginx/811 {mark}")), "{}", lines[1]);
    }
}

#[test]
fn a_hostile_name_cannot_leave_its_cell() {
    let mut record = close();
    record.opener = known(owner("\u{1b}[2J\n\u{202e}x", 1, 1));
    let lines = closes(Look { wide: true, ..look(Subject::Closes) }, vec![record]);
    assert_eq!(lines.len(), 2);
    assert!(lines[1].contains("\\x1b[2J\\n\\u{202e}x/1 ▶"), "{}", lines[1]);
}

#[test]
fn colour_is_added_to_the_same_text() {
    let plain = closes(look(Subject::Closes), vec![close(), unproven()]);
    let coloured = closes(Look { colour: true, ..look(Subject::Closes) }, vec![close(), unproven()]);
    assert!(coloured[1].contains("\u{1b}[1;33mFW2 3.1s!\u{1b}[0m"), "{}", coloured[1]);
    let stripped: Vec<String> = coloured.iter().map(|line| without_colour(line)).collect();
    assert_eq!(stripped, plain);
}

fn without_colour(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or(part, |(_, rest)| rest))
}

#[test]
fn without_clocks_the_time_is_unknown() {
    let out = Shared::default();
    let mut sink = TableSink::new(Box::new(out.clone()), look(Subject::Closes));
    sink.context(&Context { host: Some(samples::host(Tier::TpBtf)), clock: None });
    sink.record(&Record::Close(Box::new(close()))).unwrap();
    assert!(out.text().starts_with("?        curl/9120"), "{}", out.text());
}
