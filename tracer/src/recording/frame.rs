//! Headers: of a file, and of each frame in it. All numbers are little endian.

use bytes::{Buf, BufMut};

/// What a file begins with: a byte that is no text, then line ends that a transfer as text would spoil.
pub const FILE_MAGIC: [u8; 8] = *b"\x89FWREC\r\n";
/// What a frame begins with.
pub const FRAME_MAGIC: [u8; 4] = [0xf7, b'F', b'R', 0xa5];
/// Version of all that is in a file. Earlier ones are read too.
pub const VERSION: u16 = 2;
/// Length of a file's header.
pub const FILE_HEADER: usize = 44;
/// Length of a frame's header.
pub const FRAME_HEADER: usize = 44;
/// Most bytes of a payload, as it lies in the file and unpacked: far more than any writer makes.
pub const MAX_PAYLOAD: u32 = 1 << 20;

/// A file's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// Version of the format
    pub version: u16,
    /// Which file of its run it is, from 0
    pub part: u32,
    /// The run of `finwait record`: the same in all its files
    pub run: u64,
    /// Number of its first frame
    pub number: u64,
    /// Observations of the run in earlier files
    pub before: u64,
}

impl FileHeader {
    /// As bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; FILE_HEADER] {
        let mut bytes = [0; FILE_HEADER];
        let mut out = &mut bytes[..];
        out.put_slice(&FILE_MAGIC);
        out.put_u16_le(self.version);
        out.put_u16_le(0);
        out.put_u32_le(self.part);
        out.put_u64_le(self.run);
        out.put_u64_le(self.number);
        out.put_u64_le(self.before);
        seal(&mut bytes);
        bytes
    }

    /// From bytes; `None` where these are not a whole header.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut input = sealed::<FILE_HEADER>(bytes)?;
        if input.copy_to_bytes(FILE_MAGIC.len()) != FILE_MAGIC.as_slice() {
            return None;
        }
        let version = input.get_u16_le();
        input.advance(2);
        Some(Self {
            version,
            part: input.get_u32_le(),
            run: input.get_u64_le(),
            number: input.get_u64_le(),
            before: input.get_u64_le(),
        })
    }
}

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// Observations
    Observations,
    /// What a file that goes on begins with: host, clocks and names again, and how far the stream had come. Its
    /// observations are none of the run's, and say nothing new to who has read the file before.
    Preamble,
    /// Nothing: the run is over
    End,
    /// Nothing: the run goes on in another file
    Continued,
}

impl FrameKind {
    fn code(self) -> u8 {
        match self {
            Self::Observations => 1,
            Self::Preamble => 2,
            Self::End => 3,
            Self::Continued => 4,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Observations, Self::Preamble, Self::End, Self::Continued]
            .into_iter()
            .find(|kind| kind.code() == code)
    }
}

/// How a payload is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all
    None,
    /// With zstd, as a frame: as recordings once were
    Zstd,
    /// With LZ4, as a block
    Lz4,
}

impl Packing {
    fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Zstd => 1,
            Self::Lz4 => 2,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::None, Self::Zstd, Self::Lz4].into_iter().find(|packing| packing.code() == code)
    }
}

/// How a payload has its transitions, by the version of the format that began to write them so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Each sequence number as what it differs by from the base's; 2048 slots
    V1,
    /// Most sequence numbers as how far they are from another; 256 slots
    V2,
}

impl Layout {
    fn code(self) -> u8 {
        match self {
            Self::V1 => 0,
            Self::V2 => 1,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::V1, Self::V2].into_iter().find(|layout| layout.code() == code)
    }
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// What it holds
    pub kind: FrameKind,
    /// How the payload is packed
    pub packing: Packing,
    /// How the payload has its transitions
    pub layout: Layout,
    /// Number of the frame in its run, from 0
    pub number: u64,
    /// Observations of the run ahead of this frame
    pub before: u64,
    /// Observations in this frame
    pub observations: u32,
    /// Bytes of the payload as it lies in the file
    pub stored: u32,
    /// Bytes of the payload unpacked
    pub unpacked: u32,
    /// CRC-32 of the payload as it lies in the file
    pub checksum: u32,
}

impl FrameHeader {
    /// As bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; FRAME_HEADER] {
        let mut bytes = [0; FRAME_HEADER];
        let mut out = &mut bytes[..];
        out.put_slice(&FRAME_MAGIC);
        out.put_u8(self.kind.code());
        out.put_u8(self.packing.code());
        out.put_u8(self.layout.code());
        out.put_u8(0);
        out.put_u64_le(self.number);
        out.put_u64_le(self.before);
        out.put_u32_le(self.observations);
        out.put_u32_le(self.stored);
        out.put_u32_le(self.unpacked);
        out.put_u32_le(self.checksum);
        seal(&mut bytes);
        bytes
    }

    /// From bytes; `None` where these are not a whole header of a frame that can be.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut input = sealed::<FRAME_HEADER>(bytes)?;
        if input.copy_to_bytes(FRAME_MAGIC.len()) != FRAME_MAGIC.as_slice() {
            return None;
        }
        let kind = FrameKind::from_code(input.get_u8())?;
        let packing = Packing::from_code(input.get_u8())?;
        let layout = Layout::from_code(input.get_u8())?;
        input.advance(1);
        let header = Self {
            kind,
            packing,
            layout,
            number: input.get_u64_le(),
            before: input.get_u64_le(),
            observations: input.get_u32_le(),
            stored: input.get_u32_le(),
            unpacked: input.get_u32_le(),
            checksum: input.get_u32_le(),
        };
        (header.stored.max(header.unpacked) <= MAX_PAYLOAD).then_some(header)
    }

    /// Observations of the run up to the end of this frame.
    #[must_use]
    pub fn after(&self) -> u64 {
        let counts = self.kind == FrameKind::Observations;
        self.before.saturating_add(if counts { self.observations.into() } else { 0 })
    }
}

/// CRC-32 (ISO-HDLC, that of gzip).
#[must_use]
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// Puts the checksum of what is before them into the last four bytes.
fn seal<const N: usize>(bytes: &mut [u8; N]) {
    let checksum = checksum(&bytes[..N - 4]);
    bytes[N - 4..].copy_from_slice(&checksum.to_le_bytes());
}

/// The first `N` of `bytes`, if their last four are the checksum of the others.
fn sealed<const N: usize>(bytes: &[u8]) -> Option<&[u8]> {
    let header = bytes.get(..N)?;
    let (content, mut end) = header.split_at(N - 4);
    (checksum(content) == end.get_u32_le()).then_some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: FileHeader = FileHeader { version: 1, part: 2, run: 3, number: 4, before: 5 };
    const FRAME: FrameHeader = FrameHeader {
        kind: FrameKind::Preamble,
        packing: Packing::Lz4,
        layout: Layout::V2,
        number: 6,
        before: 7,
        observations: 8,
        stored: 9,
        unpacked: 10,
        checksum: 11,
    };

    #[test]
    fn headers_read_back() {
        assert_eq!(FileHeader::read(&FILE.to_bytes()), Some(FILE));
        assert_eq!(FrameHeader::read(&FRAME.to_bytes()), Some(FRAME));
        let kinds = [FrameKind::Observations, FrameKind::Preamble, FrameKind::End, FrameKind::Continued];
        for (kind, packing) in
            kinds.into_iter().zip([Packing::None, Packing::Zstd, Packing::Lz4].into_iter().cycle())
        {
            let header = FrameHeader { kind, packing, ..FRAME };
            assert_eq!(FrameHeader::read(&header.to_bytes()), Some(header));
        }
    }

    #[test]
    fn a_header_with_any_byte_changed_or_missing_is_none() {
        for at in 0..FRAME_HEADER {
            let (mut file, mut frame) = (FILE.to_bytes(), FRAME.to_bytes());
            file[at] ^= 1;
            frame[at] ^= 1;
            assert_eq!((FileHeader::read(&file), FrameHeader::read(&frame)), (None, None), "{at}");
            assert_eq!(FileHeader::read(&FILE.to_bytes()[..at]), None);
            assert_eq!(FrameHeader::read(&FRAME.to_bytes()[..at]), None);
        }
    }

    #[test]
    fn a_frame_packed_in_no_known_way_is_none() {
        let mut bytes = FRAME.to_bytes();
        bytes[5] = 3;
        seal(&mut bytes);
        assert_eq!(FrameHeader::read(&bytes), None);
    }

    #[test]
    fn a_frame_too_large_to_be_is_none() {
        let header = FrameHeader { unpacked: MAX_PAYLOAD + 1, ..FRAME };
        assert_eq!(FrameHeader::read(&header.to_bytes()), None);
    }
}
