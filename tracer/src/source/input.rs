//! A file whose kind is told by its first bytes: a recording or a packet capture. stdin likewise; it is not waited for.

use std::io::{self, BufRead, Cursor, Read};
use std::path::Path;
use std::time::Duration;

use finwait_core::Observation;

use super::pcap::{self, CaptureBooks, PcapSource};
use super::pipe::Pipe;
use super::recording::{self, RecordingError, RecordingSource};
use super::{Polled, Source, SourceError, Unread};

/// As many bytes as tell the kinds apart.
const MAGIC: usize = 4;

/// See the module.
pub struct FileSource {
    kind: Kind,
    place: String,
}

enum Kind {
    /// Too little has come to tell
    Open {
        input: Box<dyn BufRead + Send>,
        head: Vec<u8>,
    },
    Told(Box<dyn Source + Send>),
    /// Closed before it was told
    Closed,
}

impl FileSource {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let place = crate::sink::safe(&path.display().to_string()).into_owned();
        match recording::input(path) {
            Ok(input) => Ok(Self::new(input, place)),
            Err(source) => Err(RecordingError::Io { action: "open", place, source }),
        }
    }

    /// Reads stdin.
    #[must_use]
    pub fn stdin() -> Self {
        Self::new(Box::new(Pipe::new(io::stdin())), "stdin".to_owned())
    }

    /// Reads `input`, which messages call `place`.
    #[must_use]
    pub fn new(input: Box<dyn BufRead + Send>, place: String) -> Self {
        Self { kind: Kind::Open { input, head: Vec::new() }, place }
    }

    /// Whether the kind is known now.
    fn tell(&mut self) -> Result<bool, RecordingError> {
        let Kind::Open { input, head } = &mut self.kind else { return Ok(true) };
        while head.len() < MAGIC {
            let mut bytes = [0; MAGIC];
            match input.read(&mut bytes[..MAGIC - head.len()]) {
                Ok(0) => break,
                Ok(read) => head.extend_from_slice(&bytes[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(source) => {
                    return Err(RecordingError::Io { action: "read", place: self.place.clone(), source });
                }
            }
        }
        if let Kind::Open { input, head } = std::mem::replace(&mut self.kind, Kind::Closed) {
            let capture = pcap::is_capture(&head);
            let input: Box<dyn BufRead + Send> = Box::new(Cursor::new(head).chain(input));
            let place = self.place.clone();
            self.kind = Kind::Told(match capture {
                true => Box::new(PcapSource::new(input, place)),
                false => Box::new(RecordingSource::new(input, place)),
            });
        }
        Ok(true)
    }

    fn told(&self) -> Option<&(dyn Source + Send)> {
        match &self.kind {
            Kind::Told(source) => Some(source.as_ref()),
            Kind::Open { .. } | Kind::Closed => None,
        }
    }
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

    fn close(&mut self) {
        match &mut self.kind {
            Kind::Told(source) => source.close(),
            kind => *kind = Kind::Closed,
        }
    }

    fn unread(&self) -> Option<&Unread> {
        self.told()?.unread()
    }

    fn capture(&self) -> Option<&CaptureBooks> {
        self.told()?.capture()
    }
}
