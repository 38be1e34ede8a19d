//! `cargo xtask components`: tests of finwait together with other people's programs.

use std::path::Path;

use anyhow::Result;

use crate::{otlp_receiver, process};

/// Installs what they take, then runs them.
pub(crate) fn run(root: &Path) -> Result<()> {
    otlp_receiver::install(root)?;
    let mut tests = process::cargo();
    tests.current_dir(root).args([
        "test",
        "--package",
        "tracer",
        "--features",
        "components",
        "--test",
        "otlp",
    ]);
    process::run(&mut tests)
}
