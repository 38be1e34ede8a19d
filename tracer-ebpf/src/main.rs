//! finwait's kernel programs: entry points only.
//!
//! `prime` and its shadows sit on the same BTF-typed tracepoint, in this order; `classic` stands in for all where the
//! kernel has no BTF. All stream the same record.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

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
mod log;
#[cfg(target_arch = "bpf")]
mod object;
#[cfg(target_arch = "bpf")]
mod socket;
#[cfg(target_arch = "bpf")]
mod task;
#[cfg(target_arch = "bpf")]
mod tokens;

#[cfg(target_arch = "bpf")]
// The signature that the attributes ask for.
#[allow(clippy::needless_pass_by_value)]
mod programs {
    use aya_ebpf::{
        macros::{btf_tracepoint, tracepoint},
        programs::{BtfTracePointContext, TracePointContext},
    };

    use crate::{classic, log, socket};

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
