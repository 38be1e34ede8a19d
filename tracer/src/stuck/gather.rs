//! One look: a dump of every namespace, the ages that it and the earlier ones prove, and who holds the sockets.

use std::collections::HashSet;
use std::sync::Arc;

use finwait_core::{MonoNs, NetNs, TcpState};

use super::age::Age;
use super::memory::Memory;
use crate::enrich::{CgroupName, Cgroups, Holder, Holders, holders};
use crate::snapshot::{DiagError, Dump, Namespaces, Row, States};

/// Stands for a namespace that is not known: no file has this inode number.
pub(super) const UNKNOWN_NETNS: NetNs = NetNs(0);

/// Who a stuck socket belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// These processes have a descriptor of it; the first one by number leads
    Processes(Vec<Holder>),
    /// Nobody has: closed by all who had, or a mini-socket
    Nobody,
    /// Nobody has yet: in a listener's queue, not accepted
    NotAccepted,
    /// Someone has, but nobody that can be seen, or it was closed during the look
    Unknown,
    /// The recording does not say, nor whether anyone has
    NotRecorded,
}

impl Owner {
    /// Its name in JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Processes(_) => "process",
            Self::Nobody => "none",
            Self::NotAccepted => "not_accepted",
            Self::Unknown => "unknown",
            Self::NotRecorded => "not_recorded",
        }
    }

    /// The processes, where they are known.
    #[must_use]
    pub fn holders(&self) -> &[Holder] {
        if let Self::Processes(holders) = self { holders } else { &[] }
    }
}

/// A connection in a closing state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StuckSocket {
    /// The socket
    pub row: Row,
    /// Who has it
    pub owner: Owner,
    /// Its cgroup; an accepted socket has its listener's
    pub cgroup: Option<Arc<CgroupName>>,
    /// Since when it is in its state, at the end of the look
    pub age: Age,
}

/// Everything that one look shows.
#[derive(Debug)]
pub struct Picture {
    /// CLOCK_MONOTONIC before the first dump
    pub begin: MonoNs,
    /// CLOCK_MONOTONIC after the last
    pub end: MonoNs,
    /// Every connection in a closing state that is at least as old as was asked for, the oldest first
    pub sockets: Vec<StuckSocket>,
    /// Connections in a closing state that are not proven to be that old
    pub younger: usize,
    /// Namespaces that were looked at
    pub namespaces: usize,
    /// Those that could not be, and why
    pub failures: Vec<DiagError>,
    /// The kernel says that a dump may be spoilt
    pub interrupted: bool,
    /// Processes whose descriptors may not be looked at; `None` where there was no reason to look
    pub hidden_processes: Option<usize>,
}

/// Where names come from.
#[derive(Debug, Default)]
pub struct Lookups {
    /// cgroups, where there is a cgroup2 file system
    pub cgroups: Option<Cgroups>,
}

/// Dumps every open namespace and finds out about the sockets whose states are proven to last `older_ns` at least, 1 ns if it is 0:
/// what was seen but once is not stuck. Blocks for the dumps and for one pass over /proc.
pub fn gather(
    namespaces: &mut Namespaces,
    memory: &mut Memory,
    lookups: &mut Lookups,
    older_ns: u64,
) -> Picture {
    let (dumps, failures): (Vec<_>, Vec<_>) =
        namespaces.dump_all(States::CLOSING).into_iter().partition(Result::is_ok);
    let dumps: Vec<Dump> = dumps.into_iter().flatten().collect();
    let mut picture = Picture {
        begin: dumps.iter().map(|dump| dump.begin).min().unwrap_or_default(),
        end: dumps.iter().map(|dump| dump.end).max().unwrap_or_default(),
        sockets: Vec::new(),
        younger: 0,
        namespaces: dumps.len(),
        failures: failures.into_iter().filter_map(Result::err).collect(),
        interrupted: dumps.iter().any(|dump| dump.interrupted),
        hidden_processes: None,
    };
    let mut old = Vec::new();
    for dump in dumps {
        let ages = memory.observe(&dump);
        for (row, age) in dump.rows.into_iter().zip(ages) {
            if age.at_least_ns >= older_ns.max(1) { old.push((row, age)) } else { picture.younger += 1 }
        }
    }
    let inodes: HashSet<u64> = old.iter().filter_map(|(row, _)| row.inode).collect();
    let held = holders(&inodes).ok();
    picture.hidden_processes = held.as_ref().filter(|_| !inodes.is_empty()).map(|held| held.hidden);
    let mut sockets: Vec<StuckSocket> =
        old.into_iter().map(|(row, age)| stuck(row, age, held.as_ref(), lookups)).collect();
    sockets.sort_by_key(|socket| std::cmp::Reverse(socket.age.at_least_ns));
    picture.sockets = sockets;
    picture
}

fn stuck(row: Row, age: Age, held: Option<&Holders>, lookups: &mut Lookups) -> StuckSocket {
    let holders = row.inode.zip(held).map_or(&[][..], |(inode, held)| held.of(inode));
    let owner = owner(&row, holders);
    let cgroup = row.cgroup.and_then(|id| lookups.cgroups.as_mut()?.name(id));
    StuckSocket { row, owner, cgroup, age }
}

/// An inode is there from accept() or socket() to close(). close() ends CLOSE_WAIT, so one without an inode was not accepted.
fn owner(row: &Row, holders: &[Holder]) -> Owner {
    match row.inode {
        _ if !holders.is_empty() => Owner::Processes(holders.to_vec()),
        Some(_) => Owner::Unknown,
        None if row.state == TcpState::CloseWait => Owner::NotAccepted,
        None => Owner::Nobody,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stuck::samples_for_tests::{holder, row};

    #[test]
    fn a_socket_without_an_inode_has_no_process_and_in_close_wait_never_had_one() {
        let orphan = |state| Row { inode: None, ..row(state) };
        assert_eq!(owner(&orphan(TcpState::LastAck), &[]), Owner::Nobody);
        assert_eq!(owner(&orphan(TcpState::FinWait2), &[]), Owner::Nobody);
        assert_eq!(owner(&orphan(TcpState::CloseWait), &[]), Owner::NotAccepted);
    }

    #[test]
    fn a_socket_whose_holder_is_not_found_is_not_called_an_orphan() {
        assert_eq!(owner(&row(TcpState::CloseWait), &[]), Owner::Unknown);
        let java = holder("java", 2201);
        assert_eq!(owner(&row(TcpState::CloseWait), &[java]), Owner::Processes(vec![java]));
    }
}
