//! One end of a connection: what its segments show of its state.
//!
//! A state is entered when a segment of this very end shows it, where one does: an end that acknowledges a FIN has it, and one
//! that was lost beyond the capture point is not taken for received. When it came is taken to be when it passed, unless it was sent
//! again, or something ahead of it was. What an end does not answer (an acknowledgement) is taken to have come when it passed.

use finwait_core::observation::SeenSegment;
use finwait_core::{Cookie, MonoNs, TcpState};

use super::segment::{Segment, passes, reaches};

/// An acknowledgement that is further ahead of everything seen is another connection's.
const FAR: u32 = 1 << 30;
/// A packet that passes two interfaces is captured twice within this time; nothing is sent again so soon.
const TWICE_NS: u64 = 1_000_000;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Side {
    pub(super) state: TcpState,
    /// Its synthetic cookie, once the tracker was told of it
    pub(super) cookie: Option<Cookie>,
    /// It sent the SYN without ACK
    pub(super) opened: bool,
    /// It answered a SYN by a SYN
    pub(super) answered: bool,
    /// Sequence number of its SYN
    pub(super) isn: Option<u32>,
    /// Behind the last that was sent, as far as segments or acknowledgements show
    pub(super) next: Option<u32>,
    /// Highest acknowledgement that it sent
    pub(super) ack: Option<u32>,
    /// The segment that first carried that
    acked_by: Option<SeenSegment>,
    /// Of this end's bytes, those that the other end acknowledged, SYN not counted
    pub(super) acked_bytes: u64,
    /// Its FIN, and the sequence number behind that
    pub(super) fin: Option<(SeenSegment, u32)>,
    pub(super) fin_acked: Option<SeenSegment>,
    pub(super) fins_again: u32,
    /// It may have come when it passed: nothing of this end was sent again or was missing ahead of it
    fin_in_order: bool,
    /// Behind the last that it had sent when the other end's FIN passed, which left no room for more
    pub(super) blocked_at: Option<u32>,
    /// It may have sent a FIN that is not in the capture
    pub(super) hidden: bool,
    /// When its present state was entered
    pub(super) entered: Option<MonoNs>,
    pub(super) last_payload: Option<MonoNs>,
}

impl Side {
    /// An end in `state`, of which nothing was seen so far.
    pub(super) fn new(state: TcpState) -> Self {
        Self {
            state,
            cookie: None,
            opened: false,
            answered: false,
            isn: None,
            next: None,
            ack: None,
            acked_by: None,
            acked_bytes: 0,
            fin: None,
            fin_acked: None,
            fins_again: 0,
            fin_in_order: false,
            blocked_at: None,
            hidden: state == TcpState::Established,
            entered: None,
            last_payload: None,
        }
    }

    /// Whether an acknowledgement by the other end can be one of this end's bytes.
    pub(super) fn plausible(&self, ack: u32) -> bool {
        self.next.is_none_or(|next| ack.wrapping_sub(next).wrapping_add(FAR) < 2 * FAR)
    }

    /// Whether a segment with this sequence number can be this end's.
    pub(super) fn continues(&self, seq: u32) -> bool {
        self.plausible(seq)
    }

    /// What this end sent.
    pub(super) fn sent(&mut self, segment: &Segment, seen: SeenSegment) {
        let end = segment.end();
        if segment.payload_bytes > 0 {
            self.last_payload = Some(seen.at);
        }
        let gap = self.next.is_some_and(|next| passes(segment.seq, next));
        // What lies between was not captured.
        self.hidden |= gap;
        let furthest = self.next.is_none_or(|next| reaches(end, next));
        if furthest && (segment.payload_bytes > 0 || segment.fin) {
            // Nothing follows a FIN: up to here there was none, or it is this one.
            self.hidden = false;
        }
        if furthest {
            self.next = Some(end);
        }
        let same = self.fin.is_some_and(|(fin, _)| seen.at.since(fin.at).is_none_or(|ns| ns < TWICE_NS));
        if self.fin_acked.is_none() && (segment.payload_bytes > 0 || segment.fin) && !same {
            self.fin_in_order = segment.fin && self.fin.is_none() && !gap;
        }
        if segment.fin {
            match self.fin {
                None => self.fin = Some((seen, end)),
                Some((_, known)) if known == end => self.fins_again = self.fins_again.saturating_add(1),
                Some(_) => {}
            }
        }
    }

    /// What the other end acknowledged of it.
    pub(super) fn acknowledged(&mut self, ack: u32) {
        match self.next {
            Some(next) if passes(ack, next) => {
                self.hidden = true;
                self.next = Some(ack);
            }
            Some(_) => {}
            None => self.next = Some(ack),
        }
    }

    /// It acknowledged `ack`; how many bytes more than before.
    pub(super) fn acks(&mut self, ack: u32, peer_isn: Option<u32>, seen: SeenSegment) -> u64 {
        let before = self.ack.or(peer_isn.map(|isn| isn.wrapping_add(1)));
        if self.ack.is_some_and(|known| !passes(ack, known)) {
            return 0;
        }
        self.ack = Some(ack);
        self.acked_by = Some(seen);
        before.filter(|before| passes(ack, *before)).map_or(0, |before| ack.wrapping_sub(before).into())
    }

    /// Whether it acknowledged all up to `end`.
    pub(super) fn has_acked(&self, end: u32) -> bool {
        self.ack.is_some_and(|ack| reaches(ack, end))
    }

    /// Notes that `peer` acknowledged the FIN, if it has.
    pub(super) fn learn_fin_acked(&mut self, peer: &Side) {
        if self.fin_acked.is_none() && self.fin.is_some_and(|(_, end)| peer.has_acked(end)) {
            self.fin_acked = peer.acked_by;
        }
    }

    /// The next state, by what was seen of both ends; `None` to stay.
    pub(super) fn next_state(&self, peer: &Side) -> Option<TcpState> {
        use TcpState::{
            Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent,
        };
        let syn_taken = peer.isn.is_some_and(|isn| self.has_acked(isn.wrapping_add(1)));
        let own_syn_acked = self.isn.is_some_and(|isn| peer.has_acked(isn.wrapping_add(1)));
        let fin_taken = peer.fin.is_some_and(|(_, end)| self.has_acked(end));
        let own_fin_acked = self.fin_acked.is_some();
        match self.state {
            SynSent if syn_taken && self.answered => Some(SynRecv),
            SynSent if syn_taken => Some(Established),
            // As the kernel does it: a socket is there once the handshake is complete.
            Listen if own_syn_acked || self.has_acked_data_of_syn(peer) => Some(SynRecv),
            SynRecv if own_syn_acked => Some(Established),
            Established if self.fin.is_some() => self.first_or_second(peer),
            // Else its own FIN may have been ahead of what it acknowledges here.
            Established if fin_taken && !self.hidden => Some(CloseWait),
            CloseWait if self.fin.is_some() => Some(LastAck),
            FinWait1 if self.crossed(peer) => fin_taken.then_some(Closing),
            FinWait1 if own_fin_acked => Some(FinWait2),
            FinWait2 if fin_taken => Some(Close),
            Closing | LastAck if own_fin_acked => Some(Close),
            _ => None,
        }
    }

    /// When `state` is entered, which the segment that passes `now` made known: a segment from before may be what shows it.
    pub(super) fn moment(&self, peer: &Side, state: TcpState, now: MonoNs) -> MonoNs {
        let own_fin = self.fin.map(|(fin, _)| fin.at);
        let own_acked = self.fin_acked.map(|ack| ack.at);
        let shown = match (self.state, state) {
            (_, TcpState::FinWait1 | TcpState::LastAck) => own_fin,
            (_, TcpState::FinWait2) => own_acked,
            (_, TcpState::CloseWait | TcpState::Closing) => peer.fin_came(),
            (TcpState::FinWait2, TcpState::Close) => peer.fin_came(),
            _ => None,
        };
        shown.unwrap_or(now).max(self.entered.unwrap_or_default())
    }

    /// When the other end had the FIN: as it passed, or where it may not have come then, at the latest when it was acknowledged.
    fn fin_came(&self) -> Option<MonoNs> {
        let passed = self.fin.filter(|_| self.fin_in_order).map(|(fin, _)| fin.at);
        passed.or(self.fin_acked.map(|ack| ack.at))
    }

    /// It took data that came with the SYN (TCP Fast Open): the kernel makes the socket at once.
    fn has_acked_data_of_syn(&self, peer: &Side) -> bool {
        self.ack.zip(peer.isn).is_some_and(|(ack, isn)| passes(ack, isn.wrapping_add(1)))
    }

    /// It sent more ahead of its FIN than it could when the other one came: that, and the FIN, may have been waiting.
    pub(super) fn fin_may_have_waited(&self) -> bool {
        self.blocked_at.zip(self.fin).is_some_and(|(at, (_, end))| passes(end.wrapping_sub(1), at))
    }

    /// Its FIN was sent in knowledge of the other end's, or without; as long as that cannot be told nothing is said.
    fn first_or_second(&self, peer: &Side) -> Option<TcpState> {
        let (own, _) = self.fin?;
        match peer.fin {
            Some((_, end)) if own.ack.is_some_and(|ack| reaches(ack, end)) => Some(TcpState::CloseWait),
            Some(_) => Some(TcpState::FinWait1),
            None if peer.hidden => None,
            None => Some(TcpState::FinWait1),
        }
    }

    fn crossed(&self, peer: &Side) -> bool {
        let knows = |fin: &SeenSegment, end: u32| fin.ack.is_some_and(|ack| reaches(ack, end));
        self.fin.zip(peer.fin).is_some_and(|((own, own_end), (other, other_end))| {
            !knows(&own, other_end) && !knows(&other, own_end)
        })
    }
}
