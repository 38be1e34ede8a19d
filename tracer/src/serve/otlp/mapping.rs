//! From metrics to OTLP's messages: the same numbers under other names.
//!
//! Counters and distributions are cumulative. A bucket of an OTLP exponential histogram of scale 3 has the index and the
//! bounds of a bucket of [`crate::stats::histogram`], so nothing is computed here.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, exemplar, metric, number_data_point,
};

use super::labels::attributes;
use super::names::{Instrument, Named, named};
use super::resource::{Resource, text};
use super::{Exported, WallNs};
use crate::stats::catalogue;
use crate::stats::family::{self, Definition, Distribution, Family, Sample, Unit, Value};
use crate::stats::histogram::SCALE;

/// Which version of OpenTelemetry's names these are.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.44.0";
/// Attribute of an exemplar: the connection, as in the records and on the page.
const CONN_ID: &str = "finwait.conn_id";
/// A request is no larger, so that a collector's limit on its size is far.
pub(super) const POINTS_PER_REQUEST: usize = 5_000;

/// Hands out a snapshot as requests of at most [`POINTS_PER_REQUEST`] points, one after the other: all at once would be
/// many times larger than what is sent. None for a snapshot without values.
pub(super) fn each_request(
    exported: &Exported,
    resource: &Resource,
    mut each: impl FnMut(&ExportMetricsServiceRequest),
) {
    let times = Times::of(exported);
    let mut metrics = Vec::new();
    let mut room = POINTS_PER_REQUEST;
    for family in &exported.families {
        let mut rest = family.samples.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(room));
            metrics.extend(converted(family, now, times));
            room -= now.len();
            rest = later;
            if room == 0 {
                each(&request(std::mem::take(&mut metrics), resource));
                room = POINTS_PER_REQUEST;
            }
        }
    }
    if !metrics.is_empty() {
        each(&request(metrics, resource));
    }
}

/// The interval that the points stand for.
#[derive(Clone, Copy)]
struct Times {
    start: u64,
    at: u64,
}

impl Times {
    /// The wall clock may have been set back since the start: a point never ends before it begins.
    fn of(exported: &Exported) -> Self {
        let WallNs(start) = exported.since;
        Self { start, at: exported.at.0.max(start) }
    }
}

fn request(metrics: Vec<Metric>, resource: &Resource) -> ExportMetricsServiceRequest {
    let scope = InstrumentationScope {
        name: "finwait".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let scope_metrics = ScopeMetrics { scope: Some(scope), metrics, schema_url: SCHEMA.to_owned() };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource.message()),
            scope_metrics: vec![scope_metrics],
            schema_url: SCHEMA.to_owned(),
        }],
    }
}

/// Some of a family's samples as a metric; `None` where none of them has a value of the family's kind.
fn converted(family: &Family, samples: &[Sample], times: Times) -> Option<Metric> {
    let definition = family.definition;
    let Named { name, unit, instrument } = named(definition);
    let data = if instrument == Instrument::Histogram {
        let points: Vec<_> =
            samples.iter().filter_map(|sample| distribution_point(definition, sample, times)).collect();
        (!points.is_empty()).then(|| distributions(points))
    } else {
        let whole = definition.unit != Unit::Seconds;
        let numbers = samples.iter().filter_map(|sample| number_point(definition, sample, whole, times));
        let points: Vec<_> = numbers.map(|point| started(point, instrument, times)).collect();
        (!points.is_empty()).then(|| numbers_of(instrument, points))
    };
    let description = definition.help.to_owned();
    Some(Metric { name, description, unit: unit.to_owned(), data: Some(data?), ..Metric::default() })
}

fn numbers_of(instrument: Instrument, data_points: Vec<NumberDataPoint>) -> metric::Data {
    if instrument == Instrument::Gauge {
        return metric::Data::Gauge(Gauge { data_points });
    }
    metric::Data::Sum(Sum {
        data_points,
        aggregation_temporality: AggregationTemporality::Cumulative.into(),
        is_monotonic: instrument == Instrument::Counter,
    })
}

fn distributions(data_points: Vec<ExponentialHistogramDataPoint>) -> metric::Data {
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    metric::Data::ExponentialHistogram(ExponentialHistogram { data_points, aggregation_temporality })
}

/// Sums have a beginning, gauges have none.
fn started(mut point: NumberDataPoint, instrument: Instrument, times: Times) -> NumberDataPoint {
    if instrument != Instrument::Gauge {
        point.start_time_unix_nano = times.start;
    }
    point
}

/// A point without its beginning. `whole` says that the metric counts things or bytes.
fn number_point(
    definition: &Definition,
    sample: &Sample,
    whole: bool,
    times: Times,
) -> Option<NumberDataPoint> {
    let value = match sample.value {
        Value::Count(count) if whole => integer(count),
        Value::Count(count) => number_data_point::Value::AsDouble(count as f64),
        Value::Level(start) if definition.name == catalogue::START.name => {
            number_data_point::Value::AsDouble((times.at as f64 / 1e9 - start).max(0.0))
        }
        Value::Total(number) | Value::Level(number) => level(number, whole),
        Value::Distribution(_) => return None,
    };
    Some(NumberDataPoint {
        attributes: attributes(definition, sample),
        time_unix_nano: times.at,
        value: Some(value),
        ..NumberDataPoint::default()
    })
}

fn integer(count: u64) -> number_data_point::Value {
    number_data_point::Value::AsInt(i64::try_from(count).unwrap_or(i64::MAX))
}

/// Counts of things are whole numbers; a value that is none stays what it is.
fn level(number: f64, whole: bool) -> number_data_point::Value {
    if whole && number.fract() == 0.0 && number.abs() < 2f64.powi(63) {
        return number_data_point::Value::AsInt(number as i64);
    }
    number_data_point::Value::AsDouble(number)
}

fn distribution_point(
    definition: &Definition,
    sample: &Sample,
    times: Times,
) -> Option<ExponentialHistogramDataPoint> {
    let Value::Distribution(distribution) = &sample.value else { return None };
    let histogram = &distribution.histogram;
    Some(ExponentialHistogramDataPoint {
        attributes: attributes(definition, sample),
        start_time_unix_nano: times.start,
        time_unix_nano: times.at,
        count: histogram.count(),
        sum: Some(histogram.sum_seconds()),
        scale: SCALE,
        zero_count: histogram.zero_count(),
        positive: Some(Buckets {
            offset: histogram.first_index(),
            bucket_counts: histogram.dense().to_vec(),
        }),
        exemplars: exemplars(distribution),
        ..ExponentialHistogramDataPoint::default()
    })
}

/// Those whose time is known: OTLP has no exemplar without one.
fn exemplars(distribution: &Distribution) -> Vec<Exemplar> {
    let timed = distribution.exemplars.iter().filter_map(|exemplar| Some((exemplar, exemplar.wall?)));
    timed.map(|(exemplar, wall)| converted_exemplar(exemplar, wall)).collect()
}

fn converted_exemplar(exemplar: &family::Exemplar, wall: WallNs) -> Exemplar {
    Exemplar {
        filtered_attributes: vec![text(CONN_ID, &exemplar.conn_id.to_string())],
        time_unix_nano: wall.0,
        value: Some(exemplar::Value::AsDouble(exemplar.seconds)),
        ..Exemplar::default()
    }
}

#[cfg(test)]
#[path = "mapping_tests.rs"]
mod tests;
