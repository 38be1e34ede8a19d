//! Recordings: every observation as one JSON object a line, exactly as `-r` reads it.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use finwait_core::Observation;

use super::{SinkError, Tap};
use crate::recording;

/// See the module.
pub struct RecordingSink {
    out: Box<dyn Write + Send>,
    place: String,
}

impl RecordingSink {
    /// Writes to a file at `path`, for its owner alone, in place of what was there.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(path: &Path) -> Result<Self, SinkError> {
        let place = super::safe(&path.display().to_string()).into_owned();
        match recording::open(path, false) {
            Ok(file) => {
                let replacing = Replacing { file, begun: false };
                Ok(Self::new(Box::new(io::BufWriter::with_capacity(1 << 16, replacing)), place))
            }
            Err(source) => Err(SinkError::Create { place, source }),
        }
    }

    /// Writes to `out`, which messages call `place`.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>, place: String) -> Self {
        Self { out, place }
    }

    fn failed(&self, source: io::Error) -> SinkError {
        SinkError::Write { place: self.place.clone(), source }
    }
}

/// A file whose content is replaced once there is something to replace it.
struct Replacing {
    file: File,
    begun: bool,
}

impl Write for Replacing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !std::mem::replace(&mut self.begun, true) {
            recording::replace(&self.file)?;
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Tap for RecordingSink {
    fn observation(&mut self, observation: &Observation) -> Result<(), SinkError> {
        serde_json::to_writer(&mut self.out, observation)
            .map_err(io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"))
            .map_err(|source| self.failed(source))
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        self.out.flush().map_err(|source| self.failed(source))
    }
}
