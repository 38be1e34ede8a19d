//! How a shadow knows which transitions a program before it has seen.
//!
//! The kernel calls prime, then shadow (from 7.0 on two more shadows after it), for each transition. From 6.1 on it skips a
//! program that is already running on this CPU. So whoever sees a transition first leaves a token, and a shadow
//! emits what it finds no token for; only the last one has none to leave.
//!
//! Why nothing is lost silently, up to 6.19: softirqs do not interrupt each other, so there are two levels, and of prime
//! and shadow at most one is on the stack when a nested transition comes. If that is prime, shadow runs for the nested
//! transition, finds no token and emits it. If it is shadow, prime runs and emits it. On kernels without the guard both
//! always run. From 7.0 on a task may be preempted inside a program, and holds it until it runs again: then
//! one task may hold prime, another shadow, when a third transition comes. Each further shadow asks for one more such task at
//! the same time. What escapes them all is still counted by the kernel as prime's `recursion_misses`, and user space
//! compares these with what the shadows rescued.
//!
//! Why nothing is found that was not seen: each program has a ring of tokens of its own, so each has one writer; a slot is
//! invalid while it is written; and a token names the socket's cookie, so that one that was left over does not stand for
//! the next socket at the same address. Up to 6.15 a child still carries its listener's cookie when it leaves LISTEN, so
//! there its next transition, which follows at once, makes prime forget the token of the first.
//!
//! The last shadow takes the token away. If that one was skipped the token is left over, until its slot is needed: a free
//! slot is taken first, so that a task that is kept waiting between two programs finds its token later.
//!
//! What is emitted twice: a transition whose token is elsewhere, since the task went on to another CPU between two programs
//! (from 7.0 on); or whose token is gone, since no slot was free. Such a repetition carries the later program's number
//! and comes with the same socket and states as the record before; user space drops it.

use core::ptr::{read_volatile, write_volatile};

use tracer_common::{TOKEN_RINGS, TOKENS, TcpState, Token, TokenRing};

use crate::{cpu::Cpu, object::Object, socket};

const COMPLETE: u64 = 1 << 16;
const INVALID: u64 = 0;

/// A program's place among those that look at one transition.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rank(usize);

impl Rank {
    pub(crate) const PRIME: Self = Self(0);
    pub(crate) const SHADOW: Self = Self(1);
    pub(crate) const SHADOW2: Self = Self(2);
    pub(crate) const SHADOW3: Self = Self(3);
}

/// One transition, as tokens name it.
#[derive(Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) socket: Object,
    pub(crate) old: u8,
    pub(crate) new: u8,
}

/// Says that the program of `rank` reports this transition. Comes before the report, which takes time.
#[inline(always)]
pub(crate) fn push(cpu: Cpu, rank: Rank, seen: Seen) {
    let cookie = socket::cookie(seen.socket);
    // SAFETY: the per-CPU entry is alive, the slot's number is masked.
    unsafe {
        let ring = ring(cpu, rank.0);
        let place = free_place(ring, read_volatile(&raw const (*ring).top) + 1);
        // On kernels on which prime interrupts itself the nested run has taken its token away before this run goes on.
        write_volatile(&raw mut (*ring).top, place);
        let token = slot(ring, place);
        write_volatile(&raw mut (*token).states, INVALID);
        // The pointer as it is: the verifier allows no arithmetic on it, a cast to an integer would be some.
        write_volatile((&raw mut (*token).socket).cast::<*const u8>(), seen.socket.address());
        write_volatile(&raw mut (*token).cookie, cookie);
        write_volatile(&raw mut (*token).states, seen.states());
    }
}

/// Called by prime: a child that is established was born by now, and whoever was to look for that token has done so.
#[inline(always)]
pub(crate) fn forget_birth(cpu: Cpu, seen: Seen) {
    if seen.old != TcpState::SynRecv.raw() || seen.new != TcpState::Established.raw() {
        return;
    }
    let birth = Seen { old: TcpState::Listen.raw(), new: TcpState::SynRecv.raw(), ..seen };
    let mut number = 0;
    while number < TOKENS as u64 {
        // SAFETY: as in `push`.
        unsafe {
            let token = slot(ring(cpu, Rank::PRIME.0), number);
            if read_volatile(&raw const (*token).states) == birth.states()
                && read_volatile((&raw const (*token).socket).cast::<*const u8>()) == birth.socket.address()
            {
                write_volatile(&raw mut (*token).states, INVALID);
            }
        }
        number += 1;
    }
}

/// The first free place from `next` on; `next` where none is.
#[inline(always)]
unsafe fn free_place(ring: *mut TokenRing, next: u64) -> u64 {
    let mut ahead = 0;
    while ahead < TOKENS as u64 {
        // SAFETY: the caller's ring, and the slot's number is masked.
        if unsafe { read_volatile(&raw const (*slot(ring, next + ahead)).states) } == INVALID {
            return next + ahead;
        }
        ahead += 1;
    }
    next
}

/// Whether a program before `rank` left a token of this transition; with `take` it is gone afterwards.
#[inline(always)]
pub(crate) fn find(cpu: Cpu, rank: Rank, seen: Seen, take: bool) -> bool {
    let cookie = socket::raw_cookie(seen.socket);
    let mut earlier = 0;
    while earlier < rank.0 && earlier < TOKEN_RINGS {
        // SAFETY: as in `push`.
        unsafe {
            let ring = ring(cpu, earlier);
            let top = read_volatile(&raw const (*ring).top);
            let mut back = 0;
            while back < TOKENS as u64 {
                let token = slot(ring, top.wrapping_sub(back));
                // Branches of their own, lest the compiler joins the comparisons by arithmetic on the pointer.
                if read_volatile(&raw const (*token).states) == seen.states()
                    && read_volatile((&raw const (*token).socket).cast::<*const u8>())
                        == seen.socket.address()
                    && read_volatile(&raw const (*token).cookie) == cookie
                {
                    if take {
                        write_volatile(&raw mut (*token).states, INVALID);
                    }
                    return true;
                }
                back += 1;
            }
        }
        earlier += 1;
    }
    false
}

impl Seen {
    #[inline(always)]
    fn states(self) -> u64 {
        COMPLETE | (self.old as u64) << 8 | self.new as u64
    }
}

#[inline(always)]
unsafe fn ring(cpu: Cpu, number: usize) -> *mut TokenRing {
    // SAFETY: the caller's number is below TOKEN_RINGS.
    unsafe { (&raw mut (*cpu.state()).rings).cast::<TokenRing>().add(number) }
}

#[inline(always)]
unsafe fn slot(ring: *mut TokenRing, number: u64) -> *mut Token {
    // SAFETY: the mask keeps it inside the array.
    unsafe { (&raw mut (*ring).tokens).cast::<Token>().add(number as usize & (TOKENS - 1)) }
}
