//! Why nothing is attached, each as one sentence that says what to do.

use aya::maps::MapError;

use super::ring::RingError;

/// Why nothing is attached, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No ring buffer before 5.8.
    #[error("kernel {release} is too old: finwait needs Linux 5.8 or later")]
    KernelTooOld {
        /// uname -r
        release: String,
    },
    /// Not allowed to load programs.
    #[error("missing {}: run as root, or grant them to the binary: setcap cap_bpf,cap_perfmon=ep", .missing.join(" and "))]
    MissingCapabilities {
        /// Names of the capabilities
        missing: Vec<&'static str>,
    },
    /// The tier asked for cannot be had.
    #[error("the {tier} tier is not to be had: {reason}")]
    TierRefused {
        /// Its name
        tier: &'static str,
        /// One sentence
        reason: String,
    },
    /// Neither tier can be had.
    #[error("cannot attach. BTF-typed tracepoint: {tp_btf}. Classic tracepoint: {classic}")]
    NoTier {
        /// Why not tp_btf
        tp_btf: String,
        /// Why not the classic tracepoint
        classic: String,
    },
    /// The hooks asked for by name cannot be had.
    #[error("--time-wait {choice} is not to be had: {reason}")]
    TimeWaitRefused {
        /// fentry or timer
        choice: &'static str,
        /// One clause
        reason: String,
    },
    /// A map of the object cannot be used.
    #[error("map {name}: {source}")]
    Map {
        /// Name of the map
        name: &'static str,
        /// aya's error
        source: MapError,
    },
    /// The ring cannot be read.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The ring's reader was taken before.
    #[error("the ring buffer has its reader already")]
    RingTaken,
}
