//! What every exporter reads: the metrics of the newest snapshot, and of finwait itself.

use super::desk::Served;
use super::{Desk, Sheet};
use crate::enrich::process_facts;
use crate::stats::ProcessFacts;
use crate::stats::family::Family;

#[cfg(feature = "otlp")]
use super::otlp::OtlpCounters;
use std::sync::Arc;
#[cfg(feature = "otlp")]
use std::sync::OnceLock;

/// See the module.
#[derive(Debug)]
pub struct Reader {
    desk: Desk<Sheet>,
    #[cfg(feature = "otlp")]
    pushes: OnceLock<Arc<OtlpCounters>>,
}

impl Reader {
    pub(super) fn new(desk: Desk<Sheet>) -> Self {
        Self {
            desk,
            #[cfg(feature = "otlp")]
            pushes: OnceLock::new(),
        }
    }

    /// From now on the metrics tell of pushes.
    #[cfg(feature = "otlp")]
    pub(super) fn tell_of(&self, pushes: Arc<OtlpCounters>) {
        // There is one push at most: whoever sets it is the first.
        _ = self.pushes.set(pushes);
    }

    /// Whether there is a snapshot.
    pub async fn is_ready(&self) -> bool {
        self.desk.snapshot().await.is_some()
    }

    /// The newest snapshot to be had; `None` before the loop has begun.
    pub async fn sheet(&self) -> Option<Served<Sheet>> {
        self.desk.snapshot().await
    }

    /// The newest metrics to be had; `None` before the loop has begun.
    pub async fn read(&self) -> Option<Vec<Family>> {
        self.desk.snapshot().await.map(|served| self.families(&served))
    }

    /// The last snapshot that the loop left, without asking it.
    pub(super) fn last_sheet(&self) -> Option<Arc<Sheet>> {
        self.desk.last().map(|served| served.snapshot)
    }

    /// The last metrics that the loop left, without asking it.
    pub fn last(&self) -> Option<Vec<Family>> {
        self.desk.last().map(|served| self.families(&served))
    }

    fn families(&self, served: &Served<Sheet>) -> Vec<Family> {
        let sheet = &served.snapshot;
        sheet.snapshot.families(sheet.now(), &self.own(), served.age)
    }

    fn own(&self) -> ProcessFacts {
        #[cfg(feature = "otlp")]
        let pushes = self.pushes.get().map(|counters| counters.facts());
        #[cfg(not(feature = "otlp"))]
        let pushes = None;
        ProcessFacts { pushes, ..process_facts() }
    }
}
