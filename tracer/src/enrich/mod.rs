//! What lies behind the numbers of a socket: processes, cgroups and containers, kernel functions. All of it is read from
//! /proc and the cgroup file system when asked; nothing here is an observation.
//!
//! * [`Cgroups`]: id of a cgroup → its path, and the [`CgroupName`] that the path gives away
//! * [`holders`]: inode of a socket → the processes that hold a descriptor of it
//! * [`process_facts`]: what finwait itself uses
//! * [`KernelSymbols`]: address → which of a few kernel functions it lies in

mod cgroup;
mod container;
pub(crate) mod mounts;
mod own;
mod process;
mod symbols;

pub use cgroup::{CgroupError, Cgroups};
pub use container::{CgroupName, Container, Runtime};
pub use own::process_facts;
pub use process::{Holder, Holders, HoldersError, holders};
pub use symbols::{KernelSymbols, SymbolsError};
