//! Payloads packed, each on its own: with LZ4, which takes little time to unpack. Earlier recordings have zstd.

use std::io;

use lz4_flex::block;
use zstd::bulk::Decompressor;

use super::frame::Packing;

/// `payload` packed; `None` where that would not make it shorter.
pub(super) fn pack(payload: &[u8]) -> Option<Vec<u8>> {
    let packed = block::compress(payload);
    (packed.len() < payload.len()).then_some(packed)
}

/// Unpacks payloads.
pub(super) struct Unpacker(Decompressor<'static>);

impl Unpacker {
    pub(super) fn new() -> io::Result<Self> {
        Decompressor::new().map(Self)
    }

    /// What `packed` was, into `payload`; whether it was packed so, and of `length`.
    pub(super) fn unpack(
        &mut self,
        packing: Packing,
        packed: &[u8],
        length: u32,
        payload: &mut Vec<u8>,
    ) -> bool {
        if packing == Packing::None {
            payload.clear();
            payload.extend_from_slice(packed);
            return true;
        }
        // What is there already is written over, and need not be zero.
        payload.resize(length as usize, 0);
        let unpacked = if packing == Packing::Lz4 {
            block::decompress_into(packed, payload).ok()
        } else {
            self.0.decompress_to_buffer(packed, payload.as_mut_slice()).ok()
        };
        unpacked == Some(payload.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(packing: Packing, packed: &[u8], length: u32) -> Option<Vec<u8>> {
        let mut payload = vec![1; 10];
        Unpacker::new().unwrap().unpack(packing, packed, length, &mut payload).then_some(payload)
    }

    #[test]
    fn what_was_packed_unpacks_to_its_length_alone() {
        let payload = [7; 1000];
        let packed = [
            (Packing::Lz4, pack(&payload).unwrap()),
            (Packing::Zstd, zstd::bulk::compress(&payload, 1).unwrap()),
        ];
        for (packing, packed) in packed {
            assert_eq!(unpacked(packing, &packed, 1000).as_deref(), Some(&payload[..]));
            for length in [999, 1001, 0] {
                assert_eq!(unpacked(packing, &packed, length), None, "{packing:?} {length}");
            }
            assert_eq!(unpacked(packing, &packed[..packed.len() - 1], 1000), None, "{packing:?}");
            assert_eq!(unpacked(packing, b"nothing packed", 1000), None, "{packing:?}");
        }
    }

    /// A block that is longer than any payload, and says so only in its lengths.
    #[test]
    fn a_block_of_any_length_takes_no_more_room_than_its_header_says() {
        let bomb = [&[0x1f, 7, 1, 0][..], &[0xff; 10_000], &[0]].concat();
        assert_eq!(unpacked(Packing::Lz4, &bomb, 1000), None);
    }

    #[test]
    fn what_would_not_get_shorter_stays_as_it_is() {
        assert_eq!(pack(b"abc"), None);
    }
}
