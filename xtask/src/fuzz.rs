//! `cargo xtask fuzz`: libFuzzer on every form of input that finwait takes from a file, as `cargo fuzz` would run it, with the stable
//! toolchain and nothing to install but a C++ compiler.
//!
//! What is fuzzed is `tracer/fuzz/src/lib.rs`. Only finwait's own crates get the fuzzer's instruments: the others are not what is looked
//! into, and take long to compile with them. What a run learns stays under `target/fuzz`; the next one begins with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, bail};

use crate::{apt, process};

/// Names of the programs, their entries and their seeds' folders.
const TARGETS: [&str; 6] = ["recording", "frames", "payload", "capture", "packet", "text"];
/// Crates that get the instruments.
const INSTRUMENTED: [&str; 3] = ["tracer", "finwait-core", "finwait-fuzz"];
/// Those that `cargo fuzz` gives, less the sanitizer: none of these crates has unsafe code on the way.
const INSTRUMENTS: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
];
/// What no input may exceed: memory of the whole program, and seconds for one input on a busy machine.
const LIMITS: [&str; 3] = ["-rss_limit_mb=256", "-timeout=20", "-max_len=16384"];

/// What to fuzz, and for how long
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these; all without
    #[arg(value_parser = TARGETS)]
    targets: Vec<String>,
    /// How long each runs; two run at once
    #[arg(long, default_value_t = 15)]
    seconds: u32,
}

/// What came of one target.
struct Outcome {
    target: String,
    /// libFuzzer's own figures; those of a run that broke off are missing
    figures: String,
    /// What it found
    findings: Vec<PathBuf>,
    failed: bool,
}

/// Builds and runs.
pub(crate) fn run(root: &Path, args: &Args) -> Result<()> {
    build(root)?;
    let mut targets: Vec<String> = args.targets.clone();
    if targets.is_empty() {
        targets = TARGETS.map(str::to_owned).to_vec();
    }
    let outcomes = fuzz_all(root, targets, args.seconds)?;
    let mut failed = 0;
    for outcome in &outcomes {
        println!("{:<10} {}", outcome.target, outcome.figures);
        if outcome.failed {
            failed += 1;
            println!("           failed: see {}", log(root, &outcome.target).display());
        }
        for finding in &outcome.findings {
            println!("           found by {}", finding.display());
        }
    }
    if failed > 0 {
        bail!("{failed} of {} found something", outcomes.len());
    }
    Ok(())
}

fn folder(root: &Path) -> PathBuf {
    root.join("target/fuzz")
}

fn log(root: &Path, target: &str) -> PathBuf {
    folder(root).join(format!("{target}.log"))
}

fn build(root: &Path) -> Result<()> {
    if process::output(process::command("c++").arg("--version")).is_err() {
        process::output(process::command("apt-get").args(["update", "-qq"])).context("apt has no lists")?;
        apt::install("g++")?;
    }
    let mut cargo = process::isolated_cargo();
    cargo.current_dir(root.join("tracer/fuzz")).args(["build", "--quiet", "--release", "--locked", "--bins"]);
    cargo.arg("--target-dir").arg(folder(root).join("build"));
    // Flags for some crates alone are not stable in cargo; the flags themselves are in rustc.
    cargo.env("RUSTC_BOOTSTRAP", "1").arg("-Zprofile-rustflags");
    for name in INSTRUMENTED {
        cargo.args(["--config", &format!("profile.release.package.{name}.rustflags={INSTRUMENTS:?}")]);
    }
    process::run(&mut cargo)
}

/// As many at once as there are processors, in their order.
fn fuzz_all(root: &Path, targets: Vec<String>, seconds: u32) -> Result<Vec<Outcome>> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(targets.len());
    let queue = Mutex::new(targets.into_iter());
    let next = || queue.lock().ok().and_then(|mut queue| queue.next());
    let work = || std::iter::from_fn(next).map(|target| fuzz(root, target, seconds)).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let done = workers.into_iter().map(|worker| worker.join().unwrap_or_default());
        done.collect::<Vec<_>>().into_iter().flatten().collect()
    })
}

fn fuzz(root: &Path, target: String, seconds: u32) -> Result<Outcome> {
    let folder = folder(root);
    let (corpus, findings) = (folder.join("corpus").join(&target), folder.join("findings").join(&target));
    for made in [&corpus, &findings] {
        fs::create_dir_all(made).with_context(|| made.display().to_string())?;
    }
    let before = files(&findings)?;
    let path = log(root, &target);
    let log = fs::File::create(&path).with_context(|| path.display().to_string())?;
    let mut fuzzer = process::command(folder.join("build/release").join(&target));
    fuzzer.args(LIMITS).args([&format!("-max_total_time={seconds}"), "-print_final_stats=1"]);
    // The slash at its end makes it a folder.
    fuzzer.arg(format!("-artifact_prefix={}/", findings.display()));
    fuzzer.arg(corpus).arg(root.join("tracer/fuzz/seeds").join(&target)).stdout(log.try_clone()?).stderr(log);
    println!("{target}: {seconds} s");
    let ended_well = ends_well(&mut fuzzer)?;
    let mut found = files(&findings)?;
    found.retain(|finding| !before.contains(finding));
    let said = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
    let failed = !ended_well || !found.is_empty();
    Ok(Outcome { target, figures: figures(&said), findings: found, failed })
}

fn ends_well(program: &mut Command) -> Result<bool> {
    let name = program.get_program().to_owned();
    let status = program.status().with_context(|| format!("cannot start {}", name.display()))?;
    Ok(status.success())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// Out of libFuzzer's last lines: how often the entry ran, how many edges and features of it were reached, memory.
fn figures(log: &str) -> String {
    let behind = |line: &str, name: &str| {
        let (_, rest) = line.split_once(name)?;
        rest.split_whitespace().next().map(str::to_owned)
    };
    let anywhere = |name: &str| log.lines().rev().find_map(|line| behind(line, name));
    let done = log.lines().rev().find(|line| line.contains("\tDONE")).unwrap_or_default();
    let figure = |found: Option<String>| found.unwrap_or_else(|| "?".to_owned());
    format!(
        "{} executions, {} edges, {} features, at most {} MB, slowest input {} s",
        figure(anywhere("stat::number_of_executed_units:")),
        figure(behind(done, "cov:")),
        figure(behind(done, "ft:")),
        figure(anywhere("stat::peak_rss_mb:")),
        figure(anywhere("stat::slowest_unit_time_sec:")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_that_the_fuzzer_closes_with() {
        let log = "#2 INITED cov: 7 ft: 8 corp: 1/1b\n\
                   #24134\tDONE   cov: 8765 ft: 14656 corp: 278/120Kb lim: 2215 exec/s: 3447 rss: 243Mb\n\
                   stat::number_of_executed_units: 24134\n\
                   stat::slowest_unit_time_sec:    0\n\
                   stat::peak_rss_mb:              243\n";
        let expected = "24134 executions, 8765 edges, 14656 features, at most 243 MB, slowest input 0 s";
        assert_eq!(figures(log), expected);
        assert!(figures("panicked").starts_with("? executions"));
    }

    /// The fuzz crate is a workspace of its own, so that nothing else keeps the names in step.
    #[test]
    fn every_target_has_a_program_and_seeds() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tracer/fuzz");
        let names = |place: &str| {
            let mut names: Vec<String> = files(&folder.join(place))
                .unwrap()
                .iter()
                .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
                .collect();
            names.sort();
            names
        };
        let mut targets = TARGETS.map(str::to_owned).to_vec();
        targets.sort();
        assert_eq!(names("fuzz_targets"), targets);
        assert_eq!(names("seeds"), targets);
    }
}
