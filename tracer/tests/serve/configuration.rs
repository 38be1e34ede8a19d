//! `--config` and `--check-config`.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::served::{Served, refused};

/// A file of this content, and the flag that names it.
fn file(text: &str) -> (tempfile::NamedTempFile, [String; 2]) {
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    std::fs::write(file.path(), text).unwrap();
    let flag = ["--config".to_owned(), file.path().to_str().unwrap().to_owned()];
    (file, flag)
}

/// Exit status, stdout and stderr of `--check-config`.
fn checked(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_finwait"));
    command.args(["serve", "--check-config"]).args(arguments).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn what_is_in_the_file_is_served_and_flags_outweigh_it() {
    let text = "group-by = [\"process\"]\nmax-groups = 2\n[web]\nlisten-address = \"192.0.2.1:1\"\nallowed-host = [\"a.example\"]\n";
    let (_file, [flag, path]) = file(text);
    let served = Served::with(&[&flag, &path]);
    let services = served.api("services");
    assert_eq!(services["dimensions"], serde_json::json!(["process"]));
    assert_eq!(served.api("summary")["groups"]["limit"], 2);
    let asked = "GET /metrics HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    assert_eq!(served.send(asked).status(), "200");
}

#[test]
fn a_file_that_is_wrong_ends_it_with_one_sentence_that_names_the_line() {
    let (_file, [flag, path]) = file("max-groups = 10\n\n[web]\nmax-request = 5\n");
    for (code, stderr) in [refused(&[&flag, &path]), {
        let (code, stdout, stderr) = checked(&[&flag, &path]);
        assert_eq!(stdout, "");
        (code, stderr)
    }] {
        assert_eq!((code, stderr.lines().count()), (Some(2), 1), "{stderr}");
        assert!(stderr.contains(&format!("{path}:4: ")) && stderr.contains("max-requests"), "{stderr}");
    }
}

#[test]
fn a_check_finds_what_does_not_go_together_and_names_the_file() {
    let (_file, [flag, path]) = file("[web]\nlisten-address = \"0.0.0.0:9477\"\n");
    let (code, stdout, stderr) = checked(&[&flag, &path]);
    assert_eq!((code, stdout.as_str(), stderr.lines().count()), (Some(2), "", 1), "{stderr}");
    assert!(stderr.contains(&path) && stderr.contains("--web.insecure"), "{stderr}");
    assert_eq!(checked(&[&flag, &path, "--web.insecure"]).0, Some(0));
    assert_eq!(checked(&["-4", "-6"]).0, Some(2), "without a file, too");
}

/// The port is taken, and the recording is not there.
#[test]
fn a_check_prints_what_is_in_force_and_starts_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let text = format!("read = \"nowhere.jsonl\"\n[web]\nlisten-address = \"{address}\"\n");
    let (_file, [flag, path]) = file(&text);
    let (code, in_force, stderr) = checked(&[&flag, &path, "--max-groups", "7"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(in_force.contains("max-groups = 7\n") && in_force.contains(&address), "{in_force}");
    let (_again, [flag, path]) = file(&in_force);
    assert_eq!(checked(&[&flag, &path]), (Some(0), in_force, String::new()));
}
