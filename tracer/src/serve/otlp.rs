//! Push of the metrics to an OpenTelemetry collector: OTLP over HTTP, protobuf, from a thread of its own.
//!
//! It takes what `/metrics` shows, renamed by OpenTelemetry's conventions, and keeps no numbers. It knows nothing of the
//! tracer: snapshots come from a closure. It speaks plain HTTP only; a collector beside it speaks TLS to the world.

mod backoff;
#[cfg(test)]
mod collector_for_tests;
mod counters;
mod endpoint;
mod labels;
mod mapping;
mod names;
mod post;
mod queue;
mod resource;
mod worker;

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use finwait_core::WallNs;

use crate::stats::family::Family;

pub use counters::OtlpCounters;
pub use endpoint::{Endpoint, EndpointError, Header};
pub use queue::QueueBounds;
pub use resource::{AttributesError, Resource};

use worker::{Stop, Worker};

/// How long the end of the push may take.
pub const LAST_TRY: Duration = Duration::from_secs(3);
/// What the thread needs of that to tell how it went.
const TOLD_AFTER: Duration = Duration::from_millis(250);
/// Any shorter interval is taken as this one.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
/// Any longer interval or timeout is taken as this one.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// Where, how often and as whom to push.
#[derive(Clone, Debug)]
pub struct OtlpConfig {
    /// The collector
    pub endpoint: Endpoint,
    /// Sent with every request
    pub headers: Vec<Header>,
    /// From one snapshot to the next
    pub interval: Duration,
    /// The longest that one try may take, from connect() to the last byte of the answer
    pub timeout: Duration,
    /// Waits between tries
    pub retry: Retry,
    /// What may wait for a collector that is away
    pub queue: QueueBounds,
    /// Whose metrics they are
    pub resource: Resource,
    /// Counts what happens. The caller keeps a clone and shows it among the metrics
    pub counters: Arc<OtlpCounters>,
}

impl OtlpConfig {
    /// Every 15 s, 10 s for a try, no headers, this host.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            headers: Vec::new(),
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(10),
            retry: Retry::default(),
            queue: QueueBounds::default(),
            resource: Resource::of_this_host(),
            counters: Arc::default(),
        }
    }
}

/// How long a collector that is away is left alone: twice as long after each try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// After the first try
    pub first: Duration,
    /// Never longer than this, unless the collector asks for it
    pub longest: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), longest: Duration::from_secs(60) }
    }
}

/// What is pushed: one snapshot's metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// Since when the counters count. Collectors take another value for a restart: the first one is used for all
    pub since: WallNs,
    /// When these were the metrics
    pub at: WallNs,
    /// The metrics
    pub families: Vec<Family>,
}

/// Why there is no push. Every message is one sentence.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// The thread could not be started
    #[error("the thread for OTLP cannot be started: {0}")]
    Thread(std::io::Error),
    /// At the end metrics were left that the collector had not taken
    #[error("the OpenTelemetry collector did not take the last metrics")]
    Unsent,
}

/// The running push. Dropped without [`OtlpHandle::stop`], it ends without a last try.
#[derive(Debug)]
pub struct OtlpHandle {
    stop: SyncSender<Stop>,
    counters: Arc<OtlpCounters>,
}

/// Starts the push. `snapshots` is called on the new thread, once per interval; `None` skips that one. It may block for
/// some seconds.
pub fn start(
    mut config: OtlpConfig,
    snapshots: impl FnMut() -> Option<Exported> + Send + 'static,
) -> Result<OtlpHandle, OtlpError> {
    config.interval = config.interval.clamp(SHORTEST_INTERVAL, LONGEST);
    config.timeout = config.timeout.min(LONGEST);
    let (stop, stopped) = mpsc::sync_channel(1);
    let counters = Arc::clone(&config.counters);
    let worker = Worker::new(config, snapshots);
    let thread = thread::Builder::new().name("otlp".to_owned());
    thread.spawn(move || worker.run(&stopped)).map_err(OtlpError::Thread)?;
    Ok(OtlpHandle { stop, counters })
}

impl OtlpHandle {
    /// What became of the pushes so far.
    #[must_use]
    pub fn counters(&self) -> &Arc<OtlpCounters> {
        &self.counters
    }

    /// Ends the push: `last`, and what still waits, are tried once more, and that takes [`LAST_TRY`] at most. The closure
    /// is not called any more once its present call has returned.
    pub fn stop(self, last: Option<Exported>) -> Result<(), OtlpError> {
        let (unsent, told) = mpsc::sync_channel(1);
        let stop = Stop { last, deadline: Instant::now() + LAST_TRY - TOLD_AFTER, unsent };
        self.stop.send(stop).map_err(|_| OtlpError::Unsent)?;
        match told.recv_timeout(LAST_TRY) {
            Ok(0) => Ok(()),
            Ok(_) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(OtlpError::Unsent),
        }
    }
}

#[cfg(test)]
#[path = "otlp/push_tests.rs"]
mod tests;
