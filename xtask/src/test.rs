//! `cargo xtask test`: every test there is, the live ones where BPF is allowed, with tcpdump beside them.

use std::path::Path;

use anyhow::{Result, bail};

use crate::libtest::Report;
use crate::{captures, cargo_test, live};

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
            total.require(captures::begin(root));
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
        let (report, ended_well) = if what == LIVE {
            cargo_test::twice(root, what, harness)?
        } else {
            cargo_test::once(root, what, harness)?
        };
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

fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty())
}
