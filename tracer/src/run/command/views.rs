//! Views that come to one text for each connection, or for the whole span: `explain`.

use std::io;

use jiff::tz::TimeZone;

use super::{CommandError, open, stdout, tell};
use crate::config::{Explain, Limits, Origin, Subject};
use crate::enrich;
use crate::redact::Redaction;
use crate::run::signals::Signals;
use crate::run::{Outputs, Plan, Stop, run};
use crate::sink::{ExplainSink, Explaining, Style};

/// Where stdout is no terminal.
const WIDTH: usize = 100;

/// The settings are read before anything is observed, and only of the running kernel: they say nothing of a recording's.
pub(super) fn explain(explain: Explain) -> Result<(), CommandError> {
    let (signals, stop) = (Signals::listen()?, Stop::new().map_err(super::SuperviseError::from)?);
    let recorded = matches!(explain.origin, Origin::Recording(_));
    let explaining = Explaining {
        conn_id: explain.conn_id.clone(),
        filter: explain.filter.clone(),
        count: explain.limits.count,
        time_waits: explain.time_waits,
        settings: (!recorded).then(enrich::settings),
        style: Style { width: width(), ascii: explain.ascii, evidence: explain.evidence },
        zone: TimeZone::system(),
    };
    let mut sink = ExplainSink::new(stdout()?, explaining);
    let mut source = open(&explain.origin, &stop)?;
    let plan = Plan {
        subject: Some(Subject::Closes),
        filter: explain.filter,
        limits: Limits { count: None, ..explain.limits },
        event_time: recorded,
        tracker: explain.tracker,
        time_waits: true,
        both_ends: true,
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

/// Of the terminal.
fn width() -> usize {
    terminal_size::terminal_size_of(io::stdout()).map_or(WIDTH, |(width, _)| width.0.into())
}
