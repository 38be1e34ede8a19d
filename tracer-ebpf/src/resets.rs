//! Resets: `tcp_send_reset(sk, skb[, reason])` and `tcp_receive_reset(sk)`.
//!
//! The sender's socket may be of any kind, or none: a segment that fits no socket is answered as well.

use aya_ebpf::programs::BtfTracePointContext;
use tracer_common::{Field, PROGRAM_RECEIVE_RESET, PROGRAM_SEND_RESET, feature};

use crate::{
    consts,
    emit::hooks,
    hook::Run,
    object::Object,
    subject::{self, Identity},
    task::Task,
};

/// A reset.
pub(crate) struct Reset {
    pub(crate) identity: Identity,
    /// Only where it holds the socket.
    pub(crate) task: Option<Task>,
    /// enum sk_rst_reason, where the tracepoint tells.
    pub(crate) reason: Option<u32>,
    pub(crate) answers_segment: bool,
}

/// `None` where the per-CPU entry is missing.
#[inline(always)]
pub(crate) fn sent(context: &BtfTracePointContext) -> Option<()> {
    let run = Run::enter(PROGRAM_SEND_RESET)?;
    if let Some(reset) = described(context, &run)
        && reset.identity.passes()
    {
        hooks::reset(&run, &reset);
    }
    run.leave();
    Some(())
}

/// `None` where the per-CPU entry is missing.
#[inline(always)]
pub(crate) fn received(context: &BtfTracePointContext) -> Option<()> {
    let run = Run::enter(PROGRAM_RECEIVE_RESET)?;
    // SAFETY: the tracepoint's argument is a full socket.
    let sk = unsafe { Object::new(context.arg(0)) };
    if let Some(tcp) = subject::tcp_of(sk) {
        let identity = Identity::full(sk, tcp);
        if identity.passes() {
            hooks::reset(&run, &Reset { identity, task: holder(sk), reason: None, answers_segment: true });
        }
    }
    run.leave();
    Some(())
}

#[inline(always)]
fn described(context: &BtfTracePointContext, run: &Run) -> Option<Reset> {
    let (socket, segment): (*const u8, *const u8) = (context.arg(0), context.arg(1));
    // The argument is only there in newer kernels: elsewhere the verifier refuses to read it, unless it is cut out.
    let reason =
        if consts::feature(feature::RESET_REASON) { Some(context.arg::<u64>(2) as u32) } else { None };
    let answers_segment = !run.is_null(segment);
    if run.is_null(socket) || socket.is_null() {
        let netns = if answers_segment { segment_netns(segment) } else { 0 };
        return Some(Reset { identity: Identity::none(netns), task: None, reason, answers_segment });
    }
    // SAFETY: the tracepoint's first argument, not null.
    let sk = unsafe { Object::new(socket) };
    if let Some(kind) = subject::small_kind(sk) {
        return Some(Reset { identity: Identity::small(sk, kind), task: None, reason, answers_segment });
    }
    let tcp = subject::tcp_of(sk)?;
    Some(Reset { identity: Identity::full(sk, tcp), task: holder(sk), reason, answers_segment })
}

/// The current task, where it holds the socket.
#[inline(always)]
fn holder(sk: Object) -> Option<Task> {
    if sk.read::<u32>(Field::LockOwned) != 0 { Some(Task::current()) } else { None }
}

/// The network namespace of the device that a segment came by; 0 if it has none.
#[inline(always)]
fn segment_netns(segment: *const u8) -> u32 {
    if segment.is_null() {
        return 0;
    }
    // SAFETY: the tracepoint's second argument, not null.
    let segment = unsafe { Object::new(segment) };
    let net = || segment.follow(Field::SegmentDevice)?.follow(Field::DeviceNet);
    match net() {
        Some(net) => net.read(Field::NetnsInum),
        None => 0,
    }
}
