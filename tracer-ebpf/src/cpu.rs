//! This CPU's counters.
//!
//! Programs run without being preempted, so runs on one CPU nest strictly: one that softirq starts inside another ends
//! before the outer one goes on. What two nested runs may both write is therefore kept apart by depth, and every
//! access is volatile so that the compiler keeps the order on which this rests.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::{macros::map, maps::PerCpuArray};
use tracer_common::{CpuState, DEPTHS, PAIR_STATES, pair_index};

#[map]
static CPUS: PerCpuArray<CpuState> = PerCpuArray::with_max_entries(1, 0);

/// The entry of the CPU that the program runs on.
#[derive(Clone, Copy)]
pub(crate) struct Cpu(*mut CpuState);

impl Cpu {
    /// `None` never comes true: index 0 of the array exists on every CPU.
    #[inline(always)]
    pub(crate) fn this() -> Option<Self> {
        CPUS.get_ptr_mut(0).map(Self)
    }

    #[inline(always)]
    pub(crate) fn state(self) -> *mut CpuState {
        self.0
    }

    /// Takes a nesting depth. No counter may be touched before: a nested run finds this depth taken or, if it came
    /// before the write below, has given it back by then.
    #[inline(always)]
    pub(crate) fn enter(self) -> Depth {
        // SAFETY: the map's value, alive as long as the program runs.
        unsafe {
            let raw = read_volatile(&raw const (*self.0).depth);
            write_volatile(&raw mut (*self.0).depth, raw + 1);
            Depth { cpu: self, raw, index: if raw < DEPTHS as u64 { raw as usize } else { DEPTHS - 1 } }
        }
    }
}

/// A nesting depth that this run holds: the counters of this depth are its own until `leave`.
pub(crate) struct Depth {
    cpu: Cpu,
    raw: u64,
    index: usize,
}

impl Depth {
    /// What goes into a record.
    #[inline(always)]
    pub(crate) fn index(&self) -> u8 {
        self.index as u8
    }

    #[inline(always)]
    pub(crate) fn leave(self) {
        // SAFETY: as in `enter`.
        unsafe { write_volatile(&raw mut (*self.cpu.0).depth, self.raw) }
    }

    #[inline(always)]
    pub(crate) fn count_pair(&self, old: u8, new: u8) {
        // SAFETY: `pair_index` and `index` stay below the tables' lengths.
        unsafe {
            let pairs = (&raw mut (*self.cpu.0).pairs).cast::<u64>();
            bump(pairs.add(self.index * PAIR_STATES * PAIR_STATES + pair_index(old, new)));
        }
    }

    #[inline(always)]
    pub(crate) fn next_seq(&self, program: u8) -> u64 {
        // SAFETY: `program` is one of the three constants.
        unsafe { bump((&raw mut (*self.cpu.0).seq[program as usize]).cast::<u64>().add(self.index)) }
    }

    #[inline(always)]
    pub(crate) fn count_ring_loss(&self, program: u8) {
        // SAFETY: as above.
        unsafe { bump((&raw mut (*self.cpu.0).lost_ring[program as usize]).cast::<u64>().add(self.index)) };
    }

    #[inline(always)]
    pub(crate) fn count_untokened(&self) {
        // SAFETY: as above.
        unsafe { bump((&raw mut (*self.cpu.0).untokened).cast::<u64>().add(self.index)) };
    }

    #[inline(always)]
    pub(crate) fn count_untokened_irrelevant(&self) {
        // SAFETY: as above.
        unsafe { bump((&raw mut (*self.cpu.0).untokened_irrelevant).cast::<u64>().add(self.index)) };
    }
}

#[inline(always)]
unsafe fn bump(word: *mut u64) -> u64 {
    // SAFETY: the caller's. A plain increment does: each word has one writer at a time.
    unsafe {
        let value = read_volatile(word) + 1;
        write_volatile(word, value);
        value
    }
}
