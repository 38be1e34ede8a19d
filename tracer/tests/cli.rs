//! The binary as a user meets it: recordings in, text out, exit codes.
#![expect(clippy::unwrap_used, reason = "clippy takes only functions marked as tests for tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn command(args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_finwait"));
    command.args(args.split_whitespace()).env("TZ", "UTC").env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

fn finwait(args: &str) -> Output {
    command(args).output().unwrap()
}

fn reading(args: &str, name: &str) -> Output {
    command(args).arg("-r").arg(fixture(name)).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn json_lines(output: &Output) -> Vec<serde_json::Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn closes_are_a_table_and_the_verdict_is_on_stderr() {
    let output = reading("closes", "closes.jsonl");
    assert_eq!(
        stdout(&output).lines().collect::<Vec<_>>(),
        [
            "TIME     OPENED BY     LOCAL  REMOTE              FIRST KIND         LIFE CLOSE",
            "21:04:15 curl/9120 ▶   :39812 10.0.0.7:8080       local active       3.1s FW2 3.1s! · shutdown",
            "21:04:28 nginx/811 ◀   :443   203.0.113.9:51122   peer  passive     12.1s CW 0.2ms · LA 31ms",
            "21:04:31 wget/77 ▶     :40100 [::1]:81            peer  refused     0.2ms SYN_SENT 0.2ms",
            "21:13:34 api/402 ▶     :40022 10.0.0.9:5432       local reset sent  9m02s unread 4.0K in ESTABLISHED",
        ]
    );
    assert_eq!(
        stderr(&output).lines().collect::<Vec<_>>(),
        [
            "4 closes in 9m59s: peer first 25 %, local first 25 %; 1 reset sent by api/402 (unread data); \
             slowest close 3.1s in FIN_WAIT2 (curl → 10.0.0.7:8080)",
            "saw 15 transitions, lost 0",
            "received 15, lost_ring 0, recursion_missed 0, rescued 0, gaps 0, chain_breaks 0, evicted 0, \
             decode_errors 0, duplicates 0, hooks_lost 0",
        ]
    );
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn states_are_one_line_for_each_transition() {
    let output = reading("states -T -L 443", "closes.jsonl");
    assert_eq!(
        stdout(&output).lines().collect::<Vec<_>>(),
        [
            "TIME     COOKIE PID     COMM     LADDR         LPORT RADDR           RPORT OLDSTATE    -> NEWSTATE        MS",
            "21:04:16 2b     ?       ?        10.0.0.5      443   203.0.113.9     51122 LISTEN      -> SYN_RECV         ?",
            "21:04:16 2b     ?       ?        10.0.0.5      443   203.0.113.9     51122 SYN_RECV    -> ESTABLISHED  0.030",
            "21:04:28 2b     ?       ?        10.0.0.5      443   203.0.113.9     51122 ESTABLISHED -> CLOSE_WAIT  12099.970",
            "21:04:28 2b     811     nginx    10.0.0.5      443   203.0.113.9     51122 CLOSE_WAIT  -> LAST_ACK     0.200",
            "21:04:28 2b     811     nginx    10.0.0.5      443   203.0.113.9     51122 LAST_ACK    -> CLOSE       31.000",
        ]
    );
}

#[test]
fn json_is_one_object_a_line_with_the_summary_last() {
    let output = reading("closes -o json", "closes.jsonl");
    let lines = json_lines(&output);
    let kinds: Vec<_> = lines[..4].iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["active", "passive", "refused", "reset"]);
    assert!(lines[..4].iter().all(|line| line["schema"] == "finwait.close/1" && line["conn_id"].is_string()));
    assert_eq!(lines[3]["reset_cause"], "unread_data");
    assert_eq!(lines[0]["evidence"]["first_closer"], serde_json::json!(["fin_wait2"]));
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[4]["schema"], "finwait.summary/1");
    assert_eq!((&lines[4]["closes"], &lines[4]["received"]), (&serde_json::json!(4), &serde_json::json!(15)));
}

#[test]
fn csv_has_one_header_and_as_many_fields_in_every_row() {
    for (args, rows) in [("closes -s", 4), ("states -o csv", 15)] {
        let output = reading(args, "closes.jsonl");
        let lines: Vec<&str> = stdout(&output).lines().collect();
        assert_eq!(lines.len(), rows + 1, "{args}");
        assert!(lines[0].starts_with("time,time_ns,conn_id,"), "{args}");
        let fields = lines[0].split(',').count();
        assert!(lines.iter().all(|line| line.split(',').count() == fields), "{args}");
    }
}

#[test]
fn the_classic_tier_shows_question_marks_and_refuses_filters_it_cannot_serve() {
    let output = reading("states -t", "classic.jsonl");
    let first = stdout(&output).lines().nth(1).unwrap();
    assert!(first.starts_with("0.002000   ?      ?       ?        10.0.0.5      ?     10.0.0.7"), "{first}");
    let lines = json_lines(&reading("states -o json", "classic.jsonl"));
    assert_eq!(lines.last().unwrap()["recursion_missed"], serde_json::Value::Null);
    for filter in ["-p 7", "--comm curl", "--netns self", "--cgroup 1"] {
        let output = reading(&format!("states {filter}"), "classic.jsonl");
        assert_eq!((output.status.code(), stdout(&output)), (Some(2), ""), "{filter}");
        assert!(stderr(&output).contains("needs the tp-btf tier"), "{}", stderr(&output));
    }
}

#[test]
fn filters_choose_among_the_records() {
    for (filter, closes) in [
        ("-L 443", 1),
        ("-D 8080,5432", 2),
        ("-6", 1),
        ("-4", 3),
        ("--remote 10.0.0.0/28", 2),
        ("--remote [::1]", 1),
        ("-p 811", 1),
        ("--comm curl --comm api", 2),
        ("--netns 4026531840", 4),
        ("--netns 4026531841", 0),
        ("--cgroup 77 -L 443", 1),
        ("--cgroup 78", 0),
    ] {
        let output = reading(&format!("closes -o csv {filter}"), "closes.jsonl");
        assert_eq!(stdout(&output).lines().count(), closes + 1, "{filter}");
    }
}

#[test]
fn a_hostile_name_reaches_no_terminal() {
    for args in ["closes", "closes -w", "states", "states -w", "closes -s", "states -s"] {
        let output = reading(args, "hostile.jsonl");
        let text = stdout(&output).to_owned() + stderr(&output);
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{args}: {text}");
        let lines = if args.starts_with("closes") { 2 } else { 6 };
        assert_eq!(stdout(&output).lines().count(), lines, "{args}");
    }
    assert!(stdout(&reading("states", "hostile.jsonl")).contains("\\x1b[31m\\nx\\xff\\u{202e}"));
}

#[test]
fn lines_that_cannot_be_read_are_counted_and_the_first_is_named() {
    let output = reading("states -o json", "damaged.jsonl");
    assert_eq!(output.status.code(), Some(0));
    let lines = json_lines(&output);
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[2]["decode_errors"], 4);
    assert!(stderr(&output).contains("4 lines of "), "{}", stderr(&output));
    assert!(stderr(&output).contains("could not be read; the first is line 4: "), "{}", stderr(&output));
    assert!(!stderr(&output).contains('\u{1b}'));
}

#[test]
fn what_is_no_recording_is_refused_by_its_path_and_nothing_is_shown() {
    for (path, part) in [
        (
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"),
            "Cargo.toml is neither a finwait recording nor a packet capture",
        ),
        (PathBuf::from("/nonexistent/trace.jsonl"), "cannot open /nonexistent/trace.jsonl"),
        (PathBuf::from("/"), "cannot open /: "),
        (
            PathBuf::from("/dev/null"),
            "/dev/null is neither a finwait recording nor a packet capture: it is empty",
        ),
    ] {
        let output = command("closes -r").arg(&path).output().unwrap();
        assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""), "{}", path.display());
        let message = stderr(&output);
        assert!(message.starts_with("finwait: ") && message.contains(part), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn flags_that_make_no_sense_end_with_2_and_one_sentence() {
    for (args, part) in [
        ("states -4 -6", "match no connection"),
        ("states -4 --remote 2001:db8::/32", "match no connection under -4"),
        ("closes -L 0", "no connection has port 0"),
        ("closes -p nginx", "a process id is a number"),
        ("closes --netns /nonexistent", "/nonexistent"),
        ("closes --ring-bytes 3M", "a power of two"),
        ("closes --duration 10", "with its unit"),
        ("closes -o yaml", "possible values: table, json, csv"),
        ("closes --nonsense", "unexpected argument"),
        ("nonsense", "unrecognized subcommand"),
        ("", "Usage: finwait <COMMAND>"),
    ] {
        let output = finwait(args);
        assert_eq!((output.status.code(), stdout(&output)), (Some(2), ""), "{args}");
        assert!(stderr(&output).contains(part), "{args}: {}", stderr(&output));
        assert!(!stderr(&output).contains("Error {"), "{}", stderr(&output));
    }
}

#[test]
fn count_and_duration_end_a_recording_early() {
    let output = reading("states --count 2 -o json", "closes.jsonl");
    let lines = json_lines(&output);
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[2]["ended_by"], "count");
    let output = reading("states --duration 3s -o json", "closes.jsonl");
    let lines = json_lines(&output);
    assert_eq!(lines.len(), 5, "four transitions lie within the first three seconds");
    assert_eq!(lines[4]["ended_by"], "duration");
}

/// The host line and `closes` transitions of as many sockets.
fn long_recording(lines: u64) -> String {
    let head = std::fs::read_to_string(fixture("closes.jsonl")).unwrap();
    let mut text: String = head.lines().take(2).map(|line| line.to_owned() + "\n").collect();
    for n in 1..=lines {
        text += &format!(
            "{{\"observation\":\"state_change\",\"time_ns\":{},\"cpu\":0,\"program\":\"prime\",\"depth\":0,\
             \"seq\":{n},\"old\":\"CLOSE\",\"new\":\"SYN_SENT\",\"family\":\"inet\",\"cookie\":{n}}}\n",
            2_000_000_000 + n
        );
    }
    text
}

#[test]
fn a_reader_that_has_enough_ends_the_run_without_complaint() {
    let path = std::env::temp_dir().join(format!("finwait-cli-{}.jsonl", std::process::id()));
    std::fs::write(&path, long_recording(20_000)).unwrap();
    let mut child =
        command("states -r").arg(&path).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(first.starts_with("COOKIE "), "{first}");
    assert_eq!(output.status.code(), Some(0));
    assert!(
        !stderr(&output).contains("finwait:") && stderr(&output).contains("received "),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_pipe_is_shown_as_it_comes_and_a_signal_ends_it_cleanly() {
    for signal in ["INT", "TERM"] {
        let mut child = command("states -o json -r -")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(long_recording(1).as_bytes()).unwrap();
        stdin.flush().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert!(line.contains("\"SYN_SENT\""), "{line}");
        let killed = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("\"ended_by\":\"signal\""), "{rest}");
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "SIG{signal}: {}", stderr(&output));
        drop(stdin);
    }
}

#[test]
fn colour_is_off_in_a_pipe_and_on_by_wish() {
    assert!(!stdout(&reading("closes", "closes.jsonl")).contains('\u{1b}'));
    assert!(
        stdout(&reading("closes --color always", "closes.jsonl")).contains("\u{1b}[1;33mFW2 3.1s!\u{1b}[0m")
    );
}

#[test]
fn help_of_every_command_has_examples() {
    for args in
        ["--help", "states --help", "closes --help", "record --help", "doctor --help", "generate --help"]
    {
        let output = finwait(args);
        assert_eq!(output.status.code(), Some(0), "{args}");
        assert!(stdout(&output).contains("Examples:\n"), "{args}");
    }
}

#[test]
fn man_pages_and_completions_come_from_the_same_definition() {
    for (args, part) in [
        ("generate man", ".TH finwait 1"),
        ("generate man closes", "finwait\\-closes"),
        ("generate completions bash", "complete -F _finwait"),
        ("generate completions zsh", "#compdef finwait"),
        ("generate completions fish", "complete -c finwait"),
    ] {
        let output = finwait(args);
        assert_eq!(output.status.code(), Some(0), "{args}");
        assert!(stdout(&output).contains(part), "{args}: {}", &stdout(&output)[..300]);
    }
    assert!(stdout(&finwait("generate man closes")).contains("ring\\-bytes"));
}
