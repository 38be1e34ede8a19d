//! Whatever is not received is announced: received + lost in the ring + skipped less rescued = made.

use anyhow::{Result, bail};
use clap::Args;
use finwait_core::{Accounting, TrackerConfig};
use tracer::probe::{Probe, ProbeConfig, TierChoice};
use tracer::scenario::Namespace;
use tracer::scenario::watch::{Reading, Seen, only, track};

use crate::churn::show;
use crate::traffic::{self, Churned, Cpus};

/// Sixteen records.
const RING_BYTES: u32 = 4096;

/// Flags of `loss`.
#[derive(Args, Clone, Debug)]
pub(crate) struct LossArgs {
    /// Runs
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Connections a run
    #[arg(long, default_value_t = 5000)]
    connections: u32,
    /// CPU of the process that connects
    #[arg(long, default_value_t = 0)]
    client_cpu: usize,
    /// CPU of the process that accepts
    #[arg(long, default_value_t = 1)]
    server_cpu: usize,
    /// Repeat a run, at most as often as there are runs, in which ftrace saw transitions for which the kernel called no
    /// BPF program
    #[arg(long)]
    repeat_hidden: bool,
}

/// Runs the bench: a ring of 4 KiB, read only by fits and starts; fails when the books do not add up.
pub(crate) fn run(args: &LossArgs) -> Result<()> {
    let (mut good, mut run, mut hidden) = (0, 1, 0);
    while run <= args.runs {
        // By turns: a consumer that stands still, and one that is too slow.
        let reading = if run % 2 == 1 { Reading::Afterwards } else { Reading::Always };
        let (made, seen) = overflow(args, reading)?;
        let sum = add_up(&seen.accounting);
        print_books(run, reading, &made, &seen.accounting, sum);
        let kept = sum == i128::from(made.transitions) && seen.accounting.lost_ring > 0;
        if !kept && args.repeat_hidden && hidden < args.runs && was_hidden(&made, &seen) {
            hidden += 1;
            continue;
        }
        good += u32::from(kept);
        run += 1;
    }
    if hidden > 0 {
        println!("runs repeated because the kernel made transitions and called no BPF program: {hidden}");
    }
    println!("{good} of {} runs add up", args.runs);
    if good == args.runs { Ok(()) } else { bail!("not every run adds up") }
}

fn overflow(args: &LossArgs, reading: Reading) -> Result<(Churned, Seen)> {
    let cpus = Cpus { client: args.client_cpu, server: args.server_cpu };
    let namespace = Namespace::new()?;
    let filter = only(namespace.inode());
    let probe = Probe::attach(&ProbeConfig {
        ring_bytes: RING_BYTES,
        filter,
        tier: TierChoice::TpBtf,
        ..ProbeConfig::default()
    })?;
    let config = TrackerConfig { transitions: false, ..TrackerConfig::default() };
    track(probe, reading, config, || traffic::churn(&namespace, args.connections, cpus))
}

/// Transitions received or announced as missing.
fn add_up(books: &Accounting) -> i128 {
    i128::from(books.received) + i128::from(books.lost_ring) + skipped_less_rescued(books)
}

/// A repetition by shadow that was lost itself cannot be told from a rescue: it makes this negative.
fn skipped_less_rescued(books: &Accounting) -> i128 {
    i128::from(books.recursion_missed.unwrap_or(0)) - i128::from(books.rescued.unwrap_or(0))
}

fn print_books(run: u32, reading: Reading, made: &Churned, books: &Accounting, sum: i128) {
    println!(
        "run {run}, {reading:?}: made {}, seen by ftrace {}; received {} + lost in the ring {} + skipped less rescued {} \
         = {sum}",
        made.transitions,
        show(made.witnessed),
        books.received,
        books.lost_ring,
        skipped_less_rescued(books),
    );
}

/// ftrace saw all that was made; what the programs were called for was received or counted as lost.
fn was_hidden(made: &Churned, seen: &Seen) -> bool {
    let books = &seen.accounting;
    let called = books.received + books.lost_ring;
    made.witnessed == Some(made.transitions) && called == books.counted && called < made.transitions
}
