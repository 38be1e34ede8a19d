//! Per-CPU counters kept by the kernel programs, and the tokens by which shadow knows what prime has seen.

/// `program` of a record made by the tp_btf program that sees nearly everything.
pub const PROGRAM_PRIME: u8 = 0;
/// `program` of a record made by its shadow, which sees what prime was skipped for.
pub const PROGRAM_SHADOW: u8 = 1;
/// `program` of a record made by the classic tracepoint program.
pub const PROGRAM_CLASSIC: u8 = 2;
/// Number of programs that count.
pub const PROGRAMS: usize = 3;
/// Nesting depths told apart; deeper runs share the last.
pub const DEPTHS: usize = 4;
/// Tokens kept per CPU.
pub const TOKENS: usize = 8;
/// States per axis of the pair table: the kernel has 13, 16 lets an index be masked.
pub const PAIR_STATES: usize = 16;

/// What prime leaves behind for shadow: this very transition was seen.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Token {
    /// Address of the socket; 0 is an empty slot.
    pub socket: u64,
    /// `old << 8 | new`, plus 1 << 16 so that it is never 0.
    pub states: u64,
}

/// One CPU's counters. Every word has a single writer at a time: what a program writes is its own, and runs of one program
/// that nest use another `depth`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CpuState {
    /// Runs that are under way on this CPU now, by program: more than one only where the kernel lets a program
    /// interrupt itself (before 6.1).
    pub depth: [u64; PROGRAMS],
    /// Index of the newest token; grows, taken modulo [`TOKENS`].
    pub top: u64,
    /// Tokens, newest at `top`.
    pub tokens: [Token; TOKENS],
    /// Last sequence number given out, by program and depth. The first record has 1.
    pub seq: [[u64; DEPTHS]; PROGRAMS],
    /// Records that found no room in the ring, by program and depth.
    pub lost_ring: [[u64; DEPTHS]; PROGRAMS],
    /// Transitions that shadow found without a token, by shadow's depth: prime was skipped for them.
    pub untokened: [u64; DEPTHS],
    /// Those of `untokened` that are not TCP or did not pass the filter, by depth.
    pub untokened_irrelevant: [u64; DEPTHS],
    /// Transitions by program, depth and [`pair_index`], counted before the ring is asked for room.
    pub pairs: [[[u64; PAIR_STATES * PAIR_STATES]; DEPTHS]; PROGRAMS],
}

/// Index of `old` → `new` in [`CpuState::pairs`].
#[must_use]
#[inline(always)]
pub const fn pair_index(old: u8, new: u8) -> usize {
    (old as usize & (PAIR_STATES - 1)) * PAIR_STATES + (new as usize & (PAIR_STATES - 1))
}

// A per-CPU array's value must fit the kernel's per-CPU allocation unit (32 KiB).
const _: () = assert!(core::mem::size_of::<CpuState>() <= 32 * 1024);
