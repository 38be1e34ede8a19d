//! Numbers in a frame's payload: LEB128, signed ones in zigzag. What is read is untrusted.

use std::net::IpAddr;

use finwait_core::observation::{Shutdown, SockFlags};
use finwait_core::{CgroupId, Cookie, NetNs, Port, SockAddr};

/// Why a payload makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is over in the middle of an observation
    #[error("it ends within an observation")]
    Short,
    /// There is more than the observations it says it has
    #[error("it goes on after its last observation")]
    Long,
    /// A number, code or text that cannot be there
    #[error("{0} is not what it can be")]
    Bad(&'static str),
}

/// What was read. The fault is borrowed, so that most results fit into registers.
pub(super) type Read<T> = Result<T, &'static Fault>;

/// Appends `value`, 7 bits a byte, the lowest first; every byte but the last has its top bit set.
pub(super) fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a difference of two numbers of 64 bits.
pub(super) fn put_difference(out: &mut Vec<u8>, from: u64, to: u64) {
    put_number(out, zigzag(to.wrapping_sub(from)));
}

/// Appends a length and `text`.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Small numbers for what is near zero on either side: 0, -1, 1, -2 become 0, 1, 2, 3.
fn zigzag(value: u64) -> u64 {
    (value << 1) ^ (value.cast_signed() >> 63).cast_unsigned()
}

fn unzigzag(value: u64) -> u64 {
    (value >> 1) ^ (value & 1).wrapping_neg()
}

/// What is left of a payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline(always)]
    pub(super) fn byte(&mut self) -> Read<u8> {
        let (first, rest) = self.rest.split_first().ok_or(&Fault::Short)?;
        self.rest = rest;
        Ok(*first)
    }

    #[inline(always)]
    pub(super) fn number(&mut self) -> Read<u64> {
        if let Some(bytes) = self.rest.first_chunk() {
            let word = u64::from_le_bytes(*bytes);
            let mut value = word & 0x7f;
            macro_rules! end_at {
                ($($length:literal)*) => { $(
                    if word & 0x80 << (8 * ($length - 1)) == 0 {
                        self.rest = &self.rest[$length..];
                        return Ok(value);
                    }
                    value |= word >> $length & 0x7f << (7 * $length);
                )* };
            }
            end_at!(1 2 3 4 5);
        }
        let (value, length) = long_number(self.rest)?;
        self.rest = self.rest.get(length..).unwrap_or_default();
        Ok(value)
    }

    /// A number that fits `T`.
    #[inline(always)]
    pub(super) fn small<T: TryFrom<u64>>(&mut self, fault: &'static Fault) -> Read<T> {
        T::try_from(self.number()?).map_err(|_| fault)
    }

    /// What [`put_difference`] wrote.
    #[inline(always)]
    pub(super) fn difference(&mut self, from: u64) -> Read<u64> {
        Ok(from.wrapping_add(unzigzag(self.number()?)))
    }

    #[inline(always)]
    pub(super) fn bytes<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(&Fault::Short)?;
        self.rest = rest;
        Ok(*bytes)
    }

    pub(super) fn slice(&mut self, length: usize) -> Read<&'a [u8]> {
        let (slice, rest) = self.rest.split_at_checked(length).ok_or(&Fault::Short)?;
        self.rest = rest;
        Ok(slice)
    }

    pub(super) fn text(&mut self) -> Read<&'a str> {
        let length = self.small(&Fault::Bad("a length"))?;
        core::str::from_utf8(self.slice(length)?).map_err(|_| &Fault::Bad("a text"))
    }
}

/// The number that `bytes` begin with, and its length: where it has more than five bytes, or the end is near.
#[inline(never)]
fn long_number(bytes: &[u8]) -> Read<(u64, usize)> {
    let Some([low @ .., ninth, tenth]) = bytes.first_chunk::<10>() else { return number_by_bytes(bytes) };
    let word = u64::from_le_bytes(*low);
    let ends = !word & TOPS;
    if ends != 0 {
        // All bits up to the top one of the last byte.
        return Ok((joined(word & (ends ^ (ends - 1))), ends.trailing_zeros() as usize / 8 + 1));
    }
    let value = joined(word) | u64::from(ninth & 0x7f) << 56;
    match (ninth, tenth) {
        (..0x80, _) => Ok((value, 9)),
        (_, ..2) => Ok((value | u64::from(*tenth) << 63, 10)),
        _ => Err(&Fault::Bad("a number")),
    }
}

#[cold]
fn number_by_bytes(bytes: &[u8]) -> Read<(u64, usize)> {
    let (mut value, mut shift) = (0, 0);
    for (at, byte) in bytes.iter().enumerate() {
        if shift == 63 && *byte > 1 {
            return Err(&Fault::Bad("a number"));
        }
        value |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Ok((value, at + 1));
        }
        shift += 7;
    }
    Err(&Fault::Short)
}

/// The top bit of each byte.
const TOPS: u64 = 0x8080_8080_8080_8080;

/// The low seven bits of each byte, joined: two and two, then four and four, then all. What is the upper of two moves down
/// by as many bits as are free between them.
fn joined(word: u64) -> u64 {
    let sevens = word & !TOPS;
    let fourteens = sevens - ((sevens & 0x7f00_7f00_7f00_7f00) >> 1);
    let pairs = fourteens - 3 * ((fourteens & 0x3fff_0000_3fff_0000) >> 2);
    (pairs >> 32) << 28 | (pairs & 0x0fff_ffff)
}

/// A field that may be absent, written as what it differs by from `base`. Both are known to differ.
pub(super) trait Field: Copy + PartialEq {
    fn put(self, base: Self, out: &mut Vec<u8>);
    fn get(base: Self, input: &mut Input<'_>) -> Read<Self>;
}

/// A number that is absent is 0 where the base was there, which no difference of two is; where the base was absent there is
/// nothing to tell apart, and the difference is that from 0.
macro_rules! number_fields {
    ($($name:ident($raw:ty) $wrap:expr, $unwrap:expr;)*) => { $(
        impl Field for Option<$name> {
            #[inline]
            fn put(self, base: Self, out: &mut Vec<u8>) {
                let raw = |value: $name| -> $raw { $unwrap(value) };
                let Some(value) = self.map(raw) else { return out.push(0) };
                let difference = value.wrapping_sub(base.map_or(0, raw));
                let sign = (difference.cast_signed() >> (<$raw>::BITS - 1)).cast_unsigned();
                put_number(out, u64::from((difference << 1) ^ sign));
            }

            #[inline(always)]
            fn get(base: Self, input: &mut Input<'_>) -> Read<Self> {
                let raw = |value: $name| -> $raw { $unwrap(value) };
                let coded: $raw = input.small(&Fault::Bad(stringify!($name)))?;
                if coded == 0 && base.is_some() {
                    return Ok(None);
                }
                let difference = (coded >> 1) ^ (coded & 1).wrapping_neg();
                Ok(Some($wrap(base.map_or(0, raw).wrapping_add(difference))))
            }
        }
    )* };
}

number_fields! {
    u64(u64) |raw| raw, |value| value;
    u32(u32) |raw| raw, |value| value;
    i32(u32) |raw: u32| raw.cast_signed(), |value: i32| value.cast_unsigned();
    u8(u8) |raw| raw, |value| value;
    Cookie(u64) Cookie, |value: Cookie| value.0;
    SockAddr(u64) SockAddr, |value: SockAddr| value.0;
    CgroupId(u64) CgroupId, |value: CgroupId| value.0;
    NetNs(u32) NetNs, |value: NetNs| value.0;
    Port(u16) Port, |value: Port| value.0;
}

impl Field for Option<bool> {
    fn put(self, _base: Self, out: &mut Vec<u8>) {
        out.push(self.map_or(0, |value| 1 + u8::from(value)));
    }

    #[inline(always)]
    fn get(_base: Self, input: &mut Input<'_>) -> Read<Self> {
        match input.byte()? {
            0 => Ok(None),
            1 => Ok(Some(false)),
            2 => Ok(Some(true)),
            _ => Err(&Fault::Bad("yes or no")),
        }
    }
}

impl Field for Option<IpAddr> {
    fn put(self, _base: Self, out: &mut Vec<u8>) {
        match self {
            None => out.push(0),
            Some(IpAddr::V4(address)) => {
                out.push(4);
                out.extend_from_slice(&address.octets());
            }
            Some(IpAddr::V6(address)) => {
                out.push(6);
                out.extend_from_slice(&address.octets());
            }
        }
    }

    #[inline(always)]
    fn get(_base: Self, input: &mut Input<'_>) -> Read<Self> {
        match input.byte()? {
            0 => Ok(None),
            4 => Ok(Some(IpAddr::from(input.bytes::<4>()?))),
            6 => Ok(Some(IpAddr::from(input.bytes::<16>()?))),
            _ => Err(&Fault::Bad("an address")),
        }
    }
}

/// The lowest three bits of what is there, below one that says that it is.
impl Field for Option<SockFlags> {
    fn put(self, _base: Self, out: &mut Vec<u8>) {
        let bits = |flags: SockFlags| {
            u8::from(flags.dead) | u8::from(flags.done) << 1 | u8::from(flags.linger) << 2 | 8
        };
        out.push(self.map_or(0, bits));
    }

    #[inline(always)]
    fn get(_base: Self, input: &mut Input<'_>) -> Read<Self> {
        let bits = input.byte()?;
        match bits {
            0 => Ok(None),
            8..16 => Ok(Some(SockFlags { dead: bits & 1 != 0, done: bits & 2 != 0, linger: bits & 4 != 0 })),
            _ => Err(&Fault::Bad("the flags of a socket")),
        }
    }
}

impl Field for Option<Shutdown> {
    fn put(self, _base: Self, out: &mut Vec<u8>) {
        out.push(self.map_or(0, |ends| u8::from(ends.receive) | u8::from(ends.send) << 1 | 4));
    }

    #[inline(always)]
    fn get(_base: Self, input: &mut Input<'_>) -> Read<Self> {
        let bits = input.byte()?;
        match bits {
            0 => Ok(None),
            4..8 => Ok(Some(Shutdown { receive: bits & 1 != 0, send: bits & 2 != 0 })),
            _ => Err(&Fault::Bad("the directions shut down")),
        }
    }
}

pub(super) fn yes_or_no(input: &mut Input<'_>) -> Read<Option<bool>> {
    Field::get(None, input)
}

pub(super) fn yes(input: &mut Input<'_>) -> Read<bool> {
    match input.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(&Fault::Bad("yes or no")),
    }
}

pub(super) fn optional(input: &mut Input<'_>) -> Read<Option<u64>> {
    if yes(input)? { input.number().map(Some) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_read_back(value: u64, from: u64) {
            let mut out = Vec::new();
            put_number(&mut out, value);
            put_difference(&mut out, from, value);
            let mut input = Input::new(&out);
            prop_assert_eq!(input.number(), Ok(value));
            prop_assert_eq!(input.difference(from), Ok(value));
            prop_assert!(input.is_empty());
        }

        #[test]
        fn a_field_reads_back_whatever_it_is_compared_with(
            base: Option<u64>, value: Option<u64>, small: (Option<u8>, Option<u8>), signed: (Option<i32>, Option<i32>),
        ) {
            fn check<T: Field + core::fmt::Debug>(base: T, value: T) {
                if base == value {
                    return;
                }
                let mut out = Vec::new();
                value.put(base, &mut out);
                let mut input = Input::new(&out);
                assert_eq!(T::get(base, &mut input), Ok(value));
                assert!(input.is_empty());
            }
            check(base, value);
            check(small.0, small.1);
            check(signed.0, signed.1);
        }
    }

    #[test]
    fn numbers_beyond_64_bits_are_refused() {
        assert_eq!(Input::new(&[0xff; 10]).number(), Err(&Fault::Bad("a number")));
        assert_eq!(Input::new(&[0xff; 9]).number(), Err(&Fault::Short));
        let largest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Input::new(&largest).number(), Ok(u64::MAX));
    }

    #[test]
    fn the_ends_of_a_difference_read_back() {
        for (base, value) in [(None, Some(u64::MAX)), (Some(0), Some(1 << 63)), (Some(1 << 63), None)] {
            let mut out = Vec::new();
            Field::put(value, base, &mut out);
            assert_eq!(<Option<u64> as Field>::get(base, &mut Input::new(&out)), Ok(value));
        }
    }
}
