//! What captures of real networks are like: lost, repeated, reordered, late and missing packets.

use finwait_core::record::{FirstCloser, SeenFrom};
use finwait_core::{Claim, Reason};

use super::*;

/// Each is a whole scene; the kinds at both ends and what the books say.
#[test]
fn the_odd_cases() {
    let cases: &[(&str, &str, [&str; 2])] = &[
        (
            "the first FIN is lost beyond the capture point and sent again",
            "100 a FA 1 1 0 / 400 a FA 1 1 0 / 410 b A 1 2 0 / 500 b FA 1 2 0 / 510 a A 2 2 0",
            ["active", "passive"],
        ),
        (
            "everything is captured twice",
            "100 a FA 1 1 0 / 100 a FA 1 1 0 / 110 b A 1 2 0 / 110 b A 1 2 0 / 120 b FA 1 2 0 / 120 b FA 1 2 0 /
             130 a A 2 2 0 / 130 a A 2 2 0",
            ["active", "passive"],
        ),
        (
            "the acknowledgement of the FIN is captured ahead of it",
            "110 b A 1 2 0 / 111 a FA 1 1 0 / 120 b FA 1 2 0 / 130 a A 2 2 0",
            ["active", "passive"],
        ),
        (
            "the second FIN is captured ahead of the first",
            "110 b FA 1 2 0 / 111 a FA 1 1 0 / 120 a A 2 2 0",
            ["active", "passive"],
        ),
        (
            "a FIN overtakes the data ahead of it",
            "100 a FA 101 1 0 / 101 a A 1 1 100 / 110 b A 1 102 0 / 120 b FA 1 102 0 / 130 a A 102 2 0",
            ["active", "passive"],
        ),
        (
            "the last acknowledgement is repeated, and a reset follows it",
            "100 a FA 1 1 0 / 110 b FA 1 2 0 / 120 a A 2 2 0 / 320 b FA 1 2 0 / 321 a A 2 2 0 / 400 b R 2 0 0",
            ["active", "passive"],
        ),
        (
            "a reset whose number is far behind is not taken",
            "30 a A 1 1 5000 / 35 b A 1 5001 0 / 50 a R 1 0 0 / 100 a FA 5001 1 0 / 110 b FA 1 5002 0 /
             120 a A 5002 2 0",
            ["active", "passive"],
        ),
        (
            "a keepalive probe on the way",
            "30 a A 0 1 0 / 31 b A 1 1 0 / 100 a FA 1 1 0 / 110 b FA 1 2 0 / 120 a A 2 2 0",
            ["active", "passive"],
        ),
        (
            "the first FIN is not in the capture, and nothing tells who was first",
            "110 b A 1 2 0 / 120 b FA 1 2 0 / 130 a A 2 2 0",
            ["-", "-"],
        ),
        (
            "data is not in the capture, but what follows it is",
            "30 b A 1 101 0 / 100 a FA 101 1 0 / 110 b FA 1 102 0 / 120 a A 102 2 0",
            ["active", "passive"],
        ),
    ];
    for (situation, text, kinds) in cases {
        let read = Read::scene(&(OPEN.to_owned() + text));
        assert_eq!(&read.kinds(), kinds, "{situation}");
    }
}

#[test]
fn a_fin_that_was_lost_beyond_the_capture_point_is_received_when_it_is_acknowledged() {
    let text = "100 a FA 1 1 0 / 400 a FA 1 1 0 / 410 b A 1 2 0 / 500 b FA 1 2 0 / 510 a A 2 2 0";
    let read = Read::scene(&(OPEN.to_owned() + text));
    let b = read.b();
    let entered = b.steps.iter().find(|step| step.new == finwait_core::TcpState::CloseWait).unwrap();
    assert_eq!(entered.at.0, (START_MS + 410) * 1_000_000);
    assert_eq!(b.captured.as_deref().unwrap().peer_fins_again, 1);
    assert_eq!(read.a().captured.as_deref().unwrap().own_fins_again, 1);
}

#[test]
fn a_second_fin_seen_first_does_not_wait_for_ever_to_be_put_right() {
    let read = Read::scene(&(OPEN.to_owned() + "110 b FA 1 2 0 / 111 a FA 1 1 0 / 120 a A 2 2 0"));
    assert_eq!(read.a().first_closer.value(), Some(&FirstCloser::Local));
    assert_eq!(read.b().first_closer.value(), Some(&FirstCloser::Peer));
}

#[test]
fn sequence_numbers_may_wrap_anywhere() {
    let text = "30 a A 1 1 100 / 35 b A 1 101 50 / 100 a FA 101 51 0 / 110 b A 51 102 0 / 120 b FA 51 102 0 /
        130 a A 102 52 0";
    let lines = scene(&(OPEN.to_owned() + text));
    for behind in 0..110 {
        let read = Read::of(capture_of(&lines, (u32::MAX - behind, u32::MAX - behind / 2)));
        assert_eq!(read.kinds(), ["active", "passive"], "{behind}");
        assert_eq!(read.a().bytes_sent.value(), Some(&100), "{behind}");
        assert_eq!(read.a().bytes_received.value(), Some(&50), "{behind}");
    }
}

#[test]
fn a_capture_that_starts_in_the_middle_knows_the_close_and_not_the_opening() {
    let text = "30 a A 1 1 100 / 35 b A 1 101 50 / 100 a FA 101 51 0 / 110 b A 51 102 0 / 120 b FA 51 102 0 /
        130 a A 102 52 0";
    let read = Read::scene(text);
    assert_eq!(read.kinds(), ["active", "passive"]);
    assert_eq!(read.a().seen_from, SeenFrom::Middle);
    assert_eq!(read.a().role, Claim::Unknown(Reason::SeenFromMiddle));
    assert!(read.a().bytes_sent.value().is_none());
    assert!(read.a().life_ns.value().is_none());
}

#[test]
fn a_capture_that_starts_within_the_close_takes_no_second_fin_for_the_first() {
    // The first FIN went by before the capture began.
    let read = Read::scene("120 b FA 51 102 0 / 130 a A 102 52 0");
    assert_eq!(read.kinds(), ["-", "-"]);
    assert_eq!(read.books.undecided, 1);
}

#[test]
fn a_capture_that_starts_with_the_answer_to_a_syn_knows_who_opened() {
    let text = "10 b SA 0 1 0 / 20 a A 1 1 0 / 100 a FA 1 1 0 / 110 b FA 1 2 0 / 120 a A 2 2 0";
    let read = Read::scene(text);
    assert_eq!(read.kinds(), ["active", "passive"]);
    assert_eq!(read.b().role.value().map(|role| role.name()), Some("accepted"));
    assert_eq!(read.a().role.value().map(|role| role.name()), Some("opened"));
}

#[test]
fn the_same_ends_may_connect_again() {
    let close = "100 a FA 1 1 0 / 110 b FA 1 2 0 / 120 a A 2 2 0 /";
    let mut lines = scene(&(OPEN.to_owned() + close));
    let mut file: Vec<_> =
        lines.iter().map(|line| (START_MS + line.at_ms, packet(line, (1000, 5000)))).collect();
    lines.iter_mut().for_each(|line| line.at_ms += 1000);
    file.extend(lines.iter().map(|line| (START_MS + line.at_ms, packet(line, (90_000, 50)))));
    let read = Read::of(pcap(RAW, &file));
    assert_eq!(read.closes.len(), 4);
    assert_eq!((read.books.connections, read.books.superseded), (2, 0));
    assert!(read.closes.iter().all(|close| close.kind.value().is_some()));
}

#[test]
fn a_syn_sent_again_is_no_other_connection() {
    let read = Read::scene(
        "0 a S 0 0 0 / 1000 a S 0 0 0 / 1010 b SA 0 1 0 / 1015 b SA 0 1 0 / 1020 a A 1 1 0 / 1100 a FA 1 1 0 /
         1110 b FA 1 2 0 / 1120 a A 2 2 0",
    );
    assert_eq!(read.books.connections, 1);
    assert_eq!(read.kinds(), ["active", "passive"]);
    assert_eq!(read.a().handshake_ns.value(), Some(&1_020_000_000));
}

#[test]
fn a_reset_of_nothing_is_counted_and_begins_nothing() {
    let read = Read::scene("0 a R 5 0 0");
    assert_eq!((read.books.strays, read.books.connections, read.steps.len()), (1, 0, 0));
}

#[test]
fn with_more_connections_than_there_is_room_for_the_oldest_go_and_are_counted() {
    let mut file = Vec::new();
    for n in 0..100u16 {
        let mut bytes = Vec::new();
        let tcp = PacketBuilder::ipv4(A.0, B.0, 64).tcp(1000 + n, 80, 1, 1000).syn();
        tcp.write(&mut bytes, &[]).unwrap();
        file.push((START_MS + u64::from(n), bytes));
    }
    let input = Box::new(Cursor::new(pcap(RAW, &file)));
    let read = Read::from(PcapSource::with_capacity(input, "small".to_owned(), 16));
    assert_eq!(read.books.connections, 100);
    assert!(read.books.unfinished <= 16, "{:?}", read.books);
    assert_eq!(read.books.evicted + read.books.unfinished, 100);
}

#[test]
fn a_connection_that_was_silent_for_hours_of_the_captures_time_is_given_up() {
    let mut lines = scene(OPEN);
    for n in 0..2000u64 {
        lines.push(Line { at_ms: 1000 + n, ..line("0 b A 1 1 0") });
    }
    let mut file: Vec<_> = lines.iter().map(|line| (START_MS + line.at_ms, packet(line, (1, 1)))).collect();
    for n in 0..3000u64 {
        let mut bytes = Vec::new();
        let tcp = PacketBuilder::ipv4([10, 9, 9, 9], B.0, 64).tcp(5000, 80, 1, 1000).ack(1);
        tcp.write(&mut bytes, &[]).unwrap();
        file.push((START_MS + 4 * 3_600_000 + n, bytes));
    }
    let read = Read::of(pcap(RAW, &file));
    assert_eq!((read.books.idle, read.books.unfinished), (1, 1));
}
