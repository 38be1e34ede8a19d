//! Which connections are shown. Decided on records, where a connection's ends and processes are known from all its
//! events; the kernel programs get the share that they can decide too, see [`Filter::kernel_share`].
//!
//! A filter shows what is known to match: a port that is not known yet matches no list of ports.

use std::net::IpAddr;

use finwait_core::observation::Family;
use finwait_core::record::{CloseKind, CloseRecord, Endpoint, Owner, TimeWaitRecord, TransitionRecord};
use finwait_core::{CgroupId, NetNs, Observation, Pid, Port, Record};
use ipnet::IpNet;

mod kernel;
mod workload;

pub use workload::{UnitPattern, Workloads};

/// IP version of what travels, whatever the socket's family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpVersion {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

/// A validated filter. An empty list is "any".
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Local ports
    pub local_ports: Vec<Port>,
    /// Remote ports
    pub remote_ports: Vec<Port>,
    /// IP version
    pub version: Option<IpVersion>,
    /// Networks with the local address
    pub local: Vec<IpNet>,
    /// Networks with the remote address
    pub remote: Vec<IpNet>,
    /// Processes or threads
    pub pids: Vec<Pid>,
    /// Names of processes
    pub comms: Vec<String>,
    /// Network namespaces
    pub netns: Vec<NetNs>,
    /// cgroups
    pub cgroups: Vec<CgroupId>,
    /// Containers and systemd units
    pub workloads: Workloads,
    /// How connections ended; what is no end of a connection has no kind and is not shown
    pub kinds: Vec<CloseKind>,
}

impl Filter {
    /// The first of the flags in use that the classic tier cannot serve.
    #[must_use]
    pub fn needs_tp_btf(&self) -> Option<&'static str> {
        [
            ("--pid", self.pids.is_empty()),
            ("--comm", self.comms.is_empty()),
            ("--netns", self.netns.is_empty()),
            ("--cgroup", self.cgroups.is_empty()),
            ("--container", self.workloads.containers.is_empty()),
            ("--unit", self.workloads.units.is_empty()),
        ]
        .into_iter()
        .find_map(|(flag, empty)| (!empty).then_some(flag))
    }

    /// Takes note of what `observation` says of a cgroup's names.
    pub fn learn(&mut self, observation: &Observation) {
        if let Observation::Cgroup(names) = observation {
            self.workloads.learn(names);
        }
    }

    /// Whether `record` is shown; of both ends of a connection, whether one of them is.
    #[must_use]
    pub fn matches(&self, record: &Record) -> bool {
        match record {
            Record::Transition(record) => self.matches_transition(record),
            Record::Close(record) => self.matches_close(record),
            Record::TimeWait(record) => self.matches_time_wait(record),
            Record::BothEnds(both) => {
                self.matches_close(&both.opener_side) || self.matches_close(&both.acceptor_side)
            }
        }
    }

    fn matches_time_wait(&self, record: &TimeWaitRecord) -> bool {
        self.ends(record.local, record.remote, record.family)
            && within(&self.netns, record.netns)
            && self.belongs(record.cgroup)
            && self.kinds.is_empty()
            && self.owners([None, None, None])
    }

    fn matches_transition(&self, record: &TransitionRecord) -> bool {
        let change = &record.change;
        self.ends(record.local, record.remote, change.family)
            && within(&self.netns, change.netns)
            && self.belongs(change.cgroup)
            && self.kinds.is_empty()
            && self.owners([record.actor.value(), record.owner.as_ref(), None])
    }

    /// Whether this end of a connection is shown.
    #[must_use]
    pub fn matches_close(&self, record: &CloseRecord) -> bool {
        self.ends(record.local, record.remote, record.family)
            && within(&self.netns, record.netns)
            && self.belongs(record.cgroup)
            && within(&self.kinds, record.kind.value().copied())
            && self.owners([record.opener.value(), record.acceptor.value(), record.closer.value()])
    }

    fn belongs(&self, cgroup: Option<CgroupId>) -> bool {
        within(&self.cgroups, cgroup) && self.workloads.include(cgroup)
    }

    fn ends(&self, local: Endpoint, remote: Endpoint, family: Family) -> bool {
        within(&self.local_ports, local.port)
            && within(&self.remote_ports, remote.port)
            && self.version.is_none_or(|version| version == version_of(local, remote, family))
            && inside(&self.local, local.addr)
            && inside(&self.remote, remote.addr)
    }

    fn owners(&self, owners: [Option<&Owner>; 3]) -> bool {
        let any = |test: &dyn Fn(&Owner) -> bool| owners.into_iter().flatten().any(test);
        (self.pids.is_empty()
            || any(&|owner| self.pids.contains(&owner.tgid) || self.pids.contains(&owner.pid)))
            && (self.comms.is_empty()
                || any(&|owner| self.comms.iter().any(|name| name.as_bytes() == owner.comm.as_bytes())))
    }
}

fn within<T: PartialEq>(wanted: &[T], value: Option<T>) -> bool {
    wanted.is_empty() || value.is_some_and(|value| wanted.contains(&value))
}

fn inside(nets: &[IpNet], addr: Option<IpAddr>) -> bool {
    nets.is_empty() || addr.is_some_and(|addr| nets.iter().any(|net| net.contains(&addr.to_canonical())))
}

/// An IPv6 socket may speak IPv4 through mapped addresses, so the addresses decide; the family where none is known.
fn version_of(local: Endpoint, remote: Endpoint, family: Family) -> IpVersion {
    let known = [remote.addr, local.addr].into_iter().flatten().find(|addr| !addr.is_unspecified());
    match (known.map(|addr| addr.to_canonical()), family) {
        (Some(IpAddr::V4(_)), _) | (None, Family::Inet) => IpVersion::V4,
        (Some(IpAddr::V6(_)), _) | (None, Family::Inet6) => IpVersion::V6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples_for_tests::{both_ends, close, owner, time_wait, transition};
    use finwait_core::{Claim, Reason, TcpState};

    fn shows(filter: &Filter, record: &CloseRecord) -> bool {
        filter.matches(&Record::Close(Box::new(record.clone())))
    }

    fn nets(text: &str) -> Vec<IpNet> {
        vec![text.parse().unwrap()]
    }

    #[test]
    fn an_empty_filter_shows_everything() {
        assert!(shows(&Filter::default(), &close()));
        assert!(
            Filter::default()
                .matches(&Record::Transition(Box::new(transition(TcpState::Listen, TcpState::Close))))
        );
    }

    #[test]
    fn each_test_alone_decides() {
        let record = close();
        let any = Filter::default;
        for (name, hit, miss) in [
            (
                "local port",
                Filter { local_ports: vec![Port(1), Port(39812)], ..any() },
                Filter { local_ports: vec![Port(8080)], ..any() },
            ),
            (
                "remote port",
                Filter { remote_ports: vec![Port(8080)], ..any() },
                Filter { remote_ports: vec![Port(39812)], ..any() },
            ),
            (
                "version",
                Filter { version: Some(IpVersion::V4), ..any() },
                Filter { version: Some(IpVersion::V6), ..any() },
            ),
            (
                "local",
                Filter { local: nets("10.0.0.0/24"), ..any() },
                Filter { local: nets("10.0.1.0/24"), ..any() },
            ),
            (
                "remote",
                Filter { remote: nets("10.0.0.7/32"), ..any() },
                Filter { remote: nets("2001:db8::/32"), ..any() },
            ),
            ("process", Filter { pids: vec![Pid(9120)], ..any() }, Filter { pids: vec![Pid(9119)], ..any() }),
            (
                "name",
                Filter { comms: vec!["curl".into()], ..any() },
                Filter { comms: vec!["cur".into()], ..any() },
            ),
            (
                "netns",
                Filter { netns: vec![NetNs(4_026_531_840)], ..any() },
                Filter { netns: vec![NetNs(1)], ..any() },
            ),
            (
                "cgroup",
                Filter { cgroups: vec![CgroupId(77)], ..any() },
                Filter { cgroups: vec![CgroupId(78)], ..any() },
            ),
            (
                "kind",
                Filter { kinds: vec![CloseKind::Reset, CloseKind::Active], ..any() },
                Filter { kinds: vec![CloseKind::Passive], ..any() },
            ),
        ] {
            assert!(shows(&hit, &record), "{name}");
            assert!(!shows(&miss, &record), "{name}");
        }
    }

    #[test]
    fn what_is_not_known_matches_no_list() {
        let mut record = close();
        record.remote = Endpoint::default();
        record.netns = None;
        record.opener = Claim::Unknown(Reason::SeenFromMiddle);
        record.closer = Claim::Unknown(Reason::NoTask);
        for filter in [
            Filter { remote_ports: vec![Port(8080)], ..Filter::default() },
            Filter { remote: nets("0.0.0.0/0"), ..Filter::default() },
            Filter { netns: vec![NetNs(4_026_531_840)], ..Filter::default() },
            Filter { pids: vec![Pid(9120)], ..Filter::default() },
        ] {
            assert!(!shows(&filter, &record), "{filter:?}");
        }
    }

    #[test]
    fn a_thread_and_the_closer_count_as_processes_of_the_connection() {
        let mut record = close();
        record.closer = Claim::known(owner("worker", 700, 701), []);
        for pid in [700, 701, 9120] {
            assert!(shows(&Filter { pids: vec![Pid(pid)], ..Filter::default() }, &record), "{pid}");
        }
    }

    #[test]
    fn who_accepted_counts_as_a_process_of_the_connection() {
        let mut record = close();
        (record.opener, record.closer) = (Claim::Unknown(Reason::NotVisible), Claim::Unknown(Reason::NoTask));
        record.acceptor = Claim::known(owner("nginx", 811, 812), []);
        assert!(shows(&Filter { comms: vec!["nginx".into()], ..Filter::default() }, &record));
        assert!(!shows(&Filter { pids: vec![Pid(9120)], ..Filter::default() }, &record));
    }

    #[test]
    fn mapped_ipv4_on_an_ipv6_socket_is_ipv4() {
        let version = |version| Filter { version: Some(version), ..Filter::default() };
        let remote = |net| Filter { remote: nets(net), ..Filter::default() };
        let local = |net| Filter { local: nets(net), ..Filter::default() };
        for (local_addr, remote_addr, filter, shown) in [
            ("::ffff:10.0.0.5", "::ffff:10.0.0.7", version(IpVersion::V4), true),
            ("::ffff:10.0.0.5", "::ffff:10.0.0.7", version(IpVersion::V6), false),
            ("10.0.0.5", "10.0.0.7", version(IpVersion::V4), true),
            ("10.0.0.5", "10.0.0.7", version(IpVersion::V6), false),
            ("::ffff:10.0.0.5", "::ffff:10.0.0.7", remote("10.0.0.0/8"), true),
            ("::ffff:10.0.0.5", "::ffff:10.0.0.7", remote("::/0"), false),
            ("::ffff:10.0.0.5", "::ffff:10.0.0.7", local("10.0.0.5/32"), true),
            ("::ffff:10.0.0.5", "::ffff:10.0.0.7", local("10.0.0.6/32"), false),
            ("::", "::ffff:10.0.0.7", version(IpVersion::V4), true),
            ("::1", "::1", version(IpVersion::V4), false),
            ("::1", "::1", version(IpVersion::V6), true),
        ] {
            let ends = |addr: &str, port| Endpoint { addr: Some(addr.parse().unwrap()), port };
            let mut record = close();
            record.family = Family::Inet6;
            record.local = ends(local_addr, record.local.port);
            record.remote = ends(remote_addr, record.remote.port);
            let mut gone = time_wait();
            (gone.family, gone.local, gone.remote) = (record.family, record.local, record.remote);
            let mut change = transition(TcpState::Established, TcpState::FinWait1);
            (change.change.family, change.local, change.remote) =
                (record.family, record.local, record.remote);
            let records = [
                Record::Close(Box::new(record)),
                Record::TimeWait(Box::new(gone)),
                Record::Transition(Box::new(change)),
            ];
            for record in &records {
                assert_eq!(filter.matches(record), shown, "{local_addr} {remote_addr} {filter:?}");
            }
        }
    }

    #[test]
    fn both_ends_are_shown_where_one_of_them_is() {
        let record = Record::BothEnds(Box::new(both_ends()));
        for (comm, shown) in [("curl", true), ("nginx", true), ("sshd", false)] {
            let filter = Filter { comms: vec![comm.to_owned()], ..Filter::default() };
            assert_eq!(filter.matches(&record), shown, "{comm}");
        }
        let filter =
            Filter { kinds: vec![CloseKind::Passive], comms: vec!["curl".into()], ..Filter::default() };
        assert!(!filter.matches(&record), "no end is both");
    }

    #[test]
    fn a_time_wait_has_neither_process_nor_kind() {
        let record = Record::TimeWait(Box::new(time_wait()));
        assert!(Filter { cgroups: vec![CgroupId(77)], ..Filter::default() }.matches(&record));
        for filter in [
            Filter { kinds: vec![CloseKind::Active], ..Filter::default() },
            Filter { pids: vec![Pid(9120)], ..Filter::default() },
        ] {
            assert!(!filter.matches(&record), "{filter:?}");
        }
    }

    #[test]
    fn filters_by_process_or_namespace_need_the_better_tier() {
        let filter = Filter { comms: vec!["nginx".into()], netns: vec![NetNs(1)], ..Filter::default() };
        assert_eq!(filter.needs_tp_btf(), Some("--comm"));
        assert_eq!(Filter { local_ports: vec![Port(1)], ..Filter::default() }.needs_tp_btf(), None);
    }
}
