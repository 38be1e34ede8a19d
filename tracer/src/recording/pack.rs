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

/// Unpacks payloads.
pub(super) struct Unpacker(Decompressor<'static>);

impl Unpacker {
    pub(super) fn new() -> io::Result<Self> {
        Decompressor::new().map(Self)
    }

    /// What `packed` was, into `payload`; whether it was packed, and of `length`.
    pub(super) fn unpack(&mut self, packed: &[u8], length: u32, payload: &mut Vec<u8>) -> bool {
        let length = length as usize;
        payload.clear();
        payload.reserve(length);
        self.0.decompress_to_buffer(packed, payload).is_ok_and(|unpacked| unpacked == length)
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
        let mut unpacked = Vec::new();
        assert!(unpacker.unpack(&packed, 1000, &mut unpacked));
        assert_eq!(unpacked, payload);
        for length in [999, 1001, 0] {
            assert!(!unpacker.unpack(&packed, length, &mut Vec::new()), "{length}");
        }
        assert!(!unpacker.unpack(b"nothing packed", 1000, &mut unpacked));
    }

    #[test]
    fn what_would_not_get_shorter_stays_as_it_is() {
        assert_eq!(Packer::new().unwrap().pack(b"abc"), None);
    }
}
