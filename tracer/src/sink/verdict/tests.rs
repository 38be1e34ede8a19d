use finwait_core::record::{CloseKind, CloseRecord, FirstCloser, Reset, ResetCause, ResetDirection};
use finwait_core::{Claim, Reason};

use super::*;
use crate::sink::samples_for_tests::{
    accounting, both_ends, close, killed, known, owner, time_wait, unproven,
};
use crate::source::UnreadLines;

fn reset(direction: Claim<ResetDirection>, sender: &str) -> CloseRecord {
    CloseRecord {
        kind: known(CloseKind::Reset),
        first_closer: Claim::Unknown(Reason::DidNotHappen),
        reset: Some(Reset {
            direction,
            cause: known(ResetCause::UnreadData),
            unread_bytes: known(4096),
            state: finwait_core::TcpState::Established,
            reason: finwait_core::Claim::Unknown(finwait_core::Reason::NotVisible),
        }),
        closer: known(owner(sender, 402, 402)),
        dwells: Vec::new(),
        ..close()
    }
}

fn verdict(records: Vec<CloseRecord>) -> Verdict {
    let mut tally = Tally::default();
    for record in records {
        tally.add(&Record::Close(Box::new(record)));
    }
    Verdict {
        ended: Ended::Signal,
        duration: Some(Duration::from_secs(61)),
        accounting: accounting(),
        fates: finwait_core::Fates::default(),
        unread: None,
        capture: None,
        tally,
    }
}

#[test]
fn the_first_line_says_who_closes_first_who_resets_and_what_was_slow() {
    let sent = || known(ResetDirection::Sent);
    let peer_first = CloseRecord { first_closer: known(FirstCloser::Peer), dwells: Vec::new(), ..close() };
    let text = verdict(vec![
        close(),
        peer_first.clone(),
        peer_first,
        reset(sent(), "api"),
        reset(sent(), "api"),
        reset(known(ResetDirection::Received), "api"),
        unproven(),
    ])
    .for_people(Some(Subject::Closes));
    assert_eq!(
        text.lines().next().unwrap(),
        "7 closes in 1m01s: peer first 29 %, local first 14 %; \
         3 resets, 2 sent by api/402 (unread data), 1 received; \
         slowest close 3.1s in FIN_WAIT2 (curl → 10.0.0.7:8080); 1 of unknown kind"
    );
}

#[test]
fn several_senders_are_told_apart() {
    let sent = || known(ResetDirection::Sent);
    let text = verdict(vec![reset(sent(), "api"), reset(sent(), "api"), reset(sent(), "web\u{1b}")])
        .for_people(Some(Subject::Closes));
    assert!(text.contains("3 resets sent (2 by api/402 (unread data))"), "{text}");
}

#[test]
fn resets_that_went_one_way_are_said_in_one_word() {
    for (direction, text) in [
        (known(ResetDirection::Sent), "2 resets sent by api/402 (unread data);"),
        (known(ResetDirection::Received), "2 resets received"),
        (Claim::Unknown(Reason::ResetOrLateData), "2 resets of unknown direction"),
    ] {
        let shown = verdict(vec![reset(direction, "api"), reset(direction, "api"), close()])
            .for_people(Some(Subject::Closes));
        assert!(shown.contains(text), "{shown}");
    }
}

#[test]
fn nothing_closed_is_said_in_few_words() {
    let text = verdict(vec![]).for_people(Some(Subject::Closes));
    assert_eq!(text.lines().next().unwrap(), "0 closes in 1m01s");
}

#[test]
fn losses_come_with_every_verdict() {
    for subject in [Some(Subject::Closes), Some(Subject::States), None] {
        let text = verdict(vec![unproven()]).for_people(subject);
        assert!(
            text.contains("saw 4,127 transitions, lost 1, rescued 3; 1 connection was seen from the middle")
        );
        assert!(text.ends_with(
            "received 4,127, lost_ring 1, recursion_missed 3, rescued 3, gaps 1, chain_breaks 1, evicted 0, \
             decode_errors 0, duplicates 2, hooks_lost 0"
        ));
    }
}

#[test]
fn resets_are_counted_by_the_kernels_reason() {
    let named = |name: &str| {
        let mut record = killed();
        let reason = finwait_core::observation::ReasonName::new(name);
        record.reset.as_mut().unwrap().reason = known(reason);
        record
    };
    let records = vec![named("TCP_STATE"), named("TCP_ABORT_ON_CLOSE"), named("TCP_ABORT_ON_CLOSE"), close()];
    let text = verdict(records).for_people(Some(Subject::Closes));
    assert_eq!(text.lines().nth(1), Some("resets by reason: TCP_ABORT_ON_CLOSE 2, TCP_STATE 1"));
    assert!(!verdict(vec![close()]).for_people(Some(Subject::Closes)).contains("by reason"));
}

#[test]
fn reasons_that_no_kernel_has_are_bounded() {
    let mut tally = Tally::default();
    for n in 0..1_000 {
        let mut record = killed();
        let reason = finwait_core::observation::ReasonName::new(&format!("R{n}"));
        record.reset.as_mut().unwrap().reason = known(reason);
        tally.add(&Record::Close(Box::new(record)));
    }
    assert_eq!((tally.resets.reasons.len(), tally.resets.sent), (128, 1_000));
}

#[test]
fn fins_that_went_again_are_counted_with_their_closes() {
    use finwait_core::record::FinRetransmits;
    let resent = |by_timeout, by_probe| CloseRecord {
        fin_retransmits: known(FinRetransmits { by_timeout, by_probe, by_recovery: 0, data: 9 }),
        ..close()
    };
    let text = verdict(vec![resent(2, 1), resent(0, 1), close()]).for_people(Some(Subject::Closes));
    assert!(text.contains("; 4 FINs sent again in 2 closes; "), "{text}");
}

#[test]
fn time_wait_sockets_are_counted_by_their_end() {
    use finwait_core::record::{TimeWaitEnd, TimeWaitRecord};
    let mut tally = Tally::default();
    let reused = TimeWaitRecord { end: known(TimeWaitEnd::ReusedBySyn), ..time_wait() };
    let open = TimeWaitRecord { end: Claim::Unknown(Reason::StillOpen), ..time_wait() };
    for record in [time_wait(), time_wait(), reused, open] {
        tally.add(&Record::TimeWait(Box::new(record)));
    }
    let verdict = Verdict { tally, ..verdict(vec![]) };
    let text = verdict.for_people(Some(Subject::Closes));
    assert_eq!(text.lines().nth(1), Some("4 time-wait sockets: expired 2, reused_by_syn 1, unknown 1"));
}

#[test]
fn both_ends_are_two_closes_of_one_connection() {
    let mut tally = Tally::default();
    tally.add(&Record::BothEnds(Box::new(both_ends())));
    let text = Verdict { tally, ..verdict(vec![]) }.for_people(Some(Subject::Closes));
    assert!(
        text.starts_with(
            "2 closes in 1m01s: peer first 50 %, local first 50 %; 1 connection seen from both ends"
        ),
        "{text}"
    );
}

#[test]
fn closes_that_could_not_wait_for_the_other_end_are_counted() {
    let mut verdict = verdict(vec![]);
    (verdict.tally.both_ends, verdict.tally.hurried) = (2, 1_000);
    let text = verdict.for_people(Some(Subject::Closes));
    assert!(text.contains("; 2 connections seen from both ends (1,000 had no room to wait)"), "{text}");
}

#[test]
fn what_the_hooks_lost_is_said_like_any_loss() {
    let mut verdict = verdict(vec![]);
    verdict.accounting.hooks_lost = 3;
    let text = verdict.for_people(None);
    assert!(text.contains("lost 1, rescued 3; lost 3 events of the hooks beyond them"), "{text}");
    assert!(text.ends_with("hooks_lost 3"), "{text}");
}

#[test]
fn what_cannot_be_counted_is_no_zero() {
    let mut verdict = verdict(vec![]);
    verdict.accounting.recursion_missed = None;
    verdict.accounting.rescued = None;
    let text = verdict.for_people(None);
    assert!(text.contains("lost 1 (what was skipped is not counted here)"), "{text}");
    assert!(text.contains("recursion_missed ?, rescued ?"), "{text}");
}

#[test]
fn unread_lines_are_counted_and_the_first_is_named() {
    let mut verdict = verdict(vec![]);
    verdict.accounting.decode_errors = 1;
    verdict.unread = Some(Unread::Lines(UnreadLines {
        lines: 3,
        first_line: 17,
        detail: "expected value".to_owned(),
        place: "trace.jsonl".to_owned(),
    }));
    let text = verdict.for_people(None);
    assert!(text.contains("decode_errors 4"), "{text}");
    assert!(text.ends_with("3 lines of trace.jsonl could not be read; the first is line 17: expected value"));
}
