//! Whatever is not received is announced: received + lost in the ring + skipped less rescued = made.

use anyhow::{Result, bail};
use clap::Args;
use finwait_core::TrackerConfig;
use tracer::probe::{Probe, ProbeConfig, TierChoice};
use tracer::scenario::Namespace;
use tracer::scenario::watch::{Reading, only, track};

use crate::traffic::{self, Cpus};

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
}

/// Runs the bench: a ring of 4 KiB, read only by fits and starts; fails when the books do not add up.
pub(crate) fn run(args: &LossArgs) -> Result<()> {
    let cpus = Cpus { client: args.client_cpu, server: args.server_cpu };
    let mut good = 0;
    for run in 1..=args.runs {
        let namespace = Namespace::new()?;
        let filter = only(namespace.inode());
        let probe = Probe::attach(&ProbeConfig { ring_bytes: RING_BYTES, filter, tier: TierChoice::TpBtf })?;
        // By turns: a consumer that stands still, and one that is too slow.
        let reading = if run % 2 == 1 { Reading::Afterwards } else { Reading::Always };
        let config = TrackerConfig { transitions: false, ..TrackerConfig::default() };
        let (made, seen) =
            track(probe, reading, config, || traffic::churn(&namespace, args.connections, cpus))?;
        let books = &seen.accounting;
        // A repetition by shadow that was lost itself cannot be told from a rescue: it makes the last term negative.
        let unrescued =
            i128::from(books.recursion_missed.unwrap_or(0)) - i128::from(books.rescued.unwrap_or(0));
        let sum = i128::from(books.received) + i128::from(books.lost_ring) + unrescued;
        println!(
            "run {run}, {reading:?}: made {}, received {} + lost in the ring {} + skipped less rescued {unrescued} \
             = {sum}",
            made.transitions, books.received, books.lost_ring,
        );
        good += u32::from(sum == i128::from(made.transitions) && books.lost_ring > 0);
    }
    println!("{good} of {} runs add up", args.runs);
    if good == args.runs { Ok(()) } else { bail!("not every run adds up") }
}
