//! The close record: everything that the events of one connection prove, put together when it is over.

mod continuity;
mod dwell;
mod kind;
mod waves;

use tracer_common::TcpState;

use self::continuity::Continuity;
use self::kind::Ending;
use crate::claim::{Claim, Evidence, Reason};
use crate::record::{CloseRecord, FirstCloser, Owner, Role, SeenFrom, Successor};
use crate::time::MonoNs;
use crate::tracker::{Audit, Connection};

/// The record of `connection`, which has ended or is given up. `seen_until` is the newest event of all.
pub(crate) fn record(connection: &Connection, audit: &Audit, seen_until: MonoNs) -> CloseRecord {
    let continuity = Continuity::of(connection, audit, seen_until);
    let role = role(connection, &continuity);
    let end = connection.end.as_deref();
    let ending = Ending::of(connection, end, role.value().copied());
    let dwells = dwell::dwells(connection, &continuity, &ending);
    CloseRecord {
        conn_id: connection.id,
        family: connection.family,
        local: connection.tuple.local,
        remote: connection.tuple.remote,
        netns: connection.netns,
        cgroup: connection.cgroup,
        workload: None,
        uid: connection.uid,
        mark: connection.mark,
        is_mptcp: connection.is_mptcp,
        closed_at: end.map(|end| end.at),
        last_seen_at: connection.last_seen_at(),
        seen_from: seen_from(connection),
        opener: opener(connection, &continuity, &role),
        acceptor: Claim::Unknown(Reason::NotVisible),
        closer: closer(connection, &continuity),
        holder: connection.holder,
        cause: Claim::Unknown(Reason::NotVisible),
        exit_signal: None,
        wave_times: crate::record::WaveTimes { waves: [Claim::Unknown(Reason::NotVisible); 4], slow: None },
        half_closed_ns: Claim::Unknown(Reason::NotVisible),
        half_closed_bytes: Claim::Unknown(Reason::NotVisible),
        fin_retransmits: Claim::Unknown(Reason::NotVisible),
        fin_outcome: Claim::Unknown(Reason::NotVisible),
        first_closer: first_closer(connection, &continuity),
        waves: waves::waves(connection, &continuity, &ending),
        life_ns: life(connection, &continuity),
        handshake_ns: handshake(connection, &continuity),
        bytes_sent: bytes_sent(connection, &role),
        bytes_received: bytes_received(connection),
        srtt_us: round_trip(connection),
        error: error(connection),
        total_retrans: end.and_then(|end| end.tcp.total_retrans),
        idle_send_ns: connection.closing.idle_send_ns,
        idle_receive_ns: connection.closing.idle_receive_ns,
        chain_breaks: continuity.chain_breaks,
        steps: connection.trace.iter().map(|trace| trace.step).collect(),
        steps_dropped: connection.steps_dropped,
        kind: ending.kind,
        reset: ending.reset,
        timeout: ending.timeout,
        successor: ending.successor,
        role,
        dwells,
    }
}

/// Whether the time-wait socket that `connection` leaves begins in FIN_WAIT2, by its last transition alone; `None` if it
/// leaves none, as far as that shows.
pub(crate) fn time_wait_from_fin_wait2(connection: &Connection) -> Option<Claim<bool>> {
    let ending = Ending::of(connection, connection.end.as_deref(), None);
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
    match connection.trace.first().map(|trace| trace.step) {
        Some(first) if continuity::is_birth(first) => SeenFrom::Handshake,
        Some(first) if first.new == TcpState::Close && !connection.listed => SeenFrom::CloseOnly,
        _ => SeenFrom::Middle,
    }
}

fn role(connection: &Connection, continuity: &Continuity) -> Claim<Role> {
    let steps = || continuity.proven(connection).map(|trace| trace.step);
    let crossed = steps().any(|s| (s.old, s.new) == (TcpState::SynSent, TcpState::SynRecv));
    let opened = steps().any(|s| s.new == TcpState::SynSent || s.old == TcpState::SynSent);
    let accepted = steps().any(|s| (s.old, s.new) == (TcpState::Listen, TcpState::SynRecv));
    match (crossed, opened, accepted) {
        (true, _, false) => Claim::known(Role::OpenedBoth, [Evidence::SynCrossed]),
        (false, true, false) => Claim::known(Role::Opened, [Evidence::SynSent]),
        (false, false, true) => Claim::known(Role::Accepted, [Evidence::ListenerChild]),
        (false, false, false) => Claim::Unknown(continuity.missing),
        _ => Claim::Unknown(Reason::NoKnownWay),
    }
}

fn opener(connection: &Connection, continuity: &Continuity, role: &Claim<Role>) -> Claim<Owner> {
    match (role.value(), continuity.whole, connection.opener) {
        (Some(Role::Accepted), ..) => Claim::Unknown(Reason::NotVisible),
        (_, false, _) => Claim::Unknown(continuity.missing),
        (_, true, Some(owner)) => Claim::known(owner, [Evidence::SynSent, Evidence::LockOwned]),
        (_, true, None) => Claim::Unknown(nobody(connection)),
    }
}

fn closer(connection: &Connection, continuity: &Continuity) -> Claim<Owner> {
    if let Some((index, owner)) = connection.closer
        && index >= continuity.start
    {
        return Claim::known(owner, [Evidence::LockOwned]);
    }
    let queued_fin = continuity
        .proven(connection)
        .any(|t| t.step.old != t.step.new && matches!(t.step.new, TcpState::FinWait1 | TcpState::LastAck));
    let local_began = connection.end.as_deref().is_some_and(|end| {
        matches!(end.old, TcpState::FinWait1 | TcpState::FinWait2 | TcpState::Closing | TcpState::LastAck)
    });
    Claim::Unknown(match (queued_fin, local_began) {
        (true, _) => nobody(connection),
        (false, true) => continuity.missing,
        (false, false) if connection.end.is_none() => Reason::EndNotSeen,
        (false, false) => Reason::DidNotHappen,
    })
}

/// Why no task is named: this tier shows none, or none held the socket.
fn nobody(connection: &Connection) -> Reason {
    match connection.end.as_deref().map(|end| end.lock_owned) {
        Some(None) => Reason::FieldAbsent,
        _ => Reason::NoTask,
    }
}

/// FIN_WAIT1 alone does not tell: the peer's FIN may be under way. What it is left for does.
fn first_closer(connection: &Connection, continuity: &Continuity) -> Claim<FirstCloser> {
    use TcpState::{CloseWait, Closing, FinWait1, FinWait2, LastAck};
    for step in continuity.proven(connection).map(|trace| trace.step).filter(|step| step.old != step.new) {
        match (step.old, step.new) {
            (_, Closing) => return Claim::known(FirstCloser::Both, [Evidence::Closing]),
            (_, FinWait2) => return Claim::known(FirstCloser::Local, [Evidence::FinWait2]),
            (_, CloseWait) => return Claim::known(FirstCloser::Peer, [Evidence::CloseWait]),
            (Closing, _) => return Claim::known(FirstCloser::Both, [Evidence::StateLeft]),
            (FinWait1 | FinWait2, _) => return Claim::known(FirstCloser::Local, [Evidence::StateLeft]),
            (CloseWait | LastAck, _) => return Claim::known(FirstCloser::Peer, [Evidence::StateLeft]),
            _ => {}
        }
    }
    Claim::Unknown(if connection.end.is_some() { Reason::DidNotHappen } else { Reason::EndNotSeen })
}

fn life(connection: &Connection, continuity: &Continuity) -> Claim<u64> {
    let Some(end) = connection.end.as_deref() else { return Claim::Unknown(Reason::EndNotSeen) };
    if !continuity.whole {
        return Claim::Unknown(continuity.missing);
    }
    span(connection.trace.first().map(|trace| trace.step.at), end.at)
}

fn handshake(connection: &Connection, continuity: &Continuity) -> Claim<u64> {
    let at = |found: fn(TcpState, TcpState) -> bool| {
        continuity.proven(connection).map(|t| t.step).find(|s| found(s.old, s.new)).map(|s| s.at)
    };
    let sent = at(|old, new| (old, new) == (TcpState::Close, TcpState::SynSent));
    let established = at(|old, new| new == TcpState::Established && old != new);
    match (sent, established, continuity.proven(connection).next().map(|t| t.step.old)) {
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
    let Some(end) = connection.end.as_deref() else { return Claim::Unknown(Reason::EndNotSeen) };
    match end.tcp.srtt_us {
        Some(0) => Claim::Unknown(Reason::DidNotHappen),
        Some(srtt_us) => Claim::known(srtt_us, [Evidence::StateLeft]),
        None => Claim::Unknown(Reason::FieldAbsent),
    }
}

fn error(connection: &Connection) -> Claim<i32> {
    let Some(end) = connection.end.as_deref() else { return Claim::Unknown(Reason::EndNotSeen) };
    match end.err {
        Some(err) => Claim::known(err, [kind::error_evidence(err)]),
        None => Claim::Unknown(Reason::FieldAbsent),
    }
}

/// bytes_acked counts the active opener's SYN, and the FIN once it was acknowledged.
fn bytes_sent(connection: &Connection, role: &Claim<Role>) -> Claim<u64> {
    let Some(end) = connection.end.as_deref() else { return Claim::Unknown(Reason::EndNotSeen) };
    let Some(acked) = end.tcp.bytes_acked else { return Claim::Unknown(Reason::FieldAbsent) };
    let syn = match role {
        Claim::Known { value: Role::Opened, .. } => 1,
        Claim::Known { value: Role::Accepted, .. } => 0,
        Claim::Known { value: Role::OpenedBoth, .. } => return Claim::Unknown(Reason::NotVisible),
        Claim::Unknown(reason) => return Claim::Unknown(*reason),
    };
    if end.old == TcpState::SynSent {
        return Claim::Unknown(Reason::DidNotHappen);
    }
    let fin = match (end.old, kind::all_acked(end)) {
        (TcpState::FinWait2, _)
        | (TcpState::Closing | TcpState::LastAck | TcpState::FinWait1, Some(true)) => 1,
        (TcpState::Closing | TcpState::LastAck | TcpState::FinWait1, None) => {
            return Claim::Unknown(Reason::FieldAbsent);
        }
        _ => 0,
    };
    counted(acked, syn + fin)
}

/// bytes_received counts the peer's FIN.
fn bytes_received(connection: &Connection) -> Claim<u64> {
    let Some(end) = connection.end.as_deref() else { return Claim::Unknown(Reason::EndNotSeen) };
    if end.old == TcpState::SynSent {
        return Claim::Unknown(Reason::DidNotHappen);
    }
    match (end.tcp.bytes_received, end.flags) {
        (Some(received), Some(flags)) => counted(received, u64::from(flags.done)),
        _ => Claim::Unknown(Reason::FieldAbsent),
    }
}

fn counted(bytes: u64, control: u64) -> Claim<u64> {
    match bytes.checked_sub(control) {
        Some(payload) => Claim::known(payload, [Evidence::StateLeft]),
        None => Claim::Unknown(Reason::NoKnownWay),
    }
}
