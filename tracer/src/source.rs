//! Where observations come from. A source knows no sink; the loop in [`crate::run`] stands between them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use finwait_core::Observation;

use crate::probe::ProgramCosts;
use crate::recording::Missing;

mod input;
mod lines;
mod live;
mod paced;
mod pcap;
mod pipe;
mod progress;
mod recording;
mod room;
mod torn;
mod unpacked;

pub use input::FileSource;
pub use live::LiveSource;
pub use paced::PacedSource;
pub use pcap::{CaptureBooks, PcapSource};
pub use progress::WatchedSource;
pub use recording::RecordingError;

/// A stream of observations. The first is always [`Observation::Host`].
pub trait Source {
    /// Appends what there is to `batch`, waiting at most `timeout` for it. What comes with [`Polled::Idle`] may hold
    /// watermarks and counters, so that records fall due on a quiet host too.
    ///
    /// # Errors
    /// When the source is broken for good; what was appended before is valid.
    fn poll(&mut self, batch: &mut Vec<Observation>, timeout: Duration) -> Result<Polled, SourceError>;

    /// As [`Source::poll`], for whoever keeps none of it: lends what there is to `take`, one after another.
    ///
    /// # Errors
    /// As [`Source::poll`].
    fn lend(&mut self, timeout: Duration, take: &mut Take<'_>) -> Result<Polled, SourceError> {
        let mut batch = Vec::new();
        let polled = self.poll(&mut batch, timeout);
        batch.iter().for_each(take);
        polled
    }

    /// Asks for the end: nothing new is taken in, and [`Source::poll`] hands out the rest and the last counters, then
    /// says [`Polled::End`].
    fn close(&mut self);

    /// Input that could not be read, where the source itself reads it.
    fn unread(&self) -> Option<Unread> {
        None
    }

    /// What became of the packets, where the source is a packet capture.
    fn capture(&self) -> Option<&CaptureBooks> {
        None
    }

    /// How much of it is read, where it is a file of a size that is known.
    fn read_share(&self) -> Option<ReadShare> {
        None
    }

    /// What the kernel measures of the programs that observe for this source.
    fn program_costs(&self) -> Option<Arc<ProgramCosts>> {
        None
    }
}

/// Takes observations that are lent to it.
pub type Take<'a> = dyn FnMut(&Observation) + 'a;

/// How much of a file is read, in bytes of the file itself: what is packed counts as it lies there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadShare {
    /// Bytes read
    pub read: u64,
    /// Bytes that it had when it was opened
    pub size: u64,
}

/// What a poll came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// There may be more at once
    Events,
    /// Nothing happened within the timeout
    Idle,
    /// There will never be more
    End,
}

/// Input that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// Lines of a text recording
    Lines(UnreadLines),
    /// Of a binary recording
    Frames(Missing),
    /// Behind the place where a packed file breaks off
    Torn {
        /// The file
        place: String,
        /// What was wrong there
        detail: String,
        /// What else could not be read
        rest: Option<Box<Unread>>,
    },
}

impl Unread {
    /// How much it is, at least.
    #[must_use]
    pub fn count(&self) -> u64 {
        match self {
            Self::Lines(unread) => unread.lines,
            Self::Frames(missing) => missing.count(),
            Self::Torn { rest, .. } => rest.as_ref().map_or(0, |rest| rest.count()).max(1),
        }
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lines(unread) => write!(
                f,
                "{} {} of {} could not be read; the first is line {}: {}",
                unread.lines,
                if unread.lines == 1 { "line" } else { "lines" },
                unread.place,
                unread.first_line,
                unread.detail
            ),
            Self::Frames(missing) => missing.fmt(f),
            Self::Torn { place, detail, rest } => {
                write!(f, "{place} is packed, and cannot be unpacked to its end: {detail}")?;
                rest.as_ref().map_or(Ok(()), |rest| write!(f, "\n{rest}"))
            }
        }
    }
}

/// Lines that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadLines {
    /// How many
    pub lines: u64,
    /// Number of the first, from 1
    pub first_line: u64,
    /// What was wrong with that one
    pub detail: String,
    /// Where
    pub place: String,
}

/// Why a source is broken.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A recording
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// The kernel
    #[error("{0}")]
    Kernel(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl SourceError {
    fn kernel(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Kernel(Box::new(error))
    }
}
