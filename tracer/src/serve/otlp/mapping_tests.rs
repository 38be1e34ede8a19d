use std::borrow::Cow;
use std::sync::Arc;

use finwait_core::{BootId, ConnId, Cookie, MonoNs, SocketKey};
use opentelemetry_proto::tonic::common::v1::any_value;
use prost::Message;

use super::*;
use crate::stats::family::{Kind, Unit};
use crate::stats::histogram::{self, Histogram};

const SINCE: WallNs = WallNs(1_700_000_000_000_000_000);
const AT: WallNs = WallNs(1_700_000_060_500_000_000);

fn definition(name: &'static str, kind: Kind, labels: &'static [&'static str]) -> &'static Definition {
    let unit = if name.contains("_seconds") { Unit::Seconds } else { Unit::None };
    Box::leak(Box::new(Definition { name, kind, unit, help: "What it is", labels, grouped: false }))
}

fn sample(labels: &[&'static str], value: Value) -> Sample {
    let labels = labels.iter().map(|text| Cow::Borrowed(*text)).collect();
    Sample { group: Arc::new([]), labels, value }
}

fn sent(families: Vec<Family>) -> Vec<ExportMetricsServiceRequest> {
    decoded(&Exported { since: SINCE, at: AT, families })
}

/// As a receiver would see them.
fn decoded(exported: &Exported) -> Vec<ExportMetricsServiceRequest> {
    let mut requests = Vec::new();
    each_request(exported, &Resource::of_this_host(), |request| {
        requests.push(ExportMetricsServiceRequest::decode(&*request.encode_to_vec()).unwrap());
    });
    requests
}

fn only_metric(family: Family) -> Metric {
    let [request] = sent(vec![family]).try_into().unwrap();
    let [resource] = request.resource_metrics.try_into().unwrap();
    let [scope] = resource.scope_metrics.try_into().unwrap();
    assert_eq!(scope.scope.unwrap().name, "finwait");
    let [metric] = scope.metrics.try_into().unwrap();
    metric
}

#[test]
fn a_counter_is_a_cumulative_sum_that_only_grows() {
    let definition = definition("finwait_connections_closed_total", Kind::Counter, &["kind"]);
    let samples = vec![sample(&["graceful"], Value::Count(7)), sample(&["unknown"], Value::Count(0))];
    let metric = only_metric(Family { definition, samples });
    assert_eq!((metric.name.as_str(), metric.unit.as_str()), ("finwait.connections.closed", "{connection}"));
    assert_eq!(metric.description, "What it is");
    let Some(metric::Data::Sum(sum)) = metric.data else { panic!("{metric:?}") };
    assert!(sum.is_monotonic);
    assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Cumulative);
    let values: Vec<_> = sum.data_points.iter().map(|point| point.value).collect();
    assert_eq!(values, [Some(number_data_point::Value::AsInt(7)), Some(number_data_point::Value::AsInt(0))]);
    for point in &sum.data_points {
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (SINCE.0, AT.0));
        assert_eq!(point.attributes[0].key, "finwait.kind");
    }
}

#[test]
fn a_counter_of_seconds_keeps_its_fractions() {
    let definition = definition("process_cpu_seconds_total", Kind::Counter, &[]);
    let metric = only_metric(Family { definition, samples: vec![sample(&[], Value::Total(2.0))] });
    assert_eq!((metric.name.as_str(), metric.unit.as_str()), ("process.cpu.time", "s"));
    let Some(metric::Data::Sum(sum)) = metric.data else { panic!("{metric:?}") };
    assert_eq!(
        sum.data_points[0].value,
        Some(number_data_point::Value::AsDouble(2.0)),
        "no number changes its type"
    );
}

#[test]
fn sockets_by_state_are_the_conventions_metric() {
    let definition = definition("finwait_sockets", Kind::Gauge, &["state"]);
    let metric =
        only_metric(Family { definition, samples: vec![sample(&["CLOSE_WAIT"], Value::Level(3.0))] });
    assert_eq!(
        (metric.name.as_str(), metric.unit.as_str()),
        ("system.network.connection.count", "{connection}")
    );
    let Some(metric::Data::Sum(sum)) = metric.data else { panic!("{metric:?}") };
    assert!(!sum.is_monotonic);
    assert_eq!(sum.data_points[0].value, Some(number_data_point::Value::AsInt(3)));
    assert_eq!(sum.data_points[0].start_time_unix_nano, SINCE.0);
}

#[test]
fn a_gauge_has_no_beginning_and_may_be_infinite() {
    let definition = definition("finwait_oldest_close_wait_seconds", Kind::Gauge, &[]);
    let samples = vec![sample(&[], Value::Level(f64::INFINITY))];
    let metric = only_metric(Family { definition, samples });
    let Some(metric::Data::Gauge(gauge)) = metric.data else { panic!("{metric:?}") };
    assert_eq!(gauge.data_points[0].value, Some(number_data_point::Value::AsDouble(f64::INFINITY)));
    assert_eq!((gauge.data_points[0].start_time_unix_nano, gauge.data_points[0].time_unix_nano), (0, AT.0));
}

#[test]
fn an_info_is_a_gauge_of_one() {
    let definition = definition("finwait_build_info", Kind::Info, &["version"]);
    let metric = only_metric(Family { definition, samples: vec![sample(&["0.1.0"], Value::Level(1.0))] });
    let Some(metric::Data::Gauge(gauge)) = metric.data else { panic!("{metric:?}") };
    assert_eq!(gauge.data_points[0].attributes[0].key, "service.version");
    assert_eq!(gauge.data_points[0].value, Some(number_data_point::Value::AsInt(1)));
}

#[test]
fn the_start_of_the_process_is_sent_as_its_age() {
    let definition = definition("process_start_time_seconds", Kind::Gauge, &[]);
    let metric =
        only_metric(Family { definition, samples: vec![sample(&[], Value::Level(1_700_000_000.0))] });
    assert_eq!(metric.name, "process.uptime");
    let Some(metric::Data::Gauge(gauge)) = metric.data else { panic!("{metric:?}") };
    assert_eq!(gauge.data_points[0].value, Some(number_data_point::Value::AsDouble(60.5)));
}

fn distribution(durations_ns: &[u64]) -> Distribution {
    let mut histogram = Histogram::default();
    durations_ns.iter().for_each(|ns| histogram.record(*ns));
    Distribution { histogram, exemplars: Vec::new() }
}

fn point(distribution: Distribution) -> ExponentialHistogramDataPoint {
    let definition = definition("finwait_state_duration_seconds", Kind::Histogram, &["state"]);
    let samples = vec![sample(&["CLOSE_WAIT"], Value::Distribution(distribution.into()))];
    let metric = only_metric(Family { definition, samples });
    assert_eq!((metric.name.as_str(), metric.unit.as_str()), ("finwait.state_duration", "s"));
    let Some(metric::Data::ExponentialHistogram(histogram)) = metric.data else { panic!("{metric:?}") };
    assert_eq!(histogram.aggregation_temporality(), AggregationTemporality::Cumulative);
    let [point] = histogram.data_points.try_into().unwrap();
    point
}

#[test]
fn buckets_have_the_offset_that_their_bounds_say_by_hand() {
    // base = 2^(1/8). (1, base] is index 0; 1 itself is the upper bound of index -1; 2 = base^8 is that of index 7;
    // 1 ms = base^-79.7 lies in (base^-80, base^-79], index -80.
    for (ns, index) in [(1_000_000_000, -1), (1_000_000_001, 0), (2_000_000_000, 7), (1_000_000, -80)] {
        let point = point(distribution(&[ns]));
        let buckets = point.positive.unwrap();
        assert_eq!((buckets.offset, buckets.bucket_counts), (index, vec![1]), "{ns} ns");
    }
}

#[test]
fn every_bucket_lies_where_the_protocol_says() {
    let mut durations: Vec<u64> = (0..63).map(|bit| 1 << bit).collect();
    durations.extend([999, 1_001, 999_999_999, 40_000_000_000]);
    for ns in durations {
        let point = point(distribution(&[ns]));
        let index = f64::from(point.positive.unwrap().offset);
        let base = 2f64.powf(2f64.powi(-point.scale));
        let seconds = ns as f64 / 1e9;
        let (lower, upper) = (base.powf(index), base.powf(index + 1.0));
        let slack = 1e-12;
        assert!(lower * (1.0 - slack) <= seconds && seconds <= upper * (1.0 + slack), "{ns} ns in {index}");
    }
}

#[test]
fn a_distribution_keeps_count_sum_zeros_and_gaps() {
    let point = point(distribution(&[0, 0, 500_000_000, 2_000_000_000, 2_000_000_000]));
    assert_eq!((point.count, point.zero_count, point.scale), (5, 2, 3));
    assert_eq!((point.sum, point.min, point.max), (Some(4.5), None, None));
    assert_eq!(point.zero_threshold, 0.0);
    assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (SINCE.0, AT.0));
    let buckets = point.positive.unwrap();
    // 0.5 s is the upper bound of index -9, 2 s that of 7.
    assert_eq!(buckets.offset, -9);
    assert_eq!(buckets.bucket_counts.len(), 17);
    assert_eq!((buckets.bucket_counts[0], buckets.bucket_counts[16]), (1, 2));
    assert_eq!(point.zero_count + buckets.bucket_counts.iter().sum::<u64>(), point.count);
    assert_eq!(histogram::upper_bound_seconds(7), 2.0);
}

#[test]
fn an_empty_distribution_is_there_with_nothing_in_it() {
    let point = point(Distribution::default());
    assert_eq!((point.count, point.sum), (0, Some(0.0)));
    assert!(point.positive.unwrap().bucket_counts.is_empty());
}

#[test]
fn an_exemplar_names_its_connection_and_needs_a_time() {
    let conn_id = ConnId { boot: BootId(1 << 100), socket: SocketKey::Cookie(Cookie(0x2a)), generation: 7 };
    let mut distribution = distribution(&[2_000_000_000]);
    let timed = family::Exemplar { conn_id, at: MonoNs(1), seconds: 2.0, wall: Some(AT) };
    distribution.exemplars = vec![timed, family::Exemplar { wall: None, ..timed }];
    let point = point(distribution);
    assert_eq!(point.exemplars.len(), 1);
    assert_eq!(point.exemplars[0].time_unix_nano, AT.0);
    assert_eq!(point.exemplars[0].value, Some(exemplar::Value::AsDouble(2.0)));
    let [attribute] = &point.exemplars[0].filtered_attributes[..] else { panic!("{point:?}") };
    assert_eq!(attribute.key, "finwait.conn_id");
    let value = attribute.value.as_ref().unwrap().value.clone();
    assert_eq!(value, Some(any_value::Value::StringValue(conn_id.to_string())));
}

#[test]
fn a_snapshot_of_many_groups_is_several_requests_with_every_point_in_one() {
    let definition = definition("finwait_connections_closed_total", Kind::Counter, &["kind"]);
    let samples: Vec<_> = (0..12_001).map(|count| sample(&["graceful"], Value::Count(count))).collect();
    let requests =
        sent(vec![Family { definition, samples: samples.clone() }, Family { definition, samples }]);
    let mut seen = Vec::new();
    for request in &requests {
        let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
        let sums = metrics.iter().map(|metric| match &metric.data {
            Some(metric::Data::Sum(sum)) => sum,
            other => panic!("{other:?}"),
        });
        let points: Vec<_> = sums.flat_map(|sum| sum.data_points.iter().map(|point| point.value)).collect();
        assert!(points.len() <= POINTS_PER_REQUEST);
        seen.extend(points);
    }
    assert_eq!(requests.len(), 5);
    let counts = || (0..12_001).map(|count| Some(number_data_point::Value::AsInt(count)));
    assert!(seen.into_iter().eq(counts().chain(counts())));
}

#[test]
fn nothing_is_sent_of_a_snapshot_without_values() {
    let definition = definition("finwait_sockets", Kind::Gauge, &[]);
    assert!(sent(vec![Family { definition, samples: Vec::new() }]).is_empty());
}

#[test]
fn a_clock_that_was_set_back_does_not_turn_an_interval_round() {
    let definition = definition("finwait_resets_total", Kind::Counter, &[]);
    let families = vec![Family { definition, samples: vec![sample(&[], Value::Count(1))] }];
    let exported = Exported { since: AT, at: SINCE, families };
    let [request] = decoded(&exported).try_into().unwrap();
    let Some(metric::Data::Sum(sum)) = &request.resource_metrics[0].scope_metrics[0].metrics[0].data else {
        panic!("{request:?}")
    };
    assert_eq!((sum.data_points[0].start_time_unix_nano, sum.data_points[0].time_unix_nano), (AT.0, AT.0));
}
