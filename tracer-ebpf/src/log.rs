//! Diagnostics through aya-log, on paths that are never taken in a sound kernel. Without the feature `kernel-log` there
//! is nothing here: a log record costs more than an event.

use aya_ebpf::EbpfContext;

/// The per-CPU array has no entry 0.
#[inline(always)]
pub(crate) fn no_cpu_entry(context: &impl EbpfContext) {
    #[cfg(feature = "kernel-log")]
    aya_log_ebpf::error!(context, "per-CPU entry missing: a transition was not seen");
    #[cfg(not(feature = "kernel-log"))]
    let _ = context;
}
