//! The loop's output when it serves: records go to the aggregator, snapshots to the desk.

use finwait_core::{Record, Tracker};

use super::Sheet;
use super::desk::Clerk;
use crate::probe::host::monotonic_now;
use crate::sink::{Context, Sink, SinkError, Verdict};
use crate::stats::Aggregator;

/// See the module.
#[derive(Debug)]
pub struct ServeSink {
    aggregator: Aggregator,
    clerk: Clerk<Sheet>,
    /// Whether the first snapshot was put out: from then on finwait is ready
    begun: bool,
}

impl ServeSink {
    pub(super) fn new(aggregator: Aggregator, clerk: Clerk<Sheet>) -> Self {
        Self { aggregator, clerk, begun: false }
    }

    fn sheet(&self, tracker: &Tracker, ended: bool) -> Sheet {
        Sheet { snapshot: self.aggregator.snapshot(tracker), taken: monotonic_now(), ended }
    }
}

impl Sink for ServeSink {
    fn context(&mut self, context: &Context) {
        self.aggregator.context(context);
    }

    fn record(&mut self, record: &Record) -> Result<(), SinkError> {
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
