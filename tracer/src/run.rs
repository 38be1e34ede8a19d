//! The one event loop: source → tracker → (pairing) → filter → sink.
//!
//! It alone decides when a run ends. Whatever the reason, the source is closed and read to its end, so that the last
//! counters are in the books; what it still yields is accounted for and not shown.

use std::time::{Duration, Instant};

use finwait_core::observation::Tier;
use finwait_core::pairing::{Pairing, PairingConfig};
use finwait_core::{MonoNs, Observation, Record, Tracker, TrackerConfig};

use crate::config::{Limits, Subject};
use crate::filter::Filter;
use crate::redact::Redaction;
use crate::sink::{Context, Ended, Sink, SinkError, Tally, Tap, Verdict};
use crate::source::{Polled, Source, SourceError};

mod command;
mod signals;
mod stop;

pub use command::{CommandError, execute};
pub use stop::Stop;

/// Wait after events: longer than the tracker lets a closed connection settle, so that the watermark of the first
/// idle poll makes every close due.
const SETTLING: Duration = Duration::from_millis(60);
/// Wait while nothing happens.
const QUIET: Duration = Duration::from_secs(1);
/// Longest that a closed source is waited for.
const CLOSING: Duration = Duration::from_secs(2);

/// What to do with what comes in.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which records are shown; `None` shows all
    pub subject: Option<Subject>,
    /// Of which connections
    pub filter: Filter,
    /// Until when
    pub limits: Limits,
    /// --duration counts event time, as a recording needs it, instead of the clock's
    pub event_time: bool,
    /// How much the tracker may hold
    pub tracker: TrackerConfig,
    /// Whether the ends of time-wait sockets are shown among closes
    pub time_waits: bool,
    /// How the two ends of a connection within this host are joined; `None`: they are not
    pub both_ends: Option<PairingConfig>,
    /// What is withheld of peers
    pub redaction: Redaction,
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The source is broken
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The output is
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The filter asks for what the stream does not have
    #[error("{flag} needs the tp-btf tier: these transitions come from {from}, which does not show it")]
    FilterNeedsTpBtf {
        /// The flag
        flag: &'static str,
        /// What the transitions come from
        from: &'static str,
    },
}

/// Where things go.
pub struct Outputs<'a> {
    /// Records
    pub sink: Option<&'a mut dyn Sink>,
    /// Observations, ahead of the tracker
    pub tap: Option<&'a mut dyn Tap>,
}

/// Runs until something ends it.
///
/// # Errors
/// When source or sink break. A closed pipe is an end, not an error.
pub fn run<'a>(
    source: &mut dyn Source,
    outputs: Outputs<'a>,
    plan: &'a Plan,
    stop: &Stop,
) -> Result<Verdict, RunError> {
    let mut run = Run::new(outputs, plan);
    let ended = match run.feed(source, stop) {
        Err(RunError::Sink(error)) if error.is_closed_pipe() => Ended::ClosedPipe,
        ended => ended?,
    };
    if ended != Ended::Source {
        run.drain(source, ended)?;
    }
    run.finish(ended, source)
}

/// What became of what a poll brought.
#[derive(Default)]
struct Taken {
    /// There was something
    any: bool,
    /// The run is over because of it
    ended: Option<Result<Ended, RunError>>,
}

struct Run<'a> {
    outputs: Outputs<'a>,
    plan: &'a Plan,
    tracker: Tracker,
    pairing: Option<Pairing>,
    /// The plan's, and what it learns
    filter: Filter,
    context: Context,
    tally: Tally,
    /// Lines written, which --count limits
    lines: u64,
    begun: bool,
    started: Instant,
    first: Option<MonoNs>,
    last: Option<MonoNs>,
}

impl<'a> Run<'a> {
    fn new(outputs: Outputs<'a>, plan: &'a Plan) -> Self {
        let grouping = outputs.sink.as_ref().and_then(|sink| sink.grouping());
        let tracker = match grouping {
            Some(grouping) => Tracker::with_grouping(plan.tracker, grouping),
            None => Tracker::new(plan.tracker),
        };
        Self {
            outputs,
            plan,
            tracker,
            pairing: plan.both_ends.map(Pairing::new),
            filter: plan.filter.clone(),
            context: Context::default(),
            tally: Tally::default(),
            lines: 0,
            begun: false,
            started: Instant::now(),
            first: None,
            last: None,
        }
    }

    fn feed(&mut self, source: &mut dyn Source, stop: &Stop) -> Result<Ended, RunError> {
        let mut wait = SETTLING;
        loop {
            if stop.is_requested() {
                return Ok(Ended::Signal);
            }
            let Some(left) = self.time_left() else { return Ok(Ended::Duration) };
            let timeout = wait.min(left).min(self.patience());
            let mut taken = Taken::default();
            let polled = source.lend(timeout, &mut |observation| self.take(observation, &mut taken))?;
            if let Some(ended) = taken.ended {
                return ended;
            }
            self.begin()?;
            if taken.any || self.patience().is_zero() {
                self.flush()?;
            }
            if let Some(sink) = &mut self.outputs.sink {
                sink.between(&self.tracker);
            }
            wait = match polled {
                Polled::Events => SETTLING,
                Polled::Idle => QUIET,
                Polled::End => return Ok(self.end_of_source(stop)),
            };
        }
    }

    /// For how long the outputs can do without being flushed.
    fn patience(&self) -> Duration {
        self.outputs.tap.as_ref().map_or(Duration::MAX, |tap| tap.patience())
    }

    /// A source that was waiting on the stop descriptor may say that it is at its end because of that.
    fn end_of_source(&self, stop: &Stop) -> Ended {
        if stop.is_requested() { Ended::Signal } else { Ended::Source }
    }

    /// Time until the clock ends the run; `None` where it has.
    fn time_left(&self) -> Option<Duration> {
        match self.plan.limits.duration {
            Some(limit) if !self.plan.event_time => {
                limit.checked_sub(self.started.elapsed()).filter(|left| !left.is_zero())
            }
            _ => Some(Duration::MAX),
        }
    }

    /// Takes one more of a poll; what comes after the end of the run is for the books alone.
    fn take(&mut self, observation: &Observation, taken: &mut Taken) {
        taken.any = true;
        match taken.ended {
            None if self.is_too_late(observation) => taken.ended = Some(Ok(Ended::Duration)),
            None => {
                taken.ended = match self.observe(observation) {
                    Err(error) => Some(Err(error)),
                    Ok(()) => self.limits_reached().then_some(Ok(Ended::Count)),
                };
            }
            // It is after the time that counts.
            Some(Ok(Ended::Duration)) => {}
            // Else it would look like a loss in the books.
            Some(_) => self.account(observation),
        }
    }

    /// Whether event time has run out; takes note of it.
    fn is_too_late(&mut self, observation: &Observation) -> bool {
        let Some(at) = observation.at() else { return false };
        let first = *self.first.get_or_insert(at);
        let limit = self.plan.limits.duration.filter(|_| self.plan.event_time);
        let elapsed = Duration::from_nanos(at.since(first).unwrap_or(0));
        if limit.is_some_and(|limit| elapsed > limit) {
            return true;
        }
        self.last = self.last.max(Some(at));
        false
    }

    fn observe(&mut self, observation: &Observation) -> Result<(), RunError> {
        if let Observation::Host(host) = observation
            && let Some(flag) = self.plan.filter.needs_tp_btf()
            && let Some(from) = without_processes(host.tier)
        {
            return Err(RunError::FilterNeedsTpBtf { flag, from });
        }
        self.begin()?;
        // Ahead of the rest, so that the books hold what could not be written.
        self.tracker.observe(observation);
        self.filter.learn(observation);
        if let Some(tap) = &mut self.outputs.tap {
            tap.observation(observation)?;
            self.lines += u64::from(matches!(observation, Observation::StateChange(_)));
        }
        if self.context.learn(observation)
            && let Some(sink) = &mut self.outputs.sink
        {
            sink.context(&self.context);
        }
        let watermark = match observation {
            Observation::Watermark(watermark) => Some(watermark.at),
            _ => None,
        };
        self.pair(watermark);
        self.show_what_is_due()
    }

    /// Hands on what the tracker says.
    fn pair(&mut self, watermark: Option<MonoNs>) {
        let Some(pairing) = &mut self.pairing else { return };
        while let Some(record) = self.tracker.next_record() {
            pairing.take(record);
        }
        if let Some(at) = watermark {
            pairing.advance(self.tracker.told_until(at));
        }
    }

    fn show_what_is_due(&mut self) -> Result<(), RunError> {
        while let Some(mut record) = self.next_record() {
            if !self.limits_reached() {
                self.show(&mut record)?;
            }
            self.tracker.take_back(record);
        }
        Ok(())
    }

    fn next_record(&mut self) -> Option<Record> {
        match &mut self.pairing {
            Some(pairing) => pairing.next_record(),
            None => self.tracker.next_record(),
        }
    }

    /// The filter may know what nobody behind it may.
    fn show(&mut self, record: &mut Record) -> Result<(), RunError> {
        if !self.filter.matches(record) && !self.belongs_to_one_shown(record) {
            return Ok(());
        }
        self.plan.redaction.record(record);
        let record = &*record;
        self.tally.add(record);
        let wanted = matches!(
            (self.plan.subject, record),
            (None, _)
                | (Some(Subject::States), Record::Transition(_))
                | (Some(Subject::Closes), Record::Close(_) | Record::BothEnds(_))
        ) || (self.plan.time_waits && matches!(record, Record::TimeWait(_)));
        if let Some(sink) = &mut self.outputs.sink
            && wanted
        {
            sink.record(record)?;
            self.lines += 1;
        }
        Ok(())
    }

    /// A time-wait record knows less of its connection than the filter may ask.
    fn belongs_to_one_shown(&self, record: &Record) -> bool {
        let Record::TimeWait(left) = record else { return false };
        self.outputs.sink.as_ref().is_some_and(|sink| sink.follows(left.conn_id))
    }

    /// Only once the source has shown that it works, so that a failure leaves stdout empty.
    fn begin(&mut self) -> Result<(), SinkError> {
        if let Some(sink) = &mut self.outputs.sink
            && !std::mem::replace(&mut self.begun, true)
        {
            sink.begin()?;
        }
        Ok(())
    }

    fn limits_reached(&self) -> bool {
        self.plan.limits.count.is_some_and(|count| self.lines >= count)
            || self.outputs.sink.as_ref().is_some_and(|sink| sink.is_satisfied())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        if let Some(sink) = &mut self.outputs.sink {
            sink.flush()?;
        }
        if let Some(tap) = &mut self.outputs.tap {
            tap.flush()?;
        }
        Ok(())
    }

    /// Closes the source and reads what it still has. It is shown where the clock or the user ended the run: it
    /// happened before that. Otherwise it is for the books alone.
    fn drain(&mut self, source: &mut dyn Source, ended: Ended) -> Result<(), RunError> {
        source.close();
        let mut shown = ended == Ended::Signal || (ended == Ended::Duration && !self.plan.event_time);
        let deadline = Instant::now() + CLOSING;
        loop {
            let mut failed = None;
            let polled = source.lend(SETTLING, &mut |observation| {
                if !shown {
                    return self.account(observation);
                }
                match self.observe_while_open(observation) {
                    Ok(still) => shown = still,
                    Err(error) => (shown, failed) = (false, Some(error)),
                }
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
            if polled == Polled::End || Instant::now() >= deadline {
                return Ok(());
            }
        }
    }

    /// Whether there still was somebody to show it to.
    fn observe_while_open(&mut self, observation: &Observation) -> Result<bool, RunError> {
        match self.observe(observation) {
            Ok(()) => Ok(true),
            Err(RunError::Sink(error)) if error.is_closed_pipe() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn account(&mut self, observation: &Observation) {
        self.tracker.observe(observation);
        while self.tracker.next_record().is_some() {}
    }

    fn finish(mut self, ended: Ended, source: &dyn Source) -> Result<Verdict, RunError> {
        self.tracker.finish();
        self.pair(None);
        self.pairing.iter_mut().for_each(Pairing::finish);
        let closed = ended == Ended::ClosedPipe;
        let written = if closed { Ok(()) } else { self.show_what_is_due() };
        if let Some(sink) = &mut self.outputs.sink {
            sink.ended(&self.tracker);
        }
        let verdict = self.verdict(ended, source);
        let written = written.and_then(|()| if closed { Ok(()) } else { Ok(self.write_end(&verdict)?) });
        match written {
            Err(RunError::Sink(error)) if error.is_closed_pipe() => {}
            other => other?,
        }
        Ok(verdict)
    }

    fn write_end(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        if let Some(sink) = &mut self.outputs.sink {
            sink.finish(verdict)?;
            sink.flush()?;
        }
        self.outputs.tap.as_mut().map_or(Ok(()), |tap| tap.finish())
    }

    fn verdict(&self, ended: Ended, source: &dyn Source) -> Verdict {
        let seen = self.first.zip(self.last).and_then(|(first, last)| last.since(first));
        Verdict {
            ended,
            duration: if self.plan.event_time {
                seen.map(Duration::from_nanos)
            } else {
                Some(self.started.elapsed())
            },
            accounting: self.tracker.accounting(),
            fates: self.tracker.fates(),
            unread: source.unread(),
            capture: source.capture().cloned(),
            tally: Tally { hurried: self.pairing.as_ref().map_or(0, Pairing::hurried), ..self.tally.clone() },
        }
    }
}

/// What stands for a tier that shows no processes.
fn without_processes(tier: Tier) -> Option<&'static str> {
    match tier {
        Tier::TpBtf => None,
        Tier::Classic => Some("the classic trace point"),
        Tier::Capture => Some("a packet capture"),
    }
}

#[cfg(test)]
mod tests;
