//! Every committed recording, whole and with holes, explains; and no sentence is without a ground.

use std::fs;
use std::path::{Path, PathBuf};

use finwait_core::pairing::{Pairing, PairingConfig};
use finwait_core::record::{CloseKind, TimeWaitRecord};
use finwait_core::{Claim, ConnId, NetNs, Observation, Reason, Record, TcpState, Tracker, TrackerConfig};

use super::*;
use crate::sink::samples_for_tests::{close, dwell, known, time_wait};

fn recordings() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("core/tests/recordings");
    let mut all: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    all.sort();
    assert!(all.len() >= 60, "only {} recordings", all.len());
    all
}

fn observations(path: &Path) -> Vec<Observation> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What the tracker says of them, both ends joined where they are there.
fn records(observations: &[Observation]) -> Vec<Record> {
    let mut tracker = Tracker::new(TrackerConfig { transitions: false, ..TrackerConfig::default() });
    let mut pairing = Pairing::new(PairingConfig::default());
    observations.iter().for_each(|observation| tracker.observe(observation));
    tracker.finish();
    while let Some(record) = tracker.next_record() {
        pairing.take(record);
    }
    pairing.finish();
    std::iter::from_fn(|| pairing.next_record()).collect()
}

fn settings(netns: Option<NetNs>) -> Settings {
    Settings {
        netns,
        fin_timeout_seconds: Some(60),
        tw_reuse: Some(2),
        orphan_retries: Some(0),
        max_orphans: Some(4096),
        max_tw_buckets: Some(8192),
        ports: Some(Ports { first: 32_768, last: 60_999 }),
    }
}

/// Explains everything, from each end, with and without settings.
fn explained(records: &[Record]) -> Vec<Explanation> {
    let left = |id: ConnId| -> Option<&TimeWaitRecord> {
        records.iter().find_map(|record| match record {
            Record::TimeWait(left) if left.conn_id == id => Some(&**left),
            _ => None,
        })
    };
    let mut all = Vec::new();
    let mut tell = |near: &CloseRecord, peer: Option<&CloseRecord>| {
        for settings in [None, Some(settings(near.netns)), Some(Settings::default())] {
            all.push(explain(&Story {
                close: near,
                time_wait: left(near.conn_id),
                peer,
                peer_time_wait: peer.and_then(|peer| left(peer.conn_id)),
                settings: settings.as_ref(),
            }));
        }
    };
    for record in records {
        match record {
            Record::Close(close) => tell(close, None),
            Record::BothEnds(both) => {
                tell(&both.opener_side, Some(&both.acceptor_side));
                tell(&both.acceptor_side, Some(&both.opener_side));
            }
            _ => {}
        }
    }
    all
}

fn assert_grounded(explanation: &Explanation, of: &str) {
    assert!(!explanation.steps.is_empty(), "{of}: no steps");
    assert!(!explanation.sentences.is_empty(), "{of}: nothing said");
    for sentence in &explanation.sentences {
        assert!(sentence.text.ends_with('.'), "{of}: {}", sentence.text);
        assert!(!sentence.evidence.is_empty(), "{of}: {}", sentence.text);
        for ground in &sentence.evidence {
            if let Basis::Proven(evidence) = &ground.basis {
                assert!(evidence.iter().next().is_some(), "{of}: {}: {}", ground.name, sentence.text);
            }
        }
        let unknown = |ground: &Ground| matches!(ground.basis, Basis::Unknown(_) | Basis::Absent(_));
        if sentence.text.contains("is not known:") {
            assert!(sentence.evidence.iter().any(unknown), "{of}: {}", sentence.text);
        }
    }
}

#[test]
fn every_recording_explains_and_every_sentence_has_a_ground() {
    for path in recordings() {
        let all = explained(&records(&observations(&path)));
        assert!(!all.is_empty(), "{path:?} has no close");
        all.iter().for_each(|explanation| assert_grounded(explanation, &path.display().to_string()));
    }
}

#[test]
fn with_transitions_missing_it_explains_too() {
    for path in recordings() {
        let whole = observations(&path);
        for (every, from) in [(2, 0), (2, 1), (3, 0), (3, 1), (3, 2), (5, 3)] {
            let mut seen = 0;
            let holed: Vec<Observation> = whole
                .iter()
                .filter(|observation| {
                    let change = matches!(observation, Observation::StateChange(_));
                    seen += usize::from(change);
                    !change || seen % every != from
                })
                .cloned()
                .collect();
            let of = format!("{}, every {every} from {from}", path.display());
            explained(&records(&holed)).iter().for_each(|explanation| assert_grounded(explanation, &of));
        }
    }
}

fn alone(close: &CloseRecord) -> Story<'_> {
    Story { close, time_wait: None, peer: None, peer_time_wait: None, settings: None }
}

fn texts(story: &Story<'_>) -> Vec<String> {
    explain(story).sentences.into_iter().map(|sentence| sentence.text).collect()
}

fn says(story: &Story<'_>, part: &str) {
    let texts = texts(story);
    assert!(texts.iter().any(|text| text.contains(part)), "{part} in {texts:#?}");
}

#[test]
fn a_slow_peer_is_named_only_where_its_own_record_tells() {
    let near = close();
    says(&alone(&near), "went by before the FIN of the other end, 10.0.0.7:8080, came");
    says(&alone(&near), "Either its program closed so late or its FIN was lost on the way");
    let far = |ms: u64| CloseRecord {
        first_closer: known(finwait_core::record::FirstCloser::Peer),
        dwells: vec![dwell(TcpState::CloseWait, ms * 1_000_000)],
        ..close()
    };
    says(&Story { peer: Some(&far(3_090)), ..alone(&near) }, "Its program took the time");
    says(&Story { peer: Some(&far(2)), ..alone(&near) }, "Its FIN took the time on the way");
}

#[test]
fn settings_of_another_namespace_say_nothing() {
    let near = close();
    let other = settings(Some(NetNs(1)));
    says(
        &Story { settings: Some(&other), ..alone(&near) },
        "the connection belongs to another network namespace",
    );
    let own = settings(near.netns);
    let story = Story { settings: Some(&own), ..alone(&near) };
    says(&story, "Had the peer's FIN taken over 60s");
    says(&story, "28,232 ports from this address to 10.0.0.7:8080");
    says(&story, "470 connections a second");
    says(&story, "tcp_tw_reuse is 2, which is for loopback alone");
}

#[test]
fn after_shutdown_no_timeout_ends_the_wait() {
    let near = CloseRecord { cause: known(finwait_core::record::LocalCause::Shutdown), ..close() };
    let own = settings(near.netns);
    says(
        &Story { settings: Some(&own), ..alone(&near) },
        "ends no such wait while the program holds the socket",
    );
    let near = CloseRecord { cause: Claim::Unknown(Reason::CloseOrShutdown), ..close() };
    says(&Story { settings: Some(&own), ..alone(&near) }, "as is whether the program held the socket");
}

#[test]
fn an_unknown_end_says_why_and_nothing_else() {
    let near = CloseRecord {
        kind: Claim::Unknown(Reason::TransitionMissing),
        first_closer: Claim::Unknown(Reason::TransitionMissing),
        ..close()
    };
    assert_eq!(
        texts(&alone(&near))[0],
        "How it ended is not known: a transition of this connection is missing."
    );
}

#[test]
fn what_became_of_time_wait_is_told_by_its_own_record() {
    let (near, left) = (close(), time_wait());
    let story = Story { time_wait: Some(&left), ..alone(&near) };
    let said = explain(&story).sentences;
    assert!(said.iter().any(|sentence| sentence.evidence.iter().any(|ground| ground.part == Part::TimeWait)));
}

#[test]
fn a_silence_is_no_proof_of_a_timer() {
    let second = 1_000_000_000;
    let near = CloseRecord { idle_send_ns: Some(60 * second), idle_receive_ns: Some(61 * second), ..close() };
    says(&alone(&near), "No data had gone either way for 1m00s");
    says(&alone(&near), "whether it was one is not shown");
    let reset = CloseRecord { kind: known(CloseKind::Reset), ..near };
    assert!(texts(&alone(&reset)).iter().all(|text| !text.contains("idle timer")));
}
