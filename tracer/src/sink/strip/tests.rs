use super::*;
use crate::sink::samples_for_tests::{both_ends, close, dwell, killed, known, step};

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
        let record =
            CloseRecord { timeout: Some(known(cause)), ..ended(CloseKind::TimedOut, TcpState::Established) };
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
    assert_eq!(shown(&killed()), ("reset sent 4seg".into(), "unread 4.0K in ESTABLISHED · killed 9".into()));
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
