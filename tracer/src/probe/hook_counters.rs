//! What the hooks beyond the transitions lost.

use std::os::unix::fs::FileExt;

use aya::Pod;
use tracer_common::{HOOK_PROGRAMS, HookState};

use super::{
    counters::{CountersError, recursion_misses},
    load::Probe,
};

/// One CPU's counters of one hook as aya reads them.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct HookBytes(HookState);

// SAFETY: made of u64 only.
unsafe impl Pod for HookBytes {}

impl Probe {
    /// Records of the hooks that found no room in the ring, and runs of them that the kernel skipped. A skipped run of a
    /// timer program may have been for a timer that is no time-wait socket's.
    pub(super) fn hooks_lost(&self) -> Result<u64, CountersError> {
        let mut lost = 0u64;
        for file in &self.attached_hooks.infos {
            let mut text = [0; 1024];
            let length = file.read_at(&mut text, 0)?;
            lost += recursion_misses(&String::from_utf8_lossy(&text[..length])).unwrap_or(0);
        }
        for hook in 0..HOOK_PROGRAMS as u32 {
            let cpus = self.hook_cpus.get(&hook, 0)?;
            lost += cpus.iter().flat_map(|cpu| cpu.0.lost_ring).sum::<u64>();
        }
        Ok(lost)
    }
}
