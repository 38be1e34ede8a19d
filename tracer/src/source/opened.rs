//! A recording of any kind: what it is, its first bytes tell.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use finwait_core::Observation;

use super::pipe::Pipe;
use super::recording::{LineSource, RecordingError};
use super::unpacked::Unpacked;
use super::{Polled, Source, SourceError, Unread};
use crate::recording::FrameSource;
use crate::recording::frame::{FILE_MAGIC, FRAME_MAGIC};

type Input = Box<dyn BufRead + Send>;

const BUFFER: usize = 1 << 16;

/// A recording, in text or binary, packed with gzip or zstd or not.
pub struct RecordingSource {
    place: String,
    kind: Kind,
}

enum Kind {
    /// Nothing of it has come yet
    Unknown(Option<Input>),
    Known(Box<dyn Source + Send>),
}

impl RecordingSource {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let place = crate::sink::safe(&path.display().to_string()).into_owned();
        match input(path) {
            Ok(input) => Ok(Self::new(input, place)),
            Err(source) => Err(RecordingError::Io { action: "open", place, source }),
        }
    }

    /// Reads stdin.
    #[must_use]
    pub fn stdin() -> Self {
        Self::new(Box::new(Pipe::new(Unpacked::new(io::stdin()))), "stdin".to_owned())
    }

    fn new(input: Input, place: String) -> Self {
        Self { place, kind: Kind::Unknown(Some(input)) }
    }

    fn is_closed(&self) -> bool {
        matches!(self.kind, Kind::Unknown(None))
    }

    /// The source behind it, once the first bytes are there.
    fn source(&mut self) -> Result<Option<&mut Box<dyn Source + Send>>, RecordingError> {
        if let Kind::Unknown(input) = &mut self.kind {
            let failed = |source| RecordingError::Io { action: "read", place: self.place.clone(), source };
            let binary = match input.as_mut().map(|input| input.fill_buf()) {
                Some(Ok(head)) => is_binary(head),
                Some(Err(error)) if is_for_later(&error) => return Ok(None),
                Some(Err(error)) => return Err(failed(error)),
                None => return Ok(None),
            };
            let Some(input) = input.take() else { return Ok(None) };
            self.kind = Kind::Known(if binary {
                Box::new(FrameSource::new(input, self.place.clone())?)
            } else {
                Box::new(LineSource::new(input, self.place.clone()))
            });
        }
        Ok(match &mut self.kind {
            Kind::Known(source) => Some(source),
            Kind::Unknown(_) => None,
        })
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Text never begins with these bytes; of a file whose own beginning is damaged a frame tells.
fn is_binary(head: &[u8]) -> bool {
    let first = head.first();
    let text = first.is_none_or(|byte| *byte == b'{' || byte.is_ascii_whitespace());
    let begins = first == Some(&FILE_MAGIC[0]) || first == Some(&FRAME_MAGIC[0]);
    begins || (!text && head.windows(FRAME_MAGIC.len()).any(|bytes| bytes == FRAME_MAGIC))
}

fn input(path: &Path) -> io::Result<Input> {
    let file = File::open(path)?;
    let kind = file.metadata()?;
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if kind.is_file() {
        return Ok(Box::new(BufReader::with_capacity(BUFFER, Unpacked::new(file))));
    }
    Ok(Box::new(Pipe::new(Unpacked::new(file))))
}

impl Source for RecordingSource {
    fn poll(&mut self, batch: &mut Vec<Observation>, timeout: Duration) -> Result<Polled, SourceError> {
        if self.is_closed() {
            return Ok(Polled::End);
        }
        match self.source()? {
            Some(source) => source.poll(batch, timeout),
            None => Ok(Polled::Idle),
        }
    }

    fn close(&mut self) {
        match &mut self.kind {
            Kind::Known(source) => source.close(),
            Kind::Unknown(input) => *input = None,
        }
    }

    fn unread(&self) -> Option<Unread> {
        match &self.kind {
            Kind::Known(source) => source.unread(),
            Kind::Unknown(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_cannot_be_opened_is_named() {
        for path in ["/nonexistent/trace.fwr", "/"] {
            let message = RecordingSource::open(Path::new(path)).err().unwrap().to_string();
            assert!(message.starts_with(&format!("cannot open {path}: ")), "{message}");
        }
    }

    #[test]
    fn a_beginning_tells_text_from_frames() {
        let mut damaged = vec![0; 44];
        damaged.extend_from_slice(&FRAME_MAGIC);
        for head in [&FILE_MAGIC[..], &FILE_MAGIC[..1], &FRAME_MAGIC, &damaged] {
            assert!(is_binary(head), "{head:?}");
        }
        for head in [&b"{\"observation\""[..], b"\n{", b"", b"[1]", b"\x7fELF"] {
            assert!(!is_binary(head), "{head:?}");
        }
    }
}
