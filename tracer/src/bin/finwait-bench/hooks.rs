//! What the hooks beyond the transitions cost: all of finwait's programs beside the spine alone (prime and its shadows), and
//! what every timer of the host pays for the timer hooks.

use anyhow::{Context, Result, ensure};
use aya::sys::{Stats, enable_stats};
use tracer::probe::{Probe, ProbeConfig, TimeWaitChoice};
use tracer::scenario::Namespace;

use crate::load::TRANSITIONS_PER_CONNECTION;
use crate::numbers::{Shuffle, median};
use crate::tools::{Booked, Paths, Running, Tool};
use crate::traffic::lone;

/// With everything on, all programs together may cost less than this many times the spine, for each transition.
const TIMES_THE_SPINE: f64 = 2.0;

/// How often and on what.
pub(crate) struct Turns<'a> {
    pub(crate) paths: &'a Paths,
    pub(crate) rounds: usize,
    pub(crate) connections: u32,
    pub(crate) load_cpu: usize,
    pub(crate) tool_cpu: usize,
}

/// One turn's costs.
#[derive(Clone, Copy, Debug)]
struct Cost {
    per_transition_ns: f64,
    per_timer_ns: Option<f64>,
    timers: u64,
}

/// Measures, prints, and says whether the bound is kept.
pub(crate) fn run(turns: &Turns<'_>) -> Result<bool> {
    // Statistics end with this descriptor, whatever happens to this process.
    let _statistics = enable_stats(Stats::RunTime).context("switching the kernel's statistics on")?;
    let mut tools = vec![Tool::Spine, Tool::WithTimers];
    if fentry_is_allowed() {
        tools.push(Tool::WithFentry);
    }
    let mut costs: Vec<(Tool, Vec<Cost>)> = tools.iter().map(|tool| (*tool, Vec::new())).collect();
    let mut shuffle = Shuffle::new();
    for round in 0..turns.rounds {
        shuffle.apply(&mut tools);
        for tool in &tools {
            let Some(cost) = turn(turns, *tool)? else { continue };
            eprintln!(
                "round {:2}  {:16} {:9.0} ns per transition",
                round + 1,
                tool.name(),
                cost.per_transition_ns
            );
            costs.iter_mut().filter(|(of, _)| of == tool).for_each(|(_, costs)| costs.push(cost));
        }
    }
    Ok(report(&costs))
}

fn fentry_is_allowed() -> bool {
    Probe::attach(&ProbeConfig { time_wait: TimeWaitChoice::Fentry, ..ProbeConfig::default() }).is_ok()
}

fn turn(turns: &Turns<'_>, tool: Tool) -> Result<Option<Cost>> {
    let namespace = Namespace::new()?;
    let Some(running) = Running::start(tool, turns.paths, turns.tool_cpu, &namespace)? else {
        return Ok(None);
    };
    let before = running.booked()?;
    lone(&namespace, turns.connections, turns.load_cpu)?;
    let after = running.booked()?;
    running.stop()?;
    cost(turns, tool, &before, &after).map(Some)
}

fn cost(turns: &Turns<'_>, tool: Tool, before: &Booked, after: &Booked) -> Result<Cost> {
    let transitions = after.runs - before.runs;
    let made = u64::from(turns.connections) * TRANSITIONS_PER_CONNECTION;
    ensure!(transitions >= made * 99 / 100, "{} ran {transitions} times only", tool.name());
    let timers = after.timers.count - before.timers.count;
    let timer_time = after.timers.time - before.timers.time;
    Ok(Cost {
        per_transition_ns: (after.run_time - before.run_time).as_nanos() as f64 / transitions as f64,
        per_timer_ns: (timers > 0).then(|| timer_time.as_nanos() as f64 / timers as f64),
        timers,
    })
}

fn report(costs: &[(Tool, Vec<Cost>)]) -> bool {
    let of = |tool: Tool| {
        let found = costs.iter().find(|(of, _)| *of == tool).map(|(_, costs)| costs.as_slice());
        median(&found.unwrap_or_default().iter().map(|cost| cost.per_transition_ns).collect::<Vec<_>>())
    };
    let spine = of(Tool::Spine);
    println!("\nkernel time per transition, all of finwait's programs together, medians:");
    println!("  {:16} {spine:9.0} ns", Tool::Spine.name());
    let mut all_kept = true;
    for (tool, measured) in costs.iter().filter(|(tool, _)| *tool != Tool::Spine) {
        let all = of(*tool);
        let kept = spine > 0.0 && all < TIMES_THE_SPINE * spine;
        all_kept &= kept;
        println!(
            "  {:16} {all:9.0} ns: {:.2} times the spine, less than {TIMES_THE_SPINE:.0} asked: {}{}",
            tool.name(),
            all / spine,
            if kept { "kept" } else { "BROKEN" },
            timers(measured),
        );
    }
    all_kept
}

fn timers(costs: &[Cost]) -> String {
    let each: Vec<f64> = costs.iter().filter_map(|cost| cost.per_timer_ns).collect();
    if each.is_empty() {
        return String::new();
    }
    let operations = costs.iter().map(|cost| cost.timers).sum::<u64>() / costs.len() as u64;
    format!("; the timer hooks take {:.0} ns of each timer operation ({operations} a round)", median(&each))
}
