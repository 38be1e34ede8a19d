//! What a run came to, in a few lines for people.

use std::fmt;
use std::time::Duration;

use finwait_core::{Accounting, Fates, Record};

use super::human::{self, count, counted, share};
use crate::config::Subject;
use crate::source::{CaptureBooks, Unread};

mod tally;

pub use tally::{FinsResent, Resets, Slowest, Tally};

/// What ended a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// SIGINT or SIGTERM
    Signal,
    /// The reader went away
    ClosedPipe,
    /// --count
    Count,
    /// --duration
    Duration,
    /// The recording was over
    Source,
}

impl Ended {
    /// The stable name used in the summary.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::ClosedPipe => "closed_pipe",
            Self::Count => "count",
            Self::Duration => "duration",
            Self::Source => "end_of_input",
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What ended the run
    pub ended: Ended,
    /// How long was looked: of a recording, from its first to its last event
    pub duration: Option<Duration>,
    /// The tracker's books
    pub accounting: Accounting,
    /// What became of the connections
    pub fates: Fates,
    /// Input that could not be read
    pub unread: Option<Unread>,
    /// What became of the packets of a capture
    pub capture: Option<CaptureBooks>,
    /// What was shown
    pub tally: Tally,
}

impl Verdict {
    /// Records of the kernel, and lines or observations of a recording, that could not be read.
    #[must_use]
    pub fn decode_errors(&self) -> u64 {
        self.accounting.decode_errors.saturating_add(self.unread.as_ref().map_or(0, Unread::count))
    }

    /// The verdict on what was shown; `None` for a recording, where nothing was.
    #[must_use]
    pub fn for_people(&self, subject: Option<Subject>) -> String {
        let mut lines = Vec::new();
        match subject {
            Some(Subject::Closes) => lines.push(self.closes()),
            Some(Subject::States) => lines.push(self.states()),
            None => {}
        }
        lines.extend(self.tally.resets.by_reason());
        lines.extend(self.tally.time_waits());
        lines.push(self.what_was_read());
        lines.join("\n")
    }

    /// The books alone: what was seen, lost or could not be read.
    #[must_use]
    pub fn what_was_read(&self) -> String {
        let mut lines = vec![self.saw(), Books(self).to_string()];
        lines.extend(self.unread.as_ref().map(ToString::to_string));
        lines.extend(self.capture.iter().flat_map(CaptureBooks::sentences));
        lines.join("\n")
    }

    fn closes(&self) -> String {
        let tally = &self.tally;
        let mut parts = vec![format!("{}{}", counted(tally.closes, "close", "closes"), self.span())];
        let first: Vec<String> = ["peer", "local", "both"]
            .into_iter()
            .filter_map(|end| Some((end, *tally.first.get(end)?)))
            .map(|(end, closes)| {
                format!("{end}{} {}", if end == "both" { "" } else { " first" }, share(closes, tally.closes))
            })
            .collect();
        if !first.is_empty() {
            parts[0] += &format!(": {}", first.join(", "));
        }
        parts.extend(tally.joined());
        parts.extend(resets(tally));
        parts.extend(tally.fins.for_people());
        parts.extend(tally.slowest.as_ref().map(ToString::to_string));
        if tally.unknown_kinds() > 0 {
            parts.push(format!("{} of unknown kind", count(tally.unknown_kinds())));
        }
        parts.join("; ")
    }

    fn states(&self) -> String {
        let tally = &self.tally;
        let shown = counted(tally.transitions, "transition", "transitions");
        let ended = match tally.closes {
            0 => String::new(),
            closes => format!("; {} ended", counted(closes, "connection", "connections")),
        };
        format!("{shown}{}{ended}", self.span())
    }

    fn span(&self) -> String {
        match self.duration {
            Some(duration) if !duration.is_zero() => {
                let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
                format!(" in {}", human::duration(ns))
            }
            _ => String::new(),
        }
    }

    fn saw(&self) -> String {
        let books = &self.accounting;
        let mut text = format!(
            "saw {}, lost {}",
            counted(books.received, "transition", "transitions"),
            count(books.lost())
        );
        match books.rescued {
            Some(rescued) if rescued > 0 => text += &format!(", rescued {}", count(rescued)),
            Some(_) => {}
            None => text += " (what was skipped is not counted here)",
        }
        // Live, what is missing by its number was lost in the ring.
        let unread = books.gaps.saturating_sub(books.lost_ring);
        if unread > 0 && self.unread.is_some() {
            text += &format!("; {} more could not be read", count(unread));
        }
        if books.hooks_lost > 0 {
            text +=
                &format!("; lost {} of the hooks beyond them", counted(books.hooks_lost, "event", "events"));
        }
        match self.tally.seen_from_middle {
            0 => {}
            1 => text += "; 1 connection was seen from the middle",
            n => text += &format!("; {} connections were seen from the middle", count(n)),
        }
        text
    }
}

/// `37 resets sent by api/402 (unread data)`, or how many went which way.
fn resets(tally: &Tally) -> Option<String> {
    let resets = &tally.resets;
    let all = counted(resets.all(), "reset", "resets");
    let sender = match resets.top_sender() {
        Some((sender, sent)) if sent == resets.sent => format!(" by {sender}"),
        Some((sender, sent)) => format!(" ({} by {sender})", count(sent)),
        None => String::new(),
    };
    match (resets.sent, resets.received, resets.unknown) {
        (0, 0, 0) => None,
        (_, 0, 0) => Some(format!("{all} sent{sender}")),
        (0, _, 0) => Some(format!("{all} received")),
        (0, 0, _) => Some(format!("{all} of unknown direction")),
        (sent, received, _) => {
            Some(format!("{all}, {} sent{sender}, {} received", count(sent), count(received)))
        }
    }
}

/// The books in one line, by the names of the summary.
struct Books<'a>(&'a Verdict);

impl fmt::Display for Books<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let books = &self.0.accounting;
        let entries = [
            ("received", Some(books.received)),
            ("lost_ring", Some(books.lost_ring)),
            ("recursion_missed", books.recursion_missed),
            ("rescued", books.rescued),
            ("gaps", Some(books.gaps)),
            ("chain_breaks", Some(books.chain_breaks)),
            ("evicted", Some(books.evicted)),
            ("decode_errors", Some(self.0.decode_errors())),
            ("duplicates", Some(books.duplicates)),
            ("hooks_lost", Some(books.hooks_lost)),
        ];
        for (at, (name, value)) in entries.into_iter().enumerate() {
            let value = value.map_or_else(|| "?".to_owned(), count);
            write!(f, "{}{name} {value}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl Tally {
    /// Takes note of a record that was shown.
    pub fn add(&mut self, record: &Record) {
        match record {
            Record::Transition(_) => self.transitions += 1,
            Record::Close(close) => self.add_close(close),
            Record::TimeWait(record) => self.add_time_wait(record),
            Record::BothEnds(both) => {
                self.add_close(&both.opener_side);
                self.add_close(&both.acceptor_side);
                self.both_ends += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests;
