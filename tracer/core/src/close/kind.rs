//! How a connection ended: what its last transition proves (kernel-side reasons: net/ipv4/tcp.c, tcp_input.c, tcp_timer.c,
//! as in 5.10 to 6.18).

use tracer_common::TcpState;

use crate::claim::{Claim, Evidence, EvidenceSet, Reason};
use crate::record::{CloseKind, Reset, ResetCause, ResetDirection, Role, Successor, TimeoutCause};
use crate::tracker::{Connection, ECONNABORTED, End, difference};

const EPIPE: i32 = 32;
const ECONNRESET: i32 = 104;
const ETIMEDOUT: i32 = 110;
const ECONNREFUSED: i32 = 111;

/// What the end proves.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) kind: Claim<CloseKind>,
    pub(crate) reset: Option<Reset>,
    pub(crate) timeout: Option<Claim<TimeoutCause>>,
    pub(crate) successor: Claim<Successor>,
    /// The socket was closed in FIN_WAIT2 and went on unseen.
    pub(crate) hidden_fin_wait2: bool,
}

impl Ending {
    pub(crate) fn of(connection: &Connection, end: Option<&End>, role: Option<Role>) -> Self {
        let Some(end) = end else { return Self::unknown(Reason::EndNotSeen) };
        // sk_err survives connect(AF_UNSPEC) and may be an earlier connection's: then it proves nothing.
        let stale = end.err.is_some_and(|err| err != 0) && end.err == connection.previous_err;
        // One after the other, as an ending is large to hand on.
        if let Some(ending) = orderly(end) {
            return ending;
        }
        if let Some(ending) = local_abort(end) {
            return ending;
        }
        if let Some(ending) = handshake_failure(connection, end) {
            return ending;
        }
        let by_error = if stale { None } else { by_error(end) };
        by_error.or_else(|| dropped(connection, end, role)).unwrap_or_else(|| Self::unknown(why_unknown(end)))
    }

    fn unknown(reason: Reason) -> Self {
        Self {
            kind: Claim::Unknown(reason),
            reset: None,
            timeout: None,
            successor: Claim::Unknown(reason),
            hidden_fin_wait2: false,
        }
    }

    fn of_kind(kind: CloseKind, evidence: EvidenceSet) -> Self {
        Self {
            kind: Claim::Known { value: kind, evidence },
            reset: None,
            timeout: None,
            successor: Claim::Known { value: Successor::Nothing, evidence },
            hidden_fin_wait2: false,
        }
    }

    fn before_time_wait(mut self, evidence: EvidenceSet) -> Self {
        self.successor = Claim::Known { value: Successor::TimeWait, evidence };
        self
    }

    pub(crate) fn reset_sent(end: &End, cause: ResetCause, evidence: EvidenceSet) -> Self {
        let reset = Some(Reset::sent(end, cause, evidence));
        Self { reset, ..Self::of_kind(CloseKind::Reset, evidence) }
    }
}

impl Reset {
    /// One that this end sent; the hook on resets may name the kernel's reason later.
    pub(crate) fn sent(end: &End, cause: ResetCause, evidence: EvidenceSet) -> Self {
        Self {
            direction: Claim::Known { value: ResetDirection::Sent, evidence },
            cause: Claim::Known { value: cause, evidence },
            unread_bytes: unread(end),
            state: end.old,
            reason: Claim::Unknown(Reason::NotVisible),
        }
    }
}

/// FINs were exchanged as they should be. What the sequence numbers and SOCK_DONE prove, sk_err cannot take back.
fn orderly(end: &End) -> Option<Ending> {
    let done = end.flags.is_some_and(|flags| flags.done);
    let dead = end.flags.is_some_and(|flags| flags.dead);
    match end.old {
        TcpState::LastAck if all_acked(end)? => {
            let proof = EvidenceSet::of([Evidence::StateLeft, Evidence::AllAcked]);
            Some(Ending::of_kind(CloseKind::Passive, proof))
        }
        TcpState::Closing if all_acked(end)? => {
            let proof = EvidenceSet::of([Evidence::StateLeft, Evidence::AllAcked]);
            Some(Ending::of_kind(CloseKind::Simultaneous, proof).before_time_wait(proof))
        }
        TcpState::FinWait2 if done => {
            let proof = EvidenceSet::of([Evidence::StateLeft, Evidence::SockDone]);
            Some(Ending::of_kind(CloseKind::Active, proof).before_time_wait(proof))
        }
        TcpState::FinWait2 if dead && end.err == Some(0) && end.tcp.linger2? >= 0 => {
            let proof = EvidenceSet::of([Evidence::StateLeft, Evidence::SockDead, Evidence::ErrNone]);
            let mut ending = Ending::of_kind(CloseKind::Active, proof);
            ending.successor = Claim::Unknown(Reason::HiddenFinWait2);
            ending.hidden_fin_wait2 = true;
            Some(ending)
        }
        _ => None,
    }
}

/// The application ended it with a reset: the order of the causes is that of __tcp_close.
fn local_abort(end: &End) -> Option<Ending> {
    let (shutdown, flags) = (end.shutdown?, end.flags?);
    let held = end.lock_owned? && !flags.dead;
    let synchronised =
        !matches!(end.old, TcpState::SynSent | TcpState::SynRecv | TcpState::Listen | TcpState::Close);
    let no_fin_wait2 = end.old == TcpState::FinWait2 && flags.dead && !flags.done && end.tcp.linger2? < 0;
    if no_fin_wait2 && end.err == Some(0) {
        let proof = EvidenceSet::of([Evidence::StateLeft, Evidence::Linger2Negative, Evidence::ErrNone]);
        return Some(Ending::reset_sent(end, ResetCause::Linger2, proof));
    }
    if !held || !synchronised {
        return None;
    }
    // Both directions shut by the task that holds the socket: it is inside close(), before the state would move on.
    let closing = shutdown.receive && shutdown.send && matches!(end.err, Some(err) if err != ECONNABORTED);
    let opened = matches!(end.old, TcpState::Established | TcpState::CloseWait);
    let base = EvidenceSet::of([Evidence::LockOwned, Evidence::StateLeft]);
    let inside_close = closing && (opened || end.err == Some(0));
    if inside_close {
        if unread(end).value().is_some_and(|bytes| *bytes > 0) {
            return Some(Ending::reset_sent(end, ResetCause::UnreadData, base.with(Evidence::UnreadData)));
        }
        if flags.linger && end.linger_ns? == 0 {
            return Some(Ending::reset_sent(end, ResetCause::LingerZero, base.with(Evidence::LingerZero)));
        }
        return None;
    }
    let never_closed = !shutdown.send && end.err == Some(0);
    (never_closed && opened).then(|| {
        let proof = base.with(Evidence::ShutdownNone).with(Evidence::ErrNone);
        Ending::reset_sent(end, ResetCause::Disconnect, proof)
    })
}

fn handshake_failure(connection: &Connection, end: &End) -> Option<Ending> {
    if end.old != TcpState::SynSent {
        return None;
    }
    let err = end.err?;
    let proof = EvidenceSet::of([Evidence::StateLeft, error_evidence(err)]);
    let kind = match err {
        ECONNREFUSED => CloseKind::Refused,
        ETIMEDOUT => CloseKind::ConnectTimedOut,
        ECONNABORTED => CloseKind::Killed,
        0 if end.lock_owned? => match (connection.port_at_end(end.num, end.inet_sport), end.shutdown) {
            (Some(_), _) => CloseKind::ConnectCancelled,
            (None, Some(shutdown)) if shutdown.receive && shutdown.send => CloseKind::ConnectCancelled,
            // `tcp_v4_connect` gives up after SYN_SENT and before a port only where there is none (inet_hash_connect).
            (None, _) if end.inet_sport.is_none() => CloseKind::NoFreePort,
            // The port shown may be the descriptor's last one: then there was none as well, else it was given up.
            (None, _) => return None,
        },
        0 => return None,
        _ => CloseKind::ConnectFailed,
    };
    Some(Ending::of_kind(kind, proof))
}

/// The error that tcp_reset, tcp_write_err or tcp_abort left.
fn by_error(end: &End) -> Option<Ending> {
    let err = end.err?;
    let proof = EvidenceSet::of([Evidence::StateLeft, error_evidence(err)]);
    match (err, end.old) {
        (0, _) => None,
        (ECONNABORTED, _) => Some(Ending::of_kind(CloseKind::Killed, proof)),
        (ECONNRESET, _) | (EPIPE, TcpState::CloseWait) => Some(reset_received(end, proof)),
        (ETIMEDOUT, TcpState::SynRecv) => Some(Ending::of_kind(CloseKind::ConnectTimedOut, proof)),
        _ => timed_out(end, proof),
    }
}

/// After close(), data from the peer makes the kernel reset the connection through the same function that a received
/// reset takes (`tcp_rcv_state_process`, step 7): in FIN_WAIT with both directions shut the two look alike.
fn reset_received(end: &End, proof: EvidenceSet) -> Ending {
    let waiting = matches!(end.old, TcpState::FinWait1 | TcpState::FinWait2);
    let direction = match end.shutdown {
        None => Claim::Unknown(Reason::FieldAbsent),
        Some(shutdown) if waiting && shutdown.receive => Claim::Unknown(Reason::ResetOrLateData),
        Some(_) => Claim::Known { value: ResetDirection::Received, evidence: proof },
    };
    let reset = Reset {
        direction,
        cause: Claim::Unknown(direction.reason().unwrap_or(Reason::NotVisible)),
        unread_bytes: unread(end),
        state: end.old,
        reason: Claim::Unknown(Reason::NotVisible),
    };
    Ending { reset: Some(reset), ..Ending::of_kind(CloseKind::Reset, proof) }
}

/// tcp_write_err: after keepalive probes, or after retransmissions; the error may be a soft one such as EHOSTUNREACH.
fn timed_out(end: &End, proof: EvidenceSet) -> Option<Ending> {
    let acked = all_acked(end);
    let probed = end.tcp.probes_out.is_some_and(|n| n > 0);
    let resent = end.tcp.retransmits.is_some_and(|n| n > 0);
    if end.err != Some(ETIMEDOUT) && !probed && !resent {
        return None;
    }
    let dead = end.flags.map(|flags| flags.dead);
    let cause = match (dead, acked) {
        (Some(true), _) => Claim::known(TimeoutCause::Orphan, [Evidence::SockDead, Evidence::StateLeft]),
        (_, Some(true)) if probed => {
            Claim::known(TimeoutCause::Keepalive, [Evidence::ProbesOut, Evidence::AllAcked])
        }
        (_, Some(false)) if resent => {
            Claim::known(TimeoutCause::Retransmission, [Evidence::Retransmits, Evidence::Unacked])
        }
        (_, None) => Claim::Unknown(Reason::FieldAbsent),
        _ => Claim::Unknown(Reason::NotVisible),
    };
    Some(Ending { timeout: Some(cause), ..Ending::of_kind(CloseKind::TimedOut, proof) })
}

/// inet_csk_listen_stop: a child that no descriptor ever referred to goes with its listener.
fn dropped(connection: &Connection, end: &End, role: Option<Role>) -> Option<Ending> {
    let never_accepted =
        role == Some(Role::Accepted) && !connection.had_inode && end.lock_owned == Some(false);
    let untouched = end.shutdown.is_some_and(|s| !s.send) && end.err == Some(0);
    let opened = matches!(end.old, TcpState::Established | TcpState::CloseWait);
    (never_accepted && untouched && opened).then(|| {
        let proof = EvidenceSet::of([
            Evidence::LockFree,
            Evidence::NoInode,
            Evidence::ErrNone,
            Evidence::ListenerChild,
        ]);
        let reset = Reset::sent(end, ResetCause::ListenerClosed, proof);
        Ending { reset: Some(reset), ..Ending::of_kind(CloseKind::Dropped, proof) }
    })
}

fn why_unknown(end: &End) -> Reason {
    match (end.err, end.flags, end.lock_owned) {
        (None, ..) | (_, None, _) | (.., None) => Reason::FieldAbsent,
        (Some(0), ..) => Reason::AbortWithoutError,
        _ => Reason::NoKnownWay,
    }
}

/// Whether all that was written was acknowledged, a queued FIN included.
pub(crate) fn all_acked(end: &End) -> Option<bool> {
    difference(end.tcp.write_seq, end.tcp.snd_una).map(|bytes| bytes == 0)
}

/// Received bytes that the application had not read. The peer's FIN takes one sequence number, which copied_seq may or
/// may not have passed.
fn unread(end: &End) -> Claim<u32> {
    let (Some(queued), Some(flags)) = (difference(end.tcp.rcv_nxt, end.tcp.copied_seq), end.flags) else {
        return Claim::Unknown(Reason::FieldAbsent);
    };
    Claim::known(queued.saturating_sub(u32::from(flags.done)), [Evidence::StateLeft])
}

pub(crate) fn error_evidence(err: i32) -> Evidence {
    match err {
        0 => Evidence::ErrNone,
        EPIPE => Evidence::ErrPipe,
        ECONNABORTED => Evidence::ErrAborted,
        ECONNRESET => Evidence::ErrReset,
        ETIMEDOUT => Evidence::ErrTimedOut,
        ECONNREFUSED => Evidence::ErrRefused,
        _ => Evidence::ErrOther,
    }
}
