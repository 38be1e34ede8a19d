//! Summaries of what really happened: the recordings of every scenario, counted once more by hand.

use std::path::{Path, PathBuf};
use std::time::Duration;

use finwait_core::record::{CloseKind, CloseRecord, FirstCloser, ResetDirection};
use finwait_core::{MonoNs, Observation, Port, Record, Tracker, TrackerConfig};
use hdrhistogram::Histogram as Oracle;
use proptest::prelude::*;

use super::family::{Family, Kind, Value};
use super::histogram::{Histogram, QUANTILE_FACTOR};
use super::*;
use crate::sink::samples_for_tests as samples;
use crate::sink::{Context, Sink};
use crate::source::{FileSource, Polled, Source};

/// Every recording of the tracker's tests.
fn recordings() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("core/tests/recordings");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 60, "{paths:?}");
    paths
}

fn observations(path: &Path) -> Vec<Observation> {
    let (mut source, mut all) = (FileSource::open(path).unwrap(), Vec::new());
    while source.poll(&mut all, Duration::ZERO).unwrap() != Polled::End {}
    all
}

/// The records of `path` go to `aggregator`; they come back too.
fn replay(path: &Path, aggregator: &mut Aggregator) -> (Vec<Record>, Tracker) {
    let config = TrackerConfig { transitions: false, ..TrackerConfig::default() };
    let mut tracker = Tracker::with_grouping(config, aggregator.grouping());
    let (mut context, mut records) = (Context::default(), Vec::new());
    for observation in observations(path) {
        tracker.observe(&observation);
        if context.learn(&observation) {
            aggregator.context(&context);
        }
        records.extend(std::iter::from_fn(|| tracker.next_record()));
    }
    tracker.finish();
    records.extend(std::iter::from_fn(|| tracker.next_record()));
    records.iter().for_each(|record| aggregator.record(record).unwrap());
    (records, tracker)
}

fn aggregator(by: &[Dimension], max_groups: usize) -> Aggregator {
    let grouping = Grouping { by: by.to_vec(), max_groups, peers: Vec::new() };
    Aggregator::new(grouping, 1000)
}

fn closes(records: &[Record]) -> impl Iterator<Item = &CloseRecord> {
    records.iter().filter_map(|record| match record {
        Record::Close(close) => Some(&**close),
        _ => None,
    })
}

fn total(snapshot: &Snapshot) -> Summary {
    let mut total = Summary::default();
    snapshot.groups.iter().for_each(|group| total.merge(&group.summary));
    total
}

#[test]
fn every_close_of_every_scenario_is_counted_once() {
    let mut aggregator = aggregator(&[Dimension::Role, Dimension::Service, Dimension::Process], 1000);
    let (mut all, mut last) = (Vec::new(), None);
    for path in recordings() {
        let (records, tracker) = replay(&path, &mut aggregator);
        all.extend(records);
        last = Some(tracker);
    }
    let summary = total(&aggregator.snapshot(&last.unwrap(), MonoNs(u64::MAX)));
    let count =
        |which: &dyn Fn(&CloseRecord) -> bool| closes(&all).filter(|close| which(close)).count() as u64;
    for kind in CloseKind::ALL.iter().map(Some).chain([None]) {
        assert_eq!(summary.closed(kind.copied()), count(&|close| close.kind.value() == kind), "{kind:?}");
    }
    for first in FirstCloser::ALL.iter().map(Some).chain([None]) {
        let counted = summary.first_closed(first.copied());
        assert_eq!(counted, count(&|close| close.first_closer.value() == first), "{first:?}");
    }
    let received = |close: &CloseRecord| {
        close.reset.is_some_and(|reset| reset.direction.value() == Some(&ResetDirection::Received))
    };
    assert_eq!(summary.resets_received, count(&received));
    let fins =
        closes(&all).filter_map(|close| close.fin_retransmits.value()).map(|resent| u64::from(resent.fins()));
    assert_eq!(summary.fin_retransmits.iter().sum::<u64>(), fins.sum::<u64>());
    let lives = closes(&all).filter(|close| close.life_ns.value().is_some()).count() as u64;
    assert_eq!(summary.distribution(Measure::Life).histogram.count(), lives);
    assert!(summary.closes() > 100 && summary.segments[0] > 0 && summary.segments[1] > 0, "{summary:?}");
}

/// What a close record leaves open is in no distribution, and is counted under its reason.
#[test]
fn a_duration_that_is_not_proven_is_counted_and_not_recorded() {
    for path in recordings() {
        let mut aggregator = aggregator(&[Dimension::Role], 10);
        let (records, tracker) = replay(&path, &mut aggregator);
        let snapshot = aggregator.snapshot(&tracker, MonoNs(u64::MAX));
        let summary = total(&snapshot);
        let unproven = |measure| {
            let reasons = finwait_core::Reason::ALL.iter();
            reasons.map(|reason| snapshot.unproven.count(measure, *reason)).sum::<u64>()
        };
        let fin_wait1 = Measure::State(0);
        let dwells = || closes(&records).flat_map(|close| &close.dwells);
        let passed = dwells().filter(|dwell| dwell.state == CLOSING_STATES[0]).count() as u64;
        let recorded = summary.distribution(fin_wait1).histogram.count();
        assert_eq!(recorded + unproven(fin_wait1), passed, "{}", path.display());
        let waits = records.iter().filter(|record| matches!(record, Record::TimeWait(_))).count() as u64;
        let time_wait = Measure::State(5);
        assert!(summary.distribution(time_wait).histogram.count() + unproven(time_wait) <= waits);
    }
}

/// As two hosts whose summaries are added up.
#[test]
fn summaries_of_two_hosts_add_up_to_that_of_all() {
    let (mut one, mut other, mut all) = (
        aggregator(&[Dimension::Role], 10),
        aggregator(&[Dimension::Role], 10),
        aggregator(&[Dimension::Role], 10),
    );
    let mut trackers = Vec::new();
    for (index, path) in recordings().iter().enumerate() {
        trackers.push(replay(path, if index % 2 == 0 { &mut one } else { &mut other }).1);
        replay(path, &mut all);
    }
    let snapshot = |aggregator: &Aggregator| aggregator.snapshot(&trackers[0], MonoNs(u64::MAX));
    let (mut merged, whole) = (total(&snapshot(&one)), total(&snapshot(&all)));
    merged.merge(&total(&snapshot(&other)));
    for measure in Measure::all() {
        let (merged, whole) =
            (&merged.distribution(measure).histogram, &whole.distribution(measure).histogram);
        assert_eq!(merged.buckets().collect::<Vec<_>>(), whole.buckets().collect::<Vec<_>>());
        assert_eq!((merged.count(), merged.sum_ns()), (whole.count(), whole.sum_ns()));
    }
    assert_eq!((merged.closes(), merged.segments), (whole.closes(), whole.segments));
}

fn close_to(port: u16) -> CloseRecord {
    let mut close = samples::close();
    close.remote.port = Some(Port(port));
    close.local.port = Some(Port(port));
    close
}

#[test]
fn more_groups_than_there_may_be_fall_into_other() {
    let mut aggregator = aggregator(&[Dimension::Service], 100);
    for port in 1..=10_000u16 {
        aggregator.record(&Record::Close(Box::new(close_to(port)))).unwrap();
    }
    let snapshot = aggregator.snapshot(&Tracker::new(TrackerConfig::default()), MonoNs(0));
    assert_eq!((snapshot.groups.len(), snapshot.group_count), (101, 100));
    assert_eq!(snapshot.group_overflows, 9_900);
    assert_eq!(snapshot.groups[0].labels[0], ("service_port".into(), OTHER.into()));
    assert_eq!(snapshot.groups[0].summary.closes(), 9_900);
    assert_eq!(total(&snapshot).closes(), 10_000);
}

#[test]
fn every_known_word_is_there_at_zero_before_anything_happened() {
    let aggregator = aggregator(&[Dimension::Role, Dimension::Service], 10);
    let snapshot = aggregator.snapshot(&Tracker::new(TrackerConfig::default()), MonoNs(0));
    let families = snapshot.families(MonoNs(0), &ProcessFacts::default(), Duration::ZERO);
    let samples = |name: &str| {
        let found: Vec<&Family> = families.iter().filter(|family| family.definition.name == name).collect();
        found[0].samples.len()
    };
    assert_eq!(samples("finwait_connections_closed_total"), CloseKind::ALL.len() + 1);
    assert_eq!(samples("finwait_closes_by_first_closer_total"), 4);
    assert_eq!(samples("finwait_resets_total"), 12);
    assert_eq!(samples("finwait_handshake_failures_total"), 5);
    assert_eq!(samples("finwait_state_duration_seconds"), 6);
    assert_eq!(samples("finwait_sockets"), 9);
}

#[test]
fn what_is_exported_is_what_the_catalogue_says() {
    let mut aggregator = aggregator(&[Dimension::Role], 10);
    let (_, tracker) = replay(&recordings()[0], &mut aggregator);
    let process = ProcessFacts {
        cpu_seconds: Some(1.0),
        resident_bytes: Some(1),
        open_fds: Some(1),
        start_seconds: Some(1.0),
        port_range: Some(PortRange { netns: finwait_core::NetNs(1), ports: 28_232 }),
        closes_skipped: Some(0),
        programs: Vec::new(),
        pushes: Some(PushFacts::default()),
    };
    let families =
        aggregator.snapshot(&tracker, MonoNs(u64::MAX)).families(MonoNs(u64::MAX), &process, Duration::ZERO);
    let names: Vec<_> = families.iter().map(|family| family.definition.name).collect();
    assert_eq!(names, catalogue::ALL.iter().map(|definition| definition.name).collect::<Vec<_>>());
    for family in &families {
        let definition = family.definition;
        assert_eq!(
            definition.name.ends_with("_total"),
            definition.kind == Kind::Counter,
            "{}",
            definition.name
        );
        for sample in &family.samples {
            assert_eq!(sample.labels.len(), definition.labels.len(), "{}", definition.name);
            assert_eq!(sample.group.is_empty(), !definition.grouped, "{}", definition.name);
            let fits = matches!(
                (definition.kind, &sample.value),
                (Kind::Counter, Value::Count(_) | Value::Total(_))
                    | (Kind::Gauge | Kind::Info, Value::Level(_))
                    | (Kind::Histogram, Value::Distribution(_))
            );
            assert!(fits, "{}: {:?}", definition.name, sample.value);
        }
    }
}

/// Name, type, labels and meaning, as `docs/metrics.md` tells them.
#[test]
fn the_document_lists_every_metric_as_it_is() {
    let document = include_str!("../../../docs/metrics.md");
    let documented: Vec<&str> = document.lines().filter(|line| line.starts_with("| `")).collect();
    let catalogued: Vec<String> = catalogue::ALL
        .iter()
        .map(|definition| {
            let kind = match definition.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Info => "info",
                Kind::Histogram => "histogram",
            };
            let group = definition.grouped.then_some("*group*".to_owned());
            let labels = group.into_iter().chain(definition.labels.iter().map(|label| format!("`{label}`")));
            let labels: Vec<_> = labels.collect();
            format!("| `{}` | {kind} | {} | {} |", definition.name, labels.join(", "), definition.help)
        })
        .collect();
    assert_eq!(documented, catalogued, "\n{}", catalogued.join("\n"));
}

proptest! {
    /// hdrhistogram keeps three digits, so the two may differ by both errors.
    #[test]
    fn quantiles_are_those_of_another_histogram(
        all in prop::collection::vec(1_000u64..3_600_000_000_000, 1..500),
        q in prop::sample::select(vec![0.0, 0.5, 0.9, 0.99, 0.999, 1.0]),
    ) {
        let (mut ours, mut oracle) = (Histogram::default(), Oracle::<u64>::new(3).unwrap());
        for ns in all {
            ours.record(ns);
            oracle.record(ns).unwrap();
        }
        let (said, expected) =
            (ours.quantile_seconds(q).unwrap(), oracle.value_at_quantile(q) as f64 / 1e9);
        let factor = (said / expected).max(expected / said);
        prop_assert!(factor <= QUANTILE_FACTOR * 1.002, "{} for {}", said, expected);
    }
}
