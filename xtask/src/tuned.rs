//! `cargo xtask tuned`: finwait built twice. The first build counts which ways its code goes at work; by these counts the
//! second one is laid out. Both are the same source and the same compiler; what is told is the same, in less time.
//!
//! Not for the everyday: it takes several times as long as `cargo build --release`, and llvm-profdata of rustc's own LLVM.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::toolchain::Toolchain;
use crate::{live, process, tracefs};

/// rustup's component that has llvm-profdata.
const COMPONENT: &str = "llvm-tools";

/// How much the compiler may copy into the callers that call most: a tenth of what it would. What follows connections is more
/// than a processor's instruction cache holds as it is.
const HOT_CALLS: &str = "-hot-callsite-threshold=300";

/// What finwait does with a recording while its ways are counted, and then with a capture; and how often. Most of the work of a
/// process that serves, or reports, is to follow connections and to sum up; text is made in few places, but by many instructions.
const VIEWS: [(&str, &[&str], u32); 5] = [
    ("recording", &["report", "-r"], 8),
    ("recording", &["closes", "-o", "json", "-r"], 1),
    ("recording", &["states", "-r"], 1),
    ("packets.pcap", &["report", "-r"], 4),
    ("packets.pcap", &["closes", "-r"], 1),
];

/// What the bench program does.
const BENCHES: [&[&str]; 1] = [&["exposition", "--runs", "3"]];

/// What it does where programs may be loaded into the kernel: the ways of a live run.
const LIVE_BENCHES: [&[&str]; 1] = [&["churn", "--runs", "1", "--connections", "20000", "--repeat-hidden"]];

/// Builds, and says where the program is.
pub(crate) fn run(root: &Path) -> Result<()> {
    let built = build(root)?;
    println!("{}", built.join("finwait").display());
    Ok(())
}

/// Folder of the tuned finwait and its bench program.
pub(crate) fn build(root: &Path) -> Result<PathBuf> {
    let toolchain = Toolchain::detect()?;
    let profdata = llvm_profdata(&toolchain)?;
    let folder = root.join("target/tuned");
    let (counts, samples, profile) =
        (folder.join("counts"), folder.join("samples"), folder.join("ways.profdata"));
    for emptied in [&counts, &samples] {
        if emptied.exists() {
            fs::remove_dir_all(emptied).with_context(|| emptied.display().to_string())?;
        }
        fs::create_dir_all(emptied).with_context(|| emptied.display().to_string())?;
    }
    println!("building finwait that counts its ways");
    let flags = [format!("-Cprofile-generate={}", counts.display())];
    let counting = compile(root, &folder.join("counting"), &toolchain.host, &flags)?;
    println!("counting");
    count(&counting, &samples)?;
    process::run(process::command(&profdata).arg("merge").arg("-o").arg(&profile).arg(&counts))?;
    println!("building finwait by these counts");
    let flags = [format!("-Cprofile-use={}", profile.display()), format!("-Cllvm-args={HOT_CALLS}")];
    compile(root, &folder.join("build"), &toolchain.host, &flags)
}

/// Folder of both programs, built with `flags`. With a target named, what runs at build time is built without it.
fn compile(root: &Path, target: &Path, host: &str, flags: &[String]) -> Result<PathBuf> {
    let mut cargo = process::isolated_cargo();
    cargo.current_dir(root).env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    // In one piece: what is counted and what is built then has the same functions, and the compiler sees all of them.
    cargo.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1");
    cargo.args(["build", "--quiet", "--release", "--locked", "--package", "tracer", "--features", "bench"]);
    cargo.args(["--bin", "finwait", "--bin", "finwait-bench", "--target", host, "--target-dir"]).arg(target);
    process::run(&mut cargo)?;
    Ok(target.join(host).join("release"))
}

/// Work of every kind, which leaves its counts behind.
fn count(programs: &Path, samples: &Path) -> Result<()> {
    let bench = |arguments: &[&str]| silent(programs.join("finwait-bench"), arguments);
    let mut makes_samples = bench(&["samples"]);
    process::output(makes_samples.arg(samples))?;
    for (sample, arguments, times) in VIEWS {
        for _ in 0..times {
            process::output(silent(programs.join("finwait"), arguments).arg(samples.join(sample)))?;
        }
    }
    for arguments in BENCHES {
        process::output(&mut bench(arguments))?;
    }
    if !live::privileged() {
        println!("not counted, as it takes root: what a live run does");
        return Ok(());
    }
    for arguments in LIVE_BENCHES {
        // It counts as well where a goal is missed, which a build that counts may do.
        if let Err(error) = process::output(tracefs::seen_by(bench(arguments)).stdout(Stdio::null())) {
            println!("{error:#}");
        }
    }
    Ok(())
}

/// Says nothing unless it fails, and then why.
fn silent(program: PathBuf, arguments: &[&str]) -> Command {
    let mut command = process::command(program);
    command.args(arguments).stdout(Stdio::null());
    command
}

/// Installs it where it is missing.
fn llvm_profdata(toolchain: &Toolchain) -> Result<PathBuf> {
    let tool = toolchain.tool("llvm-profdata");
    if !tool.is_file() {
        println!("llvm-profdata is missing: installing rustup's component {COMPONENT}");
        let installed = process::output(process::command("rustup").args(["component", "add", COMPONENT]));
        installed.with_context(|| {
            format!("a tuned build takes llvm-profdata of this rustc, {}", tool.display())
        })?;
    }
    if !tool.is_file() {
        bail!("{} is not there after the installation of {COMPONENT}", tool.display());
    }
    Ok(tool)
}
