//! `finwait demo`: makes connections of known shape in a network namespace of its own, shows what finwait sees of them,
//! and says whether that is all there was.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use finwait_core::observation::Tier;
use finwait_core::record::{CloseRecord, Dwell, Endpoint, Owner, Successor};
use finwait_core::{Claim, Observation, Record, TrackerConfig};
use jiff::tz::TimeZone;

use crate::config::Subject;
use crate::probe::{PrivilegesError, Probe, ProbeConfig, ProbeError, host};
use crate::scenario::check::{Depth, Verdict, closes_of, compare};
use crate::scenario::watch::{Reading, Seen, only, track_with};
use crate::scenario::{Made, MadeConnection, Namespace, ScenarioError, SideName, catalog};
use crate::sink::{Context, Look, Sink, SinkError, TableSink};

/// Why the demo is no success.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Something is missing or wrong; the story says what
    #[error("not everything that was made was seen whole")]
    Incomplete,
    /// Traffic could not be made or watched
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The programs cannot be attached
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// Privileges cannot be given up
    #[error(transparent)]
    Privileges(#[from] PrivilegesError),
    /// Nothing can be written
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// Nor this
    #[error("stdout: {0}")]
    Out(#[from] io::Error),
}

type Result<T> = std::result::Result<T, DemoError>;

/// Runs the demo and writes its story to `out`.
///
/// # Errors
/// See [`DemoError`].
pub fn run(out: Box<dyn Write + Send>) -> Result<()> {
    if show(out)? { Ok(()) } else { Err(DemoError::Incomplete) }
}

/// Whether everything was seen whole.
fn show(out: Box<dyn Write + Send>) -> Result<bool> {
    let mut out = Out(Arc::new(Mutex::new(out)));
    // The namespace needs privileges that are given up below; its threads are running by then.
    let namespace = Namespace::new()?;
    let filter = only(namespace.inode());
    let probe = Probe::attach(&ProbeConfig { filter, ..ProbeConfig::default() })?;
    probe.drop_privileges(&[])?;
    let depth = match probe.tier() {
        Tier::TpBtf => Depth::Claims,
        Tier::Classic | Tier::Capture => Depth::Transitions,
    };
    writeln!(out, "{} scenarios on the loopback of a network namespace of their own\n", catalog::DEMO.len())?;

    let mut context = Context::default();
    context.learn(&Observation::Clock(host::clock_pair()));
    let learn = |observation: &Observation| {
        context.learn(observation);
    };
    let config = TrackerConfig::default();
    let (made, seen) =
        track_with(probe, Reading::Always, config, || catalog::run(&catalog::DEMO, &namespace), learn)?;

    show_transitions(&out, &context, &made, &seen)?;
    show_connections(&mut out, &made, &seen)?;
    let verdict = compare(&made, &seen.closes, depth);
    conclude(&mut out, &verdict, &seen)?;
    out.flush()?;
    Ok(verdict.all_whole() && seen.accounting.lost() == 0)
}

/// As `finwait states` would. The classic tier sees the whole host: what is not the demo's own is left out.
fn show_transitions(out: &Out, context: &Context, made: &Made, seen: &Seen) -> Result<()> {
    let look = Look {
        subject: Subject::States,
        width: 0,
        wide: false,
        colour: false,
        time: false,
        timestamp: true,
        zone: TimeZone::UTC,
    };
    let mut table = TableSink::new(Box::new(out.clone()), look);
    table.context(context);
    table.begin()?;
    for record in &seen.transitions {
        if is_ours(made, record.local) || is_ours(made, record.remote) {
            table.record(&Record::Transition(Box::new(record.clone())))?;
        }
    }
    Ok(table.flush()?)
}

/// The server's end of each connection is an address of its own; a refused client's end too.
fn is_ours(made: &Made, end: Endpoint) -> bool {
    made.connections.iter().any(|connection| end.addr == Some(connection.remote.ip()))
}

fn show_connections(out: &mut impl Write, made: &Made, seen: &Seen) -> Result<()> {
    for connection in &made.connections {
        writeln!(out, "\n{}", connection.name)?;
        for (side, _) in connection.sides() {
            show_side(out, connection, side, seen)?;
        }
    }
    Ok(())
}

fn show_side(out: &mut impl Write, connection: &MadeConnection, side: SideName, seen: &Seen) -> Result<()> {
    let (local, remote) = connection.ends(side);
    let closes = closes_of(connection, side, &seen.closes);
    if closes.is_empty() {
        writeln!(out, "  {:6}  {local} – {remote}: no close record", side.name())?;
    }
    for record in closes {
        writeln!(out, "  {:6}  {local} – {remote}  {}", side.name(), how(record))?;
        let states: Vec<String> = record.steps.iter().map(|step| step.new.name().to_owned()).collect();
        let first = record.steps.first().map_or("?", |step| step.old.name());
        writeln!(out, "          {first} → {}", states.join(" → "))?;
        let times: Vec<String> = record.dwells.iter().map(time_in).collect();
        writeln!(out, "          {}{}", times.join(" · "), after(record))?;
    }
    Ok(())
}

/// Kind, who closed first, which processes.
fn how(record: &CloseRecord) -> String {
    let mut words = vec![say(&record.kind)];
    if let Some(reset) = &record.reset {
        words.extend(reset.direction.value().map(ToString::to_string));
        words.extend(reset.cause.value().map(ToString::to_string));
    }
    if let Some(first) = record.first_closer.value() {
        words.push(format!("first closer {first}"));
    }
    words.extend(record.opener.value().map(|owner| format!("opened by {}", name(owner))));
    words.extend(record.closer.value().map(|owner| format!("closed by {}", name(owner))));
    words.join(", ")
}

fn name(owner: &Owner) -> String {
    format!("{}/{}", owner.comm, owner.pid)
}

fn say<T: ToString>(claim: &Claim<T>) -> String {
    match claim {
        Claim::Known { value, .. } => value.to_string(),
        Claim::Unknown(reason) => format!("unknown ({reason})"),
    }
}

fn time_in(dwell: &Dwell) -> String {
    let time = match &dwell.duration_ns {
        Claim::Known { value, .. } => format!("{:.3} ms", *value as f64 / 1e6),
        Claim::Unknown(reason) => format!("? ({reason})"),
    };
    let unsent = dwell.unsent_bytes.filter(|bytes| *bytes > 0);
    let waiting = unsent.map_or_else(String::new, |bytes| format!(" ({bytes} bytes ahead of the FIN)"));
    format!("{} {time}{waiting}", dwell.state.name())
}

fn after(record: &CloseRecord) -> &'static str {
    match record.successor.value() {
        Some(Successor::TimeWait) => " · then TIME_WAIT",
        _ => "",
    }
}

fn conclude(out: &mut impl Write, verdict: &Verdict, seen: &Seen) -> Result<()> {
    writeln!(out)?;
    for complaint in &verdict.complaints {
        writeln!(out, "missing or wrong: {complaint}")?;
    }
    let seen_whole = match verdict.sides - verdict.whole {
        0 => "all seen whole".to_owned(),
        missing => format!("{missing} NOT seen whole"),
    };
    let lost = seen.accounting.lost();
    let (scenarios, connections, sides) = (catalog::DEMO.len(), verdict.connections, verdict.sides);
    writeln!(
        out,
        "{scenarios} scenarios, {connections} connections, {sides} sides: {seen_whole}; lost {lost}"
    )?;
    Ok(())
}

/// A writer that the table and the story share.
#[derive(Clone)]
struct Out(Arc<Mutex<Box<dyn Write + Send>>>);

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}
