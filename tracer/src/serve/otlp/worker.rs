//! The push's thread: takes a snapshot per interval, and hands requests to the collector one by one.
//!
//! A try blocks for its timeout at most; nothing waits for this thread meanwhile, and missed snapshots are not made up for.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use prost::Message;

use super::backoff::Backoff;
use super::mapping::each_request;
use super::post::{Outcome, Poster};
use super::queue::Queue;
use super::{Exported, OtlpConfig, OtlpCounters, Resource, WallNs};

/// Ends the thread.
#[derive(Debug)]
pub(super) struct Stop {
    /// Sent before the end
    pub last: Option<Exported>,
    /// The end at the latest
    pub deadline: Instant,
    /// Gets the number of requests that were not sent
    pub unsent: SyncSender<usize>,
}

/// What the collector did last, to tell people of a change and of nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Taking,
    Away,
    Refusing,
}

pub(super) struct Worker<S> {
    snapshots: S,
    resource: Resource,
    since: Option<WallNs>,
    interval: Duration,
    due: Instant,
    poster: Poster,
    timeout: Duration,
    queue: Queue,
    backoff: Backoff,
    resting_until: Option<Instant>,
    counters: Arc<OtlpCounters>,
    health: Health,
    endpoint: String,
}

impl<S: FnMut() -> Option<Exported>> Worker<S> {
    pub(super) fn new(config: OtlpConfig, snapshots: S) -> Self {
        Self {
            snapshots,
            resource: config.resource,
            since: None,
            interval: config.interval,
            due: Instant::now() + config.interval,
            endpoint: config.endpoint.to_string(),
            poster: Poster::new(config.endpoint, config.headers),
            timeout: config.timeout,
            queue: Queue::new(config.queue),
            backoff: Backoff::new(config.retry.first, config.retry.longest),
            resting_until: None,
            counters: config.counters,
            health: Health::Taking,
        }
    }

    /// Runs until it is told to stop, or the handle is gone.
    pub(super) fn run(mut self, stop: &Receiver<Stop>) {
        loop {
            if Instant::now() >= self.due {
                self.take_snapshot();
            }
            if self.may_send() {
                self.send_oldest(self.timeout);
            }
            match stop.recv_timeout(self.pause()) {
                Ok(stop) => return self.finish(stop),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn take_snapshot(&mut self) {
        self.due += self.interval;
        if let Some(exported) = (self.snapshots)() {
            self.enqueue(exported);
        }
        self.due = self.due.max(Instant::now());
    }

    fn enqueue(&mut self, mut exported: Exported) {
        exported.since = *self.since.get_or_insert(exported.since);
        each_request(&exported, &self.resource, |request| {
            let dropped = self.queue.push(request.encode_to_vec());
            self.counters.count_dropped(dropped);
        });
    }

    fn may_send(&self) -> bool {
        self.queue.front().is_some() && self.resting_until.is_none_or(|until| Instant::now() >= until)
    }

    /// One try. Returns whether the request is done with.
    fn send_oldest(&mut self, timeout: Duration) -> bool {
        let Some(request) = self.queue.front() else { return false };
        match self.poster.post(request, timeout) {
            Outcome::Taken { rejected_points } => {
                self.counters.count_ok(rejected_points);
                self.tell(Health::Taking, "");
            }
            Outcome::Refused { reason } => {
                self.counters.count_failed();
                self.tell(Health::Refusing, &reason);
            }
            Outcome::Later { after, reason } => {
                self.counters.count_retried();
                self.resting_until = Some(Instant::now() + self.backoff.wait(after));
                self.tell(Health::Away, &reason);
                return false;
            }
        }
        self.queue.pop();
        self.backoff.reset();
        self.resting_until = None;
        true
    }

    /// Until there is something to do.
    fn pause(&self) -> Duration {
        let now = Instant::now();
        let snapshot = self.due.saturating_duration_since(now);
        if self.queue.front().is_none() {
            return snapshot;
        }
        self.resting_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now)).min(snapshot)
    }

    /// Each waiting request once more, oldest first, until one is not taken or the time is over.
    fn finish(mut self, stop: Stop) {
        if let Some(last) = stop.last {
            self.enqueue(last);
        }
        while self.queue.front().is_some() {
            let left = stop.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.send_oldest(left.min(self.timeout)) {
                break;
            }
        }
        let unsent = self.queue.len();
        self.counters.count_dropped(unsent as u64);
        // The one that asked may have waited long enough and be gone.
        _ = stop.unsent.send(unsent);
    }

    /// Tells people when the collector starts or stops taking requests; in between the counters tell.
    fn tell(&mut self, health: Health, reason: &str) {
        if health == self.health {
            return;
        }
        self.health = health;
        let endpoint = &self.endpoint;
        // stderr may be gone; that is no reason to fail.
        _ = match health {
            Health::Taking => writeln!(io::stderr(), "finwait: {endpoint} takes the metrics again"),
            Health::Away => {
                writeln!(io::stderr(), "finwait: {endpoint}: {reason}; the metrics wait and are sent again")
            }
            Health::Refusing => writeln!(io::stderr(), "finwait: {endpoint} refuses the metrics: {reason}"),
        };
    }
}
