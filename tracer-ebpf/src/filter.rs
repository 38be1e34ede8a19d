//! Drops transitions early, but only those that provably cannot match: user space tests again.

use tracer_common::{TcpState, feature};

use crate::consts::{self, List};

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
        && !consts::filter_allows(List::Netns, netns)
    {
        return false;
    }
    // Addresses and ports are not settled yet when a socket leaves CLOSE, or is cloned from its listener.
    if subject.old == TcpState::Close.raw() || subject.old == TcpState::Listen.raw() {
        return true;
    }
    family_passes(subject)
        && port_passes(List::LocalPorts, subject.local_port)
        && port_passes(List::RemotePorts, subject.remote_port)
}

/// A port of 0 is not known yet, or no more.
#[inline(always)]
fn port_passes(list: List, port: u16) -> bool {
    port == 0 || consts::filter_allows(list, port.into())
}

#[inline(always)]
fn family_passes(subject: &Subject) -> bool {
    match consts::filter_family() as u16 {
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
