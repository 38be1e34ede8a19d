//! What every exporter reads: the metrics of the newest snapshot, and of finwait itself.

use super::desk::Served;
use super::{Desk, Sheet};
use crate::enrich::process_facts;
use crate::probe::ProgramCosts;
use crate::stats::ProcessFacts;
use crate::stats::family::Family;

#[cfg(feature = "otlp")]
use super::otlp::OtlpCounters;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// See the module.
#[derive(Debug)]
pub struct Reader {
    desk: Desk<Sheet>,
    skipped: Arc<AtomicU64>,
    programs: OnceLock<Arc<ProgramCosts>>,
    #[cfg(feature = "otlp")]
    pushes: OnceLock<Arc<OtlpCounters>>,
}

impl Reader {
    /// `skipped` counts closes that found no room on the way to the page.
    pub(super) fn new(desk: Desk<Sheet>, skipped: Arc<AtomicU64>) -> Self {
        Self {
            desk,
            skipped,
            programs: OnceLock::new(),
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

    /// From now on the metrics tell what the kernel measures of these programs.
    pub fn tell_of_programs(&self, programs: Option<Arc<ProgramCosts>>) {
        // There is one source: whoever sets it is the first.
        programs.map(|programs| self.programs.set(programs));
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
        ProcessFacts {
            pushes,
            closes_skipped: Some(self.skipped.load(Ordering::Relaxed)),
            programs: self.programs.get().map(|programs| programs.read()).unwrap_or_default(),
            ..process_facts()
        }
    }
}
