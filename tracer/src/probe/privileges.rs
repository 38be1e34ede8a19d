//! Giving up, for good, what attaching needed.

use aya::maps::MapError;
use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};
use rustix::thread::set_no_new_privs;

use super::load::Probe;

/// Why privileges could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegesError {
    /// prctl(PR_SET_NO_NEW_PRIVS)
    #[error("prctl(PR_SET_NO_NEW_PRIVS): {0}")]
    NoNewPrivs(#[source] std::io::Error),
    /// capget, capset or prctl
    #[error("cannot change the {set} capabilities: {source}")]
    Capabilities {
        /// Which set
        set: &'static str,
        /// What the caps crate says
        source: CapsError,
    },
    /// The counters cannot be read any more, whatever is kept.
    #[error("the counters cannot be read with any capability kept: {0}")]
    Counters(#[source] MapError),
}

/// What is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privileges {
    /// Capabilities still held, sorted by number
    pub kept: Vec<Capability>,
    /// One of them is kept only because this kernel wants it for reading maps
    pub for_counters: Option<Capability>,
    /// Threads of this process that still hold what they held: capabilities belong to threads
    pub other_threads: usize,
}

impl Probe {
    /// Takes every capability from the calling thread but `keep`, and forbids it and its children to gain any.
    ///
    /// Threads started later inherit that; those already running are not touched, so this belongs right after attaching.
    /// Before 5.19 kernels with `unprivileged_bpf_disabled` refuse look-ups in maps without CAP_BPF: there it is
    /// kept, as the counters could not be read otherwise.
    ///
    /// # Errors
    /// The kernel refused one of the steps.
    pub fn drop_privileges(&self, keep: &[Capability]) -> Result<Privileges, PrivilegesError> {
        let failed = |set| move |source| PrivilegesError::Capabilities { set, source };
        set_no_new_privs(true).map_err(|errno| PrivilegesError::NoNewPrivs(errno.into()))?;
        if caps::runtime::ambient_set_supported().is_ok() {
            caps::clear(None, CapSet::Ambient).map_err(failed("ambient"))?;
        }
        // Needs CAP_SETPCAP. Without it no_new_privs and empty sets below do the same for children.
        if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).map_err(failed("effective"))? {
            for capability in caps::runtime::thread_all_supported() {
                caps::drop(None, CapSet::Bounding, capability).map_err(failed("bounding"))?;
            }
        }
        caps::clear(None, CapSet::Inheritable).map_err(failed("inheritable"))?;

        let permitted = caps::read(None, CapSet::Permitted).map_err(failed("permitted"))?;
        let wanted: CapsHashSet = keep.iter().copied().filter(|known| permitted.contains(known)).collect();
        let for_counters = self.settle_effective(&permitted, &wanted)?;
        let kept = caps::read(None, CapSet::Effective).map_err(failed("effective"))?;
        caps::set(None, CapSet::Permitted, &kept).map_err(failed("permitted"))?;

        let mut kept: Vec<_> = kept.into_iter().collect();
        kept.sort_unstable_by_key(Capability::index);
        let other_threads =
            std::fs::read_dir("/proc/self/task").map_or(0, |tasks| tasks.count().saturating_sub(1));
        Ok(Privileges { kept, for_counters, other_threads })
    }

    /// Makes `wanted` the effective set, with one more if the counters could not be read otherwise.
    fn settle_effective(
        &self,
        permitted: &CapsHashSet,
        wanted: &CapsHashSet,
    ) -> Result<Option<Capability>, PrivilegesError> {
        let mut refused = None;
        let more = [Capability::CAP_BPF, Capability::CAP_SYS_ADMIN].map(Some);
        for extra in core::iter::once(None).chain(more) {
            if extra.is_some_and(|extra| !permitted.contains(&extra)) {
                continue;
            }
            let effective: CapsHashSet = wanted.iter().copied().chain(extra).collect();
            caps::set(None, CapSet::Effective, &effective)
                .map_err(|source| PrivilegesError::Capabilities { set: "effective", source })?;
            match self.probe_look_up() {
                Ok(()) => return Ok(extra.filter(|extra| !wanted.contains(extra))),
                Err(error) => refused = Some(error),
            }
        }
        Err(PrivilegesError::Counters(refused.unwrap_or(MapError::ElementNotFound)))
    }
}
