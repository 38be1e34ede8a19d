//! Each way in which a connection can open and close: what both ends' records must say of it, and what they must not.
//! A scene waits for conditions, never for a while; what the kernel under test cannot make is said, not failed.

mod closes;
mod half_close;
mod handshakes;
mod mptcp;
#[cfg(feature = "vm")]
mod orphans;
mod processes;
mod resets;
mod time_wait;
mod timeouts;

use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd};

use rustix::time::{ClockId, clock_gettime};
use tracer::scenario::sides::{Orderly, client_side, server_side};
use tracer::scenario::stage::{Listening, Pair, Stage, answer_end, pass};
use tracer::scenario::{Actor, Context, Fact, Made, MadeConnection, MadeSide, Result, sides};

use finwait_core::MonoNs;
use finwait_core::record::{CloseRecord, Successor};

/// Payload bytes from the client to the server, and back, where a scene says nothing else.
const REQUEST: usize = 4;
const REPLY: usize = 6;

/// Sets `value` for the network namespace of `actor`; `name` as in sysctl(8), below net.
fn set_sysctl(actor: &Actor, name: &str, value: &str) -> Result<()> {
    let (path, value) = (format!("/proc/sys/net/{name}"), value.to_owned());
    actor.run(move || std::fs::write(&path, &value).context(&path))
}

/// setsockopt(2) with an int at the level of TCP, for the options that no crate names.
fn set_tcp(socket: &impl AsFd, option: i32, value: i32) -> Result<()> {
    let length = libc::socklen_t::try_from(size_of::<i32>())?;
    // SAFETY: the option value is a live `i32` and `length` is its size; the descriptor is borrowed.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            option,
            core::ptr::from_ref(&value).cast(),
            length,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()).context("setsockopt") }
}

/// Request and reply.
fn exchange(client: &TcpStream, server: &TcpStream) -> Result<()> {
    pass(client, server, REQUEST)?;
    pass(server, client, REPLY)
}

/// `first` closes; `second`, which waits for that in read(), closes as soon as it hears of it.
fn close_both(first: (&Actor, TcpStream), second: (&Actor, TcpStream)) -> Result<()> {
    let answer = answer_end(second.0, second.1);
    first.0.close(first.1)?;
    answer.wait()
}

/// What is true of an orderly close after [`exchange`], whatever the kernel chose to merge.
fn orderly(client_first: bool) -> Orderly {
    Orderly {
        client_first,
        sent: REQUEST as u64,
        received: REPLY as u64,
        waves: Fact::Open,
        successor: Fact::True(Successor::TimeWait),
    }
}

/// Exchanges, closes the client first and the server as soon as it hears of it; gives the connection when it is over.
fn client_closes_first(stage: &Stage<'_>, name: &'static str, pair: Pair) -> Result<MadeConnection> {
    let Pair { client, server, local, remote } = pair;
    exchange(&client, &server)?;
    close_both((stage.client(), client), (stage.server(), server))?;
    let (mut mine, mut theirs) = (client_side(stage, &sides::ACTIVE), server_side(&sides::PASSIVE));
    orderly(true).describe(stage, &mut mine, &mut theirs);
    stage.settle(local, remote)?;
    Ok(MadeConnection { name, local, remote, client: mine, server: Some(theirs) })
}

/// The same with the server first.
fn server_closes_first(stage: &Stage<'_>, name: &'static str, pair: Pair) -> Result<MadeConnection> {
    let Pair { client, server, local, remote } = pair;
    exchange(&client, &server)?;
    close_both((stage.server(), server), (stage.client(), client))?;
    let (mut mine, mut theirs) = (client_side(stage, &sides::PASSIVE), server_side(&sides::ACTIVE));
    orderly(false).describe(stage, &mut mine, &mut theirs);
    stage.settle(local, remote)?;
    Ok(MadeConnection { name, local, remote, client: mine, server: Some(theirs) })
}

/// One connection and its listener, whatever mini-sockets are left.
fn single(
    stage: &Stage<'_>,
    name: &'static str,
    listening: Listening,
    ends: (SocketAddr, SocketAddr),
    sides: (MadeSide, MadeSide),
) -> Result<Made> {
    let listener = stage.close_listener(listening)?;
    let connection =
        MadeConnection { name, local: ends.0, remote: ends.1, client: sides.0, server: Some(sides.1) };
    Ok(Made { connections: vec![connection], listeners: vec![listener] })
}

/// CLOCK_MONOTONIC now.
fn now() -> MonoNs {
    let now = clock_gettime(ClockId::Monotonic);
    let ns = u64::try_from(now.tv_sec).expect("a time") * 1_000_000_000;
    MonoNs(ns + u64::try_from(now.tv_nsec).expect("a time"))
}

/// Nanoseconds that `record` shows for `state`.
fn dwell_ns(record: &CloseRecord, state: finwait_core::TcpState) -> Option<u64> {
    record.dwells.iter().find(|dwell| dwell.state == state)?.duration_ns.value().copied()
}
