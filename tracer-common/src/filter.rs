//! The filter that the kernel programs apply: only what provably cannot match is dropped there.

/// Ports that fit into one direction of the kernel filter; longer lists are filtered in user space alone.
pub const FILTER_PORTS: usize = 16;
/// Network namespaces that fit into the kernel filter.
pub const FILTER_NETNS: usize = 8;

/// Frozen into the programs at load time. A count of 0 switches that test off.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelFilter {
    /// 0 any, 2 IPv4 (IPv4-mapped IPv6 passes), 10 IPv6.
    pub family: u32,
    /// Entries used in `local_ports`.
    pub local_port_count: u32,
    /// Entries used in `remote_ports`.
    pub remote_port_count: u32,
    /// Entries used in `netns`.
    pub netns_count: u32,
    /// Local ports, host order.
    pub local_ports: [u16; FILTER_PORTS],
    /// Remote ports, host order.
    pub remote_ports: [u16; FILTER_PORTS],
    /// Inode numbers of network namespaces.
    pub netns: [u32; FILTER_NETNS],
}
