//! Claims that rest on captured packets: what the numbers of the segments prove, and which claims a capture cannot make.
//!
//! Who was first is read off the numbers, not off the order in which segments passed: a FIN that acknowledges the other one was
//! sent after it had come, wherever the capture point is. All times are those at the capture point, and marked as such.
//! What an application or a kernel did beyond sending these segments is unknown.

use tracer_common::TcpState;

use crate::claim::{Claim, Evidence, EvidenceSet, Reason};
use crate::observation::{CapturedClose, SeenSegment};
use crate::record::{
    CloseKind, CloseRecord, Dwell, FinOutcome, FirstCloser, Reset, ResetDirection, Role, Successor, WaveTime,
    Waves,
};
use crate::tracker::{Connection, End};

const UNSEEN: Reason = Reason::NotInCapture;

/// Puts what `captured` proves into `record`, and takes out what no capture can know.
pub(super) fn claim(record: &mut CloseRecord, connection: &Connection, end: &End, captured: &CapturedClose) {
    record.kind = kind(end, captured);
    let refused = record.kind.value() == Some(&CloseKind::Refused);
    record.reset = captured.reset.filter(|_| !refused).map(|_| reset(end, captured));
    record.timeout = None;
    record.first_closer = first_closer(captured);
    record.successor = successor(&record.kind);
    record.waves = waves(&record.kind, captured);
    record.wave_times.waves = wave_times(&record.first_closer, captured);
    record.fin_outcome = fin_outcome(captured);
    record.half_closed_ns = half_closed_ns(&record.kind, captured);
    record.half_closed_bytes = half_closed_bytes(&record.kind, connection, end);
    record.bytes_sent = bytes_sent(&record.role, end, captured);
    record.bytes_received = bytes_received(&record.role, end, captured);
    beyond(record, captured);
    at_capture_point(record, captured);
    record.captured = Some(Box::new(*captured));
}

fn proof(more: Evidence) -> EvidenceSet {
    EvidenceSet::of([Evidence::Captured, more])
}

fn known<T>(value: T) -> Claim<T> {
    Claim::known(value, [Evidence::Captured])
}

fn kind(end: &End, captured: &CapturedClose) -> Claim<CloseKind> {
    let left = |value| Claim::Known { value, evidence: proof(Evidence::StateLeft) };
    match (captured.reset, end.old) {
        // The socket may have been there, or have ended unseen long before.
        (Some(_), _) if captured.is_answered_by_reset() => Claim::Unknown(UNSEEN),
        (Some(_), TcpState::SynSent) if !captured.reset_is_own => left(CloseKind::Refused),
        (Some(_), _) => known(CloseKind::Reset),
        // Or simultaneous, where the FIN was queued ahead of the peer's.
        (None, TcpState::LastAck) if captured.fin_may_have_waited => Claim::Unknown(UNSEEN),
        (None, TcpState::FinWait2) => left(CloseKind::Active),
        (None, TcpState::LastAck) => left(CloseKind::Passive),
        (None, TcpState::Closing) => left(CloseKind::Simultaneous),
        (None, _) => Claim::Unknown(Reason::NoKnownWay),
    }
}

/// Why it was sent, and what the application had not read, only the kernel that sent it knows.
fn reset(end: &End, captured: &CapturedClose) -> Reset {
    let direction = if captured.reset_is_own { ResetDirection::Sent } else { ResetDirection::Received };
    Reset {
        direction: known(direction),
        cause: Claim::Unknown(UNSEEN),
        unread_bytes: Claim::Unknown(UNSEEN),
        state: end.old,
        reason: Claim::Unknown(UNSEEN),
    }
}

fn first_closer(captured: &CapturedClose) -> Claim<FirstCloser> {
    match (captured.own_fin, captured.peer_fin) {
        _ if captured.segments_missing => Claim::Unknown(Reason::LossInInterval),
        (Some(own), Some(peer)) => known(match (covers(&peer, &own), covers(&own, &peer)) {
            (true, false) => FirstCloser::Local,
            (false, true) => FirstCloser::Peer,
            // Neither knew of the other's; both only where one was seen but as it was sent again.
            (false, false) if captured.is_answered_by_reset() => return Claim::Unknown(UNSEEN),
            (false, false) => FirstCloser::Both,
            (true, true) => return Claim::Unknown(Reason::LossInInterval),
        }),
        (Some(_), None) => known(FirstCloser::Local),
        // It may have come for no socket any more.
        (None, Some(_)) if captured.is_answered_by_reset() && captured.peer_fin_acked.is_none() => {
            Claim::Unknown(UNSEEN)
        }
        (None, Some(_)) => known(FirstCloser::Peer),
        (None, None) => Claim::Unknown(Reason::DidNotHappen),
    }
}

/// Whether `later` acknowledges all of `fin`.
fn covers(later: &SeenSegment, fin: &SeenSegment) -> bool {
    let end = fin.seq.wrapping_add(fin.payload_bytes).wrapping_add(1);
    later.ack.is_some_and(|ack| ack.wrapping_sub(end) < 1 << 31)
}

fn successor(kind: &Claim<CloseKind>) -> Claim<Successor> {
    match kind {
        Claim::Known { value: CloseKind::Active | CloseKind::Simultaneous, .. } => known(Successor::TimeWait),
        Claim::Known { .. } => known(Successor::Nothing),
        Claim::Unknown(reason) => Claim::Unknown(*reason),
    }
}

fn waves(kind: &Claim<CloseKind>, captured: &CapturedClose) -> Claim<Waves> {
    match kind.value() {
        None if captured.fin_may_have_waited && !captured.is_merged() => known(Waves::Four),
        Some(CloseKind::Active | CloseKind::Passive) if captured.is_merged() => {
            Claim::Known { value: Waves::Three, evidence: proof(Evidence::SameSegment) }
        }
        Some(CloseKind::Active | CloseKind::Passive) => {
            Claim::Known { value: Waves::Four, evidence: proof(Evidence::OtherSegment) }
        }
        Some(CloseKind::Simultaneous) => known(Waves::Four),
        Some(_) => Claim::Unknown(Reason::DidNotHappen),
        None => Claim::Unknown(kind.reason().unwrap_or(Reason::NoKnownWay)),
    }
}

/// When they passed the capture point. The order is that of [`crate::record::WaveTimes`].
fn wave_times(first: &Claim<FirstCloser>, captured: &CapturedClose) -> [Claim<WaveTime>; 4] {
    let CapturedClose { own_fin, own_fin_acked, peer_fin, peer_fin_acked, .. } = *captured;
    let waves = match first.value() {
        Some(FirstCloser::Local) => [own_fin, own_fin_acked, peer_fin, peer_fin_acked],
        Some(FirstCloser::Peer) => [peer_fin, peer_fin_acked, own_fin, own_fin_acked],
        Some(FirstCloser::Both) => [own_fin, peer_fin, peer_fin_acked, own_fin_acked],
        None => return [Claim::Unknown(first.reason().unwrap_or(Reason::DidNotHappen)); 4],
    };
    waves.map(|segment| match segment {
        Some(segment) => known(WaveTime::at(segment.at)),
        None => Claim::Unknown(Reason::DidNotHappen),
    })
}

fn fin_outcome(captured: &CapturedClose) -> Claim<FinOutcome> {
    match (captured.own_fin, captured.own_fin_acked, captured.reset) {
        (None, ..) => Claim::Unknown(Reason::DidNotHappen),
        (Some(_), Some(_), _) => known(FinOutcome::Acknowledged),
        (Some(_), None, Some(_)) if captured.is_answered_by_reset() => Claim::Unknown(UNSEEN),
        (Some(_), None, Some(_)) => known(FinOutcome::Reset),
        (Some(_), None, None) => Claim::Unknown(Reason::NoKnownWay),
    }
}

fn half_closed_ns(kind: &Claim<CloseKind>, captured: &CapturedClose) -> Claim<u64> {
    let fins = captured.own_fin.zip(captured.peer_fin);
    let (first, second) = match (kind.value(), fins) {
        (Some(CloseKind::Active), Some((own, peer))) => (own, peer),
        (Some(CloseKind::Passive), Some((own, peer))) => (peer, own),
        (Some(_), _) => return Claim::Unknown(Reason::DidNotHappen),
        (None, _) => return Claim::Unknown(kind.reason().unwrap_or(Reason::NoKnownWay)),
    };
    match second.at.since(first.at) {
        Some(ns) => known(ns),
        None => Claim::Unknown(Reason::TimeBackwards),
    }
}

fn half_closed_bytes(kind: &Claim<CloseKind>, connection: &Connection, end: &End) -> Claim<u64> {
    let closing = connection.closing();
    let (total, before) = match kind.value() {
        Some(CloseKind::Active) => (end.tcp.bytes_received, closing.received_before_bytes),
        Some(CloseKind::Passive) => (end.tcp.bytes_acked, closing.acked_before_bytes),
        Some(_) => return Claim::Unknown(Reason::DidNotHappen),
        None => return Claim::Unknown(kind.reason().unwrap_or(Reason::NoKnownWay)),
    };
    match total.zip(before) {
        Some((total, before)) => known(total.saturating_sub(before.saturating_add(1))),
        None => Claim::Unknown(UNSEEN),
    }
}

/// The count begins with the SYN, so only where that was seen it is a count of all.
fn bytes_sent(role: &Claim<Role>, end: &End, captured: &CapturedClose) -> Claim<u64> {
    let syn = match role {
        Claim::Known { value: Role::Opened | Role::OpenedBoth, .. } => 1,
        Claim::Known { value: Role::Accepted, .. } => 0,
        Claim::Unknown(reason) => return Claim::Unknown(*reason),
    };
    counted(end, end.tcp.bytes_acked, syn + u64::from(captured.own_fin_acked.is_some()))
}

fn bytes_received(role: &Claim<Role>, end: &End, captured: &CapturedClose) -> Claim<u64> {
    match role {
        Claim::Known { .. } => {
            counted(end, end.tcp.bytes_received, u64::from(captured.peer_fin_acked.is_some()))
        }
        Claim::Unknown(reason) => Claim::Unknown(*reason),
    }
}

fn counted(end: &End, bytes: Option<u64>, control: u64) -> Claim<u64> {
    match bytes {
        _ if end.old == TcpState::SynSent => Claim::Unknown(Reason::DidNotHappen),
        Some(bytes) => known(bytes.saturating_sub(control)),
        None => Claim::Unknown(UNSEEN),
    }
}

/// Processes, errors and the reasons of the kernel's timers are not on the wire.
fn beyond(record: &mut CloseRecord, captured: &CapturedClose) {
    let acted = captured.own_fin.is_some() || captured.reset.is_some() && captured.reset_is_own;
    let local = if acted { UNSEEN } else { Reason::DidNotHappen };
    record.cause = Claim::Unknown(local);
    record.closer = Claim::Unknown(local);
    record.opener = Claim::Unknown(UNSEEN);
    if record.acceptor.reason() != Some(Reason::DidNotHappen) {
        record.acceptor = Claim::Unknown(UNSEEN);
    }
    record.error = Claim::Unknown(UNSEEN);
    record.srtt_us = Claim::Unknown(UNSEEN);
    record.fin_retransmits = Claim::Unknown(UNSEEN);
}

/// Spans between segments are off by at most the way between capture point and this end.
fn at_capture_point(record: &mut CloseRecord, captured: &CapturedClose) {
    record.life_ns = marked(record.life_ns);
    record.handshake_ns = marked(record.handshake_ns);
    let entered = record.steps.iter().find(|step| step.new == TcpState::CloseWait).map(|step| step.at);
    // It was sent again, or something ahead of it was: when it came is not seen, only that it was acknowledged.
    let unseen = entered != captured.peer_fin.map(|fin| fin.at);
    // When it ended, likewise.
    let gone = captured.is_answered_by_reset();
    if gone {
        record.closed_at = None;
        record.life_ns = Claim::Unknown(UNSEEN);
    }
    let last = record.steps.last().map(|step| step.old);
    for Dwell { state, duration_ns, slow, .. } in &mut record.dwells {
        let open = match *state {
            TcpState::CloseWait => unseen || captured.fin_may_have_waited,
            TcpState::LastAck => captured.fin_may_have_waited,
            _ => false,
        };
        if open || gone && last == Some(*state) {
            *duration_ns = Claim::Unknown(UNSEEN);
            if core::mem::take(slow) {
                record.wave_times.slow = None;
            }
        } else {
            *duration_ns = marked(*duration_ns);
        }
    }
}

fn marked<T>(claim: Claim<T>) -> Claim<T> {
    match claim {
        Claim::Known { value, evidence } => {
            Claim::Known { value, evidence: evidence.with(Evidence::Captured) }
        }
        unknown @ Claim::Unknown(_) => unknown,
    }
}
