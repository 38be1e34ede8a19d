//! The share of a filter that the kernel programs apply: they drop only what provably cannot match.

use finwait_core::{NetNs, Port};
use tracer_common::{FILTER_NETNS, FILTER_PORTS, KernelFilter};

use super::{Filter, IpVersion};

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

impl Filter {
    /// What the kernel can decide: the IP version, and lists that fit into its tables. A list that does not fit is
    /// left to user space as a whole.
    #[must_use]
    pub fn kernel_share(&self) -> KernelFilter {
        let (local_port_count, local_ports) = table(&self.local_ports, |Port(raw)| raw);
        let (remote_port_count, remote_ports) = table(&self.remote_ports, |Port(raw)| raw);
        let (netns_count, netns) = table::<_, _, FILTER_NETNS>(&self.netns, |NetNs(raw)| raw);
        let family = match self.version {
            None => 0,
            Some(IpVersion::V4) => AF_INET,
            Some(IpVersion::V6) => AF_INET6,
        };
        KernelFilter {
            family,
            local_port_count,
            remote_port_count,
            netns_count,
            local_ports,
            remote_ports,
            netns,
        }
    }

    /// Whether the kernel's share is all of the filter.
    #[must_use]
    pub fn kernel_suffices(&self) -> bool {
        let beyond = self.local.is_empty()
            && self.remote.is_empty()
            && self.pids.is_empty()
            && self.comms.is_empty()
            && self.cgroups.is_empty()
            && self.workloads.is_any()
            && self.kinds.is_empty();
        beyond
            && self.local_ports.len() <= FILTER_PORTS
            && self.remote_ports.len() <= FILTER_PORTS
            && self.netns.len() <= FILTER_NETNS
    }
}

fn table<T: Copy, U: Copy + Default, const N: usize>(list: &[T], raw: impl Fn(T) -> U) -> (u32, [U; N]) {
    let mut entries = [U::default(); N];
    if list.len() > N {
        return (0, entries);
    }
    let mut count = 0;
    for (entry, value) in entries.iter_mut().zip(list) {
        *entry = raw(*value);
        count += 1;
    }
    (count, entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(range: std::ops::RangeInclusive<u16>) -> Vec<Port> {
        range.map(Port).collect()
    }

    #[test]
    fn an_empty_filter_switches_every_test_off() {
        assert_eq!(Filter::default().kernel_share(), KernelFilter::default());
        assert!(Filter::default().kernel_suffices());
    }

    #[test]
    fn lists_that_fit_are_handed_over() {
        let filter = Filter {
            local_ports: ports(1..=16),
            remote_ports: vec![Port(443)],
            version: Some(IpVersion::V6),
            netns: vec![NetNs(7)],
            ..Filter::default()
        };
        let share = filter.kernel_share();
        assert_eq!((share.family, share.netns_count, share.netns[0]), (10, 1, 7));
        assert_eq!((share.local_port_count, share.local_ports[15]), (16, 16));
        assert_eq!((share.remote_port_count, share.remote_ports[..2].to_vec()), (1, vec![443, 0]));
        assert!(filter.kernel_suffices());
    }

    #[test]
    fn a_list_that_is_too_long_is_left_to_user_space_as_a_whole() {
        let filter = Filter { local_ports: ports(1..=17), version: Some(IpVersion::V4), ..Filter::default() };
        let share = filter.kernel_share();
        assert_eq!((share.family, share.local_port_count, share.local_ports), (2, 0, [0; 16]));
        assert!(!filter.kernel_suffices());
    }

    #[test]
    fn what_the_kernel_does_not_know_stays_out_of_its_share() {
        let filter = Filter { comms: vec!["curl".into()], ..Filter::default() };
        assert_eq!(filter.kernel_share(), KernelFilter::default());
        assert!(!filter.kernel_suffices());
    }
}
