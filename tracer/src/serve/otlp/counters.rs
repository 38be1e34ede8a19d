//! What became of the pushes: read by the metrics, written by the push.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::stats::PushFacts;

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

    /// All of it, for the metrics.
    #[must_use]
    pub fn facts(&self) -> PushFacts {
        PushFacts {
            ok: self.ok(),
            retried: self.retried(),
            failed: self.failed(),
            dropped: self.dropped(),
            rejected_points: self.rejected_points(),
        }
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
