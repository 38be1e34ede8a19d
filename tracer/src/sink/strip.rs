//! How a connection ended, in a few words: the KIND and CLOSE columns.

use finwait_core::record::{
    BothEnds, CloseKind, CloseRecord, Contradiction, Dwell, FinRetransmits, LocalCause, Reset, ResetCause,
    ResetDirection, Successor, TimeoutCause, Waves,
};
use finwait_core::{Claim, Reason, TcpState};

use super::columns::{Piece, Tone};
use super::human;

mod fit;

use fit::Part;

/// States of a close, in which the strip shows the time spent.
const CLOSING: [TcpState; 5] =
    [TcpState::FinWait1, TcpState::FinWait2, TcpState::Closing, TcpState::CloseWait, TcpState::LastAck];

/// The KIND column: `active`, `reset sent`, `passive 3seg` where there is room for `waves`.
pub(super) fn kind(record: &CloseRecord, waves: bool) -> Piece {
    let Claim::Known { value: kind, .. } = record.kind else {
        return Piece::new("unknown", Tone::Unknown);
    };
    let (text, tone) = match kind {
        CloseKind::Active => ("active", Tone::Plain),
        CloseKind::Passive => ("passive", Tone::Plain),
        CloseKind::Simultaneous => ("simultaneous", Tone::Plain),
        CloseKind::Reset => (reset_kind(record.reset.as_ref()), Tone::Bad),
        CloseKind::TimedOut => ("timed out", Tone::Bad),
        CloseKind::Killed => ("killed", Tone::Bad),
        CloseKind::Refused => ("refused", Tone::Bad),
        CloseKind::ConnectTimedOut => ("no answer", Tone::Bad),
        CloseKind::ConnectCancelled => ("cancelled", Tone::Bad),
        CloseKind::NoFreePort => ("no port", Tone::Bad),
        CloseKind::ConnectFailed => ("failed", Tone::Bad),
        CloseKind::Dropped => ("dropped", Tone::Bad),
    };
    let segments = if waves { segments(&record.waves) } else { "" };
    Piece::new(format!("{text}{segments}"), tone)
}

fn reset_kind(reset: Option<&Reset>) -> &'static str {
    match reset.and_then(|reset| reset.direction.value()) {
        Some(ResetDirection::Sent) => "reset sent",
        Some(ResetDirection::Received) => "reset rcvd",
        None => "reset ?",
    }
}

/// The KIND of both ends, the opener's first: `active/passive`, `reset sent/rcvd`, `simultaneous`.
pub(super) fn kinds(both: &BothEnds, waves: bool) -> Piece {
    let (opener, acceptor) = (kind(&both.opener_side, false), kind(&both.acceptor_side, false));
    let segments = if waves { segments(&both.waves()) } else { "" };
    if opener.text == acceptor.text {
        return Piece::new(format!("{}{segments}", opener.text), opener.tone);
    }
    let other = match (opener.text.strip_prefix("reset "), acceptor.text.strip_prefix("reset ")) {
        (Some(_), Some(direction)) => direction,
        _ => &acceptor.text,
    };
    let tone = if opener.tone == Tone::Plain { acceptor.tone } else { opener.tone };
    Piece::new(format!("{}/{other}{segments}", opener.text), tone)
}

fn segments(waves: &Claim<Waves>) -> &'static str {
    match waves.value() {
        Some(Waves::Three) => " 3seg",
        Some(Waves::Four) => " 4seg",
        None => "",
    }
}

/// The CLOSE column: `FW1 0.4ms · FW2 3.1s! · TW`, and what else there is to say of this end. With something out of the
/// ordinary to say, times that are not are left out where they need more than `room`.
pub(super) fn close(record: &CloseRecord, wide: bool, room: usize) -> Vec<Piece> {
    let parts = parts(record, wide, true);
    if parts.iter().any(|part| part.notable) && fit::length(&parts) > room {
        return fit::joined(fit::fitted(self::parts(record, wide, false), room));
    }
    fit::joined(parts)
}

/// The same of both ends: `FW2 3.1s! ◀ CW 3.1s!`, and where they contradict each other.
pub(super) fn both(both: &BothEnds, wide: bool, room: usize) -> Vec<Piece> {
    let mut parts = parts(&both.opener_side, wide, false);
    parts.push(Part::divider(" ◀ "));
    parts.extend(self::parts(&both.acceptor_side, wide, false));
    parts.extend(
        both.contradictions().into_iter().map(|contradiction| Part::notable(contradicted(contradiction))),
    );
    fit::joined(fit::fitted(parts, room))
}

fn contradicted(contradiction: Contradiction) -> Piece {
    let about = match contradiction {
        Contradiction::FirstCloser => "who was first",
        Contradiction::Kind => "kind",
        Contradiction::Waves => "segments",
        Contradiction::Bytes => "bytes",
    };
    Piece::new(format!("ends disagree: {about}"), Tone::Bad)
}

/// `state`: the state in which it ended is named, where no time in a closing state shows it.
fn parts(record: &CloseRecord, wide: bool, state: bool) -> Vec<Part> {
    let mut parts: Vec<Part> = record
        .dwells
        .iter()
        .filter(|dwell| CLOSING.contains(&dwell.state))
        .map(|dwell| Part::time(closing(dwell, wide), dwell))
        .collect();
    if let Claim::Known { value: Successor::TimeWait, .. } = record.successor {
        parts.push(Part::least(Piece::plain("TW")));
    }
    let ended_in = (parts.is_empty() && state).then(|| record.steps.last().map(|step| step.old)).flatten();
    match &record.kind {
        Claim::Known { value, .. } => {
            let remark = remark(record, *value, ended_in).map(|piece| with_reason(piece, record, wide));
            parts.extend(remark.map(Part::kept));
        }
        Claim::Unknown(reason) => parts.push(Part::kept(Piece::new(why(*reason), Tone::Unknown))),
    }
    parts.extend(resent(record).map(Part::notable));
    parts.extend(cause(record).map(Part::notable));
    parts
}

/// `FIN ×3`: how often our FIN went again.
fn resent(record: &CloseRecord) -> Option<Piece> {
    let fins = record.fin_retransmits.value().map_or(0, FinRetransmits::fins);
    (fins > 0).then(|| Piece::new(format!("FIN ×{fins}"), Tone::Slow))
}

/// What began this end's close, where it is no plain close() and KIND does not tell it.
fn cause(record: &CloseRecord) -> Option<Piece> {
    match (record.cause.value()?, record.exit_signal) {
        (LocalCause::ProcessKilled, Some(signal)) => Some(Piece::new(format!("killed {signal}"), Tone::Bad)),
        (LocalCause::ProcessKilled, None) => Some(Piece::new("killed", Tone::Bad)),
        (LocalCause::ProcessExit, _) => Some(Piece::plain("exit")),
        (LocalCause::Shutdown, _) => Some(Piece::plain("shutdown")),
        (LocalCause::KernelThread, _) => Some(Piece::plain("kernel thread")),
        (
            LocalCause::Close
            | LocalCause::KernelTimer
            | LocalCause::Administrator
            | LocalCause::ListenerClosed
            | LocalCause::Disconnect,
            _,
        ) => None,
    }
}

/// The kernel's name for why a reset was sent, where there is room for it.
fn with_reason(piece: Piece, record: &CloseRecord, wide: bool) -> Piece {
    match record.reset.as_ref().and_then(|reset| reset.reason.value()) {
        Some(reason) if wide => Piece::new(format!("{} ({})", piece.text, reason.as_str()), piece.tone),
        _ => piece,
    }
}

fn closing(dwell: &Dwell, wide: bool) -> Piece {
    let name = dwell.state.short();
    let Claim::Known { value: ns, .. } = dwell.duration_ns else {
        return Piece::new(format!("{name} ?"), Tone::Unknown);
    };
    let unsent = match dwell.unsent_bytes {
        Some(bytes) if wide && bytes > 0 => format!(" ({} unsent)", human::bytes(bytes.into())),
        _ => String::new(),
    };
    let (mark, tone) = if dwell.slow { ("!", Tone::Slow) } else { ("", Tone::Plain) };
    Piece::new(format!("{name} {}{mark}{unsent}", human::duration(ns)), tone)
}

/// What the dwell times alone do not tell. `ended_in` is the state that was left last, unless they show it.
fn remark(record: &CloseRecord, kind: CloseKind, ended_in: Option<TcpState>) -> Option<Piece> {
    let bad = |text: String| Some(Piece::new(text, Tone::Bad));
    match kind {
        CloseKind::Active | CloseKind::Passive | CloseKind::Simultaneous => None,
        CloseKind::Reset => bad(in_state(&reset(record.reset.as_ref()), ended_in)),
        CloseKind::TimedOut => bad(in_state(timeout(record), ended_in)),
        CloseKind::Killed => bad(in_state("by an administrator", ended_in)),
        CloseKind::Refused => bad(connecting(record, "")),
        CloseKind::ConnectTimedOut => bad(connecting(record, &retransmissions(record))),
        CloseKind::ConnectCancelled => bad(connecting(record, "")),
        CloseKind::NoFreePort => bad("no local port was free".to_owned()),
        CloseKind::ConnectFailed => bad(connecting(record, &error(record))),
        CloseKind::Dropped => bad(in_state("never accepted", ended_in)),
    }
}

fn in_state(text: &str, state: Option<TcpState>) -> String {
    match state {
        Some(state) => format!("{text} in {}", state.name()),
        None => text.to_owned(),
    }
}

fn reset(reset: Option<&Reset>) -> String {
    let Some(reset) = reset else { return "reset".to_owned() };
    match (reset.cause.value(), reset.direction.value()) {
        (Some(ResetCause::UnreadData), _) => match reset.unread_bytes.value() {
            Some(bytes) => format!("unread {}", human::bytes((*bytes).into())),
            None => "unread data".to_owned(),
        },
        (Some(ResetCause::LingerZero), _) => "SO_LINGER 0".to_owned(),
        (Some(ResetCause::Disconnect), _) => "disconnected".to_owned(),
        (Some(ResetCause::ListenerClosed), _) => "listener closed".to_owned(),
        (Some(ResetCause::Linger2), _) => "TCP_LINGER2".to_owned(),
        (Some(ResetCause::DataAfterClose), _) => "data after close".to_owned(),
        (Some(ResetCause::Keepalive), _) => "keepalive unanswered".to_owned(),
        (Some(ResetCause::Administrator), _) => "by an administrator".to_owned(),
        (Some(ResetCause::Kernel), _) => "by the kernel".to_owned(),
        (None, Some(ResetDirection::Received)) => "by the peer".to_owned(),
        (None, _) => "reset".to_owned(),
    }
}

fn timeout(record: &CloseRecord) -> &'static str {
    match record.timeout.as_ref().and_then(Claim::value) {
        Some(TimeoutCause::Keepalive) => "keepalive unanswered",
        Some(TimeoutCause::Retransmission) => "data unacknowledged",
        Some(TimeoutCause::Orphan) => "orphan given up",
        None => "gave up",
    }
}

/// The time spent connecting, and `detail`.
fn connecting(record: &CloseRecord, detail: &str) -> String {
    let waited = record.dwells.iter().find(|dwell| dwell.state == TcpState::SynSent);
    let waited = match waited.and_then(|dwell| dwell.duration_ns.value()) {
        Some(ns) => format!("SYN_SENT {}", human::duration(*ns)),
        None => "in SYN_SENT".to_owned(),
    };
    if detail.is_empty() { waited } else { format!("{waited}, {detail}") }
}

fn retransmissions(record: &CloseRecord) -> String {
    match record.total_retrans {
        Some(count) if count > 0 => human::counted(count.into(), "retry", "retries"),
        _ => String::new(),
    }
}

fn error(record: &CloseRecord) -> String {
    match record.error.value() {
        None | Some(0) => String::new(),
        Some(number) => human::errno(*number).map_or_else(|| format!("errno {number}"), ToOwned::to_owned),
    }
}

/// Why something is unknown, in words that fit the column.
pub(super) fn why(reason: Reason) -> &'static str {
    match reason {
        Reason::SeenFromMiddle => "began before finwait",
        Reason::TransitionMissing => "a transition is missing",
        Reason::LossInInterval => "events lost meanwhile",
        Reason::NotVisible => "not visible to finwait",
        Reason::FieldAbsent => "not shown by this kernel",
        Reason::HiddenFinWait2 => "FIN_WAIT2 goes on unseen",
        Reason::ResetOrLateData => "reset, or data after close",
        Reason::AbortWithoutError => "aborted without an error",
        Reason::NoKnownWay => "fits no known way to end",
        Reason::EndNotSeen => "the end was not seen",
        Reason::NoTask => "no process did it",
        Reason::TimeBackwards => "event times run backwards",
        Reason::DidNotHappen => "did not happen",
        Reason::HookLoss => "events of a hook lost",
        Reason::SymbolsHidden => "kernel symbols are hidden",
        Reason::StillOpen => "not over yet",
        Reason::BetweenDumps => "between two looks",
        Reason::CloseOrShutdown => "close or shutdown",
        Reason::EndsContradict => "the ends disagree",
        Reason::NotInCapture => "not in a capture",
    }
}

#[cfg(test)]
mod tests;
