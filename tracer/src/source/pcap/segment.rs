//! One TCP segment, as far as states depend on it, and how sequence numbers compare.

use std::net::IpAddr;

/// An end's address and port.
pub(super) type End = (IpAddr, u16);

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) from: End,
    pub(super) to: End,
    pub(super) seq: u32,
    /// Absent where the ACK flag is not set
    pub(super) ack: Option<u32>,
    pub(super) syn: bool,
    pub(super) fin: bool,
    pub(super) rst: bool,
    /// As the header says: neither scaled nor, in a SYN, without a scale to come
    pub(super) window: u16,
    /// On the wire, whatever the capture kept of it
    pub(super) payload_bytes: u32,
}

impl Segment {
    /// Whether it asks for a connection.
    pub(super) fn is_open(&self) -> bool {
        self.syn && self.ack.is_none()
    }

    /// The sequence number behind it: SYN and FIN take one each.
    pub(super) fn end(&self) -> u32 {
        self.seq
            .wrapping_add(self.payload_bytes)
            .wrapping_add(u32::from(self.syn))
            .wrapping_add(u32::from(self.fin))
    }
}

/// Whether `one` is at or behind `other`: sequence numbers wrap, and those of one connection are less than 2³¹ apart.
pub(super) fn reaches(one: u32, other: u32) -> bool {
    one.wrapping_sub(other) < 1 << 31
}

/// Whether `one` is behind `other`.
pub(super) fn passes(one: u32, other: u32) -> bool {
    one != other && reaches(one, other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_compare_across_the_wrap() {
        for (one, other, reached, passed) in [
            (5, 5, true, false),
            (6, 5, true, true),
            (4, 5, false, false),
            (3, u32::MAX - 3, true, true),
            (u32::MAX - 3, 3, false, false),
        ] {
            assert_eq!((reaches(one, other), passes(one, other)), (reached, passed), "{one} {other}");
        }
    }
}
