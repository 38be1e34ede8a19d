//! The network namespaces that can be dumped: for each one socket, opened while that is allowed and kept.
//!
//! An open socket keeps its namespace alive, even when its last process has gone. [`Namespaces::refresh`] lets go of those that
//! nothing leads to any more, as long as no more processes are hidden than when they were opened.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::thread;

use finwait_core::NetNs;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::diag::{DiagError, DiagSocket, Dump};
use super::discover::{self, Found, OWN, Unreachable};
use super::states::States;

/// Name of the thread that goes from namespace to namespace.
const THREAD: &str = "netns-opener";

/// Open namespaces.
#[derive(Debug)]
pub struct Namespaces {
    sockets: BTreeMap<NetNs, DiagSocket>,
    wanted: Option<BTreeSet<NetNs>>,
    unreachable: Vec<Unreachable>,
    /// Processes that could not be looked at when the first ones were opened
    hidden: Option<BTreeSet<u32>>,
}

/// What [`Namespaces::refresh`] changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Refreshed {
    /// Found and opened
    pub opened: Vec<NetNs>,
    /// Let go: nothing leads to them any more
    pub closed: Vec<NetNs>,
}

impl Namespaces {
    /// Opens every namespace that can be reached, or those of `wanted` that can. Entering another namespace than the own
    /// needs CAP_SYS_ADMIN; what could not be reached, and why, is in [`Namespaces::unreachable`].
    ///
    /// # Errors
    /// When not one socket could be opened and nothing says why.
    pub fn open(wanted: Option<BTreeSet<NetNs>>) -> Result<Self, DiagError> {
        let mut namespaces = Self { sockets: BTreeMap::new(), wanted, unreachable: Vec::new(), hidden: None };
        // The own one needs no privilege and no other thread.
        if let Ok(own) = discover::netns_at(Path::new(OWN))
            && namespaces.wants(own)
        {
            namespaces.sockets.insert(own, DiagSocket::open(own)?);
        }
        namespaces.refresh();
        Ok(namespaces)
    }

    /// Looks again: opens what appeared, lets go of what vanished, if that is certain. Without the privileges that
    /// [`Namespaces::open`] had, new namespaces only add to [`Namespaces::unreachable`].
    pub fn refresh(&mut self) -> Refreshed {
        let Found { mut paths, hidden, unreachable } = discover::namespaces(self.wanted.as_ref());
        let all_seen = !unreachable.iter().any(|what| matches!(what, Unreachable::Proc { .. }));
        let closed = match &self.hidden {
            Some(before) if all_seen && hidden.is_subset(before) => self.let_go(&paths),
            _ => Vec::new(),
        };
        self.hidden.get_or_insert(hidden);
        self.unreachable = unreachable;
        paths.retain(|netns, _| !self.sockets.contains_key(netns));
        for netns in self.wanted.iter().flatten() {
            if !self.sockets.contains_key(netns) && !paths.contains_key(netns) {
                self.unreachable.push(Unreachable::NotFound { netns: *netns });
            }
        }
        let (opened, refused) = open_all(paths);
        self.unreachable.extend(refused);
        let mut refreshed = Refreshed { opened: Vec::new(), closed };
        for socket in opened {
            refreshed.opened.push(socket.netns());
            self.sockets.insert(socket.netns(), socket);
        }
        // Processes that are hidden are no loss where all that was asked for was found elsewhere.
        let all_open = |wanted: &BTreeSet<NetNs>| wanted.iter().all(|netns| self.sockets.contains_key(netns));
        if self.wanted.as_ref().is_some_and(all_open) {
            self.unreachable.clear();
        }
        refreshed
    }

    /// Those that are open.
    pub fn open_ones(&self) -> impl Iterator<Item = NetNs> + '_ {
        self.sockets.keys().copied()
    }

    /// What could not be looked at or opened when that was last tried.
    #[must_use]
    pub fn unreachable(&self) -> &[Unreachable] {
        &self.unreachable
    }

    /// Dumps one namespace. Blocks until the kernel has told everything: about 2 µs a socket.
    ///
    /// # Errors
    /// It is not open, or the kernel does not answer as expected.
    pub fn dump(&mut self, netns: NetNs, states: States) -> Result<Dump, DiagError> {
        self.sockets.get_mut(&netns).ok_or(DiagError::NotOpen { netns })?.dump(states)
    }

    /// Dumps every open namespace, one after the other.
    pub fn dump_all(&mut self, states: States) -> Vec<Result<Dump, DiagError>> {
        self.sockets.values_mut().map(|socket| socket.dump(states)).collect()
    }

    fn wants(&self, netns: NetNs) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.contains(&netns))
    }

    fn let_go(&mut self, there: &BTreeMap<NetNs, PathBuf>) -> Vec<NetNs> {
        let gone: Vec<NetNs> = self.open_ones().filter(|netns| !there.contains_key(netns)).collect();
        for netns in &gone {
            self.sockets.remove(netns);
        }
        gone
    }
}

/// Opens a socket in each namespace, on a thread of its own: setns() moves the thread that calls it.
fn open_all(paths: BTreeMap<NetNs, PathBuf>) -> (Vec<DiagSocket>, Vec<Unreachable>) {
    if paths.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let failed = |reason: String| (Vec::new(), vec![Unreachable::Thread { reason }]);
    let tour = thread::Builder::new().name(THREAD.to_owned()).spawn(move || tour(paths));
    match tour.map(thread::JoinHandle::join) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => failed("the thread that does so broke off".to_owned()),
        Err(error) => failed(format!("cannot start a thread: {error}")),
    }
}

fn tour(paths: BTreeMap<NetNs, PathBuf>) -> (Vec<DiagSocket>, Vec<Unreachable>) {
    let (mut opened, mut refused) = (Vec::new(), Vec::new());
    for (netns, path) in paths {
        match enter_and_open(&path, netns) {
            Ok(socket) => opened.push(socket),
            Err(reason) => refused.push(Unreachable::Namespace { netns, path, reason }),
        }
    }
    (opened, refused)
}

fn enter_and_open(path: &Path, netns: NetNs) -> Result<DiagSocket, String> {
    use std::os::fd::AsFd;
    let file = discover::open(path, netns).map_err(|error| format!("open: {error}"))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|errno| format!("setns (needs CAP_SYS_ADMIN): {}", std::io::Error::from(errno)))?;
    DiagSocket::open(netns).map_err(|error| error.to_string())
}
