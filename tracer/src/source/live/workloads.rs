//! Names of the cgroups that events show, found by a thread of its own: a walk over the cgroup tree must not hold up the ring.

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use finwait_core::observation::{CgroupNames, Workload};
use finwait_core::{CgroupId, Observation};

use crate::enrich::{CgroupName, Cgroups};

const THREAD: &str = "cgroups";
/// Questions and answers that wait.
const WAITING: usize = 1024;
/// Cgroups that were asked for; beyond that all are asked for again.
const ASKED: usize = 1 << 16;

/// See the module.
pub(crate) struct Workloads {
    questions: SyncSender<CgroupId>,
    answers: Receiver<CgroupNames>,
    asked: HashSet<CgroupId>,
}

impl Workloads {
    /// `None` where there are no cgroups of version 2, or no thread.
    pub(crate) fn start() -> Option<Self> {
        let mut cgroups = Cgroups::find().ok()?;
        let (questions, asked) = sync_channel(WAITING);
        let (told, answers) = sync_channel(WAITING);
        let work = move || {
            for cgroup in asked {
                let Some(name) = cgroups.name(cgroup) else { continue };
                if told.send(CgroupNames { cgroup, workload: workload(&name) }).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name(THREAD.to_owned()).spawn(work).ok()?;
        Some(Self { questions, answers, asked: HashSet::new() })
    }

    /// Asks for what `observations` show for the first time.
    pub(crate) fn ask(&mut self, observations: &[Observation]) {
        for observation in observations {
            let cgroup = match observation {
                Observation::StateChange(change) => change.cgroup,
                Observation::Socket(row) => row.cgroup,
                _ => None,
            };
            // One that there is no room for is asked for at its next event.
            if let Some(cgroup) = cgroup.filter(|cgroup| !self.asked.contains(cgroup))
                && self.questions.try_send(cgroup).is_ok()
            {
                if self.asked.len() >= ASKED {
                    self.asked.clear();
                }
                self.asked.insert(cgroup);
            }
        }
    }

    /// What was found since.
    pub(crate) fn answers(&self, batch: &mut Vec<Observation>) {
        batch.extend(self.answers.try_iter().map(|names| Observation::Cgroup(Box::new(names))));
    }
}

fn workload(name: &CgroupName) -> Workload {
    Workload {
        path: name.path.clone(),
        container: name.container.as_ref().map(|container| container.id.clone()),
        runtime: name.container.as_ref().and_then(|container| container.runtime).map(|r| r.name().to_owned()),
        pod: name.pod_uid.clone(),
        unit: name.unit.clone(),
    }
}
