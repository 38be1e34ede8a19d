//! The connections that are open at this point of the capture, and for a while those that were.
//!
//! Bounded: by a number, and by how long nothing was heard of a connection, in the capture's own time.

use std::collections::HashMap;

use finwait_core::MonoNs;
use finwait_core::observation::SeenSegment;

use super::books::CaptureBooks;
use super::emit::Emitter;
use super::flow::{Flow, Taken};
use super::segment::{End, Segment};

const SECOND: u64 = 1_000_000_000;
/// A connection that is over is remembered this long, so that what is sent again begins none: as long as TIME_WAIT.
const OVER_NS: u64 = 60 * SECOND;
/// connect() gives up after 127 s by default.
const OPENING_NS: u64 = 150 * SECOND;
/// Longer than keepalive leaves a connection idle by default (two hours).
const IDLE_NS: u64 = 3 * 3600 * SECOND;
/// The share of a full table that is put out at once.
const SHARE: usize = 16;

/// Both ends, the smaller one first.
type Key = (End, End);

struct Followed {
    flow: Flow,
    last: MonoNs,
    /// Segments of both ends passed
    answered: bool,
    opener: End,
}

/// See the module.
pub(super) struct Flows {
    capacity: usize,
    flows: HashMap<Key, Followed>,
    /// Segments since the table was last looked through
    since_sweep: usize,
    pub(super) out: Emitter,
}

impl Flows {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), flows: HashMap::new(), since_sweep: 0, out: Emitter::default() }
    }

    /// Takes in the next segment, the packet with number `frame`.
    pub(super) fn take(&mut self, segment: &Segment, frame: u64, at: MonoNs, books: &mut CaptureBooks) {
        let seen = SeenSegment {
            frame,
            at,
            seq: segment.seq,
            ack: segment.ack,
            payload_bytes: segment.payload_bytes,
            fin: segment.fin,
            rst: segment.rst,
        };
        let key = (segment.from.min(segment.to), segment.from.max(segment.to));
        self.sweep(at, books);
        if let Some(followed) = self.flows.get_mut(&key) {
            let taken = followed.flow.take(segment, seen, &mut self.out);
            if taken != Taken::Begins {
                books.odd += u64::from(taken == Taken::Odd);
                followed.last = followed.last.max(at);
                followed.answered |= segment.from != followed.opener;
                return;
            }
            books.superseded += u64::from(!followed.flow.is_over());
            self.flows.remove(&key);
        }
        self.begin(key, segment, seen, books);
    }

    /// Connections of which both ends are not done.
    pub(super) fn unfinished(&self) -> u64 {
        self.flows.values().filter(|followed| !followed.flow.is_over()).count() as u64
    }

    /// Those of them that closed in a way that the capture does not tell.
    pub(super) fn undecided(&self) -> u64 {
        self.flows.values().filter(|followed| is_undecided(followed)).count() as u64
    }

    fn begin(&mut self, key: Key, segment: &Segment, seen: SeenSegment, books: &mut CaptureBooks) {
        let Some(mut flow) = Flow::new(segment) else {
            books.strays += 1;
            return;
        };
        books.connections += 1;
        books.odd += u64::from(flow.take(segment, seen, &mut self.out) == Taken::Odd);
        let followed = Followed { flow, last: seen.at, answered: false, opener: segment.from };
        self.flows.insert(key, followed);
    }

    /// Looks through the table now and then: when it is full, and when so many segments came that it is cheap.
    fn sweep(&mut self, now: MonoNs, books: &mut CaptureBooks) {
        self.since_sweep += 1;
        let full = self.flows.len() >= self.capacity;
        if !full && self.since_sweep < self.flows.len().max(1024) {
            return;
        }
        self.since_sweep = 0;
        self.flows.retain(|_, followed| {
            let idle = now.since(followed.last).unwrap_or(0);
            let over = followed.flow.is_over();
            let limit = match (over, followed.answered) {
                (true, _) => OVER_NS,
                (false, false) => OPENING_NS,
                (false, true) => IDLE_NS,
            };
            let kept = idle <= limit;
            if !kept && !over {
                books.idle += 1;
                books.undecided += u64::from(is_undecided(followed));
            }
            kept
        });
        if self.flows.len() >= self.capacity {
            self.make_room(books);
        }
    }

    /// Those that are over go first, then the longest idle.
    fn make_room(&mut self, books: &mut CaptureBooks) {
        let rank = |followed: &Followed| (!followed.flow.is_over(), followed.last);
        let mut ranks: Vec<_> = self.flows.values().map(rank).collect();
        let out = (self.capacity / SHARE).min(ranks.len().saturating_sub(1));
        let (_, limit, _) = ranks.select_nth_unstable(out);
        let limit = *limit;
        self.flows.retain(|_, followed| {
            let kept = rank(followed) > limit;
            if !kept && !followed.flow.is_over() {
                books.evicted += 1;
                books.undecided += u64::from(is_undecided(followed));
            }
            kept
        });
    }
}

fn is_undecided(followed: &Followed) -> bool {
    !followed.flow.is_over() && followed.flow.is_undecided()
}
