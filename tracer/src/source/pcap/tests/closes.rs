//! The closes that every capture holds.

use finwait_core::record::{FirstCloser, ResetDirection, Role, SeenFrom, Successor, WaveTime, Waves};
use finwait_core::{Claim, Evidence, MonoNs, Reason};

use super::*;

fn ms(at_ms: u64) -> MonoNs {
    MonoNs((START_MS + at_ms) * 1_000_000)
}

fn moments(close: &CloseRecord) -> [Option<u64>; 4] {
    close.wave_times.waves.map(|wave| {
        let at = wave.value().and_then(WaveTime::exact)?;
        at.since(ms(0)).map(|ns| ns / 1_000_000)
    })
}

const FOUR: &str = "30 a A 1 1 100 / 35 b A 1 101 50 / 40 a A 101 51 0 /
    100 a FA 101 51 0 / 110 b A 51 102 0 / 500 b FA 51 102 0 / 510 a A 102 52 0";

#[test]
fn four_waves_are_an_active_and_a_passive_close() {
    let read = Read::scene(&(OPEN.to_owned() + FOUR));
    assert_eq!(read.kinds(), ["active", "passive"]);
    let (a, b) = (read.a(), read.b());
    assert_eq!([a, b].map(|end| end.waves.value().copied()), [Some(Waves::Four); 2]);
    assert_eq!(a.first_closer.value(), Some(&FirstCloser::Local));
    assert_eq!(b.first_closer.value(), Some(&FirstCloser::Peer));
    assert_eq!([moments(a), moments(b)], [[Some(100), Some(110), Some(500), Some(510)]; 2]);
    assert_eq!(a.role.value(), Some(&Role::Opened));
    assert_eq!(b.role.value(), Some(&Role::Accepted));
    assert_eq!(a.successor.value(), Some(&Successor::TimeWait));
    assert_eq!(b.successor.value(), Some(&Successor::Nothing));
    assert_eq!([a.bytes_sent.value(), a.bytes_received.value()], [Some(&100), Some(&50)]);
    assert_eq!([b.bytes_sent.value(), b.bytes_received.value()], [Some(&50), Some(&100)]);
    assert_eq!(a.half_closed_ns.value(), Some(&400_000_000));
    assert_eq!(a.handshake_ns.value(), Some(&20_000_000));
    assert_eq!(a.seen_from, SeenFrom::Handshake);
    assert_eq!(read.books.connections, 1);
    assert_eq!(read.books.unfinished, 0);
}

#[test]
fn the_numbers_of_each_wave_are_kept_as_they_were_on_the_wire() {
    let read = Read::scene(&(OPEN.to_owned() + FOUR));
    let captured = read.a().captured.as_deref().unwrap();
    let numbers = [captured.own_fin, captured.own_fin_acked, captured.peer_fin, captured.peer_fin_acked]
        .map(|segment| segment.map(|segment| (segment.frame, segment.seq, segment.ack)));
    let want = [
        Some((7, 1_000_101, Some(7_000_051))),
        Some((8, 7_000_051, Some(1_000_102))),
        Some((9, 7_000_051, Some(1_000_102))),
        Some((10, 1_000_102, Some(7_000_052))),
    ];
    assert_eq!(numbers, want);
    assert!(!captured.is_merged());
}

#[test]
fn second_and_third_wave_in_one_segment_are_three() {
    let text = OPEN.to_owned() + "100 a FA 1 1 0 / 110 b FA 1 2 0 / 120 a A 2 2 0";
    let read = Read::scene(&text);
    assert_eq!(read.kinds(), ["active", "passive"]);
    for end in [read.a(), read.b()] {
        assert_eq!(end.waves.value(), Some(&Waves::Three));
        assert!(end.waves.evidence().contains(Evidence::SameSegment));
        assert!(end.captured.as_deref().unwrap().is_merged());
        assert_eq!(moments(end), [Some(100), Some(110), Some(110), Some(120)]);
    }
    assert_eq!(in_close_wait(read.b()).value(), Some(&10_000_000));
}

#[test]
fn the_accepting_end_may_close_first() {
    let read =
        Read::scene(&(OPEN.to_owned() + "100 b FA 1 1 0 / 110 a A 1 2 0 / 120 a FA 1 2 0 / 130 b A 2 2 0"));
    assert_eq!(read.kinds(), ["passive", "active"]);
    assert_eq!(read.b().first_closer.value(), Some(&FirstCloser::Local));
}

#[test]
fn fins_that_cross_are_simultaneous() {
    let text = OPEN.to_owned() + "100 a FA 1 1 0 / 101 b FA 1 1 0 / 110 a A 2 2 0 / 111 b A 2 2 0";
    let read = Read::scene(&text);
    assert_eq!(read.kinds(), ["simultaneous", "simultaneous"]);
    assert_eq!(read.a().first_closer.value(), Some(&FirstCloser::Both));
    assert_eq!(moments(read.a()), [Some(100), Some(101), Some(110), Some(111)]);
    assert_eq!(moments(read.b()), [Some(101), Some(100), Some(111), Some(110)]);
}

#[test]
fn data_goes_through_the_half_that_is_open() {
    let text = "100 a FA 1 1 0 / 110 b A 1 2 0 / 200 b A 1 2 700 / 210 a A 2 701 0 /
        300 b FA 701 2 0 / 310 a A 2 702 0";
    let read = Read::scene(&(OPEN.to_owned() + text));
    assert_eq!(read.kinds(), ["active", "passive"]);
    assert_eq!(read.a().half_closed_bytes.value(), Some(&700));
    assert_eq!(read.b().half_closed_bytes.value(), Some(&700));
}

#[test]
fn a_reset_is_sent_by_one_end_and_received_by_the_other() {
    let read = Read::scene(&(OPEN.to_owned() + "30 a A 1 1 100 / 40 b RA 1 101 0"));
    assert_eq!(read.kinds(), ["reset", "reset"]);
    let direction = |close: &CloseRecord| close.reset.unwrap().direction.value().copied();
    assert_eq!(direction(read.a()), Some(ResetDirection::Received));
    assert_eq!(direction(read.b()), Some(ResetDirection::Sent));
    assert_eq!(read.a().first_closer, Claim::Unknown(Reason::DidNotHappen));
}

#[test]
fn what_no_packet_shows_is_unknown_and_says_so() {
    let text = OPEN.to_owned() + "40 b RA 1 1 0";
    let read = Read::scene(&text);
    let b = read.b();
    for reason in [b.cause.reason(), b.closer.reason(), b.opener.reason(), b.acceptor.reason()] {
        assert_eq!(reason, Some(Reason::NotInCapture));
    }
    let reset = b.reset.unwrap();
    assert_eq!(reset.cause, Claim::Unknown(Reason::NotInCapture));
    assert_eq!(reset.reason, Claim::Unknown(Reason::NotInCapture));
    assert_eq!(reset.unread_bytes, Claim::Unknown(Reason::NotInCapture));
    assert_eq!(b.error, Claim::Unknown(Reason::NotInCapture));
    assert_eq!(b.srtt_us, Claim::Unknown(Reason::NotInCapture));
    assert_eq!(read.a().cause, Claim::Unknown(Reason::DidNotHappen));
}

#[test]
fn a_reset_in_the_middle_of_a_close_keeps_the_waves_seen() {
    let text = OPEN.to_owned() + "100 a FA 1 1 0 / 110 b A 1 2 0 / 150 b A 1 2 30 / 151 a R 2 0 0";
    let read = Read::scene(&text);
    assert_eq!(read.kinds(), ["unknown", "reset"]);
    assert_eq!(moments(read.a()), [Some(100), Some(110), None, None]);
    assert_eq!(read.a().first_closer.value(), Some(&FirstCloser::Local));
}

#[test]
fn a_port_without_listener_refuses() {
    let read = Read::scene("0 a S 0 0 0 / 10 b RA 0 1 0");
    assert_eq!(read.kinds(), ["refused", "-"]);
    assert_eq!(read.a().reset, None, "the kind says it");
}

#[test]
fn a_half_open_handshake_leaves_no_accepted_socket() {
    let read = Read::scene("0 a S 0 0 0 / 10 b SA 0 1 0 / 20 a R 1 0 0");
    assert_eq!(read.kinds(), ["unknown", "-"]);
}

#[test]
fn both_ends_may_open() {
    let text = "0 a S 0 0 0 / 1 b S 0 0 0 / 10 a SA 0 1 0 / 11 b SA 0 1 0 /
        100 a FA 1 1 0 / 110 b FA 1 2 0 / 120 a A 2 2 0";
    let read = Read::scene(text);
    assert_eq!(read.kinds(), ["active", "passive"]);
    assert_eq!(read.a().role.value(), Some(&Role::OpenedBoth));
    assert_eq!(read.b().role.value(), Some(&Role::OpenedBoth));
}

#[test]
fn a_connection_that_goes_on_has_no_record() {
    let read = Read::scene(&(OPEN.to_owned() + "30 a A 1 1 100 / 35 b A 1 101 0"));
    assert_eq!(read.kinds(), ["-", "-"]);
    assert_eq!(read.books.unfinished, 1);
    assert_eq!(read.steps.len(), 4);
}

#[test]
fn every_claim_names_the_capture_as_its_evidence() {
    let read = Read::scene(&(OPEN.to_owned() + FOUR));
    for end in [read.a(), read.b()] {
        for evidence in [
            end.kind.evidence(),
            end.first_closer.evidence(),
            end.waves.evidence(),
            end.successor.evidence(),
            end.life_ns.evidence(),
            end.bytes_sent.evidence(),
        ] {
            assert!(evidence.contains(Evidence::Captured));
        }
    }
}

fn in_close_wait(close: &CloseRecord) -> Claim<u64> {
    let state = finwait_core::TcpState::CloseWait;
    close.dwells.iter().find(|dwell| dwell.state == state).expect("time in CLOSE_WAIT").duration_ns
}

#[test]
fn close_wait_begins_when_the_fin_passes_however_late_it_is_acknowledged() {
    let close = "100 a FA 1 1 0 / 140 b A 1 2 0 / 190 b FA 1 2 0 / 195 a A 2 2 0";
    let read = Read::scene(&(OPEN.to_owned() + close));
    assert_eq!(in_close_wait(read.b()).value(), Some(&90_000_000));
}

#[test]
fn which_of_two_fins_came_is_not_known() {
    for again in ["120 a FA 1 1 0", "120 a A 1 1 0 / 125 a FA 1 1 0"] {
        let close = format!("100 a FA 1 1 0 / {again} / 140 b A 1 2 0 / 190 b FA 1 2 0 / 195 a A 2 2 0");
        let read = Read::scene(&(OPEN.to_owned() + &close));
        assert_eq!(in_close_wait(read.b()), Claim::Unknown(Reason::NotInCapture), "{again}");
        assert_eq!(read.kinds(), ["active", "passive"]);
    }
}

#[test]
fn a_fin_that_waits_for_something_ahead_of_it_does_not_begin_close_wait() {
    // Of the first two segments one was lost beyond the capture point.
    let close = "100 a A 1 1 50 / 101 a FA 51 1 0 / 110 b A 1 1 0 / 300 a A 1 1 50 / 310 b A 1 52 0 /
        400 b FA 1 52 0 / 410 a A 52 2 0";
    let read = Read::scene(&(OPEN.to_owned() + close));
    assert_eq!(in_close_wait(read.b()), Claim::Unknown(Reason::NotInCapture));
}

/// The window was closed when the peer's FIN came, or data was under way, and this end had more to send: had its application closed by then, the kernel
/// would have queued its FIN, and the close would be simultaneous.
#[test]
fn a_fin_that_may_have_waited_behind_data_leaves_the_kind_open() {
    let close = "50 a A 1 1 100 / 100 b FA0 1 101 0 / 101 a A 101 2 0 / 200 b A 2 101 0 / 201 a A 101 2 700 /
        210 b A 2 801 0 / 211 a FA 801 2 0 / 212 b A 2 802 0";
    let read = Read::scene(&(OPEN.to_owned() + close));
    assert_eq!(read.kinds(), ["unknown", "active"]);
    let a = read.a();
    assert_eq!(
        (a.kind.reason(), a.successor.reason()),
        (Some(Reason::NotInCapture), Some(Reason::NotInCapture))
    );
    assert_eq!((a.first_closer.value(), a.waves.value()), (Some(&FirstCloser::Peer), Some(&Waves::Four)));
    assert_eq!(in_close_wait(a), Claim::Unknown(Reason::NotInCapture));
    assert!(a.captured.as_deref().unwrap().fin_may_have_waited);

    let under_way = close.replace("FA0 1 101", "FA 1 1");
    assert_eq!(Read::scene(&(OPEN.to_owned() + &under_way)).kinds(), ["unknown", "active"]);
    let all_had_come = close.replace("FA0", "FA");
    assert_eq!(Read::scene(&(OPEN.to_owned() + &all_had_come)).kinds(), ["passive", "active"]);
    let nothing_more = close.replace("201 a A 101 2 700 /", "").replace("802", "102").replace("801", "101");
    let read = Read::scene(&(OPEN.to_owned() + &nothing_more));
    assert_eq!(read.kinds(), ["passive", "active"]);
}

/// A host answers like that also where the socket has long been gone.
#[test]
fn a_reset_in_answer_to_a_segment_does_not_tell_how_the_end_that_sent_it_ended() {
    let read = Read::scene(&(OPEN.to_owned() + "100 a FA 1 1 0 / 9000 b FA 1 1 0 / 9001 a R 1 0 0"));
    assert_eq!(read.kinds(), ["unknown", "reset"]);
    let (a, unseen) = (read.a(), Some(Reason::NotInCapture));
    assert_eq!((a.kind.reason(), a.first_closer.reason(), a.fin_outcome.reason()), (unseen, unseen, unseen));
    assert_eq!((a.life_ns.reason(), a.closed_at), (unseen, None));
    assert_eq!(a.reset.unwrap().direction.value(), Some(&ResetDirection::Sent));
    let last = a.dwells.iter().find(|dwell| dwell.state == finwait_core::TcpState::FinWait1);
    assert_eq!(last.unwrap().duration_ns.reason(), unseen);
    let read = Read::scene(&(OPEN.to_owned() + "9000 b FA 1 1 0 / 9001 a R 1 0 0"));
    assert_eq!(read.a().first_closer.reason(), unseen, "the FIN may have come for no socket");
    let read = Read::scene(&(OPEN.to_owned() + "100 b FA 1 1 0 / 101 a A 1 2 0 / 110 a R 1 0 0"));
    assert_eq!(read.a().first_closer.value(), Some(&FirstCloser::Peer));
}

#[test]
fn a_reset_tells_what_its_sender_had_received() {
    let read = Read::scene(&(OPEN.to_owned() + "30 a A 1 1 100 / 40 b RA 1 101 0"));
    assert_eq!(read.b().bytes_received.value(), Some(&100));
    // The receiver of a reset takes no acknowledgement from it.
    assert_eq!(read.a().bytes_sent.value(), Some(&0));
    let with_fin = "30 a A 1 1 100 / 31 a FA 101 1 0 / 40 b RA 1 102 0";
    assert_eq!(Read::scene(&(OPEN.to_owned() + with_fin)).b().bytes_received.value(), Some(&100));
}

#[test]
fn data_in_a_syn_that_is_taken_makes_the_accepted_socket_at_once() {
    let text = "0 a S 0 0 4 / 1 b SA 0 5 0 / 90 a A 5 1 0 / 100 a FA 5 1 0 / 110 b FA 1 6 0 / 120 a A 6 2 0";
    let read = Read::scene(text);
    assert_eq!(read.kinds(), ["active", "passive"]);
    let waiting = read.b().dwells.iter().find(|dwell| dwell.state == finwait_core::TcpState::SynRecv);
    assert_eq!(waiting.unwrap().duration_ns.value(), Some(&89_000_000));
    assert_eq!(read.b().bytes_received.value(), Some(&4));
}

#[test]
fn a_fin_that_passes_two_interfaces_came_once() {
    let close = "100 a FA 1 1 0 / 100 a FA 1 1 0 / 140 b A 1 2 0 / 190 b FA 1 2 0 / 195 a A 2 2 0";
    let read = Read::scene(&(OPEN.to_owned() + close));
    assert_eq!(in_close_wait(read.b()).value(), Some(&90_000_000));
}
