//! How fast a recording is read: its observations alone, then through tracker and aggregator, on one core and from memory.

use std::io::{Cursor, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use finwait_core::{Observation, Tracker, TrackerConfig};
use tracer::recording::{FrameSource, Recorder};
use tracer::sink::{Sink, Tap};
use tracer::source::{Polled, Source};
use tracer::stats::{Aggregator, Grouping};

use super::ReplayArgs;
use crate::numbers::median;
use crate::scale::traffic::{Load, SECOND_NS, Script, TICKS_A_SECOND, Traffic};

const GROUPS: u64 = 40;

/// Of each observation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// In the recording
    pub(super) bytes: f64,
    /// To read it, in nanoseconds
    pub(super) read_ns: f64,
    /// To read it, for the tracker, and for the aggregator to take what that says
    pub(super) all_ns: f64,
}

/// Medians of the rounds.
pub(super) fn measure(args: &ReplayArgs) -> Result<Taken> {
    let (bytes, observations) = made(args.rate, args.seconds)?;
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
                tracker.take_back(record);
            }
            Ok(())
        })?;
        all.push(took / observations as f64);
    }
    let bytes = bytes.len() as f64 / observations as f64;
    Ok(Taken { bytes, read_ns: median(&alone), all_ns: median(&all) })
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

/// A recording of `seconds` of the load, `rate` connections each, and how many observations it has.
pub(super) fn made(rate: u64, seconds: u64) -> Result<(Vec<u8>, u64)> {
    let memory = Memory::default();
    let mut recorder = Recorder::stream(Box::new(memory.clone()), "memory".to_owned())?;
    let mut load = Load::new(Script::new(Traffic::of_groups(GROUPS), SECOND_NS / rate), rate);
    let mut observations = 0;
    let mut record = |batch: &[Observation]| -> Result<()> {
        observations += batch.len() as u64;
        batch.iter().try_for_each(|observation| recorder.observation(observation))?;
        Ok(())
    };
    record(&load.script.begin())?;
    for _ in 0..seconds * TICKS_A_SECOND {
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
    let start = Instant::now();
    let mut taken = Ok(());
    loop {
        let polled = source.lend(Duration::ZERO, &mut |observation| {
            if taken.is_ok() {
                taken = take(observation);
            }
        })?;
        if polled == Polled::End {
            taken?;
            return Ok(start.elapsed().as_nanos() as f64);
        }
    }
}
