//! How a connection ended, in a few words: the KIND and CLOSE columns.

use finwait_core::record::{
    CloseKind, CloseRecord, Dwell, Reset, ResetCause, ResetDirection, Successor, TimeoutCause, Waves,
};
use finwait_core::{Claim, Reason, TcpState};

use super::columns::{Piece, Tone};
use super::human;

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
    let segments = match record.waves {
        Claim::Known { value: Waves::Three, .. } if waves => " 3seg",
        Claim::Known { value: Waves::Four, .. } if waves => " 4seg",
        _ => "",
    };
    Piece::new(format!("{text}{segments}"), tone)
}

fn reset_kind(reset: Option<&Reset>) -> &'static str {
    match reset.and_then(|reset| reset.direction.value()) {
        Some(ResetDirection::Sent) => "reset sent",
        Some(ResetDirection::Received) => "reset rcvd",
        None => "reset ?",
    }
}

/// The CLOSE column: `FW1 0.4ms · FW2 3.1s! · TW`, and what else there is to say of this end.
pub(super) fn close(record: &CloseRecord, wide: bool) -> Vec<Piece> {
    let mut parts: Vec<Piece> = record
        .dwells
        .iter()
        .filter(|dwell| CLOSING.contains(&dwell.state))
        .map(|d| closing(d, wide))
        .collect();
    if let Claim::Known { value: Successor::TimeWait, .. } = record.successor {
        parts.push(Piece::plain("TW"));
    }
    let ended_in = parts.is_empty().then(|| record.steps.last().map(|step| step.old)).flatten();
    match &record.kind {
        Claim::Known { value, .. } => parts.extend(remark(record, *value, ended_in)),
        Claim::Unknown(reason) => parts.push(Piece::new(why(*reason), Tone::Unknown)),
    }
    joined(parts)
}

fn joined(parts: Vec<Piece>) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(parts.len() * 2);
    for part in parts {
        if !pieces.is_empty() {
            pieces.push(Piece::plain(" · "));
        }
        pieces.push(part);
    }
    pieces
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples::{close, dwell, known, step};

    fn shown(record: &CloseRecord) -> (String, String) {
        let text: String = super::close(record, false).iter().map(|piece| piece.text.as_str()).collect();
        (kind(record, true).text, text)
    }

    fn ended(kind: CloseKind, old: TcpState) -> CloseRecord {
        CloseRecord {
            kind: known(kind),
            dwells: Vec::new(),
            steps: vec![step(0, old, TcpState::Close)],
            waves: Claim::Unknown(Reason::DidNotHappen),
            successor: known(Successor::Nothing),
            ..close()
        }
    }

    fn reset(direction: ResetDirection, cause: Option<ResetCause>, unread: Option<u32>) -> Option<Reset> {
        Some(Reset {
            direction: known(direction),
            cause: cause.map_or(Claim::Unknown(Reason::NoKnownWay), known),
            unread_bytes: unread.map_or(Claim::Unknown(Reason::FieldAbsent), known),
            state: TcpState::Established,
            reason: Claim::Unknown(Reason::NotVisible),
        })
    }

    #[test]
    fn an_orderly_close_shows_the_time_in_each_closing_state() {
        let active = close();
        assert_eq!(shown(&active), ("active 4seg".into(), "FW1 0.4ms · FW2 3.1s! · TW".into()));
        let passive = CloseRecord {
            dwells: vec![
                dwell(TcpState::Established, 12_000_000_000),
                dwell(TcpState::CloseWait, 200_000),
                dwell(TcpState::LastAck, 31_000_000),
            ],
            waves: known(Waves::Three),
            ..ended(CloseKind::Passive, TcpState::LastAck)
        };
        assert_eq!(shown(&passive), ("passive 3seg".into(), "CW 0.2ms · LA 31ms".into()));
        let crossed = CloseRecord {
            dwells: vec![dwell(TcpState::FinWait1, 300_000), dwell(TcpState::Closing, 200_000)],
            successor: known(Successor::TimeWait),
            ..ended(CloseKind::Simultaneous, TcpState::Closing)
        };
        assert_eq!(shown(&crossed), ("simultaneous".into(), "FW1 0.3ms · CLG 0.2ms · TW".into()));
    }

    #[test]
    fn the_slow_state_is_marked_in_text_and_tone() {
        let pieces = super::close(&close(), false);
        assert_eq!(pieces.iter().find(|piece| piece.tone == Tone::Slow).unwrap().text, "FW2 3.1s!");
    }

    #[test]
    fn an_unknown_dwell_is_a_question_mark() {
        let mut record = close();
        record.dwells = vec![Dwell {
            duration_ns: Claim::Unknown(Reason::TransitionMissing),
            ..dwell(TcpState::FinWait1, 0)
        }];
        assert_eq!(shown(&record).1, "FW1 ? · TW");
    }

    #[test]
    fn data_unsent_ahead_of_the_fin_is_told_where_there_is_room() {
        let mut record = close();
        record.dwells[1].unsent_bytes = Some(18_842);
        let text: String = super::close(&record, true).iter().map(|piece| piece.text.as_str()).collect();
        assert_eq!(text, "FW1 0.4ms (18.4K unsent) · FW2 3.1s! · TW");
    }

    #[test]
    fn every_reset_says_who_sent_it_and_why() {
        use ResetCause as Cause;
        use ResetDirection::{Received, Sent};
        let cases = [
            (Sent, Some(Cause::UnreadData), Some(4096), "reset sent", "unread 4.0K in ESTABLISHED"),
            (Sent, Some(Cause::UnreadData), None, "reset sent", "unread data in ESTABLISHED"),
            (Sent, Some(Cause::LingerZero), None, "reset sent", "SO_LINGER 0 in ESTABLISHED"),
            (Sent, Some(Cause::Disconnect), None, "reset sent", "disconnected in ESTABLISHED"),
            (Sent, Some(Cause::ListenerClosed), None, "reset sent", "listener closed in ESTABLISHED"),
            (Sent, Some(Cause::Linger2), None, "reset sent", "TCP_LINGER2 in ESTABLISHED"),
            (Sent, None, None, "reset sent", "reset in ESTABLISHED"),
            (Received, None, None, "reset rcvd", "by the peer in ESTABLISHED"),
        ];
        for (direction, cause, unread, kind, text) in cases {
            let record = CloseRecord {
                reset: reset(direction, cause, unread),
                ..ended(CloseKind::Reset, TcpState::Established)
            };
            assert_eq!(shown(&record), (kind.into(), text.into()));
        }
    }

    #[test]
    fn a_reset_after_the_close_began_shows_both() {
        let record = CloseRecord {
            reset: reset(ResetDirection::Received, None, None),
            dwells: vec![dwell(TcpState::CloseWait, 5_000_000)],
            ..ended(CloseKind::Reset, TcpState::CloseWait)
        };
        assert_eq!(shown(&record), ("reset rcvd".into(), "CW 5.0ms · by the peer".into()));
    }

    #[test]
    fn connections_that_never_were_show_how_long_was_tried() {
        let connect = |kind| CloseRecord {
            dwells: vec![dwell(TcpState::SynSent, 130_000_000_000)],
            total_retrans: Some(6),
            error: known(113),
            ..ended(kind, TcpState::SynSent)
        };
        for (kind, name, text) in [
            (CloseKind::Refused, "refused", "SYN_SENT 2m10s"),
            (CloseKind::ConnectTimedOut, "no answer", "SYN_SENT 2m10s, 6 retries"),
            (CloseKind::ConnectCancelled, "cancelled", "SYN_SENT 2m10s"),
            (CloseKind::ConnectFailed, "failed", "SYN_SENT 2m10s, EHOSTUNREACH"),
        ] {
            assert_eq!(shown(&connect(kind)), (name.into(), text.into()));
        }
    }

    #[test]
    fn what_the_kernel_ended_says_what_it_waited_for() {
        for (cause, text) in [
            (TimeoutCause::Keepalive, "keepalive unanswered in ESTABLISHED"),
            (TimeoutCause::Retransmission, "data unacknowledged in ESTABLISHED"),
            (TimeoutCause::Orphan, "orphan given up in ESTABLISHED"),
        ] {
            let record = CloseRecord {
                timeout: Some(known(cause)),
                ..ended(CloseKind::TimedOut, TcpState::Established)
            };
            assert_eq!(shown(&record), ("timed out".into(), text.into()));
        }
        let killed = ended(CloseKind::Killed, TcpState::Established);
        assert_eq!(shown(&killed), ("killed".into(), "by an administrator in ESTABLISHED".into()));
        let dropped = ended(CloseKind::Dropped, TcpState::SynRecv);
        assert_eq!(shown(&dropped), ("dropped".into(), "never accepted in SYN_RECV".into()));
    }

    #[test]
    fn an_unknown_end_says_why_in_words_that_fit() {
        for reason in Reason::ALL {
            let record =
                CloseRecord { kind: Claim::Unknown(*reason), ..ended(CloseKind::Reset, TcpState::CloseWait) };
            let (kind, text) = shown(&record);
            assert_eq!(kind, "unknown");
            assert!((3..=26).contains(&text.chars().count()), "{text}");
        }
    }
}
