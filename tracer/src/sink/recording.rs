//! Recordings: every observation as one JSON object a line, exactly as `-r` reads it.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use finwait_core::Observation;

use super::{SinkError, Tap};

/// See the module.
pub struct RecordingSink {
    out: Box<dyn Write + Send>,
    place: String,
}

impl RecordingSink {
    /// Writes to a file at `path`, in place of what was there.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(path: &Path) -> Result<Self, SinkError> {
        let place = super::safe(&path.display().to_string()).into_owned();
        match File::create(path) {
            Ok(file) => Ok(Self::new(Box::new(io::BufWriter::with_capacity(1 << 16, file)), place)),
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
