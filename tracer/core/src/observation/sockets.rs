//! What a dump of the sockets that there are (sock_diag) shows. It makes sockets known that were there before finwait,
//! repairs the table after a loss, and shows time-wait sockets where no hook does.
//!
//! A dump is handed over as [`DumpBegin`], then every event from before its end, then its [`SocketRow`]s, then
//! [`DumpEnd`]: so an event always outweighs a row.

use core::net::IpAddr;

use serde::{Deserialize, Serialize};
use tracer_common::TcpState;

use super::{Family, Task, Workload, state_name};
use crate::id::{CgroupId, Cookie, NetNs, Port};
use crate::time::MonoNs;

/// What a dump lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DumpScope {
    /// Full sockets that are not listening
    Connections,
    /// Time-wait sockets, those in FIN_WAIT2 included
    TimeWait,
}

/// A dump is about to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpBegin {
    /// Before the kernel was asked
    #[serde(rename = "time_ns")]
    pub at: MonoNs,
    /// What it lists
    pub scope: DumpScope,
}

/// All rows of a dump have been handed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpEnd {
    /// After the kernel's last answer
    #[serde(rename = "time_ns")]
    pub at: MonoNs,
    /// What it lists
    pub scope: DumpScope,
    /// Namespaces of which everything was listed: what is missing there has ended
    pub complete: Vec<NetNs>,
}

/// One socket of a dump.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SocketRow {
    /// Network namespace
    pub netns: NetNs,
    /// The socket's family
    pub family: Family,
    /// Its state; of a time-wait socket its substate
    #[serde(with = "state_name")]
    pub state: TcpState,
    /// A time-wait socket: no file, no tcp_sock
    #[serde(default)]
    pub mini: bool,
    /// Cookie
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<Cookie>,
    /// Local address
    pub local_addr: IpAddr,
    /// Local port
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_port: Option<Port>,
    /// Remote address
    pub remote_addr: IpAddr,
    /// Remote port
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_port: Option<Port>,
    /// Inode number of its file
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inode: Option<u64>,
    /// Its user
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// sk_mark
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<u32>,
    /// Its cgroup
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<CgroupId>,
    /// A process that has a descriptor of it, by /proc
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Task>,
    /// Until its timer runs out, for a time-wait socket
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timer_ns: Option<u64>,
}

/// A cgroup's names, told once before they are needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupNames {
    /// The cgroup
    pub cgroup: CgroupId,
    /// What it is called
    #[serde(flatten)]
    pub workload: Workload,
}
