//! Where observations come from: the running kernel, a recording or a capture.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tracer_common::KernelFilter;

use super::ConfigError;
use crate::cli::{LiveArgs, TierChoice, TimeWaitChoice};
use crate::filter::Filter;

/// Where observations come from.
#[derive(Debug)]
pub enum Origin {
    /// The running kernel
    Live(Live),
    /// A recording or a capture
    Recording(Replay),
}

impl Origin {
    /// Live, the kernel filters by IP version alone: the other end of a connection has the ports the other way round, and may be in
    /// another namespace.
    pub(super) fn admit_other_ends(&mut self, filter: &Filter) {
        if let Self::Live(live) = self {
            live.kernel_filter = Filter { version: filter.version, ..Filter::default() }.kernel_share();
        }
    }

    /// A recording in the time of its events; 0 is as fast as it can be read.
    pub(super) fn at_speed(mut self, speed: Option<f64>) -> Self {
        if let Self::Recording(replay) = &mut self {
            replay.speed = speed.filter(|speed| *speed > 0.0);
        }
        self
    }
}

/// How a recording is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// Where it is
    pub path: RecordingPath,
    /// So many times as fast as it happened; `None`: as fast as it can be read
    pub speed: Option<f64>,
}

impl From<RecordingPath> for Replay {
    fn from(path: RecordingPath) -> Self {
        Self { path, speed: None }
    }
}

/// A recording's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordingPath {
    /// stdin
    Stdin,
    /// A file
    File(PathBuf),
}

impl RecordingPath {
    /// `-` is stdin.
    pub(super) fn of(path: PathBuf) -> Self {
        if path == Path::new("-") { Self::Stdin } else { Self::File(path) }
    }
}

/// How the running kernel is observed.
#[derive(Clone, Debug)]
pub struct Live {
    /// Which trace point
    pub tier: TierChoice,
    /// How time-wait sockets are seen
    pub time_wait: TimeWaitChoice,
    /// Size of the ring
    pub ring_bytes: u32,
    /// Pause after a wake-up
    pub wake_pause: Duration,
    /// The kernel's share of the filter
    pub kernel_filter: KernelFilter,
    /// Whether the kernel programs' diagnostics are wanted
    #[cfg(feature = "kernel-log")]
    pub kernel_log: bool,
}

pub(super) fn origin(read: Option<PathBuf>, args: &LiveArgs, filter: &Filter) -> Result<Origin, ConfigError> {
    Ok(match read {
        None => Origin::Live(live(args, filter)?),
        Some(path) => Origin::Recording(RecordingPath::of(path).into()),
    })
}

pub(super) fn live(args: &LiveArgs, filter: &Filter) -> Result<Live, ConfigError> {
    if let (TierChoice::Classic, Some(flag)) = (args.tier, filter.needs_tp_btf()) {
        return Err(ConfigError::FilterNeedsTpBtf { flag });
    }
    let kernel_filter = filter.kernel_share();
    Ok(Live {
        tier: args.tier,
        time_wait: args.time_wait,
        ring_bytes: args.ring_bytes,
        wake_pause: args.wake_pause,
        kernel_filter,
        #[cfg(feature = "kernel-log")]
        kernel_log: args.kernel_log,
    })
}
