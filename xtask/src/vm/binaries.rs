//! finwait and its live tests as programs that need nothing of the system they run on.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process;

/// The one that Debian's `amd64` kernels run
const TARGET: &str = "x86_64-unknown-linux-gnu";
const STATIC: &str = "-C target-feature=+crt-static";

/// Where cargo put them. The tests know finwait by the place it was built in.
pub(super) struct Binaries {
    pub(super) finwait: PathBuf,
    /// Makes load for a test
    pub(super) bench: PathBuf,
    pub(super) live: PathBuf,
}

/// Builds them below `folder`, which is no other build's.
pub(super) fn build(root: &Path, folder: &Path) -> Result<Binaries> {
    let mut cargo = process::isolated_cargo();
    cargo.current_dir(root).env("RUSTFLAGS", STATIC);
    // Linking three programs as one is the longest part by far, and an emulated machine does not notice.
    cargo.envs([("CARGO_PROFILE_RELEASE_LTO", "off"), ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")]);
    cargo.args(["test", "--no-run", "--quiet", "--locked", "--release", "--message-format", "json"]);
    cargo.args(["--package", "tracer", "--features", "vm", "--test", "live", "--target", TARGET]);
    cargo.arg("--target-dir").arg(folder);
    let messages = process::output(&mut cargo).context("the static binaries were not built")?;
    let found = |kind, name| executable(&messages, kind, name);
    match (found("bin", "finwait"), found("bin", "finwait-bench"), found("test", "live")) {
        (Some(finwait), Some(bench), Some(live)) => Ok(Binaries { finwait, bench, live }),
        _ => bail!("cargo does not say where it put finwait and its live tests"),
    }
}

/// The program of the target `name` that cargo's messages tell of.
fn executable(messages: &str, kind: &str, name: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs = messages.filter(|message| {
        let target = &message["target"];
        target["name"] == name && target["kind"][0] == kind
    });
    programs.find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_among_the_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"finwait"},"executable":null}"#,
            "\nnot a message\n",
            r#"{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"finwait"},"executable":"/t/finwait"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(executable(messages, "bin", "finwait"), Some(PathBuf::from("/t/finwait")));
        assert_eq!(executable(messages, "test", "live"), None);
    }
}
