//! Flags that say how the running kernel is observed.

use std::time::Duration;

use clap::Args;

use super::value;
use crate::probe;

/// Ids of the flags below: none of them goes together with a recording.
pub(super) const NAMES: &[&str] = &["tier", "time_wait", "ring_bytes", "wake_pause"];

/// See the module.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Source")]
pub struct LiveArgs {
    /// Which trace point delivers transitions
    #[arg(long, value_name = "TIER", default_value = "auto")]
    pub tier: TierChoice,
    /// How the life of time-wait sockets is seen
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub time_wait: TimeWaitChoice,
    /// Size of the ring between kernel and finwait, a power of two such as 64M
    #[arg(long, value_name = "SIZE", default_value = "8M", value_parser = value::ring_bytes)]
    pub ring_bytes: u32,
    /// Pause after each wake-up, so that a busy kernel does not wake finwait for every event
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = value::wake_pause)]
    pub wake_pause: Duration,
    /// Write the kernel programs' own diagnostics to stderr
    #[cfg(feature = "kernel-log")]
    #[arg(long)]
    pub kernel_log: bool,
}

/// Choice of the trace point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum TierChoice {
    /// The best that this kernel offers
    #[default]
    Auto,
    /// The BTF-typed raw trace point: shows processes and socket internals
    TpBtf,
    /// The classic trace point: addresses and states alone
    Classic,
}

impl From<TierChoice> for probe::TierChoice {
    fn from(choice: TierChoice) -> Self {
        match choice {
            TierChoice::Auto => Self::Auto,
            TierChoice::TpBtf => Self::TpBtf,
            TierChoice::Classic => Self::Classic,
        }
    }
}

/// Choice of the hooks for time-wait sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum TimeWaitChoice {
    /// fentry, or sweep where the kernel refuses that
    #[default]
    Auto,
    /// In the functions that make and end them: exact, and free while nothing happens
    Fentry,
    /// By the timer trace points: nearly as exact, but every timer of the host pays for it
    Timer,
    /// By listing them again and again: to a second, and blind to how they end
    Sweep,
    /// Not at all
    Off,
}

impl From<TimeWaitChoice> for probe::TimeWaitChoice {
    fn from(choice: TimeWaitChoice) -> Self {
        match choice {
            TimeWaitChoice::Auto => Self::Auto,
            TimeWaitChoice::Fentry => Self::Fentry,
            TimeWaitChoice::Timer => Self::Timer,
            TimeWaitChoice::Sweep => Self::Sweep,
            TimeWaitChoice::Off => Self::Off,
        }
    }
}
