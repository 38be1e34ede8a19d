//! How fast recordings and packet captures are read again, all on one core: a recording from memory, through tracker and
//! aggregator; a capture as `finwait report -r` reads it, beside `tshark -z conv,tcp` on the same file.

mod capture;
mod recording;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::goal::{self, Goal, MIB};
use crate::numbers::median;
use crate::tools::require;

/// Between two looks at a process's memory.
const LOOK: Duration = Duration::from_millis(5);
/// Of the longer capture, that shows what memory depends on.
const LONGER: u64 = 4;

/// Flags of `replay`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ReplayArgs {
    /// Connections that come, and go, each second of the recording
    #[arg(long, default_value_t = 5_000)]
    rate: u64,
    /// Seconds of it
    #[arg(long, default_value_t = 40)]
    seconds: u64,
    /// Packets of the capture
    #[arg(long, default_value_t = 1_000_000)]
    packets: u64,
    /// Rounds that are measured
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// The finwait that reads the capture
    #[arg(long, default_value = "target/release/finwait")]
    finwait: PathBuf,
    /// What it is compared with
    #[arg(long, default_value = "/usr/bin/tshark")]
    tshark: PathBuf,
}

/// Flags of `samples`.
#[derive(Args, Clone, Debug)]
pub(crate) struct SamplesArgs {
    /// Where they are put
    folder: PathBuf,
}

/// Shorter ones of what the bench reads, for whoever wants to have finwait read them.
pub(crate) fn samples(args: &SamplesArgs) -> Result<()> {
    let place = args.folder.join("recording");
    let (recording, _) = recording::made(5_000, 20)?;
    std::fs::write(&place, recording).with_context(|| place.display().to_string())?;
    capture::make(&args.folder.join("packets.pcap"), 300_000)
}

/// Runs the bench; fails when a goal is missed.
pub(crate) fn run(args: &ReplayArgs) -> Result<()> {
    require(&args.finwait, "build it with `cargo build --release`")?;
    require(&args.tshark, "it is in Debian's package of that name")?;
    let mut core = CpuSet::new();
    core.set(0);
    sched_setaffinity(None, &core).context("one core")?;
    let mut goals = recorded(args)?;
    goals.extend(captured(args)?);
    if goal::print(&goals) { Ok(()) } else { bail!("finwait misses a goal") }
}

fn recorded(args: &ReplayArgs) -> Result<Vec<Goal>> {
    let taken = recording::measure(args)?;
    let millions = |ns: f64| 1000.0 / ns;
    let unit = "million/s";
    Ok(vec![
        Goal::told("an observation, recorded", taken.bytes, "bytes"),
        Goal::told("observations read", millions(taken.read_ns), unit),
        Goal::at_least("the same, with tracker and aggregator", millions(taken.all_ns), 5.0, unit),
    ])
}

/// The two programs take turns.
fn captured(args: &ReplayArgs) -> Result<Vec<Goal>> {
    let folder = tempfile::tempdir().context("a folder")?;
    let (path, longer) = (folder.path().join("packets.pcap"), folder.path().join("longer.pcap"));
    capture::make(&path, args.packets)?;
    capture::make(&longer, LONGER * args.packets)?;
    let (mut own, mut theirs, mut resident) = (Vec::new(), Vec::new(), 0);
    for _ in 0..args.rounds.min(5) {
        let (seconds, bytes) = timed(report(&args.finwait, &path))?;
        own.push(seconds);
        resident = bytes;
        let mut tshark = Command::new(&args.tshark);
        tshark.args(["-q", "-z", "conv,tcp", "-r"]).arg(&path);
        theirs.push(timed(tshark)?.0);
    }
    let (_, longer) = timed(report(&args.finwait, &longer))?;
    let packets = args.packets as f64 / 1e6;
    Ok(vec![
        Goal::told("packets of a capture, finwait report", packets / median(&own), "million/s"),
        Goal::told("the same, tshark -z conv,tcp", packets / median(&theirs), "million/s"),
        Goal::at_least("finwait faster than tshark", median(&theirs) / median(&own), 10.0, "times"),
        Goal::told("resident at most, finwait report", resident as f64 / MIB, "MiB"),
        Goal::below("of a capture four times as long", longer as f64 / resident as f64, 1.1, "times"),
    ])
}

fn report(finwait: &Path, capture: &Path) -> Command {
    let mut report = Command::new(finwait);
    report.args(["report", "-r"]).arg(capture);
    report
}

/// Seconds that `command` runs, and the most memory that it was seen to have resident.
fn timed(mut command: Command) -> Result<(f64, u64)> {
    let start = Instant::now();
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = quiet.spawn().with_context(|| format!("{command:?}"))?;
    let mut most = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        most = most.max(resident_at_most(&child).unwrap_or(0));
        sleep(LOOK);
    };
    ensure!(status.success(), "{command:?} failed");
    Ok((start.elapsed().as_secs_f64(), most))
}

/// VmHWM in bytes; `None` of a process that has ended.
fn resident_at_most(child: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib * 1024)
}
