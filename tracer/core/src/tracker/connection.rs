//! One connection of one socket, as far as it was seen.

use std::sync::Arc;

use tracer_common::TcpState;

use super::closing::{begins_local_close, is_opening};
use super::end::End;
use super::hooked::Hooked;
use super::interned::Interned;
use super::late::{Closing, Late};
use super::surroundings::Surroundings;
use super::trace::{Space, Trace, fingerprint};
use crate::endpoint::Tuple;
use crate::id::{BootId, CgroupId, ConnId, NetNs, Port, SocketKey};
use crate::observation::{AcceptEvent, Family, Program, StateChange, Stream};
use crate::record::Owner;
use crate::time::MonoNs;

/// Steps kept of one connection. A connection makes five to eight; more would be a descriptor's tricks.
pub(crate) const STEPS: usize = 32;
/// Steps that lead to an open connection.
const EARLY_STEPS: usize = 2;

/// See the module. A host may have a million of them open: what only closing ones have is in [`Late`], and what many have
/// alike is shared.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: SocketKey,
    /// Of [`ConnId`]
    pub(crate) generation: u64,
    pub(crate) family: Family,
    pub(crate) state: TcpState,
    pub(crate) tuple: Tuple,
    pub(crate) had_inode: bool,
    /// A dump of the sockets showed it before any of its events
    pub(crate) listed: bool,
    /// The last dump did not show it
    pub(crate) unlisted: bool,
    /// How many of `early` there are
    early_len: u8,
    pub(crate) last_stream: Stream,
    pub(crate) previous_err: Option<i32>,
    /// inet_sport at CLOSE → SYN_SENT while no port was held: the descriptor's last connection's
    stale_port: Option<Port>,
    space: Option<(u32, u32)>,
    /// Of the last event
    positions: Positions,
    /// The first steps, unless there are so many that all of them are in [`Late`]
    early: [Trace; EARLY_STEPS],
    surroundings: Arc<Surroundings>,
    /// Who had a descriptor of it in the last dump
    pub(crate) holder: Option<Arc<Owner>>,
    pub(crate) opener: Option<Arc<Owner>>,
    /// The first to accept it
    pub(crate) acceptor: Option<Arc<Owner>>,
    /// The last one known to have operated on it
    pub(crate) owner: Option<Arc<Owner>>,
    late: Option<Box<Late>>,
}

/// What an event shows of a connection's ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// What is known of them
    Known,
    /// Something that may not be known yet
    Shown,
}

/// What an event is to a connection that is known by the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// It tells the last one again
    Repeated,
    /// It is a later one
    Next(Ends),
    /// It is another connection's
    Not,
}

/// What an event told that may decide a connection's group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Learned {
    /// Its ends, or where it is
    pub(crate) what: bool,
    /// Who owns it
    pub(crate) who: bool,
}

impl Connection {
    /// A connection of which `change` is the first event; [`Connection::apply`] it next.
    pub(crate) fn first_seen(socket: SocketKey, change: &StateChange, interned: &mut Interned) -> Self {
        let surroundings = interned.surroundings(&Surroundings::default().after(change));
        Self::new(socket, change.at, change.family, change.old, change.stream, surroundings)
    }

    /// A connection in `state` at `since` of which no event was seen; `last_stream` is where the next one is expected from.
    pub(crate) fn new(
        socket: SocketKey,
        since: MonoNs,
        family: Family,
        state: TcpState,
        last_stream: Stream,
        surroundings: Arc<Surroundings>,
    ) -> Self {
        Self {
            socket,
            generation: since.0,
            family,
            state,
            tuple: Tuple::default(),
            had_inode: false,
            listed: false,
            unlisted: false,
            early_len: 0,
            last_stream,
            previous_err: None,
            stale_port: None,
            space: None,
            positions: None,
            early: [Trace::NONE; EARLY_STEPS],
            surroundings,
            holder: None,
            opener: None,
            acceptor: None,
            owner: None,
            late: None,
        }
    }

    pub(crate) fn id(&self, boot: BootId) -> ConnId {
        ConnId { boot, socket: self.socket, generation: self.generation }
    }

    pub(crate) fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    pub(crate) fn netns(&self) -> Option<NetNs> {
        self.surroundings.netns
    }

    pub(crate) fn cgroup(&self) -> Option<CgroupId> {
        self.surroundings.cgroup
    }

    /// From now on it has these; says whether it had others before.
    pub(crate) fn surround(&mut self, surroundings: &Surroundings, interned: &mut Interned) -> bool {
        let differ = *self.surroundings != *surroundings;
        if differ {
            self.surroundings = interned.surroundings(surroundings);
        }
        differ
    }

    /// Who opened it, or accepted, or closed, or had a descriptor of it when it was listed.
    pub(crate) fn known_owner(&self) -> Option<&Owner> {
        let opened = self.opener.as_deref().or(self.acceptor.as_deref());
        opened.or(self.closer().map(|(_, owner)| owner)).or(self.holder.as_deref())
    }

    /// Its events in their order, as far as they are kept.
    pub(crate) fn trace(&self) -> &[Trace] {
        match &self.late {
            Some(late) if !late.steps.all().is_empty() => late.steps.all(),
            _ => &self.early[..usize::from(self.early_len)],
        }
    }

    /// Events beyond those.
    pub(crate) fn steps_dropped(&self) -> u32 {
        self.late.as_ref().map_or(0, |late| late.steps_dropped)
    }

    pub(crate) fn last(&self) -> Option<&Trace> {
        self.trace().last()
    }

    pub(crate) fn last_seen_at(&self) -> MonoNs {
        self.last().map_or(MonoNs(self.generation), |trace| trace.at)
    }

    /// What closing showed so far.
    pub(crate) fn closing(&self) -> &Closing {
        static NONE: Closing = Closing::NONE;
        self.late.as_ref().map_or(&NONE, |late| &late.closing)
    }

    /// Who began this end's share of the close, with the index of the event.
    pub(crate) fn closer(&self) -> Option<(usize, &Owner)> {
        let (index, owner) = self.late.as_ref()?.closer.as_ref()?;
        Some((*index, owner))
    }

    /// What the hooks on resets and retransmissions told.
    pub(crate) fn hooked(&self) -> Option<&Hooked> {
        self.late.as_ref()?.hooked.as_deref()
    }

    /// The event that ended it.
    pub(crate) fn end(&self) -> Option<&End> {
        self.late.as_ref()?.end.as_ref()
    }

    pub(crate) fn is_listener(&self) -> bool {
        self.trace().iter().any(|t| t.new == TcpState::Listen || (t.old, t.new) == LISTEN_CLOSED)
    }

    /// What `change` is to it.
    pub(crate) fn expects(&self, change: &StateChange) -> Expected {
        if self.repeats(change) {
            return Expected::Repeated;
        }
        match self.continues_with(change) {
            Some(ends) if !begins(change) => Expected::Next(ends),
            _ => Expected::Not,
        }
    }

    /// A shadow repeats the event that a program before it reported last: same socket, same states, and the same CPU. A task
    /// may also have gone on to another CPU between the two programs. Then the socket must show the very numbers that it
    /// showed before: it was locked all the while. A later connection of the same descriptor begins with others, and
    /// without a change of state the numbers may well stay.
    fn repeats(&self, change: &StateChange) -> bool {
        let follows = match (shadow_rank(self.last_stream.program), shadow_rank(change.stream.program)) {
            (Some(before), Some(now)) => before < now,
            _ => false,
        };
        let moved = self.last_stream.cpu != change.stream.cpu;
        follows
            && self.last().is_some_and(|last| (last.old, last.new) == (change.old, change.new))
            && (!moved
                || change.old != change.new
                    && self.positions.is_some()
                    && positions(change) == self.positions)
    }

    /// Whether `change` can be a later event of this connection, with or without others missing between; and if so, whether
    /// it shows the ends that are known.
    fn continues_with(&self, change: &StateChange) -> Option<Ends> {
        let follows = self.state == change.old && self.state != TcpState::Close;
        if !follows && !leads_to(self.state, change.old) {
            return None;
        }
        if self.tuple.are_those_of(change) {
            return Some(Ends::Known);
        }
        (!self.tuple.contradicts(&Tuple::of(change))).then_some(Ends::Shown)
    }

    /// Takes in the next event, and says what it told. `actor` is the task that is known to have made it.
    pub(crate) fn apply(
        &mut self,
        change: &StateChange,
        ends: Ends,
        actor: Option<&Owner>,
        interned: &mut Interned,
    ) -> Learned {
        self.unlisted = false;
        let mut what = ends == Ends::Shown && self.learn_tuple(change);
        if !self.surroundings.stay(change) {
            what |= self.surround(&self.surroundings.after(change), interned);
        }
        self.had_inode |= change.inode.is_some();
        let who = actor.is_some_and(|actor| self.own(change, actor, interned));
        if self.late.is_some() || !is_opening(change.new) {
            self.note_closing(change, interned);
        }
        let space = self.space_of(change);
        let trace =
            Trace { at: change.at, old: change.old, new: change.new, space, owned: change.lock_owned };
        self.push(trace, interned);
        self.state = change.new;
        self.last_stream = change.stream;
        self.positions = positions(change);
        if change.new == TcpState::Close {
            self.late_mut(interned).end = Some(End::of(change));
        } else {
            self.previous_err = change.err;
        }
        Learned { what, who }
    }

    fn push(&mut self, trace: Trace, interned: &mut Interned) {
        let len = usize::from(self.early_len);
        if let Some(place) = self.early.get_mut(len) {
            *place = trace;
            self.early_len += 1;
            return;
        }
        let early = self.early;
        let late = self.late_mut(interned);
        let kept = late.steps.all().len();
        if kept == 0 {
            early.into_iter().for_each(|step| late.steps.push(step));
        }
        if kept < STEPS {
            late.steps.push(trace);
        } else {
            late.steps_dropped = late.steps_dropped.saturating_add(1);
            late.steps.replace_last(trace);
        }
    }

    pub(super) fn late_mut(&mut self, interned: &mut Interned) -> &mut Late {
        self.late.get_or_insert_with(|| interned.late())
    }

    /// It is over: its room is for others.
    pub(super) fn give_room(&mut self, interned: &mut Interned) {
        if let Some(late) = self.late.take() {
            interned.take_back(late);
        }
    }

    fn learn_tuple(&mut self, change: &StateChange) -> bool {
        let mut tuple = Tuple::of(change);
        // The classic trace point never shows whether a port is held.
        if change.old == TcpState::Close && change.num.is_none() && change.tcp.write_seq.is_some() {
            self.stale_port = change.inet_sport;
        }
        if change.old == TcpState::SynSent && change.new == TcpState::Close {
            tuple.local.port = self.port_at_end(change.num, change.inet_sport);
        }
        self.tuple.learn(tuple)
    }

    /// The local port at SYN_SENT → CLOSE, unless it may be the one that the descriptor had before.
    pub(crate) fn port_at_end(&self, num: Option<Port>, inet_sport: Option<Port>) -> Option<Port> {
        num.or(inet_sport.filter(|port| Some(*port) != self.stale_port))
    }

    /// Says whether another is known to own it now.
    fn own(&mut self, change: &StateChange, actor: &Owner, interned: &mut Interned) -> bool {
        if change.err == Some(ECONNABORTED) {
            return false; // tcp_abort: the administrator's tool, not an owner
        }
        if self.owner.as_deref() != Some(actor) {
            self.owner = Some(interned.owner(actor));
        }
        let mut learned = false;
        if (change.old, change.new) == (TcpState::Close, TcpState::SynSent) {
            self.opener.clone_from(&self.owner);
            learned = true;
        }
        if begins_local_close(change) && self.closer().is_none() {
            let events = self.trace().len();
            self.late_mut(interned).closer = self.owner.clone().map(|owner| (events, owner));
            learned |= self.opener.is_none() && self.acceptor.is_none();
        }
        learned
    }

    /// Where the tales of the hooks on resets and retransmissions go.
    pub(crate) fn hooked_mut(&mut self) -> &mut Hooked {
        self.late.get_or_insert_default().hooked.get_or_insert_default()
    }

    /// The first to accept it; a kernel thread accepts on somebody's behalf.
    pub(crate) fn accepted(&mut self, event: &AcceptEvent, interned: &mut Interned) {
        if let Some(task) = event.task.as_ref().filter(|task| task.kthread != Some(true))
            && self.acceptor.is_none()
        {
            self.acceptor = Some(interned.owner(&Owner::from(task)));
        }
    }

    /// The numbers of `change` and of the last event prove that both are of one connection.
    pub(crate) fn proves_same(&self, change: &StateChange) -> bool {
        self.last().is_some_and(|trace| trace.space == Space::Same)
            && self.space.is_some()
            && fingerprint(change) == self.space
    }

    fn space_of(&mut self, change: &StateChange) -> Space {
        match (fingerprint(change), self.space) {
            (None, _) => Space::Unknown,
            (Some(first), None) => {
                self.space = Some(first);
                Space::Same
            }
            (Some(now), Some(first)) if now == first => Space::Same,
            (Some(_), Some(_)) => Space::Other,
        }
    }
}

/// snd_una, snd_nxt, write_seq and rcv_nxt: where both directions stand.
type Positions = Option<[u32; 4]>;

fn positions(change: &StateChange) -> Positions {
    let tcp = &change.tcp;
    Some([tcp.snd_una?, tcp.snd_nxt?, tcp.write_seq?, tcp.rcv_nxt?])
}

/// A transition that no connection followed so far can make.
fn begins(change: &StateChange) -> bool {
    change.old == TcpState::Close || (change.old, change.new) == (TcpState::Listen, TcpState::SynRecv)
}

/// Place among the programs that the kernel calls one after the other for one transition.
fn shadow_rank(program: Program) -> Option<u8> {
    match program {
        Program::Prime => Some(0),
        Program::Shadow => Some(1),
        Program::Shadow2 => Some(2),
        Program::Shadow3 => Some(3),
        _ => None,
    }
}

/// ECONNABORTED, the error of tcp_abort (Linux, all architectures but those with numbers of their own).
pub(crate) const ECONNABORTED: i32 = 103;

const LISTEN_CLOSED: (TcpState, TcpState) = (TcpState::Listen, TcpState::Close);

/// Whether a connection in `from` can reach `to` later without passing CLOSE (RFC 9293, figure 5, as Linux walks it).
pub(crate) fn leads_to(from: TcpState, to: TcpState) -> bool {
    use TcpState::{
        Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent,
    };
    let rank = |state| match state {
        Close | Listen => Some(0),
        SynSent => Some(1),
        SynRecv => Some(2),
        Established => Some(3),
        FinWait1 | CloseWait => Some(4),
        FinWait2 | Closing | LastAck => Some(5),
        TcpState::TimeWait | TcpState::NewSynRecv => None,
    };
    match (from, to) {
        (Close | Listen, _) | (_, Close | Listen) => false,
        (FinWait1, LastAck) | (CloseWait, FinWait2 | Closing) => false,
        (from, to) => matches!((rank(from), rank(to)), (Some(a), Some(b)) if a < b),
    }
}

/// `later − earlier` of sequence numbers, where both are known.
pub(crate) fn difference(later: Option<u32>, earlier: Option<u32>) -> Option<u32> {
    Some(later?.wrapping_sub(earlier?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::change;
    use TcpState::{Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, SynRecv, SynSent};

    #[test]
    fn states_follow_each_other_as_the_state_machine_allows() {
        for (from, to, allowed) in [
            (SynSent, Established, true),
            (SynSent, SynRecv, true),
            (Established, FinWait2, true),
            (Established, LastAck, true),
            (FinWait1, Closing, true),
            (FinWait1, LastAck, false),
            (CloseWait, FinWait2, false),
            (FinWait2, Established, false),
            (Close, FinWait1, false),
            (LastAck, FinWait2, false),
        ] {
            assert_eq!(leads_to(from, to), allowed, "{from:?} to {to:?}");
        }
    }

    #[test]
    fn sequence_numbers_that_do_not_fit_are_another_connections() {
        let mut interned = Interned::new();
        let first = change(1, SynSent, Established);
        let mut connection =
            Connection::first_seen(SocketKey::Cookie(crate::Cookie(1)), &first, &mut interned);
        let mut numbered = |at, old, new, una: u32, acked| {
            let mut c = change(at, old, new);
            c.tcp.snd_una = Some(una);
            c.tcp.bytes_acked = Some(acked);
            c.tcp.rcv_nxt = Some(77);
            c.tcp.bytes_received = Some(0);
            connection.apply(&c, Ends::Shown, None, &mut interned);
            connection.last().unwrap().space
        };
        assert_eq!(numbered(1, SynSent, Established, 1001, 1), Space::Same);
        assert_eq!(numbered(2, Established, FinWait1, 1501, 501), Space::Same);
        assert_eq!(numbered(3, FinWait1, FinWait2, 99, 1), Space::Other);
    }
}
