//! `finwait serve` as a scraper, a browser and a hostile client meet it, over loopback; a recording stands in for the kernel.
#![expect(clippy::unwrap_used, reason = "clippy takes only functions marked as tests for tests")]

mod configuration;
mod exposition;
mod redaction;
mod served;
mod watchdog;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
#[cfg(feature = "otlp")]
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

#[cfg(feature = "otlp")]
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use served::{LIMIT, Served, refused};

const OPENMETRICS: &str = "Accept: application/openmetrics-text; version=1.0.0\r\n";

#[test]
fn the_closes_of_a_recording_are_counted_by_group_and_kind() {
    let served = Served::with(&["--group-by", "role,service,process"]);
    let metrics = served.get("/metrics", "");
    assert_eq!(metrics.status(), "200");
    let group = |role: &str, port: u16, process: &str| {
        format!("role=\"{role}\",service_port=\"{port}\",process=\"{process}\"")
    };
    for (group, kind, count) in [
        (group("opened", 8080, "curl"), "active", "1"),
        (group("accepted", 443, "nginx"), "passive", "1"),
        (group("accepted", 443, "nginx"), "active", "0"),
        (group("opened", 81, "wget"), "refused", "1"),
        (group("opened", 5432, "api"), "reset", "1"),
    ] {
        let name = format!("finwait_connections_closed_total{{{group},kind=\"{kind}\"}}");
        assert_eq!(metrics.sample(&name), count);
    }
    let api = group("opened", 5432, "api");
    let reset = format!("finwait_resets_total{{{api},direction=\"sent\",reason=\"unread_data\"}}");
    assert_eq!(metrics.sample(&reset), "1");
    let wget =
        format!("finwait_handshake_failures_total{{{},cause=\"refused\"}}", group("opened", 81, "wget"));
    assert_eq!(metrics.sample(&wget), "1");
    let curl = group("opened", 8080, "curl");
    let bucket = |le: &str| {
        let labels = format!("{curl},state=\"FIN_WAIT2\",le=\"{le}\"");
        metrics.sample(&format!("finwait_state_duration_seconds_bucket{{{labels}}}")).to_owned()
    };
    assert_eq!((bucket("1.0"), bucket("4.0"), bucket("+Inf")), ("0".into(), "1".into(), "1".into()));
    let opened =
        |group: &str| metrics.sample(&format!("finwait_connections_opened_total{{{group}}}")).to_owned();
    assert_eq!((opened(&curl), opened(&group("opened", 81, "wget"))), ("1".into(), "0".into()));
    // The fifth: until it is accepted, it is not known who a connection to port 443 belongs to.
    assert_eq!(metrics.sample("finwait_groups"), "5.0");
}

#[test]
fn the_summary_says_what_the_metrics_say() {
    let served = Served::with(&[]);
    let summary = served.api("summary");
    assert_eq!(summary["schema"], "finwait.summary/1");
    assert_eq!((&summary["replay"], &summary["closes"]["total"]), (&json!(true), &json!(4)));
    let kinds = &summary["closes"]["by_kind"];
    for (kind, count) in [("active", 1), ("passive", 1), ("refused", 1), ("reset", 1), ("unknown", 0)] {
        assert_eq!(kinds[kind], count, "{kind}");
    }
    assert_eq!(summary["resets"], json!({"sent": {"unread_data": 1}, "received": 0, "unknown": 0}));
    assert_eq!(summary["handshake_failures"]["refused"], 1);
    assert_eq!((&summary["losses"]["received"], &summary["losses"]["lost"]), (&json!(15), &json!(0)));
    assert_eq!(summary["stuck"]["CLOSE_WAIT"]["count"], 0);
    assert_eq!(summary["groups"]["count"], 4);
}

#[test]
fn the_history_holds_each_close_in_the_ten_seconds_of_its_end() {
    let served = Served::with(&[]);
    let history = served.api("history");
    let intervals = history["intervals"].as_array().unwrap();
    let total: u64 = intervals
        .iter()
        .flat_map(|i| i["closes"].as_object().unwrap().values())
        .map(|n| n.as_u64().unwrap())
        .sum();
    assert_eq!((total, intervals.len()), (4, 4), "{history:#}");
    // 3.1 s: more than 2 and at most 4.
    assert_eq!(intervals[0]["durations"]["FIN_WAIT2"], json!([[2, 1]]));
    let starts: Vec<u64> = intervals.iter().map(|i| i["start_ns"].as_u64().unwrap()).collect();
    assert!(starts.is_sorted() && starts.iter().all(|start| start % 10_000_000_000 == 0), "{starts:?}");
    let later = served.api(&format!("history?since_ns={}", starts[2]));
    assert_eq!(later["intervals"].as_array().unwrap()[..], intervals[2..]);
}

#[test]
fn services_come_by_trouble() {
    let served = Served::with(&["--group-by", "role,process"]);
    let services = served.api("services");
    assert_eq!(services["dimensions"], json!(["role", "process"]));
    let services = services["services"].as_array().unwrap();
    let trouble: Vec<f64> = services.iter().map(|service| service["trouble"].as_f64().unwrap()).collect();
    assert!(trouble.is_sorted_by(|one, other| one >= other), "{trouble:?}");
    let api = services.iter().find(|service| service["labels"]["process"] == "api").unwrap();
    assert_eq!((&api["closed"], &api["resets_sent"]), (&json!(1), &json!(1)));
}

#[test]
fn closes_are_found_by_what_is_true_of_them_and_read_page_by_page() {
    let served = Served::with(&[]);
    assert_eq!(served.kinds(""), ["reset", "refused", "passive", "active"]);
    for (query, kinds) in [
        ("kind=refused", vec!["refused"]),
        ("process=nginx", vec!["passive"]),
        ("process=9120", vec!["active"]),
        ("port=5432", vec!["reset"]),
        ("peer=10.0.0.0/24", vec!["reset", "active"]),
        ("peer=10.0.0.7", vec!["active"]),
        ("state=FIN_WAIT2&min_ns=3000000000", vec!["active"]),
        ("state=FIN_WAIT2&max_ns=3000000000", vec![]),
        ("first_closer=peer", vec!["passive"]),
        ("peer=nobody", vec![]),
    ] {
        assert_eq!(served.kinds(query), kinds, "{query}");
    }
    let first = served.api("closes?limit=3");
    assert_eq!((first["closes"].as_array().unwrap().len(), &first["kept"]), (3, &json!(4)));
    assert_eq!(served.kinds(&format!("limit=3&before={}", first["next"])), ["active"]);
    assert_eq!(served.get("/api/v1/closes?limit=many", "").status(), "400");
}

#[test]
fn a_close_is_found_by_its_id_and_another_is_not() {
    let served = Served::with(&[]);
    let newest = served.api("closes?limit=1")["closes"][0].clone();
    let one = served.api(&format!("closes/{}", newest["conn_id"].as_str().unwrap()));
    assert_eq!((&one["close"], &one["peer"]), (&newest, &Value::Null));
    let none = served.get("/api/v1/closes/000000000000-1-1", "");
    assert_eq!(none.status(), "404");
    let error: Value = serde_json::from_str(&none.body).unwrap();
    assert!(error["error"].as_str().unwrap().contains("kept"), "{error}");
    assert_eq!(served.get("/api/v1/nothing", "").status(), "404");
}

#[test]
fn the_page_is_part_of_the_program_and_may_ask_nobody_else() {
    let served = Served::with(&[]);
    for path in ["/", "/c/000000000000-1-1"] {
        let page = served.get(path, "");
        assert_eq!(page.status(), "200");
        assert!(
            page.head.contains("content-type: text/html") && page.body.contains("/assets/main.js"),
            "{path}"
        );
        assert!(!page.body.contains("http://") && !page.body.contains("https://"), "{path}");
    }
    let script = served.get("/assets/main.js", "");
    assert!(script.head.contains("content-type: text/javascript"), "{}", script.head);
    for path in ["/assets/none.js", "/assets/..%2f..%2fmod.rs", "/assets/"] {
        assert_eq!(served.get(path, "").status(), "404", "{path}");
    }
}

/// A stream outlasts the time that other connections have.
#[test]
fn a_stream_stays_open_and_is_one_of_a_few() {
    let served = Served::with(&[]);
    let stream = || {
        let mut stream = served.connect();
        let request = format!("GET /api/v1/events HTTP/1.1\r\nHost: {}\r\n\r\n", served.address);
        stream.write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        let mut stream = BufReader::new(stream);
        stream.read_line(&mut line).unwrap();
        (stream, line)
    };
    let begun = Instant::now();
    let (mut first, line) = stream();
    assert!(line.contains("200"), "{line}");
    let others: Vec<_> = (1..40).map(|_| stream()).collect();
    assert_eq!(others.iter().filter(|(_, line)| line.contains("503")).count(), 40 - 32);
    assert_eq!(served.get("/metrics", "").status(), "200");
    // Headers, then a comment each 15 s.
    while !line_of(&mut first).starts_with(':') {}
    while !line_of(&mut first).starts_with(':') {}
    assert!(begun.elapsed() > Duration::from_secs(25), "{:?}", begun.elapsed());
}

fn line_of(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    assert_ne!(stream.read_line(&mut line).unwrap(), 0, "it was closed");
    line
}

#[test]
fn openmetrics_is_given_to_who_asks_for_it() {
    let served = Served::with(&[]);
    let open = served.get("/metrics", OPENMETRICS);
    assert!(open.head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{}", open.head);
    assert!(open.body.ends_with("# EOF\n") && open.body.contains("conn_id="), "{}", open.body);
    let plain = served.get("/metrics", "Accept: text/plain\r\n");
    assert!(plain.head.contains("content-type: text/plain; version=0.0.4"), "{}", plain.head);
    assert!(!plain.body.contains("conn_id="));
}

#[test]
fn a_probe_learns_that_it_is_healthy_and_ready() {
    let served = Served::with(&[]);
    for path in ["/-/healthy", "/healthz", "/-/ready", "/readyz", "/"] {
        assert_eq!(served.get(path, "").status(), "200", "{path}");
    }
    assert_eq!(served.get("/nowhere", "").status(), "404");
    assert_eq!(served.get("/../../etc/passwd", "").status(), "404");
    let post = format!("POST /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", served.address);
    assert_eq!(served.send(&post).status(), "405");
    let head = format!("HEAD /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", served.address);
    let head = served.send(&head);
    assert_eq!((head.status(), head.body.as_str()), ("200", ""));
}

#[test]
fn a_name_that_a_foreign_page_made_up_is_refused() {
    let served = Served::with(&["--web.allowed-host", "metrics.example"]);
    let asked = |host: &str| {
        served.send(&format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    };
    assert_eq!(asked("rebound.example").status(), "421");
    assert!(!asked("rebound.example:9477").body.contains("finwait_"));
    for host in ["metrics.example:9477", "localhost", "127.0.0.1:1"] {
        assert_eq!(asked(host).status(), "200", "{host}");
    }
}

#[test]
fn every_answer_forbids_to_be_cached_framed_or_guessed_at() {
    let served = Served::with(&[]);
    for path in ["/metrics", "/", "/nowhere"] {
        let answer = served.get(path, "");
        for header in [
            "cache-control: no-store",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'",
        ] {
            assert!(answer.head.contains(header), "{path}: {header} in {}", answer.head);
        }
    }
}

/// The loop has ended then, and there is nobody to wait for.
#[test]
fn a_recording_that_is_read_is_served_at_once() {
    let served = Served::with(&[]);
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(300));
        let asked = Instant::now();
        assert_eq!(served.get("/metrics", "").status(), "200");
        assert!(asked.elapsed() < Duration::from_secs(1), "answered after {:?}", asked.elapsed());
    }
}

/// 200 clients that send a byte and then nothing, and 20 that ask and never read; then 100 more than there is room for.
#[test]
fn at_a_slow_speed_it_is_ready_before_the_recording_is_read_and_its_time_is_the_files() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/closes.jsonl");
    let mut command = Command::new(env!("CARGO_BIN_EXE_finwait"));
    command.arg("serve").arg("-r").arg(fixture).args([
        "--web.listen-address",
        "127.0.0.1:0",
        "--speed",
        "0.01",
    ]);
    let served = Served::begun(&mut command);
    let begun = Instant::now();
    while served.get("/-/ready", "").status() != "200" {
        assert!(begun.elapsed() < LIMIT, "the first event is due at once");
        std::thread::sleep(Duration::from_millis(20));
    }
    let summary: Value = serde_json::from_str(&served.get("/api/v1/summary", "").body).unwrap();
    assert_eq!((&summary["replay"], &summary["closes"]["total"]), (&json!(true), &json!(0)));
    assert_eq!(summary["since_ns"], 1_000_000_000_u64);
    assert!(summary["time_ns"].as_u64().unwrap() < 600_000_000_000, "{}", summary["time_ns"]);
}

#[test]
fn clients_that_do_not_get_on_do_not_hold_up_the_others() {
    let served = Served::with(&[]);
    let reading: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = served.connect();
            for _ in 0..50 {
                let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", served.address);
                if stream.write_all(request.as_bytes()).is_err() {
                    break;
                }
            }
            stream
        })
        .collect();
    let slow: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = served.connect();
            let _ = stream.write_all(b"G");
            stream
        })
        .collect();
    for _ in 0..5 {
        assert_eq!(served.get("/-/ready", "").status(), "200");
        assert_eq!(served.get("/metrics", "").status(), "200");
    }
    // More than all that may be open: whoever is too many is closed, and once headers are overdue there is room again.
    let more: Vec<_> = (0..100).map(|_| served.connect()).collect();
    let end = Instant::now() + LIMIT;
    while served.get("/-/ready", "").status() != "200" {
        assert!(Instant::now() < end, "no room came");
        std::thread::sleep(Duration::from_millis(200));
    }
    drop((reading, slow, more));
}

#[test]
fn nonsense_is_refused_and_leaves_nothing_behind() {
    let served = Served::with(&[]);
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "a".repeat(100_000));
    for nonsense in ["\0\0\0\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", &long] {
        let status = served.send(nonsense).status().to_owned();
        assert!(
            status.starts_with('4') || status == "none",
            "{status} for {:?}",
            &nonsense[..10.min(nonsense.len())]
        );
    }
    assert_eq!(served.get("/metrics", "").status(), "200");
}

#[test]
fn a_signal_ends_it_in_order_with_the_verdict() {
    let served = Served::with(&[]);
    let (status, stderr) = served.end();
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("4 closes in") && stderr.contains("saw 15 transitions, lost 0"), "{stderr}");
}

/// A collector that takes connections and never answers holds up the end for as long as a try may take.
#[cfg(feature = "otlp")]
#[test]
fn systemd_learns_that_it_is_ready_and_that_it_ends_before_the_last_push_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(LIMIT)).unwrap();
    let heard = || {
        let mut text = [0; 256];
        let length = systemd.recv(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let mut served =
        Served::told(&["--otlp.endpoint", &endpoint, "--otlp.timeout", "60s"], Some(path.as_path()));
    assert!(heard().contains("READY=1"));
    let asked = Instant::now();
    kill_process(Pid::from_child(&served.child), Signal::TERM).unwrap();
    assert!(heard().contains("STOPPING=1"));
    let said = asked.elapsed();
    assert_eq!(served.child.wait().unwrap().code(), Some(0));
    let ended = asked.elapsed();
    assert!(said < ended / 2, "said after {said:?}, ended after {ended:?}");
}

#[test]
fn a_port_in_use_is_said_in_one_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, stderr) = refused(&["-r", "nowhere.jsonl", "--web.listen-address", &address]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains(&format!("cannot listen on {address}")) && stderr.lines().count() == 1,
        "{stderr}"
    );
}

#[test]
fn what_others_could_reach_is_refused_unless_that_is_wanted() {
    let (code, stderr) = refused(&["-r", "nowhere.jsonl", "--web.listen-address", "0.0.0.0:9477"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("--web.insecure") && stderr.lines().count() == 1, "{stderr}");
    for wrong in [["--group-by", "colour"], ["--web.max-requests", "0"], ["--peer-network", "10.0.0.0/8"]] {
        assert_eq!(refused(&wrong).0, Some(2), "{wrong:?}");
    }
}
