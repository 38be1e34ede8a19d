//! Lines of an untrusted file: of bounded length, in any encoding.

use std::io::{self, BufRead};

/// Longest line that is kept; no observation comes near it.
pub(super) const MAX_LINE: usize = 64 << 10;

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// It is in [`Lines::text`], without its end
    Complete,
    /// It was too long and is skipped
    TooLong,
    /// Its rest has not arrived (the input said [`io::ErrorKind::WouldBlock`])
    Pending,
    /// There are no more
    End,
}

/// Splits `input`, never keeping more than [`MAX_LINE`] bytes.
pub(super) struct Lines<R> {
    input: R,
    text: Vec<u8>,
    begun: bool,
    too_long: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, text: Vec::new(), begun: false, too_long: false }
    }

    /// The line that [`Lines::next`] called complete.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Reads on to the end of a line.
    pub(super) fn next(&mut self) -> io::Result<Line> {
        if !self.begun {
            self.text.clear();
            self.too_long = false;
        }
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Line::Pending),
                Err(error) => return Err(error),
            };
            if chunk.is_empty() && !self.begun {
                return Ok(Line::End);
            }
            self.begun = true;
            let end = chunk.iter().position(|b| *b == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            self.too_long |= self.text.len() + part.len() > MAX_LINE;
            if !self.too_long {
                self.text.extend_from_slice(part);
            }
            let used = end.map_or(chunk.len(), |at| at + 1);
            self.input.consume(used);
            if end.is_some() || used == 0 {
                self.begun = false;
                return Ok(if self.too_long { Line::TooLong } else { Line::Complete });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn all(input: &[u8], capacity: usize) -> Vec<(Line, Vec<u8>)> {
        let mut input = Lines::new(BufReader::with_capacity(capacity, input));
        let mut lines = Vec::new();
        loop {
            match input.next().unwrap() {
                Line::End => return lines,
                line => lines.push((line, input.text().to_vec())),
            }
        }
    }

    #[test]
    fn lines_come_whole_whatever_the_buffer_holds() {
        for capacity in [1, 2, 3, 64] {
            let lines = all(b"ab\n\nc\xff", capacity);
            let want = [&b"ab"[..], b"", b"c\xff"];
            assert_eq!(lines.len(), 3, "{capacity}");
            for ((line, text), want) in lines.iter().zip(want) {
                assert_eq!((line, text.as_slice()), (&Line::Complete, want));
            }
        }
    }

    #[test]
    fn a_line_without_end_takes_no_more_memory_than_the_limit() {
        let mut input = vec![b'x'; MAX_LINE * 3];
        input.extend_from_slice(b"\nnext\n");
        let lines = all(&input, 4096);
        assert_eq!(lines[0].0, Line::TooLong);
        assert!(lines[0].1.len() <= MAX_LINE);
        assert_eq!(lines[1], (Line::Complete, b"next".to_vec()));
    }

    #[test]
    fn a_last_line_needs_no_line_feed() {
        assert_eq!(all(b"x", 8).len(), 1);
        assert_eq!(all(b"x\n", 8).len(), 1);
        assert!(all(b"", 8).is_empty());
    }
}
