//! One run of a hook: its nesting depth and its counters on this CPU. They are apart from [`crate::cpu`]'s, which every
//! transition touches; the reasoning about who writes what is the same.

use core::{
    hint::black_box,
    ptr::{read_volatile, write_volatile},
};

use aya_ebpf::{macros::map, maps::PerCpuArray};
use tracer_common::{DEPTHS, HOOK_PROGRAMS, HookState, PROGRAM_HOOKS};

use crate::cpu::bump;

#[map]
static HOOK_CPUS: PerCpuArray<HookState> = PerCpuArray::with_max_entries(HOOK_PROGRAMS as u32, 0);

/// A nesting depth that this run holds: the hook's counters of this depth are its own until `leave`.
pub(crate) struct Run {
    state: *mut HookState,
    program: u8,
    raw: u64,
    index: usize,
}

impl Run {
    /// `None` never comes true: every hook has its entry on every CPU.
    #[inline(always)]
    pub(crate) fn enter(program: u8) -> Option<Self> {
        let state = HOOK_CPUS.get_ptr_mut((program - PROGRAM_HOOKS).into())?;
        // SAFETY: the map's value, alive as long as the program runs.
        unsafe {
            let taken = &raw mut (*state).depth;
            let raw = read_volatile(taken);
            write_volatile(taken, raw + 1);
            let index = if raw < DEPTHS as u64 { raw as usize } else { DEPTHS - 1 };
            // The compiler knows by now that it is small, the verifier may have lost sight of that (5.10 forgets it of a
            // number that was spilled before it was compared): the mask has to stay.
            Some(Self { state, program, raw, index: black_box(index) & (DEPTHS - 1) })
        }
    }

    /// What goes into a record.
    #[inline(always)]
    pub(crate) fn depth(&self) -> u8 {
        self.index as u8
    }

    /// The hook.
    #[inline(always)]
    pub(crate) fn program(&self) -> u8 {
        self.program
    }

    #[inline(always)]
    pub(crate) fn leave(self) {
        // SAFETY: as in `enter`.
        unsafe { write_volatile(&raw mut (*self.state).depth, self.raw) }
    }

    #[inline(always)]
    pub(crate) fn next_seq(&self) -> u64 {
        // SAFETY: `index` stays below the array's length.
        unsafe { bump((&raw mut (*self.state).seq).cast::<u64>().add(self.index)) }
    }

    #[inline(always)]
    pub(crate) fn count_ring_loss(&self) {
        // SAFETY: as above.
        unsafe { bump((&raw mut (*self.state).lost_ring).cast::<u64>().add(self.index)) };
    }

    /// Whether `pointer` is null. Some kernels (6.10 to 6.12) call a tracepoint with null where their verifier takes the
    /// argument for a sound pointer, and would cut a comparison out. Read back from memory it is a number like any other.
    #[inline(always)]
    pub(crate) fn is_null(&self, pointer: *const u8) -> bool {
        // SAFETY: as above.
        unsafe {
            let scratch = (&raw mut (*self.state).scratch).cast::<u64>().add(self.index);
            write_volatile(scratch.cast(), pointer);
            read_volatile(scratch) == 0
        }
    }
}

// A mask keeps the depth below their number.
const _: () = assert!(DEPTHS.is_power_of_two());
