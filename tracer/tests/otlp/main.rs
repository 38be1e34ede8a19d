//! What is pushed, seen by a receiver that shares no code with finwait: Python, with OpenTelemetry's own protobuf definitions.
//! `cargo xtask components` installs what it takes.
#![expect(clippy::unwrap_used, reason = "clippy takes only functions marked as tests for tests")]

mod receiver;
mod served;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use finwait_core::{MonoNs, Tracker, TrackerConfig, WallNs};
use serde_json::{Value, json};
use tracer::serve::otlp::{Exported, LAST_TRY, OtlpConfig, OtlpHandle, Retry, start};
use tracer::sink::{Context, Sink};
use tracer::source::{FileSource, Polled, Source};
use tracer::stats::family::{Family, Value as Measured};
use tracer::stats::histogram::upper_bound_seconds;
use tracer::stats::{Aggregator, Grouping, ProcessFacts};

use receiver::Receiver;
use served::{Series, Served, labels};

const DOCUMENTED: &str = include_str!("../../../docs/otlp.md");
const SINCE: u64 = 1_700_000_000_000_000_000;
const AT: u64 = 1_700_000_060_500_000_000;

/// The metrics of a recording, and of a process.
fn families() -> Vec<Family> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/closes.jsonl");
    let mut source = FileSource::open(&path).unwrap();
    let mut tracker = Tracker::new(TrackerConfig::default());
    let mut aggregator = Aggregator::new(Grouping::default(), 1_000);
    let mut context = Context::default();
    let mut batch = Vec::new();
    loop {
        let polled = source.poll(&mut batch, Duration::ZERO).unwrap();
        for observation in batch.drain(..) {
            tracker.observe(&observation);
            if context.learn(&observation) {
                aggregator.context(&context);
            }
            while let Some(record) = tracker.next_record() {
                aggregator.record(&record).unwrap();
            }
        }
        if polled == Polled::End {
            break;
        }
    }
    tracker.finish();
    while let Some(record) = tracker.next_record() {
        aggregator.record(&record).unwrap();
    }
    let process = ProcessFacts {
        cpu_seconds: Some(1.25),
        resident_bytes: Some(20 << 20),
        open_fds: Some(17),
        start_seconds: Some(1_700_000_000.0),
        port_range: None,
        closes_skipped: None,
        programs: Vec::new(),
        pushes: None,
    };
    aggregator.snapshot(&tracker, MonoNs(0)).families(MonoNs(0), &process, Duration::ZERO)
}

fn push(receiver: &Receiver, families: Vec<Family>) -> OtlpHandle {
    let config = OtlpConfig {
        interval: Duration::from_millis(50),
        retry: Retry { first: Duration::from_millis(20), longest: Duration::from_millis(20) },
        ..OtlpConfig::new(receiver.endpoint().parse().unwrap())
    };
    let mut once = Some(Exported { since: WallNs(SINCE), at: WallNs(AT), families });
    start(config, move || once.take()).unwrap()
}

/// Name, instrument and unit of each metric, as docs/otlp.md promises them.
fn promised() -> BTreeMap<&'static str, [&'static str; 3]> {
    let rows = DOCUMENTED.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.split('|').map(|cell| cell.trim().trim_matches('`')).collect::<Vec<_>>());
    let rows = cells.filter(|cells| cells.len() == 6);
    rows.map(|cells| (cells[1], [cells[2], cells[3], cells[4]])).collect()
}

/// The metric's kind, temporality and direction, in the receiver's words.
fn kind(instrument: &str) -> Value {
    let cumulative = "AGGREGATION_TEMPORALITY_CUMULATIVE";
    match instrument {
        "counter" => json!(["sum", cumulative, true]),
        "updowncounter" => json!(["sum", cumulative, false]),
        "histogram" => json!(["exponential_histogram", cumulative, null]),
        _ => json!(["gauge", null, null]),
    }
}

fn is_the_same(metric: &str, measured: &Measured, point: &Value) {
    match measured {
        Measured::Count(count) => assert_eq!(point["value"], json!(count), "{metric}"),
        Measured::Total(level) | Measured::Level(level) if metric == "process_start_time_seconds" => {
            assert_eq!(point["value"].as_f64(), Some(AT as f64 / 1e9 - level), "{metric}");
        }
        Measured::Total(level) | Measured::Level(level) => {
            assert_eq!(point["value"].as_f64(), Some(*level), "{metric}");
        }
        Measured::Distribution(distribution) => {
            let histogram = &distribution.histogram;
            assert_eq!(point["count"], json!(histogram.count()), "{metric}");
            assert_eq!(point["sum"].as_f64(), Some(histogram.sum_seconds()), "{metric}");
            assert_eq!(point["zero_count"], json!(histogram.zero_count()), "{metric}");
            assert_eq!((&point["negative"], &point["has_min_or_max"]), (&json!(0), &json!(false)));
            let bounds: Vec<(f64, f64, u64)> = serde_json::from_value(point["buckets"].clone()).unwrap();
            let expected: Vec<_> = histogram.buckets().collect();
            assert_eq!(bounds.len(), expected.len(), "{metric}");
            for ((lower, upper, count), (index, expected)) in bounds.into_iter().zip(expected) {
                assert_eq!(count, expected, "{metric}");
                assert!((upper / upper_bound_seconds(index) - 1.0).abs() < 1e-12, "{metric}: {upper}");
                assert!((lower / upper_bound_seconds(index - 1) - 1.0).abs() < 1e-12, "{metric}: {lower}");
            }
            let exemplars = point["exemplars"].as_array().unwrap();
            for (sent, exemplar) in exemplars.iter().zip(&distribution.exemplars) {
                assert_eq!(sent["attributes"], json!({"finwait.conn_id": exemplar.conn_id.to_string()}));
                assert_eq!(sent["value"].as_f64(), Some(exemplar.seconds));
                assert_eq!(sent["time"], json!(exemplar.wall.unwrap().0));
            }
            assert_eq!(exemplars.len(), distribution.exemplars.len(), "{metric}");
        }
    }
}

#[test]
fn every_number_of_a_recording_arrives_under_the_name_that_is_documented() {
    let families = families();
    let promised = promised();
    let receiver = Receiver::start(&[]);
    let handle = push(&receiver, families.clone());
    let scope = receiver.next_scope();
    let metrics = scope["metrics"].as_array().unwrap();
    assert_eq!(metrics.len(), families.iter().filter(|family| !family.samples.is_empty()).count());
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let metric = family.definition.name;
        let [name, instrument, unit] = promised[metric];
        let sent = metrics.iter().find(|sent| sent["name"] == name).unwrap_or_else(|| panic!("{metric}"));
        assert_eq!(
            json!([sent["kind"], sent["temporality"], sent["monotonic"]]),
            kind(instrument),
            "{metric}"
        );
        assert_eq!((&sent["unit"], &sent["description"]), (&json!(unit), &json!(family.definition.help)));
        let points = sent["points"].as_array().unwrap();
        assert_eq!(points.len(), family.samples.len(), "{metric}");
        for (sample, point) in family.samples.iter().zip(points) {
            is_the_same(metric, &sample.value, point);
            let start = if instrument == "gauge" { 0 } else { SINCE };
            assert_eq!((&point["start"], &point["time"]), (&json!(start), &json!(AT)), "{metric}");
        }
        let attributes: BTreeSet<_> = points.iter().map(|point| point["attributes"].to_string()).collect();
        assert_eq!(attributes.len(), points.len(), "{metric}: two points share their attributes");
    }
    handle.stop(None).unwrap();
}

#[test]
fn a_recording_comes_to_something_that_can_be_compared() {
    let families = families();
    let distributions =
        families.iter().flat_map(|family| &family.samples).filter_map(|sample| match &sample.value {
            Measured::Distribution(distribution) => Some(distribution.clone()),
            _ => None,
        });
    let filled: Vec<_> = distributions.filter(|distribution| distribution.histogram.count() > 0).collect();
    assert!(filled.len() >= 5, "{}", filled.len());
    assert!(filled.iter().any(|distribution| !distribution.exemplars.is_empty()));
}

#[test]
fn groups_states_and_reasons_arrive_as_attributes_of_the_conventions() {
    let receiver = Receiver::start(&[]);
    let _handle = push(&receiver, families());
    let scope = receiver.next_scope();
    let attributes = |name: &str| -> BTreeSet<String> {
        let metrics = scope["metrics"].as_array().unwrap();
        let metric = metrics.iter().find(|metric| metric["name"] == name).unwrap();
        metric["points"].as_array().unwrap().iter().map(|point| point["attributes"].to_string()).collect()
    };
    let sockets = attributes("system.network.connection.count");
    for state in ["established", "fin_wait_1", "fin_wait_2", "syn_received", "close_wait", "last_ack"] {
        let group = json!({"finwait.role": "accepted", "network.connection.state": state, "network.transport": "tcp", "server.port": 443});
        let expected = group.to_string();
        assert!(sockets.contains(&expected), "{expected}: {sockets:?}");
    }
    let closed = attributes("finwait.connections.closed");
    for expected in [
        json!({"finwait.kind": "active", "finwait.role": "opened", "server.port": 8080}),
        json!({"finwait.kind": "unknown", "otel.metric.overflow": true}),
    ] {
        assert!(closed.contains(&expected.to_string()), "{expected}: {closed:?}");
    }
    let sent =
        json!({"otel.metric.overflow": true, "network.io.direction": "receive", "finwait.reason": "peer"});
    assert!(attributes("finwait.resets").contains(&sent.to_string()));
    let resource = &scope["resource"];
    assert_eq!((&resource["service.name"], &resource["os.type"]), (&json!("finwait"), &json!("linux")));
    assert_eq!(resource["process.pid"], json!(std::process::id()));
    assert_eq!(scope["schema"], "https://opentelemetry.io/schemas/1.44.0");
}

#[test]
fn a_receiver_that_is_busy_gets_the_same_later() {
    let receiver = Receiver::start(&["--busy", "1"]);
    let handle = push(&receiver, families());
    let counters = Arc::clone(handle.counters());
    assert_eq!(receiver.next()["status"], 503);
    receiver.next_scope();
    handle.stop(None).unwrap();
    assert_eq!((counters.ok(), counters.retried(), counters.failed(), counters.dropped()), (1, 1, 0, 0));
}

/// What changes from one look to the next, by itself or by looking.
const ALIVE: [&str; 6] = [
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_start_time_seconds",
    "finwait_snapshot_age_seconds",
    "finwait_otlp_exports_total",
];

/// What a push holds, as /metrics would show it; classic buckets by adding up the exponential ones.
fn shown(scope: &Value, bounds: &BTreeSet<String>) -> BTreeMap<Series, f64> {
    let names: BTreeMap<_, _> = promised().into_iter().map(|(metric, [name, ..])| (name, metric)).collect();
    let mut all = BTreeMap::new();
    for metric in scope["metrics"].as_array().unwrap() {
        let name = names[metric["name"].as_str().unwrap()];
        for point in metric["points"].as_array().unwrap() {
            let labels = labels(&point["attributes"]);
            if metric["kind"] != "exponential_histogram" {
                all.insert((name.to_owned(), labels), point["value"].as_f64().unwrap());
                continue;
            }
            let buckets: Vec<(f64, f64, f64)> = serde_json::from_value(point["buckets"].clone()).unwrap();
            for text in bounds {
                let bound: f64 = text.parse().unwrap();
                let below = buckets.iter().filter(|(_, upper, _)| *upper <= bound * (1.0 + 1e-9));
                let count =
                    point["zero_count"].as_f64().unwrap() + below.map(|(_, _, count)| count).sum::<f64>();
                let mut labels = labels.clone();
                labels.insert("le".to_owned(), text.clone());
                all.insert((format!("{name}_bucket"), labels), count);
            }
            all.insert((format!("{name}_sum"), labels.clone()), point["sum"].as_f64().unwrap());
            all.insert((format!("{name}_count"), labels), point["count"].as_f64().unwrap());
        }
    }
    all
}

#[test]
fn what_finwait_pushes_is_what_it_shows_at_metrics() {
    let receiver = Receiver::start(&[]);
    let served = Served::pushing_to(&receiver);
    let metrics = served.metrics();
    // The first was perhaps taken before the recording was read.
    receiver.next_scope();
    let scope = receiver.next_scope();
    let bounds = metrics.keys().filter_map(|(_, labels)| labels.get("le").cloned()).collect();
    let pushed = shown(&scope, &bounds);
    assert_eq!(pushed.keys().collect::<Vec<_>>(), metrics.keys().collect::<Vec<_>>());
    let mut compared = 0;
    for (series, value) in metrics.iter().filter(|((name, _), _)| !ALIVE.contains(&name.as_str())) {
        assert_eq!(pushed[series], *value, "{series:?}");
        compared += 1;
    }
    assert!(compared > 500, "{compared}");
    assert!(metrics.iter().any(|((name, _), value)| name.ends_with("_bucket") && *value > 0.0));
}

#[test]
fn a_push_has_the_headers_and_the_resource_of_the_environment() {
    let receiver = Receiver::start(&[]);
    let _served = Served::pushing_to(&receiver);
    let request = receiver.next();
    assert_eq!(request["path"], "/v1/metrics");
    let headers = &request["headers"];
    assert_eq!((&headers["authorization"], &headers["x-scope"]), (&json!("Bearer hidden"), &json!("shown")));
    assert_eq!(request["scopes"][0]["resource"]["k8s.node.name"], "n1");
    let pushes = request["scopes"][0]["metrics"].as_array().unwrap();
    let pushes = pushes.iter().find(|metric| metric["name"] == "finwait.otlp.exports").unwrap();
    assert_eq!(pushes["points"].as_array().unwrap().len(), 3);
}

#[test]
fn finwait_counts_its_pushes_and_sends_a_last_one_at_its_end() {
    let receiver = Receiver::start(&[]);
    let served = Served::pushing_to(&receiver);
    let before = receiver.next_scope();
    let taken = ("finwait_otlp_exports_total".to_owned(), [("outcome".to_owned(), "ok".to_owned())].into());
    let end = Instant::now() + receiver::PATIENCE;
    while served.metrics()[&taken] < 1.0 {
        assert!(Instant::now() < end);
    }
    let (status, stderr) = served.end();
    assert!(status.success(), "{stderr}");
    let mut scopes = vec![before];
    scopes.extend(receiver.rest());
    let time = |scope: &Value| scope["metrics"][0]["points"][0]["time"].as_u64().unwrap();
    assert!(scopes.len() >= 2, "one a second, and the last");
    assert!(scopes.windows(2).all(|pair| time(&pair[0]) <= time(&pair[1])));
    let starts: BTreeSet<_> =
        scopes.iter().map(|scope| scope["metrics"][0]["points"][0]["start"].to_string()).collect();
    assert_eq!(starts.len(), 1);
}

#[test]
fn without_its_receiver_finwait_ends_all_the_same_and_says_what_was_not_sent() {
    let receiver = Receiver::start(&["--busy", "1000000"]);
    let served = Served::pushing_to(&receiver);
    assert_eq!(receiver.next()["status"], 503);
    let begin = Instant::now();
    let (status, stderr) = served.end();
    assert!(status.success(), "{stderr}");
    assert!(begin.elapsed() < LAST_TRY + Duration::from_secs(5), "{:?}", begin.elapsed());
    assert!(stderr.contains("did not take the last metrics"), "{stderr}");
}
