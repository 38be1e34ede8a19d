//! What finwait costs beside the tools it wants to replace, in one run with alternating rounds.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use aya::sys::{Stats, enable_stats};
use clap::Args;
use tracer::scenario::Namespace;

use crate::hooks::{self, Turns};
use crate::load::TRANSITIONS_PER_CONNECTION;
use crate::numbers::{Shuffle, median};
use crate::tools::{Paths, Running, Tool, require};
use crate::traffic::lone;

/// Times that finwait's kernel programs must be cheaper per transition than those of `tcpstates`.
const CHEAPER_THAN_TCPSTATES: f64 = 15.0;
/// Likewise for `tcplife`.
const CHEAPER_THAN_TCPLIFE: f64 = 5.0;
/// Times that finwait must add less to a connection than `tcpstates`.
const ADDS_LESS_THAN_TCPSTATES: f64 = 15.0;
/// Where the kernel says whether it keeps statistics for everyone.
const STATS_SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Flags of `cost`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CostArgs {
    /// Rounds; each tool has its turn in each
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Connections a turn
    #[arg(long, default_value_t = 3000)]
    connections: u32,
    /// The finwait that is measured
    #[arg(long, default_value = "target/release/finwait")]
    finwait: PathBuf,
    /// Folder of tcpstates and tcplife (libbpf-tools)
    #[arg(long, default_value = "/usr/sbin")]
    libbpf_tools: PathBuf,
    /// Only what the hooks beyond the transitions cost
    #[arg(long)]
    hooks_only: bool,
    /// CPU of the load
    #[arg(long, default_value_t = 0)]
    load_cpu: usize,
    /// CPU of the tool
    #[arg(long, default_value_t = 1)]
    tool_cpu: usize,
}

/// Everything measured, by tool, one number a round.
#[derive(Debug, Default)]
struct Series(HashMap<Tool, Vec<f64>>);

impl Series {
    fn add(&mut self, tool: Tool, value: f64) {
        self.0.entry(tool).or_default().push(value);
    }

    fn of(&self, tool: Tool) -> &[f64] {
        self.0.get(&tool).map_or(&[], Vec::as_slice)
    }

    fn median(&self, tool: Tool) -> f64 {
        median(self.of(tool))
    }

    /// The median of what `tool` has more than `base`, round by round: a machine that is slower for a while is so for both.
    fn median_beyond(&self, tool: Tool, base: Tool) -> f64 {
        let more: Vec<f64> =
            self.of(tool).iter().zip(self.of(base)).map(|(one, other)| one - other).collect();
        median(&more)
    }
}

/// Runs the comparison; fails when a bound is broken.
pub(crate) fn run(args: &CostArgs) -> Result<()> {
    let paths = Paths { finwait: args.finwait.clone(), libbpf_tools: args.libbpf_tools.clone() };
    require(&paths.finwait, "build it with `cargo build --release`")?;
    refuse_shared_statistics()?;
    let turns = Turns {
        paths: &paths,
        rounds: args.rounds,
        connections: args.connections,
        load_cpu: args.load_cpu,
        tool_cpu: args.tool_cpu,
    };
    let mut bounds = vec![hooks::run(&turns)?];
    if !args.hooks_only {
        require(&paths.libbpf_tools.join("tcpstates"), "it comes with libbpf-tools")?;
        let kernel = kernel_times(args, &paths)?;
        let (added, busy) = added_times(args, &paths)?;
        bounds.extend([report_kernel(&kernel), report_added(&added, &busy)]);
    }
    if bounds.into_iter().all(|kept| kept) { Ok(()) } else { bail!("finwait is dearer than it may be") }
}

/// With the switch on, the second part would measure the kernel's own book-keeping.
fn refuse_shared_statistics() -> Result<()> {
    let state = std::fs::read_to_string(STATS_SWITCH).with_context(|| STATS_SWITCH)?;
    ensure!(state.trim() == "0", "somebody has switched {STATS_SWITCH} on: switch it off for this");
    Ok(())
}

/// Kernel nanoseconds per transition, all programs of a tool together.
fn kernel_times(args: &CostArgs, paths: &Paths) -> Result<Series> {
    // Statistics end with this descriptor, whatever happens to this process.
    let _statistics = enable_stats(Stats::RunTime).context("switching the kernel's statistics on")?;
    let mut series = Series::default();
    let mut turns = [Tool::Finwait, Tool::Tcpstates, Tool::Tcplife];
    let mut shuffle = Shuffle::new();
    for round in 0..args.rounds {
        shuffle.apply(&mut turns);
        for tool in turns {
            let namespace = Namespace::new()?;
            let Some(running) = Running::start(tool, paths, args.tool_cpu, &namespace)? else { continue };
            let before = running.booked()?;
            lone(&namespace, args.connections, args.load_cpu)?;
            let after = running.booked()?;
            running.stop()?;
            let runs = after.runs - before.runs;
            ensure!(
                runs >= u64::from(args.connections) * TRANSITIONS_PER_CONNECTION * 99 / 100,
                "{} ran {runs} times only",
                tool.name()
            );
            let spent = (after.run_time - before.run_time).as_nanos() as f64 / runs as f64;
            eprintln!("round {:2}  {:16} {spent:9.0} ns per transition", round + 1, tool.name());
            series.add(tool, spent);
        }
    }
    Ok(series)
}

/// Nanoseconds per connection with each tool and without, and each tool's own processor time per connection.
fn added_times(args: &CostArgs, paths: &Paths) -> Result<(Series, Series)> {
    let (mut took, mut busy) = (Series::default(), Series::default());
    let mut turns = [Tool::None, Tool::Finwait, Tool::Tcpstates, Tool::Tcplife];
    let mut shuffle = Shuffle::new();
    for round in 0..args.rounds {
        shuffle.apply(&mut turns);
        for tool in turns {
            let namespace = Namespace::new()?;
            let running = {
                // Without statistics nothing tells that a tool is attached; they are off again for the load.
                let _statistics =
                    enable_stats(Stats::RunTime).context("switching the kernel's statistics on")?;
                Running::start(tool, paths, args.tool_cpu, &namespace)?
            };
            let before = running.as_ref().map(Running::cpu_time).transpose()?;
            let each = lone(&namespace, args.connections, args.load_cpu)? as f64;
            if let (Some(running), Some(before)) = (running, before) {
                let own = running.cpu_time()?.saturating_sub(before);
                busy.add(tool, own.as_nanos() as f64 / f64::from(args.connections));
                running.stop()?;
            }
            eprintln!("round {:2}  {:16} {each:9.0} ns per connection", round + 1, tool.name());
            took.add(tool, each);
        }
    }
    Ok((took, busy))
}

fn report_kernel(kernel: &Series) -> bool {
    let ours = kernel.median(Tool::Finwait);
    println!("\nkernel time per transition, all programs of a tool, medians:");
    println!("  {:16} {ours:9.0} ns", Tool::Finwait.name());
    let mut kept = true;
    for (tool, bound) in [(Tool::Tcpstates, CHEAPER_THAN_TCPSTATES), (Tool::Tcplife, CHEAPER_THAN_TCPLIFE)] {
        let theirs = kernel.median(tool);
        kept &= judge(tool, theirs, ours, bound);
    }
    kept
}

fn report_added(took: &Series, busy: &Series) -> bool {
    let bare = took.median(Tool::None);
    println!("\ntime per connection, bpf_stats off, medians:");
    println!("  {:16} {bare:9.0} ns", Tool::None.name());
    for tool in [Tool::Finwait, Tool::Tcpstates, Tool::Tcplife] {
        let added = took.median_beyond(tool, Tool::None);
        println!(
            "  {:16} {:9.0} ns, {added:+.0} ns, {:+.1} %; the tool itself works {:.0} ns a connection",
            tool.name(),
            took.median(tool),
            added / bare * 100.0,
            busy.median(tool),
        );
    }
    println!("\ntime added to a connection, medians of the rounds' differences:");
    let ours = took.median_beyond(Tool::Finwait, Tool::None);
    let theirs = took.median_beyond(Tool::Tcpstates, Tool::None);
    println!("  {:16} {ours:9.0} ns", Tool::Finwait.name());
    judge(Tool::Tcpstates, theirs, ours, ADDS_LESS_THAN_TCPSTATES)
}

/// Prints how many times dearer `theirs` is, and whether that is enough.
fn judge(tool: Tool, theirs: f64, ours: f64, bound: f64) -> bool {
    // What disappears in the noise costs nothing that could be measured; the other tool must still be seen to.
    let kept = theirs > 0.0 && theirs >= bound * ours;
    println!(
        "  {:16} {theirs:9.0} ns: {:.1} times finwait's, at least {bound:.0} asked: {}",
        tool.name(),
        theirs / ours.max(1.0),
        if kept { "kept" } else { "BROKEN" }
    );
    kept
}
