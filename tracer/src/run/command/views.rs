//! Views that come to one text for each connection, or for the whole span: `explain`, `report`.

use std::io;

use finwait_core::TrackerConfig;
use finwait_core::pairing::PairingConfig;
use jiff::tz::TimeZone;

use super::{CommandError, colour, open, print, stdout, tell};
use crate::cli::{ExplainFormat, ReportFormat};
use crate::config::{self, Explain, Limits, Origin, RecordingPath, Stuck, Subject};
use crate::filter::Filter;
use crate::redact::Redaction;
use crate::report::json::ReportJson;
use crate::report::{Report, ReportSink, document, render};
use crate::run::signals::Signals;
use crate::run::{Outputs, Plan, Stop, run};
use crate::sink::{ExplainSink, Explaining, Form, SinkError, Style, safe};
use crate::source::Source;
use crate::stats::Grouping;
use crate::stuck::StuckSink;

/// Where stdout is no terminal.
const WIDTH: usize = 100;

pub(super) fn explain(explain: Explain) -> Result<(), CommandError> {
    let (signals, stop) = (Signals::listen()?, Stop::new().map_err(super::SuperviseError::from)?);
    let recorded = matches!(explain.origin, Origin::Recording(_));
    let explaining = Explaining {
        conn_id: explain.conn_id.clone(),
        filter: explain.filter.clone(),
        count: explain.limits.count,
        time_waits: explain.time_waits,
        form: form(&explain),
        zone: TimeZone::system(),
    };
    let mut sink = ExplainSink::new(stdout()?, explaining);
    let mut source = open(&explain.origin, &stop, false)?;
    let plan = Plan {
        subject: Some(Subject::Closes),
        filter: explain.filter,
        limits: Limits { count: None, ..explain.limits },
        event_time: recorded,
        tracker: explain.tracker,
        time_waits: true,
        both_ends: Some(pairing(recorded)),
        redaction: Redaction::Off,
    };
    let (verdict, explained) = signals.supervise(&stop, move |stop| {
        let verdict = run(source.as_mut(), Outputs { sink: Some(&mut sink), tap: None }, &plan, stop);
        verdict.map(|verdict| (verdict, sink.explained()))
    })??;
    match explain.conn_id {
        Some(conn_id) if explained == 0 => Err(CommandError::NoSuchConnection { conn_id }),
        Some(_) => Ok(()),
        None => {
            tell(&verdict.for_people(Some(Subject::Closes)));
            Ok(())
        }
    }
}

/// In a recording nobody waits for an end that closes late, as one does that stays in CLOSE_WAIT. What becomes of TIME_WAIT, after 60 s,
/// still comes later than the decision.
fn pairing(recorded: bool) -> PairingConfig {
    let patient = PairingConfig { wait_ns: 55_000_000_000, ..PairingConfig::default() };
    if recorded { patient } else { PairingConfig::default() }
}

fn form(explain: &Explain) -> Form {
    match explain.format {
        ExplainFormat::Json => Form::Json,
        ExplainFormat::Text => Form::Text(Style {
            width: width(),
            ascii: explain.ascii,
            evidence: explain.evidence,
            colour: colour(explain.color),
        }),
    }
}

/// Of the terminal.
fn width() -> usize {
    terminal_size::terminal_size_of(io::stdout()).map_or(WIDTH, |(width, _)| width.0.into())
}

/// The recording to compare with comes first, while nothing is observed yet: if it cannot be read, nothing was in vain. A signal
/// ends the process then, as nothing would be lost.
pub(super) fn report(asked: config::Report) -> Result<(), CommandError> {
    let config::Report { origin, against, filter, limits, tracker, format } = asked;
    let plan = |limits, event_time| Plan {
        subject: Some(Subject::Closes),
        filter: filter.clone(),
        limits,
        event_time,
        tracker,
        time_waits: true,
        both_ends: None,
        redaction: Redaction::Off,
    };
    let against = against.map(|path| earlier(path, &plan(Limits::default(), true))).transpose()?;
    let (signals, stop) = (Signals::listen()?, Stop::new().map_err(super::SuperviseError::from)?);
    let recorded = matches!(origin, Origin::Recording(_));
    let mut source = open(&origin, &stop, true)?;
    let plan = plan(limits, recorded);
    let report = signals.supervise(&stop, move |stop| span(source.as_mut(), &plan, stop))??;
    let text = match (format, &against) {
        (ReportFormat::Json, None) => json(&ReportJson::new(&report))?,
        (ReportFormat::Json, Some(against)) => json(&ReportJson::against(&report, against))?,
        (format, against) => {
            let document = match against {
                Some(against) => document::against(&report, against),
                None => document::of(&report),
            };
            if format == ReportFormat::Markdown {
                render::markdown(&document)
            } else {
                render::text(&document)
            }
        }
    };
    print(text.as_bytes())?;
    if report.verdict.unread.is_some() {
        tell(&report.verdict.for_people(Some(Subject::Closes)));
    }
    Ok(())
}

/// Of a recording: what stays in a closing state at its end.
pub(super) fn stuck(path: RecordingPath, asked: Stuck) -> Result<(), CommandError> {
    let (signals, stop) = (Signals::listen()?, Stop::new().map_err(super::SuperviseError::from)?);
    let older_ns = u64::try_from(asked.older.as_nanos()).unwrap_or(u64::MAX);
    let mut sink = StuckSink::new(stdout()?, asked.json, older_ns, asked.netns);
    let mut source = open(&Origin::Recording(path.into()), &stop, true)?;
    let plan = Plan {
        subject: Some(Subject::Closes),
        filter: Filter::default(),
        limits: Limits::default(),
        event_time: true,
        tracker: TrackerConfig { transitions: false, ..TrackerConfig::default() },
        time_waits: false,
        both_ends: None,
        redaction: Redaction::Off,
    };
    let (verdict, sink) = signals.supervise(&stop, move |stop| {
        let verdict = run(source.as_mut(), Outputs { sink: Some(&mut sink), tap: None }, &plan, stop);
        verdict.map(|verdict| (verdict, sink))
    })??;
    sink.notes().iter().for_each(|note| tell(&format!("finwait: {}", safe(note))));
    tell(&verdict.what_was_read());
    Ok(())
}

/// The span that another one is compared with.
fn earlier(path: RecordingPath, plan: &Plan) -> Result<Report, CommandError> {
    let stop = Stop::new().map_err(super::SuperviseError::from)?;
    let mut source = open(&Origin::Recording(path.into()), &stop, true)?;
    span(source.as_mut(), plan, &stop)
}

/// Observes one span.
fn span(source: &mut dyn Source, plan: &Plan, stop: &Stop) -> Result<Report, CommandError> {
    let mut sink = ReportSink::new(Grouping::default(), plan.tracker.time_waits);
    let verdict = run(source, Outputs { sink: Some(&mut sink), tap: None }, plan, stop)?;
    Ok(sink.into_report(verdict))
}

fn json(report: &ReportJson) -> Result<String, CommandError> {
    let text = serde_json::to_string(report).map_err(|error| SinkError::stdout(error.into()))?;
    Ok(text + "\n")
}
