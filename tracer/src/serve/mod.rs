//! `finwait serve`: summaries over HTTP while the host is observed.
//!
//! The loop, with tracker and aggregator, runs on a thread of its own, HTTP on another. They share nothing but the [`desk`]:
//! whoever asks there gets an immutable snapshot, and the loop answers between two batches. So a slow, stuck or hostile
//! client never holds up the tracer.

mod access;
mod answers;
mod api;
mod desk;
mod feed;
mod http;
pub mod metrics;
#[cfg(feature = "otlp")]
pub mod otlp;
mod page;
#[cfg(feature = "otlp")]
mod push;
mod reader;
mod recent;
pub mod service;
mod sink;
mod watchdog;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use finwait_core::{ClosingConnection, MonoNs};

use crate::probe::host::monotonic_now;
use crate::probe::{RingError, Stop as Waker};
use crate::redact::Redaction;
use crate::stats::{Aggregator, Grouping, Snapshot};

pub use access::Access;
pub use desk::{Desk, Served};
pub use http::HttpError;
#[cfg(feature = "otlp")]
pub use push::Push;
pub use reader::Reader;
pub use sink::ServeSink;
pub use watchdog::Watchdog;

/// How to serve.
#[derive(Clone, Debug)]
pub struct Web {
    /// Where to listen
    pub listen: SocketAddr,
    /// Requests answered at the same time; more are refused
    pub max_requests: usize,
    /// Names under which a browser may ask
    pub allowed_hosts: Vec<String>,
    /// Closes kept for the page and the API
    pub recent_closes: usize,
    /// What is withheld of peers
    pub redaction: Redaction,
    /// A recording is served: nothing is passed over
    pub replay: bool,
}

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which
        address: SocketAddr,
        /// Why
        source: std::io::Error,
    },
    /// The HTTP side cannot be started
    #[error(transparent)]
    Http(#[from] HttpError),
    /// No descriptor to wake up the loop
    #[error("cannot prepare to wake up the loop: {0}")]
    Waker(#[from] RingError),
    /// There is no push to a collector
    #[cfg(feature = "otlp")]
    #[error(transparent)]
    Otlp(#[from] otlp::OtlpError),
}

/// A socket that listens: taken before the kernel is observed, so that a port in use fails at once.
#[derive(Debug)]
pub struct Listening {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listening {
    /// Listens at `address`; port 0 is any that is free.
    ///
    /// # Errors
    /// When it is in use, or not this host's.
    pub fn at(address: SocketAddr) -> Result<Self, ServeError> {
        let listen = || {
            let socket = TcpListener::bind(address)?;
            socket.set_nonblocking(true)?;
            let address = socket.local_addr()?;
            Ok(Self { socket, address })
        };
        listen().map_err(|source| ServeError::Listen { address, source })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Starts HTTP on a thread of its own and gives what the loop feeds, and what other exporters read. `waker` wakes up the loop's source.
///
/// # Errors
/// When the thread or its runtime cannot be made.
pub fn start(
    listening: Listening,
    web: &Web,
    grouping: Grouping,
    time_waits: usize,
    waker: &Waker,
) -> Result<(ServeSink, Arc<Reader>), ServeError> {
    let (desk, clerk) = desk::open(waker.clone());
    let (feed, told, skipped) = feed::open(web.replay);
    let reader = Arc::new(Reader::new(desk, Arc::clone(&skipped)));
    let (heart, watchdog) = watchdog::open(service::watchdog_interval(), waker);
    http::start(listening, web, Arc::clone(&reader), told, skipped, heart)?;
    let aggregator = Aggregator::new(grouping, time_waits);
    Ok((ServeSink::new(aggregator, clerk, feed, watchdog, web), reader))
}

/// What is handed out at the desk.
#[derive(Clone, Debug)]
pub struct Sheet {
    /// The summaries
    pub snapshot: Snapshot,
    /// Connections in a closing state, the longest untouched of them
    pub closing: Vec<ClosingConnection>,
    /// The monotonic clock when they were taken; of a recording, its own
    pub taken: MonoNs,
    /// No time passes: a recording, or the loop has ended
    pub frozen: bool,
}

impl Sheet {
    /// Until when durations that go on have lasted: of a recording nothing is older now than it was at its end.
    fn now(&self) -> MonoNs {
        if self.frozen { self.taken } else { monotonic_now() }
    }
}
