//! One `cargo test`, printed while it runs, and what it reported.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::libtest::{Parser, Report};
use crate::{captures, process, tracefs};

/// Runs `cargo test`; what it reported and whether it succeeded.
pub(crate) fn once(root: &Path, what: &[&str], harness: &[&str]) -> Result<(Report, bool)> {
    let mut cargo = process::cargo();
    cargo.current_dir(root).args(["test", "--no-fail-fast"]).args(what).arg("--").args(harness);
    if let Some(folder) = captures::folder(root) {
        cargo.env(captures::VARIABLE, folder);
    }
    let mut child = tracefs::seen_by(cargo).stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let mut output = child.stdout.take().context("cargo has no output")?;
    let mut parser = Parser::default();
    let mut chunk = [0; 4096];
    loop {
        let length = output.read(&mut chunk).context("reading from cargo")?;
        if length == 0 {
            break;
        }
        parser.feed(&chunk[..length]);
        let mut ours = std::io::stdout().lock();
        ours.write_all(&chunk[..length]).and_then(|()| ours.flush()).context("standard output")?;
    }
    let status = child.wait().context("waiting for cargo")?;
    Ok((parser.finish(), status.success()))
}

/// The same for tests that live by the clock of a machine which may be busy: one that failed runs once more, alone, and is
/// named when it passes only then.
pub(crate) fn twice(root: &Path, what: &[&str], harness: &[&str]) -> Result<(Report, bool)> {
    let (report, ended_well) = once(root, what, harness)?;
    // None is named where the compiler failed, or the tests did not come to their end.
    if ended_well || report.not_ok.is_empty() || report.failed != report.not_ok.len() as u64 {
        return Ok((report, ended_well));
    }
    println!("once more, one after the other: {}", report.not_ok.join(", "));
    let names: Vec<&str> = report.not_ok.iter().map(String::as_str).collect();
    let (again, ended_well) = once(root, what, &[&["--test-threads=1", "--exact"], &names[..]].concat())?;
    for test in &again.ok {
        println!("passed at its second run only: {test}");
    }
    Ok((merge(report, again), ended_well))
}

/// Runs tests likewise where nothing but their success counts.
pub(crate) fn require(root: &Path, what: &[&str]) -> Result<()> {
    match twice(root, what, &[])? {
        (_, true) => Ok(()),
        (report, false) => bail!("`cargo test {}`: {} failed", what.join(" "), report.failed),
    }
}

fn merge(first: Report, again: Report) -> Report {
    let mut ok = first.ok;
    ok.extend(again.ok);
    Report { passed: first.passed + again.passed, failed: again.failed, ok, not_ok: again.not_ok }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_twice_has_failed_and_what_passed_once_has_passed() {
        let own = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let first = Report { passed: 1, failed: 2, ok: own(&["a"]), not_ok: own(&["b", "c"]) };
        let again = Report { passed: 1, failed: 1, ok: own(&["b"]), not_ok: own(&["c"]) };
        let both = merge(first, again);
        assert_eq!((both.passed, both.failed), (2, 1));
        assert_eq!((both.ok, both.not_ok), (own(&["a", "b"]), own(&["c"])));
    }
}
