//! Payloads packed with zstd, each on its own.

use std::io;

use zstd::bulk::{Compressor, Decompressor};

/// Fast: the tables of a frame have taken most repetitions out already.
const LEVEL: i32 = 1;

/// Packs payloads.
pub(super) struct Packer(Compressor<'static>);

impl Packer {
    pub(super) fn new() -> io::Result<Self> {
        Compressor::new(LEVEL).map(Self)
    }

    /// `payload` packed; `None` where that would not make it shorter.
    pub(super) fn pack(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        self.0.compress(payload).ok().filter(|packed| packed.len() < payload.len())
    }
}

/// Unpacks payloads into one buffer.
pub(super) struct Unpacker {
    zstd: Decompressor<'static>,
    buffer: Vec<u8>,
}

impl Unpacker {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { zstd: Decompressor::new()?, buffer: Vec::new() })
    }

    /// What `packed` was; `None` where it is nothing packed, or not of `length`.
    pub(super) fn unpack(&mut self, packed: &[u8], length: u32) -> Option<&[u8]> {
        let length = length as usize;
        self.buffer.clear();
        self.buffer.reserve(length);
        let unpacked = self.zstd.decompress_to_buffer(packed, &mut self.buffer).ok()?;
        (unpacked == length).then_some(&self.buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_unpacks_to_its_length_alone() {
        let payload = [7; 1000];
        let packed = Packer::new().unwrap().pack(&payload).unwrap();
        let mut unpacker = Unpacker::new().unwrap();
        assert_eq!(unpacker.unpack(&packed, 1000), Some(&payload[..]));
        for length in [999, 1001, 0] {
            assert_eq!(unpacker.unpack(&packed, length), None, "{length}");
        }
        assert_eq!(unpacker.unpack(b"nothing packed", 1000), None);
    }

    #[test]
    fn what_would_not_get_shorter_stays_as_it_is() {
        assert_eq!(Packer::new().unwrap().pack(b"abc"), None);
    }
}
