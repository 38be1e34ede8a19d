//! Moments and spans. `core` knows CLOCK_MONOTONIC event time; wall time is only for showing.

use serde::{Deserialize, Serialize};

/// A moment of CLOCK_MONOTONIC, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MonoNs(pub u64);

impl MonoNs {
    /// Nanoseconds from `earlier` to here; `None` where that would be negative.
    #[must_use]
    pub fn since(self, earlier: MonoNs) -> Option<u64> {
        self.0.checked_sub(earlier.0)
    }

    /// The moment `ns` later, at most the last one that can be written.
    #[must_use]
    pub fn plus(self, ns: u64) -> MonoNs {
        MonoNs(self.0.saturating_add(ns))
    }
}

/// A moment of CLOCK_REALTIME, in nanoseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallNs(pub u64);

/// Both clocks read at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockPair {
    /// CLOCK_MONOTONIC
    #[serde(rename = "time_ns")]
    pub mono: MonoNs,
    /// CLOCK_REALTIME at that moment
    #[serde(rename = "wall_ns")]
    pub wall: WallNs,
}

impl ClockPair {
    /// Wall time of `at`, extrapolated from this pair; `None` outside of what the type can hold.
    #[must_use]
    pub fn wall_of(self, at: MonoNs) -> Option<WallNs> {
        let shifted = i128::from(self.wall.0) + i128::from(at.0) - i128::from(self.mono.0);
        u64::try_from(shifted).ok().map(WallNs)
    }
}
