//! Sequence numbers of a transition, bits 4 to 9 of its mask: one of each direction as what it differs by from the base's, the
//! others as how far they are from it. Between two connections only the first two differ as a rule, and within one all move together.

use finwait_core::observation::TcpFields;

use super::frame::Layout;
use super::wire::{Field, Input, Read};

const SND_UNA: u64 = 1 << 4;
const SND_NXT: u64 = 1 << 5;
const WRITE_SEQ: u64 = 1 << 6;
const RCV_NXT: u64 = 1 << 7;
const RCV_WUP: u64 = 1 << 8;
const COPIED_SEQ: u64 = 1 << 9;

/// From `from` to `number`; `number` itself where `from` is absent.
#[inline(always)]
fn distance(number: Option<u32>, from: Option<u32>) -> Option<u32> {
    number.map(|number| number.wrapping_sub(from.unwrap_or(0)))
}

/// What is at that distance.
#[inline(always)]
fn beyond(distance: Option<u32>, from: Option<u32>) -> Option<u32> {
    distance.map(|distance| distance.wrapping_add(from.unwrap_or(0)))
}

/// In the order of their bits.
#[inline(always)]
fn apart(tcp: &TcpFields) -> [Option<u32>; 6] {
    [
        tcp.snd_una,
        distance(tcp.snd_nxt, tcp.snd_una),
        distance(tcp.write_seq, tcp.snd_nxt),
        tcp.rcv_nxt,
        distance(tcp.rcv_wup, tcp.rcv_nxt),
        distance(tcp.copied_seq, tcp.rcv_nxt),
    ]
}

/// Appends those of `tcp` that differ from the ones of `base`, and says which they are.
pub(super) fn put(tcp: &TcpFields, base: &TcpFields, out: &mut Vec<u8>) -> u64 {
    let bits = [SND_UNA, SND_NXT, WRITE_SEQ, RCV_NXT, RCV_WUP, COPIED_SEQ];
    let mut mask = 0;
    for ((own, base), bit) in apart(tcp).into_iter().zip(apart(base)).zip(bits) {
        if own != base {
            mask |= bit;
            own.put(base, out);
        }
    }
    mask
}

/// `tcp` is the base, and becomes what was written. What follows it.
#[inline(always)]
pub(super) fn get<'a>(
    layout: Layout,
    tcp: &mut TcpFields,
    mask: u64,
    mut input: Input<'a>,
) -> Read<Input<'a>> {
    if layout == Layout::V1 {
        return get_v1(tcp, mask, input);
    }
    macro_rules! get {
        ($bit:ident, $base:expr) => {
            if mask & $bit == 0 { $base } else { Field::get($base, &mut input)? }
        };
    }
    if mask & (SND_UNA | SND_NXT | WRITE_SEQ) != 0 {
        let [_, next, written, ..] = apart(tcp);
        tcp.snd_una = get!(SND_UNA, tcp.snd_una);
        tcp.snd_nxt = beyond(get!(SND_NXT, next), tcp.snd_una);
        tcp.write_seq = beyond(get!(WRITE_SEQ, written), tcp.snd_nxt);
    }
    if mask & (RCV_NXT | RCV_WUP | COPIED_SEQ) != 0 {
        let [.., acknowledged, copied] = apart(tcp);
        tcp.rcv_nxt = get!(RCV_NXT, tcp.rcv_nxt);
        tcp.rcv_wup = beyond(get!(RCV_WUP, acknowledged), tcp.rcv_nxt);
        tcp.copied_seq = beyond(get!(COPIED_SEQ, copied), tcp.rcv_nxt);
    }
    Ok(input)
}

/// Each by itself, as they once were.
#[cold]
fn get_v1<'a>(tcp: &mut TcpFields, mask: u64, mut input: Input<'a>) -> Read<Input<'a>> {
    let numbers = [
        (SND_UNA, &mut tcp.snd_una),
        (SND_NXT, &mut tcp.snd_nxt),
        (WRITE_SEQ, &mut tcp.write_seq),
        (RCV_NXT, &mut tcp.rcv_nxt),
        (RCV_WUP, &mut tcp.rcv_wup),
        (COPIED_SEQ, &mut tcp.copied_seq),
    ];
    for (bit, number) in numbers {
        if mask & bit != 0 {
            *number = Field::get(*number, &mut input)?;
        }
    }
    Ok(input)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields([snd_una, snd_nxt, write_seq, rcv_nxt, rcv_wup, copied_seq]: [Option<u32>; 6]) -> TcpFields {
        TcpFields { snd_una, snd_nxt, write_seq, rcv_nxt, rcv_wup, copied_seq, ..TcpFields::default() }
    }

    proptest! {
        #[test]
        fn any_numbers_come_back_whatever_they_are_compared_with(own: [Option<u32>; 6], base: [Option<u32>; 6]) {
            let mut out = Vec::new();
            let (own, mut read) = (fields(own), fields(base));
            let mask = put(&own, &read, &mut out);
            let rest = get(Layout::V2, &mut read, mask, Input::new(&out)).unwrap();
            prop_assert!(rest.is_empty());
            prop_assert_eq!(read, own);
        }
    }

    #[test]
    fn another_connection_at_the_same_point_takes_its_first_numbers_alone() {
        let connection = |sent: u32, received: u32| {
            fields([sent, sent, sent + 10, received, received, received - 5].map(Some))
        };
        let mut out = Vec::new();
        assert_eq!(put(&connection(1_000, 9_000), &connection(7, 100), &mut out), SND_UNA | RCV_NXT);
    }
}
