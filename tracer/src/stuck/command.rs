//! `finwait stuck`: looks twice, or again and again, and shows what stays.

use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::{Duration, Instant};

use super::gather::{Lookups, Picture, gather};
use super::memory::Memory;
use super::{json, table};
use crate::config::Stuck;
use crate::enrich::Cgroups;
use crate::probe::host::clock_pair;
use crate::sink::{SinkError, safe};
use crate::snapshot::{DiagError, Namespaces};

/// Between the first two looks: what goes on its own is gone by then.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// So many times what a look took passes before the next.
const PAUSE_FACTOR: u32 = 50;
/// Cursor to the top left, and nothing below it.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum StuckError {
    /// No socket can be opened
    #[error(transparent)]
    Open(DiagError),
    /// No namespace can be dumped
    #[error("no network namespace can be looked at: {0}")]
    Nothing(String),
    /// stdout
    #[error(transparent)]
    Sink(#[from] SinkError),
}

/// Runs the command. With `watch` it ends by a signal, or when nobody reads any more.
///
/// # Errors
/// See [`StuckError`].
pub fn run(asked: &Stuck, out: &mut dyn Write) -> Result<(), StuckError> {
    let namespaces = Namespaces::open(asked.netns.clone()).map_err(StuckError::Open)?;
    let mut looking = Looking {
        namespaces,
        memory: Memory::default(),
        lookups: Lookups { cgroups: Cgroups::find().ok() },
        older_ns: u64::try_from(asked.older.as_nanos()).unwrap_or(u64::MAX),
        begun: false,
        told: Vec::new(),
    };
    looking.look()?;
    thread::sleep(FIRST_PAUSE);
    let Some(interval) = asked.watch else {
        return done(looking.show(asked.json, false, out));
    };
    let clear = !asked.json && io::stdout().is_terminal();
    loop {
        let began = Instant::now();
        // Containers come and go.
        looking.namespaces.refresh();
        if let Err(error) = looking.show(asked.json, clear, out) {
            return done(Err(error));
        }
        thread::sleep(interval.max(began.elapsed().saturating_mul(PAUSE_FACTOR)));
    }
}

/// A reader that has seen enough is no failure.
fn done(outcome: Result<(), StuckError>) -> Result<(), StuckError> {
    match outcome {
        Err(StuckError::Sink(error)) if error.is_closed_pipe() => Ok(()),
        other => other,
    }
}

struct Looking {
    namespaces: Namespaces,
    memory: Memory,
    lookups: Lookups,
    older_ns: u64,
    /// A table was shown
    begun: bool,
    /// Notes of the last table
    told: Vec<String>,
}

impl Looking {
    fn look(&mut self) -> Result<Picture, StuckError> {
        let picture = gather(&mut self.namespaces, &mut self.memory, &mut self.lookups, self.older_ns);
        if picture.namespaces == 0 {
            let reasons = picture.failures.iter().map(ToString::to_string).chain(self.unreachable());
            return Err(StuckError::Nothing(reasons.collect::<Vec<_>>().join("; ")));
        }
        Ok(picture)
    }

    fn unreachable(&self) -> Vec<String> {
        self.namespaces.unreachable().iter().map(ToString::to_string).collect()
    }

    fn show(&mut self, json: bool, clear: bool, out: &mut dyn Write) -> Result<(), StuckError> {
        let picture = self.look()?;
        if json {
            json::write(out, &picture, Some(clock_pair()), &self.unreachable()).map_err(SinkError::stdout)?;
            return Ok(out.flush().map_err(SinkError::stdout)?);
        }
        let text = table::table(&picture);
        let before = match (clear, std::mem::replace(&mut self.begun, true)) {
            (true, _) => CLEAR,
            (false, true) => "\n",
            (false, false) => "",
        };
        write!(out, "{before}{text}").and_then(|()| out.flush()).map_err(SinkError::stdout)?;
        let notes = [table::notes(&picture, self.older_ns), self.unreachable()].concat();
        // What was said once is still there to be read, unless it was cleared away.
        if clear || notes != self.told {
            for note in &notes {
                // stderr may be gone; that is no reason to fail.
                _ = writeln!(io::stderr(), "finwait: {}", safe(note));
            }
            self.told = notes;
        }
        Ok(())
    }
}
