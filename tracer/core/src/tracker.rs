//! The state machine: observations in, records out.

use std::collections::VecDeque;

use crate::accounting::Accounting;
use crate::observation::Observation;
use crate::record::Record;

/// How much the tracker may hold, and how long it waits.
#[derive(Clone, Copy, Debug)]
pub struct TrackerConfig {
    /// Connections followed at once
    pub capacity: usize,
    /// Event time between CLOSE and the close record
    pub settle_ns: u64,
    /// Whether transition records are wanted
    pub transitions: bool,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        Self { capacity: 262_144, settle_ns: 50_000_000, transitions: true }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Tracker {
    records: VecDeque<Record>,
}

impl Tracker {
    /// An empty tracker.
    #[must_use]
    pub fn new(_config: TrackerConfig) -> Self {
        Self { records: VecDeque::new() }
    }

    /// Takes in one observation.
    pub fn observe(&mut self, _observation: &Observation) {}

    /// The next record that is due.
    pub fn next_record(&mut self) -> Option<Record> {
        self.records.pop_front()
    }

    /// The stream is over: whatever has closed is reported.
    pub fn finish(&mut self) {}

    /// The books.
    #[must_use]
    pub fn accounting(&self) -> Accounting {
        Accounting::default()
    }

    /// Connections followed now that have not ended.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        0
    }
}
