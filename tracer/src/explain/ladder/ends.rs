//! What ended the socket where that was no wave, and what it left behind.

use finwait_core::record::{
    CloseKind, CloseRecord, Reset, ResetDirection, Successor, TimeWaitEnd, TimeWaitRecord,
};
use finwait_core::{Claim, Reason};

use super::{Arrow, Far, Row, Way, closed};
use crate::explain::Story;
use crate::explain::names::{self, bytes, owner, reset_cause, span, time_wait_end, times};
use crate::sink::human;

pub(super) fn rows(story: &Story<'_>) -> Option<Row> {
    let close = story.close;
    if close.kind.value() == Some(&CloseKind::Refused) {
        let notes = vec!["connect() was answered by a reset".to_owned()];
        let state = Some(finwait_core::TcpState::Close);
        return Some(Row::Arrow(Arrow { at: closed(close), state, notes, ..Arrow::new(Way::In, "RST") }));
    }
    let text = without_wave(close);
    if let Some(reset) = &close.reset {
        return Some(Row::Arrow(reset_arrow(story, reset, text)));
    }
    let point = |text| Row::Point { at: closed(close), state: "CLOSE", text };
    match close.kind {
        _ if text.is_some() => text.map(point),
        Claim::Unknown(reason) => {
            Some(point(format!("how it ended is not known: {}", names::reason(reason))))
        }
        Claim::Known { .. } => None,
    }
}

/// `None` for what a wave or a reset alone ended.
fn without_wave(close: &CloseRecord) -> Option<String> {
    let within = close.steps.last().map_or_else(String::new, |step| format!(" in {}", step.old.name()));
    Some(match close.kind.value()? {
        CloseKind::ConnectTimedOut => "given up: no answer came".to_owned(),
        CloseKind::ConnectCancelled => {
            let by = close.closer.value().map_or_else(String::new, |by| format!(" ({})", owner(by)));
            format!("the program gave up before an answer{by}")
        }
        CloseKind::ConnectFailed => {
            let error = close.error.value().and_then(|error| human::errno(*error));
            format!("connect() failed{}", error.map_or_else(String::new, |name| format!(": {name}")))
        }
        CloseKind::Killed => format!("destroyed by an administrator (ss -K){within}"),
        CloseKind::Dropped => format!("never accepted: dropped with its listener{within}"),
        CloseKind::TimedOut => {
            let cause = close.timeout.as_ref().and_then(Claim::value);
            let what = cause.map_or("on what is not known", |cause| names::timeout(*cause));
            format!("the kernel gave up{within}: {what}")
        }
        _ => return None,
    })
}

fn reset_arrow(story: &Story<'_>, reset: &Reset, text: Option<String>) -> Arrow {
    let close = story.close;
    let way = match reset.direction.value() {
        Some(ResetDirection::Sent) => Way::Out,
        Some(ResetDirection::Received) => Way::In,
        None => Way::Unknown,
    };
    let mut notes = Vec::new();
    match text {
        // What killed, dropped or timed it out says the cause already.
        Some(text) => notes.push(text),
        None => {
            notes.extend(cause_of_reset(close, reset));
            notes.push(format!("in {}", reset.state.name()));
        }
    }
    let unread = reset.unread_bytes.value().filter(|unread| **unread > 0);
    notes.extend(unread.map(|unread| format!("{} not read", bytes(u64::from(*unread)))));
    notes.extend(reset.reason.value().map(|name| name.as_str().to_owned()));
    let unknown = reset.direction.reason().map(names::reason);
    Arrow {
        at: closed(close),
        state: Some(finwait_core::TcpState::Close),
        notes,
        unknown,
        far: story.peer.and_then(|peer| reset_at_peer(reset, peer)),
        ..Arrow::new(way, "RST")
    }
}

/// `close() with received data unread, api/402`
fn cause_of_reset(close: &CloseRecord, reset: &Reset) -> Option<String> {
    let cause = reset.cause.value()?;
    let by = close.closer.value().map_or_else(String::new, |by| format!(", {}", owner(by)));
    Some(format!("{}{by}", reset_cause(*cause)))
}

/// The same reset, where one end says that it sent and the other that it received.
fn reset_at_peer(reset: &Reset, peer: &CloseRecord) -> Option<Far> {
    let there = peer.reset.as_ref()?.direction.value()?;
    let here = reset.direction.value()?;
    (here != there).then(|| Far { at: closed(peer), state: Some(finwait_core::TcpState::Close) })
}

/// TIME_WAIT, and its end.
pub(super) fn afterwards(story: &Story<'_>) -> Vec<Row> {
    let Some(left) = story.time_wait else {
        let goes_on = story.close.successor.value() == Some(&Successor::TimeWait);
        let text = if story.is_captured() {
            "TIME_WAIT: no packet shows its end"
        } else {
            "TIME_WAIT: its end was not seen, or has not come"
        };
        let text = text.to_owned();
        return goes_on.then_some(Row::Gap { text, slow: false }).into_iter().collect();
    };
    if left.end.value() == Some(&TimeWaitEnd::NeverAllocated) {
        let text = time_wait_end(TimeWaitEnd::NeverAllocated).to_owned();
        return vec![Row::Point { at: left.ended.value().copied(), state: "gone", text }];
    }
    let lasted = left.time_wait_ns.value().map(|ns| {
        let again = left
            .rearmed
            .filter(|again| *again > 0)
            .map_or_else(String::new, |again| format!(", its timer set anew {}", times(u64::from(again))));
        Row::Gap { text: format!("{} in TIME_WAIT{again}", span(*ns)), slow: false }
    });
    lasted.into_iter().chain(gone(story.close, left)).collect()
}

/// The end of a mini-socket.
fn gone(close: &CloseRecord, left: &TimeWaitRecord) -> Option<Row> {
    let by = left.ended_by.value().map_or_else(String::new, |by| format!(" by {}", owner(by)));
    match (left.ended, left.end) {
        (Claim::Known { value, .. }, Claim::Known { value: end, .. }) => {
            let text = format!("{}{by}", time_wait_end(end));
            Some(Row::Point { at: Some(value), state: "gone", text })
        }
        (Claim::Known { value, .. }, Claim::Unknown(reason)) => {
            let text = format!("ended, why is not known: {}", names::reason(reason));
            Some(Row::Point { at: Some(value), state: "gone", text })
        }
        (Claim::Unknown(Reason::DidNotHappen), _) => None,
        (Claim::Unknown(reason), _) => {
            let entered =
                left.entered.value().is_some() || close.successor.value() == Some(&Successor::TimeWait);
            let what = if entered { "the end of its TIME_WAIT" } else { "what became of its mini-socket" };
            let text = format!("{what} is not known: {}", names::reason(reason));
            Some(Row::Point { at: None, state: "", text })
        }
    }
}
