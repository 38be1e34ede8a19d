//! A file of any kind that finwait reads: a recording, in text or binary, or a packet capture, packed with gzip or zstd or
//! not. What it is, its first bytes tell. stdin likewise; it is not waited for.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use finwait_core::Observation;

use super::pcap::{self, CaptureBooks, PcapSource};
use super::pipe::Pipe;
use super::recording::{LineSource, RecordingError};
use super::torn::{Fault, Torn};
use super::unpacked::Unpacked;
use super::{Polled, ReadShare, Source, SourceError, Take, Unread};
use crate::recording::FrameSource;
use crate::recording::frame::{FILE_MAGIC, FRAME_MAGIC};

type Input = Box<dyn BufRead + Send>;

const BUFFER: usize = 1 << 16;
/// As many bytes as tell the kinds apart.
const MAGIC: usize = 4;
/// Where these tell nothing, a frame is looked for so far into the file.
const SEARCHED: usize = 1 << 20;

/// See the module.
pub struct FileSource {
    place: String,
    kind: Kind,
    progress: Option<Progress>,
    fault: Fault,
}

/// Counted where the file is read.
struct Progress {
    read: Arc<AtomicU64>,
    size: u64,
}

/// A file whose bytes are counted as they are read.
struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.read.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

enum Kind {
    /// Too little has come to tell
    Open {
        input: Input,
        head: Vec<u8>,
    },
    Told(Box<dyn Source + Send>),
    /// Closed before it was told
    Closed,
}

/// What a beginning says of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Text,
    Frames,
    Capture,
    /// Neither yet; a frame may still come
    Nothing,
}

impl Told {
    /// Text never begins as the other kinds do. Of a file whose own beginning is damaged a frame tells.
    fn by(head: &[u8]) -> Self {
        let begins = |magic: &[u8]| head.first_chunk::<MAGIC>() == magic.first_chunk();
        if pcap::is_capture(head) {
            Self::Capture
        } else if begins(&FILE_MAGIC) || head.windows(MAGIC).any(|bytes| bytes == FRAME_MAGIC) {
            Self::Frames
        } else if head.first().is_none_or(|byte| *byte == b'{' || byte.is_ascii_whitespace()) {
            Self::Text
        } else {
            Self::Nothing
        }
    }
}

impl FileSource {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let place = crate::sink::safe(&path.display().to_string()).into_owned();
        match input(path) {
            Ok((input, progress)) => Ok(Self { progress, ..Self::new(input, place) }),
            Err(source) => Err(RecordingError::Io { action: "open", place, source }),
        }
    }

    /// Reads stdin.
    #[must_use]
    pub fn stdin() -> Self {
        Self::new(Box::new(Pipe::new(Unpacked::new(io::stdin()))), "stdin".to_owned())
    }

    /// Reads `input`, which messages call `place`.
    #[must_use]
    pub fn new(input: Input, place: String) -> Self {
        let (input, fault) = Torn::new(input);
        Self { place, kind: Kind::Open { input: Box::new(input), head: Vec::new() }, progress: None, fault }
    }

    /// Whether the kind is known now.
    fn tell(&mut self) -> Result<bool, RecordingError> {
        let Kind::Open { input, head } = &mut self.kind else { return Ok(true) };
        let told = loop {
            let more = match input.fill_buf() {
                Ok(more) => more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(source) => {
                    return Err(RecordingError::Io { action: "read", place: self.place.clone(), source });
                }
            };
            let (ended, taken) = (more.is_empty(), more.len());
            head.extend_from_slice(more);
            input.consume(taken);
            match Told::by(head) {
                Told::Nothing if ended || head.len() >= SEARCHED => break Told::Text,
                told if ended || (head.len() >= MAGIC && told != Told::Nothing) => break told,
                _ => {}
            }
        };
        self.begin(told)?;
        Ok(true)
    }

    fn begin(&mut self, told: Told) -> Result<(), RecordingError> {
        let Kind::Open { input, head } = std::mem::replace(&mut self.kind, Kind::Closed) else {
            return Ok(());
        };
        let (input, place): (Input, _) = (Box::new(Cursor::new(head).chain(input)), self.place.clone());
        self.kind = Kind::Told(match told {
            Told::Capture => Box::new(PcapSource::new(input, place)),
            Told::Frames => Box::new(FrameSource::new(input, place)?),
            Told::Text | Told::Nothing => Box::new(LineSource::new(input, place)),
        });
        Ok(())
    }

    fn told(&self) -> Option<&(dyn Source + Send)> {
        match &self.kind {
            Kind::Told(source) => Some(source.as_ref()),
            Kind::Open { .. } | Kind::Closed => None,
        }
    }
}

fn input(path: &Path) -> io::Result<(Input, Option<Progress>)> {
    let file = File::open(path)?;
    let kind = file.metadata()?;
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if kind.is_file() {
        let progress = Progress { read: Arc::default(), size: kind.len() };
        let file = Counted { file, read: Arc::clone(&progress.read) };
        return Ok((Box::new(BufReader::with_capacity(BUFFER, Unpacked::new(file))), Some(progress)));
    }
    Ok((Box::new(Pipe::new(Unpacked::new(file))), None))
}

impl Source for FileSource {
    fn poll(&mut self, batch: &mut Vec<Observation>, timeout: Duration) -> Result<Polled, SourceError> {
        if !self.tell()? {
            return Ok(Polled::Idle);
        }
        match &mut self.kind {
            Kind::Told(source) => source.poll(batch, timeout),
            Kind::Open { .. } | Kind::Closed => Ok(Polled::End),
        }
    }

    fn lend(&mut self, timeout: Duration, take: &mut Take<'_>) -> Result<Polled, SourceError> {
        if !self.tell()? {
            return Ok(Polled::Idle);
        }
        match &mut self.kind {
            Kind::Told(source) => source.lend(timeout, take),
            Kind::Open { .. } | Kind::Closed => Ok(Polled::End),
        }
    }

    fn close(&mut self) {
        match &mut self.kind {
            Kind::Told(source) => source.close(),
            kind => *kind = Kind::Closed,
        }
    }

    fn unread(&self) -> Option<Unread> {
        let rest = self.told()?.unread();
        match self.fault.get() {
            None => rest,
            Some(detail) => {
                let (place, detail) = (self.place.clone(), detail.clone());
                Some(Unread::Torn { place, detail, rest: rest.map(Box::new) })
            }
        }
    }

    fn capture(&self) -> Option<&CaptureBooks> {
        self.told()?.capture()
    }

    fn read_share(&self) -> Option<ReadShare> {
        let progress = self.progress.as_ref()?;
        Some(ReadShare { read: progress.read.load(Ordering::Relaxed), size: progress.size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_cannot_be_opened_is_named() {
        for path in ["/nonexistent/trace.fwr", "/"] {
            let message = FileSource::open(Path::new(path)).err().unwrap().to_string();
            assert!(message.starts_with(&format!("cannot open {path}: ")), "{message}");
        }
    }

    #[test]
    fn a_beginning_tells_the_kind() {
        let mut damaged = vec![0; 44];
        damaged.extend_from_slice(&FRAME_MAGIC);
        for head in [&FILE_MAGIC[..], &FRAME_MAGIC, &damaged] {
            assert_eq!(Told::by(head), Told::Frames, "{head:?}");
        }
        for head in [&b"{\"observation\""[..], b"\n{", b"\n\r\n{", b""] {
            assert_eq!(Told::by(head), Told::Text, "{head:?}");
        }
        for head in [&b"[1]"[..], b"\x7fELF", &FILE_MAGIC[..1]] {
            assert_eq!(Told::by(head), Told::Nothing, "{head:?}");
        }
        for head in [b"\n\r\r\n", b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d"] {
            assert_eq!(Told::by(head), Told::Capture, "{head:?}");
        }
    }

    /// Gives one byte at a time, and nothing every second time.
    struct Dripping(Cursor<Vec<u8>>, bool);

    impl Read for Dripping {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 { Err(io::ErrorKind::WouldBlock.into()) } else { self.0.read(&mut buffer[..1]) }
        }
    }

    #[test]
    fn a_pipe_that_drips_is_told_too() {
        let capture = [&0xa1b2_c3d4_u32.to_le_bytes()[..], &[2, 0, 4, 0], &[0; 12], &[1, 0, 0, 0]].concat();
        for (bytes, expected) in [(capture, true), (b"no such thing".to_vec(), false)] {
            let input = BufReader::new(Dripping(Cursor::new(bytes), false));
            let mut source = FileSource::new(Box::new(input), "pipe".to_owned());
            let (mut batch, mut polls) = (Vec::new(), 0);
            let ended = loop {
                polls += 1;
                match source.poll(&mut batch, Duration::ZERO) {
                    Ok(Polled::End) => break true,
                    Err(_) => break false,
                    Ok(_) => assert!(polls < 1000),
                }
            };
            assert_eq!((ended, source.capture().is_some()), (expected, expected));
        }
    }
}
