//! The bytes of an untrusted file, as many at a time as the next block needs. A pipe is never waited for.

use std::io::{self, BufRead};

/// Read bytes that nobody needs any more are given up once there are so many.
const SPENT: usize = 64 << 10;

/// Whether there are as many bytes as were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// There are
    Enough,
    /// Not yet (the input said [`io::ErrorKind::WouldBlock`])
    Pending,
    /// There never will be: the input ends before
    Short,
}

/// See the module.
pub(super) struct Input {
    inner: Box<dyn BufRead + Send>,
    held: Vec<u8>,
    start: usize,
    /// Bytes consumed so far
    offset: u64,
}

impl Input {
    pub(super) fn new(inner: Box<dyn BufRead + Send>) -> Self {
        Self { inner, held: Vec::new(), start: 0, offset: 0 }
    }

    /// Reads on until there are `length` bytes in [`Input::front`]. Memory grows with what came, not with what was asked for.
    pub(super) fn fill(&mut self, length: usize) -> io::Result<Filled> {
        while self.front().len() < length {
            let chunk = match self.inner.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Filled::Pending),
                Err(error) => return Err(error),
            };
            if chunk.is_empty() {
                return Ok(Filled::Short);
            }
            if self.start >= SPENT {
                self.held.drain(..self.start);
                self.start = 0;
            }
            let used = chunk.len();
            self.held.extend_from_slice(chunk);
            self.inner.consume(used);
        }
        Ok(Filled::Enough)
    }

    /// What was read and not consumed.
    pub(super) fn front(&self) -> &[u8] {
        self.held.get(self.start..).unwrap_or_default()
    }

    /// Goes on behind `length` bytes of [`Input::front`].
    pub(super) fn consume(&mut self, length: usize) {
        let length = length.min(self.front().len());
        self.start += length;
        self.offset += length as u64;
    }

    /// Where [`Input::front`] begins in the file.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }
}
