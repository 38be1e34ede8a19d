//! Network namespaces and cgroups by the paths that stand for them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use finwait_core::{CgroupId, NetNs};

use crate::cli::Place;

const OWN_NETNS: &str = "/proc/self/ns/net";

/// Why a path or number names no such place.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// It cannot be looked at
    #[error("cannot look up {}: {source}", path.display())]
    Unreachable {
        /// The path
        path: PathBuf,
        /// What stat said
        source: std::io::Error,
    },
    /// Something else than a network namespace
    #[error("{} is no network namespace: give a path such as /proc/1/ns/net", path.display())]
    NoNetNs {
        /// The path
        path: PathBuf,
    },
    /// Beyond what an inode number of a namespace can be
    #[error("{inode} is no inode number of a network namespace: they have 32 bits")]
    InodeTooLarge {
        /// The number
        inode: u64,
    },
    /// Something else than a cgroup
    #[error("{} is no cgroup2 directory", path.display())]
    NoCgroup {
        /// The path
        path: PathBuf,
    },
}

pub(super) fn netns(spec: &Place) -> Result<NetNs, PlaceError> {
    let inode = match spec {
        Place::Inode(inode) => *inode,
        Place::Path(path) => netns_at(path)?,
    };
    u32::try_from(inode).map(NetNs).map_err(|_| PlaceError::InodeTooLarge { inode })
}

/// Every namespace lies on one file system, nsfs; under /proc the link's text says of which kind it is.
fn netns_at(path: &Path) -> Result<u64, PlaceError> {
    let found = stat(path)?;
    let link = fs::read_link(path).ok();
    let other_kind = link
        .as_ref()
        .and_then(|link| link.to_str())
        .is_some_and(|text| text.contains(":[") && !text.starts_with("net:["));
    if found.dev() != stat(Path::new(OWN_NETNS))?.dev() || other_kind {
        return Err(PlaceError::NoNetNs { path: path.to_owned() });
    }
    Ok(found.ino())
}

pub(super) fn cgroup(spec: &Place) -> Result<CgroupId, PlaceError> {
    let path = match spec {
        Place::Inode(inode) => return Ok(CgroupId(*inode)),
        Place::Path(path) => path,
    };
    let found = stat(path)?;
    // Of both cgroup versions only the second has this file in every directory.
    if !path.join("cgroup.controllers").is_file() {
        return Err(PlaceError::NoCgroup { path: path.to_owned() });
    }
    Ok(CgroupId(found.ino()))
}

fn stat(path: &Path) -> Result<fs::Metadata, PlaceError> {
    fs::metadata(path).map_err(|source| PlaceError::Unreachable { path: path.to_owned(), source })
}
