//! JSON: one object a line, and a summary as the last. `docs/events.md` names every key.

use std::io::{self, Write};

use finwait_core::Record;
use finwait_core::record::Owner;
use serde::Serialize;
use serde::ser::Serializer;

use super::{Context, Sink, SinkError, Verdict};

mod both_ends;
mod capture;
mod claims;
mod close;
mod moments;
mod state;
mod summary;
mod time_wait;
mod workload;

use both_ends::BothEndsJson;
pub(crate) use close::CloseJson;
pub(super) use state::StateJson;
pub(super) use summary::SummaryJson;
pub(crate) use time_wait::TimeWaitJson;
pub(crate) use workload::WorkloadJson;

/// See the module.
pub struct JsonSink {
    out: Box<dyn Write + Send>,
    context: Context,
}

impl JsonSink {
    /// JSON lines on `out`.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out, context: Context::default() }
    }

    fn line(&mut self, value: &impl Serialize) -> Result<(), SinkError> {
        serde_json::to_writer(&mut self.out, value)
            .map_err(io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"))
            .map_err(SinkError::stdout)
    }
}

impl Sink for JsonSink {
    fn context(&mut self, context: &Context) {
        self.context = context.clone();
    }

    fn record(&mut self, record: &Record) -> Result<(), SinkError> {
        match record {
            Record::Transition(record) => {
                let json = StateJson::with_socket(record, &self.context);
                self.line(&json)
            }
            Record::Close(record) => {
                let json = CloseJson::new(record, &self.context);
                self.line(&json)
            }
            Record::TimeWait(record) => {
                let json = TimeWaitJson::new(record, &self.context);
                self.line(&json)
            }
            Record::BothEnds(record) => {
                let json = BothEndsJson::new(record, &self.context);
                self.line(&json)
            }
        }
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        self.out.flush().map_err(SinkError::stdout)
    }

    fn finish(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        self.line(&SummaryJson::new(verdict))?;
        self.flush()
    }
}

/// A process, as both records name it.
#[derive(Serialize)]
pub(crate) struct OwnerJson<'a> {
    tgid: u32,
    pid: u32,
    #[serde(serialize_with = "shown")]
    comm: &'a finwait_core::observation::Comm,
    start_boot_ns: Option<u64>,
}

impl<'a> From<&'a Owner> for OwnerJson<'a> {
    fn from(owner: &'a Owner) -> Self {
        Self { tgid: owner.tgid.0, pid: owner.pid.0, comm: &owner.comm, start_boot_ns: owner.start_boot_ns }
    }
}

/// As its text; nothing is allocated for it.
fn shown<S: Serializer>(value: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[cfg(test)]
mod tests;
