//! How long the tracker takes for an observation, and tracker and aggregator together, with the connections of one second
//! live.

use std::time::Instant;

use anyhow::Result;
use finwait_core::{Observation, Tracker, TrackerConfig};
use tracer::sink::Sink;
use tracer::stats::{Aggregator, Grouping};

use super::traffic::{Load, SECOND_NS, Script, Traffic};
use crate::numbers::median;

const RATE: u64 = 50_000;
const GROUPS: u64 = 40;
const BATCHES: usize = 1000;

/// Prints nanoseconds per observation, medians of the batches: the tracker's, and those of both.
pub(crate) fn run() -> Result<()> {
    let config = TrackerConfig { transitions: false, ..TrackerConfig::default() };
    let mut aggregator = Aggregator::new(Grouping::default(), config.time_waits);
    let mut tracker = Tracker::with_grouping(config, aggregator.grouping());
    let mut load = Load::new(Script::new(Traffic::of_groups(GROUPS), SECOND_NS / RATE), RATE);
    load.script.begin().iter().for_each(|observation| tracker.observe(observation));
    let (mut alone, mut both) = (Vec::new(), Vec::new());
    for batch in 0..BATCHES {
        let observations = load.tick();
        let (tracked, all) = take(&observations, &mut tracker, &mut aggregator)?;
        // The first two seconds fill the tables.
        if batch > BATCHES / 2 {
            alone.push(tracked / observations.len() as f64);
            both.push(all / observations.len() as f64);
        }
    }
    println!("{} {}", median(&alone), median(&both));
    Ok(())
}

/// Nanoseconds until the tracker had taken all of them, and until the aggregator had taken what that said.
fn take(
    observations: &[Observation],
    tracker: &mut Tracker,
    aggregator: &mut Aggregator,
) -> Result<(f64, f64)> {
    let start = Instant::now();
    observations.iter().for_each(|observation| tracker.observe(observation));
    let tracked = start.elapsed();
    while let Some(record) = tracker.next_record() {
        aggregator.record(&record)?;
    }
    Ok((tracked.as_nanos() as f64, start.elapsed().as_nanos() as f64))
}
