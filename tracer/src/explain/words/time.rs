//! Which state of the close took the time, and whose time that was.

use finwait_core::record::{CloseRecord, Dwell};
use finwait_core::{Claim, Reason, TcpState};

use super::{Story, dwell_ground, is_orderly, own, peer_name, sentence};
use crate::explain::ladder::dwell;
use crate::explain::names::{self, bytes, endpoint, span};
use crate::explain::{Ground, Part, Sentence};
use crate::sink::human::duration;

/// How long Linux may hold an acknowledgement back (TCP_DELACK_MIN), give or take a tick.
const DELAYED_ACK_NS: core::ops::RangeInclusive<u64> = 36_000_000..=48_000_000;

pub(super) fn who_took_the_time(story: &Story<'_>) -> Vec<Sentence> {
    let close = story.close;
    let mut said = Vec::new();
    match close.dwells.iter().find(|dwell| dwell.slow) {
        Some(slow) => said.extend(slow_state(story, slow)),
        None => said.extend(nothing_slow(close)),
    }
    said.extend(hidden_fin_wait2(story));
    said.extend(behind_hidden_fin_wait2(story));
    said.extend(delayed_ack(close));
    said
}

fn is_closing(state: TcpState) -> bool {
    use TcpState::{CloseWait, Closing, FinWait1, FinWait2, LastAck};
    matches!(state, FinWait1 | FinWait2 | Closing | CloseWait | LastAck)
}

/// ` of 0.3ms`
fn round_trip(close: &CloseRecord) -> String {
    close.srtt_us.value().map_or_else(String::new, |us| format!(" of {}", duration(u64::from(*us) * 1_000)))
}

/// Only of what exchanged FINs, and where every closing state's time is known.
fn nothing_slow(close: &CloseRecord) -> Option<Sentence> {
    if !is_orderly(close.kind.value()) {
        return None;
    }
    let closing = close.dwells.iter().filter(|dwell| is_closing(dwell.state));
    let known: Option<Vec<(u64, TcpState)>> =
        closing.map(|dwell| Some((*dwell.duration_ns.value()?, dwell.state))).collect();
    let (ns, state) = known?.into_iter().max()?;
    let text = format!(
        "No closing state took long: the longest was {} with {}{}.",
        state.name(),
        duration(ns),
        close.srtt_us.value().map_or_else(String::new, |us| format!(
            ", at a round trip of {}",
            duration(u64::from(*us) * 1_000)
        )),
    );
    Some(sentence(text, [own("srtt_us", &close.srtt_us)]).and(dwell_ground(Part::ThisEnd, close, state)))
}

fn slow_state(story: &Story<'_>, slow: &Dwell) -> Vec<Sentence> {
    let close = story.close;
    let Some(ns) = slow.duration_ns.value() else { return Vec::new() };
    let (took, trip) = (duration(*ns), round_trip(close));
    let text = match slow.state {
        TcpState::FinWait2 => format!(
            "{took} went by before the FIN of the other end, {}, came: far longer than the round trip{trip} explains.",
            peer_name(story)
        ),
        TcpState::CloseWait => {
            let by =
                names::process(close).unwrap_or_else(|| format!("the program at {}", endpoint(close.local)));
            format!("The peer's FIN waited {took} in CLOSE_WAIT: for so long {by} had not closed this end.")
        }
        _ => unacknowledged(slow, &took, &trip),
    };
    let unsent = slow.unsent_bytes.map(|unsent| {
        Ground::field(Part::ThisEnd, format!("unsent_bytes.{}", slow.state.name()), unsent.to_string())
    });
    let trip = [own("srtt_us", &close.srtt_us)];
    let grounds = dwell_ground(Part::ThisEnd, close, slow.state).into_iter().chain(trip).chain(unsent);
    let mut said = vec![Sentence { text, evidence: grounds.collect() }];
    match slow.state {
        TcpState::FinWait2 => {
            said[0].evidence.extend(story.peer.and_then(|peer| names::process_ground(Part::Peer, peer)));
            said.extend(acknowledged(close));
            said.extend(at_the_peer(story, *ns));
        }
        TcpState::CloseWait => said[0].evidence.extend(names::process_ground(Part::ThisEnd, close)),
        _ => {}
    }
    said
}

/// FIN_WAIT1, CLOSING or LAST_ACK.
fn unacknowledged(slow: &Dwell, took: &str, trip: &str) -> String {
    match slow.unsent_bytes.filter(|unsent| *unsent > 0) {
        Some(unsent) => format!(
            "{took} went by until our FIN, with {} still to be sent ahead of it, was acknowledged: between the two hosts, or at a peer that did not read.",
            bytes(u64::from(unsent))
        ),
        None => format!(
            "Our FIN was not acknowledged for {took}, far longer than the round trip{trip} explains: the time went by between the two hosts, or at the peer."
        ),
    }
}

/// What the time in FIN_WAIT1 rules out.
fn acknowledged(close: &CloseRecord) -> Option<Sentence> {
    let ns = dwell(close, TcpState::FinWait1)?.duration_ns.value()?;
    let text = format!(
        "Our FIN was acknowledged within {}, so the network and the peer's kernel answer.",
        duration(*ns)
    );
    let ground = dwell_ground(Part::ThisEnd, close, TcpState::FinWait1)?;
    Some(sentence(text, [ground, own("fin_outcome", &close.fin_outcome)]))
}

/// Whether its program or the way took the time is in the other end's own record; without one nothing tells.
fn at_the_peer(story: &Story<'_>, waited: u64) -> Option<Sentence> {
    let Some(peer) = story.peer else {
        let text = "Either its program closed so late or its FIN was lost on the way; the other end's own record would tell, and is not on this host.";
        return Some(sentence(text, [own("wave_times.3", &story.close.wave_times.waves[2])]));
    };
    let ns = *dwell(peer, TcpState::CloseWait)?.duration_ns.value()?;
    if story.is_captured() {
        let text = format!(
            "The other end spent {} in CLOSE_WAIT, as captured: its program closed so late, or its FIN was lost ahead of the capture point.",
            duration(ns)
        );
        return Some(Sentence {
            text,
            evidence: dwell_ground(Part::Peer, peer, TcpState::CloseWait).into_iter().collect(),
        });
    }
    let by = names::process(peer).unwrap_or_else(|| "its program".to_owned());
    let left = format!("its own record has {} in CLOSE_WAIT", duration(ns));
    let text = if ns >= waited / 2 {
        let closed = is_orderly(peer.kind.value());
        let until = if closed {
            format!("until {by} closed")
        } else {
            format!("and {by} had not closed when that ended")
        };
        format!("Its program took the time: {left}, {until}.")
    } else {
        format!("Its FIN took the time on the way: {left}.")
    };
    let ground = dwell_ground(Part::Peer, peer, TcpState::CloseWait).into_iter();
    Some(Sentence { text, evidence: ground.chain(names::process_ground(Part::Peer, peer)).collect() })
}

/// FIN_WAIT2 of a socket that nobody holds goes on in a mini-socket, of which only the time-wait record knows.
fn hidden_fin_wait2(story: &Story<'_>) -> Option<Sentence> {
    let hidden = dwell(story.close, TcpState::FinWait2)?.duration_ns.reason() == Some(Reason::HiddenFinWait2);
    if !hidden {
        return None;
    }
    let own_dwell = dwell_ground(Part::ThisEnd, story.close, TcpState::FinWait2)?;
    let Some(left) = story.time_wait else {
        let why = names::reason(Reason::HiddenFinWait2);
        return Some(sentence(format!("How long FIN_WAIT2 lasted is not known: {why}."), [own_dwell]));
    };
    let ground = Ground::claim(Part::TimeWait, "fin_wait2_ns", &left.fin_wait2_ns);
    let text = match left.fin_wait2_ns {
        Claim::Known { value, .. } => {
            format!(
                "Its mini-socket spent {} in FIN_WAIT2: so long the peer's FIN did not come.",
                span(value)
            )
        }
        Claim::Unknown(reason) => {
            format!("How long its mini-socket stayed in FIN_WAIT2 is not known: {}.", names::reason(reason))
        }
    };
    Some(sentence(text, [own_dwell, ground]))
}

/// Whose time that was, where the other end's record has a long CLOSE_WAIT.
fn behind_hidden_fin_wait2(story: &Story<'_>) -> Option<Sentence> {
    let own = &dwell(story.close, TcpState::FinWait2)?.duration_ns;
    let there = dwell(story.peer?, TcpState::CloseWait).filter(|there| there.slow)?;
    let hidden = own.reason() == Some(Reason::HiddenFinWait2);
    at_the_peer(story, *there.duration_ns.value()?).filter(|_| hidden)
}

/// About 40 ms is what a delayed acknowledgement takes; the record cannot show that it was one.
fn delayed_ack(close: &CloseRecord) -> Option<Sentence> {
    let state = [TcpState::FinWait1, TcpState::LastAck, TcpState::Closing].into_iter().find(|state| {
        let ns = dwell(close, *state).and_then(|dwell| dwell.duration_ns.value());
        ns.is_some_and(|ns| DELAYED_ACK_NS.contains(ns))
    })?;
    let trip = *close.srtt_us.value().filter(|us| **us < 10_000)?;
    let text = format!(
        "{} lasted about as long as a peer running Linux may hold an acknowledgement back (40ms), with a round trip of {}; that it did is not shown.",
        state.name(),
        duration(u64::from(trip) * 1_000)
    );
    let grounds = [Ground::constant("TCP_DELACK_MIN", "40 ms"), own("srtt_us", &close.srtt_us)];
    Some(sentence(text, grounds).and(dwell_ground(Part::ThisEnd, close, state)))
}
