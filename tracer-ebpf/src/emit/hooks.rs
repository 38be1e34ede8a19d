//! The hooks' records.

use core::{ffi::c_void, ptr::write_volatile};

use aya_ebpf::{
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns, generated},
    maps::ring_buf::RingBufEntry,
};
use tracer_common::{
    AcceptRecord, Head, KIND_ACCEPT, KIND_RESET, KIND_RETRANSMIT, KIND_TIME_WAIT, RECORD_VERSION,
    ResetRecord, RetransmitRecord, STACK_FRAMES, SocketPart, TaskPart, TimeWaitRecord, hook_present, present,
};

use super::{EVENTS, put, zero};
use crate::{
    consts, hook::Run, resets::Reset, retransmits::Retransmit, subject::Identity, task::Task,
    time_wait::TimeWait,
};

/// The context from which the kernel's stack is walked.
#[derive(Clone, Copy)]
pub(crate) struct Stack(pub(crate) *mut c_void);

/// Reserves room for a record, which takes the number returned. As for transitions, a number is taken also when there is no
/// room.
#[inline(always)]
fn reserve<T: 'static>(run: &Run) -> Option<(RingBufEntry<T>, u64)> {
    let seq = run.next_seq();
    let slot = EVENTS.reserve::<T>(0);
    if slot.is_none() {
        run.count_ring_loss();
    }
    Some((slot?, seq))
}

/// Emits a reset.
#[inline(always)]
pub(crate) fn reset(run: &Run, event: &Reset) {
    let Some((mut slot, seq)) = reserve::<ResetRecord>(run) else { return };
    let record = slot.as_mut_ptr();
    let present = event.identity.present | task_bits(event.task.is_some());
    let present = present | if event.reason.is_some() { hook_present::REASON } else { 0 };
    // SAFETY: room for one record, reserved above.
    unsafe {
        fill!(record as ResetRecord: {
            answers_segment: event.answers_segment as u32,
        }
        if let Some(reason) = event.reason => {
            reason: reason,
        }
        parts: {
            head: head(run, KIND_RESET, size_of::<ResetRecord>(), seq, present),
            socket: socket(&event.identity),
            task: task(&event.task),
        });
    }
    slot.submit(0);
}

/// Emits a retransmission.
#[inline(always)]
pub(crate) fn retransmit(run: &Run, event: &Retransmit) {
    let Some((mut slot, seq)) = reserve::<RetransmitRecord>(run) else { return };
    let record = slot.as_mut_ptr();
    let mut present = event.identity.present | hook_present::TCP_FLAGS | hook_present::PENDING;
    if event.failed.is_some() {
        present |= hook_present::FAILED;
    }
    // SAFETY: room for one record, reserved above.
    unsafe {
        fill!(record as RetransmitRecord: {
            tcp_flags: event.flags,
            pending: event.pending,
            reserved_byte: 0u8,
            reserved_word: 0u32,
        }
        if let Some(failed) = event.failed => {
            failed: failed as u8,
        }
        parts: {
            head: head(run, KIND_RETRANSMIT, size_of::<RetransmitRecord>(), seq, present),
            socket: socket(&event.identity),
        });
    }
    slot.submit(0);
}

/// Emits an accepted socket, with the current task.
#[inline(always)]
pub(crate) fn accept(run: &Run, identity: &Identity) {
    let Some((mut slot, seq)) = reserve::<AcceptRecord>(run) else { return };
    let record = slot.as_mut_ptr();
    let acceptor = Some(Task::current());
    // SAFETY: room for one record, reserved above.
    unsafe {
        fill!(record as AcceptRecord: {}
        parts: {
            head: head(run, KIND_ACCEPT, size_of::<AcceptRecord>(), seq, identity.present | task_bits(true)),
            socket: socket(identity),
            task: task(&acceptor),
        });
    }
    slot.submit(0);
}

/// Emits what happened to a time-wait socket; with the stack goes the current task.
#[inline(always)]
pub(crate) fn time_wait(run: &Run, event: &TimeWait) {
    let Some((mut slot, seq)) = reserve::<TimeWaitRecord>(run) else { return };
    let record = slot.as_mut_ptr();
    let mut present = event.identity.present | task_bits(event.stack.is_some());
    if event.timeout_jiffies.is_some() {
        present |= hook_present::TIMEOUT;
    }
    if event.stack.is_some() {
        present |= hook_present::STACK;
    }
    let current = if event.stack.is_some() { Some(Task::current()) } else { None };
    // SAFETY: room for one record, reserved above.
    unsafe {
        fill!(record as TimeWaitRecord: {
            change: event.change as u64,
        }
        if let Some(timeout) = event.timeout_jiffies => {
            timeout_jiffies: timeout,
        }
        parts: {
            head: head(run, KIND_TIME_WAIT, size_of::<TimeWaitRecord>(), seq, present),
            socket: socket(&event.identity),
            task: task(&current),
            stack: stack(event.stack),
        });
    }
    slot.submit(0);
}

/// The task's bits that this kernel can fill, if there is a task.
#[inline(always)]
fn task_bits(has_task: bool) -> u64 {
    if has_task { consts::present() & present::ALL_TASK } else { 0 }
}

#[inline(always)]
unsafe fn head(head: *mut Head, run: &Run, kind: u8, size: usize, seq: u64, present: u64) {
    // SAFETY: the caller's; helpers without arguments. The clock is read after reserving, so that times follow the
    // ring's order as closely as can be.
    unsafe {
        fill!(head as Head: {
            version: RECORD_VERSION,
            kind: kind,
            size: size as u16,
            program: run.program(),
            depth: run.depth(),
            cpu: bpf_get_smp_processor_id() as u16,
            seq: seq,
            time_ns: bpf_ktime_get_ns(),
            present: present,
        });
    }
}

#[inline(always)]
unsafe fn socket(part: *mut SocketPart, identity: &Identity) {
    // SAFETY: the caller's.
    unsafe {
        fill!(part as SocketPart: {
            socket_cookie: identity.cookie,
            sock_addr: identity.address,
            local_addr: identity.local,
            remote_addr: identity.remote,
            netns: identity.netns,
            family: identity.family,
            local_port: identity.local_port,
            remote_port: identity.remote_port,
            socket_kind: identity.kind,
            state: identity.state,
            reserved: 0u32,
        });
    }
}

#[inline(always)]
unsafe fn task(part: *mut TaskPart, task: &Option<Task>) {
    // SAFETY: the caller's.
    unsafe {
        fill!(part as TaskPart: {
            reserved_half: 0u16,
            reserved_word: 0u32,
        }
        if let Some(task) = task => {
            task_start_boot_ns: task.start_boot_ns,
            comm: task.comm,
            tgid: task.tgid,
            pid: task.pid,
            task_flags: task.flags,
            exit_signal: task.exit_signal,
        });
    }
}

#[inline(always)]
unsafe fn stack(frames: *mut [u64; STACK_FRAMES], stack: Option<Stack>) {
    // SAFETY: the caller's; the helper writes all of the buffer, zeros after the last frame and if it fails.
    unsafe {
        match stack {
            Some(Stack(context)) => {
                generated::bpf_get_stack(context, frames.cast(), (STACK_FRAMES * 8) as u32, 0);
            }
            None => {
                let mut index = 0;
                while index < STACK_FRAMES {
                    write_volatile(frames.cast::<u64>().add(index), 0);
                    index += 1;
                }
            }
        }
    }
}

const _: () = assert!(core::mem::offset_of!(SocketPart, local_addr) % 8 == 0);
const _: () = assert!(core::mem::offset_of!(SocketPart, remote_addr) % 8 == 0);
const _: () = assert!(core::mem::offset_of!(TaskPart, comm) % 8 == 0);
