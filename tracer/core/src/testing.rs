//! Observations for unit tests.

use crate::id::Cookie;
use crate::observation::{Family, Program, StateChange, Stream, TcpFields};
use crate::time::MonoNs;
use tracer_common::TcpState;

/// A transition of the socket with cookie 1, with nothing else known of it.
pub(crate) fn change(at: u64, old: TcpState, new: TcpState) -> StateChange {
    StateChange {
        at: MonoNs(at),
        stream: Stream { cpu: 0, program: Program::Prime, depth: 0 },
        seq: 0,
        old,
        new,
        family: Family::Inet,
        cookie: Some(Cookie(1)),
        sock_addr: None,
        local_addr: None,
        remote_addr: None,
        inet_sport: None,
        num: None,
        dport: None,
        netns: None,
        cgroup: None,
        inode: None,
        uid: None,
        mark: None,
        lock_owned: None,
        task: None,
        flags: None,
        shutdown: None,
        linger_ns: None,
        err: None,
        err_soft: None,
        captured: None,
        tcp: TcpFields::default(),
    }
}
