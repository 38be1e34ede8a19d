//! One event of a connection, as far as it is kept until the end.

use tracer_common::TcpState;

use crate::observation::StateChange;
use crate::record::Step;
use crate::time::MonoNs;

/// Whether a step's sequence numbers and byte counts fit those of the connection's first step that had any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    /// They were not shown
    Unknown,
    /// They fit: it is the same connection, whatever was lost between
    Same,
    /// They do not
    Other,
}

/// A transition, and whether its numbers prove that it belongs to this connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trace {
    pub(crate) at: MonoNs,
    pub(crate) old: TcpState,
    pub(crate) new: TcpState,
    pub(crate) space: Space,
    /// A task held the socket: a segment that came earlier may only have been taken in now
    pub(crate) owned: Option<bool>,
}

impl Trace {
    /// In a place that none has taken yet
    pub(super) const NONE: Self = Self {
        at: MonoNs(0),
        old: TcpState::Close,
        new: TcpState::Close,
        space: Space::Unknown,
        owned: None,
    };

    pub(crate) fn step(&self) -> Step {
        Step { at: self.at, old: self.old, new: self.new }
    }
}

/// snd_una − bytes_acked and rcv_nxt − bytes_received stay what they were at the start, both random and 32 bits wide: a
/// fingerprint of the connection. Before ESTABLISHED the counters may be the previous connection's.
pub(super) fn fingerprint(change: &StateChange) -> Option<(u32, u32)> {
    let opening = matches!(change.old, TcpState::Close | TcpState::Listen)
        || change.old == TcpState::SynSent && change.new != TcpState::Established;
    let tcp = &change.tcp;
    let sent = tcp.snd_una?.wrapping_sub(tcp.bytes_acked? as u32);
    let received = tcp.rcv_nxt?.wrapping_sub(tcp.bytes_received? as u32);
    (!opening).then_some((sent, received))
}
