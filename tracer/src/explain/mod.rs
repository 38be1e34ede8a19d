//! What a close record means: a ladder of what passed between the two ends, and sentences that say who did what and who took
//! the time. Pure: records in, an [`Explanation`] out; how it looks is the sink's.
//!
//! Nothing is guessed. Each [`Sentence`] names what it rests on: claims of the record with their evidence, fields, settings
//! of the kernel; or what is not known, and why.

mod ground;
pub mod ladder;
mod names;
pub mod settings;
mod words;

use finwait_core::MonoNs;
use finwait_core::record::{CloseRecord, Endpoint, TimeWaitRecord};

pub use ground::{Basis, Ground, Part};
pub use ladder::{Arrow, Far, Row, Way};
pub(crate) use names::{endpoint, evidence as evidence_name, reason, reset_cause};
pub use settings::{Ports, Setting, Settings};

/// All that is known of one connection's end.
#[derive(Clone, Copy, Debug)]
pub struct Story<'a> {
    /// The end that it is told from
    pub close: &'a CloseRecord,
    /// What that end left behind, where that is over
    pub time_wait: Option<&'a TimeWaitRecord>,
    /// The other end, where it is on this host too
    pub peer: Option<&'a CloseRecord>,
    /// What the other end left behind
    pub peer_time_wait: Option<&'a TimeWaitRecord>,
    /// The kernel's settings, where they are known
    pub settings: Option<&'a Settings>,
}

impl Story<'_> {
    /// It was told by captured packets: no kernel, no program, no call is known.
    fn is_captured(&self) -> bool {
        self.close.captured.is_some()
    }
}

/// A connection, explained.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The end that it is told from, drawn left
    pub near: Party,
    /// The other one
    pub far: Party,
    /// The moment that times are counted from
    pub start: MonoNs,
    /// What passed, in order
    pub steps: Vec<Row>,
    /// What it means, the most important first
    pub sentences: Vec<Sentence>,
}

/// One end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// A process that is known to have opened, accepted or closed it
    pub process: Option<String>,
    /// Address and port
    pub endpoint: String,
    /// It was observed itself
    pub seen: bool,
}

/// One statement, and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// In plain words
    pub text: String,
    /// Never empty
    pub evidence: Vec<Ground>,
}

/// Explains one connection.
#[must_use]
pub fn explain(story: &Story<'_>) -> Explanation {
    let close = story.close;
    Explanation {
        near: Party::of(close, close.local, true),
        far: match story.peer {
            Some(peer) => Party::of(peer, close.remote, true),
            None => Party { process: None, endpoint: endpoint(close.remote), seen: false },
        },
        start: start(story),
        steps: ladder::rows(story),
        sentences: words::sentences(story),
    }
}

impl Party {
    fn of(close: &CloseRecord, end: Endpoint, seen: bool) -> Self {
        Self { process: names::process(close), endpoint: endpoint(end), seen }
    }
}

/// The first event of either end.
fn start(story: &Story<'_>) -> MonoNs {
    let first = |close: &CloseRecord| close.steps.first().map_or(close.last_seen_at, |step| step.at);
    let near = first(story.close);
    story.peer.map_or(near, |peer| near.min(first(peer)))
}

#[cfg(test)]
mod tests;
