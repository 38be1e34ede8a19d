//! How shadow knows which transitions prime has seen.
//!
//! The kernel calls prime, then shadow, for each transition. From 6.1 on it skips a program that is already running
//! on this CPU: a softirq that interrupts prime has its transitions skipped by prime, and one that interrupts shadow
//! has them skipped by shadow. So prime leaves a token, and shadow emits what it finds no token for.
//!
//! Why nothing is lost silently: softirqs do not interrupt each other, so there are two levels, and of the two
//! programs at most one is on the stack when a nested transition comes. If that is prime, shadow runs for the nested
//! transition, finds no token and emits it. If it is shadow, prime runs and emits it. On kernels without the guard both
//! always run. Newer kernels (seen on 7.3) let a task be preempted inside a program: then one task may hold prime and another
//! shadow when a third transition comes, which escapes both. That is still counted by the kernel as prime's
//! `recursion_misses`, and user space compares these with what shadow rescued.
//!
//! Why nothing is emitted twice: prime puts its token down before it does anything that takes time, and only the
//! shadow of the same transition takes it away: nobody else can report the same states of the same socket in between,
//! as the socket is locked. A token is complete only with its last write (`states`), and a slot's old token has been
//! cleared by its shadow, so a nested shadow never reads half a token as its own.
//!
//! Slots are used round robin: a token whose shadow was skipped, or that was put down before shadow was
//! attached, is not taken by anyone and is overwritten eight tokens later. A stack that is popped would keep it for good,
//! and it could then hide a skipped transition of a socket at the same address. The price: if more than seven
//! transitions are pushed by one softirq burst between prime's token and its shadow's search, that token is gone
//! and shadow emits the transition again. Such a duplicate carries shadow's number and comes with the same
//! socket and states as the record before; user space drops it.

use core::ptr::{read_volatile, write_volatile};

use tracer_common::{TOKENS, Token};

use crate::{cpu::Cpu, object::Object};

const COMPLETE: u64 = 1 << 16;
const TAKEN: u64 = 0;

/// Says that prime was called for this transition. Must come before all else that prime does.
#[inline(always)]
pub(crate) fn push(cpu: Cpu, socket: Object, old: u8, new: u8) {
    // SAFETY: the per-CPU entry is alive, the slot's number is masked.
    unsafe {
        let state = cpu.state();
        let top = read_volatile(&raw const (*state).top) + 1;
        // First of all, for the kernels on which prime interrupts itself: the nested run must take another slot.
        write_volatile(&raw mut (*state).top, top);
        let token = slot(cpu, top);
        // The pointer as it is: the verifier allows no arithmetic on it, a cast to an integer would be some.
        write_volatile((&raw mut (*token).socket).cast::<*const u8>(), socket.address());
        write_volatile(&raw mut (*token).states, states(old, new));
    }
}

/// Takes the token of this transition away; false if prime left none.
#[inline(always)]
pub(crate) fn take(cpu: Cpu, socket: Object, old: u8, new: u8) -> bool {
    // SAFETY: as in `push`.
    unsafe {
        let top = read_volatile(&raw const (*cpu.state()).top);
        let mut back = 0;
        while back < TOKENS as u64 {
            let token = slot(cpu, top.wrapping_sub(back));
            // Two branches, lest the compiler joins the comparisons by arithmetic on the pointer.
            if read_volatile(&raw const (*token).states) == states(old, new)
                && read_volatile((&raw const (*token).socket).cast::<*const u8>()) == socket.address()
            {
                write_volatile(&raw mut (*token).states, TAKEN);
                return true;
            }
            back += 1;
        }
        false
    }
}

#[inline(always)]
unsafe fn slot(cpu: Cpu, number: u64) -> *mut Token {
    // SAFETY: the mask keeps it inside the array.
    unsafe { (&raw mut (*cpu.state()).tokens).cast::<Token>().add(number as usize & (TOKENS - 1)) }
}

#[inline(always)]
fn states(old: u8, new: u8) -> u64 {
    COMPLETE | (old as u64) << 8 | new as u64
}
