//! What is made of records. A sink knows no source; it is told the clocks and the host as the stream names them.

use std::io;
use std::time::Duration;

use finwait_core::observation::Host;
use finwait_core::{ClockPair, ConnId, Grouping, MonoNs, Observation, Record, Tracker};

mod columns;
mod csv;
mod explain;
pub(crate) mod human;
mod json;
mod recording;
#[cfg(test)]
pub(crate) mod samples_for_tests;
mod strip;
mod table;
mod text;
mod verdict;
pub(crate) mod when;

pub use self::csv::CsvSink;
pub use explain::{ExplainSink, Explaining, Form, Style};
pub use json::JsonSink;
pub(crate) use json::{CloseJson, OwnerJson, TimeWaitJson, WorkloadJson};
pub use recording::RecordingSink;
pub use table::{Look, TableSink};
pub use text::safe;
pub use verdict::{Ended, FinsResent, Resets, Slowest, Tally, Verdict};
pub(crate) use when::utc_of;

/// Takes records and writes them somewhere.
pub trait Sink {
    /// Host or clocks are known now, or known better.
    fn context(&mut self, _context: &Context) {}

    /// What comes before the first record, such as a header.
    ///
    /// # Errors
    /// When it cannot be written.
    fn begin(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Writes one record; it may stay in a buffer until [`Sink::flush`].
    ///
    /// # Errors
    /// When it cannot be written.
    fn record(&mut self, record: &Record) -> Result<(), SinkError>;

    /// Whatever was written gets to the reader.
    ///
    /// # Errors
    /// When it cannot be written.
    fn flush(&mut self) -> Result<(), SinkError>;

    /// Between two batches, and right after the first: `tracker` as it is now.
    fn between(&mut self, _tracker: &Tracker) {}

    /// How the tracker is to group open connections, where that is of interest.
    fn grouping(&self) -> Option<Box<dyn Grouping>> {
        None
    }

    /// It wants no record any more: the run may end.
    fn is_satisfied(&self) -> bool {
        false
    }

    /// Whether it waits for what becomes of the time-wait socket of `id`, whatever the filter says of that.
    fn follows(&self, _id: ConnId) -> bool {
        false
    }

    /// Nothing more comes: `tracker` as it is at the end.
    fn ended(&mut self, _tracker: &Tracker) {}

    /// The run is over, and this is what it came to.
    ///
    /// # Errors
    /// When it cannot be written.
    fn finish(&mut self, verdict: &Verdict) -> Result<(), SinkError>;
}

/// Takes observations as they come, ahead of the tracker.
pub trait Tap {
    /// Writes one observation.
    ///
    /// # Errors
    /// When it cannot be written.
    fn observation(&mut self, observation: &Observation) -> Result<(), SinkError>;

    /// After every batch: what was written gets to the reader soon enough.
    ///
    /// # Errors
    /// When it cannot be written.
    fn flush(&mut self) -> Result<(), SinkError>;

    /// For how long it can do without [`Tap::flush`].
    fn patience(&self) -> Duration {
        Duration::MAX
    }

    /// Nothing more comes.
    ///
    /// # Errors
    /// When it cannot be written.
    fn finish(&mut self) -> Result<(), SinkError> {
        self.flush()
    }
}

/// What the stream says about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    /// The host
    pub host: Option<Host>,
    /// The newest pair of clocks
    pub clock: Option<ClockPair>,
}

impl Context {
    /// Takes note of what `observation` says of host and clocks; whether it did.
    pub fn learn(&mut self, observation: &Observation) -> bool {
        match observation {
            Observation::Host(host) => self.host = Some((**host).clone()),
            Observation::Clock(clock) => self.clock = Some(*clock),
            _ => return false,
        }
        true
    }

    /// When observing began.
    #[must_use]
    pub fn since(&self) -> Option<MonoNs> {
        self.host.as_ref().map(|host| host.since)
    }
}

/// Why something cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// Writing failed
    #[error("cannot write to {place}: {source}")]
    Write {
        /// Path, or stdout
        place: String,
        /// Why
        source: io::Error,
    },
    /// The file cannot be made
    #[error("cannot create {place}: {source}")]
    Create {
        /// Path
        place: String,
        /// Why
        source: io::Error,
    },
}

impl SinkError {
    /// The reader has gone, as `head` does: no failure but a wish to end.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Write { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }

    pub(crate) fn stdout(source: io::Error) -> Self {
        Self::Write { place: "stdout".to_owned(), source }
    }
}
