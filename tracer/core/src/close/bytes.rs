//! Payload bytes: in all, and through the direction that stayed open after the first FIN.

use tracer_common::TcpState;

use super::continuity::Continuity;
use super::kind::{self, Ending};
use crate::claim::{Claim, Evidence, Reason};
use crate::record::{CloseKind, Role};
use crate::time::MonoNs;
use crate::tracker::{Connection, End, Trace};

/// bytes_acked counts the active opener's SYN, and the FIN once it was acknowledged.
pub(super) fn sent(connection: &Connection, role: &Claim<Role>) -> Claim<u64> {
    let Some(end) = connection.end() else { return Claim::Unknown(Reason::EndNotSeen) };
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
    match fin_acked(end) {
        Ok(fin) => counted(acked, syn + fin),
        Err(reason) => Claim::Unknown(reason),
    }
}

/// bytes_received counts the peer's FIN.
pub(super) fn received(connection: &Connection) -> Claim<u64> {
    let Some(end) = connection.end() else { return Claim::Unknown(Reason::EndNotSeen) };
    if end.old == TcpState::SynSent {
        return Claim::Unknown(Reason::DidNotHappen);
    }
    match (end.tcp.bytes_received, end.flags) {
        (Some(received), Some(flags)) => counted(received, u64::from(flags.done)),
        _ => Claim::Unknown(Reason::FieldAbsent),
    }
}

/// How long one direction stayed open after the first FIN.
pub(super) fn half_closed_ns(
    connection: &Connection,
    continuity: &Continuity,
    ending: &Ending,
) -> Claim<u64> {
    match half_closed(connection, continuity, ending) {
        Ok((first, second)) => match second.since(first.at) {
            Some(ns) => Claim::known(ns, [Evidence::StateLeft]),
            None => Claim::Unknown(Reason::TimeBackwards),
        },
        Err(reason) => Claim::Unknown(reason),
    }
}

/// What went through that direction: received after our FIN was queued, or acknowledged by the peer after its own.
pub(super) fn half_closed_bytes(
    connection: &Connection,
    continuity: &Continuity,
    ending: &Ending,
) -> Claim<u64> {
    if let Err(reason) = half_closed(connection, continuity, ending) {
        return Claim::Unknown(reason);
    }
    let Some(end) = connection.end() else { return Claim::Unknown(Reason::EndNotSeen) };
    let closing = &connection.closing();
    let (total, before, fin) = match ending.kind.value() {
        Some(CloseKind::Active) => (end.tcp.bytes_received, closing.received_before_bytes, Ok(1)),
        _ => (end.tcp.bytes_acked, closing.acked_before_bytes, fin_acked(end)),
    };
    match (total, before, fin) {
        (Some(total), Some(before), Ok(fin)) => counted(total, before.saturating_add(fin)),
        (_, _, Err(reason)) => Claim::Unknown(reason),
        _ => Claim::Unknown(Reason::FieldAbsent),
    }
}

/// The first FIN's event and the moment of the second.
fn half_closed<'a>(
    connection: &'a Connection,
    continuity: &Continuity,
    ending: &Ending,
) -> Result<(&'a Trace, MonoNs), Reason> {
    let entered = |state| continuity.entered(state).and_then(|place| connection.trace().get(place));
    let end = connection.end().ok_or(Reason::EndNotSeen)?;
    let missing = || continuity.missing_inside();
    match ending.kind.value() {
        Some(CloseKind::Active) if ending.hidden_fin_wait2 => Err(Reason::HiddenFinWait2),
        Some(CloseKind::Active) => {
            let first = entered(TcpState::FinWait1).ok_or_else(missing)?;
            Ok((first, end.at))
        }
        Some(CloseKind::Passive) => {
            let first = entered(TcpState::CloseWait).ok_or_else(missing)?;
            let second = entered(TcpState::LastAck).ok_or_else(missing)?;
            Ok((first, second.at))
        }
        Some(_) => Err(Reason::DidNotHappen),
        None => Err(ending.kind.reason().unwrap_or(Reason::NoKnownWay)),
    }
}

/// Whether our FIN is among the bytes acknowledged: 1 or 0.
fn fin_acked(end: &End) -> Result<u64, Reason> {
    match (end.old, kind::all_acked(end)) {
        (TcpState::FinWait2, _)
        | (TcpState::Closing | TcpState::LastAck | TcpState::FinWait1, Some(true)) => Ok(1),
        (TcpState::Closing | TcpState::LastAck | TcpState::FinWait1, None) => Err(Reason::FieldAbsent),
        _ => Ok(0),
    }
}

fn counted(bytes: u64, control: u64) -> Claim<u64> {
    match bytes.checked_sub(control) {
        Some(payload) => Claim::known(payload, [Evidence::StateLeft]),
        None => Claim::Unknown(Reason::NoKnownWay),
    }
}
