//! The kernel's settings that a close cannot be judged without, from /proc/sys (ip-sysctl.rst).

use std::fs;
use std::path::Path;

use finwait_core::observation::{PortBounds, Sysctls};

use super::host::netns_of;

const IPV4: &str = "/proc/sys/net/ipv4";
const OWN_NETNS: &str = "/proc/self/ns/net";

/// As they are now in finwait's own network namespace.
#[must_use]
pub fn sysctls() -> Sysctls {
    let read = |name: &str| fs::read_to_string(Path::new(IPV4).join(name)).ok();
    let number = |name: &str| read(name).and_then(|text| text.trim().parse().ok());
    Sysctls {
        netns: netns_of(Path::new(OWN_NETNS)).ok(),
        tcp_fin_timeout: number("tcp_fin_timeout"),
        tcp_tw_reuse: number("tcp_tw_reuse"),
        tcp_orphan_retries: number("tcp_orphan_retries"),
        tcp_max_orphans: number("tcp_max_orphans"),
        tcp_max_tw_buckets: number("tcp_max_tw_buckets"),
        ip_local_port_range: read("ip_local_port_range").as_deref().and_then(bounds),
    }
}

/// `text` is two numbers.
fn bounds(text: &str) -> Option<PortBounds> {
    let mut ends = text.split_ascii_whitespace().map(str::parse);
    Some(PortBounds { first: ends.next()?.ok()?, last: ends.next()?.ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_two_ports() {
        assert_eq!(bounds("32768\t60999\n"), Some(PortBounds { first: 32_768, last: 60_999 }));
        for text in ["", "32768", "a b", "1 65536"] {
            assert_eq!(bounds(text), None, "{text}");
        }
    }

    #[test]
    fn this_host_has_a_fin_timeout() {
        let settings = sysctls();
        assert!(settings.tcp_fin_timeout.is_some() && settings.netns.is_some());
    }
}
