//! Per-CPU counters kept by the kernel programs, and the tokens by which a shadow knows what a program before it has seen.

/// `program` of a record made by the tp_btf program that sees nearly everything.
pub const PROGRAM_PRIME: u8 = 0;
/// `program` of a record made by its shadow, which sees what prime was skipped for.
pub const PROGRAM_SHADOW: u8 = 1;
/// `program` of a record made by the classic tracepoint program.
pub const PROGRAM_CLASSIC: u8 = 2;
/// `program` of a record made by the second shadow, which sees what prime and shadow were skipped for.
pub const PROGRAM_SHADOW2: u8 = 3;
/// `program` of a record made by the third shadow.
pub const PROGRAM_SHADOW3: u8 = 4;
/// Number of programs that count.
pub const PROGRAMS: usize = 5;
/// Nesting depths told apart; deeper runs share the last.
pub const DEPTHS: usize = 4;
/// Programs that run on kernels where a program may interrupt itself: their depths are told apart.
const NESTING_PROGRAMS: usize = 3;
/// Counters kept apart: one set for each program and depth, see [`lane`].
pub const LANES: usize = NESTING_PROGRAMS * DEPTHS + (PROGRAMS - NESTING_PROGRAMS);
/// Programs that leave tokens: prime and every shadow but the last.
pub const TOKEN_RINGS: usize = 3;
/// Tokens of one program kept per CPU.
pub const TOKENS: usize = 16;
/// States per axis of the pair table: the kernel has 13, 16 lets an index be masked.
pub const PAIR_STATES: usize = 16;

/// What a program leaves behind for those after it: this very transition was seen.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Token {
    /// Address of the socket; 0 is an empty slot.
    pub socket: u64,
    /// The socket's cookie, 0 where the kernel gives none: addresses are used again at once, and a token may be left over.
    pub cookie: u64,
    /// `old << 8 | new`, plus 1 << 16 so that it is never 0.
    pub states: u64,
}

/// The last tokens of one program, which alone writes here.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenRing {
    /// Index of the newest token; grows, taken modulo [`TOKENS`].
    pub top: u64,
    /// Tokens, newest at `top`; free slots between them.
    pub tokens: [Token; TOKENS],
}

/// One CPU's counters. Every word has a single writer at a time: what a program writes is its own, and runs of one program
/// that nest use another `depth`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CpuState {
    /// Runs that are under way on this CPU now, by program: more than one only where the kernel lets a program
    /// interrupt itself (before 6.1).
    pub depth: [u64; PROGRAMS],
    /// Tokens of prime, of shadow and of the second shadow.
    pub rings: [TokenRing; TOKEN_RINGS],
    /// Last sequence number given out, by [`lane`]. The first record has 1.
    pub seq: [u64; LANES],
    /// Records that found no room in the ring, by [`lane`].
    pub lost_ring: [u64; LANES],
    /// Transitions that a shadow found without a token, by [`lane`]: the programs before it were skipped for them.
    pub untokened: [u64; LANES],
    /// Those of `untokened` that are not TCP or did not pass the filter, by [`lane`].
    pub untokened_irrelevant: [u64; LANES],
    /// Transitions by [`lane`] and [`pair_index`], counted before the ring is asked for room.
    pub pairs: [[u64; PAIR_STATES * PAIR_STATES]; LANES],
}

/// Depths of `program` that have counters of their own. The shadows added for newer kernels never interrupt themselves.
#[must_use]
#[inline(always)]
pub const fn depths(program: u8) -> usize {
    if (program as usize) < NESTING_PROGRAMS { DEPTHS } else { 1 }
}

/// Index of the counters of `program` at `depth`; `None` where there is no such program or depth.
#[must_use]
#[inline(always)]
pub const fn lane(program: u8, depth: u8) -> Option<usize> {
    let (program, depth) = (program as usize, depth as usize);
    if program < NESTING_PROGRAMS && depth < DEPTHS {
        Some(program * DEPTHS + depth)
    } else if program < PROGRAMS && depth == 0 {
        Some(NESTING_PROGRAMS * DEPTHS + program - NESTING_PROGRAMS)
    } else {
        None
    }
}

/// Index of `old` → `new` in [`CpuState::pairs`].
#[must_use]
#[inline(always)]
pub const fn pair_index(old: u8, new: u8) -> usize {
    (old as usize & (PAIR_STATES - 1)) * PAIR_STATES + (new as usize & (PAIR_STATES - 1))
}

// A per-CPU array's value must fit the kernel's per-CPU allocation unit (32 KiB).
const _: () = assert!(core::mem::size_of::<CpuState>() <= 32 * 1024);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_and_depth_has_counters_of_its_own() {
        let mut seen = [false; LANES];
        for program in 0..=u8::MAX {
            for depth in 0..=u8::MAX {
                let known = (program as usize) < PROGRAMS && (depth as usize) < depths(program);
                assert_eq!(lane(program, depth).is_some(), known, "program {program}, depth {depth}");
                if let Some(lane) = lane(program, depth) {
                    assert!(!core::mem::replace(&mut seen[lane], true), "lane {lane} has two owners");
                }
            }
        }
        assert_eq!(seen, [true; LANES]);
    }
}
