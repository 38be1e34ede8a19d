//! What can be changed, and where to look. An advice rests on the claim that it follows from.

use finwait_core::record::{
    CloseKind, FirstCloser, Reset, ResetCause, Role, Successor, TimeWaitEnd, TimeoutCause,
};
use finwait_core::{Claim, TcpState};

use super::{Story, dwell_ground, own, sentence};
use crate::explain::ladder::dwell;
use crate::explain::names::endpoint;
use crate::explain::{Ground, Part, Sentence};

/// Where its FIN comes late.
const AT_THE_PEER: &str = "Look at the program at the other end: work after the end of a request, a keep-alive timer, or a pool that reaps slowly.";

pub(super) fn what_can_be_changed(story: &Story<'_>) -> Vec<Sentence> {
    let mut said = Vec::new();
    said.extend(of_slow_state(story));
    said.extend(of_reset(story));
    said.extend(of_kind(story));
    said.extend(of_mini_socket(story));
    said.extend(of_time_wait(story));
    said
}

fn of_slow_state(story: &Story<'_>) -> Option<Sentence> {
    let close = story.close;
    let Some(slow) = close.dwells.iter().find(|dwell| dwell.slow) else { return of_slow_peer(story) };
    slow.duration_ns.value()?;
    let text = match slow.state {
        TcpState::FinWait2 => AT_THE_PEER,
        TcpState::CloseWait => {
            "Look at the program at this end: one that does not read the end of its input, is busy, or forgot the descriptor."
        }
        TcpState::FinWait1 | TcpState::LastAck | TcpState::Closing => {
            "Look at the way between the two: loss, a peer that is gone, or one that does not read and so closes its window."
        }
        _ => return None,
    };
    Some(Sentence { text: text.to_owned(), evidence: vec![dwell_ground(Part::ThisEnd, close, slow.state)?] })
}

/// This end's own record cannot show it, where FIN_WAIT2 was a mini-socket's.
fn of_slow_peer(story: &Story<'_>) -> Option<Sentence> {
    // Then the mini-socket's end says as much.
    let given_up = story.time_wait.and_then(|left| left.end.value()) == Some(&TimeWaitEnd::FinWait2TimedOut);
    let peer = story.peer.filter(|_| !given_up)?;
    let there = dwell(peer, TcpState::CloseWait).filter(|there| there.slow)?;
    (story.close.first_closer.value() == Some(&FirstCloser::Local)).then(|| Sentence {
        text: AT_THE_PEER.to_owned(),
        evidence: dwell_ground(Part::Peer, peer, there.state).into_iter().collect(),
    })
}

fn of_reset(story: &Story<'_>) -> Option<Sentence> {
    let reset: &Reset = story.close.reset.as_ref()?;
    let text = match reset.cause.value()? {
        ResetCause::LingerZero => {
            "Without SO_LINGER 0, close() sends what is left and then a FIN, and the peer sees an end instead of an error."
        }
        ResetCause::UnreadData => {
            "A program that reads to the end of its input ahead of close(), or shuts its half down and reads on, sends no such reset."
        }
        ResetCause::DataAfterClose => {
            "The peer still wrote when this end had closed: shutdown() of the sending half, reading on to the peer's FIN, and only then close() avoids it."
        }
        ResetCause::ListenerClosed => {
            "A listener that accepts what is in its queue ahead of close() drops nothing."
        }
        ResetCause::Linger2 => "With TCP_LINGER2 not below 0, close() waits for the peer's FIN instead.",
        ResetCause::Keepalive => {
            "SO_KEEPALIVE's idle time, interval and count say how long a silent peer is given."
        }
        ResetCause::Disconnect | ResetCause::Administrator | ResetCause::Kernel => return None,
    };
    Some(sentence(text, [own("reset_cause", &reset.cause)]))
}

fn of_kind(story: &Story<'_>) -> Option<Sentence> {
    let close = story.close;
    let there = endpoint(close.remote);
    let text = match close.kind.value()? {
        CloseKind::Refused => {
            format!("Nothing listens at {there}, or a firewall rejects: look whether the service runs, and at which address.")
        }
        CloseKind::ConnectTimedOut => {
            format!("{there} is away, its listener's queue is full, or a firewall drops: look there, and at what lies between.")
        }
        CloseKind::NoFreePort => {
            "A wider port range, more local or remote addresses, or connections that are kept and used again leave more ports."
                .to_owned()
        }
        CloseKind::TimedOut => {
            let cause = close.timeout.as_ref().and_then(Claim::value);
            let text = format!("The host at {there}, or the way to it, is gone or drops what is sent.");
            let held = cause == Some(&TimeoutCause::Retransmission);
            if held { format!("{text} TCP_USER_TIMEOUT says how long a program waits.") } else { text }
        }
        _ => return None,
    };
    Some(sentence(text, [own("kind", &close.kind)]))
}

fn of_mini_socket(story: &Story<'_>) -> Option<Sentence> {
    let left = story.time_wait?;
    let text = match left.end.value()? {
        TimeWaitEnd::FinWait2TimedOut => {
            "The program at the other end did not close in that time, or its FIN was lost: look there for descriptors that leak in CLOSE_WAIT."
        }
        TimeWaitEnd::LateData => {
            "The peer still sent after this end had closed: shutdown() of the sending half, and reading on to the peer's FIN, avoids that."
        }
        _ => return None,
    };
    Some(sentence(text, [Ground::claim(Part::TimeWait, "end", &left.end)]))
}

/// Only where this end both asked for the connection and closed first does TIME_WAIT cost an ephemeral port.
fn of_time_wait(story: &Story<'_>) -> Option<Sentence> {
    let close = story.close;
    let costs_a_port = close.role.value() == Some(&Role::Opened)
        && close.first_closer.value() == Some(&FirstCloser::Local)
        && close.successor.value() == Some(&Successor::TimeWait)
        && story.time_wait.and_then(|left| left.end.value()) != Some(&TimeWaitEnd::NeverAllocated);
    costs_a_port.then(|| {
        let text = "TIME_WAIT is at the end that closes first, here the one with the ephemeral port: where ports run short, keep connections and use them again, or let the service close first.";
        let grounds =
            [own("role", &close.role), own("first_closer", &close.first_closer), own("successor", &close.successor)];
        sentence(text, grounds)
    })
}
