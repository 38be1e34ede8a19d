//! What the tracker says: one record for each transition, and one when a connection ends.

use core::net::IpAddr;

use crate::claim::{Claim, Reason, named};
use crate::id::{CgroupId, ConnId, NetNs, Pid, Port};
use crate::observation::{CapturedClose, Comm, Family, ReasonName, StateChange, Task, Workload};
use crate::time::MonoNs;
use core::fmt;
use std::sync::Arc;
use tracer_common::TcpState;

mod both_ends;
mod closing;
mod time_wait;

pub use both_ends::{BothEnds, Contradiction, Side};
pub use closing::{FinOutcome, FinRetransmits, LocalCause, WaveTime, WaveTimes};
pub use time_wait::{TimeWaitEnd, TimeWaitRecord};

/// One statement of the tracker.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A socket changed its state
    Transition(Box<TransitionRecord>),
    /// A connection ended
    Close(Box<CloseRecord>),
    /// What a connection left behind is gone too; comes about a minute after its close record
    TimeWait(Box<TimeWaitRecord>),
    /// A connection within this host ended: both of its ends, in place of their two close records
    BothEnds(Box<BothEnds>),
}

impl Record {
    /// The connection (or listener) that is spoken of; of both ends, the opener's.
    #[must_use]
    pub fn conn_id(&self) -> ConnId {
        match self {
            Self::Transition(record) => record.conn_id,
            Self::Close(record) => record.conn_id,
            Self::TimeWait(record) => record.conn_id,
            Self::BothEnds(record) => record.opener_side.conn_id,
        }
    }
}

/// One end of a connection. IPv4-mapped IPv6 is given as the IPv4 it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Address; absent while not bound or not known
    pub addr: Option<IpAddr>,
    /// Port; likewise
    pub port: Option<Port>,
}

/// A process that is known to have operated on the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Process
    pub tgid: Pid,
    /// Thread
    pub pid: Pid,
    /// Name at that moment
    pub comm: Comm,
    /// CLOCK_BOOTTIME nanosecond of its start
    pub start_boot_ns: Option<u64>,
}

impl From<&Task> for Owner {
    fn from(task: &Task) -> Self {
        Self { tgid: task.tgid, pid: task.pid, comm: task.comm, start_boot_ns: task.start_boot_ns }
    }
}

/// One transition, put into its connection.
#[derive(Clone, Debug, PartialEq)]
pub struct TransitionRecord {
    /// The connection
    pub conn_id: ConnId,
    /// What was observed
    pub change: StateChange,
    /// Local end, filled from other events of the connection where this one lacks it
    pub local: Endpoint,
    /// Remote end, likewise
    pub remote: Endpoint,
    /// The process that made the transition; unknown in softirq and timers
    pub actor: Claim<Owner>,
    /// A process known to own the connection, from any of its events so far
    pub owner: Option<Owner>,
    /// Nanoseconds in the old state
    pub in_old_state_ns: Claim<u64>,
    /// The old state is not the last new one: transitions of this socket are missing before this one
    pub chain_broken: bool,
}

named! {
    /// Which end asked for the connection.
    pub enum Role {
        /// Opened here by connect()
        Opened = "opened",
        /// Accepted from a listener here
        Accepted = "accepted",
        /// Opened here and at the peer at once
        OpenedBoth = "opened_both",
    }
}

named! {
    /// Which end sent the first FIN.
    pub enum FirstCloser {
        /// This end
        Local = "local",
        /// The peer
        Peer = "peer",
        /// Both, before either was acknowledged
        Both = "both",
    }
}

named! {
    /// How a connection ended, as this socket saw it.
    pub enum CloseKind {
        /// FINs exchanged, ours first and acknowledged
        Active = "active",
        /// FINs exchanged, the peer's first, ours acknowledged
        Passive = "passive",
        /// FINs crossed
        Simultaneous = "simultaneous",
        /// A reset ended it; see `reset`
        Reset = "reset",
        /// The kernel gave up waiting; see `timeout`
        TimedOut = "timed_out",
        /// An administrator destroyed the socket (`ss -K`)
        Killed = "killed",
        /// connect() was answered by a reset
        Refused = "refused",
        /// connect() was not answered
        ConnectTimedOut = "connect_timed_out",
        /// The application gave up before an answer
        ConnectCancelled = "connect_cancelled",
        /// connect() found no free local port
        NoFreePort = "no_free_port",
        /// connect() failed another way: see `error`
        ConnectFailed = "connect_failed",
        /// A child that was never accepted, dropped with its listener
        Dropped = "dropped",
    }
}

named! {
    /// Who sent the reset.
    pub enum ResetDirection {
        /// This end
        Sent = "sent",
        /// The peer
        Received = "received",
    }
}

named! {
    /// Why a reset was sent.
    pub enum ResetCause {
        /// close() with SO_LINGER 0
        LingerZero = "so_linger_0",
        /// close() with received data unread
        UnreadData = "unread_data",
        /// connect(AF_UNSPEC)
        Disconnect = "disconnect",
        /// The listener closed before the connection was accepted
        ListenerClosed = "listener_closed",
        /// TCP_LINGER2 below 0: no waiting in FIN_WAIT2
        Linger2 = "tcp_linger2",
        /// Data came after close()
        DataAfterClose = "data_after_close",
        /// Keepalive probes were not answered
        Keepalive = "keepalive",
        /// An administrator destroyed the socket
        Administrator = "administrator",
        /// Another reason of the kernel's: see `reason`
        Kernel = "kernel",
    }
}

named! {
    /// What the kernel gave up waiting for.
    pub enum TimeoutCause {
        /// An answer to keepalive probes
        Keepalive = "keepalive",
        /// An acknowledgement of retransmitted data, while the application held the socket
        Retransmission = "retransmission",
        /// An acknowledgement, after the application had closed
        Orphan = "orphan",
    }
}

named! {
    /// How the second and the third wave travelled.
    pub enum Waves {
        /// The peer's ACK of our FIN and its own FIN in one segment, or ours likewise: three segments
        Three = "three",
        /// In two segments: four
        Four = "four",
    }
}

named! {
    /// What takes the socket's place when it reaches CLOSE.
    pub enum Successor {
        /// TIME_WAIT (whether the kernel had room for its mini-socket is not shown here)
        TimeWait = "time_wait",
        /// Nothing
        Nothing = "nothing",
    }
}

named! {
    /// Where the connection was first seen.
    pub enum SeenFrom {
        /// From its first transition
        Handshake = "handshake",
        /// After it was established
        Middle = "middle",
        /// Only its end
        CloseOnly = "close_only",
    }
}

/// The reset that ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Who sent it
    pub direction: Claim<ResetDirection>,
    /// Why, for one that was sent
    pub cause: Claim<ResetCause>,
    /// Received bytes that the application had not read
    pub unread_bytes: Claim<u32>,
    /// The state it came in
    pub state: TcpState,
    /// The kernel's own name for why it was sent (enum sk_rst_reason, 6.10 and later)
    pub reason: Claim<ReasonName>,
}

/// One transition of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When
    pub at: MonoNs,
    /// State left
    pub old: TcpState,
    /// State entered; the same one again is close() after shutdown()
    pub new: TcpState,
}

/// The time spent in one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dwell {
    /// The state
    pub state: TcpState,
    /// From its first entry to its exit, ns
    pub duration_ns: Claim<u64>,
    /// Bytes that were still to be sent ahead of our FIN when FIN_WAIT1 or LAST_ACK was entered: with any, the FIN left
    /// later than the state began
    pub unsent_bytes: Option<u32>,
    /// Far longer than the round trip explains, and the longest of the close
    pub slow: bool,
}

/// A connection, when it has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct CloseRecord {
    /// The connection
    pub conn_id: ConnId,
    /// The socket's family
    pub family: Family,
    /// Local end
    pub local: Endpoint,
    /// Remote end
    pub remote: Endpoint,
    /// Network namespace
    pub netns: Option<NetNs>,
    /// cgroup; an accepted socket's is its listener's
    pub cgroup: Option<CgroupId>,
    /// What that cgroup is called
    pub workload: Option<Arc<Workload>>,
    /// sk_uid, as last seen
    pub uid: Option<u32>,
    /// sk_mark, as last seen
    pub mark: Option<u32>,
    /// A subflow of an MPTCP connection
    pub is_mptcp: Option<bool>,
    /// When the socket reached CLOSE; absent where that was not seen
    pub closed_at: Option<MonoNs>,
    /// The last event seen of it
    pub last_seen_at: MonoNs,
    /// Where it was first seen
    pub seen_from: SeenFrom,
    /// Which end opened
    pub role: Claim<Role>,
    /// The process that called connect()
    pub opener: Claim<Owner>,
    /// The process that called accept()
    pub acceptor: Claim<Owner>,
    /// The process whose close(), shutdown() or end began this end's close
    pub closer: Claim<Owner>,
    /// A process that had a descriptor of it when the sockets were last listed
    pub holder: Option<Owner>,
    /// What began this end's share of the close
    pub cause: Claim<LocalCause>,
    /// The signal that killed the process, where that is the cause
    pub exit_signal: Option<u8>,
    /// Which end sent the first FIN
    pub first_closer: Claim<FirstCloser>,
    /// How it ended
    pub kind: Claim<CloseKind>,
    /// The reset, where the kind is one
    pub reset: Option<Reset>,
    /// What the kernel gave up on, where the kind is that
    pub timeout: Option<Claim<TimeoutCause>>,
    /// sk_err at the end: errno, 0 is none
    pub error: Claim<i32>,
    /// Three segments or four
    pub waves: Claim<Waves>,
    /// When each wave passed
    pub wave_times: WaveTimes,
    /// Nanoseconds between the first FIN and the second: one direction was still open
    pub half_closed_ns: Claim<u64>,
    /// Payload bytes that went through that direction after the first FIN: received, where ours was first; acknowledged by the
    /// peer, where its was
    pub half_closed_bytes: Claim<u64>,
    /// What was sent again while closing
    pub fin_retransmits: Claim<FinRetransmits>,
    /// What became of our FIN
    pub fin_outcome: Claim<FinOutcome>,
    /// What took the socket's place
    pub successor: Claim<Successor>,
    /// Nanoseconds from the first transition to CLOSE
    pub life_ns: Claim<u64>,
    /// Nanoseconds from SYN_SENT to ESTABLISHED
    pub handshake_ns: Claim<u64>,
    /// Time in each state passed through, in order
    pub dwells: Vec<Dwell>,
    /// Every transition seen, in order
    pub steps: Vec<Step>,
    /// Transitions beyond those that are kept in `steps`
    pub steps_dropped: u32,
    /// Payload bytes that the peer acknowledged
    pub bytes_sent: Claim<u64>,
    /// Payload bytes received
    pub bytes_received: Claim<u64>,
    /// Smoothed round trip at the end, µs
    pub srtt_us: Claim<u32>,
    /// Segments retransmitted in all
    pub total_retrans: Option<u32>,
    /// Since data was last sent, at the first FIN
    pub idle_send_ns: Option<u64>,
    /// Since data was last received, at the first FIN
    pub idle_receive_ns: Option<u64>,
    /// Places where an old state was not the last new one
    pub chain_breaks: u32,
    /// The segments that closed it, where a packet capture shows them
    pub captured: Option<Box<CapturedClose>>,
}

impl CloseRecord {
    /// One of an IPv4 connection of which nothing else is known, for `why`.
    #[must_use]
    pub fn unknown(conn_id: ConnId, why: Reason) -> Self {
        const NOWHERE: Endpoint = Endpoint { addr: None, port: None };
        Self {
            conn_id,
            family: Family::Inet,
            local: NOWHERE,
            remote: NOWHERE,
            netns: None,
            cgroup: None,
            workload: None,
            uid: None,
            mark: None,
            is_mptcp: None,
            closed_at: None,
            last_seen_at: MonoNs(0),
            seen_from: SeenFrom::Middle,
            role: Claim::Unknown(why),
            opener: Claim::Unknown(why),
            acceptor: Claim::Unknown(why),
            closer: Claim::Unknown(why),
            holder: None,
            cause: Claim::Unknown(why),
            exit_signal: None,
            first_closer: Claim::Unknown(why),
            kind: Claim::Unknown(why),
            reset: None,
            timeout: None,
            error: Claim::Unknown(why),
            waves: Claim::Unknown(why),
            wave_times: WaveTimes { waves: [Claim::Unknown(why); 4], slow: None },
            half_closed_ns: Claim::Unknown(why),
            half_closed_bytes: Claim::Unknown(why),
            fin_retransmits: Claim::Unknown(why),
            fin_outcome: Claim::Unknown(why),
            successor: Claim::Unknown(why),
            life_ns: Claim::Unknown(why),
            handshake_ns: Claim::Unknown(why),
            dwells: Vec::new(),
            steps: Vec::new(),
            steps_dropped: 0,
            bytes_sent: Claim::Unknown(why),
            bytes_received: Claim::Unknown(why),
            srtt_us: Claim::Unknown(why),
            total_retrans: None,
            idle_send_ns: None,
            idle_receive_ns: None,
            chain_breaks: 0,
            captured: None,
        }
    }
}
