use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::metrics::v1::{NumberDataPoint, metric, number_data_point};
use prost::Message;
use socket2::{Domain, Socket, Type};

use super::collector_for_tests::{Answer, Collector, PATIENCE, ok};
use super::*;
use crate::stats::catalogue;
use crate::stats::family::{Sample, Value};

fn exported(count: u64) -> Exported {
    let sample = Sample { group: Arc::new([]), labels: Vec::new(), value: Value::Count(count) };
    let families = vec![Family { definition: &catalogue::EVENTS, samples: vec![sample] }];
    // As a clock that drifts would have it: the beginning moves a little.
    Exported { since: WallNs(1_000 + count), at: WallNs(5_000 + count), families }
}

/// Snapshots whose counter says which they are, from 1.
fn counted() -> impl FnMut() -> Option<Exported> + Send + 'static {
    let mut count = 0;
    move || {
        count += 1;
        Some(exported(count))
    }
}

/// Only the first snapshot; later ones are not there.
fn once() -> impl FnMut() -> Option<Exported> + Send + 'static {
    let mut first = Some(exported(1));
    move || first.take()
}

fn config(address: SocketAddr) -> OtlpConfig {
    OtlpConfig {
        interval: Duration::from_millis(20),
        timeout: Duration::from_secs(5),
        retry: Retry { first: Duration::from_millis(20), longest: Duration::from_millis(80) },
        ..OtlpConfig::new(format!("http://{address}").parse().unwrap())
    }
}

fn point(message: &ExportMetricsServiceRequest) -> NumberDataPoint {
    match &message.resource_metrics[0].scope_metrics[0].metrics[0].data {
        Some(metric::Data::Sum(sum)) => sum.data_points[0].clone(),
        other => panic!("{other:?}"),
    }
}

/// Which snapshot a request holds.
fn count(message: &ExportMetricsServiceRequest) -> i64 {
    match point(message).value {
        Some(number_data_point::Value::AsInt(count)) => count,
        other => panic!("{other:?}"),
    }
}

fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !reached() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Bound and not listening: the port refuses connections, and nobody else gets it.
fn closed_port() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

#[test]
fn a_push_is_a_post_of_protobuf_to_the_standard_path_with_the_headers() {
    let collector = Collector::start(|_| ok());
    let headers = vec!["x-key=secret".parse().unwrap()];
    let handle = start(OtlpConfig { headers, ..config(collector.address) }, counted()).unwrap();
    let request = collector.next();
    assert_eq!(request.head[0], "post /v1/metrics http/1.1");
    for line in ["content-type: application/x-protobuf", "x-key: secret"] {
        assert!(request.head.iter().any(|head| head == line), "{line}: {:?}", request.head);
    }
    assert_eq!(count(&request.message()), 1);
    assert_eq!(count(&collector.next().message()), 2);
    until("two are counted", || handle.counters().ok() >= 2);
    assert_eq!(
        (handle.counters().retried(), handle.counters().failed(), handle.counters().dropped()),
        (0, 0, 0)
    );
}

#[test]
fn the_beginning_stays_the_same_whatever_the_clock_does() {
    let collector = Collector::start(|_| ok());
    let _handle = start(config(collector.address), counted()).unwrap();
    let starts = [(); 3].map(|()| point(&collector.next().message()).start_time_unix_nano);
    assert_eq!(starts, [1_001; 3]);
}

#[test]
fn a_busy_collector_gets_the_same_request_again_after_a_while() {
    for status in [429, 502, 503, 504] {
        let collector = Collector::start(move |number| match number {
            0 | 1 => Answer::Http(status, "", Vec::new()),
            _ => ok(),
        });
        let handle = start(config(collector.address), once()).unwrap();
        let [first, second, third] = [(); 3].map(|()| collector.next());
        assert_eq!((&first.body, &first.body), (&second.body, &third.body), "{status}");
        assert!(second.at - first.at >= Duration::from_millis(10), "half of 20 ms");
        assert!(third.at - second.at >= Duration::from_millis(20), "half of 40 ms");
        until("it is taken", || handle.counters().ok() == 1);
        assert_eq!((handle.counters().retried(), handle.counters().failed()), (2, 0));
    }
}

#[test]
fn a_collector_that_names_a_time_is_left_alone_until_then() {
    let collector = Collector::start(|number| match number {
        0 => Answer::Http(503, "retry-after: 1\r\n", Vec::new()),
        _ => ok(),
    });
    let _handle = start(config(collector.address), once()).unwrap();
    let [first, second] = [(); 2].map(|()| collector.next());
    assert!(second.at - first.at >= Duration::from_secs(1), "{:?}", second.at - first.at);
}

#[test]
fn a_request_that_is_refused_is_never_sent_again() {
    for status in [400, 401, 404, 413, 500, 307] {
        let collector = Collector::start(move |number| match number {
            0 => Answer::Http(status, "location: /elsewhere\r\n", Vec::new()),
            _ => ok(),
        });
        let handle = start(config(collector.address), counted()).unwrap();
        assert_eq!([(); 2].map(|()| count(&collector.next().message())), [1, 2], "{status}");
        until("the next is taken", || handle.counters().ok() >= 1);
        assert_eq!((handle.counters().failed(), handle.counters().retried()), (1, 0));
    }
}

#[test]
fn while_the_collector_is_away_the_newest_snapshots_wait_and_the_rest_are_counted() {
    let (socket, address) = closed_port();
    let queue = QueueBounds { requests: 3, ..QueueBounds::default() };
    let handle = start(OtlpConfig { queue, ..config(address) }, counted()).unwrap();
    let counters = handle.counters();
    until("some had to go", || counters.dropped() >= 2 && counters.retried() >= 2);
    assert_eq!((counters.ok(), counters.failed()), (0, 0));

    socket.listen(16).unwrap();
    let collector = Collector::on(TcpListener::from(socket), |_| ok());
    let first = count(&collector.next().message());
    assert!(first > 2, "the oldest are gone: {first}");
    let next = [(); 2].map(|()| count(&collector.next().message()));
    assert_eq!(next, [first + 1, first + 2], "those that waited come in their order");
}

#[test]
fn a_collector_that_never_answers_costs_a_try_its_timeout_and_no_more() {
    let collector = Collector::start(|number| if number == 0 { Answer::Silence } else { ok() });
    let timeout = Duration::from_millis(200);
    let handle = start(OtlpConfig { timeout, ..config(collector.address) }, once()).unwrap();
    let [first, second] = [(); 2].map(|()| collector.next());
    assert_eq!(first.body, second.body);
    assert!(second.at - first.at >= Duration::from_millis(150), "{:?}", second.at - first.at);
    until("it is taken", || handle.counters().ok() == 1);
    assert_eq!(handle.counters().retried(), 1);
}

#[test]
fn points_that_a_collector_rejects_are_counted_and_not_sent_again() {
    let collector = Collector::start(|_| {
        let partial =
            ExportMetricsPartialSuccess { rejected_data_points: 3, error_message: "too old".to_owned() };
        let answer = ExportMetricsServiceResponse { partial_success: Some(partial) };
        Answer::Http(200, "content-type: application/x-protobuf\r\n", answer.encode_to_vec())
    });
    let handle = start(config(collector.address), once()).unwrap();
    collector.next();
    until("it is counted", || handle.counters().ok() == 1);
    assert_eq!((handle.counters().rejected_points(), handle.counters().failed()), (3, 0));
    assert!(collector.nothing_within(Duration::from_millis(100)));
}

#[test]
fn an_answer_that_makes_no_sense_still_counts_as_taken() {
    let collector = Collector::start(|_| {
        Answer::Http(200, "content-type: application/x-protobuf\r\n", b"\xff\xff\xff".to_vec())
    });
    let handle = start(config(collector.address), once()).unwrap();
    until("it is counted", || handle.counters().ok() == 1);
    assert_eq!(handle.counters().rejected_points(), 0);
}

#[test]
fn at_the_end_the_last_snapshot_is_sent() {
    let collector = Collector::start(|_| ok());
    let interval = Duration::from_secs(3_600);
    let handle = start(OtlpConfig { interval, ..config(collector.address) }, counted()).unwrap();
    let counters = Arc::clone(handle.counters());
    handle.stop(Some(exported(42))).unwrap();
    assert_eq!(count(&collector.next().message()), 42);
    assert_eq!(counters.ok(), 1);
}

#[test]
fn at_the_end_a_collector_that_is_away_is_tried_once_and_what_waits_is_counted() {
    let (_socket, address) = closed_port();
    let handle = start(OtlpConfig { interval: Duration::MAX, ..config(address) }, counted()).unwrap();
    let counters = Arc::clone(handle.counters());
    let begin = Instant::now();
    assert!(matches!(handle.stop(Some(exported(1))), Err(OtlpError::Unsent)));
    assert!(begin.elapsed() < LAST_TRY, "a refused connection is no reason to wait");
    assert_eq!((counters.retried(), counters.dropped()), (1, 1));
}

#[test]
fn at_the_end_a_silent_collector_is_waited_for_so_long_and_no_longer() {
    let collector = Collector::start(|_| Answer::Silence);
    let timeout = Duration::from_secs(60);
    let handle = start(OtlpConfig { timeout, ..config(collector.address) }, once()).unwrap();
    collector.next();
    let begin = Instant::now();
    assert!(matches!(handle.stop(None), Err(OtlpError::Unsent)));
    let taken = begin.elapsed();
    assert!(taken >= LAST_TRY && taken < LAST_TRY + Duration::from_secs(2), "{taken:?}");
}

#[test]
fn the_thread_ends_with_its_handle() {
    let calls = Arc::new(AtomicU64::new(0));
    let called = Arc::clone(&calls);
    let collector = Collector::start(|_| ok());
    let handle = start(config(collector.address), move || {
        called.fetch_add(1, Ordering::Relaxed);
        None
    })
    .unwrap();
    until("a snapshot is taken", || calls.load(Ordering::Relaxed) > 0);
    drop(handle);
    until("the thread lets go of its closure", || Arc::strong_count(&calls) == 1);
}
