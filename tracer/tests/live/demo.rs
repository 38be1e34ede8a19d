//! `finwait demo` on this machine.

use std::process::Command;

use tracer::scenario::catalog;

use crate::process::FINWAIT;
use crate::support::{output, spawn};

#[test]
fn demo_sees_all_it_made() {
    let output = output(Command::new(FINWAIT).arg("demo"));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{stdout}\n{stderr}");
    let last = stdout.lines().last().expect("output");
    assert_eq!(last, "7 scenarios, 7 connections, 13 sides: all seen whole; lost 0");
    for scenario in catalog::DEMO {
        assert!(stdout.lines().any(|line| line == scenario.name), "{} is not shown", scenario.name);
    }
    assert!(stdout.contains("CLOSE → SYN_SENT → ESTABLISHED → FIN_WAIT1 → FIN_WAIT2 → CLOSE"), "{stdout}");
    assert!(stdout.contains("bytes ahead of the FIN"), "{stdout}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn demo_ends_quietly_when_nobody_reads() {
    let mut command = Command::new(FINWAIT);
    command.arg("demo").stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = spawn(&mut command);
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("wait");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(output.status.code().is_some(), "{:?}", output.status);
}
