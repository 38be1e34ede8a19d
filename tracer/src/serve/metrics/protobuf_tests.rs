//! What a reader of the messages makes of them.

use std::borrow::Cow;

use finwait_core::{MonoNs, WallNs};
use proptest::prelude::*;

use super::*;
use crate::sink::samples_for_tests as samples;
use crate::stats::catalogue;
use crate::stats::family::{Definition, Label};
use crate::stats::histogram::upper_bound_seconds;

fn sample(group: &[(&'static str, &'static str)], labels: &[&'static str], value: Value) -> Sample {
    let group: Vec<Label> = group.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Sample { group: group.into(), labels: labels.iter().map(|label| Cow::from(*label)).collect(), value }
}

fn recorded(all_ns: &[u64]) -> Distribution {
    let mut distribution = Distribution::default();
    all_ns.iter().for_each(|ns| distribution.histogram.record(*ns));
    distribution
}

fn of_one(definition: &'static Definition, sample: Sample) -> MetricFamily {
    let mut families = decoded(&encode(&[Family { definition, samples: vec![sample] }]));
    assert_eq!(families.len(), 1);
    families.remove(0)
}

/// The histogram that a reader gets of `distribution`.
fn sent(distribution: Distribution) -> Histogram {
    let value = Value::Distribution(distribution.into());
    let mut family = of_one(&catalogue::HANDSHAKE, sample(&[], &[], value));
    family.metric.remove(0).histogram.unwrap()
}

fn decoded(mut bytes: &[u8]) -> Vec<MetricFamily> {
    let mut families = Vec::new();
    while !bytes.is_empty() {
        families.push(MetricFamily::decode_length_delimited(&mut bytes).unwrap());
    }
    families
}

/// Index and count of each bucket that holds anything, as the messages define them.
fn unpacked(histogram: &Histogram) -> Vec<(i32, u64)> {
    let (mut index, mut count, mut deltas) = (0, 0, histogram.positive_delta.iter());
    let mut buckets = Vec::new();
    for span in &histogram.positive_span {
        index += span.offset.unwrap();
        for _ in 0..span.length.unwrap() {
            count += deltas.next().unwrap();
            buckets.push((index, u64::try_from(count).unwrap()));
            index += 1;
        }
    }
    assert_eq!(deltas.next(), None, "as many counts as buckets");
    buckets.retain(|(_, count)| *count > 0);
    buckets
}

/// The upper bound of Prometheus' native bucket `index`.
fn native_bound(index: i32) -> f64 {
    (f64::from(index) / 8.0).exp2()
}

fn labels(pairs: &[LabelPair]) -> Vec<(&str, &str)> {
    pairs.iter().map(|pair| (pair.name.as_deref().unwrap(), pair.value.as_deref().unwrap())).collect()
}

/// A field of text, by hand; `key` is field number and wire type.
fn text(key: u8, text: &str) -> Vec<u8> {
    [&[key, text.len() as u8], text.as_bytes()].concat()
}

fn double(key: u8, value: f64) -> Vec<u8> {
    [&[key][..], &value.to_le_bytes()].concat()
}

/// A message in a field, or without a key one that stands alone.
fn nested(key: &[u8], parts: &[Vec<u8>]) -> Vec<u8> {
    let body = parts.concat();
    let length = body.len();
    let length =
        if length < 128 { vec![length as u8] } else { vec![length as u8 | 128, (length >> 7) as u8] };
    [key, &length, &body].concat()
}

/// The exemplar of the test below.
fn exemplar_bytes(key: &[u8]) -> Vec<u8> {
    let conn_id = samples::conn_id().to_string();
    let pair = nested(&[0x0a], &[text(0x0a, "conn_id"), text(0x12, &conn_id)]);
    nested(key, &[pair, double(0x11, 1.0), nested(&[0x1a], &[vec![0x08, 3, 0x10, 2]])])
}

/// Its classic buckets: 0 and 1 s, and a little more than 1 s.
fn bucket_bytes() -> Vec<u8> {
    let bounds = (-14..=12).step_by(2).map(|exponent: i32| f64::from(exponent).exp2());
    let bucket = |bound: f64| {
        let count = 1 + u8::from(bound >= 1.0) + u8::from(bound > 1.0);
        let exemplar = if bound == 1.0 { exemplar_bytes(&[0x1a]) } else { Vec::new() };
        nested(&[0x1a], &[vec![0x08, count], double(0x11, bound), exemplar])
    };
    bounds.chain([f64::INFINITY]).flat_map(bucket).collect()
}

/// The bytes as `metrics.proto` numbers the fields, written down by hand: what no reader of the same structs can tell.
#[test]
fn the_wire_is_that_of_metrics_proto() {
    let mut distribution = recorded(&[0, 1_000_000_000, 1_000_000_001]);
    let (conn_id, wall) = (samples::conn_id(), Some(WallNs(3_000_000_002)));
    distribution.exemplars.push(family::Exemplar { conn_id, at: MonoNs(1), seconds: 1.0, wall });
    let value = Value::Distribution(distribution.into());
    let definition = &catalogue::HANDSHAKE;
    let bytes = encode(&[Family { definition, samples: vec![sample(&[("a", "b")], &[], value)] }]);
    let histogram = [
        vec![0x08, 3],
        double(0x11, 2.000_000_001),
        bucket_bytes(),
        vec![0x28, 6],
        double(0x31, 2f64.powi(-128)),
        vec![0x38, 1],
        // 1 s is in bucket 0, which ends there; from there on two buckets, each with one.
        nested(&[0x62], &[vec![0x08, 0, 0x10, 2]]),
        vec![0x68, 2, 0x68, 0],
        exemplar_bytes(&[0x82, 0x01]),
    ];
    let pair = nested(&[0x0a], &[text(0x0a, "a"), text(0x12, "b")]);
    let family = [
        text(0x0a, definition.name),
        text(0x12, definition.help),
        vec![0x18, 4],
        nested(&[0x22], &[pair, nested(&[0x3a], &histogram)]),
        text(0x2a, "seconds"),
    ];
    assert_eq!(bytes, nested(&[], &family));
}

#[test]
fn a_counter_keeps_its_whole_name_and_its_labels_are_not_escaped() {
    let hostile = sample(&[("process", "a\"b\\c\nd")], &["active"], Value::Count(7));
    let family = of_one(&catalogue::CLOSED, hostile);
    assert_eq!(family.name.as_deref(), Some("finwait_connections_closed_total"));
    assert_eq!((family.r#type(), &family.unit), (MetricType::Counter, &None));
    assert_eq!(labels(&family.metric[0].label), [("process", "a\"b\\c\nd"), ("kind", "active")]);
    let metric = Metric { label: Vec::new(), ..family.metric[0].clone() };
    let counter = Some(Counter { value: Some(7.0), exemplar: None });
    assert_eq!(metric, Metric { counter, ..Metric::default() });
    let seconds = of_one(&catalogue::CPU, sample(&[], &[], Value::Total(1.5)));
    assert_eq!(seconds.name.as_deref(), Some("process_cpu_seconds_total"));
    assert_eq!((seconds.r#type(), seconds.unit.as_deref()), (MetricType::Counter, Some("seconds")));
}

#[test]
fn an_info_is_a_gauge_of_1() {
    let family = of_one(&catalogue::BUILD, sample(&[], &["0.1"], Value::Level(1.0)));
    assert_eq!((family.name.as_deref(), family.r#type()), (Some("finwait_build_info"), MetricType::Gauge));
    let gauge = Some(Gauge { value: Some(1.0) });
    assert_eq!(family.metric[0], Metric { label: vec![label("version", "0.1")], gauge, ..Metric::default() });
}

#[test]
fn a_family_without_samples_is_left_out() {
    let empty = Family { definition: &catalogue::LOST, samples: Vec::new() };
    assert!(encode(&[empty]).is_empty());
}

#[test]
fn an_empty_histogram_is_a_native_one_all_the_same() {
    let histogram = sent(Distribution::default());
    assert_eq!(histogram.positive_span, [BucketSpan { offset: Some(0), length: Some(0) }]);
    assert!(histogram.positive_delta.is_empty() && histogram.zero_threshold > Some(0.0));
    let totals = (histogram.sample_count, histogram.sample_sum, histogram.zero_count, histogram.schema);
    assert_eq!(totals, (Some(0), Some(0.0), Some(0), Some(3)));
}

#[test]
fn a_bucket_is_named_by_its_upper_bound() {
    for (ns, index) in [(1_000_000_000, 0), (1_000_000_001, 1), (2_000_000_000, 8), (500_000_000, -8)] {
        assert_eq!(unpacked(&sent(recorded(&[ns]))), [(index, 1)], "{ns}");
    }
}

#[test]
fn small_gaps_are_bridged_and_large_ones_begin_a_span() {
    let in_bucket = |index: i32| (native_bound(index) * 0.97 * 1e9) as u64;
    let all: Vec<u64> = [-20, -17, -13, -13, -12].into_iter().map(in_bucket).collect();
    let histogram = sent(recorded(&all));
    let spans: Vec<_> = histogram.positive_span.iter().map(|span| (span.offset, span.length)).collect();
    assert_eq!(spans, [(Some(-20), Some(4)), (Some(3), Some(2))]);
    assert_eq!(histogram.positive_delta, [1, -1, 0, 1, 1, -1]);
}

#[test]
fn exemplars_without_a_time_stand_at_classic_buckets_alone() {
    let mut distribution = recorded(&[3_000_000_000, 100_000_000]);
    let wall = Some(WallNs(1_790_000_000_123_456_789));
    for (seconds, wall) in [(3.0, None), (0.1, wall)] {
        let conn_id = samples::conn_id();
        distribution.exemplars.push(family::Exemplar { conn_id, at: MonoNs(1), seconds, wall });
    }
    let histogram = sent(distribution);
    let conn_id = samples::conn_id().to_string();
    let timed = Exemplar {
        label: vec![label("conn_id", &conn_id)],
        value: Some(0.1),
        timestamp: Some(Timestamp { seconds: 1_790_000_000, nanos: 123_456_789 }),
    };
    assert_eq!(histogram.exemplars, std::slice::from_ref(&timed));
    let of_buckets: Vec<_> = histogram
        .bucket
        .into_iter()
        .filter_map(|bucket| Some((bucket.upper_bound.unwrap(), bucket.exemplar?)))
        .collect();
    let untimed = Exemplar { value: Some(3.0), timestamp: None, ..timed.clone() };
    assert_eq!(of_buckets, [(0.25, timed), (4.0, untimed)]);
}

/// Durations as they come: any, and several of about the same length.
fn durations() -> impl Strategy<Value = Vec<u64>> {
    let one = prop_oneof![
        4 => (0u32..50, any::<u64>()).prop_map(|(bits, ns)| ns & ((1 << bits) - 1)),
        4 => 900_000u64..1_200_000,
        1 => Just(0u64),
        1 => any::<u64>(),
    ];
    prop::collection::vec(one, 0..200)
}

proptest! {
    #[test]
    fn spans_and_deltas_hold_the_counts_of_every_bucket(all in durations()) {
        let distribution = recorded(&all);
        let native = sent(distribution.clone());
        let histogram = &distribution.histogram;
        let shifted: Vec<_> = histogram.buckets().map(|(index, count)| (index + 1, count)).collect();
        prop_assert_eq!(unpacked(&native), shifted);
        for (index, _) in histogram.buckets() {
            let (own, natives) = (upper_bound_seconds(index), native_bound(index + 1));
            prop_assert!((own / natives - 1.0).abs() < 1e-12, "{} is not {}", own, natives);
        }
        prop_assert_eq!(native.zero_count, Some(all.iter().filter(|ns| **ns == 0).count() as u64));
        prop_assert_eq!(native.sample_count, Some(all.len() as u64));
        prop_assert_eq!(native.sample_sum, Some(histogram.sum_seconds()));
        let later = native.positive_span.iter().skip(1);
        prop_assert!(later.into_iter().all(|span| span.offset > Some(LARGEST_GAP)), "bridged");
        prop_assert!(native.negative_span.is_empty() && native.negative_delta.is_empty());
    }

    #[test]
    fn classic_buckets_are_sums_of_the_native_ones(all in durations()) {
        let native = sent(recorded(&all));
        let buckets = unpacked(&native);
        for bucket in &native.bucket {
            let bound = bucket.upper_bound.unwrap();
            let below = buckets.iter().filter(|(index, _)| native_bound(*index) <= bound);
            let sum = native.zero_count.unwrap() + below.map(|(_, count)| count).sum::<u64>();
            prop_assert_eq!(bucket.cumulative_count, Some(sum), "{}", bound);
        }
        prop_assert_eq!(native.bucket.last().unwrap().upper_bound, Some(f64::INFINITY));
    }
}
