use std::collections::BTreeSet;
use std::time::Duration;

use finwait_core::observation::{CapturedClose, SeenSegment};
use finwait_core::record::{
    CloseKind, CloseRecord, FinRetransmits, FirstCloser, Reset, ResetCause, ResetDirection, TimeWaitEnd,
    TimeWaitRecord, TimeoutCause, WaveTime,
};
use finwait_core::{Claim, MonoNs, Reason, TcpState};
use serde_json::{Value, json};

use super::*;
use crate::sink::samples_for_tests::{
    Shared, accounting, both_ends, classic_transition, close, context, dwell, killed, known, owner, step,
    time_wait, transition, unproven,
};
use crate::sink::{Ended, Tally};
use crate::source::CaptureBooks;

const DOCUMENTED: &str = include_str!("../../../../docs/events.md");

fn written(records: &[Record]) -> Vec<Value> {
    let out = Shared::default();
    let mut sink = JsonSink::new(Box::new(out.clone()));
    sink.context(&context());
    let mut tally = Tally::default();
    for record in records {
        sink.record(record).unwrap();
        tally.add(record);
    }
    let duration = Some(Duration::from_secs(60));
    let verdict = Verdict {
        ended: Ended::Signal,
        duration,
        accounting: accounting(),
        fates: finwait_core::Fates::default(),
        unread: None,
        capture: Some(CaptureBooks::default()),
        tally,
    };
    sink.finish(&verdict).unwrap();
    out.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn closed(record: CloseRecord) -> Value {
    written(&[Record::Close(Box::new(record))]).remove(0)
}

fn reset() -> CloseRecord {
    CloseRecord {
        kind: known(CloseKind::Reset),
        reset: Some(Reset {
            direction: known(ResetDirection::Sent),
            cause: known(ResetCause::UnreadData),
            unread_bytes: known(4096),
            state: TcpState::Established,
            reason: Claim::Unknown(Reason::NotVisible),
        }),
        timeout: Some(known(TimeoutCause::Keepalive)),
        error: known(104),
        ..close()
    }
}

#[test]
fn a_close_tells_values_evidence_and_ids() {
    let value = closed(close());
    for (pointer, expected) in [
        ("/schema", json!("finwait.close/1")),
        ("/conn_id", json!("4f1c09ab2f3a-2a-3b9aca00")),
        ("/time", json!("2026-09-23T20:24:14.148000Z")),
        ("/time_ns", json!(4_148_000_000_u64)),
        ("/local_addr", json!("10.0.0.5")),
        ("/remote_port", json!(8080)),
        ("/opener", json!({"tgid": 9120, "pid": 9120, "comm": "curl", "start_boot_ns": 77})),
        ("/kind", json!("active")),
        ("/first_closer", json!("local")),
        ("/reset_direction", Value::Null),
        ("/waves", json!("four")),
        (
            "/dwell_ns",
            json!({"ESTABLISHED": 47_000_000, "FIN_WAIT1": 400_000, "FIN_WAIT2": 3_100_000_000_u64}),
        ),
        ("/slow_state", json!("FIN_WAIT2")),
        ("/sequence", json!(["CLOSE", "SYN_SENT", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "CLOSE"])),
        ("/steps/0", json!({"time_ns": 1_000_000_000, "old": "CLOSE", "new": "SYN_SENT"})),
        ("/evidence/kind", json!(["unbroken_chain"])),
        ("/evidence/dwell_ns.FIN_WAIT1", json!(["unbroken_chain"])),
        ("/unknown", json!({"acceptor": "did_not_happen"})),
    ] {
        assert_eq!(value.pointer(pointer), Some(&expected), "{pointer}");
    }
}

#[test]
fn an_unproven_close_is_unknown_or_null_and_says_why() {
    let value = closed(unproven());
    for key in ["kind", "first_closer", "waves", "successor"] {
        assert_eq!(value[key], "unknown", "{key}");
        assert_eq!(value["unknown"][key], "transition_missing", "{key}");
        assert_eq!(value["evidence"].get(key), None, "{key}");
    }
    for key in ["time", "time_ns", "opener", "closer", "life_ns", "sent_bytes", "srtt_us", "uid"] {
        assert_eq!(value[key], Value::Null, "{key}");
    }
    assert_eq!(value["unknown"]["life_ns"], "seen_from_middle");
    assert_eq!(value["role"], "accepted");
}

#[test]
fn a_reset_is_flat() {
    let value = closed(reset());
    assert_eq!(value["reset_direction"], "sent");
    assert_eq!(value["reset_cause"], "unread_data");
    assert_eq!(value["reset_unread_bytes"], 4096);
    assert_eq!(value["error_name"], "ECONNRESET");
}

#[test]
fn a_close_tells_its_waves_its_cause_and_whose_it_was() {
    let mut record = killed();
    record.wave_times.waves[1] =
        known(WaveTime { earliest: finwait_core::MonoNs(5), latest: finwait_core::MonoNs(9) });
    record.wave_times.waves[3] = Claim::Unknown(Reason::HookLoss);
    record.fin_retransmits = known(FinRetransmits { by_timeout: 1, by_probe: 2, by_recovery: 3, data: 4 });
    let value = closed(record);
    for (pointer, expected) in [
        ("/acceptor/comm", json!("nginx")),
        ("/acceptor/pid", json!(812)),
        ("/holder/tgid", json!(810)),
        ("/cause", json!("process_killed")),
        ("/exit_signal", json!(9)),
        ("/reset_reason", json!("TCP_ABORT_ON_CLOSE")),
        ("/reset_state", json!("ESTABLISHED")),
        ("/wave_times/0", json!({"earliest_ns": 1_048_000_000, "latest_ns": 1_048_000_000})),
        ("/wave_times/1", json!({"earliest_ns": 5, "latest_ns": 9})),
        ("/wave_times/3", Value::Null),
        ("/unknown/wave_times.4", json!("hook_loss")),
        ("/evidence/wave_times.1", json!(["unbroken_chain"])),
        ("/slow_wave", json!(3)),
        ("/half_closed_ns", json!(3_100_000_000_u64)),
        ("/half_closed_bytes", json!(0)),
        ("/fin_retransmits", json!({"by_timeout": 1, "by_probe": 2, "by_recovery": 3, "data": 4})),
        ("/fin_outcome", json!("unknown")),
        ("/unknown/fin_outcome", json!("did_not_happen")),
        ("/workload/runtime", json!("docker")),
        ("/workload/unit", json!("docker.service")),
    ] {
        assert_eq!(value.pointer(pointer), Some(&expected), "{pointer}");
    }
    let value = closed(close());
    for key in ["acceptor", "holder", "exit_signal", "workload", "reset_reason", "reset_state"] {
        assert_eq!(value[key], Value::Null, "{key}");
    }
}

#[test]
fn a_reset_whose_reason_is_not_known_says_so() {
    let value = closed(reset());
    assert_eq!(value["reset_reason"], "unknown");
    assert_eq!(value["unknown"]["reset_reason"], "not_visible");
}

#[test]
fn a_time_wait_socket_has_a_record_of_its_own_under_the_same_id() {
    let lines = written(&[Record::TimeWait(Box::new(time_wait())), Record::Close(Box::new(close()))]);
    assert_eq!(lines[0]["conn_id"], lines[1]["conn_id"]);
    for (pointer, expected) in [
        ("/schema", json!("finwait.time_wait/1")),
        ("/time_ns", json!(65_048_000_000_u64)),
        ("/time", json!("2026-09-23T20:25:15.048000Z")),
        ("/source", json!("fentry")),
        ("/from_fin_wait2", json!(true)),
        ("/entered", json!({"earliest_ns": 4_148_000_000_u64, "latest_ns": 4_148_000_000_u64})),
        ("/end", json!("expired")),
        ("/fin_wait2_ns", json!({"min_ns": 3_100_000_000_u64, "max_ns": 3_100_000_000_u64})),
        ("/time_wait_ns/max_ns", json!(60_900_000_000_u64)),
        ("/ended_by", Value::Null),
        ("/unknown", json!({"ended_by": "no_task"})),
        ("/evidence/end", json!(["unbroken_chain"])),
    ] {
        assert_eq!(lines[0].pointer(pointer), Some(&expected), "{pointer}");
    }
    assert_eq!(lines[2]["time_waits_by_end"], json!({"expired": 1}));
}

#[test]
fn a_time_wait_socket_that_is_still_there_at_the_end_has_no_end() {
    let unknown = Claim::Unknown(Reason::StillOpen);
    let record = TimeWaitRecord {
        ended: Claim::Unknown(Reason::StillOpen),
        end: unknown,
        time_wait_ns: Claim::Unknown(Reason::StillOpen),
        ..time_wait()
    };
    let value = written(&[Record::TimeWait(Box::new(record))]).remove(0);
    assert_eq!((&value["end"], &value["time"]), (&json!("unknown"), &Value::Null));
    assert_eq!(value["unknown"]["time_wait_ns"], "still_open");
}

#[test]
fn both_ends_are_two_closes_and_what_they_prove_together() {
    let lines = written(&[Record::BothEnds(Box::new(both_ends()))]);
    for (pointer, expected) in [
        ("/schema", json!("finwait.both_ends/1")),
        ("/first_closer", json!("opener")),
        ("/first_wave_ns", json!({"min_ns": 40_000, "max_ns": 40_000})),
        ("/waves", json!("four")),
        ("/contradictions", json!([])),
        ("/opened/kind", json!("active")),
        ("/accepted/kind", json!("passive")),
        ("/accepted/acceptor/comm", json!("nginx")),
        ("/accepted/schema", json!("finwait.close/1")),
        ("/evidence/first_closer", json!(["unbroken_chain"])),
        ("/unknown", json!({})),
    ] {
        assert_eq!(lines[0].pointer(pointer), Some(&expected), "{pointer}");
    }
    assert_eq!((&lines[1]["closes"], &lines[1]["both_ends"]), (&json!(2), &json!(1)));
}

#[test]
fn ends_that_contradict_each_other_prove_nothing_together() {
    let mut both = both_ends();
    both.acceptor_side.first_closer = known(FirstCloser::Local);
    let value = written(&[Record::BothEnds(Box::new(both))]).remove(0);
    assert_eq!(value["first_closer"], "unknown");
    assert_eq!(value["contradictions"], json!(["first_closer"]));
    assert_eq!(
        value["unknown"],
        json!({"first_closer": "ends_contradict", "first_wave_ns": "ends_contradict"})
    );
    assert_eq!(value["accepted"]["first_closer"], "local");
}

#[test]
fn missing_transitions_are_a_hole_in_the_sequence() {
    let value = closed(CloseRecord {
        steps: vec![
            step(0, TcpState::Close, TcpState::SynSent),
            step(9, TcpState::FinWait2, TcpState::Close),
        ],
        ..close()
    });
    assert_eq!(value["sequence"], json!(["CLOSE", "SYN_SENT", "unknown", "FIN_WAIT2", "CLOSE"]));
}

#[test]
fn a_transition_carries_what_was_observed() {
    let record = transition(TcpState::Established, TcpState::FinWait1);
    let value = written(&[Record::Transition(Box::new(record))]).remove(0);
    for (pointer, expected) in [
        ("/schema", json!("finwait.state/1")),
        ("/old_state", json!("ESTABLISHED")),
        ("/new_state", json!("FIN_WAIT1")),
        ("/in_old_state_ns", json!(47_123_400)),
        ("/tgid", json!(9120)),
        ("/pid", json!(9121)),
        ("/comm", json!("curl")),
        ("/chain_broken", json!(false)),
        ("/socket/sock_addr", json!(0xffff_8880_1234_5680_u64)),
        ("/socket/shutdown/send", json!(true)),
        ("/unknown", json!({})),
    ] {
        assert_eq!(value.pointer(pointer), Some(&expected), "{pointer}");
    }
}

#[test]
fn what_the_classic_tier_lacks_is_null() {
    let record = classic_transition(TcpState::Established, TcpState::FinWait1);
    let value = written(&[Record::Transition(Box::new(record))]).remove(0);
    for key in ["cookie", "tgid", "pid", "comm", "actor", "owner", "netns", "cgroup"] {
        assert_eq!(value[key], Value::Null, "{key}");
    }
    assert_eq!(value["unknown"]["actor"], "field_absent");
}

#[test]
fn the_last_line_is_the_summary_and_what_is_not_counted_is_null() {
    let lines = written(&[Record::Close(Box::new(close())), Record::Close(Box::new(reset()))]);
    let summary = lines.last().unwrap();
    assert_eq!(summary["schema"], "finwait.summary/1");
    assert_eq!(summary["closes_by_kind"], json!({"active": 1, "reset": 1}));
    assert_eq!((&summary["resets_sent"], &summary["ended_by"]), (&json!(1), &json!("signal")));
    assert_eq!(summary["recursion_missed"], 3);
    let verdict = Verdict {
        ended: Ended::Source,
        duration: None,
        accounting: finwait_core::Accounting::default(),
        fates: finwait_core::Fates::default(),
        unread: None,
        capture: None,
        tally: Tally::default(),
    };
    let value = serde_json::to_value(SummaryJson::new(&verdict)).unwrap();
    assert_eq!((&value["recursion_missed"], &value["rescued"]), (&Value::Null, &Value::Null));
    assert_eq!(value["lost_ring"], 0);
}

#[test]
fn a_hostile_name_is_a_string_like_any_other() {
    let mut record = close();
    record.opener = known(owner("\u{1b}[2J\"\n", 1, 1));
    assert_eq!(closed(record)["opener"]["comm"], "\u{1b}[2J\"\n");
}

#[test]
fn every_key_and_word_that_is_written_is_documented() {
    let mut sent_unsent = reset();
    sent_unsent.dwells =
        vec![finwait_core::record::Dwell { unsent_bytes: Some(1), ..dwell(TcpState::LastAck, 1) }];
    let mut unknown = unproven();
    unknown.reset = Some(Reset {
        direction: Claim::Unknown(Reason::ResetOrLateData),
        cause: Claim::Unknown(Reason::NotVisible),
        unread_bytes: Claim::Unknown(Reason::FieldAbsent),
        state: TcpState::Established,
        reason: Claim::Unknown(Reason::NotVisible),
    });
    let mut state = transition(TcpState::Established, TcpState::FinWait1);
    state.change.linger_ns = Some(1);
    let mut keys = BTreeSet::new();
    let gone = TimeWaitRecord {
        end: Claim::Unknown(Reason::StillOpen),
        ended_by: known(owner("ss", 1, 1)),
        ..time_wait()
    };
    for value in written(&[
        Record::Close(Box::new(killed())),
        Record::Close(Box::new(captured())),
        Record::TimeWait(Box::new(gone)),
        Record::BothEnds(Box::new(both_ends())),
        Record::Close(Box::new(sent_unsent)),
        Record::Close(Box::new(unknown)),
        Record::Transition(Box::new(state)),
        Record::Transition(Box::new(classic_transition(TcpState::Listen, TcpState::SynRecv))),
    ]) {
        collect(&value, &mut keys);
    }
    assert!(keys.len() > 150, "{}", keys.len());
    let missing: Vec<_> = keys.iter().filter(|key| !DOCUMENTED.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "not in docs/events.md: {missing:?}");
}

/// Keys at any depth; of the keys made from states or the kernel's reasons only the map's own name.
fn collect(value: &Value, keys: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let of_state =
                    key.split('.').next_back().is_some_and(|name| TcpState::from_name(name).is_some());
                let of_kernel = key.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
                if !of_state && !of_kernel {
                    keys.insert(key.clone());
                }
                collect(value, keys);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, keys)),
        _ => {}
    }
}

#[test]
fn every_word_of_a_claim_is_documented() {
    use finwait_core::record::{
        Contradiction, FinOutcome, LocalCause, Role, SeenFrom, Side, Successor, Waves,
    };
    let names = |list: Vec<&'static str>| list;
    let words = [
        names(finwait_core::Evidence::ALL.iter().map(|word| word.name()).collect()),
        names(Reason::ALL.iter().map(|word| word.name()).collect()),
        names(CloseKind::ALL.iter().map(|word| word.name()).collect()),
        names(FirstCloser::ALL.iter().map(|word| word.name()).collect()),
        names(Role::ALL.iter().map(|word| word.name()).collect()),
        names(ResetDirection::ALL.iter().map(|word| word.name()).collect()),
        names(ResetCause::ALL.iter().map(|word| word.name()).collect()),
        names(TimeoutCause::ALL.iter().map(|word| word.name()).collect()),
        names(Waves::ALL.iter().map(|word| word.name()).collect()),
        names(Successor::ALL.iter().map(|word| word.name()).collect()),
        names(SeenFrom::ALL.iter().map(|word| word.name()).collect()),
        names(LocalCause::ALL.iter().map(|word| word.name()).collect()),
        names(FinOutcome::ALL.iter().map(|word| word.name()).collect()),
        names(TimeWaitEnd::ALL.iter().map(|word| word.name()).collect()),
        names(Side::ALL.iter().map(|word| word.name()).collect()),
        names(Contradiction::ALL.iter().map(|word| word.name()).collect()),
    ]
    .concat();
    let missing: Vec<_> = words.iter().filter(|word| !DOCUMENTED.contains(&format!("`{word}`"))).collect();
    assert!(missing.is_empty(), "not in docs/events.md: {missing:?}");
}

/// A close of three segments, of which one was sent again, as a capture shows it.
fn captured() -> CloseRecord {
    let segment = |frame, seq, ack, fin| SeenSegment {
        frame,
        at: MonoNs(frame * 1000),
        seq,
        ack: Some(ack),
        payload_bytes: 0,
        fin,
        rst: false,
    };
    let second = segment(8, 900, 101, true);
    CloseRecord {
        captured: Some(Box::new(CapturedClose {
            own_fin: Some(segment(7, 100, 900, true)),
            own_fin_acked: Some(second),
            peer_fin: Some(second),
            peer_fin_acked: Some(segment(9, 101, 901, false)),
            reset: None,
            reset_is_own: false,
            own_fins_again: 1,
            peer_fins_again: 0,
            fin_may_have_waited: false,
            segments_missing: false,
        })),
        ..close()
    }
}

#[test]
fn the_segments_of_a_captured_close_are_told_in_the_order_of_the_waves() {
    let value = closed(captured());
    let capture = &value["capture"];
    let frames: Vec<_> = [0, 1, 2, 3].map(|wave| capture["waves"][wave]["frame"].as_u64()).into();
    assert_eq!(frames, [Some(7), Some(8), Some(8), Some(9)]);
    assert_eq!((&capture["waves"][1]["seq"], &capture["waves"][1]["ack"]), (&900.into(), &101.into()));
    assert_eq!(capture["second_and_third_merged"], true);
    assert_eq!(capture["local_fins_again"], 1);
    assert_eq!(capture["reset"], Value::Null);
}

#[test]
fn a_close_that_a_kernel_showed_has_no_captured_segments() {
    assert_eq!(closed(close()).get("capture"), None);
}
