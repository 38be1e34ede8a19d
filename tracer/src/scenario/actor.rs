//! A thread that does what it is told: the process side of one end of a connection.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::error::{Context, Result, ScenarioError};
use finwait_core::Pid;
use finwait_core::observation::Comm;
use finwait_core::record::Owner;

/// No job takes longer: every blocking call in one has a shorter limit of its own.
const JOB_LIMIT: Duration = Duration::from_secs(20);

type Job = Box<dyn FnOnce() + Send>;

/// A thread inside the namespace. What it does to a socket is attributed to it, not to the caller.
#[derive(Debug)]
pub struct Actor {
    jobs: Sender<Job>,
    owner: Owner,
}

/// The outcome of a job that may still be running.
#[derive(Debug)]
pub struct Pending<T>(Receiver<Result<T>>);

impl Actor {
    /// Starts a thread called `name` (at most 15 bytes) that runs `prepare` before any job.
    pub(super) fn spawn<T: Send + 'static>(
        name: &'static str,
        prepare: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<(Self, T)> {
        let (jobs, inbox) = channel::<Job>();
        let (ready, prepared) = channel();
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let outcome = prepare().map(|value| (rustix::thread::gettid(), value));
                let usable = outcome.is_ok();
                if ready.send(outcome).is_ok() && usable {
                    inbox.into_iter().for_each(|job| job());
                }
            })
            .context(&format!("starting the thread {name}"))?;
        let (tid, value) = Pending(prepared).wait()?;
        let owner = Owner {
            tgid: Pid(std::process::id()),
            pid: Pid(u32::try_from(tid.as_raw_nonzero().get())?),
            comm: Comm::from_text(name),
            start_boot_ns: None,
        };
        Ok((Self { jobs, owner }, value))
    }

    /// The thread as the kernel names it; its start time is not filled in.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Begins `work` on the thread.
    pub fn start<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Pending<T> {
        let (done, outcome) = channel();
        let job = Box::new(move || {
            // A caller that no longer waits does not want the outcome.
            let _ = done.send(work());
        });
        // A thread that is gone drops the job and with it `done`: the wait below reports it.
        let _ = self.jobs.send(job);
        Pending(outcome)
    }

    /// Does `work` on the thread and waits for it.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        self.start(work).wait()
    }

    /// Closes `socket` on the thread.
    pub fn close<S: Send + 'static>(&self, socket: S) -> Result<()> {
        self.run(move || {
            drop(socket);
            Ok(())
        })
    }
}

impl<T> Pending<T> {
    /// Waits for the outcome.
    pub fn wait(self) -> Result<T> {
        match self.0.recv_timeout(JOB_LIMIT) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => {
                Err(ScenarioError::unexpected(format!("a step took longer than {} s", JOB_LIMIT.as_secs())))
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(ScenarioError::unexpected("a thread that makes traffic has ended"))
            }
        }
    }
}
