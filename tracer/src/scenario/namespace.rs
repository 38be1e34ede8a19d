//! A network namespace that nothing outlives: no name, no mount, only threads and sockets hold it.

use std::net::{IpAddr, Ipv4Addr};
use std::os::linux::fs::MetadataExt;
use std::sync::atomic::{AtomicU32, Ordering};

use super::error::{Context, Result};
use finwait_core::NetNs;
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::actor::Actor;
use super::interface::bring_up_loopback;

/// Name of the thread that connects.
const CLIENT: &str = "scene-client";
/// Name of the thread that listens and accepts.
const SERVER: &str = "scene-server";

/// Two threads in a network namespace of their own, with nothing but a loopback.
#[derive(Debug)]
pub struct Namespace {
    client: Actor,
    server: Actor,
    inode: NetNs,
    next_address: AtomicU32,
}

impl Namespace {
    /// Makes the namespace. Needs CAP_SYS_ADMIN; the calling thread stays where it is.
    pub fn new() -> Result<Self> {
        let (client, (server, inode)) = Actor::spawn(CLIENT, || {
            let inode = enter_new()?;
            // A thread starts in its maker's namespace.
            let (server, ()) = Actor::spawn(SERVER, || Ok(()))?;
            Ok((server, inode))
        })?;
        Ok(Self { client, server, inode, next_address: AtomicU32::new(0) })
    }

    /// The namespace's inode number, for filters.
    #[must_use]
    pub fn inode(&self) -> NetNs {
        self.inode
    }

    /// The thread that connects.
    #[must_use]
    pub fn client(&self) -> &Actor {
        &self.client
    }

    /// The thread that listens and accepts.
    #[must_use]
    pub fn server(&self) -> &Actor {
        &self.server
    }

    /// An address of 127.0.0.0/8 that was not handed out before.
    #[must_use]
    pub fn fresh_address(&self) -> IpAddr {
        let number = self.next_address.fetch_add(1, Ordering::Relaxed);
        // Steps over .0 and .255, which mean something else on other networks.
        let [.., low] = (number % 254 + 1).to_be_bytes();
        let [.., high, middle] = (number / 254 + 256).to_be_bytes(); // from 127.1.0.0 on
        IpAddr::V4(Ipv4Addr::new(127, high, middle, low))
    }
}

/// Takes the calling thread into a network namespace of its own whose loopback is up, and gives its inode number. Needs
/// CAP_SYS_ADMIN.
pub fn enter_new() -> Result<NetNs> {
    // SAFETY: a network namespace of its own takes no memory and no descriptor from this thread.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
        .context("making a network namespace (needs CAP_SYS_ADMIN)")?;
    bring_up_loopback()?;
    current_inode()
}

fn current_inode() -> Result<NetNs> {
    let inode =
        std::fs::metadata("/proc/thread-self/ns/net").context("reading the namespace's number")?.st_ino();
    Ok(NetNs(u32::try_from(inode)?))
}
