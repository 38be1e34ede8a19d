//! `finwait explain` and `finwait report` over the committed recordings, as a user gets them. `tests/explanations` holds whole
//! texts; where one changes on purpose, write what is shown then.
#![expect(clippy::unwrap_used, reason = "clippy takes only functions marked as tests for tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn recording(name: &str) -> PathBuf {
    root().join("core/tests/recordings").join(format!("{name}.jsonl"))
}

fn finwait(args: &str, name: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_finwait"));
    command.args(args.split_whitespace()).arg("-r").arg(recording(name));
    command.env("TZ", "UTC").stdin(Stdio::null()).output().unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Kinds of close that each have a picture of their own.
const PICTURES: &[&str] = &[
    "FIN_WAIT2_timeout",
    "FIN_lost",
    "SYN_in_TIME_WAIT",
    "TIME_WAIT_overflow",
    "child_never_accepted",
    "client_closes_first",
    "connect_timeout",
    "half_close",
    "keepalive_death",
    "port_exhaustion",
    "refused_connect",
    "reset_by_unread_data",
    "simultaneous_close",
];

#[test]
fn each_kind_of_close_has_its_picture_and_its_words() {
    for name in PICTURES {
        let expected =
            fs::read_to_string(root().join("tests/explanations").join(format!("{name}.txt"))).unwrap();
        assert_eq!(text(&finwait("explain", name)), expected, "{name}");
    }
}

#[test]
fn every_recording_is_explained_in_ascii_with_evidence() {
    for entry in fs::read_dir(root().join("core/tests/recordings")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = text(&finwait("explain --ascii --evidence", &name));
        assert!(!text.is_empty() && text.is_ascii(), "{name}");
    }
}

#[test]
fn one_connection_is_explained_by_its_id_and_one_that_is_not_there_is_an_error() {
    let all = text(&finwait("closes -o json", "half_close"));
    let close: serde_json::Value = serde_json::from_str(all.lines().next().unwrap()).unwrap();
    let id = close["conn_id"].as_str().unwrap();
    assert!(text(&finwait(&format!("explain {id}"), "half_close")).starts_with(id));
    let output = finwait("explain 000000000000-1-1", "half_close");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("did not end in what was observed"));
}

#[test]
fn a_report_counts_what_the_closes_are() {
    for name in ["half_close", "reset_by_unread_data", "TIME_WAIT_reuse"] {
        let report: serde_json::Value =
            serde_json::from_str(&text(&finwait("report -o json", name))).unwrap();
        let lines = text(&finwait("closes -o json", name));
        let records: Vec<serde_json::Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let closes = records.iter().filter(|record| record["schema"] == "finwait.close/1");
        let active = closes.clone().filter(|close| close["kind"] == "active").count();
        assert_eq!(report["closes"], closes.count(), "{name}");
        assert_eq!(report["closes_by_kind"]["active"].as_u64().unwrap_or(0), active as u64, "{name}");
        let summary = records.last().unwrap();
        assert_eq!(report["losses"]["received"], summary["received"], "{name}");
    }
}

#[test]
fn the_same_recording_twice_differs_in_nothing() {
    let against = recording("half_close");
    let output = finwait(&format!("report --against {}", against.display()), "half_close");
    assert!(text(&output).contains("0 differences beyond noise of "), "{}", text(&output));
    let output = finwait("report -o markdown", "half_close");
    assert!(text(&output).starts_with("# "), "{}", text(&output));
}
