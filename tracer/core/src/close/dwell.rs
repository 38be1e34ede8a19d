//! How long each state lasted, and which of them was slow.

use tracer_common::TcpState;

use super::continuity::Continuity;
use super::kind::Ending;
use crate::claim::{Claim, Evidence, Reason};
use crate::record::Dwell;
use crate::tracker::Connection;

/// No round trip, delayed acknowledgement (up to 200 ms) or first retransmission explains more than this.
const SLOW_NS: u64 = 200_000_000;
/// Nor more than so many smoothed round trips.
const SLOW_ROUND_TRIPS: u64 = 10;

/// Fills `dwells` with one entry for each state passed through, in order.
pub(crate) fn dwells(
    connection: &Connection,
    continuity: &Continuity,
    ending: &Ending,
    dwells: &mut Vec<Dwell>,
) {
    dwells.reserve(connection.trace().len());
    let steps = connection.trace().get(continuity.start..).unwrap_or_default();
    if let Some(first) = steps.first()
        && !matches!(first.old, TcpState::Close | TcpState::Listen)
    {
        dwells.push(dwell(connection, first.old, Claim::Unknown(continuity.missing)));
    }
    for (index, step) in steps.iter().enumerate() {
        if step.new == TcpState::Close || step.new == step.old {
            continue;
        }
        let entered = continuity.start + index;
        let later = steps.get(index + 1..).unwrap_or_default();
        let left = later.iter().position(|later| later.new != step.new);
        let duration = match left.and_then(|place| Some((place, later.get(place)?))) {
            None => Claim::Unknown(Reason::EndNotSeen),
            Some((place, later)) => match continuity.broken_between(entered, entered + 1 + place) {
                Some(reason) => Claim::Unknown(reason),
                None if step.new == TcpState::FinWait2 && ending.hidden_fin_wait2 => {
                    Claim::Unknown(Reason::HiddenFinWait2)
                }
                None => match later.at.since(step.at) {
                    Some(ns) => Claim::known(ns, [Evidence::UnbrokenChain]),
                    None => Claim::Unknown(Reason::TimeBackwards),
                },
            },
        };
        dwells.push(dwell(connection, step.new, duration));
    }
    mark_slow(dwells, connection);
}

fn dwell(connection: &Connection, state: TcpState, duration_ns: Claim<u64>) -> Dwell {
    let queued_fin = matches!(state, TcpState::FinWait1 | TcpState::LastAck);
    let unsent_bytes = if queued_fin { connection.closing().unsent_bytes } else { None };
    Dwell { state, duration_ns, unsent_bytes, slow: false }
}

/// The longest closing state, if neither round trip nor protocol timers explain its length.
fn mark_slow(dwells: &mut [Dwell], connection: &Connection) {
    let srtt_us = connection.end().and_then(|end| end.tcp.srtt_us).unwrap_or(0);
    let explained = SLOW_NS.max(u64::from(srtt_us).saturating_mul(1000 * SLOW_ROUND_TRIPS));
    let mut longest: Option<(u64, &mut Dwell)> = None;
    for dwell in dwells.iter_mut().filter(|dwell| is_closing(dwell.state)) {
        if let Some(ns) = dwell.duration_ns.value().copied()
            && longest.as_ref().is_none_or(|(most, _)| ns >= *most)
        {
            longest = Some((ns, dwell));
        }
    }
    if let Some((ns, dwell)) = longest {
        dwell.slow = ns > explained;
    }
}

fn is_closing(state: TcpState) -> bool {
    use TcpState::{CloseWait, Closing, FinWait1, FinWait2, LastAck};
    matches!(state, FinWait1 | FinWait2 | Closing | CloseWait | LastAck)
}
