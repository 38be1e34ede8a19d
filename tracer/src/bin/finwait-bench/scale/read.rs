//! How fast a recording is read: its observations alone, then through tracker and aggregator, on one core and from memory.

use std::io::{Cursor, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use finwait_core::{Observation, Tracker, TrackerConfig};
use tracer::recording::{FrameSource, Recorder};
use tracer::sink::{Sink, Tap};
use tracer::source::{Polled, Source};
use tracer::stats::{Aggregator, Grouping};

use super::traffic::{Load, SECOND_NS, Script, TICKS_A_SECOND, Traffic};
use crate::numbers::median;

const GROUPS: u64 = 40;

/// Flags of the reader.
#[derive(Args, Clone, Debug)]
pub(crate) struct ReadArgs {
    /// Connections that come, and go, each second of the recording
    #[arg(long, default_value_t = 5_000)]
    rate: u64,
    /// Seconds of it
    #[arg(long, default_value_t = 40)]
    seconds: u64,
    /// Rounds that are measured
    #[arg(long, default_value_t = 7)]
    rounds: usize,
}

/// Prints bytes of the recording per observation, and nanoseconds per observation, medians of the rounds: read alone, and with
/// tracker and aggregator.
pub(crate) fn run(args: &ReadArgs) -> Result<()> {
    let (bytes, observations) = recorded(args)?;
    let (mut alone, mut all) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        alone.push(read(&bytes, |_| Ok(()))? / observations as f64);
        let config = TrackerConfig { transitions: false, ..TrackerConfig::default() };
        let mut aggregator = Aggregator::new(Grouping::default(), config.time_waits);
        let mut tracker = Tracker::with_grouping(config, aggregator.grouping());
        let took = read(&bytes, |observation| {
            tracker.observe(observation);
            while let Some(record) = tracker.next_record() {
                aggregator.record(&record)?;
            }
            Ok(())
        })?;
        all.push(took / observations as f64);
    }
    println!("{} {} {}", bytes.len() as f64 / observations as f64, median(&alone), median(&all));
    Ok(())
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A recording of the load, and how many observations it has.
fn recorded(args: &ReadArgs) -> Result<(Vec<u8>, u64)> {
    let memory = Memory::default();
    let mut recorder = Recorder::stream(Box::new(memory.clone()), "memory".to_owned())?;
    let mut load = Load::new(Script::new(Traffic::of_groups(GROUPS), SECOND_NS / args.rate), args.rate);
    let mut observations = 0;
    let mut record = |batch: &[Observation]| -> Result<()> {
        observations += batch.len() as u64;
        batch.iter().try_for_each(|observation| recorder.observation(observation))?;
        Ok(())
    };
    record(&load.script.begin())?;
    for _ in 0..args.seconds * TICKS_A_SECOND {
        record(&load.tick())?;
    }
    recorder.finish()?;
    let bytes = memory.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok((bytes, observations))
}

/// Nanoseconds until all of it was taken.
fn read(bytes: &[u8], mut take: impl FnMut(&Observation) -> Result<()>) -> Result<f64> {
    let input = Box::new(Cursor::new(bytes.to_vec()));
    let mut source = FrameSource::new(input, "memory".to_owned()).context("the recording")?;
    let mut batch = Vec::new();
    let start = Instant::now();
    loop {
        source.take_back(&mut batch);
        let polled = source.poll(&mut batch, Duration::ZERO)?;
        batch.iter().try_for_each(&mut take)?;
        if polled == Polled::End {
            return Ok(start.elapsed().as_nanos() as f64);
        }
    }
}
