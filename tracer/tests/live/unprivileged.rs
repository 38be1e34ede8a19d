//! Without privileges: one sentence that says what to do.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use crate::process::FINWAIT;
use crate::support;

const NOBODY: u32 = 65534;

/// Runs finwait as a user without any right. The build folder may be closed to that user, so a copy is run.
fn as_nobody(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("permissions");
    let copy = folder.path().join("finwait");
    std::fs::copy(FINWAIT, &copy).expect("copy");
    let mut command = Command::new(&copy);
    command.args(arguments).current_dir("/").env("RUST_BACKTRACE", "1").uid(NOBODY).gid(NOBODY);
    support::output(&mut command)
}

fn assert_one_sentence(arguments: &[&str], about: &str) {
    let output = as_nobody(arguments);
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
    assert!(stderr.starts_with("finwait: ") && stderr.contains(about), "{arguments:?}: {stderr}");
    assert!(!stderr.contains("backtrace") && !stderr.contains("panicked"), "{stderr}");
}

#[test]
fn views_and_recordings_name_what_is_missing() {
    for arguments in [&["states"][..], &["closes"], &["closes", "--tier", "classic"], &["record"]] {
        assert_one_sentence(arguments, "CAP_BPF");
    }
}

#[test]
fn demo_says_that_it_cannot_make_a_namespace() {
    assert_one_sentence(&["demo"], "network namespace");
}

#[test]
fn a_recording_can_be_read() {
    let output = as_nobody(&["closes", "-r", "/dev/null"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("CAP_"), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}
