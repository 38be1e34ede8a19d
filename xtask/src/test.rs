//! `cargo xtask test`: every test there is, the live ones where BPF is allowed.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::libtest::{Parser, Report};
use crate::{live, process, tracefs};

const WORKSPACE: &[&str] = &["--workspace"];
const LIVE: &[&str] = &["--package", "tracer", "--features", "live", "--test", "live"];

/// What all runs together came to.
#[derive(Default)]
struct Total {
    passed: u64,
    failed: u64,
}

/// Runs the tests and closes with the sum, alone on a line.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut total = Total::default();
    total.cargo_test(root, WORKSPACE, &[])?;
    match live::obstacle() {
        None => {
            if let Some(report) = total.cargo_test(root, LIVE, &["--test-threads=4"])? {
                total.require(live::compare(root, &report));
            }
        }
        Some(obstacle) if in_ci() => {
            total.require(Err(anyhow::anyhow!("CI must run the live tests: {obstacle}")));
        }
        Some(obstacle) => println!("live tests skipped: {obstacle}"),
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    if total.failed > 0 {
        bail!("not every test passed");
    }
    Ok(())
}

impl Total {
    /// Adds one `cargo test`; hands out its report if it succeeded. One that fails without a failed test, say in
    /// the compiler, counts as one failure.
    fn cargo_test(&mut self, root: &Path, what: &[&str], harness: &[&str]) -> Result<Option<Report>> {
        let (report, ended_well) = stream(root, what, harness)?;
        self.passed += report.passed;
        self.failed += report.failed;
        if !ended_well && report.failed == 0 {
            self.require(Err(anyhow::anyhow!("`cargo test {}` did not finish", what.join(" "))));
        }
        Ok(ended_well.then_some(report))
    }

    /// A condition beyond the tests themselves counts like a test when it fails.
    fn require(&mut self, condition: Result<()>) {
        if let Err(error) = condition {
            eprintln!("error: {error:#}");
            self.failed += 1;
        }
    }
}

/// Runs `cargo test`, printing while it runs; what it reported and whether it succeeded.
fn stream(root: &Path, what: &[&str], harness: &[&str]) -> Result<(Report, bool)> {
    let mut cargo = process::cargo();
    cargo.current_dir(root).args(["test", "--no-fail-fast"]).args(what).arg("--").args(harness);
    if what == LIVE {
        cargo = tracefs::seen_by(cargo);
    }
    let mut child = cargo.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
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

fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty())
}
