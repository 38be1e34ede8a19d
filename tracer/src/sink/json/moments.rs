//! Moments and spans that are known to lie between two bounds.

use finwait_core::record::WaveTime;
use serde::Serialize;

/// A moment: `{"earliest_ns": 1, "latest_ns": 1}`, both the same where an event itself shows it.
#[derive(Serialize)]
pub(super) struct MomentJson {
    earliest_ns: u64,
    latest_ns: u64,
}

impl From<&WaveTime> for MomentJson {
    fn from(time: &WaveTime) -> Self {
        Self { earliest_ns: time.earliest.0, latest_ns: time.latest.0 }
    }
}

/// A span: `{"min_ns": 1, "max_ns": 2}`.
#[derive(Serialize)]
pub(super) struct SpanJson {
    min_ns: u64,
    max_ns: u64,
}

impl From<&(u64, u64)> for SpanJson {
    fn from((min_ns, max_ns): &(u64, u64)) -> Self {
        Self { min_ns: *min_ns, max_ns: *max_ns }
    }
}
