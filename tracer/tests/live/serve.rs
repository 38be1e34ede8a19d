//! `finwait serve` in the running kernel: what was made is what a scraper reads.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tracer::scenario::check::sides;
use tracer::scenario::{Namespace, ScenarioError, SideName, catalog};

use crate::process::{Finwait, wait_for};
use crate::support::undisturbed;

const CLOSED: &str = "finwait_connections_closed_total";
/// An idle host's loop is woken up by who asks; it would sleep for a second.
const AT_ONCE: Duration = Duration::from_millis(900);

/// A port that nobody has.
fn address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port")
}

fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
}

/// Closes by role and kind, those that there were none of left out.
fn closes(metrics: &str) -> BTreeMap<(String, String), u64> {
    let mut counts = BTreeMap::new();
    for line in metrics.lines().filter_map(|line| line.strip_prefix(CLOSED)) {
        let (labels, count) = line.rsplit_once(' ').expect("a sample");
        let label = |name: &str| {
            let value = labels.split_once(&format!("{name}=\"")).expect("a label").1;
            value.split('"').next().expect("a value").to_owned()
        };
        let count: u64 = count.parse().expect("a number");
        if count > 0 {
            *counts.entry((label("role"), label("kind"))).or_default() += count;
        }
    }
    counts
}

#[test]
fn a_scraper_reads_the_closes_that_were_made_by_role_and_kind() {
    let namespace = Namespace::new().expect("namespace");
    let (address, netns) = (address(), namespace.inode().0.to_string());
    let served = Finwait::attached(&[
        "serve",
        "--netns",
        &netns,
        "--web.listen-address",
        &address.to_string(),
        "--group-by",
        "role",
    ]);
    wait_for("finwait to be ready", || get(address, "/-/ready"));
    let made = {
        let _shared = undisturbed();
        catalog::run(catalog::ALL, &namespace).expect("scenarios")
    };
    let mut expected = BTreeMap::new();
    for (_, side, made) in sides(&made) {
        let role = if side == SideName::Client { "opened" } else { "accepted" };
        let role = made.role.truth().map_or(role, |role| role.name());
        let kind = made.kind.truth().expect("every scenario's end is known").name();
        *expected.entry((role.to_owned(), kind.to_owned())).or_insert(0) += 1;
    }
    let total: u64 = expected.values().sum();
    let metrics = wait_for("all closes to be counted", || {
        get(address, "/metrics").filter(|metrics| closes(metrics).values().sum::<u64>() >= total)
    });
    assert_eq!(closes(&metrics), expected);
    assert!(
        metrics.contains(&format!("\nfinwait_events_received_total {}\n", made.transition_count())),
        "{metrics}"
    );
    assert!(metrics.contains("\nfinwait_events_lost_total{stage=\"ring\"} 0\n"), "{metrics}");

    std::thread::sleep(Duration::from_millis(300));
    let asked = Instant::now();
    get(address, "/metrics").expect("metrics");
    assert!(asked.elapsed() < AT_ONCE, "an idle loop answered after {:?}", asked.elapsed());

    served.signal(Signal::TERM);
    let ended = served.end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("lost 0"), "{}", ended.stderr);
}

/// The sample with this name and these labels.
fn sample(metrics: &str, series: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?.parse().ok()
}

#[test]
fn an_open_connection_is_a_socket_of_its_service_and_the_kernel_may_measure_what_it_cost() {
    let namespace = Namespace::new().expect("namespace");
    let (address, netns) = (address(), namespace.inode().0.to_string());
    // Only while this is held, and for nobody's harm: it costs each run some nanoseconds.
    let _measured =
        aya::sys::enable_stats(aya::sys::Stats::RunTime).expect("the kernel can measure programs");
    let listen = address.to_string();
    let _served = Finwait::attached(&["serve", "--netns", &netns, "--web.listen-address", &listen]);
    wait_for("finwait to be ready", || get(address, "/-/ready"));
    let failed = |error: std::io::Error| ScenarioError::unexpected(error.to_string());
    let listener =
        namespace.server().run(move || TcpListener::bind("127.0.0.1:7000").map_err(failed)).unwrap();
    let client =
        namespace.client().run(move || TcpStream::connect("127.0.0.1:7000").map_err(failed)).unwrap();
    let (server, _) = listener.accept().expect("a connection");
    let group = |role: &str| format!("role=\"{role}\",service_port=\"7000\"");
    let established = |role: &str| format!("finwait_sockets{{{},state=\"ESTABLISHED\"}}", group(role));
    let opened = |role: &str| format!("finwait_connections_opened_total{{{}}}", group(role));
    let open = wait_for("both ends to be there", || {
        let metrics = get(address, "/metrics")?;
        let one = |series: &str| sample(&metrics, series) == Some(1.0);
        let all = ["opened", "accepted"].iter().all(|role| one(&established(role)) && one(&opened(role)));
        all.then_some(metrics)
    });
    let listens = format!("finwait_sockets{{{},state=\"LISTEN\"}}", group("accepted"));
    assert_eq!(sample(&open, &listens), Some(1.0), "{open}");
    drop((client, server, listener));
    let closed = wait_for("both ends to have closed", || {
        let metrics = get(address, "/metrics")?;
        let none = |role: &str| sample(&metrics, &established(role)) == Some(0.0);
        (none("opened") && none("accepted") && closes(&metrics).len() == 2).then_some(metrics)
    });
    let seconds =
        |role: &str| format!("finwait_state_seconds_total{{{},state=\"ESTABLISHED\"}}", group(role));
    for role in ["opened", "accepted"] {
        let spent = sample(&closed, &seconds(role)).expect("seconds");
        assert!(spent > 0.0 && spent < 60.0, "{role}: {spent}");
    }
    let cost = |what: &str| {
        let of_programs = closed.lines().filter_map(|line| line.strip_prefix(what)?.rsplit_once(' '));
        of_programs.filter_map(|(_, value)| value.parse::<f64>().ok()).sum::<f64>()
    };
    let (runs, spent) =
        (cost("finwait_program_runs_total{"), cost("finwait_program_run_time_seconds_total{"));
    assert!(runs >= 10.0, "{runs} runs of the programs for ten transitions");
    assert!(spent > 0.0 && spent / runs < 0.001, "{spent} s for {runs} runs");
}
