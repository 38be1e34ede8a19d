//! A stream that may be packed with gzip or zstd, which its first bytes tell.

use std::io::{self, BufReader, Chain, Cursor, Read};

use flate2::read::MultiGzDecoder;
use zstd::Decoder;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Longest match that a stream may reach back: more would take as much memory.
const WINDOW_LOG: u32 = 27;

/// What was read to find out, and the rest.
type Whole<R> = Chain<Cursor<Vec<u8>>, R>;

/// See the module. It waits for as many bytes as it takes to find out.
pub(super) struct Unpacked<R: Read>(State<R>);

enum State<R: Read> {
    New(Option<R>),
    Plain(Whole<R>),
    Gzip(Box<MultiGzDecoder<Whole<R>>>),
    Zstd(Box<Decoder<'static, BufReader<Whole<R>>>>),
}

impl<R: Read> Unpacked<R> {
    pub(super) fn new(input: R) -> Self {
        Self(State::New(Some(input)))
    }

    fn begin(mut input: R) -> io::Result<State<R>> {
        let mut head = Vec::with_capacity(ZSTD.len());
        (&mut input).take(ZSTD.len() as u64).read_to_end(&mut head)?;
        let packed = [head.starts_with(&GZIP), head == ZSTD];
        let whole = Cursor::new(head).chain(input);
        Ok(match packed {
            [true, _] => State::Gzip(Box::new(MultiGzDecoder::new(whole))),
            [_, true] => {
                let mut decoder = Decoder::new(whole)?;
                decoder.window_log_max(WINDOW_LOG)?;
                State::Zstd(Box::new(decoder))
            }
            _ => State::Plain(whole),
        })
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let State::New(input) = &mut self.0 {
            let Some(input) = input.take() else { return Ok(0) };
            self.0 = Self::begin(input)?;
        }
        match &mut self.0 {
            State::New(_) => Ok(0),
            State::Plain(input) => input.read(buffer),
            State::Gzip(input) => input.read(buffer),
            State::Zstd(input) => input.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut read = Vec::new();
        Unpacked::new(bytes).read_to_end(&mut read).map(|_| read)
    }

    #[test]
    fn packed_or_not_the_same_comes_out() {
        let text = b"{\"observation\":\"watermark\"}\n".repeat(100);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        let zstd = zstd::encode_all(&text[..], 1).unwrap();
        for bytes in [&text, &gzip.finish().unwrap(), &zstd] {
            assert_eq!(read(bytes).unwrap(), text);
        }
    }

    #[test]
    fn what_is_shorter_than_a_magic_is_itself() {
        for bytes in [&b""[..], b"{", b"\x28\xb5"] {
            assert_eq!(read(bytes).unwrap(), bytes);
        }
        assert!(read(&GZIP).is_err(), "a gzip header is cut off");
    }
}
