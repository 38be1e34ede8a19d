//! The kernel's settings that a close cannot be judged without.

use serde::{Deserialize, Serialize};

use crate::id::NetNs;

/// Settings as they were when observing began; `None` is what could not be read. Names and units are the kernel's
/// (ip-sysctl.rst). All but `tcp_max_orphans` are a network namespace's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sysctls {
    /// The namespace in which they were read: finwait's own
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns: Option<NetNs>,
    /// Seconds that an orphan stays in FIN_WAIT2
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_fin_timeout: Option<u32>,
    /// Whether connect() may take a port that is in TIME_WAIT: 0 no, 1 yes, 2 on loopback alone
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_tw_reuse: Option<u32>,
    /// Retransmissions after which an orphan is given up; 0 stands for 8
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_orphan_retries: Option<u32>,
    /// Orphans beyond which they are reset at once, in the whole host
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_max_orphans: Option<u32>,
    /// Time-wait sockets beyond which there are no more
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_max_tw_buckets: Option<u32>,
    /// Ports that connect() chooses among
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_local_port_range: Option<PortBounds>,
}

/// The first and the last of a range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortBounds {
    /// The first
    pub first: u16,
    /// The last, itself in the range
    pub last: u16,
}

impl Sysctls {
    /// Whether none of them could be read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
