//! What became of the pushes: read by the metrics, written by the push.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::stats::catalogue;
use crate::stats::family::{Definition, Family, Sample, Value};

/// Counts since the start. A push is one request; a snapshot with many groups takes several.
#[derive(Debug, Default)]
pub struct OtlpCounters {
    ok: AtomicU64,
    retried: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    rejected_points: AtomicU64,
}

impl OtlpCounters {
    /// Requests that the collector took: `outcome="ok"`.
    #[must_use]
    pub fn ok(&self) -> u64 {
        self.ok.load(Relaxed)
    }

    /// Tries that failed and were or will be made again: `outcome="retried"`.
    #[must_use]
    pub fn retried(&self) -> u64 {
        self.retried.load(Relaxed)
    }

    /// Requests that were given up, because the collector refused them: `outcome="failed"`.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Requests that waited for the collector until there was no room for them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Data points that the collector rejected within requests that it took.
    #[must_use]
    pub fn rejected_points(&self) -> u64 {
        self.rejected_points.load(Relaxed)
    }

    /// All of it as metrics.
    #[must_use]
    pub fn families(&self) -> Vec<Family> {
        let sample = |labels: Vec<&'static str>, count| Sample {
            group: Arc::default(),
            labels: labels.into_iter().map(Into::into).collect(),
            value: Value::Count(count),
        };
        let single = |definition: &'static Definition, count| Family {
            definition,
            samples: vec![sample(Vec::new(), count)],
        };
        let outcomes = [("ok", self.ok()), ("retried", self.retried()), ("failed", self.failed())];
        let outcomes = outcomes.into_iter().map(|(outcome, count)| sample(vec![outcome], count));
        vec![
            Family { definition: &catalogue::OTLP_EXPORTS, samples: outcomes.collect() },
            single(&catalogue::OTLP_DROPPED, self.dropped()),
            single(&catalogue::OTLP_REJECTED, self.rejected_points()),
        ]
    }

    pub(super) fn count_ok(&self, rejected_points: u64) {
        self.ok.fetch_add(1, Relaxed);
        self.rejected_points.fetch_add(rejected_points, Relaxed);
    }

    pub(super) fn count_retried(&self) {
        self.retried.fetch_add(1, Relaxed);
    }

    pub(super) fn count_failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    pub(super) fn count_dropped(&self, requests: u64) {
        self.dropped.fetch_add(requests, Relaxed);
    }
}
