//! Reading the ring buffer.
//!
//! A reader that drains and goes straight back to waiting makes the kernel wake it for every record, which costs the traced
//! programs ten times as much. So after each wake-up it pauses a few milliseconds: what comes meanwhile needs no wake-up.
//! An idle host wakes nobody.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use aya::maps::{MapData, RingBuf};
use finwait_core::MonoNs;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::time::Timespec;

use super::{host::monotonic_now, positions::Positions};

const DEFAULT_PAUSE: Duration = Duration::from_millis(5);
const DEFAULT_BATCH: usize = 4096;

/// Why the ring cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// Waiting failed.
    #[error("poll on the ring buffer: {0}")]
    Poll(#[source] io::Error),
    /// Its first pages cannot be looked at.
    #[error("mapping the ring buffer: {0}")]
    Map(#[source] io::Error),
    /// No descriptor for stopping.
    #[error("eventfd: {0}")]
    Eventfd(#[source] io::Error),
}

/// Ends the reader's waiting from another thread: for good, or this once.
#[derive(Clone, Debug)]
pub struct Stop {
    raised: Arc<OwnedFd>,
    nudged: Arc<OwnedFd>,
}

impl Stop {
    /// A stop that nobody has raised.
    ///
    /// # Errors
    /// eventfd(2) failed.
    pub fn new() -> Result<Self, RingError> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let new = || eventfd(0, flags).map(Arc::new).map_err(|errno| RingError::Eventfd(errno.into()));
        Ok(Self { raised: new()?, nudged: new()? })
    }

    /// Raises it, for good.
    pub fn raise(&self) {
        // Fails only when it was raised 2⁶⁴ − 1 times.
        let _ = rustix::io::write(&*self.raised, &1u64.to_ne_bytes());
    }

    /// Ends one wait, the present or the next one.
    pub fn nudge(&self) {
        // Fails only when it was nudged 2⁶⁴ − 1 times meanwhile.
        let _ = rustix::io::write(&*self.nudged, &1u64.to_ne_bytes());
    }

    /// Waits until it is raised or nudged.
    pub fn wait(&self) {
        let ends = [&self.raised, &self.nudged];
        let mut fds = ends.map(|end| PollFd::from_borrowed_fd(end.as_fd(), PollFlags::IN));
        // A signal: whoever calls looks whether to wait on.
        let _ = poll(&mut fds, None);
        self.calm();
    }

    /// The same, and no longer than `timeout`.
    pub fn wait_for(&self, timeout: Duration) {
        let ends = [&self.raised, &self.nudged];
        let mut fds = ends.map(|end| PollFd::from_borrowed_fd(end.as_fd(), PollFlags::IN));
        let _ = poll(&mut fds, Timespec::try_from(timeout).ok().as_ref());
        self.calm();
    }

    /// A nudge that was noticed is over. Without one the read fails, and nothing is to be done.
    fn calm(&self) {
        let _ = rustix::io::read(&*self.nudged, &mut [0; 8]);
    }
}

/// What one [`RingReader::read`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Records handed over
    pub records: usize,
    /// Set when the ring was found empty, with no record under way: none from before this moment can still come
    pub watermark: Option<MonoNs>,
    /// The stop was raised
    pub stopped: bool,
}

/// The ring buffer's one reader.
pub struct RingReader {
    ring: RingBuf<MapData>,
    positions: Positions,
    pause: Duration,
    batch: usize,
    /// Set while there is more to drain: the clock as it was before the pause, and whether the stop was raised.
    draining: Option<(MonoNs, bool)>,
}

impl RingReader {
    pub(super) fn new(ring: RingBuf<MapData>) -> Result<Self, RingError> {
        let positions = Positions::of(ring.as_fd()).map_err(RingError::Map)?;
        Ok(Self { ring, positions, pause: DEFAULT_PAUSE, batch: DEFAULT_BATCH, draining: None })
    }

    /// Sets how long to pause after a wake-up (5 ms unless set).
    #[must_use]
    pub fn with_pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Sets how many records to hand over at most in one call (4096 unless set), so that nothing else starves.
    #[must_use]
    pub fn with_batch(mut self, batch: usize) -> Self {
        self.batch = batch.max(1);
        self
    }

    /// Waits for records, for `stop`, or for `timeout` to pass; pauses; hands over what is there, up to one batch. The next
    /// call goes on without waiting if that was not all.
    ///
    /// # Errors
    /// poll(2) failed.
    pub fn read(
        &mut self,
        stop: &Stop,
        timeout: Duration,
        mut record: impl FnMut(&[u8]),
    ) -> Result<Batch, RingError> {
        let (before, stopped) = match self.draining.take() {
            Some(state) => state,
            None => {
                let stopped = self.wait(stop, timeout)?;
                // Before the pause: a program that read the clock earlier has most likely submitted by the end of it.
                let before = monotonic_now();
                std::thread::sleep(self.pause);
                (before, stopped)
            }
        };
        let mut records = 0;
        while records < self.batch {
            let Some(item) = self.ring.next() else {
                // A task that was preempted inside a program has room in the ring and has not filled it yet.
                let watermark = self.positions.are_equal().then_some(before);
                return Ok(Batch { records, watermark, stopped });
            };
            record(&item);
            records += 1;
        }
        self.draining = Some((before, stopped));
        Ok(Batch { records, watermark: None, stopped })
    }

    /// True if the stop was raised.
    fn wait(&self, stop: &Stop, timeout: Duration) -> Result<bool, RingError> {
        let mut fds = [
            PollFd::from_borrowed_fd(self.ring.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(stop.raised.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(stop.nudged.as_fd(), PollFlags::IN),
        ];
        let timeout = Timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        match poll(&mut fds, Some(&timeout)) {
            // A signal: whoever calls decides whether to wait on.
            Ok(_) | Err(rustix::io::Errno::INTR) => {
                stop.calm();
                Ok(fds[1].revents().contains(PollFlags::IN))
            }
            Err(errno) => Err(RingError::Poll(errno.into())),
        }
    }
}
