//! Rows of fixed-width columns that are written as they come, so no row can wait for the widest.
//!
//! A cell that needs more than its column borrows from the padding of those after it: the row is back in line as soon
//! as there is room, and nothing needs to be cut for one long cell.

use super::text;

/// What a cell means; colour only repeats what its text says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    /// Nothing special
    #[default]
    Plain,
    /// A heading
    Heading,
    /// Not known
    Unknown,
    /// Took long
    Slow,
    /// Went wrong
    Bad,
    /// As it should be, and of no great interest
    Quiet,
}

impl Tone {
    pub(super) const fn codes(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Heading => "1",
            Self::Unknown | Self::Quiet => "2",
            Self::Slow => "1;33",
            Self::Bad => "31",
        }
    }
}

/// A piece of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) tone: Tone,
}

impl Piece {
    pub(super) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }

    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self::new(text, Tone::Plain)
    }

    /// What stands for something that is not known.
    pub(super) fn unknown() -> Self {
        Self::new("?", Tone::Unknown)
    }
}

/// Where a cell's text stands in its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    /// At its left
    Left,
    /// At its right
    Right,
}

/// One row in the making.
#[derive(Debug)]
pub(super) struct Row {
    text: String,
    /// Spaces due before the next cell, should there be one
    padding: usize,
    /// Characters borrowed from the columns to come
    debt: usize,
    colour: bool,
}

impl Row {
    pub(super) fn new(colour: bool) -> Self {
        Self { text: String::with_capacity(160), padding: 0, debt: 0, colour }
    }

    /// Appends a cell of one piece.
    pub(super) fn cell(&mut self, piece: &Piece, width: usize, align: Align) {
        self.pieces(std::slice::from_ref(piece), width, align);
    }

    /// Appends a cell.
    pub(super) fn pieces(&mut self, pieces: &[Piece], width: usize, align: Align) {
        // Escaping happens here, once, so that no cell can forget it.
        let safe: Vec<_> = pieces.iter().map(|piece| (text::safe(&piece.text), piece.tone)).collect();
        let length: usize = safe.iter().map(|(text, _)| text.chars().count()).sum();
        let room = width.saturating_sub(self.debt);
        let slack = room.saturating_sub(length);
        self.debt = (self.debt + length).saturating_sub(width);
        let (before, after) = if align == Align::Left { (0, slack) } else { (slack, 0) };
        self.space(self.padding + before);
        for (text, tone) in safe {
            self.push(&text, tone);
        }
        self.padding = after + 1;
    }

    /// Appends text between two columns.
    pub(super) fn between(&mut self, text: &str) {
        self.space(self.padding);
        self.push(text, Tone::Plain);
        self.padding = 0;
    }

    fn space(&mut self, count: usize) {
        self.text.extend(std::iter::repeat_n(' ', count));
    }

    fn push(&mut self, text: &str, tone: Tone) {
        if !self.colour || tone == Tone::Plain || text.is_empty() {
            self.text.push_str(text);
        } else {
            self.text.extend(["\x1b[", tone.codes(), "m", text, "\x1b[0m"]);
        }
    }

    /// The row as a line.
    pub(super) fn finish(mut self) -> String {
        self.text.push('\n');
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[(&str, usize, Align)]) -> String {
        let mut row = Row::new(false);
        for (text, width, align) in cells {
            row.cell(&Piece::plain(*text), *width, *align);
        }
        row.finish()
    }

    #[test]
    fn cells_are_padded_but_not_behind_the_last() {
        assert_eq!(
            row(&[("a", 3, Align::Left), ("b", 3, Align::Right), ("c", 9, Align::Left)]),
            "a     b c\n"
        );
    }

    #[test]
    fn a_cell_that_is_too_long_borrows_from_those_after_it() {
        assert_eq!(
            row(&[
                ("abcdef", 3, Align::Left),
                ("x", 2, Align::Left),
                ("y", 4, Align::Right),
                ("z", 1, Align::Left)
            ]),
            "abcdef x  y z\n"
        );
        assert_eq!(
            row(&[
                ("abc", 3, Align::Left),
                ("x", 2, Align::Left),
                ("y", 4, Align::Right),
                ("z", 1, Align::Left)
            ]),
            "abc x     y z\n"
        );
    }

    #[test]
    fn no_cell_carries_a_control_character_into_the_row() {
        assert_eq!(row(&[("a\n\u{1b}[1m\u{202e}", 1, Align::Left)]), "a\\n\\x1b[1m\\u{202e}\n");
    }

    #[test]
    fn colour_changes_no_width() {
        let build = |colour| {
            let mut row = Row::new(colour);
            row.cell(&Piece::new("slow", Tone::Slow), 6, Align::Left);
            row.cell(&Piece::unknown(), 3, Align::Right);
            row.finish()
        };
        assert_eq!(build(false), "slow     ?\n");
        assert_eq!(build(true), "\x1b[1;33mslow\x1b[0m     \x1b[2m?\x1b[0m\n");
    }
}
