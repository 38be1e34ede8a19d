//! The loop's output when it serves: records go to the aggregator, snapshots to the desk.

use finwait_core::{Record, Tracker};

use super::Sheet;
use super::desk::Clerk;
use super::feed::Feed;
use crate::probe::host::monotonic_now;
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
    /// Whether the first snapshot was put out: from then on finwait is ready
    begun: bool,
}

impl ServeSink {
    pub(super) fn new(aggregator: Aggregator, clerk: Clerk<Sheet>, feed: Feed) -> Self {
        Self { aggregator, clerk, feed, begun: false }
    }

    fn sheet(&self, tracker: &Tracker, ended: bool) -> Sheet {
        Sheet {
            snapshot: self.aggregator.snapshot(tracker),
            closing: tracker.closing(CLOSING),
            taken: monotonic_now(),
            ended,
        }
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

    fn between(&mut self, tracker: &Tracker) {
        if !std::mem::replace(&mut self.begun, true) {
            self.clerk.publish(self.sheet(tracker, false));
        }
        self.clerk.answer(|| self.sheet(tracker, false));
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
