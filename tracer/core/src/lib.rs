//! finwait's core: observations in, records out.
//!
//! A pure state machine. It reads no clock and does no I/O: all time comes in with the observations, so a replay
//! decides exactly what the live run decided. What it says of a connection is a [`Claim`]: a value with the
//! evidence that proves it, or unknown with the reason.
//!
//! * [`observation`]: what a source may tell the tracker
//! * [`tracker`]: the state machine; [`record`]: what it says
//! * [`pairing`]: joins the two ends of a connection within one host
//! * [`claim`]: values with their evidence
#![forbid(unsafe_code)]

pub mod accounting;
pub mod claim;
mod close;
mod endpoint;
pub mod id;
pub mod observation;
pub mod pairing;
pub mod record;
#[cfg(test)]
mod testing;
pub mod time;
pub mod tracker;

pub use accounting::Accounting;
pub use claim::{Claim, Evidence, EvidenceSet, Reason};
pub use id::{BootId, CgroupId, ConnId, Cookie, NetNs, Pid, Port, SockAddr, SocketKey};
pub use observation::{Observation, StateChange};
pub use record::Record;
pub use time::{ClockPair, MonoNs, WallNs};
pub use tracer_common::TcpState;
pub use tracker::{
    ClosingConnection, Fates, GroupId, GroupPopulation, Grouping, OpenConnection, PortSpace, PortsTaken,
    Tracker, TrackerConfig,
};
