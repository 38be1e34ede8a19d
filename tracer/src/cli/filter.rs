//! Flags that choose connections.

use clap::Args;
use finwait_core::{Pid, Port};
use ipnet::IpNet;

use super::value::{self, Place};
use crate::filter::UnitPattern;

/// Filters of which the kernel programs know too.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Filter")]
pub struct KernelFilterArgs {
    /// Local ports, such as 80,443
    #[arg(short = 'L', long, visible_alias = "localport", value_name = "PORTS", value_delimiter = ',')]
    #[arg(value_parser = value::port)]
    pub local_port: Vec<Port>,
    /// Remote ports
    #[arg(short = 'D', long, visible_alias = "remoteport", value_name = "PORTS", value_delimiter = ',')]
    #[arg(value_parser = value::port)]
    pub remote_port: Vec<Port>,
    /// IPv4 alone; IPv4-mapped IPv6 counts as the IPv4 it is
    #[arg(short = '4', long)]
    pub ipv4: bool,
    /// IPv6 alone
    #[arg(short = '6', long)]
    pub ipv6: bool,
    /// Network namespaces: an inode number, a path such as /proc/1/ns/net, or `self`
    #[arg(long, value_name = "NETNS", value_delimiter = ',', value_parser = value::namespace)]
    pub netns: Vec<Place>,
}

/// Every filter.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Filter")]
pub struct FilterArgs {
    /// What the kernel can tell apart
    #[command(flatten)]
    pub kernel: KernelFilterArgs,
    /// Local addresses or networks, such as 10.0.0.0/8 or [::1]
    #[arg(long, value_name = "NETWORKS", value_delimiter = ',', value_parser = value::network)]
    pub local: Vec<IpNet>,
    /// Remote addresses or networks
    #[arg(long, value_name = "NETWORKS", value_delimiter = ',', value_parser = value::network)]
    pub remote: Vec<IpNet>,
    /// Processes or threads that opened, accepted, closed or own the connection
    #[arg(short, long, value_name = "PIDS", value_delimiter = ',', value_parser = value::pid)]
    pub pid: Vec<Pid>,
    /// Name of such a process, in full; may be given more than once
    #[arg(long, value_name = "NAME", value_parser = value::comm)]
    pub comm: Vec<String>,
    /// cgroups: an inode number or a cgroup2 directory
    #[arg(long, value_name = "CGROUP", value_parser = value::place)]
    pub cgroup: Vec<Place>,
    /// Containers by the beginning of their id; an accepted connection belongs to its listener's
    #[arg(long, value_name = "ID", value_delimiter = ',', value_parser = value::container)]
    pub container: Vec<String>,
    /// systemd units such as nginx or 'nginx*'; may be given more than once
    #[arg(long, value_name = "NAME", value_parser = value::unit)]
    pub unit: Vec<UnitPattern>,
}
