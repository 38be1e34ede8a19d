//! The kernel edge: what this host offers, loading and attaching the programs, reading what they send.
//!
//! The only room with unsafe code. It prints nothing and decides nothing: [`preflight`] reports, [`Probe`] attaches and
//! says which tier it got and why, [`RingReader`] and [`Decoder`] turn bytes into observations.

pub mod btf;
mod call_sites;
mod capabilities;
pub mod costs;
mod counters;
pub mod decode;
mod decode_hooks;
mod error;
mod hook_checks;
mod hook_counters;
mod hooks;
pub mod host;
#[cfg(feature = "kernel-log")]
pub mod kernel_log;
mod load;
mod object;
pub mod offsets;
mod positions;
pub mod preflight;
mod privileges;
mod reset_reasons;
mod ring;
pub mod sysctls;

pub use call_sites::CallSites;
pub use costs::{ProgramCost, ProgramCosts};
pub use counters::KernelCounters;
pub use decode::{DecodeError, Decoder};
pub use error::ProbeError;
pub use hooks::{HookName, HookRefusal, TimeWaitChoice};
pub use load::{Probe, ProbeConfig, TierChoice};
pub use preflight::{Check, HostReport, Verdict};
pub use privileges::{Privileges, PrivilegesError};
pub use reset_reasons::ResetReasons;
pub use ring::{Batch, RingError, RingReader, Stop};
