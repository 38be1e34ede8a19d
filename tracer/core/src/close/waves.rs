//! Whether the second and the third wave of the close travelled in one segment.

use super::continuity::Continuity;
use super::kind::Ending;
use crate::claim::{Claim, Evidence, Reason};
use crate::record::{CloseKind, Waves};
use crate::tracker::Connection;

/// Three segments or four, where the close was an orderly exchange.
pub(crate) fn waves(connection: &Connection, continuity: &Continuity, ending: &Ending) -> Claim<Waves> {
    match ending.kind.value() {
        Some(CloseKind::Active) => active(connection, continuity, ending),
        Some(CloseKind::Passive) => passive(connection, continuity),
        Some(CloseKind::Simultaneous) => Claim::known(Waves::Four, [Evidence::Closing]),
        Some(_) => Claim::Unknown(Reason::DidNotHappen),
        None => Claim::Unknown(ending.kind.reason().unwrap_or(Reason::NoKnownWay)),
    }
}

/// tcp_clock_cache is refreshed once for each segment: equal at FIN_WAIT1 → FIN_WAIT2 and at FIN_WAIT2 → CLOSE, one
/// segment carried both ACK and FIN.
fn active(connection: &Connection, continuity: &Continuity, ending: &Ending) -> Claim<Waves> {
    if ending.hidden_fin_wait2 {
        return Claim::Unknown(Reason::HiddenFinWait2);
    }
    let Some(acked_at) = connection.closing().fin_wait2_clock_ns else {
        let entered = continuity.shows(tracer_common::TcpState::FinWait2);
        return Claim::Unknown(if entered { Reason::FieldAbsent } else { continuity.missing_inside() });
    };
    if let Some(reason) = last_link(connection, continuity) {
        return Claim::Unknown(reason);
    }
    match connection.end().and_then(|end| end.tcp.clock_cache_ns) {
        Some(done_at) if done_at == acked_at => {
            Claim::known(Waves::Three, [Evidence::SameSegment, Evidence::SockDone])
        }
        Some(_) => Claim::known(Waves::Four, [Evidence::OtherSegment, Evidence::SockDone]),
        None => Claim::Unknown(Reason::FieldAbsent),
    }
}

/// With the peer's FIN unacknowledged when ours is queued, its ACK rides on our FIN; unless data goes out first.
fn passive(connection: &Connection, continuity: &Continuity) -> Claim<Waves> {
    let entered = continuity
        .proven(connection)
        .any(|t| t.new == tracer_common::TcpState::LastAck && t.old == tracer_common::TcpState::CloseWait);
    match (entered, connection.closing().ack_pending, connection.closing().unsent_bytes) {
        (false, ..) => Claim::Unknown(continuity.missing_inside()),
        (true, Some(false), _) => Claim::known(Waves::Four, [Evidence::AckSent]),
        (true, Some(true), Some(0)) => Claim::known(Waves::Three, [Evidence::AckPending]),
        (true, Some(true), Some(_)) => Claim::Unknown(Reason::NotVisible),
        (true, ..) => Claim::Unknown(Reason::FieldAbsent),
    }
}

/// Why the last two events are not neighbours, if they are not.
fn last_link(connection: &Connection, continuity: &Continuity) -> Option<Reason> {
    let last = connection.trace().len().checked_sub(1)?;
    continuity.broken_between(last.saturating_sub(1), last)
}
