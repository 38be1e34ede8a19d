//! From an IP packet to its TCP segment.

use std::net::IpAddr;

use super::bytes::{array, be16, be32};
use super::segment::Segment;

const TCP: u8 = 6;
/// Extension headers one after the other; more are nonsense.
const EXTENSIONS: usize = 16;

/// What an IP packet holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// A TCP segment
    Segment(Segment),
    /// The first fragment of one: how much follows is not known
    FirstFragment(Segment),
    /// A later fragment, without a TCP header
    LaterFragment,
    /// No TCP
    Other,
    /// The capture ends within the headers (snaplen)
    Cut,
    /// The headers contradict themselves
    Malformed,
}

/// Reads `packet`, of which `missing` further bytes were on the wire and not captured.
pub(super) fn read(packet: &[u8], missing: usize) -> Held {
    let read = match packet.first().map(|first| first >> 4) {
        Some(4) => ipv4(packet, missing),
        Some(6) => ipv6(packet, missing),
        Some(_) => return Held::Malformed,
        None => return Held::Cut,
    };
    read.unwrap_or(Held::Cut)
}

/// Where the fragment's bytes lie in the datagram.
#[derive(Clone, Copy)]
struct Fragment {
    offset: u16,
    more: bool,
}

/// The IP layer, done with.
struct Datagram<'a> {
    ends: (IpAddr, IpAddr),
    protocol: u8,
    fragment: Option<Fragment>,
    /// As far as it was captured; padding of the link may follow
    payload: &'a [u8],
    /// As the header says
    payload_bytes: usize,
}

/// `None` where the capture ends too early.
fn ipv4(packet: &[u8], missing: usize) -> Option<Held> {
    let header = usize::from(packet.first()? & 0xf) * 4;
    let total = usize::from(be16(packet, 2)?);
    let fragment = be16(packet, 6)?;
    let protocol = *packet.get(9)?;
    let ends = (IpAddr::from(array::<4>(packet, 12)?), IpAddr::from(array::<4>(packet, 16)?));
    // Segmentation offload leaves a length of 0 in packets that are longer than the field can say.
    let total = if total == 0 { packet.len() + missing } else { total };
    if header < 20 || total < header {
        return Some(Held::Malformed);
    }
    let fragment = Fragment { offset: fragment & 0x1fff, more: fragment & 0x2000 != 0 };
    let payload_bytes = total - header;
    let payload = packet.get(header..).unwrap_or_default();
    Some(tcp(&Datagram { ends, protocol, fragment: Some(fragment), payload, payload_bytes }))
}

fn ipv6(packet: &[u8], missing: usize) -> Option<Held> {
    let length = usize::from(be16(packet, 4)?);
    let mut protocol = *packet.get(6)?;
    let ends = (IpAddr::from(array::<16>(packet, 8)?), IpAddr::from(array::<16>(packet, 24)?));
    // A jumbo payload, or segmentation offload.
    let length = if length == 0 { (packet.len() + missing).saturating_sub(40) } else { length };
    let (mut at, mut fragment) = (40, None);
    for _ in 0..EXTENSIONS {
        let units = match protocol {
            // Hop-by-hop options, routing, destination options, mobility, HIP, shim6
            0 | 43 | 60 | 135 | 139 | 140 => (usize::from(*packet.get(at + 1)?) + 1) * 8,
            // Authentication header
            51 => (usize::from(*packet.get(at + 1)?) + 2) * 4,
            44 => {
                let field = be16(packet, at + 2)?;
                fragment = Some(Fragment { offset: field >> 3, more: field & 1 != 0 });
                8
            }
            _ => break,
        };
        protocol = *packet.get(at)?;
        at += units;
        if fragment.is_some_and(|fragment| fragment.offset != 0) {
            break; // what follows is data
        }
    }
    let Some(payload_bytes) = (40 + length).checked_sub(at) else { return Some(Held::Malformed) };
    let payload = packet.get(at..).unwrap_or_default();
    Some(tcp(&Datagram { ends, protocol, fragment, payload, payload_bytes }))
}

fn tcp(datagram: &Datagram<'_>) -> Held {
    if datagram.protocol != TCP {
        return Held::Other;
    }
    match datagram.fragment {
        Some(Fragment { offset: 1.., .. }) => Held::LaterFragment,
        Some(Fragment { more: true, .. }) => segment(datagram, Held::FirstFragment),
        _ => segment(datagram, Held::Segment),
    }
}

/// The fixed part of the header is enough: options need not have been captured.
fn segment(datagram: &Datagram<'_>, held: fn(Segment) -> Held) -> Held {
    let tcp = datagram.payload.get(..datagram.payload_bytes).unwrap_or(datagram.payload);
    if datagram.payload_bytes < 20 {
        return Held::Malformed;
    }
    let header = || {
        let ports = (be16(tcp, 0)?, be16(tcp, 2)?);
        Some((ports, be32(tcp, 4)?, be32(tcp, 8)?, be16(tcp, 12)?, be16(tcp, 14)?, be32(tcp, 16)?))
    };
    let Some(((from, to), seq, ack, offset_and_flags, window, _)) = header() else { return Held::Cut };
    let header_bytes = usize::from(offset_and_flags >> 12) * 4;
    let Some(payload_bytes) = datagram.payload_bytes.checked_sub(header_bytes).filter(|_| header_bytes >= 20)
    else {
        return Held::Malformed;
    };
    let flag = |bit: u16| offset_and_flags & bit != 0;
    held(Segment {
        from: (datagram.ends.0, from),
        to: (datagram.ends.1, to),
        seq,
        ack: flag(0x10).then_some(ack),
        syn: flag(0x02),
        fin: flag(0x01),
        rst: flag(0x04),
        window,
        payload_bytes: u32::try_from(payload_bytes).unwrap_or(u32::MAX),
    })
}
