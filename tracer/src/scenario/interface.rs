//! Brings the loopback interface of the calling thread's network namespace up.

use std::io::Error;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};
use nix::libc;

/// Sets IFF_UP on `lo`.
pub(super) fn bring_up_loopback() -> Result<()> {
    let socket = control_socket().context("opening a socket to bring lo up")?;
    let mut request = loopback_request();
    // SAFETY: the socket is open, and SIOCGIFFLAGS writes into the ifreq that outlives the call.
    let got = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) };
    nix::errno::Errno::result(got).context("reading the flags of lo")?;
    // SAFETY: SIOCGIFFLAGS has just filled this member of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | libc::IFF_UP as libc::c_short;
    // SAFETY: the socket is open, and SIOCSIFFLAGS only reads the ifreq.
    let set = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    nix::errno::Errno::result(set).context("bringing lo up")?;
    Ok(())
}

fn control_socket() -> Result<OwnedFd> {
    // SAFETY: socket() takes no pointer.
    let raw = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if raw < 0 {
        return Err(Error::last_os_error().into());
    }
    // SAFETY: the descriptor was just made and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

fn loopback_request() -> libc::ifreq {
    // SAFETY: ifreq is plain data; all zeroes is a value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(*b"lo") {
        *slot = byte as libc::c_char;
    }
    request
}
