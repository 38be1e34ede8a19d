//! `cargo xtask vm`: the demo and the live tests under kernels of Debian, each in an emulated machine.

mod binaries;
mod cpio;
mod excuses;
mod guest;
mod initramfs;
mod judge;
mod kept;
mod kernel;
mod matrix;
mod modules;
mod transcript;

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{apt, live};
use binaries::Binaries;
use guest::Guest;
use initramfs::Tests;
use judge::Verdict;
use kernel::{Choice, Kernel, Version};
use matrix::Matrix;

/// Which kernels, and how
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kernels by number, such as 6.1 or 6.12.107: the newest of these that Debian has; or `newest` of all
    #[arg(value_name = "KERNEL", default_values = ["5.10", "6.1", "newest"])]
    kernels: Vec<Choice>,
    /// Processors of each guest
    #[arg(long, default_value_t = 2)]
    processors: u32,
    /// Guests that run at the same time; each takes one of this machine's processors
    #[arg(long, default_value_t = 2)]
    at_once: usize,
    /// Live tests that run at the same time in a guest
    #[arg(long, default_value_t = 4)]
    threads: u32,
    /// Run only the live tests that have this in their names; may be given several times
    #[arg(long = "test", value_name = "FILTER", value_parser = filter)]
    tests: Vec<String>,
    /// Minutes after which a guest is given up, and booted again
    #[arg(long, default_value_t = 12)]
    minutes: u64,
    /// Write what the guests prove of each scenario into docs/compatibility.md instead of comparing it
    #[arg(long)]
    write_rows: bool,
    /// Only say which kernels there are
    #[arg(long)]
    list: bool,
}

/// How often a guest that the emulator spoils, or that stands still, is booted.
const BOOTS: u32 = 3;

/// What every guest of one call shares.
struct Shelf<'a> {
    root: &'a Path,
    folder: &'a Path,
    args: &'a Args,
    busybox: &'a Path,
    binaries: &'a Binaries,
}

/// A part of a test's name.
fn filter(text: &str) -> std::result::Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    if !text.is_empty() && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err(format!("{text} is no part of a test's name"))
}

/// Runs the guests, then prints what they came to.
pub(crate) fn run(root: &Path, args: &Args) -> Result<()> {
    let folder = root.join("target/vm");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let suites = apt::suites(&folder.join("apt"))?;
    let kernels = kernel::all(&suites)?;
    if args.list {
        return list(&kernels);
    }
    let mut chosen = Vec::new();
    for choice in &args.kernels {
        chosen.push(kernel::choose(&kernels, choice)?);
    }
    guest::require_emulator()?;
    let busybox = initramfs::busybox(&suites, &folder)?;
    println!("building finwait and its live tests without shared libraries");
    let binaries = binaries::build(root, &folder.join("build"))?;
    let shelf = Shelf { root, folder: &folder, args, busybox: &busybox, binaries: &binaries };
    let table = shelf.run_all(&chosen)?;
    print(&table);
    if args.write_rows {
        let mut matrix = Matrix::read(root)?;
        table.iter().for_each(|(version, verdict)| matrix.take(version, &verdict.rows));
        matrix.write(root)?;
    }
    if table.iter().any(|(_, verdict)| !verdict.failures.is_empty()) {
        bail!("not every guest passed");
    }
    Ok(())
}

impl Shelf<'_> {
    /// As many guests at once as was asked for; the table is in the order of `kernels`.
    fn run_all(&self, kernels: &[Kernel<'_>]) -> Result<Vec<(Version, Verdict)>> {
        let waiting = Mutex::new(kernels.iter().enumerate());
        let done = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..self.args.at_once.max(1) {
                scope.spawn(|| {
                    // Not in the loop's head: the lock would be held while the guest runs.
                    while let Some((place, kernel)) = next(&waiting) {
                        let outcome = self.run_one(kernel);
                        lock(&done).push((place, kernel.version.clone(), outcome));
                    }
                });
            }
        });
        let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        done.sort_by_key(|(place, ..)| *place);
        done.into_iter().map(|(_, version, outcome)| Ok((version, outcome?))).collect()
    }

    fn run_one(&self, kernel: &Kernel<'_>) -> Result<Verdict> {
        let files = kernel.files(&self.folder.join("kernels"), self.busybox)?;
        let name = |suffix: &str| self.folder.join(format!("{}.{suffix}", kernel.version));
        let initramfs = name("initramfs");
        let alone = live::only_in_guests(self.root, &self.args.tests)?;
        let tests = Tests { filters: &self.args.tests, alone, threads: self.args.threads };
        initramfs::write(&initramfs, self.busybox, self.binaries, &files.modules, &tests)?;
        println!("booting {}", kernel.version);
        let start = Instant::now();
        let guest = Guest {
            image: &files.image,
            initramfs: &initramfs,
            processors: self.args.processors,
            limit: Duration::from_secs(self.args.minutes * 60),
            console: name("console"),
            log: name("log"),
        };
        let mut outcome = guest.run()?;
        for _ in 1..BOOTS {
            let Some(fault) = outcome.fault() else { break };
            println!(
                "{}: {fault}; its kernel said last:\n{}\nbooting it again",
                kernel.version, outcome.console
            );
            outcome = guest.run()?;
        }
        fs::remove_file(&initramfs).with_context(|| initramfs.display().to_string())?;
        let mut verdict = judge::judge(self.root, &kernel.version, &outcome, &self.args.tests);
        verdict.rows = matrix::said(&outcome.transcript);
        if !self.args.write_rows {
            let all = self.args.tests.is_empty();
            let differences = Matrix::read(self.root)?.differences(&kernel.version, &verdict.rows, all);
            verdict.failures.extend(differences);
        }
        println!("{} has ended after {} s", kernel.version, start.elapsed().as_secs());
        tell(&guest, &outcome, &verdict);
        Ok(verdict)
    }
}

fn next<'a, T: 'a>(waiting: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    lock(waiting).next()
}

/// Nothing is left half done under these locks: a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn list(kernels: &[Kernel<'_>]) -> Result<()> {
    let mut versions: Vec<_> = kernels.iter().map(|kernel| &kernel.version).collect();
    versions.sort();
    versions.dedup();
    for version in versions {
        println!("{version}");
    }
    Ok(())
}

/// Where to look when a guest failed, and the kernel's last words when it was silent.
fn tell(guest: &Guest<'_>, outcome: &guest::Outcome, verdict: &Verdict) {
    if let Some(line) = outcome.transcript.lines("demo").iter().rfind(|line| !line.is_empty()) {
        println!("  demo: {line}");
    }
    if verdict.failures.is_empty() {
        return;
    }
    println!("  its report: {}", guest.log.display());
    if outcome.transcript.status("kernel").is_none() && !outcome.console.is_empty() {
        println!("  its kernel said last:\n{}", outcome.console);
    }
}

fn print(table: &[(Version, Verdict)]) {
    println!("\n{:<12} {:>6} {:>7} {:>6}", "kernel", "passed", "excused", "failed");
    for (version, verdict) in table {
        let counts = (verdict.passed, verdict.excused.len(), verdict.failures.len());
        println!("{:<12} {:>6} {:>7} {:>6}", version.to_string(), counts.0, counts.1, counts.2);
        for test in &verdict.again {
            println!("             passed at its second run only: {test}");
        }
        for (test, reason) in &verdict.excused {
            println!("             excused: {test}: {reason}");
        }
        for module in &verdict.without {
            println!("             kernel module: {module}");
        }
        for failure in &verdict.failures {
            println!("             failed: {failure}");
        }
    }
}
