//! How the connection ended, and who did it.

use finwait_core::record::{CloseKind, FirstCloser, Reset, ResetDirection};
use finwait_core::{Claim, Reason};

use super::{own, peer_name, sentence};
use crate::explain::names::{self, bytes, cause, endpoint, owner, reset_cause, times};
use crate::explain::{Ground, Part, Sentence, Story};
use crate::sink::human;

pub(super) fn how_it_ended(story: &Story<'_>) -> Vec<Sentence> {
    let close = story.close;
    let Some(kind) = close.kind.value() else { return unknown_end(story) };
    match kind {
        CloseKind::Active => orderly(story, "This end closed first"),
        CloseKind::Simultaneous => {
            orderly(story, "Both ends closed at once, and their FINs crossed; this end")
        }
        CloseKind::Passive => {
            orderly(story, &format!("The peer, {}, closed first; then this end", peer_name(story)))
        }
        CloseKind::Reset => reset(story),
        CloseKind::TimedOut => timed_out(story),
        CloseKind::Killed => by_kind(story, "An administrator destroyed the socket (ss -K).".to_owned()),
        CloseKind::Dropped => by_kind(
            story,
            "The program never accepted it: it was dropped, with a reset, when its listener closed."
                .to_owned(),
        ),
        _ => by_kind(story, handshake_failed(story, *kind)),
    }
}

fn by_kind(story: &Story<'_>, text: String) -> Vec<Sentence> {
    vec![sentence(text, [own("kind", &story.close.kind)])]
}

/// `before`, and what made this end close.
fn orderly(story: &Story<'_>, before: &str) -> Vec<Sentence> {
    let close = story.close;
    let grounds = [own("kind", &close.kind), own("first_closer", &close.first_closer)];
    let how = cause(close);
    let text = match &how {
        Some(how) if before.ends_with("this end") => format!("{before}: {how}."),
        Some(how) => format!("{before}: {how}."),
        None if before.ends_with("this end") => format!("{before} too."),
        None => format!("{before}."),
    };
    let mut said = vec![sentence(text, grounds)];
    if close.cause.value().is_some() {
        said[0].evidence.push(own("cause", &close.cause));
    }
    if close.closer.value().is_some() {
        said[0].evidence.push(own("closer", &close.closer));
    }
    said.extend(
        close.cause.reason().and_then(|reason| super::unknown("Which call closed it", "cause", reason)),
    );
    if how.is_none() {
        said.extend(
            close
                .closer
                .reason()
                .and_then(|reason| super::unknown("Which process closed it", "closer", reason)),
        );
    }
    said
}

fn unknown_end(story: &Story<'_>) -> Vec<Sentence> {
    let close = story.close;
    let reason = close.kind.reason().unwrap_or(Reason::NoKnownWay);
    let text = format!("How it ended is not known: {}.", names::reason(reason));
    let mut said = vec![sentence(text, [own("kind", &close.kind)])];
    let first = match close.first_closer.value() {
        Some(FirstCloser::Local) => "This end sent the first FIN",
        Some(FirstCloser::Peer) => "The peer sent the first FIN",
        Some(FirstCloser::Both) => "Both ends sent a FIN at once",
        None => return said,
    };
    let how = cause(close).filter(|_| close.first_closer.value() != Some(&FirstCloser::Peer));
    let text = how.map_or_else(|| format!("{first}."), |how| format!("{first}: {how}."));
    let grounds =
        [own("first_closer", &close.first_closer), own("cause", &close.cause), own("closer", &close.closer)];
    said.push(sentence(text, grounds));
    said
}

fn reset(story: &Story<'_>) -> Vec<Sentence> {
    let close = story.close;
    let Some(reset) = &close.reset else {
        return by_kind(story, "A reset ended it.".to_owned());
    };
    let within = reset.state.name();
    let mut said = match reset.direction {
        Claim::Known { value: ResetDirection::Sent, .. } => reset_sent(story, reset),
        Claim::Known { value: ResetDirection::Received, .. } => {
            let text = format!("The peer, {}, sent a reset in {within}.", peer_name(story));
            vec![sentence(text, [own("kind", &close.kind), own("reset_direction", &reset.direction)])]
        }
        Claim::Unknown(reason) => {
            let why = names::reason(reason);
            let text = format!("A reset ended it in {within}; who sent it is not known: {why}.");
            vec![sentence(text, [own("kind", &close.kind), own("reset_direction", &reset.direction)])]
        }
    };
    said.extend(reset.reason.value().map(|name| {
        let text = format!("The kernel's own name for why it was sent is {}.", name.as_str());
        sentence(text, [own("reset_reason", &reset.reason)])
    }));
    said.extend(reset_at_peer(story));
    said
}

fn reset_sent(story: &Story<'_>, reset: &Reset) -> Vec<Sentence> {
    let close = story.close;
    let by = close.closer.value().map_or_else(String::new, |by| format!(", by {}", owner(by)));
    let unread = reset.unread_bytes.value().filter(|unread| **unread > 0);
    let amount =
        unread.map_or_else(String::new, |unread| format!(" ({} not read)", bytes(u64::from(*unread))));
    let why = match reset.cause {
        Claim::Known { value, .. } => format!(": {}{amount}{by}", reset_cause(value)),
        Claim::Unknown(Reason::NotInCapture) => String::new(),
        Claim::Unknown(reason) => format!("; why is not known: {}", names::reason(reason)),
    };
    let text = format!("This end sent a reset in {}{why}.", reset.state.name());
    let grounds = [
        own("kind", &close.kind),
        own("reset_direction", &reset.direction),
        own("reset_cause", &reset.cause),
    ];
    let unread = unread.map(|_| own("reset_unread_bytes", &reset.unread_bytes));
    let closer = close.closer.value().map(|_| own("closer", &close.closer));
    vec![sentence(text, grounds).and(unread).and(closer)]
}

/// Why the other end sent it is in its own record.
fn reset_at_peer(story: &Story<'_>) -> Option<Sentence> {
    let there = story.peer?.reset.as_ref()?;
    if there.direction.value() != Some(&ResetDirection::Sent) || story.is_captured() {
        return None;
    }
    let cause = Ground::claim(Part::Peer, "reset_cause", &there.cause);
    let text = match there.cause {
        Claim::Known { value, .. } => {
            format!("Why is in the other end's record: {}.", reset_cause(value))
        }
        Claim::Unknown(reason) => {
            format!("Why it did is not known, though it is on this host: {}.", names::reason(reason))
        }
    };
    Some(sentence(text, [cause]))
}

fn timed_out(story: &Story<'_>) -> Vec<Sentence> {
    let close = story.close;
    let mut grounds = vec![own("kind", &close.kind)];
    let what = match &close.timeout {
        Some(Claim::Known { value, .. }) => format!(": {}", names::timeout(*value)),
        Some(Claim::Unknown(reason)) => format!("; on what is not known: {}", names::reason(*reason)),
        None => String::new(),
    };
    grounds.extend(close.timeout.as_ref().map(|timeout| own("timeout_cause", timeout)));
    let text = format!("The kernel gave up waiting for {}{what}.", endpoint(close.remote));
    vec![Sentence { text, evidence: grounds }]
}

fn handshake_failed(story: &Story<'_>, kind: CloseKind) -> String {
    let close = story.close;
    let there = endpoint(close.remote);
    match kind {
        CloseKind::Refused => format!("connect() to {there} was answered by a reset."),
        CloseKind::ConnectTimedOut => {
            let again = close.total_retrans.filter(|again| *again > 0);
            let again = again.map_or_else(String::new, |again| {
                format!(", though the SYN was sent again {}", times(u64::from(again)))
            });
            format!("connect() to {there} was not answered{again}.")
        }
        CloseKind::ConnectCancelled => format!("The program gave up before {there} answered."),
        CloseKind::NoFreePort => format!("connect() to {there} found no local port that was free."),
        _ => {
            let error = close.error.value().and_then(|error| human::errno(*error));
            let error = error.map_or_else(String::new, |error| format!(" with {error}"));
            format!("connect() to {there} failed{error}.")
        }
    }
}
