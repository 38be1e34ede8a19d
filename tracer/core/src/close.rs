//! The close record: everything that the events of one connection prove, put together when it is over.

mod bytes;
mod captured;
mod continuity;
mod dwell;
mod fin;
mod kind;
mod owners;
mod reset;
mod times;
mod waves;

use std::sync::Arc;

use tracer_common::TcpState;

use self::continuity::Continuity;
use self::kind::Ending;
use crate::claim::{Claim, Evidence, Reason};
use crate::id::BootId;
use crate::observation::{Hooks, Workload};
use crate::record::{CloseRecord, FirstCloser, Role, SeenFrom, Successor};
use crate::time::MonoNs;
use crate::tracker::{Audit, Connection, End, Trace, difference};

/// What is known of the whole stream when a connection's record is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) boot: BootId,
    pub(crate) audit: &'a Audit,
    pub(crate) hooks: Hooks,
    /// The newest event of all
    pub(crate) seen_until: MonoNs,
}

impl View<'_> {
    /// Whether no transition of that interval is missing.
    pub(crate) fn whole(&self, from: MonoNs, to: MonoNs) -> bool {
        let counted = to <= self.audit.covered_until() || to > self.seen_until;
        counted && !self.audit.lost_between(from, to)
    }

    /// Whether no hook's event of that interval is missing.
    pub(crate) fn hooks_whole(&self, from: MonoNs, to: MonoNs) -> bool {
        self.audit.covers(to) && !self.audit.hook_lost_between(from, to)
    }
}

/// The record of `connection`, which has ended or is given up, in place of the one that `record` was: it is large, and would
/// be copied more than once on its way there.
pub(crate) fn record(
    connection: &Connection,
    view: &View,
    workload: Option<Arc<Workload>>,
    record: &mut CloseRecord,
) {
    let continuity = Continuity::of(connection, view.audit, view.seen_until);
    let (end, surroundings) = (connection.end(), connection.surroundings());
    record.role = role(connection, &continuity);
    let ending = Ending::of(connection, end, record.role.value().copied());
    let ending = match end {
        Some(end) if reset::may_be_hooked(&ending, connection) => {
            reset::with_hook(ending, connection, end, view)
        }
        _ => ending,
    };
    let CloseRecord {
        conn_id,
        family,
        local,
        remote,
        netns,
        cgroup,
        workload: workload_named,
        uid,
        mark,
        is_mptcp,
        closed_at,
        last_seen_at,
        seen_from: first_seen,
        role,
        opener,
        acceptor,
        closer,
        holder,
        cause,
        exit_signal,
        first_closer: first,
        kind,
        reset,
        timeout,
        error: error_left,
        waves,
        wave_times,
        half_closed_ns,
        half_closed_bytes,
        fin_retransmits,
        fin_outcome,
        successor,
        life_ns,
        handshake_ns,
        dwells,
        steps,
        steps_dropped,
        bytes_sent,
        bytes_received,
        srtt_us,
        total_retrans,
        idle_send_ns,
        idle_receive_ns,
        chain_breaks,
        captured: segments,
    } = record;
    dwells.clear();
    dwell::dwells(connection, &continuity, &ending, dwells);
    steps.clear();
    steps.extend(connection.trace().iter().map(Trace::step));
    *conn_id = connection.id(view.boot);
    *family = connection.family;
    *local = connection.tuple.local;
    *remote = connection.tuple.remote;
    *netns = surroundings.netns;
    *cgroup = surroundings.cgroup;
    *workload_named = workload;
    *uid = surroundings.uid;
    *mark = surroundings.mark;
    *is_mptcp = surroundings.is_mptcp;
    *closed_at = end.map(|end| end.at);
    *last_seen_at = connection.last_seen_at();
    *first_seen = seen_from(connection);
    *opener = owners::opener(connection, &continuity, role);
    *acceptor = owners::acceptor(connection, &continuity, role, view);
    *closer = owners::closer(connection, &continuity);
    *holder = connection.holder.as_deref().copied();
    (*cause, *exit_signal) = owners::cause(connection, &continuity, &ending, view);
    *waves = waves::waves(connection, &continuity, &ending);
    *wave_times = times::times(connection, &continuity, &ending, waves, dwells);
    *half_closed_ns = bytes::half_closed_ns(connection, &continuity, &ending);
    *half_closed_bytes = bytes::half_closed_bytes(connection, &continuity, &ending);
    *fin_retransmits = fin::retransmits(connection, &continuity, view);
    *fin_outcome = fin::outcome(connection, &continuity, &ending);
    *first = first_closer(connection, &continuity);
    *life_ns = life(connection, &continuity);
    *handshake_ns = handshake(connection, &continuity);
    *bytes_sent = bytes::sent(connection, role);
    *bytes_received = bytes::received(connection);
    *srtt_us = round_trip(connection);
    *error_left = error(connection);
    *total_retrans = end.and_then(|end| end.tcp.total_retrans);
    *idle_send_ns = connection.closing().idle_send_ns;
    *idle_receive_ns = connection.closing().idle_receive_ns;
    *chain_breaks = continuity.chain_breaks;
    *steps_dropped = connection.steps_dropped();
    *kind = ending.kind;
    *reset = ending.reset;
    *timeout = ending.timeout;
    *successor = ending.successor;
    *segments = None;
    if let Some(end) = end
        && let Some(captured) = &end.captured
    {
        captured::claim(record, connection, end, captured);
    }
}

/// Whether the time-wait socket that `connection` leaves begins in FIN_WAIT2, by its last transition alone; `None` if it
/// leaves none, as far as that shows.
pub(crate) fn time_wait_from_fin_wait2(connection: &Connection) -> Option<Claim<bool>> {
    let ending = Ending::of(connection, connection.end(), None);
    match ending.successor {
        Claim::Known { value: Successor::TimeWait, evidence } => {
            Some(Claim::Known { value: false, evidence })
        }
        _ if ending.hidden_fin_wait2 => {
            Some(Claim::known(true, [Evidence::StateLeft, Evidence::SockDead, Evidence::ErrNone]))
        }
        _ => None,
    }
}

fn seen_from(connection: &Connection) -> SeenFrom {
    match connection.trace().first().map(Trace::step) {
        Some(first) if continuity::is_birth(first) => SeenFrom::Handshake,
        Some(first) if first.new == TcpState::Close && !connection.listed => SeenFrom::CloseOnly,
        _ => SeenFrom::Middle,
    }
}

fn role(connection: &Connection, continuity: &Continuity) -> Claim<Role> {
    let steps = || continuity.proven(connection).map(Trace::step);
    let received = |from| steps().any(|s| (s.old, s.new) == (from, TcpState::SynRecv));
    let opened = continuity.shows(TcpState::SynSent) || continuity.leaves(TcpState::SynSent);
    let syn_received = continuity.shows(TcpState::SynRecv);
    let crossed = syn_received && received(TcpState::SynSent);
    let accepted = syn_received && received(TcpState::Listen);
    match (crossed, opened, accepted) {
        (true, _, false) => Claim::known(Role::OpenedBoth, [Evidence::SynCrossed]),
        (false, true, false) => Claim::known(Role::Opened, [Evidence::SynSent]),
        (false, false, true) => Claim::known(Role::Accepted, [Evidence::ListenerChild]),
        (false, false, false) => Claim::Unknown(continuity.missing),
        _ => Claim::Unknown(Reason::NoKnownWay),
    }
}

/// FIN_WAIT1 alone does not tell: the peer's FIN may be under way, and data waiting ahead of ours. What it is left for does.
fn first_closer(connection: &Connection, continuity: &Continuity) -> Claim<FirstCloser> {
    use TcpState::{CloseWait, Closing, FinWait1, FinWait2, LastAck};
    for step in continuity.proven(connection).map(Trace::step).filter(|step| step.old != step.new) {
        match (step.old, step.new) {
            (_, Closing) => return crossed(connection.closing().unsent_at_closing_bytes),
            (_, FinWait2) => return Claim::known(FirstCloser::Local, [Evidence::FinWait2]),
            (_, CloseWait) => return Claim::known(FirstCloser::Peer, [Evidence::CloseWait]),
            // CLOSING was entered unseen: whether our FIN had left by then, too.
            (Closing, _) => return Claim::Unknown(continuity.missing_inside()),
            (FinWait1, _) => return left_fin_wait1(connection),
            (FinWait2, _) => return Claim::known(FirstCloser::Local, [Evidence::StateLeft]),
            (CloseWait | LastAck, _) => return Claim::known(FirstCloser::Peer, [Evidence::StateLeft]),
            _ => {}
        }
    }
    Claim::Unknown(if connection.end().is_some() { Reason::DidNotHappen } else { Reason::EndNotSeen })
}

/// The peer's FIN found ours unacknowledged: on its way, or still behind `unsent` data.
fn crossed(unsent_bytes: Option<u32>) -> Claim<FirstCloser> {
    match unsent_bytes {
        Some(0) => Claim::known(FirstCloser::Both, [Evidence::Closing]),
        Some(_) => Claim::known(FirstCloser::Peer, [Evidence::Closing, Evidence::Unsent]),
        None => Claim::Unknown(Reason::FieldAbsent),
    }
}

/// The connection ended in FIN_WAIT1; where data still waited ahead of our FIN, nobody has sent one.
fn left_fin_wait1(connection: &Connection) -> Claim<FirstCloser> {
    let unsent = |end: &End| difference(end.tcp.write_seq, end.tcp.snd_nxt);
    match connection.end().map(unsent) {
        Some(Some(0)) => Claim::known(FirstCloser::Local, [Evidence::StateLeft]),
        Some(Some(_)) => Claim::Unknown(Reason::DidNotHappen),
        Some(None) => Claim::Unknown(Reason::FieldAbsent),
        None => Claim::Unknown(Reason::EndNotSeen),
    }
}

fn life(connection: &Connection, continuity: &Continuity) -> Claim<u64> {
    let Some(end) = connection.end() else { return Claim::Unknown(Reason::EndNotSeen) };
    if !continuity.whole {
        return Claim::Unknown(continuity.missing);
    }
    span(connection.trace().first().map(|trace| trace.at), end.at)
}

fn handshake(connection: &Connection, continuity: &Continuity) -> Claim<u64> {
    let mut steps = continuity.proven(connection).map(Trace::step);
    let sent = steps.find(|s| (s.old, s.new) == (TcpState::Close, TcpState::SynSent)).map(|s| s.at);
    let established = continuity.entered(TcpState::Established);
    let established = established.and_then(|place| connection.trace().get(place)).map(|trace| trace.at);
    match (sent, established, continuity.proven(connection).next().map(|t| t.old)) {
        (Some(sent), Some(established), _) => span(Some(sent), established),
        (Some(_), None, _) => Claim::Unknown(Reason::DidNotHappen),
        (None, _, Some(TcpState::Listen)) => Claim::Unknown(Reason::NotVisible),
        (None, ..) => Claim::Unknown(continuity.missing),
    }
}

fn span(from: Option<MonoNs>, to: MonoNs) -> Claim<u64> {
    match from.and_then(|from| to.since(from)) {
        Some(ns) => Claim::known(ns, [Evidence::UnbrokenChain]),
        None => Claim::Unknown(Reason::TimeBackwards),
    }
}

/// The kernel keeps 0 until a round trip was measured.
fn round_trip(connection: &Connection) -> Claim<u32> {
    let Some(end) = connection.end() else { return Claim::Unknown(Reason::EndNotSeen) };
    match end.tcp.srtt_us {
        Some(0) => Claim::Unknown(Reason::DidNotHappen),
        Some(srtt_us) => Claim::known(srtt_us, [Evidence::StateLeft]),
        None => Claim::Unknown(Reason::FieldAbsent),
    }
}

fn error(connection: &Connection) -> Claim<i32> {
    let Some(end) = connection.end() else { return Claim::Unknown(Reason::EndNotSeen) };
    match end.err {
        Some(err) => Claim::known(err, [kind::error_evidence(err)]),
        None => Claim::Unknown(Reason::FieldAbsent),
    }
}
