//! Reports of closes that were counted by hand.

use std::time::Duration;

use finwait_core::observation::TimeWaitSource;
use finwait_core::record::{CloseKind, CloseRecord, FirstCloser, Reset, ResetCause, ResetDirection, Role};
use finwait_core::{Accounting, Claim, Fates, Reason, Record, TcpState, Tracker, TrackerConfig};

use super::json::ReportJson;
use super::*;
use crate::sink::samples_for_tests::{close, context, dwell, endpoint, known};
use crate::sink::{Context, Ended, Sink, Tally};
use crate::stats::Grouping;

const MINUTE: Duration = Duration::from_secs(60);

/// A span of a minute with these closes.
fn report(closes: Vec<CloseRecord>) -> Report {
    let mut sink = ReportSink::new(Grouping::default(), 100);
    let mut context: Context = context();
    if let Some(host) = &mut context.host {
        host.hooks.time_wait = TimeWaitSource::Fentry;
    }
    sink.context(&context);
    let mut tally = Tally::default();
    for record in closes.into_iter().map(|close| Record::Close(Box::new(close))) {
        tally.add(&record);
        sink.record(&record).unwrap();
    }
    let tracker = Tracker::new(TrackerConfig::default());
    sink.between(&tracker);
    sink.ended(&tracker);
    let verdict = Verdict {
        ended: Ended::Source,
        duration: Some(MINUTE),
        accounting: Accounting { received: 40, ..Accounting::default() },
        fates: Fates::default(),
        unread: None,
        capture: None,
        tally,
    };
    sink.into_report(verdict)
}

/// Accepted at :443, closed by the peer, the program took `ms` to close too.
fn passive(ms: u64) -> CloseRecord {
    CloseRecord {
        local: endpoint("10.0.0.5", 443),
        remote: endpoint("203.0.113.9", 51_122),
        role: known(Role::Accepted),
        kind: known(CloseKind::Passive),
        first_closer: known(FirstCloser::Peer),
        successor: known(finwait_core::record::Successor::Nothing),
        dwells: vec![dwell(TcpState::CloseWait, ms * 1_000_000), dwell(TcpState::LastAck, 30_000_000)],
        ..close()
    }
}

/// Accepted at :443, reset because of unread data.
fn reset() -> CloseRecord {
    CloseRecord {
        kind: known(CloseKind::Reset),
        first_closer: Claim::Unknown(Reason::DidNotHappen),
        reset: Some(Reset {
            direction: known(ResetDirection::Sent),
            cause: known(ResetCause::UnreadData),
            unread_bytes: known(4096),
            state: TcpState::Established,
            reason: Claim::Unknown(Reason::NotVisible),
        }),
        waves: Claim::Unknown(Reason::DidNotHappen),
        dwells: Vec::new(),
        ..passive(0)
    }
}

fn hand_counted() -> Report {
    let mut closes = vec![close(), close(), reset()];
    closes.extend((1..=10).map(passive));
    report(closes)
}

#[test]
fn json_says_what_was_counted_by_hand() {
    let json = serde_json::to_value(ReportJson::new(&hand_counted())).unwrap();
    for (pointer, value) in [
        ("/schema", serde_json::json!("finwait.report/1")),
        ("/duration_ns", serde_json::json!(60_000_000_000_u64)),
        ("/closes", serde_json::json!(13)),
        ("/closes_by_kind", serde_json::json!({"active": 2, "passive": 10, "reset": 1})),
        ("/closes_by_first_closer", serde_json::json!({"local": 2, "peer": 10, "unknown": 1})),
        ("/segments", serde_json::json!({"four": 12})),
        ("/resets_sent", serde_json::json!({"unread_data": 1})),
        ("/resets_received", serde_json::json!(0)),
        ("/time_waits_left", serde_json::json!({"opened": 2})),
        ("/services/0/role", serde_json::json!("accepted")),
        ("/services/0/service_port", serde_json::json!("443")),
        ("/services/0/closes", serde_json::json!(11)),
        ("/services/1/service_port", serde_json::json!("8080")),
        ("/services/1/durations/FIN_WAIT2/count", serde_json::json!(2)),
        ("/losses/received", serde_json::json!(40)),
        ("/losses/recursion_missed", serde_json::Value::Null),
    ] {
        assert_eq!(json.pointer(pointer), Some(&value), "{pointer}");
    }
    let half = json.pointer("/services/0/durations/CLOSE_WAIT/p50_ns").unwrap().as_f64().unwrap();
    assert!((half / 5e6 - 1.0).abs() < 0.045, "the fifth of 1 to 10 ms: {half}");
    assert!(json.get("against").is_none() && json.get("differences").is_none());
}

#[test]
fn text_has_a_section_for_each_thing_that_was_there() {
    let text = render::text(&document::of(&hand_counted()));
    let head: Vec<&str> = text.lines().take(9).collect();
    assert_eq!(
        head,
        [
            "13 closes from 2026-09-23T20:24:10.900000Z, 1m00s, kernel 6.18.44",
            "",
            "HOW CONNECTIONS ENDED",
            "  what          which                 closes  share",
            "  kind          passive                   10   77 %",
            "  kind          active                     2   15 %",
            "  kind          reset                      1  7.7 %",
            "  closed first  this end                   2   15 %",
            "  closed first  the peer                  10   77 %",
        ],
        "{text}"
    );
    for part in
        ["RESETS", "close() with received data unread", "accepted :443", "TIME_WAIT", "WHAT WAS MISSED"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    for part in ["STILL CLOSING", "IDLE TIMERS", "DIFFERENCES"] {
        assert!(!text.contains(part), "{part} in {text}");
    }
}

#[test]
fn markdown_has_tables_and_no_name_makes_a_link() {
    let mut hostile = hand_counted();
    hostile.stuck.push(StuckGroup {
        state: TcpState::CloseWait,
        process: Some("[x](http://y)|#".to_owned()),
        count: 3,
        oldest_ns: 5_000_000_000,
        oldest_is_minimum: true,
    });
    let text = render::markdown(&document::of(&hostile));
    assert!(text.starts_with("# 13 closes from "), "{text}");
    assert!(text.contains("\n| what | which | closes | share |\n|---|---|---:|---:|\n"), "{text}");
    assert!(text.contains("| CLOSE\\_WAIT | \\[x\\](http://y)\\|\\# | 3 | ≥ 5.0s |"), "{text}");
}

#[test]
fn of_two_spans_alike_nothing_is_marked_and_of_two_that_differ_what_does() {
    let before = report((0..200).map(|n| passive(1 + n % 10)).collect());
    let after = report((0..200).map(|n| passive(50 + n % 10)).collect());
    let alike = compare::differences(&before, &before);
    assert!(
        alike.iter().all(|d| !matches!(d.judgement, compare::Judgement::More | compare::Judgement::Less))
    );
    let marked: Vec<_> = compare::differences(&after, &before)
        .into_iter()
        .filter(|d| matches!(d.judgement, compare::Judgement::More | compare::Judgement::Less))
        .map(|d| (d.of, d.figure, d.judgement))
        .collect();
    assert_eq!(marked, [("accepted :443".to_owned(), "CLOSE_WAIT".to_owned(), compare::Judgement::More)]);
    let json = serde_json::to_value(ReportJson::against(&after, &before)).unwrap();
    assert_eq!(json.pointer("/against/closes"), Some(&serde_json::json!(200)));
    let text = render::text(&document::against(&after, &before));
    assert!(text.contains("1 difference beyond noise of "), "{text}");
    assert!(text.contains("▲ more"), "{text}");
}

#[test]
fn a_span_without_closes_is_a_report_too() {
    let nothing = report(Vec::new());
    assert!(render::text(&document::of(&nothing)).starts_with("0 closes from "));
    assert!(compare::differences(&nothing, &nothing).is_empty());
    assert!(render::markdown(&document::against(&nothing, &nothing)).contains("0 differences"));
}
