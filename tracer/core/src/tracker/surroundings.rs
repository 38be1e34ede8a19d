//! Where a connection is and whose. Many have it alike, so it is shared.

use crate::id::{CgroupId, NetNs};
use crate::observation::StateChange;

/// See the module: as it was last seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Surroundings {
    pub(crate) netns: Option<NetNs>,
    pub(crate) cgroup: Option<CgroupId>,
    pub(crate) uid: Option<u32>,
    pub(crate) mark: Option<u32>,
    pub(crate) is_mptcp: Option<bool>,
}

impl Surroundings {
    /// Whether `change` says nothing else.
    #[inline]
    pub(super) fn stay(&self, change: &StateChange) -> bool {
        change.netns == self.netns
            && change.cgroup == self.cgroup
            && change.uid == self.uid
            && change.mark == self.mark
            && change.tcp.is_mptcp == self.is_mptcp
    }

    /// As they are known after `change`.
    pub(super) fn after(&self, change: &StateChange) -> Self {
        Self {
            netns: change.netns.or(self.netns),
            cgroup: change.cgroup.or(self.cgroup),
            uid: change.uid.or(self.uid),
            mark: change.mark.or(self.mark),
            is_mptcp: change.tcp.is_mptcp.or(self.is_mptcp),
        }
    }
}
