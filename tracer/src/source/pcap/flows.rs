//! The connections that are open at this point of the capture, and for a while those that were.
//!
//! Bounded: by a number, and by how long nothing was heard of a connection, in the capture's own time.

use finwait_core::MonoNs;
use finwait_core::observation::SeenSegment;
use hashbrown::HashMap;

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
    stage: Stage,
    last: MonoNs,
    /// Segments of both ends passed
    answered: bool,
    /// The end that the flow has first is the smaller one
    first_is_smaller: bool,
}

enum Stage {
    Open(Box<Flow>),
    /// Both ends are done; the sequence numbers of their SYNs tell what is sent again
    Over([Option<u32>; 2]),
}

impl Followed {
    fn new(flow: Flow, key: &Key, first: End, at: MonoNs) -> Self {
        let mut followed = Self {
            stage: Stage::Open(Box::new(flow)),
            last: at,
            answered: false,
            first_is_smaller: first == key.0,
        };
        followed.close();
        followed
    }

    fn take(&mut self, segment: &Segment, key: &Key, seen: SeenSegment, out: &mut Emitter) -> Taken {
        let from = usize::from((segment.from == key.0) != self.first_is_smaller);
        let taken = match &mut self.stage {
            Stage::Open(flow) => flow.take(segment, seen, out),
            Stage::Over(isns) if segment.is_open() && isns[from] != Some(segment.seq) => Taken::Begins,
            Stage::Over(_) => Taken::Yes,
        };
        if taken != Taken::Begins {
            self.last = self.last.max(seen.at);
            self.answered |= from == 1;
            self.close();
        }
        taken
    }

    /// Keeps no more of a connection that is over than it takes to know it again.
    fn close(&mut self) {
        if let Stage::Open(flow) = &self.stage
            && flow.is_over()
        {
            self.stage = Stage::Over(flow.isns());
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over(_))
    }

    /// It has closed, as far as that goes, in a way that the capture does not tell.
    fn is_undecided(&self) -> bool {
        matches!(&self.stage, Stage::Open(flow) if flow.is_undecided())
    }
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
            let taken = followed.take(segment, &key, seen, &mut self.out);
            if taken != Taken::Begins {
                books.odd += u64::from(taken == Taken::Odd);
                return;
            }
            books.superseded += u64::from(!followed.is_over());
            self.flows.remove(&key);
        }
        self.begin(key, segment, seen, books);
    }

    /// Connections of which both ends are not done.
    pub(super) fn unfinished(&self) -> u64 {
        self.flows.values().filter(|followed| !followed.is_over()).count() as u64
    }

    /// Those of them that closed in a way that the capture does not tell.
    pub(super) fn undecided(&self) -> u64 {
        self.flows.values().filter(|followed| followed.is_undecided()).count() as u64
    }

    fn begin(&mut self, key: Key, segment: &Segment, seen: SeenSegment, books: &mut CaptureBooks) {
        let Some(mut flow) = Flow::new(segment) else {
            books.strays += 1;
            return;
        };
        books.connections += 1;
        books.odd += u64::from(flow.take(segment, seen, &mut self.out) == Taken::Odd);
        self.flows.insert(key, Followed::new(flow, &key, segment.from, seen.at));
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
            let over = followed.is_over();
            let limit = match (over, followed.answered) {
                (true, _) => OVER_NS,
                (false, false) => OPENING_NS,
                (false, true) => IDLE_NS,
            };
            let kept = idle <= limit;
            if !kept && !over {
                books.idle += 1;
                books.undecided += u64::from(followed.is_undecided());
            }
            kept
        });
        if self.flows.len() >= self.capacity {
            self.make_room(books);
        }
    }

    /// Those that are over go first, then the longest idle.
    fn make_room(&mut self, books: &mut CaptureBooks) {
        let rank = |followed: &Followed| (!followed.is_over(), followed.last);
        let mut ranks: Vec<_> = self.flows.values().map(rank).collect();
        let out = (self.capacity / SHARE).min(ranks.len().saturating_sub(1));
        let (_, limit, _) = ranks.select_nth_unstable(out);
        let limit = *limit;
        self.flows.retain(|_, followed| {
            let kept = rank(followed) > limit;
            if !kept && !followed.is_over() {
                books.evicted += 1;
                books.undecided += u64::from(followed.is_undecided());
            }
            kept
        });
    }
}
