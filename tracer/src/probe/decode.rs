//! From a record's bytes to an observation. Nothing here trusts the bytes: what cannot be is an error, never a panic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Buf;
use finwait_core::observation::{Comm, Family, Shutdown, SockFlags, Stream, Task, TcpFields};
use finwait_core::{
    CgroupId, Cookie, MonoNs, NetNs, Observation, Pid, Port, SockAddr, StateChange, TcpState,
};
use tracer_common::{
    KIND_RESET, KIND_STATE, KIND_TIME_WAIT, RECORD_VERSION, SOCK_FLAG_DEAD, SOCK_FLAG_DONE, SOCK_FLAG_LINGER,
    STATE_RECORD_BYTES, StateRecord, TASK_FLAG_EXITING, TASK_FLAG_KTHREAD, lane, present,
};

use super::{call_sites::CallSites, counters::program_of, decode_hooks, reset_reasons::ResetReasons};

pub(super) const AF_INET: u16 = 2;
pub(super) const AF_INET6: u16 = 10;
const RCV_SHUTDOWN: u8 = 1;
const SEND_SHUTDOWN: u8 = 2;

/// Why a record was not understood. Object and binary are built together, so any of these is a defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Shorter or longer than its layout
    #[error("{0} bytes instead of {STATE_RECORD_BYTES}")]
    Length(usize),
    /// Another layout
    #[error("record version {0}")]
    Version(u8),
    /// No such record
    #[error("record kind {0}")]
    Kind(u8),
    /// No such program or depth
    #[error("program {program} at depth {depth}")]
    Program {
        /// Number of the program
        program: u8,
        /// Nesting depth
        depth: u8,
    },
    /// No such TCP state
    #[error("transition from state {old} to {new}")]
    State {
        /// State being left
        old: u8,
        /// State being entered
        new: u8,
    },
    /// Neither IPv4 nor IPv6
    #[error("address family {0}")]
    Family(u16),
    /// A hook's record is shorter or longer than its layout
    #[error("{bytes} bytes in a record of kind {kind}")]
    HookLength {
        /// Its kind
        kind: u8,
        /// What came
        bytes: usize,
    },
    /// A number in a hook's record that means nothing
    #[error("{field} {value} in a record of kind {kind}")]
    HookField {
        /// Its kind
        kind: u8,
        /// Which field
        field: &'static str,
        /// What it holds
        value: u64,
    },
}

/// Decodes records and counts those that it cannot.
#[derive(Clone, Debug)]
pub struct Decoder {
    pub(super) jiffy_ns: u64,
    pub(super) reasons: ResetReasons,
    pub(super) sites: Option<CallSites>,
    errors: u64,
    last_error: Option<DecodeError>,
}

impl Decoder {
    /// For a kernel whose jiffy takes `jiffy_ns`, see [`super::host::jiffy_ns`].
    #[must_use]
    pub fn new(jiffy_ns: u64) -> Self {
        Self { jiffy_ns, reasons: ResetReasons::default(), sites: None, errors: 0, last_error: None }
    }

    /// The same with names for resets' reasons.
    #[must_use]
    pub fn with_reasons(self, reasons: ResetReasons) -> Self {
        Self { reasons, ..self }
    }

    /// The same with the functions from which time-wait sockets are ended.
    #[must_use]
    pub fn with_sites(self, sites: Option<CallSites>) -> Self {
        Self { sites, ..self }
    }

    /// What `bytes` tell; `None` if they are not understood, which is counted.
    pub fn decode(&mut self, bytes: &[u8]) -> Option<Observation> {
        let decoded = match bytes.get(core::mem::offset_of!(StateRecord, kind)) {
            Some(KIND_RESET..=KIND_TIME_WAIT) => decode_hooks::decode(bytes, self),
            _ => decode(bytes, self.jiffy_ns).map(|change| Observation::StateChange(Box::new(change))),
        };
        match decoded {
            Ok(observation) => Some(observation),
            Err(error) => {
                self.errors += 1;
                self.last_error = Some(error);
                None
            }
        }
    }

    /// Records not understood so far.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors
    }

    /// What was wrong with the last of them.
    #[must_use]
    pub fn last_error(&self) -> Option<DecodeError> {
        self.last_error
    }
}

/// Decodes the record of a transition.
///
/// # Errors
/// The bytes are no record that these kernel programs make.
pub fn decode(bytes: &[u8], jiffy_ns: u64) -> Result<StateChange, DecodeError> {
    let raw = read(bytes)?;
    let has = |bit: u64| raw.present & bit != 0;
    let stream = program_of(raw.program)
        .filter(|_| lane(raw.program, raw.depth).is_some())
        .map(|program| Stream { cpu: raw.cpu, program, depth: raw.depth })
        .ok_or(DecodeError::Program { program: raw.program, depth: raw.depth })?;
    let (Some(old), Some(new)) = (TcpState::from_raw(raw.old_state), TcpState::from_raw(raw.new_state))
    else {
        return Err(DecodeError::State { old: raw.old_state, new: raw.new_state });
    };
    let family = match raw.family {
        AF_INET => Family::Inet,
        AF_INET6 => Family::Inet6,
        other => return Err(DecodeError::Family(other)),
    };
    let port = |bit, raw| if has(bit) { Port::new(raw) } else { None };
    Ok(StateChange {
        at: MonoNs(raw.time_ns),
        stream,
        seq: raw.seq,
        old,
        new,
        family,
        cookie: has(present::COOKIE).then_some(Cookie(raw.socket_cookie)),
        sock_addr: has(present::SOCK_ADDR).then_some(SockAddr(raw.sock_addr)),
        local_addr: has(present::ADDRESSES).then(|| address(family, raw.local_addr)),
        remote_addr: has(present::ADDRESSES).then(|| address(family, raw.remote_addr)),
        inet_sport: port(present::SPORT, raw.inet_sport),
        num: port(present::NUM, raw.num),
        dport: port(present::DPORT, raw.dport),
        netns: has(present::NETNS).then_some(NetNs(raw.netns)),
        cgroup: has(present::CGROUP).then_some(CgroupId(raw.cgroup_id)),
        inode: has(present::INODE).then_some(raw.inode),
        uid: has(present::UID).then_some(raw.uid),
        mark: has(present::MARK).then_some(raw.mark),
        lock_owned: has(present::LOCK_OWNED).then_some(raw.lock_owned != 0),
        task: has(present::TASK).then(|| task(&raw)),
        flags: has(present::SOCK_FLAGS).then_some(SockFlags {
            dead: raw.sock_flags & SOCK_FLAG_DEAD != 0,
            done: raw.sock_flags & SOCK_FLAG_DONE != 0,
            linger: raw.sock_flags & SOCK_FLAG_LINGER != 0,
        }),
        shutdown: has(present::SHUTDOWN).then_some(Shutdown {
            receive: raw.shutdown & RCV_SHUTDOWN != 0,
            send: raw.shutdown & SEND_SHUTDOWN != 0,
        }),
        linger_ns: has(present::LINGER_TIME).then(|| raw.linger_jiffies.saturating_mul(jiffy_ns)),
        err: has(present::ERR).then_some(raw.err),
        err_soft: has(present::ERR_SOFT).then_some(raw.err_soft),
        captured: None,
        tcp: tcp(&raw, jiffy_ns),
    })
}

fn task(raw: &StateRecord) -> Task {
    let has = |bit: u64| raw.present & bit != 0;
    Task {
        tgid: Pid(raw.tgid),
        pid: Pid(raw.pid),
        comm: Comm::from_kernel(raw.comm),
        start_boot_ns: has(present::TASK_START).then_some(raw.task_start_boot_ns),
        kthread: has(present::TASK_FLAGS).then_some(raw.task_flags & TASK_FLAG_KTHREAD != 0),
        exiting: has(present::TASK_FLAGS).then_some(raw.task_flags & TASK_FLAG_EXITING != 0),
        exit_signal: exit_signal(raw.present, raw.task_flags, raw.exit_signal),
    }
}

/// Only of a task on its way out.
pub(super) fn exit_signal(present: u64, flags: u8, signal: u8) -> Option<u8> {
    let known = present & present::TASK_EXIT != 0 && flags & TASK_FLAG_EXITING != 0;
    known.then_some(signal)
}

fn tcp(raw: &StateRecord, jiffy_ns: u64) -> TcpFields {
    let has = |bit: u64| raw.present & bit != 0;
    let span = |bit, jiffies: u32| has(bit).then(|| u64::from(jiffies).saturating_mul(jiffy_ns));
    TcpFields {
        linger2: has(present::LINGER2).then_some(raw.linger2),
        snd_una: has(present::SND_UNA).then_some(raw.snd_una),
        snd_nxt: has(present::SND_NXT).then_some(raw.snd_nxt),
        write_seq: has(present::WRITE_SEQ).then_some(raw.write_seq),
        rcv_nxt: has(present::RCV_NXT).then_some(raw.rcv_nxt),
        rcv_wup: has(present::RCV_WUP).then_some(raw.rcv_wup),
        copied_seq: has(present::COPIED_SEQ).then_some(raw.copied_seq),
        clock_cache_ns: has(present::CLOCK_CACHE).then_some(raw.tcp_clock_cache_ns),
        bytes_acked: has(present::BYTES_ACKED).then_some(raw.bytes_acked),
        bytes_received: has(present::BYTES_RECEIVED).then_some(raw.bytes_received),
        srtt_us: has(present::SRTT).then_some(raw.srtt_us_x8 >> 3),
        rto_ns: span(present::RTO, raw.rto_jiffies),
        since_send_ns: span(present::SINCE_SEND, raw.since_send_jiffies),
        since_receive_ns: span(present::SINCE_RECEIVE, raw.since_receive_jiffies),
        total_retrans: has(present::TOTAL_RETRANS).then_some(raw.total_retrans),
        retransmits: has(present::RETRANSMITS).then_some(raw.retransmits),
        probes_out: has(present::PROBES_OUT).then_some(raw.probes_out),
        snd_wnd: has(present::SND_WND).then_some(raw.snd_wnd),
        is_mptcp: has(present::IS_MPTCP).then_some(raw.is_mptcp != 0),
    }
}

pub(super) fn address(family: Family, bytes: [u8; 16]) -> IpAddr {
    match family {
        Family::Inet => Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into(),
        Family::Inet6 => Ipv6Addr::from(bytes).into(),
    }
}

/// Reads the fields in the order of the layout.
fn read(mut bytes: &[u8]) -> Result<StateRecord, DecodeError> {
    if bytes.len() != STATE_RECORD_BYTES {
        return Err(DecodeError::Length(bytes.len()));
    }
    let b = &mut bytes;
    let (version, kind, size) = (b.get_u8(), b.get_u8(), b.get_u16_ne());
    if version != RECORD_VERSION {
        return Err(DecodeError::Version(version));
    }
    if kind != KIND_STATE {
        return Err(DecodeError::Kind(kind));
    }
    if usize::from(size) != STATE_RECORD_BYTES {
        return Err(DecodeError::Length(size.into()));
    }
    Ok(StateRecord {
        version,
        kind,
        size,
        program: b.get_u8(),
        depth: b.get_u8(),
        cpu: b.get_u16_ne(),
        seq: b.get_u64_ne(),
        time_ns: b.get_u64_ne(),
        present: b.get_u64_ne(),
        socket_cookie: b.get_u64_ne(),
        sock_addr: b.get_u64_ne(),
        cgroup_id: b.get_u64_ne(),
        inode: b.get_u64_ne(),
        task_start_boot_ns: b.get_u64_ne(),
        comm: sixteen(b),
        tcp_clock_cache_ns: b.get_u64_ne(),
        bytes_acked: b.get_u64_ne(),
        bytes_received: b.get_u64_ne(),
        linger_jiffies: b.get_u64_ne(),
        local_addr: sixteen(b),
        remote_addr: sixteen(b),
        netns: b.get_u32_ne(),
        uid: b.get_u32_ne(),
        mark: b.get_u32_ne(),
        err: b.get_i32_ne(),
        err_soft: b.get_i32_ne(),
        linger2: b.get_i32_ne(),
        tgid: b.get_u32_ne(),
        pid: b.get_u32_ne(),
        snd_una: b.get_u32_ne(),
        snd_nxt: b.get_u32_ne(),
        write_seq: b.get_u32_ne(),
        rcv_nxt: b.get_u32_ne(),
        rcv_wup: b.get_u32_ne(),
        copied_seq: b.get_u32_ne(),
        srtt_us_x8: b.get_u32_ne(),
        rto_jiffies: b.get_u32_ne(),
        since_send_jiffies: b.get_u32_ne(),
        since_receive_jiffies: b.get_u32_ne(),
        total_retrans: b.get_u32_ne(),
        snd_wnd: b.get_u32_ne(),
        reserved: b.get_u32_ne(),
        family: b.get_u16_ne(),
        protocol: b.get_u16_ne(),
        inet_sport: b.get_u16_ne(),
        num: b.get_u16_ne(),
        dport: b.get_u16_ne(),
        old_state: b.get_u8(),
        new_state: b.get_u8(),
        shutdown: b.get_u8(),
        retransmits: b.get_u8(),
        probes_out: b.get_u8(),
        is_mptcp: b.get_u8(),
        lock_owned: b.get_u8(),
        sock_flags: b.get_u8(),
        task_flags: b.get_u8(),
        exit_signal: b.get_u8(),
    })
}

pub(super) fn sixteen(bytes: &mut &[u8]) -> [u8; 16] {
    let mut array = [0; 16];
    bytes.copy_to_slice(&mut array);
    array
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
