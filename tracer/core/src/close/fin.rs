//! What became of our FIN, and what was sent again meanwhile.

use tracer_common::TcpState;

use super::View;
use super::continuity::Continuity;
use super::kind::{Ending, all_acked};
use crate::claim::{Claim, Evidence, Reason};
use crate::record::{CloseKind, FinOutcome, FinRetransmits};
use crate::tracker::{Connection, End};

/// Whether our FIN was queued: seen, or implied by the state that was left. `None` where neither tells.
fn queued(connection: &Connection, continuity: &Continuity) -> bool {
    continuity.queued_fin().is_some()
        || connection.end().is_some_and(|end| {
            matches!(end.old, TcpState::FinWait1 | TcpState::FinWait2 | TcpState::Closing | TcpState::LastAck)
        })
}

pub(super) fn outcome(
    connection: &Connection,
    continuity: &Continuity,
    ending: &Ending,
) -> Claim<FinOutcome> {
    let Some(end) = connection.end() else { return Claim::Unknown(Reason::EndNotSeen) };
    if !queued(connection, continuity) {
        return Claim::Unknown(Reason::DidNotHappen);
    }
    if continuity.shows(TcpState::FinWait2) || end.old == TcpState::FinWait2 {
        return Claim::known(FinOutcome::Acknowledged, [Evidence::FinWait2]);
    }
    match (all_acked(end), ending.kind.value()) {
        (None, _) => Claim::Unknown(Reason::FieldAbsent),
        (Some(true), _) => Claim::known(FinOutcome::Acknowledged, [Evidence::AllAcked]),
        (Some(false), Some(CloseKind::TimedOut)) => {
            Claim::known(FinOutcome::GivenUp, [Evidence::Unacked, Evidence::ErrTimedOut])
        }
        (Some(false), Some(CloseKind::Reset)) => {
            Claim::known(FinOutcome::Reset, [Evidence::Unacked, Evidence::ErrReset])
        }
        (Some(false), Some(CloseKind::Killed)) => {
            Claim::known(FinOutcome::Destroyed, [Evidence::Unacked, Evidence::ErrAborted])
        }
        (Some(false), _) => Claim::Unknown(ending.kind.reason().unwrap_or(Reason::NoKnownWay)),
    }
}

/// A count is complete only where the hook was in force and lost nothing from the FIN's queueing to the end, and where the
/// kernel's own count does not say more.
pub(super) fn retransmits(
    connection: &Connection,
    continuity: &Continuity,
    view: &View,
) -> Claim<FinRetransmits> {
    if !view.hooks.retransmits {
        return Claim::Unknown(Reason::NotVisible);
    }
    let Some(end) = connection.end() else { return Claim::Unknown(Reason::EndNotSeen) };
    let queued_at = continuity.queued_fin().and_then(|place| connection.trace().get(place));
    let Some(queued_at) = queued_at.map(|trace| trace.at) else {
        let implied = queued(connection, continuity);
        return Claim::Unknown(if implied { continuity.missing } else { Reason::DidNotHappen });
    };
    if !view.hooks_whole(queued_at, end.at) {
        return Claim::Unknown(Reason::HookLoss);
    }
    let counts = connection.hooked().map(|hooked| hooked.retransmits).unwrap_or_default();
    if escaped(connection, end, &counts) {
        return Claim::Unknown(Reason::HookLoss);
    }
    Claim::known(counts, [Evidence::RetransmitsSeen])
}

/// Whether the kernel sent more again than the hook told of: tp->total_retrans grows in __tcp_retransmit_skb() just before
/// the tracepoint, also for what then fails. By data it grows by the packets that a segment is made of, which the hook does
/// not tell; a FIN alone is one.
fn escaped(connection: &Connection, end: &End, counts: &FinRetransmits) -> bool {
    let failed = connection.hooked().map_or(0, |hooked| hooked.failed_retransmits);
    let told = counts.fins().saturating_add(failed);
    let counted = end.tcp.total_retrans.zip(connection.closing().retrans_before);
    counted.is_some_and(|(after, before)| counts.data == 0 && after.wrapping_sub(before) > told)
}
