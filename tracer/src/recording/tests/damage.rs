//! A recording that was cut, changed or torn: whole frames come out, and what does not is told.

use std::ops::Range;

use finwait_core::Observation;
use proptest::prelude::*;

use super::super::Missing;
use super::super::frame::{FILE_HEADER, FRAME_HEADER, FrameHeader, Packing};
use super::any::{host, many, observation};
use super::{mark, read, recorded};
use crate::source::Unread;

/// Where the frames of a whole recording are; the last is its end.
fn places(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut places = Vec::new();
    let mut at = FILE_HEADER;
    while at < bytes.len() {
        let header = FrameHeader::read(&bytes[at..]).unwrap();
        let end = at + FRAME_HEADER + header.stored as usize;
        places.push(at..end);
        at = end;
    }
    places
}

fn frames() -> Vec<Vec<Observation>> {
    vec![vec![host(), mark(1)], many(20), vec![mark(2)], many(3), vec![mark(3), mark(4)]]
}

/// What is left of [`frames`] where those at `lost` are not whole.
fn left(lost: impl Fn(usize) -> bool) -> Vec<Vec<Observation>> {
    frames().into_iter().enumerate().filter(|(at, _)| !lost(*at)).map(|(_, frame)| frame).collect()
}

fn missing(unread: Option<Unread>) -> Missing {
    match unread {
        Some(Unread::Frames(missing)) => missing,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_recording_cut_anywhere_yields_the_frames_before_and_says_that_it_has_no_end() {
    let whole = recorded(&frames());
    let places = places(&whole);
    for length in 0..whole.len() {
        let read = read(&whole[..length]);
        let expected = left(|at| places[at].end > length);
        if expected.is_empty() {
            assert!(read.is_err(), "{length}");
            continue;
        }
        let (read, unread) = read.unwrap();
        assert_eq!(read, expected, "{length}");
        let missing = missing(unread);
        assert_eq!(missing.unfinished, 1, "{length}");
        let torn = !places.iter().any(|place| place.end == length);
        assert_eq!(missing.damages, u64::from(torn), "{length}");
    }
}

#[test]
fn a_changed_byte_takes_its_frame_alone_and_what_is_missing_is_counted() {
    let whole = recorded(&frames());
    let places = places(&whole);
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        let hit = places.iter().position(|place| place.contains(&at));
        let (read, unread) = read(&bytes).unwrap();
        assert_eq!(read, left(|frame| Some(frame) == hit), "{at}");
        let missing = missing(unread);
        assert_eq!(missing.damages, 1, "{at}");
        let place = hit.map_or(0..FILE_HEADER, |hit| places[hit].clone());
        assert_eq!(missing.first.unwrap().0, place.start as u64, "{at}");
        assert_eq!(missing.bytes, place.len() as u64, "{at}");
        // Ahead of the first frame nothing says with which number it should begin.
        let (frames, observations) = match hit {
            Some(hit) if hit < frames().len() => (1, frames()[hit].len() as u64),
            _ => (0, 0),
        };
        assert_eq!((missing.frames, missing.observations), (frames, observations), "{at}");
        assert_eq!(missing.unfinished, u64::from(hit == Some(places.len() - 1)), "{at}");
    }
}

#[test]
fn bytes_that_were_taken_out_or_put_in_take_the_frame_around_them_alone() {
    let whole = recorded(&frames());
    let places = places(&whole);
    let middle = places[1].start + FRAME_HEADER + 5;
    let without = [&whole[..middle], &whole[middle + 3..]].concat();
    let with = [&whole[..middle], b"\xf7FR\xa5what\x89FWREC\r\n", &whole[middle..]].concat();
    for bytes in [without, with] {
        let (read, unread) = read(&bytes).unwrap();
        assert_eq!(read, left(|at| at == 1));
        let missing = missing(unread);
        assert_eq!((missing.damages, missing.frames, missing.observations), (1, 1, 40));
    }
}

#[test]
fn rubbish_between_frames_is_passed_over() {
    let whole = recorded(&frames());
    let at = places(&whole)[2].start;
    let bytes = [&whole[..at], b"\0rubbish\xf7\xf7FR", &whole[at..]].concat();
    let (read, unread) = read(&bytes).unwrap();
    assert_eq!(read, frames());
    let missing = missing(unread);
    assert_eq!((missing.damages, missing.bytes, missing.frames), (1, 12, 0));
}

#[test]
fn frames_that_were_taken_out_whole_are_missing_by_their_numbers() {
    let whole = recorded(&frames());
    let places = places(&whole);
    let bytes = [&whole[..places[1].start], &whole[places[3].start..]].concat();
    let (read, unread) = read(&bytes).unwrap();
    assert_eq!(read, left(|at| at == 1 || at == 2));
    let missing = missing(unread);
    assert_eq!((missing.damages, missing.frames, missing.observations), (0, 2, 41));
    assert_eq!(missing.to_string(), "trace.fwr: 2 frames with 41 observations are missing");
}

#[test]
fn a_whole_frame_that_makes_no_sense_is_counted_and_passed_over() {
    let whole = recorded(&frames());
    let place = places(&whole)[2].clone();
    let header = FrameHeader::read(&whole[place.clone()]).unwrap();
    for changed in [
        FrameHeader { observations: header.observations + 1, ..header },
        FrameHeader { packing: Packing::Zstd, unpacked: header.unpacked + 1, ..header },
    ] {
        let mut bytes = whole.clone();
        bytes[place.start..place.start + FRAME_HEADER].copy_from_slice(&changed.to_bytes());
        let (read, unread) = read(&bytes).unwrap();
        let known: Vec<_> = read.concat().into_iter().filter(|o| *o != mark(2)).collect();
        assert_eq!(known, left(|at| at == 2).concat());
        let missing = missing(unread);
        assert_eq!((missing.damages, missing.frames, missing.observations, missing.unfinished), (1, 1, 1, 0));
        assert!(missing.first.unwrap().1.starts_with("frame 2: "));
    }
}

#[test]
fn damage_is_told_in_a_sentence() {
    let whole = recorded(&frames());
    let place = places(&whole)[4].clone();
    let missing = missing(read(&whole[..place.end - 1]).unwrap().1);
    assert_eq!(
        missing.to_string(),
        format!(
            "trace.fwr: 1 place is damaged, {} bytes in all; the first is at byte {}: the file ends within a frame; \
             it has no end, so what came last may be missing",
            place.len() - 1,
            place.start
        )
    );
    assert_eq!(missing.count(), 1);
}

proptest! {
    #[test]
    fn whatever_bytes_are_changed_the_frames_between_come_out(
        bodies in prop::collection::vec(prop::collection::vec(observation(), 1..6), 1..5),
        hits in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 0..4),
    ) {
        let known = |o: &Observation| !matches!(o, Observation::Host(_));
        let mut frames: Vec<Vec<Observation>> = vec![vec![host()]];
        frames.extend(bodies.into_iter().map(|body| body.into_iter().filter(known).collect::<Vec<_>>()));
        frames.retain(|frame| !frame.is_empty());
        let mut bytes = recorded(&frames);
        let places = places(&bytes);
        let mut hit = vec![false; places.len()];
        for (at, change) in hits {
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            places.iter().zip(&mut hit).for_each(|(place, hit)| *hit |= place.contains(&at));
        }
        let whole: Vec<Vec<Observation>> =
            frames.into_iter().zip(&hit).filter(|(_, hit)| !**hit).map(|(frame, _)| frame).collect();
        match read(&bytes) {
            Ok((read, _)) => prop_assert_eq!(read, whole),
            Err(error) => prop_assert!(whole.is_empty(), "{}", error),
        }
    }
}
