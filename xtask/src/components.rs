//! `cargo xtask components`: tests of finwait together with other people's programs.

use std::path::Path;

use anyhow::Result;

use crate::{cargo_test, otlp_receiver, programs};

/// Test programs, each with its own kind of company.
const TESTS: [&str; 8] =
    ["--package", "tracer", "--features", "components", "--test", "otlp", "--test", "components"];

/// Installs what they take, then runs them.
pub(crate) fn run(root: &Path) -> Result<()> {
    otlp_receiver::install(root)?;
    programs::install()?;
    cargo_test::require(root, &TESTS)
}
