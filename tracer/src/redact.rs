//! What is withheld of peers where that is wanted: of an address its network is left, of an ephemeral port nothing. It is done to each
//! record as it leaves the tracker, so that nothing behind that can tell more.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use finwait_core::record::{CloseRecord, Endpoint, Role};
use finwait_core::{ClosingConnection, Port, Record};
use ipnet::IpNet;

/// What is left of an IPv4 address.
const V4_PREFIX: u32 = 24;
/// What is left of an IPv6 address.
const V6_PREFIX: u32 = 48;
/// Of one that 6to4 made (2002::/16): the next 32 bits are an IPv4 address.
const SIX_TO_FOUR_PREFIX: u32 = 16 + V4_PREFIX;
const SIX_TO_FOUR: u16 = 0x2002;
/// Linux takes ephemeral ports from here on, others from higher up.
const EPHEMERAL: u16 = 32_768;
/// Nobody takes ephemeral ports from below this.
const PRIVILEGED: u16 = 1024;

/// Whether something is withheld.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redaction {
    /// Nothing is
    #[default]
    Off,
    /// Peers are known by their network alone
    Networks,
}

impl Redaction {
    /// What `address` of a peer becomes: the first one of its network.
    #[must_use]
    pub fn address(self, address: IpAddr) -> IpAddr {
        match (self, address.to_canonical()) {
            (Self::Off, _) => address,
            (Self::Networks, IpAddr::V4(v4)) => {
                Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << (32 - V4_PREFIX))).into()
            }
            (Self::Networks, IpAddr::V6(v6)) => {
                let prefix = if v6.segments()[0] == SIX_TO_FOUR { SIX_TO_FOUR_PREFIX } else { V6_PREFIX };
                Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << (128 - prefix))).into()
            }
        }
    }

    /// Whether it can still be told which peers are in `net`: it is no part of what is left of an address.
    #[must_use]
    pub fn keeps(self, net: &IpNet) -> bool {
        let first_two =
            net.prefix_len() >= 16 && matches!(net, IpNet::V6(v6) if v6.addr().segments()[0] == SIX_TO_FOUR);
        let left = match net {
            IpNet::V4(_) => V4_PREFIX,
            IpNet::V6(_) if first_two => SIX_TO_FOUR_PREFIX,
            IpNet::V6(_) => V6_PREFIX,
        };
        self == Self::Off || u32::from(net.prefix_len()) <= left
    }

    /// Withholds it in `record`.
    pub fn record(self, record: &mut Record) {
        if self == Self::Off {
            return;
        }
        match record {
            Record::Transition(transition) => {
                let local = transition.local;
                self.peer(&mut transition.remote, local, None);
                let change = &mut transition.change;
                (change.remote_addr, change.dport) = (transition.remote.addr, transition.remote.port);
            }
            Record::Close(close) => self.close(close),
            Record::TimeWait(record) => self.peer(&mut record.remote, record.local, None),
            Record::BothEnds(both) => {
                self.close(&mut both.opener_side);
                self.close(&mut both.acceptor_side);
            }
        }
    }

    fn close(self, close: &mut CloseRecord) {
        let role = close.role.value().copied();
        self.peer(&mut close.remote, close.local, role);
    }

    /// Withholds it in `connection`.
    pub fn closing(self, connection: &mut ClosingConnection) {
        self.peer(&mut connection.remote, connection.local, None);
    }

    fn peer(self, remote: &mut Endpoint, local: Endpoint, role: Option<Role>) {
        if self == Self::Off {
            return;
        }
        remote.addr = remote.addr.map(|address| self.address(address));
        remote.port = remote.port.filter(|port| is_of_a_service(*port, local.port, role));
    }
}

/// Whether `remote` is a port that somebody listens at. Where it is not known who opened, the numbers decide.
fn is_of_a_service(remote: Port, local: Option<Port>, role: Option<Role>) -> bool {
    match role {
        Some(Role::Opened) => true,
        Some(Role::Accepted) => false,
        Some(Role::OpenedBoth) | None => {
            let opened_here = local.is_some_and(|local| local.0 >= EPHEMERAL) && remote.0 < EPHEMERAL;
            remote.0 < PRIVILEGED || opened_here
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples_for_tests as samples;

    #[test]
    fn of_an_address_its_network_is_left() {
        for (address, left) in [
            ("203.0.113.9", "203.0.113.0"),
            ("203.0.113.0", "203.0.113.0"),
            ("::ffff:203.0.113.9", "203.0.113.0"),
            ("127.0.0.1", "127.0.0.0"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
            ("::1", "::"),
            ("64:ff9b::203.0.113.9", "64:ff9b::"),
            ("2002:cb00:7109::1", "2002:cb00:7100::"),
        ] {
            let address: IpAddr = address.parse().unwrap();
            let redacted = Redaction::Networks.address(address);
            assert_eq!(redacted.to_string(), left);
            assert_eq!(Redaction::Networks.address(redacted), redacted, "once is enough");
            assert_eq!(Redaction::Off.address(address), address);
        }
    }

    #[test]
    fn a_network_of_peers_can_be_told_where_it_is_no_part_of_what_is_left() {
        for (net, kept) in [
            ("10.0.0.0/8", true),
            ("10.0.0.0/24", true),
            ("10.0.0.0/25", false),
            ("2001:db8::/48", true),
            ("2001:db8::/49", false),
            ("2002:cb00:7100::/40", true),
            ("2002:cb00:7109::/48", false),
            ("::/0", true),
        ] {
            let net = net.parse().unwrap();
            assert_eq!(Redaction::Networks.keeps(&net), kept, "{net}");
            assert!(Redaction::Off.keeps(&net));
        }
    }

    fn port_left(remote: u16, local: u16, role: Option<Role>) -> bool {
        is_of_a_service(Port(remote), Port::new(local), role)
    }

    #[test]
    fn a_port_is_left_where_it_is_a_services() {
        assert!(port_left(50_051, 40_000, Some(Role::Opened)) && !port_left(2_000, 80, Some(Role::Accepted)));
        for (remote, local, left) in [
            (443, 40_000, true),
            (5_432, 40_000, true),
            (443, 443, true),
            (40_000, 443, false),
            (40_000, 40_001, false),
            (2_000, 443, false),
            (2_000, 0, false),
        ] {
            assert_eq!(port_left(remote, local, None), left, "{remote} from {local}");
        }
    }

    #[test]
    fn where_nothing_is_withheld_a_record_stays_as_it_is() {
        use finwait_core::TcpState::{Close, Listen};
        let mut transition = samples::transition(Close, Listen);
        // The event lacks what other events of the connection tell.
        (transition.change.remote_addr, transition.change.dport) = (None, None);
        let whole = Record::Transition(Box::new(transition));
        let mut record = whole.clone();
        Redaction::Off.record(&mut record);
        assert_eq!(record, whole);
    }

    #[test]
    fn every_record_is_redacted_and_its_local_end_is_not() {
        use finwait_core::TcpState::{Established, FinWait1};
        let both = Record::BothEnds(Box::new(samples::both_ends()));
        let transition = Record::Transition(Box::new(samples::transition(Established, FinWait1)));
        let time_wait = Record::TimeWait(Box::new(samples::time_wait()));
        for mut record in [Record::Close(Box::new(samples::close())), time_wait, transition] {
            Redaction::Networks.record(&mut record);
            let text = format!("{record:?}");
            assert!(
                !text.contains("10.0.0.7") && text.contains("10.0.0.0") && text.contains("10.0.0.5"),
                "{text}"
            );
            assert!(text.contains("8080"), "{text}");
        }
        let Record::BothEnds(mut both) = both else { return };
        let (opener, acceptor) = (both.opener_side.local, both.acceptor_side.local);
        let mut record = Record::BothEnds(both.clone());
        Redaction::Networks.record(&mut record);
        both.opener_side.remote = Endpoint { addr: "10.0.0.0".parse().ok(), ..acceptor };
        both.acceptor_side.remote = Endpoint { addr: "10.0.0.0".parse().ok(), port: None };
        assert_eq!((both.opener_side.local, &record), (opener, &Record::BothEnds(both.clone())));
    }
}
