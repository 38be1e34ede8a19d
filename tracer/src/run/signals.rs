//! SIGINT and SIGTERM: the main thread waits for them while the loop runs on its own.

use std::io;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinError;

use super::Stop;
use crate::probe::RingError;

/// Exit status of a process that SIGINT ended.
const INTERRUPTED: i32 = 128 + 2;

/// Why work could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// The system refuses handlers or threads
    #[error("cannot wait for signals: {0}")]
    Signals(#[from] io::Error),
    /// No descriptor to wake up the loop
    #[error("cannot prepare to be stopped: {0}")]
    Stop(#[from] RingError),
    /// A bug in finwait
    #[error("the event loop broke off: {0}")]
    Loop(#[from] JoinError),
}

/// Runs `work` on a thread of its own and asks it to stop at the first signal. A second one does not wait.
pub(super) fn supervise<T: Send + 'static>(
    stop: &Stop,
    work: impl FnOnce(&Stop) -> T + Send + 'static,
) -> Result<T, SuperviseError> {
    Builder::new_current_thread().enable_io().build()?.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let for_work = stop.clone();
        let mut worker = tokio::task::spawn_blocking(move || work(&for_work));
        loop {
            tokio::select! {
                done = &mut worker => return Ok(done?),
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if stop.is_requested() {
                std::process::exit(INTERRUPTED);
            }
            stop.request();
        }
    })
}
