//! A pipe that is read without waiting for it: a thread of its own waits, so that a quiet pipe neither holds back what
//! has come nor keeps finwait from stopping.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

const CHUNK: usize = 64 << 10;
/// Chunks read ahead; with more the writer waits.
const AHEAD: usize = 8;
const PATIENCE: Duration = Duration::from_millis(50);

/// Buffered input; says [`io::ErrorKind::WouldBlock`] where nothing came for a moment.
pub(super) struct Pipe {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    used: usize,
}

impl Pipe {
    pub(super) fn new(input: impl Read + Send + 'static) -> Self {
        let (sender, chunks) = sync_channel(AHEAD);
        thread::spawn(move || forward(input, &sender));
        Self { chunks, chunk: Vec::new(), used: 0 }
    }
}

fn forward(mut input: impl Read, sender: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut chunk = vec![0; CHUNK];
        let read = input.read(&mut chunk).map(|length| {
            chunk.truncate(length);
            chunk
        });
        let last = match &read {
            Ok(chunk) => chunk.is_empty(),
            Err(error) => error.kind() != io::ErrorKind::Interrupted,
        };
        if sender.send(read).is_err() || last {
            return;
        }
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Pipe {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used == self.chunk.len() {
            self.used = 0;
            self.chunk.clear();
            self.chunk = match self.chunks.recv_timeout(PATIENCE) {
                Ok(chunk) => chunk?,
                Err(RecvTimeoutError::Timeout) => return Err(io::ErrorKind::WouldBlock.into()),
                Err(RecvTimeoutError::Disconnected) => Vec::new(),
            };
        }
        Ok(&self.chunk[self.used..])
    }

    fn consume(&mut self, amount: usize) {
        self.used = self.chunk.len().min(self.used + amount);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_quiet_pipe_hands_out_what_has_come_and_does_not_wait() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut pipe = Pipe::new(reader);
        writer.write_all(b"half").unwrap();
        let mut got = Vec::new();
        loop {
            match pipe.fill_buf() {
                Ok(chunk) => {
                    got.extend_from_slice(chunk);
                    let length = chunk.len();
                    pipe.consume(length);
                }
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    if !got.is_empty() {
                        break;
                    }
                }
            }
        }
        assert_eq!(got, b"half");
        drop(writer);
        while let Err(error) = pipe.fill_buf() {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
        assert_eq!(pipe.fill_buf().unwrap(), b"");
    }
}
