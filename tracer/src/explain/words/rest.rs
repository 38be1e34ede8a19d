//! Segments, retransmissions, the half-closed time, what had been idle, what was left behind, the other end, what was not seen.

use finwait_core::record::{FirstCloser, ResetDirection, SeenFrom, TimeWaitEnd, TimeWaitRecord, Waves};
use finwait_core::{Claim, Reason};

use super::{Story, is_orderly, own, sentence, unknown};
use crate::explain::names::{self, bytes, owner, span, time_wait_end, times};
use crate::explain::{Ground, Part, Sentence};
use crate::sink::human::{counted, duration, share};

/// A silence shorter than this is no timer's.
const IDLE_NS: u64 = 1_000_000_000;

pub(super) fn segments(story: &Story<'_>) -> Option<Sentence> {
    let close = story.close;
    let text = match close.waves {
        Claim::Known { value: Waves::Three, .. } => {
            "Three segments: the second FIN carried the acknowledgement of the first."
        }
        Claim::Known { value: Waves::Four, .. } => "Four segments.",
        Claim::Unknown(reason) if is_orderly(close.kind.value()) => {
            return segments_at_peer(story)
                .or_else(|| unknown("Whether three segments or four", "waves", reason));
        }
        Claim::Unknown(_) => return None,
    };
    Some(sentence(text, [own("waves", &close.waves)]))
}

/// What only the other end could see.
fn segments_at_peer(story: &Story<'_>) -> Option<Sentence> {
    let peer = story.peer?;
    let text = match peer.waves.value()? {
        Waves::Three => "Three segments, as the other end's record has it.",
        Waves::Four => "Four segments, as the other end's record has it.",
    };
    Some(sentence(text, [Ground::claim(Part::Peer, "waves", &peer.waves)]))
}

pub(super) fn resent(story: &Story<'_>) -> Option<Sentence> {
    let close = story.close;
    if let Some(captured) = &close.captured {
        let again = captured.own_fins_again;
        let ground = Ground::field(Part::ThisEnd, "capture.local_fins_again", again.to_string());
        return (again > 0)
            .then(|| sentence(format!("Our FIN passed {} more.", times(u64::from(again))), [ground]));
    }
    let again = match close.fin_retransmits {
        Claim::Known { value, .. } => value,
        Claim::Unknown(reason) => {
            return unknown("Whether anything was sent again while closing", "fin_retransmits", reason);
        }
    };
    let data = counted(u64::from(again.data), "segment", "segments");
    let text = match (again.fins(), again.data) {
        (0, 0) => "Nothing was sent again while closing.".to_owned(),
        (0, _) => format!("Data ahead of our FIN was sent again: {data}."),
        (fins, 0) => format!("Our FIN was sent again {}.", times(u64::from(fins))),
        (fins, _) => {
            format!("Our FIN was sent again {}, and {data} of data ahead of it.", times(u64::from(fins)))
        }
    };
    Some(sentence(text, [own("fin_retransmits", &close.fin_retransmits)]))
}

pub(super) fn half_closed(story: &Story<'_>) -> Option<Sentence> {
    let close = story.close;
    let (ns, carried) = (*close.half_closed_ns.value()?, *close.half_closed_bytes.value()?);
    if ns == 0 || carried == 0 {
        return None;
    }
    let part =
        close.life_ns.value().map_or_else(String::new, |life| format!(" ({} of its life)", share(ns, *life)));
    let text = format!(
        "One direction stayed open for {}{part}, and carried {} in that time.",
        duration(ns),
        bytes(carried)
    );
    let grounds =
        [own("half_closed_ns", &close.half_closed_ns), own("half_closed_bytes", &close.half_closed_bytes)];
    Some(sentence(text, grounds).and(close.life_ns.value().map(|_| own("life_ns", &close.life_ns))))
}

/// What a timer would look like; that it was one no record shows.
pub(super) fn idle(story: &Story<'_>) -> Option<Sentence> {
    let close = story.close;
    let (sent, received) = (close.idle_send_ns?, close.idle_receive_ns?);
    let idle = sent.min(received);
    if idle < IDLE_NS || !is_orderly(close.kind.value()) {
        return None;
    }
    let whose = match close.first_closer.value()? {
        FirstCloser::Local => "this end, which closed first,",
        FirstCloser::Peer => "the peer, which closed first,",
        FirstCloser::Both => "each end",
    };
    let text = format!(
        "No data had gone either way for {} when the first FIN came: an idle timer of {whose} would look like this; whether it was one is not shown.",
        duration(idle)
    );
    let grounds = [
        Ground::field(Part::ThisEnd, "idle_send_ns", sent.to_string()),
        Ground::field(Part::ThisEnd, "idle_receive_ns", received.to_string()),
        own("first_closer", &close.first_closer),
    ];
    Some(sentence(text, grounds))
}

pub(super) fn left_behind(story: &Story<'_>) -> Vec<Sentence> {
    let near = story.time_wait.and_then(|left| of_mini_socket(left, Part::TimeWait, "What it left behind"));
    let far = story
        .peer_time_wait
        .and_then(|left| of_mini_socket(left, Part::PeerTimeWait, "What the other end left behind"));
    near.into_iter().chain(far).collect()
}

fn of_mini_socket(left: &TimeWaitRecord, part: Part, what: &str) -> Option<Sentence> {
    let end = match left.end {
        Claim::Known { value, .. } => value,
        Claim::Unknown(reason) => {
            let text = format!("{what} ended in a way that is not known: {}.", names::reason(reason));
            let text = if reason == Reason::StillOpen {
                format!("{what} was not over when the observation ended.")
            } else {
                text
            };
            return Some(sentence(text, [Ground::claim(part, "end", &left.end)]));
        }
    };
    let lasted = left.time_wait_ns.value().map(|ns| span(*ns));
    let by = left.ended_by.value().map_or_else(String::new, |by| format!(" by {}", owner(by)));
    let text = match (end, lasted) {
        (TimeWaitEnd::Expired, Some(lasted)) => {
            format!(
                "{what} was TIME_WAIT: it ended as it should, after {lasted} (2MSL and the timer's rounding)."
            )
        }
        (TimeWaitEnd::NeverAllocated, _) => {
            let what = if part == Part::TimeWait { "It" } else { "The other end" };
            format!("{what} left nothing behind: {}.", time_wait_end(end))
        }
        (_, Some(lasted)) => format!("{what} was TIME_WAIT, for {lasted}: {}{by}.", time_wait_end(end)),
        (_, None) if left.entered.reason() == Some(Reason::DidNotHappen) => {
            format!("{what} never got to TIME_WAIT: {}{by}.", time_wait_end(end))
        }
        (_, None) => format!("{what} ended, after an unknown time: {}{by}.", time_wait_end(end)),
    };
    let grounds =
        [Ground::claim(part, "end", &left.end), Ground::claim(part, "time_wait_ns", &left.time_wait_ns)];
    let constant = (end == TimeWaitEnd::Expired).then(|| Ground::constant("TCP_TIMEWAIT_LEN", "60 s"));
    Some(sentence(text, grounds).and(constant))
}

/// What the other end's own record says, in a word.
pub(super) fn other_end(story: &Story<'_>) -> Option<Sentence> {
    let peer = story.peer?;
    let ground = Ground::claim(Part::Peer, "kind", &peer.kind);
    let kind = match peer.kind {
        Claim::Known { value: finwait_core::record::CloseKind::Reset, .. } => {
            let direction = peer.reset.as_ref().and_then(|reset| reset.direction.value().copied());
            match direction {
                Some(ResetDirection::Sent) => "a reset that it sent",
                Some(ResetDirection::Received) => "a reset that it received",
                None => "a reset",
            }
        }
        Claim::Known { value, .. } => value.name(),
        Claim::Unknown(reason) => {
            let text = format!(
                "The other end was seen too; how it ended there is not known: {}.",
                names::reason(reason)
            );
            return Some(sentence(text, [ground]));
        }
    };
    let kind = kind.replace('_', " ");
    let there = if story.is_captured() {
        "Seen from the other end"
    } else {
        "The other end is on this host too; its own record says"
    };
    Some(sentence(format!("{there}: {kind}."), [ground]))
}

/// What the packets leave open, in one sentence.
pub(super) fn not_in_capture(story: &Story<'_>) -> Option<Sentence> {
    let close = story.close;
    let is_left = |reason: Option<Reason>| reason == Some(Reason::NotInCapture);
    let reset = close.reset.as_ref().map(|reset| &reset.cause);
    let parts = [
        (is_left(close.cause.reason()), "which call closed it", own("cause", &close.cause)),
        (is_left(close.closer.reason()), "which process", own("closer", &close.closer)),
    ];
    let resets = reset
        .filter(|cause| is_left(cause.reason()))
        .map(|cause| ("why it was reset", own("reset_cause", cause)));
    let told = parts.into_iter().filter(|(left, ..)| *left).map(|(_, what, ground)| (what, ground));
    let (whats, grounds): (Vec<&str>, Vec<Ground>) = resets.into_iter().chain(told).unzip();
    let text = format!("The capture does not show {}.", listed(&whats)?);
    Some(Sentence { text, evidence: grounds })
}

/// `a`, `a or b`, `a, b or c`; `None` for nothing.
fn listed(parts: &[&str]) -> Option<String> {
    let (last, others) = parts.split_last()?;
    Some(if others.is_empty() { (*last).to_owned() } else { format!("{} or {last}", others.join(", ")) })
}

pub(super) fn not_seen(story: &Story<'_>) -> Vec<Sentence> {
    let close = story.close;
    let mut said = Vec::new();
    if close.chain_breaks > 0 {
        let missing = counted(
            u64::from(close.chain_breaks),
            "place where transitions are missing",
            "places where transitions are missing",
        );
        let ground = Ground::field(Part::ThisEnd, "chain_breaks", close.chain_breaks.to_string());
        said.push(sentence(format!("There is {missing}: what rests on them is not known."), [ground]));
    }
    let text = match close.seen_from {
        SeenFrom::Handshake => return said,
        SeenFrom::Middle => "It was open before finwait looked, so its beginning is not known.",
        SeenFrom::CloseOnly => "Only its end was seen.",
    };
    said.push(sentence(text, [Ground::field(Part::ThisEnd, "seen_from", close.seen_from.name())]));
    said
}
