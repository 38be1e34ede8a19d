//! What cgroups are called, as far as it was told. Bounded: the one told longest ago is forgotten first.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::id::CgroupId;
use crate::observation::{CgroupNames, Workload};

/// Names kept; a host has some thousands of cgroups at most.
const NAMES: usize = 65_536;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Workloads {
    names: HashMap<CgroupId, Arc<Workload>>,
    told: VecDeque<CgroupId>,
}

impl Workloads {
    /// A cgroup's inode number may be used again: the last name counts.
    pub(crate) fn learn(&mut self, names: &CgroupNames) {
        if self.names.insert(names.cgroup, Arc::new(names.workload.clone())).is_none() {
            self.told.push_back(names.cgroup);
        }
        if self.told.len() > NAMES
            && let Some(oldest) = self.told.pop_front()
        {
            self.names.remove(&oldest);
        }
    }

    pub(crate) fn of(&self, cgroup: Option<CgroupId>) -> Option<Arc<Workload>> {
        self.get(cgroup).cloned()
    }

    pub(crate) fn get(&self, cgroup: Option<CgroupId>) -> Option<&Arc<Workload>> {
        self.names.get(&cgroup?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(cgroup: u64, path: &str) -> CgroupNames {
        let workload =
            Workload { path: path.to_owned(), container: None, runtime: None, pod: None, unit: None };
        CgroupNames { cgroup: CgroupId(cgroup), workload }
    }

    #[test]
    fn the_last_name_of_a_cgroup_counts_and_the_oldest_are_forgotten() {
        let mut workloads = Workloads::default();
        workloads.learn(&named(1, "/before"));
        workloads.learn(&named(1, "/now"));
        assert_eq!(workloads.of(Some(CgroupId(1))).unwrap().path, "/now");
        for cgroup in 2..=NAMES as u64 + 1 {
            workloads.learn(&named(cgroup, "/other"));
        }
        assert_eq!((workloads.names.len(), workloads.told.len()), (NAMES, NAMES));
        assert!(workloads.of(Some(CgroupId(1))).is_none());
        assert!(workloads.of(None).is_none());
    }
}
