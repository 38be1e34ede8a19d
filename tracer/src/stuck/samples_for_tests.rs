//! Rows and sockets for the tests of this room.

use finwait_core::observation::{Comm, Family};
use finwait_core::{Cookie, MonoNs, NetNs, Pid, TcpState};

use super::{Age, Owner, StuckSocket};
use crate::enrich::Holder;
use crate::snapshot::{Dump, Row, SocketKind, States};

const MS: u64 = 1_000_000;

/// A full socket with no more than an identity.
pub(super) fn row(state: TcpState) -> Row {
    Row {
        netns: NetNs(1),
        family: Family::Inet,
        local: ([10, 0, 0, 5], 40_000).into(),
        remote: ([10, 0, 0, 9], 5432).into(),
        state,
        kind: SocketKind::Full,
        cookie: Some(Cookie(0x2a)),
        inode: Some(77),
        uid: Some(1000),
        mark: None,
        cgroup: None,
        timer: None,
        retransmits: Some(0),
        unread_bytes: Some(0),
        unacked_bytes: Some(0),
        srtt_us: Some(250),
        unacked_segments: Some(0),
        bytes_acked: None,
        bytes_received: None,
        total_retrans: Some(0),
        last_data_sent_ms: None,
        last_data_recv_ms: None,
        last_ack_recv_ms: Some(1),
    }
}

/// A dump that begins at `second` and takes half of one.
pub(super) fn dump(second: u64, rows: Vec<Row>) -> Dump {
    let begin = MonoNs(second * 1_000 * MS);
    Dump {
        netns: NetNs(1),
        states: States::CLOSING,
        begin,
        end: begin.plus(500 * MS),
        rows,
        interrupted: false,
    }
}

pub(super) fn holder(comm: &str, pid: u32) -> Holder {
    Holder { pid: Pid(pid), comm: Comm::from_text(comm), start_boot_ns: 1_000 }
}

/// A socket that is at least so many seconds old; exactly, if `watched`.
pub(super) fn socket(state: TcpState, owner: Owner, seconds: u64, watched: bool) -> StuckSocket {
    let at_least_ns = seconds * 1_000 * MS;
    let at_most_ns = watched.then_some(at_least_ns + 2_000 * MS);
    StuckSocket { row: row(state), owner, cgroup: None, age: Age { at_least_ns, at_most_ns } }
}
