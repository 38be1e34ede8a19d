//! The wish to end, from a signal handler to the loop.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A flag, and a descriptor that becomes readable with it: a source may wait on that together with its own.
#[derive(Clone, Debug)]
pub struct Stop(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    requested: AtomicBool,
    reader: PipeReader,
    writer: Mutex<Option<PipeWriter>>,
}

impl Stop {
    /// Not requested yet.
    ///
    /// # Errors
    /// When the system has no pipe left.
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let requested = AtomicBool::new(false);
        Ok(Self(Arc::new(Inner { requested, reader, writer: Mutex::new(Some(writer)) })))
    }

    /// Asks for the end.
    pub fn request(&self) {
        self.0.requested.store(true, Ordering::Release);
        // Without a writer the pipe is at its end, for which poll() wakes up too.
        drop(self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Whether the end was asked for.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.requested.load(Ordering::Acquire)
    }
}

impl AsFd for Stop {
    /// Hangs up (POLLHUP) once the end is asked for.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.reader.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_request_reaches_every_clone_and_ends_the_pipe() {
        let stop = Stop::new().unwrap();
        let other = stop.clone();
        assert!(!other.is_requested());
        stop.request();
        stop.request();
        assert!(other.is_requested());
        let mut reader = io::PipeReader::from(other.as_fd().try_clone_to_owned().unwrap());
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    }
}
