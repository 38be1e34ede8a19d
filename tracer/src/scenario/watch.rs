//! Watches traffic with the real probe, the real event loop and the real tracker, from before it begins until all of it has
//! arrived.

use std::thread;

use finwait_core::record::{CloseRecord, TimeWaitRecord, TransitionRecord};
use finwait_core::tracker::Fates;
use finwait_core::{Accounting, NetNs, Observation, Record, TrackerConfig};
use tracer_common::KernelFilter;

use super::error::ScenarioError;
use crate::config::Limits;
use crate::filter::Filter;
use crate::probe::{KernelCounters, Probe};
use crate::run::{Outputs, Plan, Stop, run};
use crate::sink::{Sink, SinkError, Tap, Verdict};
use crate::source::LiveSource;

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

/// What the tracker made of the traffic.
#[derive(Debug)]
pub struct Seen {
    /// Each transition; empty where they were not asked for
    pub transitions: Vec<TransitionRecord>,
    /// Each connection that ended
    pub closes: Vec<CloseRecord>,
    /// Each time-wait socket that ended
    pub time_waits: Vec<TimeWaitRecord>,
    /// The books
    pub accounting: Accounting,
    /// What became of the connections
    pub fates: Fates,
    /// The kernel's counters at the end
    pub counters: KernelCounters,
}

/// Runs `traffic`, which must return only when all it made has happened, and gives what it returned and what was seen.
///
/// # Errors
/// Those of `traffic`, and what went wrong with watching.
pub fn track<T, E: From<ScenarioError>>(
    probe: Probe,
    reading: Reading,
    config: TrackerConfig,
    traffic: impl FnOnce() -> Result<T, E>,
) -> Result<(T, Seen), E> {
    track_with(probe, reading, config, traffic, |_| {})
}

/// [`track`], with somebody else who sees every observation first.
///
/// # Errors
/// As there.
pub fn track_with<T, E: From<ScenarioError>>(
    probe: Probe,
    reading: Reading,
    config: TrackerConfig,
    traffic: impl FnOnce() -> Result<T, E>,
    each: impl FnMut(&Observation) + Send,
) -> Result<(T, Seen), E> {
    let stop = Stop::new().map_err(ScenarioError::from)?;
    let source = LiveSource::new(probe, stop.waker()).map_err(ScenarioError::from)?;
    // Without sock_diag time-wait sockets may go unseen, which their records say.
    let (source, _unlisted) = source.with_listing();
    match reading {
        Reading::Afterwards => {
            let made = traffic()?;
            stop.request();
            Ok((made, read(source, config, &stop, each)?))
        }
        Reading::Always => thread::scope(|scope| {
            let stopped = stop.clone();
            let reader = scope.spawn(move || read(source, config, &stopped, each));
            let ending = StopOnDrop(&stop);
            let made = traffic();
            drop(ending);
            let panicked = |_| ScenarioError::unexpected("the thread that reads the ring panicked");
            let seen = reader.join().map_err(panicked)?;
            Ok((made?, seen?))
        }),
    }
}

/// Ends the reading also when the traffic panics: the scope would wait for the reader forever.
struct StopOnDrop<'a>(&'a Stop);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.request();
    }
}

/// Runs the event loop until `stop` is requested and all that came is read.
fn read(
    mut source: LiveSource,
    config: TrackerConfig,
    stop: &Stop,
    each: impl FnMut(&Observation),
) -> Result<Seen, ScenarioError> {
    let plan = Plan {
        subject: None,
        filter: Filter::default(),
        limits: Limits::default(),
        event_time: false,
        tracker: config,
        time_waits: true,
        both_ends: None,
        redaction: crate::redact::Redaction::Off,
    };
    let (mut records, mut observer) = (Collected::default(), Observer(each));
    let outputs = Outputs { sink: Some(&mut records), tap: Some(&mut observer) };
    let verdict = run(&mut source, outputs, &plan, stop)?;
    let counters = source.counters()?;
    let Collected { transitions, closes, time_waits } = records;
    Ok(Seen {
        transitions,
        closes,
        time_waits,
        accounting: verdict.accounting,
        fates: verdict.fates,
        counters,
    })
}

/// Keeps every record.
#[derive(Default)]
struct Collected {
    transitions: Vec<TransitionRecord>,
    closes: Vec<CloseRecord>,
    time_waits: Vec<TimeWaitRecord>,
}

impl Sink for Collected {
    fn record(&mut self, record: &Record) -> Result<(), SinkError> {
        match record {
            Record::Transition(record) => self.transitions.push(TransitionRecord::clone(record)),
            Record::Close(record) => self.closes.push(CloseRecord::clone(record)),
            Record::TimeWait(record) => self.time_waits.push(TimeWaitRecord::clone(record)),
            Record::BothEnds(both) => {
                self.closes.extend([both.opener_side.clone(), both.acceptor_side.clone()]);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    fn finish(&mut self, _verdict: &Verdict) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Hands every observation on.
struct Observer<F>(F);

impl<F: FnMut(&Observation)> Tap for Observer<F> {
    fn observation(&mut self, observation: &Observation) -> Result<(), SinkError> {
        (self.0)(observation);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}
