//! `cargo xtask vm`: the demo and the live tests under kernels of Debian, each in an emulated machine.

mod apt;
mod binaries;
mod cpio;
mod excuses;
mod guest;
mod initramfs;
mod judge;
mod kept;
mod kernel;
mod transcript;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use guest::Guest;
use judge::Verdict;
use kernel::{Choice, Kernel, Version};

/// Which kernels, and how
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kernels by number, such as 6.1 or 6.12.107: the newest of these that Debian has; or `newest` of all
    #[arg(value_name = "KERNEL", default_values = ["5.10", "6.1", "newest"])]
    kernels: Vec<Choice>,
    /// Processors of each guest
    #[arg(long, default_value_t = 2)]
    processors: u32,
    /// Minutes after which a guest is given up
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Only say which kernels there are
    #[arg(long)]
    list: bool,
}

/// Runs one guest after the other, then prints what they came to.
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
    let initramfs = folder.join("initramfs.cpio");
    initramfs::write(&initramfs, &busybox, &binaries)?;

    let mut table = Vec::new();
    for kernel in chosen {
        let image = kernel.image(&folder.join("kernels"))?;
        println!("booting {}", kernel.version);
        let guest = Guest {
            image: &image,
            initramfs: &initramfs,
            processors: args.processors,
            limit: Duration::from_secs(args.minutes * 60),
            console: folder.join(format!("{}.console", kernel.version)),
            log: folder.join(format!("{}.log", kernel.version)),
        };
        let outcome = guest.run()?;
        let verdict = judge::judge(root, &kernel.version, &outcome);
        tell(&guest, &outcome, &verdict);
        table.push((kernel.version, verdict));
    }
    print(&table);
    if table.iter().any(|(_, verdict)| !verdict.failures.is_empty()) {
        bail!("not every guest passed");
    }
    Ok(())
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
    if outcome.transcript.status("live").is_none() && !outcome.console.is_empty() {
        println!("  its kernel said last:\n{}", outcome.console);
    }
}

fn print(table: &[(Version, Verdict)]) {
    println!("\n{:<12} {:>6} {:>7} {:>6}", "kernel", "passed", "excused", "failed");
    for (version, verdict) in table {
        let counts = (verdict.passed, verdict.excused.len(), verdict.failures.len());
        println!("{:<12} {:>6} {:>7} {:>6}", version.to_string(), counts.0, counts.1, counts.2);
        for (test, reason) in &verdict.excused {
            println!("             excused: {test}: {reason}");
        }
        for failure in &verdict.failures {
            println!("             failed: {failure}");
        }
    }
}
