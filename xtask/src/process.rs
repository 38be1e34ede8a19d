//! Child processes: started without standard input, their failures told in one sentence.

use std::ffi::{OsStr, OsString};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Variables of cargo, rustc and rustup that a nested build may inherit: where things are, not how to build.
const INHERITED: [&str; 7] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_TERM_",
    "RUSTUP_",
];

/// The cargo that started this program.
pub(crate) fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The same cargo, free of every variable by which the outer call or the user's shell could change a build.
pub(crate) fn isolated_cargo() -> Command {
    let mut cargo = cargo();
    for (name, _) in std::env::vars_os() {
        if changes_builds(&name) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// `program` with nothing to read.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// Runs to the end, output going where ours goes.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let name = name(command);
    let status = command.status().with_context(|| format!("cannot start {name}"))?;
    if !status.success() {
        bail!("{name} failed ({status})");
    }
    Ok(())
}

/// Runs to the end and hands out standard output; what it said of an error becomes ours.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = name(command);
    let output = command.output().with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{name} failed ({}): {}", output.status, said.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{name} printed something that is not text"))
}

/// Program and first argument: enough to recognise a call.
fn name(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let program = program.file_name().unwrap_or(command.get_program()).to_string_lossy();
    match command.get_args().find(|argument| !argument.to_string_lossy().starts_with('-')) {
        Some(argument) => format!("`{program} {}`", argument.to_string_lossy()),
        None => format!("`{program}`"),
    }
}

fn changes_builds(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    let belongs = ["CARGO", "__CARGO", "RUST", "TARGET"].iter().any(|prefix| name.starts_with(prefix));
    belongs && !INHERITED.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_places_are_inherited() {
        for name in ["CARGO_HOME", "RUSTUP_TOOLCHAIN", "RUSTUP_HOME", "CARGO_NET_OFFLINE", "PATH"] {
            assert!(!changes_builds(&name.into()), "{name}");
        }
        for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_PROFILE_EBPF_LTO", "RUSTC_WRAPPER"] {
            assert!(changes_builds(&name.into()), "{name}");
        }
    }

    #[test]
    fn a_failure_names_the_call() {
        let error = output(command("sh").args(["-c", "echo no luck >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("sh") && error.contains("no luck"), "{error}");
    }
}
