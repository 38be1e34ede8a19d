//! From a close record to the rows of its ladder: what passed, which way, when, and what is not known. Nothing is drawn here.

mod ends;
mod open;
mod waves;

use finwait_core::record::{CloseRecord, Dwell, WaveTime};
use finwait_core::{MonoNs, TcpState};

use super::Story;

/// Which way a segment went, seen from the near end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Sent
    Out,
    /// Received
    In,
    /// Not known
    Unknown,
}

/// One segment.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrow {
    /// Which way it went
    pub way: Way,
    /// What it was, such as `FIN, ACK`
    pub label: &'static str,
    /// Which of the four waves, such as `1`, or `2+3` for the two in one; empty for none
    pub waves: &'static str,
    /// When it passed the near end; absent where that is not known
    pub at: Option<WaveTime>,
    /// The state that the near end entered by it, as far as that was seen
    pub state: Option<TcpState>,
    /// What is to be said of it
    pub notes: Vec<String>,
    /// Why its time, or whether it was at all, is not known
    pub unknown: Option<&'static str>,
    /// It came far later than the round trip explains
    pub slow: bool,
    /// The same segment at the other end
    pub far: Option<Far>,
}

/// A segment as the other end saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Far {
    /// When it passed there
    pub at: Option<WaveTime>,
    /// The state entered there
    pub state: Option<TcpState>,
}

/// One row, or two that belong together.
#[derive(Clone, Debug, PartialEq)]
pub enum Row {
    /// A segment
    Arrow(Arrow),
    /// Time goes by
    Gap {
        /// Where, and what for
        text: String,
        /// Far longer than the round trip explains
        slow: bool,
    },
    /// Two segments that passed each other
    Cross {
        /// Ours
        sent: Arrow,
        /// The peer's
        came: Arrow,
        /// The time between the two at the near end
        text: Option<String>,
    },
    /// Something happened at the near end alone
    Point {
        /// When
        at: Option<WaveTime>,
        /// The state after it
        state: &'static str,
        /// What
        text: String,
    },
}

impl Arrow {
    fn new(way: Way, label: &'static str) -> Self {
        Self {
            way,
            label,
            waves: "",
            at: None,
            state: None,
            notes: Vec::new(),
            unknown: None,
            slow: false,
            far: None,
        }
    }
}

/// Every row, in order.
#[must_use]
pub fn rows(story: &Story<'_>) -> Vec<Row> {
    let mut rows = open::rows(story);
    rows.extend(waves::rows(story));
    rows.extend(ends::rows(story));
    rows.extend(ends::afterwards(story));
    rows
}

/// When `state` was entered.
fn entered(close: &CloseRecord, state: TcpState) -> Option<WaveTime> {
    let entry = close.steps.iter().find(|step| step.new == state && step.old != state)?;
    Some(WaveTime::at(entry.at))
}

pub(super) fn passed(close: &CloseRecord, state: TcpState) -> bool {
    close.steps.iter().any(|step| step.new == state)
}

/// The time in `state`; absent where it was not passed through.
pub(super) fn dwell(close: &CloseRecord, state: TcpState) -> Option<&Dwell> {
    close.dwells.iter().find(|dwell| dwell.state == state)
}

/// When it was over; of a capture that does not show that, when the reset passed.
fn closed(close: &CloseRecord) -> Option<WaveTime> {
    let reset = close.captured.as_ref().and_then(|seen| seen.reset);
    close.closed_at.or(reset.map(|reset| reset.at)).map(|at: MonoNs| WaveTime::at(at))
}
