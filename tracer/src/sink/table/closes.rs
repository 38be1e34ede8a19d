//! Cells of `closes`.

use finwait_core::record::{CloseKind, CloseRecord, FirstCloser, Owner, ResetDirection, Role};
use finwait_core::{Claim, Reason};

use super::layout::{Column, Place};
use super::{Moment, ends};
use crate::sink::columns::Piece;
use crate::sink::{human, strip};

/// Digits of a container's id that `docker ps` shows.
const SHORT_ID: usize = 12;

pub(super) fn cell(place: &Place, record: &CloseRecord, moment: &Moment) -> Vec<Piece> {
    vec![match place.column {
        Column::Time => moment.time(),
        Column::Seconds => moment.seconds(),
        Column::OpenedBy => opened_by(record, place.limit),
        Column::Local { port_only: true } => {
            ends::port(record.local).map_or_else(Piece::unknown, Piece::plain)
        }
        Column::Local { port_only: false } => ends::endpoint(record.local, place.limit),
        Column::Remote => ends::endpoint(record.remote, place.limit),
        Column::First => first(record),
        Column::ClosedBy { process } => closed_by(record, process),
        Column::Kind { waves } => strip::kind(record, waves),
        Column::Life => life(record),
        Column::Close { wide } => return strip::close(record, wide, place.limit),
        Column::Workload => workload(record),
        Column::Sent => bytes(&record.bytes_sent),
        Column::Received => bytes(&record.bytes_received),
        Column::Rtt => claimed(&record.srtt_us, |us| human::duration(u64::from(*us) * 1_000)),
        _ => Piece::plain(""),
    }]
}

/// The process of this end and who asked for the connection: `curl/9120 ▶`, `nginx/811 ◀`.
fn opened_by(record: &CloseRecord, limit: usize) -> Piece {
    let mark = match record.role.value() {
        Some(Role::Opened) => " ▶",
        Some(Role::Accepted) => " ◀",
        Some(Role::OpenedBoth) => " ▶◀",
        None => "",
    };
    ends::process(process(record), mark, limit)
}

/// Who is known to have used the connection here: who opened or accepted it, else who closed it, else who held it.
pub(in crate::sink) fn process(record: &CloseRecord) -> Option<&Owner> {
    let began = record.opener.value().or(record.acceptor.value());
    began.or(record.closer.value()).or(record.holder.as_ref())
}

/// The container by the beginning of its id, else the systemd unit, else the cgroup's path.
pub(super) fn workload(record: &CloseRecord) -> Piece {
    let Some(workload) = record.workload.as_deref() else { return Piece::unknown() };
    Piece::plain(match (&workload.container, &workload.unit) {
        (Some(container), _) => container.chars().take(SHORT_ID).collect(),
        (None, Some(unit)) => unit.clone(),
        (None, None) => workload.path.clone(),
    })
}

/// Which end ended it: with its FIN, its reset or its refusal. `-` where neither did.
pub(super) fn first(record: &CloseRecord) -> Piece {
    if let Claim::Known { value, .. } = record.first_closer {
        return Piece::plain(match value {
            FirstCloser::Local => "local",
            FirstCloser::Peer => "peer",
            FirstCloser::Both => "both",
        });
    }
    let by_reset = record.reset.as_ref().and_then(|reset| reset.direction.value());
    match (record.kind.value(), by_reset, record.first_closer.reason()) {
        (_, Some(ResetDirection::Sent), _) => Piece::plain("local"),
        (_, Some(ResetDirection::Received), _) | (Some(CloseKind::Refused), ..) => Piece::plain("peer"),
        (Some(CloseKind::ConnectCancelled), ..) => Piece::plain("local"),
        (Some(_), None, Some(Reason::DidNotHappen)) => Piece::plain("-"),
        _ => Piece::unknown(),
    }
}

/// The same, and with room for it the process, where it is another than the one that opened.
fn closed_by(record: &CloseRecord, with_process: bool) -> Piece {
    let first = first(record);
    match (record.closer.value(), process(record)) {
        (Some(closer), Some(shown)) if with_process && first.text == "local" && closer.tgid != shown.tgid => {
            let process = ends::process(Some(closer), "", usize::MAX);
            Piece::new(format!("local {}", process.text), first.tone)
        }
        _ => first,
    }
}

/// The life, or `≥` what was seen of it.
fn life(record: &CloseRecord) -> Piece {
    if let Claim::Known { value, .. } = record.life_ns {
        return Piece::plain(human::duration(value));
    }
    let end = record.closed_at.unwrap_or(record.last_seen_at);
    match record.steps.first().and_then(|first| end.since(first.at)) {
        Some(seen) => Piece::plain(format!("≥{}", human::duration(seen))),
        None => Piece::unknown(),
    }
}

fn bytes(claim: &Claim<u64>) -> Piece {
    claimed(claim, |value| human::bytes(*value))
}

fn claimed<T>(claim: &Claim<T>, show: impl Fn(&T) -> String) -> Piece {
    claim.value().map_or_else(Piece::unknown, |value| Piece::plain(show(value)))
}
