//! How much of a file has been read, for people who wait: one line on stderr that is written over, and gone at the end.
//!
//! A file that is read in no time shows none.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use finwait_core::Observation;

use super::{CaptureBooks, Polled, ReadShare, Source, SourceError, Take, Unread};
use crate::probe::ProgramCosts;

/// Nothing is drawn before.
const PATIENCE: Duration = Duration::from_millis(300);
/// Nor more often.
const PAUSE: Duration = Duration::from_millis(100);
/// Cells of the bar.
const CELLS: u64 = 30;
/// Back to the first column, and nothing behind the cursor.
const CLEAR: &str = "\r\x1b[K";

/// Another source, with the line while it is polled.
pub struct WatchedSource<W: Write> {
    inner: Box<dyn Source + Send>,
    out: W,
    due: Instant,
    drawn: bool,
}

impl WatchedSource<io::Stderr> {
    /// `inner`, watched on stderr, which is a terminal.
    #[must_use]
    pub fn on_stderr(inner: Box<dyn Source + Send>) -> Self {
        Self::new(inner, io::stderr(), PATIENCE)
    }
}

impl<W: Write> WatchedSource<W> {
    fn new(inner: Box<dyn Source + Send>, out: W, patience: Duration) -> Self {
        Self { inner, out, due: Instant::now() + patience, drawn: false }
    }

    /// A terminal that is gone is no reason to fail.
    fn draw(&mut self) {
        let now = Instant::now();
        if now < self.due {
            return;
        }
        self.due = now + PAUSE;
        if let Some(share) = self.inner.read_share() {
            _ = write!(self.out, "{CLEAR}{}", line(share)).and_then(|()| self.out.flush());
            self.drawn = true;
        }
    }

    fn show(&mut self, polled: &Result<Polled, SourceError>) {
        match polled {
            Ok(Polled::Events | Polled::Idle) => self.draw(),
            Ok(Polled::End) | Err(_) => self.erase(),
        }
    }

    fn erase(&mut self) {
        if std::mem::take(&mut self.drawn) {
            _ = write!(self.out, "{CLEAR}").and_then(|()| self.out.flush());
        }
    }
}

/// `reading [#######.......................]  23 % of 1.2G`
fn line(share: ReadShare) -> String {
    let of = |whole: u64| {
        let part = u128::from(share.read.min(share.size)) * u128::from(whole);
        usize::try_from(part / u128::from(share.size.max(1))).unwrap_or(0)
    };
    let (full, cells) = (of(CELLS), CELLS as usize);
    let bar = "#".repeat(full) + &".".repeat(cells - full);
    format!("reading [{bar}] {:>3} % of {}", of(100), crate::sink::human::bytes(share.size))
}

impl<W: Write> Drop for WatchedSource<W> {
    fn drop(&mut self) {
        self.erase();
    }
}

impl<W: Write + Send> Source for WatchedSource<W> {
    fn poll(&mut self, batch: &mut Vec<Observation>, timeout: Duration) -> Result<Polled, SourceError> {
        let polled = self.inner.poll(batch, timeout);
        self.show(&polled);
        polled
    }

    fn lend(&mut self, timeout: Duration, take: &mut Take<'_>) -> Result<Polled, SourceError> {
        let polled = self.inner.lend(timeout, take);
        self.show(&polled);
        polled
    }

    fn close(&mut self) {
        self.erase();
        self.due = Instant::now() + Duration::from_secs(3_600);
        self.inner.close();
    }

    fn unread(&self) -> Option<Unread> {
        self.inner.unread()
    }

    fn capture(&self) -> Option<&CaptureBooks> {
        self.inner.capture()
    }

    fn program_costs(&self) -> Option<Arc<ProgramCosts>> {
        self.inner.program_costs()
    }

    fn read_share(&self) -> Option<ReadShare> {
        self.inner.read_share()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples_for_tests::Shared;

    /// Half read at the first poll, at its end at the second.
    struct Half(bool);

    impl Source for Half {
        fn poll(&mut self, _: &mut Vec<Observation>, _: Duration) -> Result<Polled, SourceError> {
            let first = std::mem::replace(&mut self.0, true);
            Ok(if first { Polled::End } else { Polled::Events })
        }

        fn close(&mut self) {}

        fn read_share(&self) -> Option<ReadShare> {
            Some(ReadShare { read: 50, size: 100 })
        }
    }

    fn polled(patience: Duration, polls: usize) -> (Shared, WatchedSource<Shared>) {
        let out = Shared::default();
        let mut source = WatchedSource::new(Box::new(Half(false)), out.clone(), patience);
        for _ in 0..polls {
            source.poll(&mut Vec::new(), Duration::ZERO).unwrap();
        }
        (out, source)
    }

    #[test]
    fn the_line_says_how_much_is_read_and_is_gone_at_the_end() {
        let (out, _source) = polled(Duration::ZERO, 1);
        assert!(
            out.text().ends_with("reading [###############...............]  50 % of 100"),
            "{}",
            out.text()
        );
        let (out, _source) = polled(Duration::ZERO, 2);
        assert!(out.text().ends_with(CLEAR));
        let (out, source) = polled(Duration::ZERO, 1);
        drop(source);
        assert!(out.text().ends_with(CLEAR), "an error or a signal leaves nothing behind");
    }

    #[test]
    fn what_is_read_in_no_time_shows_nothing() {
        let (out, _source) = polled(Duration::from_secs(3_600), 2);
        assert_eq!(out.text(), "");
    }

    #[test]
    fn more_than_the_file_had_is_all_of_it() {
        assert!(line(ReadShare { read: 9, size: 3 }).contains("100 %"), "it grew meanwhile");
        assert!(line(ReadShare { read: 0, size: 0 }).contains("  0 %"));
    }
}
