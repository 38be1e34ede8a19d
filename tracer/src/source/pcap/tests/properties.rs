//! What must hold for any bytes, and for any order in which a capture shows the segments.

use proptest::prelude::*;

use super::super::{ip, link};
use super::*;

const CLOSE: &str =
    "30 a A 1 1 100 / 35 b A 1 101 50 / 40 a A 101 51 0 / 100 a FA 101 51 0 / 110 b A 51 102 0 /
    200 b A 51 102 20 / 205 a A 102 71 0 / 500 b FA 71 102 0 / 510 a A 102 72 0";

/// Closes with what must come out at both ends.
const SCENES: [(&str, [&str; 2]); 4] = [
    (CLOSE, ["active", "passive"]),
    ("100 b FA 1 1 0 / 110 a A 1 2 0 / 120 a FA 1 2 0 / 130 b A 2 2 0", ["passive", "active"]),
    ("100 a FA 1 1 0 / 110 b FA 1 2 0 / 120 a A 2 2 0", ["active", "passive"]),
    ("100 a FA 1 1 0 / 101 b FA 1 1 0 / 110 a A 2 2 0 / 111 b A 2 2 0", ["simultaneous", "simultaneous"]),
];

/// The close's segments, in an order in which each may have changed places with a neighbour, some of them more than once.
fn shuffled(close: &[Line], swaps: &[usize], again: &[usize]) -> Vec<Line> {
    let mut lines = close.to_vec();
    for swap in swaps {
        if lines.len() > 1 {
            let at = swap % (lines.len() - 1);
            lines.swap(at, at + 1);
        }
    }
    for again in again {
        let at = again % lines.len();
        let line = lines[at].clone();
        lines.insert(at, line);
    }
    let last = lines.len() as u64;
    lines.iter_mut().zip(0..last).for_each(|(line, at)| line.at_ms = 100 + at);
    lines
}

proptest! {
    /// Neighbours that changed places, and what was captured more than once, tell the same close.
    #[test]
    fn reordered_and_repeated_segments_tell_the_same_kind(
        scene_number in 0..3usize,
        swap in proptest::option::of(0..20usize),
        again in proptest::collection::vec(0..20usize, 0..5),
        isn in any::<(u32, u32)>(),
    ) {
        let (close, kinds) = SCENES[scene_number];
        let swaps: Vec<usize> = swap.into_iter().collect();
        let mut lines = scene(OPEN);
        lines.extend(shuffled(&scene(close), &swaps, &again));
        prop_assert_eq!(Read::of(capture_of(&lines, isn)).kinds(), kinds);
    }

    #[test]
    fn a_crossed_close_stays_one_however_often_its_segments_are_seen(
        again in proptest::collection::vec(0..20usize, 0..5),
        isn in any::<(u32, u32)>(),
    ) {
        let (close, kinds) = SCENES[3];
        let mut lines = scene(OPEN);
        lines.extend(shuffled(&scene(close), &[], &again));
        prop_assert_eq!(Read::of(capture_of(&lines, isn)).kinds(), kinds);
    }

    /// Without some of the segments less is told, never something else.
    #[test]
    fn a_capture_with_holes_tells_nothing_wrong(
        scene_number in 0..4usize,
        missing in proptest::collection::vec(0..12usize, 0..4),
    ) {
        let (close, kinds) = SCENES[scene_number];
        let mut lines = scene(&(OPEN.to_owned() + close));
        for at in missing {
            if at < lines.len() {
                lines.remove(at);
            }
        }
        let read = Read::of(capture_of(&lines, (7, 9)));
        for (told, right) in read.kinds().into_iter().zip(kinds) {
            prop_assert!(told == right || told == "-" || told == "unknown", "{} is not {}", told, right);
        }
    }

    #[test]
    fn no_bytes_of_a_file_make_it_panic(
        magic in proptest::sample::select(vec![
            vec![0xd4, 0xc3, 0xb2, 0xa1], vec![0xa1, 0xb2, 0x3c, 0x4d], vec![0x0a, 0x0d, 0x0d, 0x0a], vec![],
        ]),
        rest in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        Read::of([magic, rest].concat());
    }

    #[test]
    fn no_bytes_of_a_packet_make_it_panic(
        link in proptest::sample::select(vec![0u16, 1, 101, 108, 113, 228, 229, 276]),
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        missing in any::<u32>(),
    ) {
        if let link::Below::Ip(packet) = link::strip(link, &bytes) {
            ip::read(packet, missing as usize);
        }
    }

    /// Segments with any numbers and flags at all.
    #[test]
    fn no_segments_make_it_panic_or_break_the_chain_of_states(
        segments in proptest::collection::vec(
            (any::<bool>(), 0..32u8, any::<(u32, u32)>(), 0..3usize, 0..100u64), 0..60,
        ),
        near in any::<bool>(),
    ) {
        let lines: Vec<Line> = segments
            .into_iter()
            .map(|(from_a, bits, (seq, ack), payload, at_ms)| Line {
                at_ms,
                from_a,
                flags: "SAFR".chars().enumerate().filter(|(n, _)| bits >> n & 1 != 0).map(|(_, f)| f).collect(),
                seq: if near { seq % 4 } else { seq },
                ack: if near { ack % 4 } else { ack },
                payload,
            })
            .collect();
        let read = Read::of(capture_of(&lines, (0, 0)));
        prop_assert!(read.closes.iter().all(|close| close.chain_breaks == 0));
    }
}
