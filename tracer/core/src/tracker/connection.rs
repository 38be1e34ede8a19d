//! One connection of one socket, as far as it was seen.

use tracer_common::TcpState;

use super::hooked::Hooked;
use crate::endpoint::Tuple;
use crate::id::{BootId, CgroupId, ConnId, NetNs, Port, SocketKey};
use crate::observation::{Family, Program, Shutdown, StateChange, Stream};
use crate::record::{Owner, Step, TransitionRecord};
use crate::time::MonoNs;

/// Steps kept of one connection. A connection makes five to eight; more would be a descriptor's tricks.
const STEPS: usize = 32;

/// Whether a step's sequence numbers and byte counts fit those of the connection's first step that had any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    /// They were not shown
    Unknown,
    /// They fit: it is the same connection, whatever was lost between
    Same,
    /// They do not
    Other,
}

/// A transition, and whether its numbers prove that it belongs to this connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trace {
    pub(crate) step: Step,
    pub(crate) space: Space,
    /// A task held the socket: a segment that came earlier may only have been taken in now
    pub(crate) owned: Option<bool>,
}

/// The event that began this end's share of the close.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalBegin {
    /// Its place among the connection's events
    pub(crate) index: usize,
    pub(crate) shutdown: Option<Shutdown>,
    /// close() would wait with the socket still alive (SO_LINGER with a time)
    pub(crate) lingers: bool,
    pub(crate) lock_owned: Option<bool>,
    pub(crate) kthread: Option<bool>,
    pub(crate) exiting: Option<bool>,
    pub(crate) exit_signal: Option<u8>,
    /// At the next event: what close() does before it lets go of the socket
    pub(crate) dead_next: Option<bool>,
}

/// What entering a closing state showed, kept for the claims made at the end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Closing {
    /// tcp_clock_cache at FIN_WAIT1 → FIN_WAIT2
    pub(crate) fin_wait2_clock_ns: Option<u64>,
    /// rcv_nxt was past rcv_wup at CLOSE_WAIT → LAST_ACK
    pub(crate) ack_pending: Option<bool>,
    /// write_seq − snd_nxt when our FIN was queued
    pub(crate) unsent_bytes: Option<u32>,
    /// Nothing kept our FIN back when it was queued: no data ahead of it, none on its way that could fill the congestion
    /// window, and the peer's window open
    pub(crate) fin_left_at_once: Option<bool>,
    /// total_retrans when our FIN was queued
    pub(crate) retrans_before: Option<u32>,
    /// At the first FIN
    pub(crate) idle_send_ns: Option<u64>,
    /// At the first FIN
    pub(crate) idle_receive_ns: Option<u64>,
    /// bytes_received when our FIN was queued first
    pub(crate) received_before_bytes: Option<u64>,
    /// bytes_acked when the peer's FIN came first
    pub(crate) acked_before_bytes: Option<u64>,
    pub(crate) began: Option<LocalBegin>,
    /// write_seq − snd_nxt when the peer's FIN found ours unacknowledged
    pub(crate) unsent_at_closing_bytes: Option<u32>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnId,
    pub(crate) family: Family,
    pub(crate) state: TcpState,
    pub(crate) tuple: Tuple,
    pub(crate) netns: Option<NetNs>,
    pub(crate) cgroup: Option<CgroupId>,
    pub(crate) uid: Option<u32>,
    pub(crate) mark: Option<u32>,
    pub(crate) is_mptcp: Option<bool>,
    pub(crate) had_inode: bool,
    /// A dump of the sockets showed it before any of its events
    pub(crate) listed: bool,
    /// The last dump did not show it
    pub(crate) unlisted: bool,
    /// Who had a descriptor of it in the last dump
    pub(crate) holder: Option<Owner>,
    pub(crate) opener: Option<Owner>,
    /// With the index of its event
    pub(crate) closer: Option<(usize, Owner)>,
    pub(crate) owner: Option<Owner>,
    pub(crate) closing: Closing,
    pub(crate) trace: Vec<Trace>,
    pub(crate) steps_dropped: u32,
    pub(crate) last_stream: Stream,
    pub(crate) previous_err: Option<i32>,
    pub(crate) end: Option<Box<StateChange>>,
    pub(crate) held: Option<Box<TransitionRecord>>,
    pub(crate) hooked: Option<Box<Hooked>>,
    /// inet_sport at CLOSE → SYN_SENT while no port was held: the descriptor's last connection's
    stale_port: Option<Port>,
    space: Option<(u32, u32)>,
    /// Of the last event
    positions: Positions,
}

impl Connection {
    /// A connection of which `change` is the first event; [`Connection::apply`] it next.
    pub(crate) fn first_seen(boot: BootId, socket: SocketKey, change: &StateChange) -> Self {
        let id = ConnId { boot, socket, generation: change.at.0 };
        Self::new(id, change.family, change.old, change.stream)
    }

    /// A connection in `state` of which no event was seen; `last_stream` is where the next one is expected from.
    pub(crate) fn new(id: ConnId, family: Family, state: TcpState, last_stream: Stream) -> Self {
        Self {
            id,
            family,
            state,
            tuple: Tuple::default(),
            netns: None,
            cgroup: None,
            uid: None,
            mark: None,
            is_mptcp: None,
            had_inode: false,
            listed: false,
            unlisted: false,
            holder: None,
            opener: None,
            closer: None,
            owner: None,
            closing: Closing::default(),
            trace: Vec::new(),
            steps_dropped: 0,
            last_stream,
            previous_err: None,
            end: None,
            held: None,
            hooked: None,
            stale_port: None,
            space: None,
            positions: None,
        }
    }

    /// Who opened it, or accepted, or closed, or had a descriptor of it when it was listed.
    pub(crate) fn known_owner(&self) -> Option<Owner> {
        let accepted = self.hooked.as_ref().and_then(|hooked| hooked.acceptor);
        self.opener.or(accepted).or(self.closer.map(|(_, owner)| owner)).or(self.holder)
    }

    pub(crate) fn last(&self) -> Option<&Trace> {
        self.trace.last()
    }

    pub(crate) fn last_seen_at(&self) -> MonoNs {
        self.last().map_or(MonoNs(self.id.generation), |trace| trace.step.at)
    }

    pub(crate) fn is_listener(&self) -> bool {
        self.trace.iter().any(|t| t.step.new == TcpState::Listen || (t.step.old, t.step.new) == LISTEN_CLOSED)
    }

    /// A shadow repeats the event that a program before it reported last: same socket, same states, and the same CPU. A task
    /// may also have gone on to another CPU between the two programs. Then the socket must show the very numbers that it
    /// showed before: it was locked all the while. A later connection of the same descriptor begins with others, and
    /// without a change of state the numbers may well stay.
    pub(crate) fn repeats(&self, change: &StateChange) -> bool {
        let Some(last) = self.last() else { return false };
        let follows = match (shadow_rank(self.last_stream.program), shadow_rank(change.stream.program)) {
            (Some(before), Some(now)) => before < now,
            _ => false,
        };
        let moved = self.last_stream.cpu != change.stream.cpu;
        follows
            && (last.step.old, last.step.new) == (change.old, change.new)
            && (!moved
                || change.old != change.new
                    && self.positions.is_some()
                    && positions(change) == self.positions)
    }

    /// Whether `change` can be a later event of this connection, with or without others missing between.
    pub(crate) fn may_continue_with(&self, change: &StateChange) -> bool {
        self.state == change.old
            && self.state != TcpState::Close
            && !self.tuple.contradicts(&Tuple::of(change))
            || leads_to(self.state, change.old) && !self.tuple.contradicts(&Tuple::of(change))
    }

    /// Takes in the next event. `actor` is the task that is known to have made it.
    pub(crate) fn apply(&mut self, change: &StateChange, actor: Option<Owner>) {
        self.unlisted = false;
        self.learn_tuple(change);
        self.netns = change.netns.or(self.netns);
        self.cgroup = change.cgroup.or(self.cgroup);
        self.uid = change.uid.or(self.uid);
        self.mark = change.mark.or(self.mark);
        self.is_mptcp = change.tcp.is_mptcp.or(self.is_mptcp);
        self.had_inode |= change.inode.is_some();
        self.own(change, actor);
        self.note_closing(change);
        let space = self.space_of(change);
        let step = Step { at: change.at, old: change.old, new: change.new };
        let trace = Trace { step, space, owned: change.lock_owned };
        if self.trace.len() < STEPS {
            self.trace.push(trace);
        } else {
            self.steps_dropped = self.steps_dropped.saturating_add(1);
            if let Some(last) = self.trace.last_mut() {
                *last = trace;
            }
        }
        self.state = change.new;
        self.last_stream = change.stream;
        self.positions = positions(change);
        if change.new == TcpState::Close {
            self.end = Some(Box::new(change.clone()));
        } else {
            self.previous_err = change.err;
        }
    }

    fn learn_tuple(&mut self, change: &StateChange) {
        let mut tuple = Tuple::of(change);
        // The classic trace point never shows whether a port is held.
        if change.old == TcpState::Close && change.num.is_none() && change.tcp.write_seq.is_some() {
            self.stale_port = change.inet_sport;
        }
        if change.old == TcpState::SynSent && change.new == TcpState::Close {
            tuple.local.port = self.port_at_end(change);
        }
        self.tuple.learn(tuple);
    }

    /// The local port at SYN_SENT → CLOSE, unless it may be the one that the descriptor had before.
    pub(crate) fn port_at_end(&self, end: &StateChange) -> Option<Port> {
        end.num.or(end.inet_sport.filter(|port| Some(*port) != self.stale_port))
    }

    fn own(&mut self, change: &StateChange, actor: Option<Owner>) {
        let Some(actor) = actor else { return };
        if change.err == Some(ECONNABORTED) {
            return; // tcp_abort: the administrator's tool, not an owner
        }
        if (change.old, change.new) == (TcpState::Close, TcpState::SynSent) {
            self.opener = Some(actor);
        }
        if begins_local_close(change) && self.closer.is_none() {
            self.closer = Some((self.trace.len(), actor));
        }
        self.owner = Some(actor);
    }

    fn note_closing(&mut self, change: &StateChange) {
        let tcp = &change.tcp;
        let queued_fin =
            matches!(change.new, TcpState::FinWait1 | TcpState::LastAck) && change.old != change.new;
        if queued_fin {
            self.closing.retrans_before = tcp.total_retrans;
            self.closing.unsent_bytes = difference(tcp.write_seq, tcp.snd_nxt);
            let waiting = difference(tcp.write_seq, tcp.snd_una);
            self.closing.fin_left_at_once =
                waiting.zip(tcp.snd_wnd).map(|(bytes, window)| bytes == 0 && window > 0);
        }
        if matches!(change.new, TcpState::FinWait1 | TcpState::CloseWait) && change.old != change.new {
            self.closing.idle_send_ns = tcp.since_send_ns;
            self.closing.idle_receive_ns = tcp.since_receive_ns;
            self.closing.received_before_bytes = tcp.bytes_received;
            self.closing.acked_before_bytes = tcp.bytes_acked;
        }
        self.note_begin(change);
        match (change.old, change.new) {
            (TcpState::FinWait1, TcpState::Closing) => {
                self.closing.unsent_at_closing_bytes = difference(tcp.write_seq, tcp.snd_nxt);
            }
            (TcpState::FinWait1, TcpState::FinWait2) => self.closing.fin_wait2_clock_ns = tcp.clock_cache_ns,
            (TcpState::CloseWait, TcpState::LastAck) => {
                self.closing.ack_pending = difference(tcp.rcv_nxt, tcp.rcv_wup).map(|bytes| bytes != 0);
            }
            _ => {}
        }
    }

    fn note_begin(&mut self, change: &StateChange) {
        let events = self.trace.len();
        match &mut self.closing.began {
            Some(began) if began.index + 1 == events => {
                began.dead_next = change.flags.map(|flags| flags.dead);
            }
            Some(_) => {}
            None if begins_local_close(change) && self.trace.len() < STEPS => {
                self.closing.began = Some(LocalBegin {
                    index: events,
                    shutdown: change.shutdown,
                    lingers: change.flags.is_none_or(|f| f.linger) && change.linger_ns != Some(0),
                    lock_owned: change.lock_owned,
                    kthread: change.task.and_then(|task| task.kthread),
                    exiting: change.task.and_then(|task| task.exiting),
                    exit_signal: change.task.and_then(|task| task.exit_signal),
                    dead_next: None,
                });
            }
            None => {}
        }
    }

    /// Where the hooks' tales go.
    pub(crate) fn hooked_mut(&mut self) -> &mut Hooked {
        self.hooked.get_or_insert_default()
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

/// snd_una − bytes_acked and rcv_nxt − bytes_received stay what they were at the start, both random and 32 bits wide: a
/// fingerprint of the connection. Before ESTABLISHED the counters may be the previous connection's.
fn fingerprint(change: &StateChange) -> Option<(u32, u32)> {
    let opening = matches!(change.old, TcpState::Close | TcpState::Listen)
        || change.old == TcpState::SynSent && change.new != TcpState::Established;
    let tcp = &change.tcp;
    let sent = tcp.snd_una?.wrapping_sub(tcp.bytes_acked? as u32);
    let received = tcp.rcv_nxt?.wrapping_sub(tcp.bytes_received? as u32);
    (!opening).then_some((sent, received))
}

/// snd_una, snd_nxt, write_seq and rcv_nxt: where both directions stand.
type Positions = Option<[u32; 4]>;

fn positions(change: &StateChange) -> Positions {
    let tcp = &change.tcp;
    Some([tcp.snd_una?, tcp.snd_nxt?, tcp.write_seq?, tcp.rcv_nxt?])
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

/// The transition that starts this end's share of the close, made by the application or on its behalf.
fn begins_local_close(change: &StateChange) -> bool {
    use TcpState::{Close, CloseWait, Established, FinWait1, LastAck, SynRecv, SynSent};
    match (change.old, change.new) {
        (old, new) if old == new => false,
        (_, FinWait1 | LastAck) => true,
        (SynSent | SynRecv | Established | CloseWait, Close) => {
            change.err == Some(0) || change.shutdown.is_some_and(|s| s.receive && s.send)
        }
        _ => false,
    }
}

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
        let mut connection = Connection::first_seen(
            BootId(0),
            SocketKey::Cookie(crate::Cookie(1)),
            &change(1, SynSent, Established),
        );
        let mut numbered = |at, old, new, una: u32, acked| {
            let mut c = change(at, old, new);
            c.tcp.snd_una = Some(una);
            c.tcp.bytes_acked = Some(acked);
            c.tcp.rcv_nxt = Some(77);
            c.tcp.bytes_received = Some(0);
            connection.apply(&c, None);
            connection.last().unwrap().space
        };
        assert_eq!(numbered(1, SynSent, Established, 1001, 1), Space::Same);
        assert_eq!(numbered(2, Established, FinWait1, 1501, 501), Space::Same);
        assert_eq!(numbered(3, FinWait1, FinWait2, 99, 1), Space::Other);
    }
}
