//! Network namespaces that /proc and the mounts lead to.
//!
//! A namespace that neither a thread nor a bind mount leads to is not found: one that only a descriptor or a socket holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use finwait_core::NetNs;

const PROC: &str = "/proc";
const MOUNTS: &str = "/proc/self/mountinfo";
/// Namespace of the calling thread.
pub(super) const OWN: &str = "/proc/thread-self/ns/net";

/// Something that could not be looked at or opened.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    /// The namespaces of these processes may not be looked at: PTRACE_MODE_READ, that is their user or CAP_SYS_PTRACE
    #[error(
        "network namespaces of processes that may not be looked at ({count}, the first is {first}): {source}"
    )]
    Processes {
        /// How many
        count: usize,
        /// One of them
        first: u32,
        /// What the system says
        source: io::Error,
    },
    /// A namespace is known and cannot be entered, or no socket be had in it
    #[error("network namespace {netns} ({}): {reason}", path.display())]
    Namespace {
        /// Which one
        netns: NetNs,
        /// What led to it
        path: PathBuf,
        /// Why not
        reason: String,
    },
    /// A namespace that was asked for and that nothing leads to
    #[error("network namespace {netns}: no thread and no mount that may be looked at leads to it")]
    NotFound {
        /// Which one
        netns: NetNs,
    },
    /// The thread that goes from namespace to namespace
    #[error("cannot go to other network namespaces: {reason}")]
    Thread {
        /// What became of it
        reason: String,
    },
    /// /proc cannot be read at all
    #[error("{path}: {source}")]
    Proc {
        /// The file
        path: &'static str,
        /// What the system says
        source: io::Error,
    },
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// A path for each namespace
    pub(super) paths: BTreeMap<NetNs, PathBuf>,
    /// Processes that may not be looked at
    pub(super) hidden: BTreeSet<u32>,
    /// What could not be looked at; empty if nothing was left out
    pub(super) unreachable: Vec<Unreachable>,
}

/// Looks everywhere; only at `wanted` where that is given.
pub(super) fn namespaces(wanted: Option<&BTreeSet<NetNs>>) -> Found {
    let mut found = Found::default();
    let keep = |netns: NetNs| wanted.is_none_or(|wanted| wanted.contains(&netns));
    mounts(&mut found, keep);
    processes(&mut found, keep);
    found
}

/// Whether `file` is a namespace file of the network kind: nsfs alone is not enough, other kinds live there as well.
pub(super) fn netns_at(path: &Path) -> io::Result<NetNs> {
    crate::probe::host::netns_of(path)
}

fn mounts(found: &mut Found, keep: impl Fn(NetNs) -> bool) {
    match fs::read_to_string(MOUNTS) {
        Ok(text) => {
            for (netns, path) in text.lines().filter_map(nsfs_mount) {
                // Another mount may lie over it by now.
                if keep(netns) && netns_at(&path).is_ok_and(|there| there == netns) {
                    found.paths.entry(netns).or_insert(path);
                }
            }
        }
        Err(source) => found.unreachable.push(Unreachable::Proc { path: MOUNTS, source }),
    }
}

/// The namespace that a line of mountinfo binds to a path: `… net:[4026532008] /run/netns/blue … - nsfs nsfs rw`.
fn nsfs_mount(line: &str) -> Option<(NetNs, PathBuf)> {
    let (fields, kind) = line.split_once(" - ")?;
    if !kind.starts_with("nsfs ") {
        return None;
    }
    let mut fields = fields.split(' ').skip(3);
    let inode = fields.next()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()?;
    Some((NetNs(inode), crate::enrich::mounts::unescape(fields.next()?)))
}

/// Threads may be in other namespaces than their process.
fn processes(found: &mut Found, keep: impl Fn(NetNs) -> bool) {
    let entries = match fs::read_dir(PROC) {
        Ok(entries) => entries,
        Err(source) => {
            found.unreachable.push(Unreachable::Proc { path: PROC, source });
            return;
        }
    };
    let mut denied = None;
    for pid in entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        match threads(pid, found, &keep) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                found.hidden.insert(pid);
                denied = Some(error);
            }
            // A process that is gone, or a kernel thread that ends.
            Ok(()) | Err(_) => {}
        }
    }
    if let Some((source, first)) = denied.zip(found.hidden.first().copied()) {
        let count = found.hidden.len();
        found.unreachable.push(Unreachable::Processes { count, first, source });
    }
}

fn threads(pid: u32, found: &mut Found, keep: &impl Fn(NetNs) -> bool) -> io::Result<()> {
    for thread in fs::read_dir(format!("{PROC}/{pid}/task"))?.flatten() {
        let path = thread.path().join("ns/net");
        let netns = match netns_at(&path) {
            Ok(netns) => netns,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
            // A thread that is gone.
            Err(_) => continue,
        };
        if keep(netns) {
            found.paths.entry(netns).or_insert(path);
        }
    }
    Ok(())
}

/// Opens the namespace file at `path` if it still is `netns`: a thread's number may have been given to another.
pub(super) fn open(path: &Path, netns: NetNs) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.ino() == u64::from(netns.0) {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::NotFound, "what led there is gone"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bind_mounts_of_network_namespaces_are_found_wherever_they_are() {
        let line = "417 25 0:4 net:[4026532008] /run/netns/blue\\040one rw shared:1 - nsfs nsfs rw";
        assert_eq!(nsfs_mount(line), Some((NetNs(4_026_532_008), PathBuf::from("/run/netns/blue one"))));
        for line in [
            "417 25 0:4 mnt:[4026532008] /run/snapd/ns/x.mnt rw - nsfs nsfs rw",
            "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755",
            "417 25 0:4 net:[x] /run/netns/blue rw - nsfs nsfs rw",
            "",
        ] {
            assert_eq!(nsfs_mount(line), None, "{line}");
        }
    }

    #[test]
    fn the_own_namespace_is_found() {
        let own = netns_at(Path::new(OWN)).unwrap();
        let found = namespaces(Some(&BTreeSet::from([own])));
        assert_eq!(found.paths.keys().copied().collect::<Vec<_>>(), [own]);
    }
}
