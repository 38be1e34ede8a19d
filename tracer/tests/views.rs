//! Every view on every kind of file: what is shown is the same bytes each time, whatever form the observations are kept in, and a
//! view says nothing that the file does not know.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test panics where it fails")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use etherparse::PacketBuilder;
use tracer::recording::{Recorder, RecorderConfig};
use tracer::sink::Tap;
use tracer::source::{FileSource, Polled, Source};

const VIEWS: &[&str] = &[
    "states",
    "states -o json",
    "states -o csv -t",
    "closes --time-waits",
    "closes -o json",
    "closes -o json --both-ends",
    "closes -o csv",
    "explain --evidence",
    "explain -o json",
    "report",
    "report -o markdown",
    "report -o json",
    "stuck",
    "stuck --json",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn fixture(name: &str) -> PathBuf {
    root().join("tests/fixtures").join(name)
}

fn recording(name: &str) -> PathBuf {
    root().join("core/tests/recordings").join(format!("{name}.jsonl"))
}

fn finwait(args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_finwait"));
    command.args(args.split_whitespace()).env("TZ", "UTC").env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

fn shown(view: &str, path: &Path) -> Output {
    let output = finwait(view).arg("-r").arg(path).output().unwrap();
    assert!(output.status.success(), "{view} of {path:?}: {}", text(&output.stderr));
    output
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Sentences are wrapped.
fn in_one_line(output: &Output) -> String {
    text(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// From the client or not, flags out of `SAFR`, sequence number, acknowledgement.
type Segment = (bool, &'static str, u32, u32);

/// The client closes; three seconds later it would still wait for the server.
const HALF: [Segment; 5] =
    [(true, "S", 0, 0), (false, "SA", 0, 1), (true, "A", 1, 1), (true, "FA", 1, 1), (false, "A", 1, 2)];

/// A pcap file on Ethernet, a second from one packet to the next, of a client with this port.
fn capture(clients: &[(u16, &[Segment])]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        file.extend(word.to_le_bytes());
    }
    let all =
        clients.iter().flat_map(|(port, segments)| segments.iter().map(move |segment| (*port, segment)));
    for (second, (port, (by_client, flags, seq, ack))) in (1_700_000_000_u32..).zip(all) {
        let (from, to) = if *by_client { ((5, port), (7, 8080)) } else { ((7, 8080), (5, port)) };
        let link = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let mut tcp = link.ipv4([10, 0, 0, from.0], [10, 0, 0, to.0], 64).tcp(from.1, to.1, *seq, 1000);
        for flag in flags.chars() {
            tcp = match flag {
                'S' => tcp.syn(),
                'F' => tcp.fin(),
                'R' => tcp.rst(),
                _ => tcp.ack(*ack),
            };
        }
        let mut packet = Vec::new();
        tcp.write(&mut packet, &[]).unwrap();
        let length = u32::try_from(packet.len()).unwrap();
        for word in [second, 0, length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend(packet);
    }
    file
}

/// One connection that stays half closed, and one that closes meanwhile.
fn closed_and_half_closed() -> Vec<u8> {
    let rest = [(false, "FA", 1, 2), (true, "A", 2, 2)];
    let whole: Vec<Segment> = HALF.into_iter().chain(rest).collect();
    capture(&[(40_001, &HALF), (40_000, &whole)])
}

fn saved(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// The observations in `path` as a binary recording.
fn as_binary(path: &Path, folder: &tempfile::TempDir) -> PathBuf {
    let made = folder.path().join(path.file_stem().unwrap()).with_extension("fwr");
    let told = Box::new(|text: &str| panic!("{text}"));
    let mut recorder = Recorder::create(&made, RecorderConfig::default(), told).unwrap();
    let mut source = FileSource::open(path).unwrap();
    loop {
        let mut batch = Vec::new();
        let polled = source.poll(&mut batch, Duration::ZERO).unwrap();
        batch.iter().for_each(|observation| recorder.observation(observation).unwrap());
        if polled == Polled::End {
            break;
        }
    }
    recorder.finish().unwrap();
    made
}

const RECORDINGS: &[&str] =
    &["TIME_WAIT_reuse", "FIN_WAIT2_timeout", "reset_by_unread_data", "port_exhaustion"];

#[test]
fn the_same_file_is_shown_with_the_same_bytes_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let fixtures = [
        "closes.jsonl",
        "closes.v1.fwr",
        "every_kind.v1.fwr",
        "closes.v2.fwr",
        "every_kind.v2.fwr",
        "classic.jsonl",
        "damaged.jsonl",
        "hostile.jsonl",
    ];
    let mut files: Vec<PathBuf> = fixtures.into_iter().map(fixture).collect();
    files.extend(RECORDINGS.iter().map(|name| recording(name)));
    files.push(saved(&folder, "close.pcap", &closed_and_half_closed()));
    for path in files {
        for view in VIEWS {
            let (once, again) = (shown(view, &path), shown(view, &path));
            assert_eq!(text(&once.stdout), text(&again.stdout), "{view} of {path:?}");
            assert_eq!(text(&once.stderr), text(&again.stderr), "{view} of {path:?}");
            let nothing_closed = view.starts_with("explain") && path.ends_with("damaged.jsonl");
            assert_eq!(
                once.stdout.is_empty(),
                nothing_closed && !view.contains("json"),
                "{view} of {path:?}"
            );
        }
    }
}

#[test]
fn text_and_binary_of_the_same_observations_are_shown_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    for path in RECORDINGS
        .iter()
        .map(|name| recording(name))
        .chain([fixture("closes.jsonl"), fixture("every_kind.jsonl")])
    {
        let binary = as_binary(&path, &folder);
        for view in VIEWS {
            let (lines, frames) = (shown(view, &path), shown(view, &binary));
            assert_eq!(text(&lines.stdout), text(&frames.stdout), "{view} of {path:?}");
        }
    }
}

#[test]
fn stuck_shows_what_a_capture_leaves_half_closed_by_either_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = saved(&folder, "half.pcap", &closed_and_half_closed());
    let output = shown("stuck", &path);
    let lines: Vec<&str> = text(&output.stdout).lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    for parts in [
        ["CLOSE_WAIT", "10.0.0.7:8080 ↔ 10.0.0.5:40001", "the peer closed; this end has not"],
        [
            "FIN_WAIT2",
            "10.0.0.5:40001 ↔ 10.0.0.7:8080",
            "this end closed or shut its half down, the peer has not",
        ],
    ] {
        let line = lines.iter().find(|line| line.starts_with(parts[0])).unwrap();
        assert!(parts.iter().all(|part| line.contains(part)), "{line}");
        assert!(line.contains("7.0s") || line.contains("8.0s"), "{line}");
    }
    assert!(text(&output.stderr).contains("as of 2023-11-14T22:13:31.000000Z, where it ends"));
}

#[test]
fn stuck_of_a_recording_has_owners_and_ages_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read_to_string(recording("half_close")).unwrap();
    let until = whole.lines().position(|line| line.contains(r#""new":"FIN_WAIT2""#)).unwrap();
    let lines: Vec<&str> = whole.lines().take(until + 1).collect();
    let last: serde_json::Value = serde_json::from_str(lines[until]).unwrap();
    let later = last["time_ns"].as_u64().unwrap() + 90_000_000_000;
    let mark = format!(r#"{{"observation":"watermark","time_ns":{later}}}"#);
    let path = saved(&folder, "cut.jsonl", (lines.join("\n") + "\n" + &mark + "\n").as_bytes());
    let output = shown("stuck --json --older 1m", &path);
    let lines: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let in_state = |state: &str| lines.iter().find(|line| line["state"] == state).unwrap();
    let (waiting, accepted) = (in_state("FIN_WAIT2"), in_state("CLOSE_WAIT"));
    assert_eq!((&waiting["schema"], &waiting["owner"]), (&"finwait.stuck/1".into(), &"process".into()));
    assert!(waiting["holders"][0]["comm"].is_string(), "{waiting}");
    assert_eq!(waiting["age_at_least_ns"], 90_000_000_000_u64, "the quiet end of the recording counts");
    assert_eq!(accepted["age_at_most_ns"], accepted["age_at_least_ns"]);
    assert_eq!(accepted["unknown"]["owner"], "not_recorded", "no accept() was recorded");
    assert_eq!(lines.last().unwrap()["schema"], "finwait.stuck_summary/1");
    let few: serde_json::Value =
        serde_json::from_str(text(&shown("stuck --json --older 2m", &path).stdout).lines().next().unwrap())
            .unwrap();
    assert_eq!(few["sockets"], 0, "none is proven to be that old");
}

#[test]
fn flags_that_do_not_go_with_the_source_are_refused() {
    let refused = [
        "stuck -r x --watch",
        "states --speed 1",
        "closes --speed 2",
        "serve --speed 1",
        "states -r x --speed -1",
        "states -r x --speed nan",
    ];
    for args in refused {
        let output = finwait(args).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{args}");
    }
}

#[test]
fn an_explained_capture_tells_of_no_process_no_call_and_no_setting() {
    let folder = tempfile::tempdir().unwrap();
    let path = saved(&folder, "close.pcap", &closed_and_half_closed());
    let output = shown("explain --evidence", &path);
    let told = text(&output.stdout);
    for part in ["tcp_", "ip_local_port_range", "this host", "close()", "/0"] {
        assert!(!told.contains(part), "{part} in {told}");
    }
    assert!(told.contains("The capture does not show which call closed it or which process."), "{told}");
    assert!(told.contains("CLOSE_WAIT"), "both ends are drawn: {told}");
    let report = shown("report", &path);
    let report = text(&report.stdout);
    assert!(
        report.contains("by a packet capture") && report.contains("read 12 packets, 12 of TCP"),
        "{report}"
    );
    assert!(!report.contains("kernel"), "{report}");
}

#[test]
fn settings_are_those_that_were_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read_to_string(recording("client_closes_first")).unwrap();
    let (host, rest) = whole.split_once('\n').unwrap();
    let mut host: serde_json::Value = serde_json::from_str(host).unwrap();
    assert_eq!(host["sysctls"], serde_json::Value::Null, "it is older than they are");
    let plain = shown("explain", &recording("client_closes_first"));
    assert!(
        in_one_line(&plain).contains("the settings in force were not recorded"),
        "{}",
        in_one_line(&plain)
    );
    let netns =
        rest.split(r#""netns":"#).nth(1).unwrap().split(|c: char| !c.is_ascii_digit()).next().unwrap();
    host["sysctls"] = serde_json::json!({
        "netns": netns.parse::<u32>().unwrap(),
        "tcp_tw_reuse": 0,
        "ip_local_port_range": {"first": 10, "last": 69},
    });
    let path = saved(&folder, "host.jsonl", format!("{host}\n{rest}").as_bytes());
    let output = shown("explain", &path);
    let told = in_one_line(&output);
    assert!(told.contains("ip_local_port_range is 10 to 69: 60 ports"), "{told}");
    assert!(told.contains("tcp_tw_reuse is 0: while it lasts"), "{told}");
    let output = shown("explain -o json", &path);
    let first: serde_json::Value =
        serde_json::from_str(text(&output.stdout).lines().next().unwrap()).unwrap();
    assert_eq!(first["settings"]["ip_local_port_range"]["last"], 69);
}

#[test]
fn explanations_as_json_end_with_the_books() {
    let output = shown("explain -o json", &recording("half_close"));
    let schemas: Vec<String> = text(&output.stdout)
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["schema"].as_str().unwrap().to_owned()
        })
        .collect();
    let (last, others) = schemas.split_last().unwrap();
    assert_eq!(last, "finwait.summary/1");
    assert!(!others.is_empty() && others.iter().all(|schema| schema == "finwait.explanation/1"));
}

/// A piped run of a capture whose packets are a second apart.
fn paced(args: &str) -> Child {
    let mut child =
        finwait(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(&closed_and_half_closed()).unwrap();
    child
}

#[test]
fn at_a_speed_events_come_when_they_are_due_and_the_same_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = saved(&folder, "close.pcap", &closed_and_half_closed());
    let began = Instant::now();
    let at_speed = shown("states --speed 20", &path);
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(550), "eleven seconds of packets took {took:?}");
    assert_eq!(text(&at_speed.stdout), text(&shown("states", &path).stdout));
    assert_eq!(text(&at_speed.stdout), text(&shown("states --speed 0", &path).stdout));
}

#[test]
fn a_signal_ends_a_slow_replay_of_a_pipe_at_once() {
    let mut child = paced("states -r - --speed 0.01");
    let mut first = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("COOKIE"), "{first}");
    let began = Instant::now();
    let pid = i32::try_from(child.id()).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::INT)
        .unwrap();
    let status = child.wait().unwrap();
    assert!(began.elapsed() < Duration::from_secs(20), "the next packet is due in 100 s");
    assert!(status.success());
}

#[test]
fn where_stderr_is_no_terminal_no_progress_is_drawn() {
    for view in ["report", "stuck", "closes --speed 20"] {
        let folder = tempfile::tempdir().unwrap();
        let path = saved(&folder, "close.pcap", &closed_and_half_closed());
        let output = shown(view, &path);
        assert!(
            !output.stderr.contains(&b'\r') && !output.stderr.contains(&0x1b),
            "{}",
            text(&output.stderr)
        );
    }
}

#[test]
fn a_connection_that_a_reset_refused_is_no_reset_of_a_report_whatever_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    let captured =
        saved(&folder, "refused.pcap", &capture(&[(40_000, &[(true, "S", 0, 0), (false, "RA", 0, 1)])]));
    for path in [captured, recording("refused_connect")] {
        let report: serde_json::Value =
            serde_json::from_str(text(&shown("report -o json", &path).stdout)).unwrap();
        assert_eq!(
            (&report["closes_by_kind"]["refused"], &report["resets_received"]),
            (&1.into(), &0.into()),
            "{path:?}"
        );
    }
}

/// Counts by word: their keys are words of docs/events.md.
const BY_WORD: &[&str] = &[
    "closes_by_kind",
    "closes_by_first_closer",
    "resets_sent",
    "resets_by_reason",
    "time_waits_left",
    "time_waits_by_end",
];

/// The names of all objects in `value`; durations are by states.
fn names(value: &serde_json::Value, all: &mut std::collections::BTreeSet<String>) {
    match value {
        serde_json::Value::Array(values) => values.iter().for_each(|value| names(value, all)),
        serde_json::Value::Object(object) => {
            for (name, value) in object {
                all.insert(name.clone());
                if name == "durations" {
                    value.as_object().unwrap().values().for_each(|value| names(value, all));
                } else if !BY_WORD.contains(&name.as_str()) {
                    names(value, all);
                }
            }
        }
        _ => {}
    }
}

#[test]
fn every_name_of_a_report_in_json_is_documented() {
    let folder = tempfile::tempdir().unwrap();
    let captured = saved(&folder, "close.pcap", &closed_and_half_closed());
    let mut all = std::collections::BTreeSet::new();
    for (file, against) in
        [(recording("TIME_WAIT_reuse"), &captured), (captured.clone(), &recording("half_close"))]
    {
        let view = format!("report -o json --against {}", against.display());
        names(&serde_json::from_str(text(&shown(&view, &file).stdout)).unwrap(), &mut all);
    }
    for known in ["oldest_is_minimum", "taken_at_once", "judgement", "packets", "p99_ns"] {
        assert!(all.contains(known), "{known} was not there to be looked at: {all:?}");
    }
    let documented = include_str!("../../docs/report.md").to_owned() + include_str!("../../docs/events.md");
    for name in all {
        assert!(documented.contains(&format!("`{name}`")), "{name}");
    }
}
