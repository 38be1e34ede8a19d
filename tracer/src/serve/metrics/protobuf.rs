//! Prometheus' protobuf exposition, with native histograms.
//!
//! A bucket of a native histogram of schema 3 is one of [`crate::stats::histogram`], so nothing is computed; only the indices
//! differ by one. Classic buckets come along, the same as in the text: a scraper may read protobuf and know, or want, no
//! native histograms, and would be left with a count and a sum. Who takes the native one passes over them.

use std::sync::{Arc, OnceLock};

use prost::encoding::{WireType, encode_key, encode_varint};
use prost::{EncodeError, Message};

use super::model::{
    Bucket, BucketSpan, Counter, Exemplar, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
    Timestamp,
};
use super::{classic, unit};
use crate::stats::family::{self, Distribution, Family, Kind, Label, Sample, Value};
use crate::stats::histogram::{self, SCALE};

/// Only 0 is in the zero bucket: the clock knows no shorter time than 1 ns. The smallest threshold that client libraries
/// use, and not 0, because it tells an empty native histogram from a classic one to every version of Prometheus.
const ZERO_THRESHOLD: f64 = f64::from_bits((1023 - 128) << 52);
/// Number of the field of a family that holds a sample (io.prometheus.client.MetricFamily).
const METRIC: u32 = 4;
/// So many empty buckets take less room than another span.
const LARGEST_GAP: i32 = 2;

/// Each family after its length. Only memory that runs out could make it fail.
pub(super) fn encode(families: &[Family]) -> Vec<u8> {
    let (mut out, mut message) = (Vec::with_capacity(1 << 16), Vec::new());
    // A family without samples is not valid.
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        message.clear();
        // A vector grows as it is written to.
        let _ = write(family, &mut message)
            .and_then(|()| prost::encode_length_delimiter(message.len(), &mut out));
        out.extend_from_slice(&message);
    }
    out
}

/// Messages that follow each other are one message: so there is never more than one sample as a tree of its own.
fn write(family: &Family, message: &mut Vec<u8>) -> Result<(), EncodeError> {
    let definition = family.definition;
    let kind = match definition.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge | Kind::Info => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
    };
    let head = MetricFamily {
        name: Some(definition.name.to_owned()),
        help: Some(definition.help.to_owned()),
        r#type: Some(kind.into()),
        ..MetricFamily::default()
    };
    head.encode(message)?;
    let (mut group, mut rest) = (GroupLabels::default(), Vec::new());
    for sample in &family.samples {
        let labels = group.encoded(&sample.group)?;
        rest.clear();
        match &sample.value {
            Value::Distribution(distribution) if distribution.histogram.count() == 0 => {
                metric(family, sample, None).encode(&mut rest)?;
                rest.extend_from_slice(empty_histogram());
            }
            value => metric(family, sample, Some(value)).encode(&mut rest)?,
        }
        encode_key(METRIC, WireType::LengthDelimited, message);
        encode_varint((labels.len() + rest.len()) as u64, message);
        message.extend_from_slice(labels);
        message.extend_from_slice(&rest);
    }
    MetricFamily { unit: unit(definition).map(str::to_owned), ..MetricFamily::default() }.encode(message)
}

/// The labels of the group that samples in a row belong to, encoded once.
#[derive(Default)]
struct GroupLabels {
    group: Option<Arc<[Label]>>,
    encoded: Vec<u8>,
}

impl GroupLabels {
    fn encoded(&mut self, group: &Arc<[Label]>) -> Result<&[u8], EncodeError> {
        if !self.group.as_ref().is_some_and(|last| Arc::ptr_eq(last, group)) {
            self.encoded.clear();
            let label = group.iter().map(|(name, value)| label(name, value)).collect();
            Metric { label, ..Metric::default() }.encode(&mut self.encoded)?;
            self.group = Some(Arc::clone(group));
        }
        Ok(&self.encoded)
    }
}

/// What every histogram without durations comes to: most of a host's are.
fn empty_histogram() -> &'static [u8] {
    static EMPTY: OnceLock<Vec<u8>> = OnceLock::new();
    EMPTY.get_or_init(|| {
        let histogram = Some(histogram(&Distribution::default()));
        Metric { histogram, ..Metric::default() }.encode_to_vec()
    })
}

/// All but the group's labels, and without a time: it holds for the moment of the scrape.
fn metric(family: &Family, sample: &Sample, value: Option<&Value>) -> Metric {
    let own = family.definition.labels.iter().zip(&sample.labels).map(|(name, value)| label(name, value));
    let mut metric = Metric { label: own.collect(), ..Metric::default() };
    let counter = family.definition.kind == Kind::Counter;
    match value {
        None => {}
        Some(Value::Distribution(distribution)) => metric.histogram = Some(histogram(distribution)),
        Some(Value::Count(count)) => set(&mut metric, counter, *count as f64),
        Some(Value::Total(value) | Value::Level(value)) => set(&mut metric, counter, *value),
    }
    metric
}

/// Readers look for the value where the family's type says that it is.
fn set(metric: &mut Metric, counter: bool, value: f64) {
    if counter {
        metric.counter = Some(Counter { value: Some(value), exemplar: None });
    } else {
        metric.gauge = Some(Gauge { value: Some(value) });
    }
}

fn label(name: &str, value: &str) -> LabelPair {
    LabelPair { name: Some(name.to_owned()), value: Some(value.to_owned()) }
}

fn histogram(distribution: &Distribution) -> Histogram {
    let histogram = &distribution.histogram;
    let (positive_span, positive_delta) = spans(histogram);
    let bucket = |bucket: classic::Bucket<'_>| Bucket {
        cumulative_count: Some(bucket.count),
        upper_bound: Some(bucket.bound),
        exemplar: bucket.exemplar.map(exemplar),
    };
    // A native histogram's exemplar without a time is an error.
    let timed = distribution.exemplars.iter().filter(|exemplar| exemplar.wall.is_some());
    Histogram {
        sample_count: Some(histogram.count()),
        sample_sum: Some(histogram.sum_seconds()),
        bucket: classic::buckets(distribution).map(bucket).collect(),
        schema: Some(SCALE),
        zero_threshold: Some(ZERO_THRESHOLD),
        zero_count: Some(histogram.zero_count()),
        positive_span,
        positive_delta,
        exemplars: timed.map(exemplar).collect(),
        ..Histogram::default()
    }
}

/// Where the buckets are, and the difference of each to the one before. Here a bucket's index is that of its upper bound,
/// in [`histogram`] that of its lower one.
fn spans(histogram: &histogram::Histogram) -> (Vec<BucketSpan>, Vec<i64>) {
    let (mut spans, mut deltas) = (Vec::<(i32, u32)>::new(), Vec::new());
    // The index after the last bucket so far, and what that holds.
    let (mut next, mut before) = (0, 0);
    for (index, count) in histogram.buckets().map(|(index, count)| (index + 1, saturated(count))) {
        let gap = index - next;
        match spans.last_mut() {
            Some((_, length)) if gap <= LARGEST_GAP => {
                for _ in 0..gap {
                    deltas.push(-before);
                    before = 0;
                }
                *length += gap.unsigned_abs() + 1;
            }
            _ => spans.push((gap, 1)),
        }
        deltas.push(count - before);
        (next, before) = (index + 1, count);
    }
    // Of length 0: it is a native histogram all the same.
    if spans.is_empty() {
        spans.push((0, 0));
    }
    let span = |(offset, length)| BucketSpan { offset: Some(offset), length: Some(length) };
    (spans.into_iter().map(span).collect(), deltas)
}

fn saturated(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn exemplar(exemplar: &family::Exemplar) -> Exemplar {
    let timestamp = exemplar.wall.map(|wall| Timestamp {
        // Both fit: 2^64 ns are less than 2^35 s.
        seconds: (wall.0 / 1_000_000_000) as i64,
        nanos: (wall.0 % 1_000_000_000) as i32,
    });
    Exemplar {
        label: vec![label("conn_id", &exemplar.conn_id.to_string())],
        value: Some(exemplar.seconds),
        timestamp,
    }
}

#[cfg(test)]
#[path = "protobuf_tests.rs"]
mod tests;
