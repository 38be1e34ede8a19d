//! Cells of `closes --both-ends` for a connection of which both ends were seen: the opener's as ever, and the acceptor's
//! where there is something of its own to show.

use finwait_core::record::{BothEnds, Side};
use finwait_core::{Claim, Reason};

use super::closes;
use super::layout::{Column, Place};
use super::{Moment, ends};
use crate::sink::columns::{Piece, Tone};
use crate::sink::strip;

pub(super) fn cell(place: &Place, both: &BothEnds, moment: &Moment) -> Vec<Piece> {
    let opener = &both.opener_side;
    vec![match place.column {
        Column::Remote => remote(both, place.limit),
        Column::First | Column::ClosedBy { .. } => first(both),
        Column::Kind { waves } => strip::kinds(both, waves),
        Column::Close { wide } => return strip::both(both, wide, place.limit),
        Column::Workload => workload(both),
        _ => return closes::cell(place, opener, moment),
    }]
}

/// `10.0.0.7:8080 ◀ nginx/811`
fn remote(both: &BothEnds, limit: usize) -> Piece {
    let end = ends::endpoint(both.acceptor_side.local, limit);
    let accepted = ends::process(closes::process(&both.acceptor_side), "", limit);
    Piece::plain(format!("{} ◀ {}", end.text, accepted.text))
}

/// The end that ended it: `▶` the one that opened, `◀` the one that accepted. `!` where each says something else.
fn first(both: &BothEnds) -> Piece {
    let mark = match both.first_closer() {
        Claim::Known { value: Side::Opener, .. } => "▶",
        Claim::Known { value: Side::Acceptor, .. } => "◀",
        Claim::Known { value: Side::Both, .. } => "▶◀",
        Claim::Unknown(Reason::EndsContradict) => return Piece::new("!", Tone::Bad),
        Claim::Unknown(_) => return without_fin(both),
    };
    Piece::plain(mark)
}

/// By reset or refusal, as far as one end knows and the other does not say otherwise.
fn without_fin(both: &BothEnds) -> Piece {
    let (opener, acceptor) = (closes::first(&both.opener_side), closes::first(&both.acceptor_side));
    match (opener.text.as_str(), acceptor.text.as_str()) {
        ("local", "local") | ("peer", "peer") => Piece::new("!", Tone::Bad),
        ("local", _) | (_, "peer") => Piece::plain("▶"),
        ("peer", _) | (_, "local") => Piece::plain("◀"),
        _ => opener,
    }
}

fn workload(both: &BothEnds) -> Piece {
    let (opener, acceptor) = (closes::workload(&both.opener_side), closes::workload(&both.acceptor_side));
    if opener == acceptor { opener } else { Piece::plain(format!("{} ◀ {}", opener.text, acceptor.text)) }
}
