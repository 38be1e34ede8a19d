//! The parts of a strip, and which of them are left out when there is no room for all.

use finwait_core::record::Dwell;

use crate::sink::columns::Piece;

/// Between two parts.
const DOT: &str = " · ";

/// One part of a strip.
#[derive(Clone, Debug)]
pub(super) struct Part {
    piece: Piece,
    /// What it is worth, where it may be left out
    worth: Option<u64>,
    /// Out of the ordinary: worth the room of others
    pub(super) notable: bool,
    /// Stands between the parts of two ends
    divides: bool,
}

impl Part {
    /// Stays.
    pub(super) fn kept(piece: Piece) -> Self {
        Self { piece, worth: None, notable: false, divides: false }
    }

    /// Stays, and others go for it.
    pub(super) fn notable(piece: Piece) -> Self {
        Self { notable: true, ..Self::kept(piece) }
    }

    /// A time: the longer the more it is worth, and what is slow or unknown stays.
    pub(super) fn time(piece: Piece, dwell: &Dwell) -> Self {
        let worth = if dwell.slow { None } else { dwell.duration_ns.value().map(|ns| ns.saturating_add(1)) };
        Self { worth, ..Self::kept(piece) }
    }

    /// Goes first.
    pub(super) fn least(piece: Piece) -> Self {
        Self { worth: Some(0), ..Self::kept(piece) }
    }

    /// Stands between the parts of two ends.
    pub(super) fn divider(text: &str) -> Self {
        Self { divides: true, ..Self::kept(Piece::plain(text)) }
    }
}

/// `parts` without as many of the least worth as it takes to get to `room` characters, as far as that is possible.
pub(super) fn fitted(mut parts: Vec<Part>, room: usize) -> Vec<Part> {
    while length(&parts) > room {
        let least =
            parts.iter().enumerate().filter_map(|(index, part)| part.worth.map(|worth| (worth, index))).min();
        let Some((_, index)) = least else { break };
        parts.remove(index);
    }
    parts
}

/// Characters of `parts` when they are joined.
pub(super) fn length(parts: &[Part]) -> usize {
    let texts: usize = parts.iter().map(|part| part.piece.text.chars().count()).sum();
    texts + dots(parts) * DOT.chars().count()
}

fn dots(parts: &[Part]) -> usize {
    parts.windows(2).filter(|pair| !pair.iter().any(|part| part.divides)).count()
}

/// The pieces with what stands between them.
pub(super) fn joined(parts: Vec<Part>) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(parts.len() * 2);
    let mut after_divider = true;
    for part in parts {
        if !after_divider && !part.divides {
            pieces.push(Piece::plain(DOT));
        }
        after_divider = part.divides;
        pieces.push(part.piece);
    }
    pieces
}
