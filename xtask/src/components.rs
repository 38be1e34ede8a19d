//! `cargo xtask components`: tests of finwait together with other people's programs.

use std::path::Path;

use anyhow::Result;

use crate::{cargo_test, otlp_receiver};

/// Installs what they take, then runs them.
pub(crate) fn run(root: &Path) -> Result<()> {
    otlp_receiver::install(root)?;
    cargo_test::require(root, &["--package", "tracer", "--features", "components", "--test", "otlp"])
}
