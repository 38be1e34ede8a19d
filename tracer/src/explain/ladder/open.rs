//! The handshake, and the time that the connection was open.

use finwait_core::record::{CloseKind, CloseRecord, SeenFrom};
use finwait_core::{Claim, Reason, TcpState};

use super::{Arrow, Row, Way, dwell, entered, passed};
use crate::explain::Story;
use crate::explain::ladder::waves::far_of_state;
use crate::explain::names::{bytes, owner, times};
use crate::sink::human;

pub(super) fn rows(story: &Story<'_>) -> Vec<Row> {
    let close = story.close;
    let mut rows = if passed(close, TcpState::SynSent) {
        connecting(story)
    } else if passed(close, TcpState::SynRecv) {
        vec![accepting(story)]
    } else {
        vec![unseen(close)]
    };
    if passed(close, TcpState::Established) || close.seen_from != SeenFrom::Handshake {
        rows.push(Row::Gap { text: open_for(close), slow: false });
    }
    rows
}

fn unseen(close: &CloseRecord) -> Row {
    let text = match close.seen_from {
        SeenFrom::Middle => "it was open before finwait looked",
        SeenFrom::CloseOnly => "only its end was seen",
        SeenFrom::Handshake => "its handshake was not seen",
    };
    Row::Point { at: None, state: "", text: text.to_owned() }
}

/// What a listener's child shows of its handshake is its end.
fn accepting(story: &Story<'_>) -> Row {
    let close = story.close;
    let established = passed(close, TcpState::Established);
    let state = if established { TcpState::Established } else { TcpState::SynRecv };
    let by = close.acceptor.value().map(|by| format!("accepted by {}", owner(by)));
    let never = (close.kind.value() == Some(&CloseKind::Dropped)).then(|| "never accepted".to_owned());
    Row::Arrow(Arrow {
        at: entered(close, state),
        state: Some(state),
        notes: by.or(never).into_iter().collect(),
        ..Arrow::new(Way::In, "handshake")
    })
}

fn connecting(story: &Story<'_>) -> Vec<Row> {
    let close = story.close;
    let at = entered(close, TcpState::SynSent);
    let by = close.opener.value().map(|by| format!("connect() by {}", owner(by)));
    let mut syn = Arrow {
        at,
        state: Some(TcpState::SynSent),
        notes: by.into_iter().collect(),
        ..Arrow::new(Way::Out, "SYN")
    };
    match close.kind.value() {
        Some(CloseKind::NoFreePort) => {
            let text = "no local port was free: no SYN was sent".to_owned();
            return vec![Row::Point { at, state: "SYN_SENT", text }];
        }
        Some(CloseKind::ConnectFailed) => syn.notes.push("whether it left is not known".to_owned()),
        Some(CloseKind::ConnectTimedOut) => {
            let again = close.total_retrans.filter(|again| *again > 0);
            syn.notes.extend(again.map(|again| format!("sent again {}", times(u64::from(again)))));
        }
        _ => {}
    }
    let mut rows = vec![Row::Arrow(syn)];
    rows.extend(answered(story));
    rows
}

/// What came back.
fn answered(story: &Story<'_>) -> Vec<Row> {
    let close = story.close;
    let came =
        |label, state| Arrow { at: entered(close, state), state: Some(state), ..Arrow::new(Way::In, label) };
    let mut rows = Vec::new();
    let crossed = passed(close, TcpState::SynRecv);
    if crossed {
        let mut syn = came("SYN", TcpState::SynRecv);
        syn.notes.push("both ends opened at once".to_owned());
        rows.push(Row::Arrow(syn));
    }
    if passed(close, TcpState::Established) {
        let mut answer = came(if crossed { "ACK" } else { "SYN, ACK" }, TcpState::Established);
        let took = close.handshake_ns.value();
        answer.notes.extend(took.map(|ns| format!("handshake {}", human::duration(*ns))));
        answer.far = story.peer.and_then(|peer| far_of_state(peer, TcpState::Established));
        rows.push(Row::Arrow(answer));
    } else if close.kind.value() != Some(&CloseKind::Refused) {
        let waited = dwell(close, TcpState::SynSent).and_then(|dwell| dwell.duration_ns.value().copied());
        let waited = waited.map_or_else(|| "an unknown time".to_owned(), human::duration);
        let slow = close.kind.value() == Some(&CloseKind::ConnectTimedOut);
        rows.push(Row::Gap { text: format!("{waited} without an answer"), slow });
    }
    rows
}

/// `48.2ms open, 512 bytes sent, 2.0K bytes received`
fn open_for(close: &CloseRecord) -> String {
    let ns = dwell(close, TcpState::Established).and_then(|dwell| dwell.duration_ns.value().copied());
    let ns = ns.map_or_else(|| "open for an unknown time".to_owned(), |ns| human::duration(ns) + " open");
    let amount = |claim: &Claim<u64>, way: &str| match claim {
        Claim::Known { value, .. } => Some(format!("{} {way}", bytes(*value))),
        Claim::Unknown(Reason::DidNotHappen) => None,
        Claim::Unknown(_) => Some(format!("? bytes {way}")),
    };
    let parts = [Some(ns), amount(&close.bytes_sent, "sent"), amount(&close.bytes_received, "received")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
