//! Both ends of a connection, put together from events that each know only a part.

use core::net::IpAddr;

use tracer_common::TcpState;

use crate::id::Port;
use crate::observation::StateChange;
use crate::record::Endpoint;

/// Local and remote end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tuple {
    pub(crate) local: Endpoint,
    pub(crate) remote: Endpoint,
}

impl Tuple {
    /// What `change` says of the ends.
    ///
    /// At CLOSE → … inet_sport may still be the previous connection's: it counts only where skc_num shows that a port is
    /// held. Everywhere else inet_sport is right, also at → CLOSE, where skc_num is gone already.
    #[inline]
    pub(crate) fn of(change: &StateChange) -> Self {
        let local_port = match change.old {
            TcpState::Close => change.num.and(change.inet_sport.or(change.num)),
            _ => change.inet_sport.or(change.num),
        };
        let remote = Endpoint { addr: known(change.remote_addr), port: change.dport };
        Self { local: Endpoint { addr: change.local_addr.map(canonical), port: local_port }, remote }
    }

    /// Whether `change` shows exactly these ends and nothing of it is doubtful, as with nearly every later transition of a
    /// connection.
    #[inline]
    pub(crate) fn are_those_of(&self, change: &StateChange) -> bool {
        // What is kept is canonical, so another way to write it is not equal to it.
        change.inet_sport == self.local.port
            && change.dport == self.remote.port
            && change.local_addr == self.local.addr
            && change.remote_addr == self.remote.addr
            && change.inet_sport.is_some()
            && change.old != TcpState::Close
            && (change.old, change.new) != (TcpState::SynSent, TcpState::Close)
    }

    /// Adds what `later` knows, and says whether that changed anything. A listener's wildcard address is not kept where a real
    /// one is known.
    #[inline]
    pub(crate) fn learn(&mut self, later: Tuple) -> bool {
        let before = *self;
        learn(&mut self.local, later.local);
        learn(&mut self.remote, later.remote);
        *self != before
    }

    /// Whether both cannot be of one connection.
    #[inline]
    pub(crate) fn contradicts(&self, other: &Tuple) -> bool {
        differ(self.local.port, other.local.port)
            || differ(self.remote.port, other.remote.port)
            || differ(self.remote.addr, other.remote.addr)
    }
}

#[inline]
fn learn(known_end: &mut Endpoint, later: Endpoint) {
    known_end.port = later.port.or(known_end.port);
    known_end.addr = match (known_end.addr, later.addr) {
        (Some(real), Some(wildcard)) if wildcard.is_unspecified() => Some(real),
        (before, None) => before,
        (_, later) => later,
    };
}

#[inline]
fn differ<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one != other)
}

/// IPv4-mapped IPv6 as the IPv4 it is.
#[inline]
pub(crate) fn canonical(addr: IpAddr) -> IpAddr {
    addr.to_canonical()
}

/// An unspecified remote address is none.
#[inline]
pub(crate) fn known(addr: Option<IpAddr>) -> Option<IpAddr> {
    addr.map(canonical).filter(|addr| !addr.is_unspecified())
}

impl Endpoint {
    /// An end with both parts known.
    #[must_use]
    pub fn new(addr: IpAddr, port: u16) -> Self {
        Self { addr: Some(addr), port: Port::new(port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::change;
    use tracer_common::TcpState::{Close, Established, FinWait1, SynSent};

    #[test]
    fn a_descriptor_used_again_does_not_show_the_port_it_had_before() {
        let mut again = change(1, Close, SynSent);
        again.inet_sport = Port::new(40_000);
        assert_eq!(Tuple::of(&again).local.port, None);
        again.num = Port::new(40_001);
        again.inet_sport = Port::new(40_001);
        assert_eq!(Tuple::of(&again).local.port, Port::new(40_001));
    }

    #[test]
    fn a_port_given_back_is_still_known_at_the_end() {
        let mut end = change(1, FinWait1, Close);
        end.inet_sport = Port::new(40_000);
        assert_eq!(Tuple::of(&end).local.port, Port::new(40_000));
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_it_is() {
        let mut mapped = change(1, Established, FinWait1);
        mapped.remote_addr = Some("::ffff:10.0.0.7".parse().unwrap());
        assert_eq!(Tuple::of(&mapped).remote.addr, Some("10.0.0.7".parse().unwrap()));
    }

    #[test]
    fn a_wildcard_does_not_replace_a_known_address() {
        let mut tuple = Tuple { local: Endpoint::new("10.0.0.5".parse().unwrap(), 80), ..Tuple::default() };
        tuple.learn(Tuple { local: Endpoint::new("0.0.0.0".parse().unwrap(), 80), ..Tuple::default() });
        assert_eq!(tuple.local.addr, Some("10.0.0.5".parse().unwrap()));
    }
}
