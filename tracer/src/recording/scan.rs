//! Finds the whole frames of a file, whatever lies between them.
//!
//! A frame is whole if its header's and its payload's checksum are right. After damage the search goes on one byte
//! behind the place that was none, so that the next whole frame is found wherever it begins.

use std::io::{self, BufRead};

use bytes::{Buf, Bytes, BytesMut};

use super::frame::{FILE_HEADER, FILE_MAGIC, FRAME_HEADER, FRAME_MAGIC, FileHeader, FrameHeader, checksum};

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A file begins
    File(FileHeader),
    /// A whole frame and its payload, as it lies in the file
    Frame(FrameHeader, Bytes),
    /// Bytes that are no whole frame, up to the next one or the end
    Damage(Damage),
    /// What follows has not come yet (the input said [`io::ErrorKind::WouldBlock`])
    Pending,
    /// There is no more
    End,
}

/// Bytes that are no whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where they begin
    pub at: u64,
    /// How many
    pub bytes: u64,
    /// What the first of them were
    pub what: Broken,
}

/// What is wrong at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Nothing that begins a frame
    #[error("no frame begins there")]
    NoFrame,
    /// A frame whose header was changed
    #[error("the header of a frame does not match its checksum")]
    Header,
    /// A frame whose payload was changed
    #[error("the payload of a frame does not match its checksum")]
    Payload,
    /// The end came within a frame
    #[error("the file ends within a frame")]
    Cut,
}

/// Reads `input`; see the module.
#[derive(Debug)]
pub struct Scan<R> {
    input: R,
    buffer: BytesMut,
    /// Offset of the buffer's first byte in the file
    at: u64,
    ended: bool,
    damage: Option<Damage>,
}

/// What is at the buffer's beginning.
enum Here {
    File(FileHeader),
    Frame(FrameHeader),
    Nothing(Broken),
    /// More bytes are needed to tell
    More(usize),
}

impl<R: BufRead> Scan<R> {
    /// From the beginning of `input`.
    pub fn new(input: R) -> Self {
        Self { input, buffer: BytesMut::new(), at: 0, ended: false, damage: None }
    }

    /// How far it has come.
    pub fn offset(&self) -> u64 {
        self.at
    }

    /// The next of the file.
    ///
    /// # Errors
    /// When the input cannot be read.
    pub fn find(&mut self) -> io::Result<Found> {
        loop {
            match self.here() {
                Here::More(length) if !self.ended => {
                    if !self.fill(length)? {
                        return Ok(Found::Pending);
                    }
                }
                Here::More(_) if self.buffer.is_empty() => {
                    return Ok(self.damage.take().map_or(Found::End, Found::Damage));
                }
                Here::More(_) => self.skip(Broken::Cut),
                Here::Nothing(what) => self.skip(what),
                Here::File(_) | Here::Frame(_) if self.damage.is_some() => {
                    return Ok(self.damage.take().map_or(Found::Pending, Found::Damage));
                }
                Here::File(header) => {
                    self.take(FILE_HEADER);
                    return Ok(Found::File(header));
                }
                Here::Frame(header) => {
                    self.take(FRAME_HEADER);
                    return Ok(Found::Frame(header, self.take(header.stored as usize)));
                }
            }
        }
    }

    fn here(&self) -> Here {
        let bytes = &self.buffer[..];
        if begins(bytes, &FRAME_MAGIC) {
            if bytes.len() < FRAME_HEADER {
                return Here::More(FRAME_HEADER);
            }
            let Some(header) = FrameHeader::read(bytes) else { return Here::Nothing(Broken::Header) };
            let whole = FRAME_HEADER + header.stored as usize;
            return match bytes.get(FRAME_HEADER..whole) {
                None => Here::More(whole),
                Some(payload) if checksum(payload) == header.checksum => Here::Frame(header),
                Some(_) => Here::Nothing(Broken::Payload),
            };
        }
        if begins(bytes, &FILE_MAGIC) {
            if bytes.len() < FILE_HEADER {
                return Here::More(FILE_HEADER);
            }
            return FileHeader::read(bytes).map_or(Here::Nothing(Broken::Header), Here::File);
        }
        if bytes.is_empty() { Here::More(1) } else { Here::Nothing(Broken::NoFrame) }
    }

    /// Gives up the first byte, and all up to one that may begin something.
    fn skip(&mut self, what: Broken) {
        let first = |byte: &u8| *byte == FRAME_MAGIC[0] || *byte == FILE_MAGIC[0];
        let bytes = self.buffer[1..].iter().position(first).map_or(self.buffer.len(), |at| at + 1);
        let damage = self.damage.get_or_insert(Damage { at: self.at, bytes: 0, what });
        damage.bytes += bytes as u64;
        self.buffer.advance(bytes);
        self.at += bytes as u64;
    }

    fn take(&mut self, length: usize) -> Bytes {
        self.at += length as u64;
        self.buffer.split_to(length).freeze()
    }

    /// Reads until `length` bytes are there or the end is; false where that has to wait.
    fn fill(&mut self, length: usize) -> io::Result<bool> {
        while self.buffer.len() < length && !self.ended {
            match self.input.fill_buf() {
                Ok([]) => self.ended = true,
                Ok(chunk) => {
                    let used = chunk.len();
                    self.buffer.extend_from_slice(chunk);
                    self.input.consume(used);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// Whether `bytes` begin with `magic`, as far as both go.
fn begins(bytes: &[u8], magic: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().zip(magic).all(|(byte, magic)| byte == magic)
}
