//! The two file formats: which of them it is, and what both have in common.

use std::io;
use std::ops::Range;

use finwait_core::MonoNs;

use super::bytes::Order;
use super::classic::Classic;
use super::input::{Filled, Input};
use super::ng::Ng;

/// Longest packet or block that is read: no link has longer ones, and a damaged length has.
pub(super) const MAX_BLOCK: usize = 16 << 20;

/// One packet, in the bytes at the front of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// When it was captured, in nanoseconds since 1970-01-01 UTC; a simple packet block has no time
    pub(super) at: Option<MonoNs>,
    /// LINKTYPE_… of its interface
    pub(super) link: u16,
    /// Where its bytes are
    pub(super) data: Range<usize>,
    /// Its length on the wire
    pub(super) wire_bytes: u32,
    /// Bytes of the file that it takes
    pub(super) whole: usize,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Packet(Packet),
    /// Something else went by, `0` or more packets that the capturing program says it lost
    Dropped(u64),
    Pending,
    End,
    /// From here on nothing can be read
    Damaged(&'static str),
}

/// The first four bytes of a file that is a capture.
pub(in crate::source) fn is_capture(head: &[u8]) -> bool {
    head.first_chunk().is_some_and(|magic| Magic::of(*magic).is_some())
}

#[derive(Clone, Copy, Debug)]
enum Magic {
    Classic { order: Order, nanoseconds: bool },
    Ng,
}

impl Magic {
    fn of(magic: [u8; 4]) -> Option<Self> {
        let classic = |order, nanoseconds| Some(Self::Classic { order, nanoseconds });
        match u32::from_be_bytes(magic) {
            0xa1b2_c3d4 => classic(Order::Big, false),
            0xd4c3_b2a1 => classic(Order::Little, false),
            0xa1b2_3c4d => classic(Order::Big, true),
            0x4d3c_b2a1 => classic(Order::Little, true),
            0x0a0d_0d0a => Some(Self::Ng),
            _ => None,
        }
    }
}

/// A file of either format.
pub(super) enum Format {
    Unknown,
    Classic(Classic),
    Ng(Ng),
}

impl Format {
    /// The next packet or block of `input`, which must then be consumed.
    pub(super) fn next(&mut self, input: &mut Input) -> io::Result<Next> {
        match self {
            Self::Unknown => {
                match input.fill(4)? {
                    Filled::Pending => return Ok(Next::Pending),
                    Filled::Short => return Ok(Next::Damaged("it is shorter than any capture")),
                    Filled::Enough => {}
                }
                let magic = input.front().first_chunk().and_then(|magic| Magic::of(*magic));
                *self = match magic {
                    Some(Magic::Classic { order, nanoseconds }) => {
                        Self::Classic(Classic::new(order, nanoseconds))
                    }
                    Some(Magic::Ng) => Self::Ng(Ng::default()),
                    None => return Ok(Next::Damaged("it does not begin as a capture does")),
                };
                self.next(input)
            }
            Self::Classic(classic) => classic.next(input),
            Self::Ng(ng) => ng.next(input),
        }
    }
}

/// Seconds and their fraction as nanoseconds; `None` where they do not fit.
pub(super) fn nanoseconds(units: u64, units_a_second: u64, shift_seconds: i64) -> Option<MonoNs> {
    let ns = u128::from(units) * 1_000_000_000 / u128::from(units_a_second.max(1));
    let shifted = i128::try_from(ns).ok()? + i128::from(shift_seconds) * 1_000_000_000;
    u64::try_from(shifted).ok().map(MonoNs)
}
