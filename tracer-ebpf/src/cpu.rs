//! This CPU's counters.
//!
//! From 6.1 on the kernel never runs a program twice at once on one CPU: what is kept for each program has one writer.
//! Before, a softirq may run a program inside the same program, but then nothing else can come between: such runs nest
//! strictly, and what both write is kept apart by depth. Nothing here rests on prime and its shadows not interrupting each
//! other: from 7.0 on a task may be preempted inside them. Every access is volatile, so that the compiler keeps the
//! order.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::{macros::map, maps::PerCpuArray};
use tracer_common::{CpuState, PAIR_STATES, depths, lane, pair_index};

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

    /// Takes a nesting depth of `program`. None of its counters may be touched before: a nested run finds this depth taken
    /// or, if it came before the write below, has given it back by then.
    #[inline(always)]
    pub(crate) fn enter(self, program: u8) -> Depth {
        let last = depths(program) as u64 - 1;
        // SAFETY: the map's value, alive as long as the program runs; `program` is one of the constants.
        unsafe {
            let taken = (&raw mut (*self.0).depth).cast::<u64>().add(program as usize);
            let raw = read_volatile(taken);
            write_volatile(taken, raw + 1);
            let index = if raw < last { raw as u8 } else { last as u8 };
            // Both numbers are known: 0 stands in for what cannot be.
            let lane = match lane(program, index) {
                Some(lane) => lane,
                None => 0,
            };
            Depth { cpu: self, program, raw, index, lane }
        }
    }
}

/// A nesting depth that this run holds: the program's counters of this depth are its own until `leave`.
pub(crate) struct Depth {
    cpu: Cpu,
    program: u8,
    raw: u64,
    index: u8,
    lane: usize,
}

impl Depth {
    /// What goes into a record.
    #[inline(always)]
    pub(crate) fn index(&self) -> u8 {
        self.index
    }

    /// The program that runs.
    #[inline(always)]
    pub(crate) fn program(&self) -> u8 {
        self.program
    }

    #[inline(always)]
    pub(crate) fn leave(self) {
        // SAFETY: as in `enter`.
        unsafe {
            write_volatile((&raw mut (*self.cpu.0).depth).cast::<u64>().add(self.program as usize), self.raw)
        }
    }

    #[inline(always)]
    pub(crate) fn count_pair(&self, old: u8, new: u8) {
        // SAFETY: `pair_index` and `lane` stay below the tables' lengths.
        unsafe {
            let pairs = (&raw mut (*self.cpu.0).pairs).cast::<u64>();
            bump(pairs.add(self.lane * PAIR_STATES * PAIR_STATES + pair_index(old, new)));
        }
    }

    #[inline(always)]
    pub(crate) fn next_seq(&self) -> u64 {
        // SAFETY: as above.
        unsafe { bump((&raw mut (*self.cpu.0).seq).cast::<u64>().add(self.lane)) }
    }

    #[inline(always)]
    pub(crate) fn count_ring_loss(&self) {
        // SAFETY: as above.
        unsafe { bump((&raw mut (*self.cpu.0).lost_ring).cast::<u64>().add(self.lane)) };
    }

    #[inline(always)]
    pub(crate) fn count_untokened(&self) {
        // SAFETY: as above.
        unsafe { bump((&raw mut (*self.cpu.0).untokened).cast::<u64>().add(self.lane)) };
    }

    #[inline(always)]
    pub(crate) fn count_untokened_irrelevant(&self) {
        // SAFETY: as above.
        unsafe { bump((&raw mut (*self.cpu.0).untokened_irrelevant).cast::<u64>().add(self.lane)) };
    }
}

/// Counts one more.
///
/// # Safety
/// `word` lies in a map's value.
#[inline(always)]
pub(crate) unsafe fn bump(word: *mut u64) -> u64 {
    // SAFETY: the caller's. A plain increment does: each word has one writer at a time.
    unsafe {
        let value = read_volatile(word) + 1;
        write_volatile(word, value);
        value
    }
}
