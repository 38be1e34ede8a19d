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
    let close_wait = read.b().dwells.iter().find(|dwell| dwell.state == finwait_core::TcpState::CloseWait);
    assert_eq!(close_wait.unwrap().duration_ns, Claim::Unknown(Reason::NotInCapture));
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
    assert_eq!(read.kinds(), ["reset", "reset"]);
    assert_eq!(moments(read.a()), [Some(100), Some(110), None, None]);
    assert_eq!(read.a().first_closer.value(), Some(&FirstCloser::Local));
}

#[test]
fn a_port_without_listener_refuses() {
    let read = Read::scene("0 a S 0 0 0 / 10 b RA 0 1 0");
    assert_eq!(read.kinds(), ["refused", "-"]);
}

#[test]
fn a_half_open_handshake_leaves_no_accepted_socket() {
    let read = Read::scene("0 a S 0 0 0 / 10 b SA 0 1 0 / 20 a R 1 0 0");
    assert_eq!(read.kinds(), ["reset", "-"]);
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
