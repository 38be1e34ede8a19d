//! Whether `finwait serve` scales: what a million connections take, what an idle one takes, and what scrapes cost while
//! 50,000 connections come and go each second. Connections are synthetic and go through the real tracker, aggregator and
//! HTTP side; each measurement has a process of its own, which is this program again.

mod fill;
mod goal;
mod memory;
mod read;
mod replay;
mod scrape;
mod served;
mod take;
mod traffic;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

pub(crate) use self::fill::{FillArgs, run as fill};
use self::goal::{Goal, MIB};
pub(crate) use self::read::{ReadArgs, run as read};
pub(crate) use self::replay::{ReplayArgs, run as replay};
pub(crate) use self::scrape::{ScrapeArgs, run as scrape};
pub(crate) use self::take::run as take;
use crate::tools::require;

/// Flags of `scale`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ScaleArgs {
    /// Connections that are live at once
    #[arg(long, default_value_t = 1_000_000)]
    live: u64,
    /// Connections that come, and go, each second
    #[arg(long, default_value_t = 50_000)]
    rate: u64,
    /// Pairs of seconds of the load; one of each has a scrape
    #[arg(long, default_value_t = 61)]
    pairs: usize,
    /// Groups that the load falls into
    #[arg(long, default_value_t = 40)]
    load_groups: u64,
    /// Groups of the scrape that is timed
    #[arg(long, default_value_t = 1000)]
    groups: u64,
    /// The finwait that is left idle
    #[arg(long, default_value = "target/release/finwait")]
    finwait: PathBuf,
}

/// Runs the bench; fails when a goal is missed.
pub(crate) fn run(args: &ScaleArgs) -> Result<()> {
    require(&args.finwait, "build it with `cargo build --release`")?;
    let idle = memory::idle(&args.finwait)?;
    let mut goals = vec![Goal::below("resident, idle and attached", idle as f64 / MIB, 64.0, "MiB")];
    goals.extend(filled(args, idle)?);
    goals.extend(scraped(args)?);
    goals.extend(taken()?);
    goals.extend(recorded()?);
    goals.extend(replayed(args)?);
    let kept = goal::print(&goals);
    if kept { Ok(()) } else { bail!("finwait misses a goal") }
}

/// What live connections take: the idle process and what they add to one like it.
fn filled(args: &ScaleArgs, idle: u64) -> Result<[Goal; 2]> {
    let live = args.live.to_string();
    let numbers = own("scale-fill", &["--live", &live])?;
    let [before, after] = numbers[..] else { bail!("scale-fill said {numbers:?}") };
    let added = after - before;
    let all = idle as f64 + added;
    Ok([
        Goal::told(&format!("each of {live} live connections"), added / args.live as f64, "bytes"),
        Goal::below(&format!("resident, {live} live connections"), all / MIB, 320.0, "MiB"),
    ])
}

/// How long one scrape takes, for each format there is.
fn scraped(args: &ScaleArgs) -> Result<Vec<Goal>> {
    let groups = args.groups.to_string();
    let mut goals = Vec::new();
    for (name, accept) in scrape::FORMATS {
        let numbers = own("scale-scrape", &["--groups", &groups, "--accept", accept])?;
        let [milliseconds, bytes] = numbers[..] else { bail!("scale-scrape said {numbers:?}") };
        let what = format!("scrape of {groups} groups, {name} ({:.1} MiB)", bytes / MIB);
        goals.push(Goal::below(&what, milliseconds, 50.0, "ms"));
    }
    Ok(goals)
}

/// What an observation costs the loop.
fn taken() -> Result<[Goal; 2]> {
    let numbers = own("scale-take", &[])?;
    let [alone, both] = numbers[..] else { bail!("scale-take said {numbers:?}") };
    Ok([
        Goal::told("an observation, tracker", alone, "ns"),
        Goal::told("an observation, tracker and aggregator", both, "ns"),
    ])
}

/// How fast a recording is read again.
fn recorded() -> Result<[Goal; 3]> {
    let numbers = own("scale-read", &[])?;
    let [bytes, alone, all] = numbers[..] else { bail!("scale-read said {numbers:?}") };
    Ok([
        Goal::told("an observation, recorded", bytes, "bytes"),
        Goal::told("an observation, read from a recording", alone, "ns"),
        Goal::below("the same, with tracker and aggregator", all, 200.0, "ns"),
    ])
}

/// What a scrape a second costs beyond all the rest, in percent of a core.
fn replayed(args: &ScaleArgs) -> Result<[Goal; 2]> {
    let [rate, pairs, groups] =
        [args.rate, args.pairs as u64, args.load_groups].map(|number| number.to_string());
    let numbers = own("scale-replay", &["--rate", &rate, "--pairs", &pairs, "--groups", &groups])?;
    let [bare, extra] = numbers[..] else { bail!("scale-replay said {numbers:?}") };
    let unit = "% of a core";
    Ok([
        Goal::told(&format!("{rate} connections a second, {groups} groups"), bare, unit),
        Goal::below("a scrape a second beside that", extra, 2.0, unit),
    ])
}

/// The numbers that this program says when it runs `part`.
fn own(part: &str, flags: &[&str]) -> Result<Vec<f64>> {
    let mut command = Command::new(std::env::current_exe().context("this program's own path")?);
    command.arg(part).args(flags).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("running {part}"))?;
    ensure!(output.status.success(), "{part} failed");
    let text = String::from_utf8(output.stdout).context("its output")?;
    text.split_ascii_whitespace().map(|number| number.parse().context("a number")).collect()
}
