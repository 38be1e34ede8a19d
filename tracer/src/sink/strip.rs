//! How a connection ended, in a few words: the KIND and CLOSE columns.

use finwait_core::record::{
    BothEnds, CloseKind, CloseRecord, Contradiction, Dwell, LocalCause, Reset, ResetCause, ResetDirection,
    Successor, TimeoutCause, Waves,
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

/// The KIND of both ends, the opener's first: `active/passive`, `reset sent/rcvd`, `simultaneous`.
pub(super) fn kinds(both: &BothEnds, waves: bool) -> Piece {
    let (opener, acceptor) = (kind(&both.opener_side, waves), kind(&both.acceptor_side, false));
    let own = kind(&both.opener_side, false);
    if own.text == acceptor.text {
        return opener;
    }
    let segments = opener.text.strip_prefix(&own.text).unwrap_or_default();
    let other = match (own.text.strip_prefix("reset "), acceptor.text.strip_prefix("reset ")) {
        (Some(_), Some(direction)) => direction,
        _ => &acceptor.text,
    };
    let tone = if own.tone == Tone::Plain { acceptor.tone } else { own.tone };
    Piece::new(format!("{}/{other}{segments}", own.text), tone)
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
    let fins = record.fin_retransmits.value().map_or(0, |resent| resent.fins());
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples::{both_ends, close, dwell, killed, known, step};
    use finwait_core::record::FinRetransmits;

    fn shown(record: &CloseRecord) -> (String, String) {
        let text: String =
            super::close(record, false, usize::MAX).iter().map(|piece| piece.text.as_str()).collect();
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
        let pieces = super::close(&close(), false, usize::MAX);
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
        let text: String =
            super::close(&record, true, usize::MAX).iter().map(|piece| piece.text.as_str()).collect();
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

    fn within(record: &CloseRecord, room: usize) -> String {
        super::close(record, false, room).iter().map(|piece| piece.text.as_str()).collect()
    }

    #[test]
    fn a_cause_that_is_no_plain_close_is_told() {
        for (cause, signal, text) in [
            (LocalCause::Close, None, ""),
            (LocalCause::Shutdown, None, " · shutdown"),
            (LocalCause::ProcessExit, None, " · exit"),
            (LocalCause::ProcessKilled, Some(9), " · killed 9"),
            (LocalCause::ProcessKilled, None, " · killed"),
            (LocalCause::KernelThread, None, " · kernel thread"),
        ] {
            let record = CloseRecord { cause: known(cause), exit_signal: signal, ..close() };
            assert_eq!(shown(&record).1, format!("FW1 0.4ms · FW2 3.1s! · TW{text}"));
        }
        assert_eq!(
            shown(&killed()),
            ("reset sent 4seg".into(), "unread 4.0K in ESTABLISHED · killed 9".into())
        );
    }

    #[test]
    fn fins_that_went_again_are_counted() {
        let resent = |by_timeout, by_probe| CloseRecord {
            fin_retransmits: known(FinRetransmits { by_timeout, by_probe, by_recovery: 0, data: 7 }),
            ..close()
        };
        assert_eq!(shown(&resent(2, 1)).1, "FW1 0.4ms · FW2 3.1s! · TW · FIN ×3");
        assert_eq!(shown(&resent(0, 0)).1, "FW1 0.4ms · FW2 3.1s! · TW");
    }

    #[test]
    fn what_stands_out_takes_the_room_of_what_does_not() {
        let record = CloseRecord {
            fin_retransmits: known(FinRetransmits { by_timeout: 3, ..FinRetransmits::default() }),
            ..close()
        };
        for (room, text) in [
            (35, "FW1 0.4ms · FW2 3.1s! · TW · FIN ×3"),
            (34, "FW1 0.4ms · FW2 3.1s! · FIN ×3"),
            (29, "FW2 3.1s! · FIN ×3"),
            (1, "FW2 3.1s! · FIN ×3"),
        ] {
            assert_eq!(within(&record, room), text, "{room}");
        }
        assert_eq!(within(&close(), 1), "FW1 0.4ms · FW2 3.1s! · TW", "nothing stands out");
        assert_eq!(within(&killed(), 26), "unread 4.0K · killed 9");
    }

    #[test]
    fn the_kernels_reason_is_there_where_everything_is() {
        let text: String =
            super::close(&killed(), true, usize::MAX).iter().map(|piece| piece.text.as_str()).collect();
        assert_eq!(text, "unread 4.0K in ESTABLISHED (TCP_ABORT_ON_CLOSE) · killed 9");
    }

    #[test]
    fn both_ends_show_their_own_share_and_where_they_disagree() {
        let text = |both: &BothEnds, room| -> String {
            super::both(both, false, room).iter().map(|piece| piece.text.as_str()).collect()
        };
        let both = both_ends();
        assert_eq!(text(&both, 99), "FW1 0.4ms · FW2 3.1s! · TW ◀ CW 3.1s! · LA 0.1ms");
        assert_eq!(text(&both, 26), "FW2 3.1s! ◀ CW 3.1s!");
        assert_eq!(kinds(&both, true).text, "active/passive 4seg");
        let mut wrong = both.clone();
        wrong.acceptor_side.kind = known(CloseKind::Active);
        assert_eq!(text(&wrong, 26), "FW2 3.1s! ◀ CW 3.1s! · ends disagree: kind");
        let mut aborted = both;
        aborted.opener_side.kind = known(CloseKind::Reset);
        aborted.opener_side.reset = reset(ResetDirection::Sent, None, None);
        (aborted.acceptor_side.kind, aborted.acceptor_side.reset) =
            (known(CloseKind::Reset), reset(ResetDirection::Received, None, None));
        assert_eq!(kinds(&aborted, false).text, "reset sent/rcvd");
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
