//! What holds of every recording: what goes in comes out, and damage takes nothing but what it hits.

mod any;
mod damage;
mod files;

use std::io::{self, Cursor, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use finwait_core::MonoNs;
use finwait_core::Observation;
use finwait_core::observation::Watermark;
use proptest::prelude::*;

use self::any::{host, observation};
use super::frame::Layout;
use super::wire::Fault;
use super::{Decoder, Encoder, FrameSource, Recorder};
use crate::sink::Tap;
use crate::source::{Polled, RecordingError, Source, SourceError, Unread};

/// Bytes that stay when the writer has gone.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A recording with a frame for each of `frames`.
pub(super) fn recorded(frames: &[Vec<Observation>]) -> Vec<u8> {
    let out = Shared::default();
    let mut recorder = Recorder::stream(Box::new(out.clone()), "a test".to_owned()).unwrap();
    for frame in frames {
        frame.iter().for_each(|observation| recorder.observation(observation).unwrap());
        recorder.close_frame().unwrap();
    }
    recorder.finish().unwrap();
    out.bytes()
}

/// All that `source` yields, in the batches in which it does, and what it cannot read.
pub(super) fn read_from(
    source: &mut dyn Source,
) -> Result<(Vec<Vec<Observation>>, Option<Unread>), SourceError> {
    let mut frames = Vec::new();
    loop {
        let mut batch = Vec::new();
        let polled = source.poll(&mut batch, Duration::ZERO)?;
        if !batch.is_empty() {
            frames.push(batch);
        }
        if polled == Polled::End {
            return Ok((frames, source.unread()));
        }
    }
}

pub(super) fn read(bytes: &[u8]) -> Result<(Vec<Vec<Observation>>, Option<Unread>), SourceError> {
    let input = Box::new(Cursor::new(bytes.to_vec()));
    read_from(&mut FrameSource::new(input, "trace.fwr".to_owned()).unwrap())
}

pub(super) fn mark(at: u64) -> Observation {
    Observation::Watermark(Watermark { at: MonoNs(at) })
}

fn payload(observations: &[Observation]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    observations.iter().for_each(|observation| encoder.push(observation));
    encoder.payload().to_vec()
}

fn decoded(payload: &[u8], count: usize) -> Result<Vec<Observation>, Fault> {
    let mut batch = Vec::new();
    Decoder::default().decode(Layout::V2, payload, u32::try_from(count).unwrap(), &mut batch).map(|()| batch)
}

proptest! {
    #[test]
    fn any_observations_come_back_as_they_were(all in prop::collection::vec(observation(), 0..40)) {
        prop_assert_eq!(decoded(&payload(&all), all.len()), Ok(all));
    }

    #[test]
    fn a_frame_needs_nothing_of_the_one_before(
        one in prop::collection::vec(observation(), 0..10), other in prop::collection::vec(observation(), 0..10),
    ) {
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        for all in [one, other] {
            encoder.clear();
            all.iter().for_each(|observation| encoder.push(observation));
            prop_assert_eq!(encoder.payload(), payload(&all));
            let mut batch = Vec::new();
            prop_assert_eq!(decoder.decode(Layout::V2, encoder.payload(), encoder.observations(), &mut batch), Ok(()));
            prop_assert_eq!(batch, all);
        }
    }

    #[test]
    fn a_payload_of_any_bytes_is_read_or_refused(
        bytes in prop::collection::vec(0u8..16, 0..200), count in 0usize..20,
    ) {
        if let Ok(all) = decoded(&bytes, count) {
            prop_assert_eq!(all.len(), count);
        }
    }

    #[test]
    fn a_payload_with_a_byte_changed_is_read_or_refused(
        all in prop::collection::vec(observation(), 1..20), at: prop::sample::Index, to: u8,
    ) {
        let mut bytes = payload(&all);
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Ok(read) = decoded(&bytes, all.len()) {
            prop_assert_eq!(read.len(), all.len());
        }
    }

    #[test]
    fn a_recording_of_any_bytes_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        drop(read(&bytes));
    }
}

#[test]
fn more_sockets_and_tasks_than_a_frame_remembers_come_back() {
    let all = any::many(5000);
    assert_eq!(decoded(&payload(&all), all.len()).unwrap(), all);
}

#[test]
fn a_recording_gives_back_its_frames_and_nothing_is_missing() {
    let frames = vec![vec![host(), mark(1)], any::many(100), vec![mark(2)]];
    let (read, unread) = read(&recorded(&frames)).unwrap();
    assert_eq!((read, unread), (frames, None));
}

#[test]
fn a_large_frame_comes_in_parts() {
    let all: Vec<_> = std::iter::once(host()).chain(any::many(400)).collect();
    let (read, unread) = read(&recorded(std::slice::from_ref(&all))).unwrap();
    assert_eq!((read.len(), read.concat(), unread), (4, all, None));
}

/// Hands out a few bytes, then has to be asked again.
struct Halting(Cursor<Vec<u8>>, bool);

impl io::Read for Halting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        let some = buffer.len().min(7);
        if self.1 { Err(io::ErrorKind::WouldBlock.into()) } else { self.0.read(&mut buffer[..some]) }
    }
}

#[test]
fn a_pipe_that_halts_anywhere_is_waited_for() {
    let frames = vec![vec![host()], any::many(20), vec![mark(2)]];
    let input = io::BufReader::new(Halting(Cursor::new(recorded(&frames)), false));
    let mut source = FrameSource::new(Box::new(input), "a pipe".to_owned()).unwrap();
    assert_eq!(read_from(&mut source).unwrap(), (frames, None));
}

#[test]
fn the_same_observations_give_the_same_bytes() {
    let frames = [vec![host()], any::many(3000)];
    assert_eq!(recorded(&frames), recorded(&frames));
}

#[test]
fn what_has_no_whole_frame_is_no_recording() {
    for bytes in [&b""[..], b"\x89FWREC\r\n", &[0; 500]] {
        let message = read(bytes).unwrap_err().to_string();
        assert_eq!(
            message,
            "trace.fwr is neither a finwait recording nor a packet capture: it has no whole frame"
        );
    }
}

#[test]
fn a_recording_of_a_later_version_is_refused() {
    let mut bytes = recorded(&[vec![host()]]);
    bytes[8] = 3;
    let sum = crc32fast::hash(&bytes[..40]).to_le_bytes();
    bytes[40..44].copy_from_slice(&sum);
    let error = read(&bytes).unwrap_err();
    assert!(matches!(error, SourceError::Recording(RecordingError::Version { found: 3, .. })), "{error}");
}
