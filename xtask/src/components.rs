//! `cargo xtask components`: tests of finwait together with other people's programs.

use std::path::Path;

use anyhow::Result;

use crate::{otlp_receiver, process, programs, tracefs};

/// Test programs, each with its own kind of company.
const TESTS: [&str; 4] = ["--test", "otlp", "--test", "components"];

/// Installs what they take, then runs them.
pub(crate) fn run(root: &Path) -> Result<()> {
    otlp_receiver::install(root)?;
    programs::install()?;
    let mut tests = process::cargo();
    tests.current_dir(root).args(["test", "--package", "tracer", "--features", "components"]).args(TESTS);
    process::run(&mut tracefs::seen_by(tests))
}
