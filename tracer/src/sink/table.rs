//! The table: one line per record as it comes, in columns of fixed width.

use std::io::Write;

use finwait_core::record::{BothEnds, CloseRecord, TimeWaitRecord, TransitionRecord};
use finwait_core::{MonoNs, Record};
use jiff::tz::TimeZone;

use super::columns::{Piece, Row, Tone};
use super::{Context, Sink, SinkError, Verdict, when};
use crate::config::Subject;

mod both_ends;
mod closes;
mod ends;
mod layout;
mod states;
mod time_wait;

pub(super) use closes::process as owner_of;
use layout::{Layout, Place};
pub(super) use states::process;

/// An end of a connection in full, such as `10.0.0.5:443`.
pub(super) fn endpoint(end: finwait_core::record::Endpoint) -> String {
    ends::endpoint(end, usize::MAX).text
}

/// How a table looks.
#[derive(Clone, Debug)]
pub struct Look {
    /// What it shows
    pub subject: Subject,
    /// Characters that a line may take
    pub width: usize,
    /// Every column in full instead
    pub wide: bool,
    /// Colours on
    pub colour: bool,
    /// Column with the time of day
    pub time: bool,
    /// Column with the seconds since the start
    pub timestamp: bool,
    /// Zone of the time of day
    pub zone: TimeZone,
}

/// See the module.
pub struct TableSink {
    out: Box<dyn Write + Send>,
    look: Look,
    layout: Layout,
    context: Context,
    /// First moment shown, where the stream does not say when it began
    first: Option<MonoNs>,
}

impl TableSink {
    /// A table on `out`.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>, look: Look) -> Self {
        let layout = match look.subject {
            Subject::States => Layout::states(&look),
            Subject::Closes => Layout::closes(&look),
        };
        Self { out, look, layout, context: Context::default(), first: None }
    }

    fn head(&mut self) -> Result<(), SinkError> {
        let mut row = Row::new(self.look.colour);
        for place in &self.layout.places {
            if place.arrow {
                row.between("-> ");
            }
            row.cell(&Piece::new(place.column.title(), Tone::Heading), place.width, place.align);
        }
        self.write(&row.finish())
    }

    fn write(&mut self, line: &str) -> Result<(), SinkError> {
        self.out.write_all(line.as_bytes()).map_err(SinkError::stdout)
    }

    fn transition(&mut self, record: &TransitionRecord) -> String {
        let moment = self.moment(record.change.at);
        self.row(|place| vec![states::cell(place, record, &moment)])
    }

    fn close(&mut self, record: &CloseRecord) -> String {
        let moment = self.moment(record.closed_at.unwrap_or(record.last_seen_at));
        self.row(|place| closes::cell(place, record, &moment))
    }

    fn both_ends(&mut self, both: &BothEnds) -> String {
        let opener = &both.opener_side;
        let moment = self.moment(opener.closed_at.unwrap_or(opener.last_seen_at));
        self.row(|place| both_ends::cell(place, both, &moment))
    }

    fn time_wait(&mut self, record: &TimeWaitRecord) -> String {
        let over = record.ended.value().map(|ended| ended.latest);
        let moment = over.map_or_else(Moment::unknown, |at| self.moment(at));
        self.row(|place| time_wait::cell(place, record, &moment))
    }

    fn row(&self, cell: impl Fn(&Place) -> Vec<Piece>) -> String {
        let mut row = Row::new(self.look.colour);
        for place in &self.layout.places {
            if place.arrow {
                row.between("-> ");
            }
            row.pieces(&cell(place), place.width, place.align);
        }
        row.finish()
    }

    fn moment(&mut self, at: MonoNs) -> Moment {
        let since = self.context.since().unwrap_or(*self.first.get_or_insert(at));
        let wall = self.context.clock.and_then(|clock| clock.wall_of(at));
        Moment {
            time: wall.and_then(|wall| when::time_of_day(&self.look.zone, wall)),
            seconds: when::seconds_since(since, at),
        }
    }
}

/// When a record happened, in both ways of showing it.
struct Moment {
    time: Option<String>,
    seconds: String,
}

impl Moment {
    fn unknown() -> Self {
        Self { time: None, seconds: "?".to_owned() }
    }

    fn time(&self) -> Piece {
        self.time.as_deref().map_or_else(Piece::unknown, Piece::plain)
    }

    fn seconds(&self) -> Piece {
        Piece::plain(self.seconds.as_str())
    }
}

impl Sink for TableSink {
    fn context(&mut self, context: &Context) {
        self.context = context.clone();
    }

    fn begin(&mut self) -> Result<(), SinkError> {
        self.head()?;
        self.flush()
    }

    fn record(&mut self, record: &Record) -> Result<(), SinkError> {
        let line = match record {
            Record::Transition(record) => self.transition(record),
            Record::Close(record) => self.close(record),
            Record::TimeWait(record) => self.time_wait(record),
            Record::BothEnds(both) => self.both_ends(both),
        };
        self.write(&line)
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        self.out.flush().map_err(SinkError::stdout)
    }

    fn finish(&mut self, _verdict: &Verdict) -> Result<(), SinkError> {
        self.flush()
    }
}

#[cfg(test)]
mod tests;
