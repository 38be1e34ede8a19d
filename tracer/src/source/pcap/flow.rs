//! One connection: both its ends, the segments that pass between them, and the transitions that these show.

use finwait_core::observation::{CapturedClose, SeenSegment};
use finwait_core::{MonoNs, TcpState};

use super::emit::{Emitter, Place};
use super::segment::{End, Segment, passes, reaches};
use super::side::Side;

/// Transitions that one segment can show at one end, and a few more.
const STEPS: usize = 8;

/// What became of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is one of the connection's
    Yes,
    /// Its numbers are not those of this connection: a leftover, or damaged
    Odd,
    /// It begins the next connection of the same two ends
    Begins,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    ends: [End; 2],
    sides: [Side; 2],
    reset: Option<(SeenSegment, usize)>,
}

impl Flow {
    /// The connection that `first` shows, if it shows one: not by a reset, which may be of any that was before.
    pub(super) fn new(first: &Segment) -> Option<Self> {
        let sides = match (first.rst, first.syn, first.ack) {
            (true, ..) => return None,
            (_, true, None) => [Side::new(TcpState::Close), Side::new(TcpState::Listen)],
            (_, true, Some(ack)) => {
                let mut opener = Side::new(TcpState::SynSent);
                opener.isn = Some(ack.wrapping_sub(1));
                opener.next = Some(ack);
                opener.opened = true;
                [Side::new(TcpState::Listen), opener]
            }
            (_, false, _) => [Side::new(TcpState::Established), Side::new(TcpState::Established)],
        };
        Some(Self { ends: [first.from, first.to], sides, reset: None })
    }

    /// Whether both ends are done.
    pub(super) fn is_over(&self) -> bool {
        self.reset.is_some()
            || self.sides.iter().all(|side| side.state == TcpState::Close && side.isn.or(side.next).is_some())
    }

    /// Sequence numbers of both ends' SYNs.
    pub(super) fn isns(&self) -> [Option<u32>; 2] {
        [self.sides[0].isn, self.sides[1].isn]
    }

    /// Whether an end's FIN was seen of which it could never be told whether it was the first.
    pub(super) fn is_undecided(&self) -> bool {
        self.sides.iter().any(|side| side.state == TcpState::Established && side.fin.is_some())
    }

    /// Takes in the next segment.
    pub(super) fn take(&mut self, segment: &Segment, seen: SeenSegment, out: &mut Emitter) -> Taken {
        let from = usize::from(segment.from != self.ends[0]);
        if self.ends[0] == self.ends[1] {
            return Taken::Odd; // a socket that is connected to itself has one end
        }
        if segment.is_open() && self.is_other_syn(from, segment.seq) {
            return Taken::Begins;
        }
        if segment.rst {
            return self.take_reset(from, segment, seen, out);
        }
        if !self.fits(from, segment) {
            return Taken::Odd;
        }
        if segment.syn {
            self.take_syn(from, segment, seen, out);
        }
        self.note(from, segment, seen);
        self.settle(seen, out);
        Taken::Yes
    }

    /// Whether a SYN is not the one that began this connection, nor the other end's of a simultaneous open.
    fn is_other_syn(&self, from: usize, seq: u32) -> bool {
        let side = &self.sides[from];
        let fresh = side.isn.is_none() && side.next.is_none();
        let crossing = fresh && self.sides[1 - from].state == TcpState::SynSent;
        !(side.isn == Some(seq) || crossing || fresh && side.state == TcpState::Close)
    }

    fn fits(&self, from: usize, segment: &Segment) -> bool {
        let acks = segment.ack.is_none_or(|ack| self.sides[1 - from].plausible(ack));
        acks && self.sides[from].continues(segment.seq)
    }

    fn take_syn(&mut self, from: usize, segment: &Segment, seen: SeenSegment, out: &mut Emitter) {
        let peer_opened = self.sides[1 - from].opened;
        let side = &mut self.sides[from];
        side.answered |= segment.ack.is_some() && (side.opened || peer_opened);
        if side.isn.is_some() {
            return;
        }
        side.isn = Some(segment.seq);
        side.opened = segment.ack.is_none();
        if side.opened {
            side.state = TcpState::Close;
            self.enter(from, TcpState::SynSent, seen, out);
        }
    }

    fn note(&mut self, from: usize, segment: &Segment, seen: SeenSegment) {
        let [first, second] = &mut self.sides;
        let (me, peer) = if from == 0 { (first, second) } else { (second, first) };
        if segment.fin && me.fin.is_none() && segment.window == 0 {
            peer.blocked_at = peer.next;
        }
        me.sent(segment, seen);
        if let Some(ack) = segment.ack {
            peer.acknowledged(ack);
            peer.acked_bytes += me.acks(ack, peer.isn, seen);
        }
        peer.learn_fin_acked(me);
        me.learn_fin_acked(peer);
    }

    /// Makes every transition that is due now.
    fn settle(&mut self, seen: SeenSegment, out: &mut Emitter) {
        for _ in 0..STEPS {
            let mut moved = false;
            for index in [0, 1] {
                if let Some(state) = self.sides[index].next_state(&self.sides[1 - index]) {
                    self.enter(index, state, seen, out);
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// A reset counts where the receiver would take it: not behind what it expects, or in answer to its SYN.
    fn take_reset(&mut self, from: usize, segment: &Segment, seen: SeenSegment, out: &mut Emitter) -> Taken {
        let receiver = &self.sides[1 - from];
        let valid = match (receiver.state, receiver.ack) {
            (TcpState::SynSent, None) => {
                segment.ack.is_some() && segment.ack == receiver.isn.map(|isn| isn.wrapping_add(1))
                    || self.sides[from].isn.is_some()
            }
            (_, Some(expected)) => {
                reaches(segment.seq, expected) && !passes(segment.seq, expected.wrapping_add(1 << 30))
            }
            (_, None) => self.sides[from].continues(segment.seq),
        };
        if !valid {
            return Taken::Odd;
        }
        self.reset = Some((seen, from));
        for index in [1 - from, from] {
            if index == from {
                self.note_last_bytes(from, segment, seen);
            }
            // A listener's half-open child is no socket yet, and a port without listener has none.
            if !matches!(self.sides[index].state, TcpState::Listen | TcpState::Close) {
                self.enter(index, TcpState::Close, seen, out);
            }
        }
        Taken::Yes
    }

    /// A reset acknowledges what its sender had; whoever receives it ends before taking that in.
    fn note_last_bytes(&mut self, from: usize, segment: &Segment, seen: SeenSegment) {
        let [first, second] = &mut self.sides;
        let (me, peer) = if from == 0 { (first, second) } else { (second, first) };
        let Some(ack) = segment.ack.filter(|ack| me.ack.is_some() && peer.plausible(*ack)) else { return };
        // The FIN is no byte of theirs.
        let fin = peer.fin.filter(|(_, end)| peer.fin_acked.is_none() && reaches(ack, *end));
        let ack = fin.map_or(ack, |(_, end)| end.wrapping_sub(1));
        peer.acked_bytes += me.acks(ack, peer.isn, seen);
    }

    fn enter(&mut self, index: usize, state: TcpState, seen: SeenSegment, out: &mut Emitter) {
        let captured = (state == TcpState::Close).then(|| Box::new(self.captured(index)));
        let cookie = *self.sides[index].cookie.get_or_insert_with(|| out.cookie());
        let (me, peer) = (&self.sides[index], &self.sides[1 - index]);
        let place = Place { cookie, local: self.ends[index], remote: self.ends[1 - index] };
        let at = if self.reset.is_some() { seen.at } else { me.moment(peer, state, seen.at) };
        out.transition(&place, (me, peer), state, at, captured);
        let me = &mut self.sides[index];
        me.state = state;
        me.entered = Some(at);
    }

    /// The close from one end's point of view.
    fn captured(&self, index: usize) -> CapturedClose {
        let (me, peer) = (&self.sides[index], &self.sides[1 - index]);
        CapturedClose {
            own_fin: me.fin.map(|(fin, _)| fin),
            own_fin_acked: me.fin_acked,
            peer_fin: peer.fin.map(|(fin, _)| fin),
            peer_fin_acked: peer.fin_acked,
            reset: self.reset.map(|(reset, _)| reset),
            reset_is_own: self.reset.is_some_and(|(_, from)| from == index),
            own_fins_again: me.fins_again,
            peer_fins_again: peer.fins_again,
            fin_may_have_waited: me.fin_may_have_waited(),
            segments_missing: me.hidden && me.fin.is_none() || peer.hidden && peer.fin.is_none(),
        }
    }
}

/// Time since `earlier`, where it is known.
pub(super) fn elapsed_ns(now: MonoNs, earlier: Option<MonoNs>) -> Option<u64> {
    earlier.and_then(|earlier| now.since(earlier))
}
