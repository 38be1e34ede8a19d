//! What concerns the ends of a connection, with the binary as a user meets it: both of them joined, IPv4 in IPv6's clothes,
//! containers and units.
#![expect(clippy::unwrap_used, reason = "clippy takes only functions marked as tests for tests")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

fn recording() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/closes.jsonl");
    std::fs::read_to_string(path).unwrap()
}

fn spawn(args: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_finwait"))
        .args(args.split_whitespace())
        .args(["-r", "-"])
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn fed(args: &str, recording: &str) -> Output {
    let mut child = spawn(args);
    child.stdin.take().unwrap().write_all(recording.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn lines(output: &Output) -> Vec<String> {
    std::str::from_utf8(&output.stdout).unwrap().lines().map(ToOwned::to_owned).collect()
}

fn values(output: &Output) -> Vec<Value> {
    lines(output).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// curl's connection to 10.0.0.7:8080 and, made of nginx's, the end that accepted it; in the order of time.
fn both_ends() -> Vec<Value> {
    let times = [2_000_200_000_u64, 2_000_300_000, 2_048_200_000, 5_148_200_000, 5_148_500_000];
    let mut times = times.into_iter();
    let mut observations: Vec<Value> = recording()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|value| value["cookie"] == 42 || value["cookie"] == 43 || value["old"].is_null())
        .map(|mut value| {
            if value["cookie"] == 43 {
                for (key, changed) in [
                    ("local_addr", json!("10.0.0.7")),
                    ("remote_addr", json!("10.0.0.5")),
                    ("inet_sport", json!(8080)),
                    ("num", json!(8080)),
                    ("dport", json!(39812)),
                    ("time_ns", json!(times.next().unwrap())),
                ] {
                    value[key] = changed;
                }
            }
            value
        })
        .filter(|value| value["observation"] != "watermark" && value["observation"] != "counters")
        .collect();
    assert_eq!(times.next(), None);
    observations[2..].sort_by_key(|value| value["time_ns"].as_u64());
    for (seq, value) in (1..).zip(&mut observations[2..]) {
        (value["cpu"], value["seq"]) = (json!(0), json!(seq));
    }
    observations.push(json!({
        "observation": "counters", "time_ns": 6_000_000_000_u64, "transitions": 10, "lost_ring": 0,
        "recursion_missed": 0, "rescued": 0, "decode_errors": 0
    }));
    observations
}

/// nginx sent more than curl received, and received more than curl sent: here the two ends' counters are made to agree.
fn agreeing() -> Vec<Value> {
    let mut observations = both_ends();
    let data = |value: &&mut Value| {
        value["cookie"] == 43
            && ["CLOSE_WAIT", "LAST_ACK", "CLOSE"].iter().any(|state| value["new"] == **state)
    };
    for value in observations.iter_mut().filter(data) {
        for (keys, beyond) in [
            (["snd_una", "snd_nxt", "write_seq", "bytes_acked"], 18_842 - 2_048),
            (["rcv_nxt", "rcv_wup", "copied_seq", "bytes_received"], 1_126 - 512),
        ] {
            for key in keys {
                value[key] = json!(value[key].as_u64().unwrap() - beyond);
            }
        }
    }
    observations
}

fn written(observations: &[Value]) -> String {
    observations.iter().map(|value| value.to_string() + "\n").collect()
}

#[test]
fn the_two_ends_of_a_connection_are_one_line() {
    let text = written(&agreeing());
    let apart = fed("closes", &text);
    assert_eq!(lines(&apart).len(), 3);
    let output = fed("closes --both-ends", &text);
    assert_eq!(
        lines(&output)[1..],
        [
            "21:04:15 curl/9120 ▶   :39812 10.0.0.7:8080 ◀ nginx/811 ▶ active/passive 3.1s FW2 3.1s! · shutdown ◀ CW 3.1s!"
        ]
    );
    let verdict = std::str::from_utf8(&output.stderr).unwrap();
    assert!(verdict.starts_with("2 closes in "), "{verdict}");
    assert!(verdict.contains("; 1 connection seen from both ends; "), "{verdict}");
    let json = values(&fed("closes --both-ends -o json", &text));
    assert_eq!(json.len(), 2);
    assert_eq!(json[0]["schema"], "finwait.both_ends/1");
    assert_eq!(
        (&json[0]["opened"]["local_port"], &json[0]["accepted"]["local_port"]),
        (&json!(39812), &json!(8080))
    );
    assert_eq!((&json[0]["first_closer"], &json[0]["contradictions"]), (&json!("opener"), &json!([])));
    assert_eq!(json[1]["both_ends"], 1);
    let rows = lines(&fed("closes --both-ends -s", &text));
    assert_eq!(rows.len(), 3, "each end is a row");
}

#[test]
fn ends_that_contradict_each_other_are_shown_as_they_are() {
    let text = written(&both_ends());
    let shown = lines(&fed("closes --both-ends", &text));
    assert!(shown[1].ends_with("FW2 3.1s! · shutdown ◀ CW 3.1s! · ends disagree: bytes"), "{}", shown[1]);
    let json = values(&fed("closes --both-ends -o json", &text));
    assert_eq!(json[0]["contradictions"], json!(["bytes"]));
    assert_eq!(
        (&json[0]["opened"]["received_bytes"], &json[0]["accepted"]["sent_bytes"]),
        (&json!(2048), &json!(18_842))
    );
}

#[test]
fn an_end_without_another_comes_out_alone() {
    let text = recording();
    let (joined, apart) = (fed("closes --both-ends", &text), fed("closes", &text));
    let (mut joined, mut apart) = (lines(&joined), lines(&apart));
    joined.sort();
    apart.sort();
    assert_eq!(joined, apart);
}

#[test]
fn a_filter_shows_both_ends_where_one_matches() {
    let text = written(&both_ends());
    for (filter, shown) in [
        ("--comm curl", 1),
        ("--comm nginx", 1),
        ("-L 8080", 1),
        ("-L 81", 0),
        ("--kind passive", 1),
        ("--kind reset", 0),
    ] {
        let output = fed(&format!("closes --both-ends {filter}"), &text);
        assert_eq!(lines(&output).len(), shown + 1, "{filter}");
    }
}

#[test]
fn both_ends_are_shown_one_second_of_event_time_after_the_first_close() {
    let mut child = spawn("closes --both-ends -o json");
    let mut stdin = child.stdin.take().unwrap();
    let mut observations = both_ends();
    let watermark = |at: u64| json!({"observation": "watermark", "time_ns": at});
    observations.extend([watermark(6_000_000_000), watermark(6_148_400_000)]);
    stdin.write_all(written(&observations).as_bytes()).unwrap();
    stdin.flush().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("finwait.both_ends/1"), "{line}");
    assert_eq!(child.try_wait().unwrap(), None, "its input is still open");
    drop(stdin);
    child.wait_with_output().unwrap();
}

#[test]
fn an_end_waits_for_the_other_while_that_is_still_settling() {
    let at = |observation: &str, time_ns: u64| json!({"observation": observation, "time_ns": time_ns});
    let counters = |time_ns| {
        json!({
            "observation": "counters", "time_ns": time_ns, "transitions": 10, "lost_ring": 0,
            "recursion_missed": 0, "rescued": 0, "decode_errors": 0
        })
    };
    let mut observations = agreeing();
    observations.retain(|value| value["observation"] != "counters");
    let last = observations.pop().unwrap();
    assert_eq!((&last["cookie"], &last["time_ns"]), (&json!(43), &json!(5_148_500_000_u64)));
    // The counters speak for one end's close alone, so the other's is told later; its own second is over by then.
    observations.extend([counters(5_148_450_000_u64), last, at("watermark", 5_300_000_000)]);
    observations.extend([at("watermark", 6_300_000_000), counters(6_400_000_000)]);
    observations.extend([at("watermark", 6_500_000_000), at("watermark", 7_500_000_000)]);
    let json = values(&fed("closes --both-ends -o json", &written(&observations)));
    assert_eq!((json.len(), &json[0]["schema"]), (2, &json!("finwait.both_ends/1")));
}

/// The same recording with every IPv4 address as an IPv6 socket shows it.
fn mapped() -> String {
    let observations: Vec<Value> = recording()
        .lines()
        .map(|line| {
            let mut value: Value = serde_json::from_str(line).unwrap();
            for key in ["local_addr", "remote_addr"] {
                if let Some(addr) = value[key].as_str().filter(|addr| addr.contains('.')) {
                    value[key] = json!(format!("::ffff:{addr}"));
                    value["family"] = json!("inet6");
                }
            }
            value
        })
        .collect();
    written(&observations)
}

#[test]
fn mapped_addresses_are_shown_and_filtered_as_the_ipv4_they_are() {
    let (plain, mapped) = (recording(), mapped());
    assert!(mapped.contains("::ffff:10.0.0.7"));
    for view in ["closes", "closes -w", "states", "states -w"] {
        for filter in [
            "",
            "-4",
            "-6",
            "--remote 10.0.0.0/28",
            "--remote ::ffff:10.0.0.0/124",
            "--local 10.0.0.5",
            "--remote ::/0",
        ] {
            let args = format!("{view} {filter}");
            assert_eq!(lines(&fed(&args, &mapped)), lines(&fed(&args, &plain)), "{args}");
        }
    }
    for view in ["closes", "states"] {
        for filter in ["-4", "-6"] {
            let args = format!("{view} -o json {filter}");
            let ends = |text: &str| -> Vec<[Value; 2]> {
                let ends = |value: &Value| [value["local_addr"].clone(), value["remote_addr"].clone()];
                values(&fed(&args, text)).iter().map(ends).collect()
            };
            assert_eq!(ends(&mapped), ends(&plain), "{args}");
        }
        assert!(
            !lines(&fed(&format!("{view} -s"), &mapped)).iter().any(|row| row.contains("ffff")),
            "{view}"
        );
    }
}

#[test]
fn containers_and_units_choose_among_the_records() {
    let names = json!({
        "observation": "cgroup", "cgroup": 77, "cgroup_path": "/system.slice/docker-0a1b2c.scope",
        "container": "0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9",
        "runtime": "docker", "unit": "nginx.service"
    });
    let plain = recording();
    let (host, rest) = plain.split_once('\n').unwrap();
    let named = format!("{host}\n{names}\n{rest}");
    for (filter, closes) in [
        ("--container 0a1b2c3d4e5f", 4),
        ("--container 0A1B,ffff", 4),
        ("--container ffff", 0),
        ("--unit nginx", 4),
        ("--unit ngin?.*", 4),
        ("--unit api", 0),
        ("--container 0a1b --unit api", 0),
        ("--container 0a1b -L 443", 1),
        ("--kind active,reset", 2),
    ] {
        assert_eq!(lines(&fed(&format!("closes -s {filter}"), &named)).len(), closes + 1, "{filter}");
    }
    assert_eq!(lines(&fed("states -s --unit nginx", &named)).len(), 16);
    assert_eq!(
        lines(&fed("closes -s --unit nginx", &plain)).len(),
        1,
        "names that are not known match nothing"
    );
}

#[test]
fn filters_by_container_are_refused_on_a_stream_of_the_classic_tier() {
    let classic = recording().replacen("\"tp_btf\"", "\"classic\"", 1);
    for filter in ["--container 0a1b", "--unit nginx"] {
        let output = fed(&format!("closes {filter}"), &classic);
        assert_eq!(output.status.code(), Some(2), "{filter}");
    }
}
