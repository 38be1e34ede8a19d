//! The wish to end, from a signal handler to the loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::probe::{self, RingError};

/// A flag, and what wakes up a source that waits for the kernel.
#[derive(Clone, Debug)]
pub struct Stop {
    requested: Arc<AtomicBool>,
    waker: probe::Stop,
}

impl Stop {
    /// Not requested yet.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn new() -> Result<Self, RingError> {
        Ok(Self { requested: Arc::default(), waker: probe::Stop::new()? })
    }

    /// Asks for the end.
    pub fn request(&self) {
        self.requested.store(true, Ordering::Release);
        self.waker.raise();
    }

    /// Whether the end was asked for.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Acquire)
    }

    /// Waits until the end was asked for; `nudged` is what to do each time that the waker is nudged.
    pub fn wait(&self, nudged: impl Fn()) {
        while !self.is_requested() {
            self.waker.wait();
            nudged();
        }
    }

    /// For a source to wait on together with its own.
    #[must_use]
    pub fn waker(&self) -> &probe::Stop {
        &self.waker
    }
}
