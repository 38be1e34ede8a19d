//! Time-wait sockets by the timer tracepoints: every timer of the host comes this way, those whose function is
//! tw_timer_handler are time-wait sockets'. Each timer pays for that; fentry is cheaper where it can be had.

use core::mem::MaybeUninit;

use aya_ebpf::{EbpfContext, helpers::generated, programs::BtfTracePointContext};
use tracer_common::{
    CHANGE_ARMED, CHANGE_DISARMED, CHANGE_EXPIRED, Field, PROGRAM_TIMER_CANCEL, PROGRAM_TIMER_EXPIRE,
    PROGRAM_TIMER_START,
};

use crate::{
    consts,
    emit::hooks::{self, Stack},
    hook::Run,
    object::Object,
    subject::Identity,
    time_wait::{TimeWait, is_early, until},
};

/// From the start of struct inet_timewait_sock to the end of its timer, in words. The same on 5.10 to 7.3; where it is not
/// enough, the verifier refuses to read beyond.
const WORDS: usize = 25;

/// `timer_start(timer, …)`. `None` where the per-CPU entry is missing.
#[inline(always)]
pub(crate) fn start(context: &BtfTracePointContext) -> Option<()> {
    let Some(timer) = time_wait_timer(context) else { return Some(()) };
    let run = Run::enter(PROGRAM_TIMER_START)?;
    on_copy(timer, |copy, identity| {
        let timeout_jiffies = Some(until(copy.read(Field::TwExpires)));
        emit(&run, TimeWait { identity, change: CHANGE_ARMED, timeout_jiffies, stack: None });
    });
    run.leave();
    Some(())
}

/// `timer_cancel(timer)`, which is also called right before a timer runs out: that is told by [`expire`]. `None` where the
/// per-CPU entry is missing.
#[inline(always)]
pub(crate) fn cancel(context: &BtfTracePointContext) -> Option<()> {
    let Some(timer) = time_wait_timer(context) else { return Some(()) };
    let run = Run::enter(PROGRAM_TIMER_CANCEL)?;
    on_copy(timer, |copy, identity| {
        if is_early(copy.read(Field::TwExpires)) {
            let stack = Some(Stack(context.as_ptr()));
            emit(&run, TimeWait { identity, change: CHANGE_DISARMED, timeout_jiffies: None, stack });
        }
    });
    run.leave();
    Some(())
}

/// `timer_expire_entry(timer, …)`. `None` where the per-CPU entry is missing.
#[inline(always)]
pub(crate) fn expire(context: &BtfTracePointContext) -> Option<()> {
    let Some(timer) = time_wait_timer(context) else { return Some(()) };
    let run = Run::enter(PROGRAM_TIMER_EXPIRE)?;
    on_copy(timer, |_, identity| {
        emit(&run, TimeWait { identity, change: CHANGE_EXPIRED, timeout_jiffies: None, stack: None });
    });
    run.leave();
    Some(())
}

/// The timer, if it is a time-wait socket's.
#[inline(always)]
fn time_wait_timer(context: &BtfTracePointContext) -> Option<Object> {
    // SAFETY: the tracepoints' first argument is the timer.
    let timer = unsafe { Object::new(context.arg(0)) };
    if timer.read::<u64>(Field::TimerFunction) == consts::tw_handler() { Some(timer) } else { None }
}

/// Hands on a copy of the time-wait socket that `timer` lies in. The socket begins before the timer, and there the verifier
/// allows no load: hence a copy.
#[inline(always)]
fn on_copy(timer: Object, emit: impl FnOnce(Object, Identity)) {
    let (Some(before), Some(inum)) = (consts::offset(Field::TwTimer), consts::offset(Field::NetnsInum))
    else {
        return;
    };
    let address = timer.address().wrapping_sub(before);
    let mut words = MaybeUninit::<[u64; WORDS]>::uninit();
    // SAFETY: the helper writes all of the buffer, zeros if it cannot read; loads from it stay inside, or the verifier
    // refuses the program.
    let copy = unsafe {
        generated::bpf_probe_read_kernel(words.as_mut_ptr().cast(), (WORDS * 8) as u32, address.cast());
        Object::new(words.as_ptr().cast())
    };
    let mut netns = 0u32;
    let net: u64 = copy.read(Field::Net);
    // SAFETY: as above; the pointer is a number to the verifier.
    unsafe {
        generated::bpf_probe_read_kernel((&raw mut netns).cast(), 4, (net + inum as u64) as *const _);
    }
    emit(copy, Identity::copied(copy, address, netns));
}

/// Unless the filter drops it.
#[inline(always)]
fn emit(run: &Run, event: TimeWait) {
    if event.identity.passes() {
        hooks::time_wait(run, &event);
    }
}
