//! A span in summary: how connections ended, who closed first, how long each closing state lasted, what is stuck, what idle timers
//! look like, what TIME_WAIT costs, what was missed; and two spans side by side.
//!
//! * [`ReportSink`] takes records and gives a [`Report`]; [`compare`] says in what two differ beyond noise
//! * [`document`] lays a report out; [`render`] writes that as text or Markdown, [`json`] as `finwait.report/1`

pub mod compare;
pub mod document;
mod gather;
mod idle;
pub mod json;
pub mod render;

use std::sync::Arc;

use finwait_core::observation::Host;
use finwait_core::record::{FirstCloser, Role};
use finwait_core::{PortSpace, TcpState, WallNs};

use crate::explain::Settings;
use crate::sink::Verdict;
use crate::stats::{Summary, Unproven};

pub use gather::ReportSink;
pub use idle::IdleCluster;

/// See the module.
#[derive(Clone, Debug)]
pub struct Report {
    /// The host
    pub host: Option<Host>,
    /// When the span began
    pub from: Option<WallNs>,
    /// How long it was, in event time of a recording
    pub duration_ns: Option<u64>,
    /// Every connection
    pub all: Summary,
    /// The same by service, most closes first
    pub services: Vec<Service>,
    /// Durations that are in no distribution
    pub unproven: Arc<Unproven>,
    /// What was closing when the span ended, most first
    pub stuck: Vec<StuckGroup>,
    /// Silences after which connections were closed, most first
    pub idle: Vec<IdleCluster>,
    /// What TIME_WAIT cost
    pub debt: TimeWaitDebt,
    /// The kernel's settings, where the stream has them
    pub settings: Option<Settings>,
    /// The books
    pub verdict: Verdict,
}

/// What came to one service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Which end opened
    pub role: String,
    /// Port of the end that accepted
    pub port: String,
    /// Its summary
    pub summary: Arc<Summary>,
}

impl Service {
    /// `accepted :443`, `opened :5432`
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} :{}", self.role, self.port)
    }
}

/// Connections that were in a closing state when the span ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StuckGroup {
    /// The state
    pub state: TcpState,
    /// Name of a process that is known to own them
    pub process: Option<String>,
    /// How many
    pub count: u64,
    /// How long the oldest had been in it, at least
    pub oldest_ns: u64,
    /// It had been in it before it was seen
    pub oldest_is_minimum: bool,
}

/// What TIME_WAIT cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TimeWaitDebt {
    /// Whether time-wait sockets are watched
    pub watched: bool,
    /// Closes that left one, by which end opened; `None`: not known
    pub left: Vec<(Option<Role>, u64)>,
    /// Where most ephemeral ports were taken by TIME_WAIT at once, most first
    pub most: Vec<PortPeak>,
}

/// The most ports that were taken at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortPeak {
    /// Where
    pub space: PortSpace,
    /// By time-wait sockets
    pub time_wait: u32,
    /// By them and by open connections
    pub taken: u32,
}

/// `this end`, `the peer`, `both`
pub(crate) const fn first_closer(first: FirstCloser) -> &'static str {
    match first {
        FirstCloser::Local => "this end",
        FirstCloser::Peer => "the peer",
        FirstCloser::Both => "both at once",
    }
}

#[cfg(test)]
mod tests;
