//! The record of a time-wait socket: what a connection left behind when its socket was gone.

use crate::claim::{Claim, named};
use crate::id::{CgroupId, ConnId, NetNs};
use crate::observation::{Family, TimeWaitSource};
use crate::record::{Endpoint, Owner, WaveTime};
use core::fmt;

named! {
    /// Why a time-wait socket ended.
    pub enum TimeWaitEnd {
        /// Its 2MSL were over
        Expired = "expired",
        /// Still in FIN_WAIT2: the peer's FIN never came (tcp_fin_timeout, or TCP_LINGER2)
        FinWait2TimedOut = "fin_wait2_timed_out",
        /// connect() took its place
        ReusedByConnect = "reused_by_connect",
        /// A SYN took its place
        ReusedBySyn = "reused_by_syn",
        /// The peer's reset
        ResetReceived = "reset_received",
        /// Data came for it and was answered by a reset
        LateData = "late_data",
        /// An administrator destroyed it
        Killed = "killed",
        /// Its network namespace ended
        NamespaceGone = "namespace_gone",
        /// There was no room for it (tcp_max_tw_buckets, or memory): it never was
        NeverAllocated = "never_allocated",
    }
}

/// What became of a connection after its socket was gone. Comes when that is over, or when the table is full or the run
/// ends: then `end` is unknown.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeWaitRecord {
    /// The connection: the same as in its close record
    pub conn_id: ConnId,
    /// The socket's family
    pub family: Family,
    /// Local end
    pub local: Endpoint,
    /// Remote end
    pub remote: Endpoint,
    /// Network namespace
    pub netns: Option<NetNs>,
    /// cgroup of the socket
    pub cgroup: Option<CgroupId>,
    /// By what it was seen
    pub source: TimeWaitSource,
    /// When the mini-socket began, in whichever state
    pub began: Claim<WaveTime>,
    /// It began in FIN_WAIT2, before the peer's FIN
    pub from_fin_wait2: Claim<bool>,
    /// When TIME_WAIT was entered: the peer's FIN came
    pub entered: Claim<WaveTime>,
    /// When it ended
    pub ended: Claim<WaveTime>,
    /// Why
    pub end: Claim<TimeWaitEnd>,
    /// Nanoseconds of FIN_WAIT2 inside the mini-socket, at least and at most
    pub fin_wait2_ns: Claim<(u64, u64)>,
    /// Nanoseconds of TIME_WAIT, at least and at most
    pub time_wait_ns: Claim<(u64, u64)>,
    /// For how long its timer was last set
    pub timeout_ns: Option<u64>,
    /// How often its timer was set anew by a segment that came again
    pub rearmed: Option<u32>,
    /// The process that took its place or destroyed it
    pub ended_by: Claim<Owner>,
}
