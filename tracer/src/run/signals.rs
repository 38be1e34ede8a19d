//! SIGINT and SIGTERM: the main thread waits for them while the loop runs on its own.

use std::io;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinError;

use super::Stop;
use crate::probe::RingError;

/// Exit status of a process that SIGINT ended.
const INTERRUPTED: i32 = 128 + 2;

/// What comes so soon after a signal is the same wish: `timeout` sends its own to the process and to its group.
const SAME_WISH: Duration = Duration::from_millis(500);

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

/// The signals that ask for an end. From [`Signals::listen`] on they do not kill the process any more.
pub(super) struct Signals {
    runtime: Runtime,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// To be called before the kernel is observed: a signal that comes while the programs are being attached then ends
    /// the run in order, too. Starts no thread.
    pub(super) fn listen() -> Result<Self, SuperviseError> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let (interrupt, terminate) = {
            let _inside = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        Ok(Self { runtime, interrupt, terminate })
    }

    /// Runs `work` on a thread of its own and asks it to stop at the first signal. A second one does not wait.
    pub(super) fn supervise<T: Send + 'static>(
        self,
        stop: &Stop,
        work: impl FnOnce(&Stop) -> T + Send + 'static,
    ) -> Result<T, SuperviseError> {
        let Self { runtime, mut interrupt, mut terminate } = self;
        runtime.block_on(async {
            let for_work = stop.clone();
            let mut worker = tokio::task::spawn_blocking(move || work(&for_work));
            let mut asked: Option<Instant> = None;
            loop {
                tokio::select! {
                    done = &mut worker => return Ok(done?),
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if stop.is_requested() && asked.is_none_or(|at| at.elapsed() >= SAME_WISH) {
                    std::process::exit(INTERRUPTED);
                }
                asked.get_or_insert_with(Instant::now);
                stop.request();
            }
        })
    }
}
