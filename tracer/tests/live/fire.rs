//! Owners under fire: many processes open and close at once, and none is named in another's place.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::PoisonError;

use finwait_core::record::{CloseRecord, Owner, Role};
use finwait_core::{Claim, Pid, Reason, TrackerConfig};
use tracer::probe::{Probe, ProbeConfig};
use tracer::scenario::watch::{Reading, only, track};
use tracer::scenario::{Context, Namespace, Result, ScenarioError};

use crate::support::SPAWNING;

const PROCESSES: u8 = 50;
const CONNECTIONS: usize = 200;

/// The address that the process with this number connects to: by it a connection tells whose it is.
fn address(process: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 77, 0, process + 1)
}

/// In a process of its own: connects and closes, again and again. Gives its number, which its parent waits for.
fn start(process: u8, port: u16) -> Result<Pid> {
    let to = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(address(process)).to_be() },
        sin_zero: [0; 8],
    };
    // SAFETY: the child calls nothing that takes a lock or memory: system calls alone, then _exit.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error()).context("fork"),
        0 => {
            // SAFETY: a system call; the copies of the parent's descriptors are of no use here.
            unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
            for _ in 0..CONNECTIONS {
                // SAFETY: `to` is a live sockaddr_in and its size is given; the descriptor is this loop's own.
                unsafe {
                    let socket = libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
                    let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
                    if libc::connect(socket, (&raw const to).cast(), length) != 0 {
                        libc::_exit(1);
                    }
                    libc::close(socket);
                }
            }
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(0) }
        }
        child => Ok(Pid(child.cast_unsigned())),
    }
}

fn wait(child: Pid) -> Result<()> {
    let mut status = 0;
    // SAFETY: `status` is a live int; the child is ours and has not been waited for.
    let waited = unsafe { libc::waitpid(child.0.cast_signed(), &raw mut status, 0) };
    match (waited, status) {
        (-1, _) => Err(std::io::Error::last_os_error()).context("waitpid"),
        (_, 0) => Ok(()),
        (_, status) => Err(ScenarioError::unexpected(format!("a process ended with {status:#x}"))),
    }
}

/// Runs them all; gives their numbers in order.
fn fire(namespace: &Namespace) -> Result<Vec<Pid>> {
    let (listener, port) = namespace.server().run(|| {
        let listener = TcpListener::bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0))?;
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    })?;
    let children =
        namespace.client().run(move || (0..PROCESSES).map(|n| start(n, port)).collect::<Result<Vec<_>>>())?;
    // In portions, as no job of an actor may take long.
    for _ in 0..PROCESSES {
        let accepting = listener.try_clone()?;
        namespace
            .server()
            .run(move || (0..CONNECTIONS).try_for_each(|_| Ok(accepting.accept().map(drop)?)))?;
    }
    children.iter().copied().try_for_each(wait)?;
    Ok(children)
}

/// How many of `claims` are known; fails if one of these names another process than it should.
fn known<'a>(claims: impl Iterator<Item = (&'a Claim<Owner>, Pid, &'a CloseRecord)>) -> usize {
    claims
        .filter_map(|(claim, own, record)| Some((claim.value()?, own, record)))
        .map(|(owner, own, record)| assert_eq!(owner.tgid, own, "{owner:?} is named in {record:?}"))
        .count()
}

/// Why those of `claims` are unknown that are.
fn reasons<'a>(claims: impl Iterator<Item = &'a Claim<Owner>>) -> BTreeMap<Reason, usize> {
    let mut counts = BTreeMap::new();
    claims.filter_map(Claim::reason).for_each(|reason| *counts.entry(reason).or_default() += 1);
    counts
}

#[test]
fn fifty_processes_that_open_and_close_at_once_are_told_apart() {
    let _alone = SPAWNING.write().unwrap_or_else(PoisonError::into_inner);
    let namespace = Namespace::new().expect("namespace");
    // Owners are in question here, not how fast an unoptimised reader is.
    let filter = only(namespace.inode());
    let probe = Probe::attach(&ProbeConfig { filter, ring_bytes: 64 << 20, ..ProbeConfig::default() });
    let probe = probe.expect("attach");
    let config = TrackerConfig { transitions: false, ..TrackerConfig::default() };
    let (children, seen) = track(probe, Reading::Always, config, || fire(&namespace)).expect("run");
    let own: HashMap<IpAddr, Pid> =
        (0..PROCESSES).map(|n| (address(n).into(), children[usize::from(n)])).collect();
    let opened: Vec<&CloseRecord> =
        seen.closes.iter().filter(|close| close.role.value() == Some(&Role::Opened)).collect();
    let accepted = || seen.closes.iter().filter(|close| close.role.value() == Some(&Role::Accepted));
    let made = usize::from(PROCESSES) * CONNECTIONS;
    assert!(opened.len() * 100 >= made * 99, "{} of {made}: {:?}", opened.len(), seen.accounting);

    let of = |close: &CloseRecord| own[&close.remote.addr.expect("an address")];
    let openers = known(opened.iter().map(|close| (&close.opener, of(close), *close)));
    let closers = known(opened.iter().map(|close| (&close.closer, of(close), *close)));
    let server = namespace.server().owner().tgid;
    let servers = known(accepted().map(|close| (&close.closer, server, close)));
    println!("of {made}: {openers} openers, {closers} closers, {servers} closers of accepted sockets");
    println!("openers unknown: {:?}", reasons(opened.iter().map(|close| &close.opener)));
    println!("accepted sockets' closers unknown: {:?}", reasons(accepted().map(|close| &close.closer)));
    println!("{:?}", seen.accounting);
    for (who, count) in [("openers", openers), ("closers", closers), ("accepted sockets' closers", servers)] {
        assert!(count * 100 >= made * 99, "{count} of {made} {who} are known");
    }
}
