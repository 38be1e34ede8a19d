//! Time-wait sockets by fentry: asked for (`tcp_time_wait`), armed (`__inet_twsk_schedule`), ended (`inet_twsk_kill`).

use aya_ebpf::{EbpfContext, helpers::generated, programs::FEntryContext};
use tracer_common::{
    CHANGE_ARMED, CHANGE_ASKED, CHANGE_DISARMED, CHANGE_EXPIRED, Field, PROGRAM_TIME_WAIT_ARM,
    PROGRAM_TIME_WAIT_ASK, PROGRAM_TIME_WAIT_KILL,
};

use crate::{
    emit::hooks::{self, Stack},
    hook::Run,
    object::Object,
    subject::{self, Identity},
};

/// What happened to a time-wait socket.
pub(crate) struct TimeWait {
    pub(crate) identity: Identity,
    pub(crate) change: u8,
    /// For how long its timer was set, where it was.
    pub(crate) timeout_jiffies: Option<u64>,
    /// From where, together with the task.
    pub(crate) stack: Option<Stack>,
}

/// `tcp_time_wait(sk, state, timeo)`. `None` where the per-CPU entry is missing.
#[inline(always)]
pub(crate) fn ask(context: &FEntryContext) -> Option<()> {
    let run = Run::enter(PROGRAM_TIME_WAIT_ASK)?;
    // SAFETY: the function's first argument is a full socket.
    let sk = unsafe { Object::new(context.arg(0)) };
    if let Some(tcp) = subject::tcp_of(sk) {
        let identity = Identity { state: context.arg::<u64>(1) as u8, ..Identity::full(sk, tcp) };
        emit(&run, TimeWait { identity, change: CHANGE_ASKED, timeout_jiffies: None, stack: None });
    }
    run.leave();
    Some(())
}

/// `__inet_twsk_schedule(tw, timeo, rearm)`. `None` where the per-CPU entry is missing.
#[inline(always)]
pub(crate) fn arm(context: &FEntryContext) -> Option<()> {
    let run = Run::enter(PROGRAM_TIME_WAIT_ARM)?;
    // SAFETY: the function's first argument is the time-wait socket.
    let tw = unsafe { Object::new(context.arg(0)) };
    // An int: the upper half of the register means nothing.
    let timeout = context.arg::<u64>(1) as u32 as u64;
    emit(
        &run,
        TimeWait {
            identity: Identity::time_wait(tw),
            change: CHANGE_ARMED,
            timeout_jiffies: Some(timeout),
            stack: None,
        },
    );
    run.leave();
    Some(())
}

/// `inet_twsk_kill(tw)`. `None` where the per-CPU entry is missing.
#[inline(always)]
pub(crate) fn kill(context: &FEntryContext) -> Option<()> {
    let run = Run::enter(PROGRAM_TIME_WAIT_KILL)?;
    // SAFETY: the function's first argument is the time-wait socket.
    let tw = unsafe { Object::new(context.arg(0)) };
    // Newer kernels (6.11 and later) take the function away from a timer that is taken off for good.
    let early = is_early(tw.read(Field::TwExpires)) || tw.read::<u64>(Field::TwFunction) == 0;
    emit(
        &run,
        TimeWait {
            identity: Identity::time_wait(tw),
            change: if early { CHANGE_DISARMED } else { CHANGE_EXPIRED },
            timeout_jiffies: None,
            // Also of one whose time is over: up to two seconds pass before the timer wheel comes round, and somebody
            // else may have come first.
            stack: Some(Stack(context.as_ptr())),
        },
    );
    run.leave();
    Some(())
}

/// Whether `expires`, in jiffies, is still to come.
#[inline(always)]
pub(crate) fn is_early(expires: u64) -> bool {
    until(expires) as i64 > 0
}

/// Jiffies until `expires`; wraps where that is past.
#[inline(always)]
pub(crate) fn until(expires: u64) -> u64 {
    // SAFETY: a helper without arguments.
    expires.wrapping_sub(unsafe { generated::bpf_jiffies64() })
}

/// Unless the filter drops it.
#[inline(always)]
fn emit(run: &Run, event: TimeWait) {
    if event.identity.passes() {
        hooks::time_wait(run, &event);
    }
}
