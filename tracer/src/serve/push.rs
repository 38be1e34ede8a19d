//! The push of [`super::otlp`], fed from the desk.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use finwait_core::WallNs;

use super::otlp::{self, Exported, OtlpConfig, OtlpError, OtlpHandle};
use super::reader::Reader;
use super::{HttpError, ServeError};
use crate::stats::family::Family;

/// The running push.
#[derive(Debug)]
pub struct Push {
    handle: OtlpHandle,
    reader: Arc<Reader>,
    since: WallNs,
}

impl Push {
    /// Starts it on a thread of its own.
    ///
    /// # Errors
    /// When the thread cannot be made.
    pub fn start(config: OtlpConfig, reader: Arc<Reader>) -> Result<Self, ServeError> {
        let since = wall_now();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(HttpError::Thread)?;
        reader.tell_of(Arc::clone(&config.counters));
        let asked = Arc::clone(&reader);
        let handle = otlp::start(config, move || {
            runtime.block_on(asked.read()).map(|families| exported(families, since))
        })?;
        Ok(Self { handle, reader, since })
    }

    /// Sends what the loop left at its end.
    ///
    /// # Errors
    /// When the collector does not take it.
    pub fn finish(self) -> Result<(), OtlpError> {
        let Self { handle, reader, since } = self;
        handle.stop(reader.last().map(|families| exported(families, since)))
    }
}

/// The time is that of the push, as a scraper's is that of the scrape: a metric tells how old the numbers are. Those of a
/// recording, too, are sent as of now: a collector refuses what is long past.
fn exported(families: Vec<Family>, since: WallNs) -> Exported {
    Exported { since, at: wall_now(), families }
}

fn wall_now() -> WallNs {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallNs(u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX))
}
