//! The loop's output when it serves: records go to the aggregator, snapshots to the desk. Records come redacted, where that is wanted; what
//! is asked of the tracker is redacted here.

use finwait_core::{Grouping, MonoNs, Record, Tracker};

use super::desk::Clerk;
use super::feed::Feed;
use super::watchdog::Watchdog;
use super::{Sheet, Web};
use crate::probe::host::monotonic_now;
use crate::redact::Redaction;
use crate::sink::{Context, Sink, SinkError, Verdict};
use crate::stats::Aggregator;

/// Closing connections that are looked at for one snapshot, in CLOSE_WAIT and in other states.
const CLOSING: usize = 1000;

/// See the module.
#[derive(Debug)]
pub struct ServeSink {
    aggregator: Aggregator,
    clerk: Clerk<Sheet>,
    feed: Feed,
    /// A recording is served
    replay: bool,
    redaction: Redaction,
    watchdog: Watchdog,
    /// Whether the first snapshot was put out: from then on finwait is ready
    begun: bool,
}

impl ServeSink {
    pub(super) fn new(
        aggregator: Aggregator,
        clerk: Clerk<Sheet>,
        feed: Feed,
        watchdog: Watchdog,
        web: &Web,
    ) -> Self {
        let (replay, redaction) = (web.replay, web.redaction);
        Self { aggregator, clerk, feed, replay, redaction, watchdog, begun: false }
    }

    /// For whoever goes round when the loop has ended.
    #[must_use]
    pub fn watchdog(&self) -> Watchdog {
        self.watchdog.clone()
    }

    /// A recording's clock is another one, and stands still between its events.
    fn now(&self, tracker: &Tracker) -> MonoNs {
        if self.replay { tracker.now() } else { monotonic_now() }
    }

    fn sheet(&self, tracker: &Tracker, ended: bool) -> Sheet {
        let taken = self.now(tracker);
        let mut closing = tracker.closing(CLOSING);
        closing.iter_mut().for_each(|connection| self.redaction.closing(connection));
        let mut snapshot = self.aggregator.snapshot(tracker, taken);
        snapshot.redaction = self.redaction;
        Sheet { snapshot, closing, taken, frozen: ended || self.replay }
    }
}

impl Sink for ServeSink {
    fn context(&mut self, context: &Context) {
        self.aggregator.context(context);
    }

    fn record(&mut self, record: &Record) -> Result<(), SinkError> {
        self.feed.offer(record);
        self.aggregator.record(record)
    }

    fn grouping(&self) -> Option<Box<dyn Grouping>> {
        Some(self.aggregator.grouping())
    }

    fn between(&mut self, tracker: &Tracker) {
        self.aggregator.watch(tracker, self.now(tracker));
        if !std::mem::replace(&mut self.begun, true) {
            self.clerk.publish(self.sheet(tracker, false));
        }
        self.clerk.answer(|| self.sheet(tracker, false));
        self.watchdog.answer();
    }

    fn ended(&mut self, tracker: &Tracker) {
        self.clerk.publish(self.sheet(tracker, true));
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    fn finish(&mut self, _verdict: &Verdict) -> Result<(), SinkError> {
        Ok(())
    }
}
