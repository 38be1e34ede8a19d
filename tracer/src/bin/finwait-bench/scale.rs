//! Whether `finwait serve` scales: what a million connections take, what an idle one takes, and what scrapes cost while
//! 50,000 connections come and go each second. Connections are synthetic and go through the real tracker, aggregator and
//! HTTP side; each measurement has a process of its own, which is this program again.

mod fill;
mod goal;
mod memory;
mod replay;
mod scrape;
mod served;
mod traffic;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

pub(crate) use self::fill::{FillArgs, run as fill};
use self::goal::{Goal, MIB};
pub(crate) use self::replay::{ReplayArgs, run as replay};
pub(crate) use self::scrape::{ScrapeArgs, run as scrape};
use crate::numbers::{Shuffle, median};
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
    /// Rounds; one with scrapes and one without have their turn in each
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds a turn
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Groups, at least, of the load and of the scrape that is timed
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
    goals.push(replayed(args)?);
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

/// What a scrape a second costs beyond all the rest, in percent of a core: the median of the rounds' differences.
fn replayed(args: &ScaleArgs) -> Result<Goal> {
    let [rate, seconds, groups] = [args.rate, args.seconds, args.groups].map(|number| number.to_string());
    let flags = ["--rate", &rate, "--seconds", &seconds, "--groups", &groups];
    let (mut turns, mut shuffle) = ([false, true], Shuffle::new());
    let (mut bare, mut extra) = (Vec::new(), Vec::new());
    for round in 0..args.rounds {
        shuffle.apply(&mut turns);
        let mut percent = [0.0; 2];
        for scrapes in turns {
            let numbers =
                own("scale-replay", &[&flags[..], if scrapes { &["--scrape"] } else { &[] }].concat())?;
            let [spent] = numbers[..] else { bail!("scale-replay said {numbers:?}") };
            percent[usize::from(scrapes)] = spent;
        }
        eprintln!(
            "round {:2}  without {:6.2} %, with a scrape a second {:6.2} %",
            round + 1,
            percent[0],
            percent[1]
        );
        bare.push(percent[0]);
        extra.push(percent[1] - percent[0]);
    }
    println!("\n{rate} connections a second, tracker and aggregation: {:.1} % of a core", median(&bare));
    Ok(Goal::below(&format!("a scrape of {groups} groups a second"), median(&extra), 2.0, "% of a core"))
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
