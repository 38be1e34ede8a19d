//! From the link layer's header to the IP header. Everything that is not IP is passed over.

use super::bytes::{array, be16};

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// 802.1Q, 802.1ad and the type that some switches use for the outer tag
const VLAN_TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
/// Tags one in another: QinQ has two.
const TAGS: usize = 4;

/// What a packet is, below IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Below<'a> {
    /// An IP packet, of either version
    Ip(&'a [u8]),
    /// Something else
    Other,
    /// The capture ends before that can be told
    Cut,
    /// No link type that is known here
    UnknownLink,
}

/// Takes the header of link type `link` (LINKTYPE_…) off `frame`.
pub(super) fn strip(link: u16, frame: &[u8]) -> Below<'_> {
    match link {
        // NULL and LOOP: the address family, in the byte order of the capturing host or in network order
        0 | 108 => after_family(frame),
        1 => ethernet(frame),
        // RAW, as numbered in files and by some systems; IPV4, IPV6
        12 | 14 | 101 | 228 | 229 => Below::Ip(frame),
        // LINUX_SLL and LINUX_SLL2
        113 => after_type(frame, be16(frame, 14), 16),
        276 => after_type(frame, be16(frame, 0), 20),
        _ => Below::UnknownLink,
    }
}

fn ethernet(frame: &[u8]) -> Below<'_> {
    after_type(frame, be16(frame, 12), 14)
}

/// `from` is where the bytes behind the type begin.
fn after_type(frame: &[u8], ethertype: Option<u16>, from: usize) -> Below<'_> {
    let (mut ethertype, mut from) = (ethertype, from);
    for _ in 0..=TAGS {
        match ethertype {
            Some(ETHERTYPE_IPV4 | ETHERTYPE_IPV6) => return frame.get(from..).map_or(Below::Cut, Below::Ip),
            Some(tag) if VLAN_TAGS.contains(&tag) => {
                ethertype = be16(frame, from + 2);
                from += 4;
            }
            Some(_) => return Below::Other,
            None => return Below::Cut,
        }
    }
    Below::Other
}

/// AF_INET is 2 everywhere; AF_INET6 has a number of its own on Linux, NetBSD, FreeBSD and macOS.
fn after_family(frame: &[u8]) -> Below<'_> {
    let Some(family) = array(frame, 0) else { return Below::Cut };
    let family = u32::from_be_bytes(family);
    let is_ip = |family: u32| matches!(family, 2 | 10 | 24 | 28 | 30);
    if is_ip(family) || is_ip(family.swap_bytes()) {
        Below::Ip(frame.get(4..).unwrap_or_default())
    } else {
        Below::Other
    }
}
