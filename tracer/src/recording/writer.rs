//! Writes a recording: observations are gathered into a frame, and a frame is written whole once it is large or old enough.
//!
//! Where there is no room for a frame it is left out, which its number tells, and recording goes on with the next.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use finwait_core::Observation;
use finwait_core::observation::Host;

use super::Encoder;
use super::config::RecorderConfig;
use super::files::Files;
use super::frame::{FileHeader, FrameHeader, FrameKind, Layout, Packing, VERSION, checksum};
use super::pack::pack;
use super::preamble::Preamble;
use crate::sink::{SinkError, Tap};

/// Bytes of a payload at which a frame is complete.
const LARGE: usize = 128 << 10;
/// Age at which a frame is complete: what a crash loses is younger.
const OLD: Duration = Duration::from_secs(1);

/// What a frame may add to a file beyond [`LARGE`]: its header, its last observation, a preamble.
const SLACK: u64 = 128 << 10;

/// Where frames go.
enum Out {
    Files(Files),
    /// A pipe, a terminal; whether nothing was written yet
    Stream(Box<dyn Write + Send>, bool),
}

/// See the module.
pub struct Recorder {
    out: Out,
    place: String,
    encoder: Encoder,
    preamble: Preamble,
    /// A preamble that the next frame needs ahead of it: how many observations, and the payload
    due: Option<(u32, Vec<u8>)>,
    /// Number of the next frame
    number: u64,
    /// Observations ahead of the frame in the making
    before: u64,
    /// Of the file being written; its run is not known before the host is
    file: FileHeader,
    begun: Option<Instant>,
    lost: Lost,
    tell: Box<dyn FnMut(&str) + Send>,
}

/// What found no room.
#[derive(Debug, Default)]
struct Lost {
    frames: u64,
    observations: u64,
    /// The last frame was one of them
    now: bool,
    /// No other file could be begun, which was told
    stays: bool,
}

impl Recorder {
    /// Writes to a file at `path`, or with rotation to several whose names begin with it. `tell` is given sentences for
    /// people.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(
        path: &Path,
        config: RecorderConfig,
        tell: Box<dyn FnMut(&str) + Send>,
    ) -> Result<Self, SinkError> {
        let place = crate::sink::safe(&path.display().to_string()).into_owned();
        let streams = fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir());
        let out = if streams && !config.rotation.is_on() {
            File::options().write(true).open(path).map(|file| Out::Stream(Box::new(file), true))
        } else {
            Files::create(path, config).map(Out::Files)
        };
        Self::new(out, place, tell)
    }

    /// Writes to `out`, which messages call `place`.
    ///
    /// # Errors
    /// None so far: as [`Self::create`], which may not be able to write.
    pub fn stream(out: Box<dyn Write + Send>, place: String) -> Result<Self, SinkError> {
        Self::new(Ok(Out::Stream(out, true)), place, Box::new(|_| {}))
    }

    fn new(
        out: io::Result<Out>,
        place: String,
        tell: Box<dyn FnMut(&str) + Send>,
    ) -> Result<Self, SinkError> {
        let out = out.map_err(|source| SinkError::Create { place: place.clone(), source })?;
        Ok(Self {
            out,
            place,
            encoder: Encoder::default(),
            preamble: Preamble::default(),
            due: None,
            number: 0,
            before: 0,
            file: FileHeader { version: VERSION, part: 0, run: 0, number: 0, before: 0 },
            begun: None,
            lost: Lost::default(),
            tell,
        })
    }

    /// As if the file were this one: to see what happens where there is no room.
    #[cfg(test)]
    pub(super) fn go_to(&mut self, path: &Path) {
        if let Out::Files(files) = &mut self.out {
            files.go_to(path);
        }
    }

    /// Writes the frame in the making, if there is anything in it.
    pub(super) fn close_frame(&mut self) -> Result<(), SinkError> {
        let observations = self.encoder.observations();
        if observations == 0 {
            return Ok(());
        }
        if self.file.run == 0 {
            self.file.run = self.preamble.host().map_or(0, run_of);
        }
        let bytes = self.next_bytes();
        let written = self.append(&bytes);
        self.encoder.clear();
        self.begun = None;
        self.number += 1;
        self.before += u64::from(observations);
        match written {
            Ok(()) => {
                self.number += u64::from(self.due.take().is_some());
                self.tell_of_room();
                self.rotate_if_full()
            }
            Err(error) if is_lack_of_room(&error) => {
                self.leave_out(observations, &error);
                Ok(())
            }
            Err(source) => Err(SinkError::Write { place: self.place.clone(), source }),
        }
    }

    /// The frame in the making, and what has to be ahead of it.
    fn next_bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let number = self.head(&mut bytes);
        let (observations, payload) = (self.encoder.observations(), self.encoder.payload());
        let (kind, before) = (FrameKind::Observations, self.before);
        Frame { kind, number, before, observations, payload }.put(&mut bytes);
        bytes
    }

    /// What has to be ahead of the next frame, and that one's number.
    fn head(&mut self, bytes: &mut Vec<u8>) -> u64 {
        if self.is_new() {
            bytes.extend_from_slice(&self.file.to_bytes());
        }
        let (number, before) = (self.number, self.before);
        let Some((observations, payload)) = &self.due else { return number };
        let frame = Frame { kind: FrameKind::Preamble, number, before, observations: *observations, payload };
        frame.put(bytes);
        number + 1
    }

    fn is_new(&self) -> bool {
        match &self.out {
            Out::Files(files) => files.is_new(),
            Out::Stream(_, new) => *new,
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.out {
            Out::Files(files) => files.append(bytes),
            Out::Stream(out, new) => {
                *new = false;
                out.write_all(bytes).and_then(|()| out.flush())
            }
        }
    }

    /// A frame without observations.
    fn append_mark(&mut self, kind: FrameKind) -> io::Result<()> {
        let mut bytes = Vec::new();
        let number = self.head(&mut bytes);
        let frame = Frame { kind, number, before: self.before, observations: 0, payload: &[] };
        frame.put(&mut bytes);
        self.append(&bytes)?;
        self.due = None;
        self.number = number + 1;
        Ok(())
    }

    /// Counts a frame that found no room. The next one begins with all that is known by now.
    fn leave_out(&mut self, observations: u32, error: &io::Error) {
        if !self.lost.now {
            let text = format!("nothing is recorded until there is room for {}: {error}", self.place);
            (self.tell)(&text);
        }
        self.lost.now = true;
        self.lost.frames += 1;
        self.lost.observations += u64::from(observations);
        self.make_due();
    }

    fn tell_of_room(&mut self) {
        if std::mem::replace(&mut self.lost.now, false) {
            let text = format!(
                "there is room for {} again; {} observations so far did not get into it",
                self.place, self.lost.observations
            );
            (self.tell)(&text);
        }
    }

    fn make_due(&mut self) {
        let mut encoder = Encoder::default();
        self.preamble.observations().iter().for_each(|observation| encoder.push(observation));
        self.due = Some((encoder.observations(), encoder.payload().to_vec()));
    }

    /// Begins another file where this one has no room for another frame.
    fn rotate_if_full(&mut self) -> Result<(), SinkError> {
        let Out::Files(files) = &self.out else { return Ok(()) };
        if !files.is_full(LARGE as u64 + SLACK) {
            return Ok(());
        }
        let next = match files.next() {
            Ok(next) => next,
            Err(error) => {
                if !std::mem::replace(&mut self.lost.stays, true) {
                    let text = format!("{} goes on, as no other file can be begun: {error}", self.place);
                    (self.tell)(&text);
                }
                return Ok(());
            }
        };
        // Without the mark the file only seems cut off.
        _ = self.append_mark(FrameKind::Continued);
        let Out::Files(files) = &mut self.out else { return Ok(()) };
        let switched = files.switch(next);
        self.lost.stays = false;
        self.place = crate::sink::safe(&files.current().display().to_string()).into_owned();
        self.file =
            FileHeader { part: self.file.part + 1, number: self.number, before: self.before, ..self.file };
        self.make_due();
        switched.map_err(|source| SinkError::Write { place: self.place.clone(), source })
    }
}

impl Tap for Recorder {
    fn observation(&mut self, observation: &Observation) -> Result<(), SinkError> {
        self.preamble.learn(observation);
        self.encoder.push(observation);
        if self.begun.is_none() {
            self.begun = Some(Instant::now());
        }
        if self.encoder.payload().len() >= LARGE { self.close_frame() } else { Ok(()) }
    }

    /// Writes what is old enough; the first frame, which names the host, at once.
    fn flush(&mut self) -> Result<(), SinkError> {
        if self.number == 0 || self.patience().is_zero() { self.close_frame() } else { Ok(()) }
    }

    fn patience(&self) -> Duration {
        self.begun.map_or(Duration::MAX, |begun| OLD.saturating_sub(begun.elapsed()))
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.close_frame()?;
        let nothing = self.is_new() && self.due.is_none();
        let ended = if nothing { Ok(()) } else { self.append_mark(FrameKind::End) };
        let ended = ended.or_else(|error| if is_lack_of_room(&error) { Ok(()) } else { Err(error) });
        let synced = match &mut self.out {
            Out::Files(files) => files.complete(),
            Out::Stream(..) => Ok(()),
        };
        if self.lost.frames > 0 {
            let text = format!(
                "{} observations in {} frames found no room and are not in the recording",
                self.lost.observations, self.lost.frames
            );
            (self.tell)(&text);
        }
        ended.and(synced).map_err(|source| SinkError::Write { place: self.place.clone(), source })
    }
}

/// A run that fails keeps what it had seen.
impl Drop for Recorder {
    fn drop(&mut self) {
        _ = self.close_frame();
    }
}

/// A frame as it is written.
struct Frame<'a> {
    kind: FrameKind,
    number: u64,
    before: u64,
    observations: u32,
    payload: &'a [u8],
}

impl Frame<'_> {
    fn put(&self, bytes: &mut Vec<u8>) {
        let packed = pack(self.payload);
        let stored = packed.as_deref().unwrap_or(self.payload);
        let header = FrameHeader {
            kind: self.kind,
            packing: if packed.is_some() { Packing::Lz4 } else { Packing::None },
            layout: Layout::V2,
            number: self.number,
            before: self.before,
            observations: self.observations,
            stored: stored.len() as u32,
            unpacked: self.payload.len() as u32,
            checksum: checksum(stored),
        };
        bytes.extend_from_slice(&header.to_bytes());
        bytes.extend_from_slice(stored);
    }
}

/// The same for the same beginning, so that a recording of the same observations is the same.
fn run_of(host: &Host) -> u64 {
    let boot = host.boot_id.0;
    (boot as u64 ^ (boot >> 64) as u64).wrapping_add(host.since.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1
}

fn is_lack_of_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
