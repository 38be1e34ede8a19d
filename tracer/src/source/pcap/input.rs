//! The bytes of an untrusted file, as many at a time as the next block needs. A pipe is never waited for.

use std::io::{self, BufRead};

/// Bytes that are asked for at once.
const CHUNK: usize = 128 << 10;

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
    room: Vec<u8>,
    /// What was read and not consumed is `room[start..end]`
    start: usize,
    end: usize,
    /// Bytes consumed so far
    offset: u64,
}

impl Input {
    pub(super) fn new(inner: Box<dyn BufRead + Send>) -> Self {
        Self { inner, room: vec![0; CHUNK], start: 0, end: 0, offset: 0 }
    }

    /// Reads on until there are `length` bytes in [`Input::front`]. Memory grows with what came, not with what was asked for.
    #[inline]
    pub(super) fn fill(&mut self, length: usize) -> io::Result<Filled> {
        if self.end - self.start >= length { Ok(Filled::Enough) } else { self.read(length) }
    }

    #[cold]
    fn read(&mut self, length: usize) -> io::Result<Filled> {
        while self.end - self.start < length {
            self.make_room();
            match self.inner.read(&mut self.room[self.end..]) {
                Ok(0) => return Ok(Filled::Short),
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Filled::Pending),
                Err(error) => return Err(error),
            }
        }
        Ok(Filled::Enough)
    }

    /// There is room behind what was read: that moves to the front, and where it fills all of it there is more.
    fn make_room(&mut self) {
        self.room.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.room.len() - self.end < CHUNK / 2 {
            self.room.resize(2 * self.room.len(), 0);
        }
    }

    /// What was read and not consumed.
    pub(super) fn front(&self) -> &[u8] {
        self.room.get(self.start..self.end).unwrap_or_default()
    }

    /// Goes on behind `length` bytes of [`Input::front`].
    pub(super) fn consume(&mut self, length: usize) {
        let length = length.min(self.end - self.start);
        self.start += length;
        self.offset += length as u64;
    }

    /// Where [`Input::front`] begins in the file.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }
}
