//! Explanations as they come: one for each connection that ends, both of its ends together where both are on this host.
//!
//! Where it is worth waiting (in a recording always), an explanation waits for what becomes of TIME_WAIT; the order is that of
//! the closes all the same. How many wait is bounded.

use std::collections::{HashMap, VecDeque};
use std::io::Write;

use finwait_core::observation::TimeWaitSource;
use finwait_core::record::{CloseRecord, Successor, TimeWaitRecord};
use finwait_core::{ConnId, Reason, Record};
use jiff::tz::TimeZone;

use super::columns::Tone;
use super::json::SummaryJson;
use super::{Context, Sink, SinkError, Verdict, when};
use crate::explain::{Explanation, Settings, Story, explain};
use crate::filter::Filter;

mod draw;
mod json;
mod text;

pub use text::Style;

/// Connections that wait for their time-wait socket; beyond that the first is explained without.
const WAITING: usize = 65_536;
/// Time-wait records that came ahead of their close, which waits for the other end.
const EARLY: usize = 8_192;

/// Which connections, and how.
#[derive(Clone, Debug)]
pub struct Explaining {
    /// This one alone, by its conn_id as the records have it
    pub conn_id: Option<String>,
    /// Whose end to tell it from, where both are there
    pub filter: Filter,
    /// So many
    pub count: Option<u64>,
    /// Wait for the end of TIME_WAIT
    pub time_waits: bool,
    /// How it is written
    pub form: Form,
    /// Time zone of the times of day
    pub zone: TimeZone,
}

/// How explanations are written.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// As text, in this style
    Text(Style),
    /// `finwait.explanation/1`, one object a line, and a summary as the last
    Json,
}

/// See the module.
pub struct ExplainSink {
    out: Box<dyn Write + Send>,
    explaining: Explaining,
    context: Context,
    /// In the order of the closes; numbers count from `first`
    waiting: VecDeque<Waiting>,
    first: u64,
    by_id: HashMap<ConnId, u64>,
    early: VecDeque<Box<TimeWaitRecord>>,
    taken: u64,
    explained: u64,
}

struct Waiting {
    close: Box<CloseRecord>,
    peer: Option<Box<CloseRecord>>,
    time_wait: Option<Box<TimeWaitRecord>>,
    peer_time_wait: Option<Box<TimeWaitRecord>>,
    /// Time-wait records that are to come
    outstanding: u8,
}

impl ExplainSink {
    /// Explanations on `out`.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>, explaining: Explaining) -> Self {
        Self {
            out,
            explaining,
            context: Context::default(),
            waiting: VecDeque::new(),
            first: 0,
            by_id: HashMap::new(),
            early: VecDeque::new(),
            taken: 0,
            explained: 0,
        }
    }

    /// How many were explained.
    #[must_use]
    pub fn explained(&self) -> u64 {
        self.explained
    }

    fn limit(&self) -> Option<u64> {
        self.explaining.conn_id.as_ref().map(|_| 1).or(self.explaining.count)
    }

    fn is_wanted(&self, close: &CloseRecord) -> bool {
        self.explaining.conn_id.as_ref().is_none_or(|wanted| *wanted == close.conn_id.to_string())
    }

    fn take(&mut self, close: CloseRecord, peer: Option<CloseRecord>) -> Result<(), SinkError> {
        if self.limit().is_some_and(|limit| self.taken >= limit) {
            return Ok(());
        }
        self.taken += 1;
        let number = self.first + self.waiting.len() as u64;
        let mut waiting = Waiting {
            close: Box::new(close),
            peer: peer.map(Box::new),
            time_wait: None,
            peer_time_wait: None,
            outstanding: 0,
        };
        let ends = [Some(&*waiting.close), waiting.peer.as_deref()].into_iter().flatten();
        let awaited: Vec<ConnId> = ends
            .filter(|end| self.explaining.time_waits && self.leaves_mini_socket(end))
            .map(|end| end.conn_id)
            .collect();
        waiting.outstanding = awaited.len() as u8;
        self.waiting.push_back(waiting);
        for id in awaited {
            self.by_id.insert(id, number);
            if let Some(place) = self.early.iter().position(|record| record.conn_id == id)
                && let Some(record) = self.early.remove(place)
            {
                self.complete(&record);
            }
        }
        self.write_due()
    }

    fn leaves_mini_socket(&self, close: &CloseRecord) -> bool {
        let watched =
            self.context.host.as_ref().is_some_and(|host| host.hooks.time_wait != TimeWaitSource::Off);
        watched
            && (close.successor.value() == Some(&Successor::TimeWait)
                || close.successor.reason() == Some(Reason::HiddenFinWait2))
    }

    /// Adds what became of a time-wait socket; whether somebody waited for it.
    fn complete(&mut self, record: &TimeWaitRecord) -> bool {
        let Some(number) = self.by_id.remove(&record.conn_id) else { return false };
        let place = number.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        let Some(waiting) = place.and_then(|place| self.waiting.get_mut(place)) else { return false };
        let own = waiting.close.conn_id == record.conn_id;
        let end = if own { &mut waiting.time_wait } else { &mut waiting.peer_time_wait };
        *end = Some(Box::new(record.clone()));
        waiting.outstanding = waiting.outstanding.saturating_sub(1);
        true
    }

    /// Writes those at the front that wait for nothing, and what there is no room for.
    fn write_due(&mut self) -> Result<(), SinkError> {
        while self.waiting.front().is_some_and(|front| front.outstanding == 0) || self.waiting.len() > WAITING
        {
            self.write_first()?;
        }
        Ok(())
    }

    fn write_first(&mut self) -> Result<(), SinkError> {
        let Some(waiting) = self.waiting.pop_front() else { return Ok(()) };
        self.first += 1;
        self.by_id.remove(&waiting.close.conn_id);
        waiting.peer.iter().for_each(|peer| _ = self.by_id.remove(&peer.conn_id));
        let settings = self.context.host.as_ref().and_then(|host| Settings::of(&host.sysctls));
        let story = Story {
            close: &waiting.close,
            time_wait: waiting.time_wait.as_deref(),
            peer: waiting.peer.as_deref(),
            peer_time_wait: waiting.peer_time_wait.as_deref(),
            settings: settings.as_ref(),
        };
        let explanation = explain(&story);
        self.write(&story, &explanation).map_err(SinkError::stdout)
    }

    fn write(&mut self, story: &Story<'_>, explanation: &Explanation) -> std::io::Result<()> {
        let style = match self.explaining.form {
            Form::Text(style) => style,
            Form::Json => {
                self.explained += 1;
                return json::write(&mut self.out, story, explanation, &self.context);
            }
        };
        let close = story.close;
        if self.explained > 0 {
            writeln!(self.out)?;
        }
        self.explained += 1;
        let time = close
            .closed_at
            .and_then(|at| when::time_of_day(&self.explaining.zone, self.context.clock?.wall_of(at)?));
        let time = time.map_or_else(String::new, |time| format!("  closed at {time}"));
        writeln!(self.out, "{}{time}", style.tinted(&close.conn_id.to_string(), Tone::Heading))?;
        for line in text::lines(explanation, style) {
            writeln!(self.out, "{line}")?;
        }
        Ok(())
    }
}

impl Sink for ExplainSink {
    fn context(&mut self, context: &Context) {
        self.context = context.clone();
    }

    fn record(&mut self, record: &Record) -> Result<(), SinkError> {
        match record {
            Record::Transition(_) => Ok(()),
            Record::Close(close) if self.is_wanted(close) => self.take((**close).clone(), None),
            Record::Close(_) => Ok(()),
            Record::TimeWait(left) => {
                if !self.complete(left) && self.explaining.time_waits {
                    self.early.push_back(left.clone());
                    let surplus = self.early.len().saturating_sub(EARLY);
                    self.early.drain(..surplus);
                }
                self.write_due()
            }
            Record::BothEnds(both) => {
                let (opener, acceptor) = (&both.opener_side, &both.acceptor_side);
                let from_acceptor = match &self.explaining.conn_id {
                    Some(_) => self.is_wanted(acceptor),
                    None => {
                        let filter = &self.explaining.filter;
                        !filter.matches_close(opener) && filter.matches_close(acceptor)
                    }
                };
                match (from_acceptor, self.is_wanted(opener)) {
                    (true, _) => self.take(acceptor.clone(), Some(opener.clone())),
                    (false, true) => self.take(opener.clone(), Some(acceptor.clone())),
                    (false, false) => Ok(()),
                }
            }
        }
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        self.out.flush().map_err(SinkError::stdout)
    }

    fn is_satisfied(&self) -> bool {
        self.limit().is_some_and(|limit| self.explained >= limit)
    }

    fn follows(&self, id: ConnId) -> bool {
        self.by_id.contains_key(&id)
    }

    fn finish(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        while !self.waiting.is_empty() {
            self.write_first()?;
        }
        if matches!(self.explaining.form, Form::Json) {
            json::line(&mut self.out, &SummaryJson::new(verdict)).map_err(SinkError::stdout)?;
        }
        self.flush()
    }
}

#[cfg(test)]
mod tests;
