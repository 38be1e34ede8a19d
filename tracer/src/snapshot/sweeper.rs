//! A thread that dumps all namespaces, periodically and when asked, so that nobody has to wait for the kernel.
//!
//! Two sweeps are at least a second apart, and fifty times as far as the last one took: so sweeping never takes over 2 % of a
//! core, however many sockets there are. Results go through a bounded channel; while it is full, nothing is dumped.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use finwait_core::MonoNs;

use super::diag::{DiagError, Dump};
use super::namespaces::Namespaces;
use super::states::States;
use crate::probe::host::monotonic_now;

const THREAD: &str = "sweeper";
/// Shortest time from the end of a sweep to the next.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// So many times what a sweep took passes before the next.
const PAUSE_FACTOR: u32 = 50;
/// Results that wait for their reader.
const RESULTS: usize = 2;

/// When to sweep without being asked.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Which states
    pub states: States,
    /// How often, at most; `None`: only when asked
    pub interval: Option<Duration>,
}

/// All namespaces at (nearly) one moment.
#[derive(Debug)]
pub struct Sweep {
    /// CLOCK_MONOTONIC before the first dump
    pub begin: MonoNs,
    /// CLOCK_MONOTONIC after the last one
    pub end: MonoNs,
    /// The states that were dumped
    pub states: States,
    /// Someone had asked for it
    pub requested: bool,
    /// One for each open namespace
    pub dumps: Vec<Result<Dump, DiagError>>,
}

/// Why there is no such thread.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the thread that sweeps the sockets: {0}")]
pub struct SweeperError(#[from] io::Error);

/// The thread. It ends when this is dropped; it is not waited for.
#[derive(Debug)]
pub struct Sweeper {
    requests: Sender<States>,
    results: Receiver<Sweep>,
}

impl Sweeper {
    /// Starts the thread, with the capabilities of the caller: drop privileges first.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(namespaces: Namespaces, plan: Plan) -> Result<Self, SweeperError> {
        let (requests, asked) = channel();
        let (done, results) = sync_channel(RESULTS);
        let work = move || work(namespaces, plan, &asked, &done);
        thread::Builder::new().name(THREAD.to_owned()).spawn(work)?;
        Ok(Self { requests, results })
    }

    /// Asks for a sweep as soon as one is due. Several requests may be answered by one sweep, of all their states.
    /// False once the thread has ended.
    pub fn request(&self, states: States) -> bool {
        self.requests.send(states).is_ok()
    }

    /// Where the results arrive.
    #[must_use]
    pub fn results(&self) -> &Receiver<Sweep> {
        &self.results
    }
}

/// Until nobody can ask any more, or wants the results.
fn work(mut namespaces: Namespaces, plan: Plan, asked: &Receiver<States>, done: &SyncSender<Sweep>) {
    let mut pace = Pace::default();
    while let Some(request) = pace.wait(plan, asked) {
        let started = Instant::now();
        let begin = monotonic_now();
        let dumps = namespaces.dump_all(request.states);
        let sweep = Sweep {
            begin,
            end: monotonic_now(),
            states: request.states,
            requested: request.requested,
            dumps,
        };
        pace.swept(started, Instant::now());
        if done.send(sweep).is_err() {
            return;
        }
    }
}

/// What to dump next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Request {
    states: States,
    requested: bool,
}

/// Decides when the next sweep may begin.
#[derive(Debug, Default)]
struct Pace {
    /// The last sweep's begin
    last: Option<Instant>,
    /// Not before
    due: Option<Instant>,
}

impl Pace {
    fn swept(&mut self, began: Instant, ended: Instant) {
        self.last = Some(began);
        let took = ended.saturating_duration_since(began);
        self.due = ended.checked_add(took.saturating_mul(PAUSE_FACTOR).max(SHORTEST_PAUSE));
    }

    /// `None` when it is over.
    fn wait(&self, plan: Plan, asked: &Receiver<States>) -> Option<Request> {
        let mut wanted = None;
        let now = Instant::now();
        let periodic = plan.interval.map(|interval| match self.last {
            Some(last) => last.checked_add(interval).unwrap_or(now).max(self.due.unwrap_or(now)),
            None => now,
        });
        loop {
            let deadline = if wanted.is_some() { self.due.or(Some(now)) } else { periodic };
            let outcome = match deadline {
                Some(deadline) => asked.recv_timeout(deadline.saturating_duration_since(Instant::now())),
                None => asked.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match outcome {
                Ok(states) => wanted = Some(wanted.map_or(states, |before: States| before.and(states))),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {
                    let requested = wanted.is_some();
                    return Some(Request { states: wanted.unwrap_or(plan.states), requested });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan { states: States::TIME_WAIT, interval: None };

    #[test]
    fn a_long_sweep_is_followed_by_a_pause_fifty_times_as_long() {
        let (mut pace, began) = (Pace::default(), Instant::now());
        let ended = began + Duration::from_millis(300);
        pace.swept(began, ended);
        assert_eq!(pace.due, Some(ended + Duration::from_secs(15)));
        let ended = began + Duration::from_millis(3);
        pace.swept(began, ended);
        assert_eq!(pace.due, Some(ended + Duration::from_secs(1)));
    }

    #[test]
    fn requests_that_wait_for_their_time_are_answered_by_one_sweep() {
        let (requests, asked) = channel();
        requests.send(States::TIME_WAIT).unwrap();
        requests.send(States::CLOSING).unwrap();
        let request = Pace::default().wait(PLAN, &asked).unwrap();
        assert_eq!(request, Request { states: States::TIME_WAIT.and(States::CLOSING), requested: true });
    }

    #[test]
    fn a_request_waits_until_a_sweep_is_due_again() {
        let (requests, asked) = channel();
        requests.send(States::CLOSING).unwrap();
        let due = Instant::now() + Duration::from_millis(30);
        let pace = Pace { last: Some(Instant::now()), due: Some(due) };
        assert_eq!(pace.wait(PLAN, &asked).map(|request| request.requested), Some(true));
        assert!(Instant::now() >= due);
    }

    #[test]
    fn without_an_interval_nothing_is_swept_unasked_and_it_ends_with_the_sweeper() {
        let (requests, asked) = channel();
        drop(requests);
        assert_eq!(Pace::default().wait(PLAN, &asked), None);
        let (_requests, asked) = channel();
        let plan = Plan { interval: Some(Duration::from_secs(60)), ..PLAN };
        let first = Pace::default().wait(plan, &asked).unwrap();
        assert_eq!(first, Request { states: States::TIME_WAIT, requested: false });
    }
}
