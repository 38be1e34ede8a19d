//! What the hooks beyond the transitions see: resets, retransmissions, accepted sockets, time-wait sockets.
//!
//! They complete a connection's record and never begin a connection. Each is a hook of its own that a kernel or an
//! administrator may do without: [`Hooks`] says which are in force, so that an absence can be told from blindness.

use core::net::IpAddr;

use serde::{Deserialize, Serialize};
use tracer_common::TcpState;

use super::{ReasonName, Stream, Task, state_name};
use crate::id::{Cookie, NetNs, Port, SockAddr};
use crate::time::MonoNs;

/// Which hooks are in force. One that is not proves nothing by its silence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hooks {
    /// tcp:tcp_send_reset
    pub resets_sent: bool,
    /// Its reason argument (6.10 and later)
    pub reset_reasons: bool,
    /// tcp:tcp_receive_reset
    pub resets_received: bool,
    /// tcp:tcp_retransmit_skb, while closing
    pub retransmits: bool,
    /// fentry on security_sock_graft
    pub accepts: bool,
    /// Where time-wait sockets are seen
    pub time_wait: TimeWaitSource,
    /// Dumps of the sockets that there are
    pub sockets: bool,
}

/// Where time-wait sockets are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeWaitSource {
    /// Nowhere
    #[default]
    Off,
    /// fentry on tcp_time_wait, __inet_twsk_schedule and inet_twsk_kill
    Fentry,
    /// The timer tracepoints, filtered on tw_timer_handler
    Timer,
    /// Repeated dumps
    Sweep,
}

/// What the kernel's pointer led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketKind {
    /// struct tcp_sock
    Full,
    /// struct tcp_timewait_sock
    TimeWait,
    /// struct request_sock
    Request,
    /// No socket at all: a segment that fits none
    None,
}

/// The socket that a hook was called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// What it is
    pub kind: SocketKind,
    /// Its cookie; a time-wait socket carries its predecessor's
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<Cookie>,
    /// Its address: a time-wait socket's differs from its predecessor's
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sock_addr: Option<SockAddr>,
    /// Network namespace
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<NetNs>,
    /// Local address
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_addr: Option<IpAddr>,
    /// Local port
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_port: Option<Port>,
    /// Remote address
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_addr: Option<IpAddr>,
    /// Remote port
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_port: Option<Port>,
}

/// A reset was sent, or taken in (`tcp_send_reset`, `tcp_receive_reset`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResetEvent {
    /// When
    #[serde(rename = "time_ns")]
    pub at: MonoNs,
    /// Which counter numbered the record: its program tells the direction
    #[serde(flatten)]
    pub stream: Stream,
    /// Number in that stream
    pub seq: u64,
    /// The socket
    #[serde(flatten)]
    pub subject: Subject,
    /// sk_state at that moment
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_state")]
    pub state: Option<TcpState>,
    /// Sent in answer to a segment (an skb was given), rather than on the kernel's own account
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers_segment: Option<bool>,
    /// enum sk_rst_reason by its name in the running kernel, without the prefix
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<ReasonName>,
    /// The task, only where it held the socket
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
}

/// What made the kernel send a segment again (`icsk_pending` at `__tcp_retransmit_skb`: cleared before the
/// retransmission timer's work, not yet before the probe's).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetransmitCause {
    /// The retransmission timer
    Timeout,
    /// A tail-loss probe (RFC 8985, section 7)
    LossProbe,
    /// An acknowledgement told of a loss, or the reordering timer
    Recovery,
}

/// A segment of a closing connection was sent again (`tcp_retransmit_skb`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetransmitEvent {
    /// When
    #[serde(rename = "time_ns")]
    pub at: MonoNs,
    /// Which counter numbered the record
    #[serde(flatten)]
    pub stream: Stream,
    /// Number in that stream
    pub seq: u64,
    /// The socket
    #[serde(flatten)]
    pub subject: Subject,
    /// sk_state at that moment
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_state")]
    pub state: Option<TcpState>,
    /// The segment carried our FIN
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fin: Option<bool>,
    /// Why
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<RetransmitCause>,
    /// The kernel could not send it (6.17 and later tell)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<bool>,
}

/// accept() gave a socket to a process (`security_sock_graft`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AcceptEvent {
    /// When
    #[serde(rename = "time_ns")]
    pub at: MonoNs,
    /// Which counter numbered the record
    #[serde(flatten)]
    pub stream: Stream,
    /// Number in that stream
    pub seq: u64,
    /// The accepted socket
    #[serde(flatten)]
    pub subject: Subject,
    /// The process that called accept()
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
}

/// What happened to a time-wait socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeWaitChange {
    /// A full socket asked for it (`tcp_time_wait`): the subject is that socket. Only fentry shows it
    Asked,
    /// Its timer was set: for the first time, after the peer's FIN, or after a segment that came again
    Armed,
    /// Its timer was taken off before it ran out: it ends unless it is armed again
    Disarmed,
    /// Its timer ran out
    Expired,
}

/// From where a time-wait socket was ended early: the innermost known function on the kernel's stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallSite {
    /// tcp_timewait_state_process: a reset came for it
    Segment,
    /// tcp_v4_rcv, tcp_v6_rcv: a SYN took its place, or data came for it and was answered by a reset
    Receive,
    /// __inet_check_established, __inet6_check_established: connect() took its place
    Connect,
    /// tcp_abort, inet_diag: an administrator
    Abort,
    /// inet_twsk_purge: the namespace's end
    Purge,
    /// __inet_twsk_schedule: it is only armed again
    Rearm,
    /// None of these
    Other,
}

/// Something happened to a time-wait socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimeWaitEvent {
    /// When
    #[serde(rename = "time_ns")]
    pub at: MonoNs,
    /// Which counter numbered the record
    #[serde(flatten)]
    pub stream: Stream,
    /// Number in that stream
    pub seq: u64,
    /// What
    pub change: TimeWaitChange,
    /// The time-wait socket, or for `Asked` the full one
    #[serde(flatten)]
    pub subject: Subject,
    /// tw_substate, or the state asked for: TIME_WAIT or FIN_WAIT2
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_state")]
    pub substate: Option<TcpState>,
    /// For how long its timer was set
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ns: Option<u64>,
    /// From where, for `Disarmed`; absent where symbols are hidden
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<CallSite>,
    /// The current task, for `Disarmed` from connect() or by an administrator; elsewhere it is a bystander
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
}

mod optional_state {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};
    use tracer_common::TcpState;

    // serde hands the field over by reference.
    #[allow(clippy::ref_option, clippy::trivially_copy_pass_by_ref)]
    pub(super) fn serialize<S: Serializer>(
        state: &Option<TcpState>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match state {
            Some(state) => super::state_name::serialize(state, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<TcpState>, D::Error> {
        match Option::<std::borrow::Cow<'de, str>>::deserialize(deserializer)? {
            Some(name) => TcpState::from_name(&name)
                .map(Some)
                .ok_or_else(|| D::Error::custom(format!("no TCP state is called {name:?}"))),
            None => Ok(None),
        }
    }
}
