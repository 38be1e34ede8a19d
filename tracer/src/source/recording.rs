//! A recording in text as a source: one observation a line, the host first.
//!
//! The file is untrusted. A line that cannot be read is counted and passed over; a file whose first line is no host is
//! no recording at all.

use std::io::{self, BufRead};
use std::time::Duration;

use finwait_core::Observation;
use finwait_core::observation::SCHEMA;

use super::lines::{Line, Lines};
use super::{Polled, Source, SourceError, Unread, UnreadLines};

/// Observations handed out by one poll: many enough to be cheap, few enough to notice a stop.
const BATCH: usize = 1024;

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The system refuses
    #[error("cannot {action} {place}: {source}")]
    Io {
        /// open or read
        action: &'static str,
        /// Path, or stdin
        place: String,
        /// Why
        source: io::Error,
    },
    /// Something else
    #[error("{place} is neither a finwait recording nor a packet capture: {detail}")]
    NoRecording {
        /// Path, or stdin
        place: String,
        /// What its first line is
        detail: String,
    },
    /// Written by a later version
    #[error(
        "{place} is a recording of version {found}; this finwait reads up to version {}",
        crate::recording::frame::VERSION
    )]
    Version {
        /// Path, or stdin
        place: String,
        /// The recording's version
        found: u16,
    },
    /// Written by another version
    #[error("{place} is a recording of schema {found}; this finwait reads schema {}", SCHEMA)]
    Schema {
        /// Path, or stdin
        place: String,
        /// The recording's schema
        found: u32,
    },
}

/// See the module.
pub(super) struct LineSource {
    lines: Lines<Box<dyn BufRead + Send>>,
    place: String,
    line_number: u64,
    unread: Option<UnreadLines>,
    begun: bool,
    ended: bool,
}

impl LineSource {
    /// Reads `input`, which messages call `place`.
    pub(super) fn new(input: Box<dyn BufRead + Send>, place: String) -> Self {
        let lines = Lines::new(input);
        Self { lines, place, line_number: 0, unread: None, begun: false, ended: false }
    }

    fn next(&mut self) -> Result<Next, RecordingError> {
        loop {
            let line = self.lines.next().map_err(|source| RecordingError::Io {
                action: "read",
                place: self.place.clone(),
                source,
            })?;
            match line {
                Line::Pending => return Ok(Next::Pending),
                Line::End if self.begun => return Ok(Next::End),
                Line::End => return Err(self.no_recording("it is empty".to_owned())),
                Line::TooLong | Line::Complete => self.line_number += 1,
            }
            if line == Line::TooLong {
                self.refuse("longer than any observation".to_owned())?;
            } else if !self.lines.text().trim_ascii().is_empty() {
                match serde_json::from_slice(self.lines.text()) {
                    Ok(observation) => return self.accept(observation).map(Next::Observation),
                    Err(error) => self.refuse(without_position(&error))?,
                }
            }
        }
    }

    fn accept(&mut self, observation: Observation) -> Result<Observation, RecordingError> {
        match &observation {
            Observation::Host(host) if host.schema != SCHEMA => {
                return Err(RecordingError::Schema { place: self.place.clone(), found: host.schema });
            }
            Observation::Host(_) => self.begun = true,
            _ if !self.begun => {
                return Err(self.no_recording("its first line does not name the host".to_owned()));
            }
            _ => {}
        }
        Ok(observation)
    }

    /// Counts the line just read as one that says nothing; as the first one it condemns the file.
    fn refuse(&mut self, detail: String) -> Result<(), RecordingError> {
        if !self.begun {
            return Err(self.no_recording(format!("line {}: {detail}", self.line_number)));
        }
        match &mut self.unread {
            Some(unread) => unread.lines += 1,
            None => {
                let (first_line, place) = (self.line_number, self.place.clone());
                self.unread = Some(UnreadLines { lines: 1, first_line, detail, place });
            }
        }
        Ok(())
    }

    fn no_recording(&self, detail: String) -> RecordingError {
        RecordingError::NoRecording { place: self.place.clone(), detail }
    }
}

/// What the next readable line holds.
enum Next {
    Observation(Observation),
    Pending,
    End,
}

/// serde_json's message names line and column of the object alone, which would be taken for the file's; what it
/// quotes is the file's text.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    crate::sink::safe(text).into_owned()
}

impl Source for LineSource {
    fn poll(&mut self, batch: &mut Vec<Observation>, _timeout: Duration) -> Result<Polled, SourceError> {
        if self.ended {
            return Ok(Polled::End);
        }
        for _ in 0..BATCH {
            match self.next()? {
                Next::Observation(observation) => batch.push(observation),
                Next::Pending if batch.is_empty() => return Ok(Polled::Idle),
                Next::Pending => break,
                Next::End => {
                    self.ended = true;
                    return Ok(Polled::End);
                }
            }
        }
        Ok(Polled::Events)
    }

    fn close(&mut self) {
        self.ended = true;
    }

    fn unread(&self) -> Option<Unread> {
        self.unread.clone().map(Unread::Lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = r#"{"observation":"host","schema":1,"boot_id":"4f1c09ab-2f3a-4b5c-8d6e-7f8091a2b3c4","kernel":"6.18.44","tier":"tp_btf","time_ns":5}"#;
    const MARK: &str = r#"{"observation":"watermark","time_ns":9}"#;

    fn read(text: impl Into<Vec<u8>>) -> (Result<Polled, String>, Vec<Observation>, Option<UnreadLines>) {
        let input = Box::new(io::Cursor::new(text.into()));
        let mut source = LineSource::new(input, "trace.jsonl".to_owned());
        let mut batch = Vec::new();
        let polled = source.poll(&mut batch, Duration::ZERO).map_err(|error| error.to_string());
        (polled, batch, source.unread.clone())
    }

    #[test]
    fn lines_become_observations_in_their_order() {
        let (polled, batch, unread) = read(format!("{HOST}\n\n{MARK}\r\n{MARK}"));
        assert_eq!((polled, batch.len(), unread), (Ok(Polled::End), 3, None));
        assert!(matches!(batch[0], Observation::Host(_)));
    }

    #[test]
    fn bad_lines_are_counted_and_the_first_is_named() {
        let text = format!(
            "{HOST}\n{{\n{MARK}\n\u{1b}[31m\n{}\n{MARK}\n",
            "x".repeat(super::super::lines::MAX_LINE * 2)
        );
        let (polled, batch, unread) = read(text);
        assert_eq!((polled, batch.len()), (Ok(Polled::End), 3));
        let unread = unread.unwrap();
        assert_eq!((unread.lines, unread.first_line), (3, 2));
        assert!(!unread.detail.contains("line 1"), "{}", unread.detail);
    }

    #[test]
    fn what_a_bad_line_says_cannot_reach_the_terminal() {
        let text = format!("{HOST}\n{{\"observation\":\"\\u001b]0;gone\\u0007\"}}\n");
        let detail = read(text).2.unwrap().detail;
        assert!(detail.contains("gone") && !detail.contains('\u{1b}'), "{detail}");
    }

    #[test]
    fn a_file_that_is_no_recording_is_refused_by_name() {
        for text in [&b""[..], b"\n\n", b"\x7fELF\x02\x01\x01", b"{}", b"[1]\n", MARK.as_bytes()] {
            let message = read(text).0.unwrap_err();
            assert!(
                message.starts_with("trace.jsonl is neither a finwait recording nor a packet capture: "),
                "{message}"
            );
        }
    }

    #[test]
    fn a_recording_of_another_schema_is_refused() {
        let message = read(HOST.replace("\"schema\":1", "\"schema\":2")).0.unwrap_err();
        assert_eq!(message, "trace.jsonl is a recording of schema 2; this finwait reads schema 1");
    }

    #[test]
    fn after_close_nothing_more_comes() {
        let text = format!("{HOST}\n") + &format!("{MARK}\n").repeat(3000);
        let mut source = LineSource::new(Box::new(io::Cursor::new(text)), "x".to_owned());
        let mut batch = Vec::new();
        assert_eq!(source.poll(&mut batch, Duration::ZERO).unwrap(), Polled::Events);
        let seen = batch.len();
        source.close();
        assert_eq!(source.poll(&mut batch, Duration::ZERO).unwrap(), Polled::End);
        assert_eq!(batch.len(), seen);
    }
}
