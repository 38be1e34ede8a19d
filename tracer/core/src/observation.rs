//! What a source may tell the tracker. Recordings hold exactly these, one JSON object a line, so every type here
//! reads back what it writes. A field that a kernel or tier does not have is `None`, never a zero.

use core::net::IpAddr;

use serde::{Deserialize, Serialize};
use tracer_common::TcpState;

use crate::id::{BootId, CgroupId, Cookie, NetNs, Pid, Port, SockAddr};
use crate::time::{ClockPair, MonoNs};

mod captured;
mod comm;
mod hooks;
mod reason_name;
mod resumed;
mod sockets;
mod state_name;
mod sysctls;
mod workload;

pub use captured::{CapturedClose, SeenSegment};
pub use comm::Comm;
pub use hooks::{
    AcceptEvent, CallSite, Hooks, ResetEvent, RetransmitCause, RetransmitEvent, SocketKind, Subject,
    TimeWaitChange, TimeWaitEvent, TimeWaitSource,
};
pub use reason_name::ReasonName;
pub use resumed::{Numbered, Resumed};
pub use sockets::{CgroupNames, DumpBegin, DumpEnd, DumpScope, SocketRow};
pub use sysctls::{PortBounds, Sysctls};
pub use workload::Workload;

/// One thing that was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "observation", rename_all = "snake_case")]
pub enum Observation {
    /// Where the observations come from; the first of every stream.
    Host(Box<Host>),
    /// Both clocks, to show wall times.
    Clock(ClockPair),
    /// A socket changed its state.
    StateChange(Box<StateChange>),
    /// No event before this moment can still come.
    Watermark(Watermark),
    /// What the source's counters stood at.
    Counters(Box<Counters>),
    /// A reset was sent or taken in.
    Reset(Box<ResetEvent>),
    /// A segment of a closing connection was sent again.
    Retransmit(Box<RetransmitEvent>),
    /// A process accepted a connection.
    Accept(Box<AcceptEvent>),
    /// Something happened to a time-wait socket.
    TimeWait(Box<TimeWaitEvent>),
    /// A dump of the sockets begins.
    DumpBegin(DumpBegin),
    /// A socket that was there.
    Socket(Box<SocketRow>),
    /// The dump is complete.
    DumpEnd(DumpEnd),
    /// What a cgroup is called.
    Cgroup(Box<CgroupNames>),
    /// What follows is the rest of a stream.
    Resumed(Box<Resumed>),
}

/// They come in batches of hundreds.
const _: () = assert!(size_of::<Observation>() <= 40);

impl Observation {
    /// When it happened; `None` for what only describes.
    #[must_use]
    pub fn at(&self) -> Option<MonoNs> {
        match self {
            Self::Host(host) => Some(host.since),
            Self::StateChange(change) => Some(change.at),
            Self::Watermark(watermark) => Some(watermark.at),
            Self::Reset(event) => Some(event.at),
            Self::Retransmit(event) => Some(event.at),
            Self::Accept(event) => Some(event.at),
            Self::TimeWait(event) => Some(event.at),
            Self::Clock(_)
            | Self::Counters(_)
            | Self::DumpBegin(_)
            | Self::Socket(_)
            | Self::DumpEnd(_)
            | Self::Cgroup(_)
            | Self::Resumed(_) => None,
        }
    }
}

/// The host and how it is observed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Version of this stream's schema, [`SCHEMA`].
    pub schema: u32,
    /// Boot that cookies and times belong to
    pub boot_id: BootId,
    /// uname -r
    pub kernel: String,
    /// Which hook delivers transitions
    pub tier: Tier,
    /// When observing began
    #[serde(rename = "time_ns")]
    pub since: MonoNs,
    /// Receive packet steering is on for some interface; `None` where that is not known
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rps: Option<bool>,
    /// The kernel drops transitions by port or family. It has to let pass those that come before ports and addresses are
    /// settled, so a connection may never get past its handshake here; that is no loss
    #[serde(default)]
    pub filtered: bool,
    /// Which hooks beyond the transitions are in force
    #[serde(default)]
    pub hooks: Hooks,
    /// Settings that say how long the kernel keeps what is closing
    #[serde(default, skip_serializing_if = "Sysctls::is_empty")]
    pub sysctls: Sysctls,
}

/// Schema number of the observation stream.
pub const SCHEMA: u32 = 1;

/// The hook that delivers transitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// BTF-typed raw tracepoint with its shadow
    TpBtf,
    /// Classic tracepoint: no cookie, no process, no socket internals
    Classic,
    /// No kernel: both ends' states are inferred from captured packets
    Capture,
}

/// See [`Observation::Watermark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    /// The moment
    #[serde(rename = "time_ns")]
    pub at: MonoNs,
}

/// Totals since the start, read before the ring was found empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// When they were read
    #[serde(rename = "time_ns")]
    pub at: MonoNs,
    /// Transitions counted by the kernel programs before the ring was asked for room
    pub transitions: u64,
    /// Records that found no room in the ring
    pub lost_ring: u64,
    /// Transitions of interest that the main program was skipped for; `None` where the kernel cannot count them
    pub recursion_missed: Option<u64>,
    /// Those of them that the shadow program reported; `None` likewise
    pub rescued: Option<u64>,
    /// Records that could not be read: unknown version, length or state
    pub decode_errors: u64,
    /// What the hooks beyond the transitions saw and could not report: no room in the ring, or a run that was skipped
    #[serde(default)]
    pub hooks_lost: u64,
}

/// Which counter numbered a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stream {
    /// CPU
    pub cpu: u16,
    /// Program
    pub program: Program,
    /// Nesting depth on that CPU, 0 to 3
    pub depth: u8,
}

/// The kernel program that made a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    /// The tp_btf program that sees nearly everything
    Prime,
    /// Its shadow: sees what prime was skipped for, and now and then repeats what it was not
    Shadow,
    /// The second shadow, where tasks are preempted inside programs: sees what both were skipped for
    Shadow2,
    /// The third shadow
    Shadow3,
    /// The classic tracepoint program
    Classic,
    /// No program: inferred from a packet capture
    Capture,
    /// tcp:tcp_send_reset
    SendReset,
    /// tcp:tcp_receive_reset
    ReceiveReset,
    /// tcp:tcp_retransmit_skb
    Retransmit,
    /// fentry on security_sock_graft
    Accept,
    /// fentry on tcp_time_wait
    TimeWaitAsk,
    /// fentry on __inet_twsk_schedule
    TimeWaitArm,
    /// fentry on inet_twsk_kill
    TimeWaitKill,
    /// timer:timer_start
    TimerStart,
    /// timer:timer_cancel
    TimerCancel,
    /// timer:timer_expire_entry
    TimerExpire,
}

impl Program {
    /// Whether it reports transitions; the others complete what these tell.
    #[must_use]
    pub fn reports_transitions(self) -> bool {
        matches!(
            self,
            Self::Prime | Self::Shadow | Self::Shadow2 | Self::Shadow3 | Self::Classic | Self::Capture
        )
    }
}

/// IP version of the socket, not of the addresses: an IPv6 socket may speak IPv4 through mapped addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// AF_INET
    Inet,
    /// AF_INET6
    Inet6,
}

/// The task that ran while it held the socket's lock: it operated on this socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Process
    pub tgid: Pid,
    /// Thread
    pub pid: Pid,
    /// Name, at most 15 bytes
    pub comm: Comm,
    /// CLOCK_BOOTTIME nanosecond of the thread's start
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_boot_ns: Option<u64>,
    /// A kernel thread (PF_KTHREAD): works on others' behalf
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kthread: Option<bool>,
    /// On its way out (PF_EXITING)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exiting: Option<bool>,
    /// The signal that ends it (`task_struct.exit_code`, low 7 bits), where it is on its way out; 0 is a plain exit
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_signal: Option<u8>,
}

/// struct sock's flags that matter when a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SockFlags {
    /// SOCK_DEAD: no descriptor refers to the socket
    pub dead: bool,
    /// SOCK_DONE: the peer's FIN was received
    pub done: bool,
    /// SOCK_LINGER: SO_LINGER is on
    pub linger: bool,
}

/// sk_shutdown: the directions that the application closed or the peer's FIN ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shutdown {
    /// RCV_SHUTDOWN
    pub receive: bool,
    /// SEND_SHUTDOWN
    pub send: bool,
}

/// One transition of one socket, with all the kernel showed at that moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateChange {
    /// When: read before the record entered the ring
    #[serde(rename = "time_ns")]
    pub at: MonoNs,
    /// Which counter numbered the record
    #[serde(flatten)]
    pub stream: Stream,
    /// Number in that stream, from 1; a record that found no room took a number too
    pub seq: u64,
    /// State being left
    #[serde(with = "state_name")]
    pub old: TcpState,
    /// State being entered
    #[serde(with = "state_name")]
    pub new: TcpState,
    /// The socket's family
    pub family: Family,
    /// The socket's cookie. Up to 6.12 a child still shows its listener's on LISTEN → SYN_RECV.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<Cookie>,
    /// Address of struct sock
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sock_addr: Option<SockAddr>,
    /// Local address
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_addr: Option<IpAddr>,
    /// Remote address
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_addr: Option<IpAddr>,
    /// inet_sport: right at the end of a connection, may be the previous connection's at CLOSE → SYN_SENT
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inet_sport: Option<Port>,
    /// skc_num: absent once the port was given back
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num: Option<Port>,
    /// Remote port
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dport: Option<Port>,
    /// Network namespace
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<NetNs>,
    /// The socket's cgroup: an accepted one carries its listener's
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<CgroupId>,
    /// Inode number of the socket's file: absent before accept() and after close()
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inode: Option<u64>,
    /// sk_uid
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// sk_mark
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<u32>,
    /// sk_lock.owned: the current task holds the socket. Where it does not, the current task is a bystander.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_owned: Option<bool>,
    /// The task, only where it held the socket
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Flags
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags: Option<SockFlags>,
    /// sk_shutdown
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shutdown: Option<Shutdown>,
    /// sk_lingertime
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linger_ns: Option<u64>,
    /// sk_err: errno, 0 is "no error"
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub err: Option<i32>,
    /// sk_err_soft
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub err_soft: Option<i32>,
    /// The segments of the close, at → CLOSE of a packet capture
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captured: Option<Box<CapturedClose>>,
    /// struct tcp_sock's share
    #[serde(flatten)]
    pub tcp: TcpFields,
}

impl StateChange {
    /// A transition of which nothing is known but that it was made: number 0 of its stream, of an IPv4 socket.
    #[must_use]
    pub fn bare(at: MonoNs, stream: Stream, (old, new): (TcpState, TcpState)) -> Self {
        Self {
            at,
            stream,
            seq: 0,
            old,
            new,
            family: Family::Inet,
            cookie: None,
            sock_addr: None,
            local_addr: None,
            remote_addr: None,
            inet_sport: None,
            num: None,
            dport: None,
            netns: None,
            cgroup: None,
            inode: None,
            uid: None,
            mark: None,
            lock_owned: None,
            task: None,
            flags: None,
            shutdown: None,
            linger_ns: None,
            err: None,
            err_soft: None,
            captured: None,
            tcp: TcpFields::default(),
        }
    }
}

/// What struct tcp_sock and struct inet_connection_sock showed. Sequence numbers wrap at 2³².
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TcpFields {
    /// TCP_LINGER2; below 0: no FIN_WAIT2 after close()
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linger2: Option<i32>,
    /// Oldest unacknowledged sequence number
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snd_una: Option<u32>,
    /// Next sequence number to send
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snd_nxt: Option<u32>,
    /// End of what the application wrote, the FIN included once queued
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_seq: Option<u32>,
    /// Next sequence number expected
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rcv_nxt: Option<u32>,
    /// rcv_nxt as of the last acknowledgement sent
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rcv_wup: Option<u32>,
    /// Head of what the application has not read
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copied_seq: Option<u32>,
    /// tcp_clock_cache: refreshed once for each segment processed
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_cache_ns: Option<u64>,
    /// bytes_acked: counts our SYN on the active opener, and our FIN once acknowledged
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_acked: Option<u64>,
    /// bytes_received: counts the peer's FIN
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_received: Option<u64>,
    /// Smoothed round trip, µs
    #[serde(skip_serializing_if = "Option::is_none")]
    pub srtt_us: Option<u32>,
    /// Retransmission timeout
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rto_ns: Option<u64>,
    /// Since data was last sent
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_send_ns: Option<u64>,
    /// Since data was last received
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_receive_ns: Option<u64>,
    /// Segments retransmitted in all
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_retrans: Option<u32>,
    /// Timeouts in a row without progress
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retransmits: Option<u8>,
    /// Probes without an answer
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes_out: Option<u8>,
    /// Bytes that the peer's window still offered when it was last told
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snd_wnd: Option<u32>,
    /// A subflow of an MPTCP connection
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_mptcp: Option<bool>,
}
