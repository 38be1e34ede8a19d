//! Watches traffic with the real probe and the real tracker, from before it begins until all of it has arrived.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use finwait_core::observation::{Host, SCHEMA, Watermark};
use finwait_core::record::{CloseRecord, TransitionRecord};
use finwait_core::tracker::Fates;
use finwait_core::{Accounting, NetNs, Observation, Record, Tracker, TrackerConfig};
use tracer_common::KernelFilter;

use crate::probe::{Decoder, KernelCounters, Probe, RingReader, Stop, host};

/// Longest wait for a record before the counters are looked at again.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// When the ring is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// All the time
    Always,
    /// Not before the traffic is over: what has no room in the ring is lost
    Afterwards,
}

/// Lets only what happens in `netns` pass in the kernel.
#[must_use]
pub fn only(netns: NetNs) -> KernelFilter {
    let mut filter = KernelFilter { netns_count: 1, ..KernelFilter::default() };
    filter.netns[0] = netns.0;
    filter
}

/// Runs `traffic`, which must return only when all it made has happened, and hands every observation to `each`.
/// Returns what `traffic` returned and the counters as they stood at the end.
pub fn watch<T>(
    mut probe: Probe,
    reading: Reading,
    traffic: impl FnOnce() -> Result<T>,
    mut each: impl FnMut(&Observation) + Send,
) -> Result<(T, KernelCounters)> {
    let ring = probe.take_ring()?;
    each(&Observation::Host(describe(&probe)?));
    let stop = Stop::new()?;
    match reading {
        Reading::Afterwards => {
            let made = traffic()?;
            stop.raise();
            let counters = read(&probe, ring, &stop, each)?;
            Ok((made, counters))
        }
        Reading::Always => thread::scope(|scope| {
            let stopped = stop.clone();
            let reader = scope.spawn(move || read(&probe, ring, &stopped, each));
            let made = traffic();
            stop.raise();
            let counters = reader.join().map_err(|_| anyhow!("the thread that reads the ring panicked"))?;
            Ok((made?, counters?))
        }),
    }
}

/// Reads until `stop` is raised and the ring is empty.
fn read(
    probe: &Probe,
    mut ring: RingReader,
    stop: &Stop,
    mut each: impl FnMut(&Observation),
) -> Result<KernelCounters> {
    let mut decoder = Decoder::new(host::jiffy_ns());
    loop {
        // Before the ring is found empty: whatever they count is in the ring by then, or lost.
        let counters = probe.counters()?;
        let batch = ring.read(stop, READ_TIMEOUT, |bytes| {
            if let Some(change) = decoder.decode(bytes) {
                each(&Observation::StateChange(Box::new(change)));
            }
        })?;
        let Some(at) = batch.watermark else { continue };
        each(&Observation::Counters(counters.observation(decoder.errors())));
        each(&Observation::Watermark(Watermark { at }));
        if batch.stopped {
            let counters = probe.counters()?;
            each(&Observation::Counters(counters.observation(decoder.errors())));
            return Ok(counters);
        }
    }
}

fn describe(probe: &Probe) -> Result<Host> {
    Ok(Host {
        schema: SCHEMA,
        boot_id: host::boot_id().context("the boot's number")?,
        kernel: host::kernel_release(),
        tier: probe.tier(),
        since: host::monotonic_now(),
        rps: None,
        filtered: false,
    })
}

/// What the tracker made of the traffic.
#[derive(Debug)]
pub struct Seen {
    /// Each transition; empty where they were not asked for
    pub transitions: Vec<TransitionRecord>,
    /// Each connection that ended
    pub closes: Vec<CloseRecord>,
    /// The books
    pub accounting: Accounting,
    /// What became of the connections
    pub fates: Fates,
    /// The kernel's counters at the end
    pub counters: KernelCounters,
}

/// [`watch`] with a tracker behind it.
pub fn track<T>(
    probe: Probe,
    reading: Reading,
    config: TrackerConfig,
    traffic: impl FnOnce() -> Result<T>,
) -> Result<(T, Seen)> {
    track_with(probe, reading, config, traffic, |_| {})
}

/// [`track`], with somebody else who sees every observation first.
pub fn track_with<T>(
    probe: Probe,
    reading: Reading,
    config: TrackerConfig,
    traffic: impl FnOnce() -> Result<T>,
    mut each: impl FnMut(&Observation) + Send,
) -> Result<(T, Seen)> {
    let mut tracker = Tracker::new(config);
    let (mut transitions, mut closes) = (Vec::new(), Vec::new());
    let mut take = |tracker: &mut Tracker| {
        while let Some(record) = tracker.next_record() {
            match record {
                Record::Transition(record) => transitions.push(*record),
                Record::Close(record) => closes.push(*record),
            }
        }
    };
    let (made, counters) = watch(probe, reading, traffic, |observation| {
        each(observation);
        tracker.observe(observation);
        take(&mut tracker);
    })?;
    tracker.finish();
    take(&mut tracker);
    let (accounting, fates) = (tracker.accounting(), tracker.fates());
    Ok((made, Seen { transitions, closes, accounting, fates, counters }))
}
