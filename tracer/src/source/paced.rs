//! A source in the time of its events: it hands out what another one holds when its moment has come, counted from the first and divided
//! by a factor. It waits no longer than it is allowed to, and not at all once a stop is raised.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use finwait_core::{MonoNs, Observation};

use super::{CaptureBooks, Polled, ReadShare, Source, SourceError, Unread};
use crate::probe::{ProgramCosts, Stop};

/// See the module.
pub struct PacedSource {
    inner: Box<dyn Source + Send>,
    /// Seconds of events in one of the clock; positive
    speed: f64,
    stop: Stop,
    /// Read, and not due yet
    held: VecDeque<Observation>,
    began: Option<(MonoNs, Instant)>,
    inner_ended: bool,
    closed: bool,
}

impl PacedSource {
    /// `inner`, `speed` times as fast as it happened; `stop` ends each wait.
    #[must_use]
    pub fn new(inner: Box<dyn Source + Send>, speed: f64, stop: Stop) -> Self {
        Self { inner, speed, stop, held: VecDeque::new(), began: None, inner_ended: false, closed: false }
    }

    /// How long `observation` has to wait; zero for what is late, and for what has no time of its own.
    fn wait(&mut self, at: Option<MonoNs>) -> Duration {
        let Some(at) = at else { return Duration::ZERO };
        let (first, began) = *self.began.get_or_insert_with(|| (at, Instant::now()));
        let after = at.since(first).unwrap_or(0) as f64 / 1e9 / self.speed;
        let after = Duration::try_from_secs_f64(after).unwrap_or(Duration::MAX);
        after.saturating_sub(began.elapsed())
    }

    /// Moves what is due to `batch`; how long the next one has to wait, if there is one.
    fn release(&mut self, batch: &mut Vec<Observation>) -> Option<Duration> {
        while let Some(at) = self.held.front().map(Observation::at) {
            let wait = self.wait(at);
            if !wait.is_zero() {
                return Some(wait);
            }
            batch.extend(self.held.pop_front());
        }
        None
    }

    fn fill(&mut self, timeout: Duration) -> Result<Polled, SourceError> {
        let mut batch = Vec::new();
        let polled = self.inner.poll(&mut batch, timeout)?;
        self.held.extend(batch);
        self.inner_ended = polled == Polled::End;
        Ok(polled)
    }
}

impl Source for PacedSource {
    fn poll(&mut self, batch: &mut Vec<Observation>, timeout: Duration) -> Result<Polled, SourceError> {
        if self.closed {
            return Ok(Polled::End);
        }
        let begun = batch.len();
        if self.held.is_empty() && !self.inner_ended {
            let polled = self.fill(timeout)?;
            if self.held.is_empty() {
                return Ok(polled);
            }
        }
        if let Some(wait) = self.release(batch)
            && batch.len() == begun
        {
            self.stop.wait_for(wait.min(timeout));
            self.release(batch);
        }
        Ok(match (self.held.is_empty() && self.inner_ended, batch.len() == begun) {
            (true, _) => Polled::End,
            (false, true) => Polled::Idle,
            (false, false) => Polled::Events,
        })
    }

    /// What is not due has not happened.
    fn close(&mut self) {
        self.inner.close();
        self.closed = true;
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
    use finwait_core::observation::Watermark;

    use super::*;

    const MS: u64 = 1_000_000;

    /// Hands out marks at these milliseconds, two a poll.
    struct Marks(VecDeque<u64>);

    impl Source for Marks {
        fn poll(&mut self, batch: &mut Vec<Observation>, _: Duration) -> Result<Polled, SourceError> {
            for ms in self.0.drain(..self.0.len().min(2)) {
                batch.push(Observation::Watermark(Watermark { at: MonoNs(ms * MS) }));
            }
            Ok(if self.0.is_empty() { Polled::End } else { Polled::Events })
        }

        fn close(&mut self) {
            self.0.clear();
        }
    }

    fn paced(marks: &[u64], speed: f64) -> (PacedSource, Stop) {
        let stop = Stop::new().unwrap();
        let marks = Marks(marks.iter().copied().collect());
        (PacedSource::new(Box::new(marks), speed, stop.clone()), stop)
    }

    /// Reads to the end; how many came, and how long it took.
    fn read(source: &mut PacedSource) -> (usize, Duration) {
        let (began, mut batch) = (Instant::now(), Vec::new());
        while source.poll(&mut batch, Duration::from_millis(20)).unwrap() != Polled::End {}
        (batch.len(), began.elapsed())
    }

    #[test]
    fn events_come_as_far_apart_as_they_happened_divided_by_the_factor() {
        for (speed, at_least) in [(1.0, 200), (4.0, 50)] {
            let (mut source, _) = paced(&[5_000, 5_010, 5_100, 5_090, 5_200], speed);
            let (came, took) = read(&mut source);
            assert_eq!(came, 5);
            assert!(took >= Duration::from_millis(at_least), "{took:?} at {speed}");
            assert!(took < Duration::from_millis(at_least * 10), "{took:?} at {speed}");
        }
    }

    #[test]
    fn no_poll_waits_longer_than_it_may() {
        let (mut source, _) = paced(&[0, 3_600_000], 1.0);
        let mut batch = Vec::new();
        assert_eq!(source.poll(&mut batch, Duration::from_millis(10)).unwrap(), Polled::Events);
        let began = Instant::now();
        assert_eq!(source.poll(&mut batch, Duration::from_millis(10)).unwrap(), Polled::Idle);
        assert!(began.elapsed() < Duration::from_secs(5));
        assert_eq!(batch.len(), 1);
    }

    #[test]
    fn a_stop_ends_a_wait_at_once_and_what_is_not_due_is_not_told() {
        let (mut source, stop) = paced(&[0, 3_600_000], 1.0);
        let mut batch = Vec::new();
        source.poll(&mut batch, Duration::ZERO).unwrap();
        stop.raise();
        let began = Instant::now();
        source.poll(&mut batch, Duration::from_secs(600)).unwrap();
        assert!(began.elapsed() < Duration::from_secs(60));
        source.close();
        assert_eq!(source.poll(&mut batch, Duration::ZERO).unwrap(), Polled::End);
        assert_eq!(batch.len(), 1);
    }
}
