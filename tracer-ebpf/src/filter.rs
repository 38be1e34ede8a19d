//! Drops transitions early, but only those that provably cannot match: user space tests again.

use tracer_common::{FILTER_NETNS, FILTER_PORTS, TcpState, feature};

use crate::consts;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// What the filter looks at. Ports in host order.
pub(crate) struct Subject {
    pub(crate) old: u8,
    pub(crate) family: u16,
    pub(crate) local_port: u16,
    pub(crate) remote_port: u16,
    pub(crate) local_v6: [u64; 2],
    pub(crate) remote_v6: [u64; 2],
    /// `None` where the program cannot know it.
    pub(crate) netns: Option<u32>,
}

/// Whether a filter is set at all; if not, the verifier cuts the rest out.
#[inline(always)]
pub(crate) fn is_set() -> bool {
    consts::feature(feature::FILTER)
}

/// Whether the transition may match.
#[inline(always)]
pub(crate) fn passes(subject: &Subject) -> bool {
    if let Some(netns) = subject.netns
        && !netns_passes(netns)
    {
        return false;
    }
    // Addresses and ports are not settled yet when a socket leaves CLOSE, or is cloned from its listener.
    if subject.old == TcpState::Close.raw() || subject.old == TcpState::Listen.raw() {
        return true;
    }
    family_passes(subject)
        && port_passes(Side::Local, subject.local_port)
        && port_passes(Side::Remote, subject.remote_port)
}

#[inline(always)]
fn netns_passes(netns: u32) -> bool {
    let count = consts::filter(|filter| unsafe { &raw const (*filter).netns_count });
    if count == 0 {
        return true;
    }
    let mut index = 0;
    while index < FILTER_NETNS {
        let wanted: u32 = consts::filter(|filter| unsafe { (&raw const (*filter).netns).cast::<u32>().add(index) });
        if (index as u32) < count && wanted == netns {
            return true;
        }
        index += 1;
    }
    false
}

#[inline(always)]
fn family_passes(subject: &Subject) -> bool {
    match consts::filter(|filter| unsafe { &raw const (*filter).family }) as u16 {
        AF_INET if subject.family == AF_INET6 => may_be_v4(subject.local_v6) || may_be_v4(subject.remote_v6),
        AF_INET6 => subject.family != AF_INET,
        _ => true,
    }
}

/// IPv4 in IPv6's clothes (`::ffff:a.b.c.d`), or an address not set yet.
#[inline(always)]
fn may_be_v4(address: [u64; 2]) -> bool {
    address[0] == 0 && (address[1] == 0 || u64::from_be(address[1]) >> 32 == 0xffff)
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Local,
    Remote,
}

#[inline(always)]
fn port_passes(side: Side, port: u16) -> bool {
    let count = consts::filter(|filter| match side {
        Side::Local => unsafe { &raw const (*filter).local_port_count },
        Side::Remote => unsafe { &raw const (*filter).remote_port_count },
    });
    if count == 0 || port == 0 {
        return true;
    }
    let mut index = 0;
    while index < FILTER_PORTS {
        let wanted: u16 = consts::filter(|filter| match side {
            Side::Local => unsafe { (&raw const (*filter).local_ports).cast::<u16>().add(index) },
            Side::Remote => unsafe { (&raw const (*filter).remote_ports).cast::<u16>().add(index) },
        });
        if (index as u32) < count && wanted == port {
            return true;
        }
        index += 1;
    }
    false
}
