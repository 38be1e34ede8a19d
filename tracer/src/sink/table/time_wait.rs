//! Cells of `closes --time-waits` for the end of a time-wait socket: a quiet line, unless it ended badly.

use finwait_core::Claim;
use finwait_core::record::{TimeWaitEnd, TimeWaitRecord};

use super::layout::{Column, Place};
use super::{Moment, ends};
use crate::sink::columns::{Piece, Tone};
use crate::sink::{human, safe, strip};

pub(super) fn cell(place: &Place, record: &TimeWaitRecord, moment: &Moment) -> Vec<Piece> {
    let piece = match place.column {
        Column::Time => moment.time(),
        Column::Seconds => moment.seconds(),
        Column::Local { port_only: true } => {
            ends::port(record.local).map_or_else(Piece::unknown, Piece::plain)
        }
        Column::Local { port_only: false } => ends::endpoint(record.local, place.limit),
        Column::Remote => ends::endpoint(record.remote, place.limit),
        Column::Kind { .. } => Piece::plain(kind(record)),
        Column::Life => life(record),
        Column::Close { .. } => return course(record).into_iter().map(quiet).collect(),
        _ => Piece::plain(""),
    };
    vec![quiet(piece)]
}

fn quiet(piece: Piece) -> Piece {
    if piece.tone == Tone::Plain { Piece { tone: Tone::Quiet, ..piece } } else { piece }
}

/// `orphan` for what waited for the peer's FIN to its end: closed by its process, not by its peer.
fn kind(record: &TimeWaitRecord) -> &'static str {
    let waited = record.from_fin_wait2.value() == Some(&true) && record.entered.value().is_none();
    if waited || record.end.value() == Some(&TimeWaitEnd::FinWait2TimedOut) { "orphan" } else { "time-wait" }
}

fn life(record: &TimeWaitRecord) -> Piece {
    let (Claim::Known { value: began, .. }, Claim::Known { value: ended, .. }) = (record.began, record.ended)
    else {
        return Piece::unknown();
    };
    match (began.exact().zip(ended.exact()), ended.earliest.since(began.latest)) {
        (Some((began, ended)), _) => {
            ended.since(began).map_or_else(Piece::unknown, |ns| Piece::plain(human::duration(ns)))
        }
        (None, Some(least)) => Piece::plain(format!("≥{}", human::duration(least))),
        (None, None) => Piece::unknown(),
    }
}

/// `FW2 3.1s · TW 60.9s · 2MSL over`
fn course(record: &TimeWaitRecord) -> Vec<Piece> {
    let spans = [("FW2", record.fin_wait2_ns), ("TW", record.time_wait_ns)];
    let spans = spans.into_iter().filter_map(|(name, claim)| Some(span(name, *claim.value()?)));
    let mut pieces = Vec::new();
    for piece in spans.chain([end(record)]) {
        if !pieces.is_empty() {
            pieces.push(Piece::plain(" · "));
        }
        pieces.push(piece);
    }
    pieces
}

fn span(name: &str, (least, most): (u64, u64)) -> Piece {
    let (least, most) = (human::duration(least), human::duration(most));
    Piece::plain(if least == most { format!("{name} {least}") } else { format!("{name} {least}–{most}") })
}

fn end(record: &TimeWaitRecord) -> Piece {
    let Claim::Known { value: end, .. } = record.end else {
        let why = record.end.reason().map_or("", strip::why);
        return Piece::new(why, Tone::Unknown);
    };
    let (text, tone) = match end {
        TimeWaitEnd::Expired => ("2MSL over", Tone::Plain),
        TimeWaitEnd::FinWait2TimedOut => ("the peer never closed", Tone::Bad),
        TimeWaitEnd::ReusedByConnect => ("reused by connect", Tone::Plain),
        TimeWaitEnd::ReusedBySyn => ("reused by a SYN", Tone::Plain),
        TimeWaitEnd::ResetReceived => ("reset by the peer", Tone::Bad),
        TimeWaitEnd::LateData => ("late data, reset sent", Tone::Bad),
        TimeWaitEnd::Killed => ("by an administrator", Tone::Bad),
        TimeWaitEnd::NamespaceGone => ("namespace gone", Tone::Plain),
        TimeWaitEnd::NeverAllocated => ("no room for it", Tone::Bad),
    };
    match record.ended_by.value() {
        Some(owner) => Piece::new(format!("{text} ({}/{})", safe(&owner.comm.to_string()), owner.tgid), tone),
        None => Piece::new(text, tone),
    }
}
