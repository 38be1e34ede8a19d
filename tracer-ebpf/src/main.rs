//! finwait's kernel programs: entry points only.
//!
//! `prime` and its shadows sit on the same BTF-typed tracepoint, in this order; `classic` stands in for all where the
//! kernel has no BTF. All stream the same record. The hooks that follow complete it; each may be missing.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod accepts;
#[cfg(target_arch = "bpf")]
mod classic;
#[cfg(target_arch = "bpf")]
mod consts;
#[cfg(target_arch = "bpf")]
mod cpu;
#[cfg(target_arch = "bpf")]
mod emit;
#[cfg(target_arch = "bpf")]
mod filter;
#[cfg(target_arch = "bpf")]
mod hook;
#[cfg(target_arch = "bpf")]
mod log;
#[cfg(target_arch = "bpf")]
mod object;
#[cfg(target_arch = "bpf")]
mod resets;
#[cfg(target_arch = "bpf")]
mod retransmits;
#[cfg(target_arch = "bpf")]
mod socket;
#[cfg(target_arch = "bpf")]
mod subject;
#[cfg(target_arch = "bpf")]
mod task;
#[cfg(target_arch = "bpf")]
mod time_wait;
#[cfg(target_arch = "bpf")]
mod timers;
#[cfg(target_arch = "bpf")]
mod tokens;

#[cfg(target_arch = "bpf")]
// The signature that the attributes ask for.
#[allow(clippy::needless_pass_by_value)]
mod programs {
    use aya_ebpf::{
        macros::{btf_tracepoint, fentry, tracepoint},
        programs::{BtfTracePointContext, FEntryContext, TracePointContext},
    };

    use crate::{accepts, classic, log, resets, retransmits, socket, time_wait, timers};

    /// Sees every transition, except those that come while it is held on that CPU.
    #[btf_tracepoint(function = "inet_sock_set_state")]
    fn prime(context: BtfTracePointContext) -> i32 {
        if socket::prime(&context).is_none() {
            log::no_cpu_entry(&context);
        }
        0
    }

    /// Sees what `prime` was skipped for.
    #[btf_tracepoint(function = "inet_sock_set_state")]
    fn shadow(context: BtfTracePointContext) -> i32 {
        if socket::shadow(&context).is_none() {
            log::no_cpu_entry(&context);
        }
        0
    }

    /// Sees what `prime` and `shadow` were skipped for, where tasks are preempted inside them.
    #[btf_tracepoint(function = "inet_sock_set_state")]
    fn shadow2(context: BtfTracePointContext) -> i32 {
        if socket::shadow2(&context).is_none() {
            log::no_cpu_entry(&context);
        }
        0
    }

    /// Sees what all three were skipped for.
    #[btf_tracepoint(function = "inet_sock_set_state")]
    fn shadow3(context: BtfTracePointContext) -> i32 {
        if socket::shadow3(&context).is_none() {
            log::no_cpu_entry(&context);
        }
        0
    }

    /// Stands in for them where tp_btf cannot be had.
    #[tracepoint(category = "sock", name = "inet_sock_set_state")]
    fn classic(context: TracePointContext) -> u32 {
        if classic::classic(&context).is_none() {
            log::no_cpu_entry(&context);
        }
        0
    }

    /// A reset is about to be sent.
    #[btf_tracepoint(function = "tcp_send_reset")]
    fn send_reset(context: BtfTracePointContext) -> i32 {
        if resets::sent(&context).is_none() {
            log::no_cpu_entry(&context);
        }
        0
    }

    /// A reset was taken in.
    #[btf_tracepoint(function = "tcp_receive_reset")]
    fn receive_reset(context: BtfTracePointContext) -> i32 {
        if resets::received(&context).is_none() {
            log::no_cpu_entry(&context);
        }
        0
    }

    /// A segment was sent again.
    #[btf_tracepoint(function = "tcp_retransmit_skb")]
    fn retransmit(context: BtfTracePointContext) -> i32 {
        if retransmits::retransmit(&context).is_none() {
            log::no_cpu_entry(&context);
        }
        0
    }

    /// accept() hands a socket to the task.
    #[fentry(function = "security_sock_graft")]
    fn accept(context: FEntryContext) -> i32 {
        if accepts::accept(&context).is_none() {
            log::no_cpu_entry(&context);
        }
        0
    }

    /// A full socket asks for a time-wait socket.
    #[fentry(function = "tcp_time_wait")]
    fn time_wait_ask(context: FEntryContext) -> i32 {
        if time_wait::ask(&context).is_none() {
            log::no_cpu_entry(&context);
        }
        0
    }

    /// A time-wait socket's timer is set.
    #[fentry(function = "__inet_twsk_schedule")]
    fn time_wait_arm(context: FEntryContext) -> i32 {
        if time_wait::arm(&context).is_none() {
            log::no_cpu_entry(&context);
        }
        0
    }

    /// A time-wait socket ends.
    #[fentry(function = "inet_twsk_kill")]
    fn time_wait_kill(context: FEntryContext) -> i32 {
        if time_wait::kill(&context).is_none() {
            log::no_cpu_entry(&context);
        }
        0
    }

    /// A timer was set; only those of time-wait sockets matter.
    #[btf_tracepoint(function = "timer_start")]
    fn timer_start(context: BtfTracePointContext) -> i32 {
        if timers::start(&context).is_none() {
            log::no_cpu_entry(&context);
        }
        0
    }

    /// A timer was taken off.
    #[btf_tracepoint(function = "timer_cancel")]
    fn timer_cancel(context: BtfTracePointContext) -> i32 {
        if timers::cancel(&context).is_none() {
            log::no_cpu_entry(&context);
        }
        0
    }

    /// A timer runs out.
    #[btf_tracepoint(function = "timer_expire_entry")]
    fn timer_expire(context: BtfTracePointContext) -> i32 {
        if timers::expire(&context).is_none() {
            log::no_cpu_entry(&context);
        }
        0
    }

    // The helpers used are for GPL-compatible programs only.
    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

    // Nothing here panics; without unwinding the language still asks for a handler.
    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
