//! Retransmissions of closing sockets: `tcp_retransmit_skb(sk, skb[, err])`. Those of open connections are left out at
//! once: a lossy network has many, and they say nothing about the close.

use aya_ebpf::programs::BtfTracePointContext;
use tracer_common::{Field, PROGRAM_RETRANSMIT, TcpState, feature};

use crate::{
    consts,
    emit::hooks,
    hook::Run,
    object::Object,
    subject::{self, Identity},
};

/// A retransmission.
pub(crate) struct Retransmit {
    pub(crate) identity: Identity,
    /// tcp_skb_cb.tcp_flags, the low byte.
    pub(crate) flags: u8,
    /// icsk_pending.
    pub(crate) pending: u8,
    /// Whether it could not be sent, where the tracepoint tells.
    pub(crate) failed: Option<bool>,
}

/// `None` where the per-CPU entry is missing.
#[inline(always)]
pub(crate) fn retransmit(context: &BtfTracePointContext) -> Option<()> {
    // SAFETY: the tracepoint's first argument is a full socket.
    let sk = unsafe { Object::new(context.arg(0)) };
    if !is_closing(sk) {
        return Some(());
    }
    let run = Run::enter(PROGRAM_RETRANSMIT)?;
    if let Some(tcp) = subject::tcp_of(sk) {
        // SAFETY: the second argument is the segment.
        let segment = unsafe { Object::new(context.arg(1)) };
        let event = Retransmit {
            identity: Identity::full(sk, tcp),
            // A byte until 6.15, two since: the low byte comes first on the little-endian machines we run on.
            flags: segment.read_within(Field::SegmentControl, Field::SegmentFlags),
            pending: tcp.read(Field::Pending),
            failed: if consts::feature(feature::RETRANSMIT_ERR) {
                Some(context.arg::<u64>(2) as u32 != 0)
            } else {
                None
            },
        };
        if event.identity.passes() {
            hooks::retransmit(&run, &event);
        }
    }
    run.leave();
    Some(())
}

/// Our FIN is queued or sent, and not acknowledged.
#[inline(always)]
fn is_closing(sk: Object) -> bool {
    let state: u8 = sk.read(Field::State);
    state == TcpState::FinWait1.raw() || state == TcpState::Closing.raw() || state == TcpState::LastAck.raw()
}
