//! What reader and writer have to agree on: numbers of kinds, codes and fields. docs/recording.md has the same tables.

use finwait_core::observation::{
    CallSite, DumpScope, Family, Program, RetransmitCause, SocketKind, SocketRow, StateChange, Stream,
    Subject, Tier, TimeWaitChange, TimeWaitSource,
};
use finwait_core::{MonoNs, NetNs, TcpState};

use super::wire::{Fault, Read};

/// First byte of an observation.
pub(super) mod kind {
    pub(in crate::recording) const HOST: u8 = 0;
    pub(in crate::recording) const CLOCK: u8 = 1;
    pub(in crate::recording) const STATE_CHANGE: u8 = 2;
    pub(in crate::recording) const WATERMARK: u8 = 3;
    pub(in crate::recording) const COUNTERS: u8 = 4;
    pub(in crate::recording) const RESET: u8 = 5;
    pub(in crate::recording) const RETRANSMIT: u8 = 6;
    pub(in crate::recording) const ACCEPT: u8 = 7;
    pub(in crate::recording) const TIME_WAIT: u8 = 8;
    pub(in crate::recording) const DUMP_BEGIN: u8 = 9;
    pub(in crate::recording) const SOCKET: u8 = 10;
    pub(in crate::recording) const DUMP_END: u8 = 11;
    pub(in crate::recording) const CGROUP: u8 = 12;
    pub(in crate::recording) const RESUMED: u8 = 13;
}

/// Transitions that a frame remembers to write later ones as differences; then the oldest makes room. They are few, so that a reader
/// has them all in the processor's caches.
pub(super) const SLOTS: usize = 256;

/// As many were they once.
pub(super) const SLOTS_V1: usize = 2048;

/// Tasks that a frame remembers, likewise.
pub(super) const TASKS: usize = 1024;

/// An enumeration with its codes.
macro_rules! codes {
    ($($(#[$doc:meta])* $type:ident $to:ident $from:ident { $($variant:ident = $code:literal),* $(,)? })*) => { $(
        pub(super) fn $to(value: $type) -> u8 {
            match value { $($type::$variant => $code),* }
        }

        #[inline]
        pub(super) fn $from(code: u8) -> Read<$type> {
            match code {
                $($code => Ok($type::$variant),)*
                _ => Err(&Fault::Bad(stringify!($type))),
            }
        }
    )* };
}

codes! {
    Tier tier_code tier { TpBtf = 0, Classic = 1, Capture = 2 }
    Family family_code family { Inet = 0, Inet6 = 1 }
    Program program_code program {
        Prime = 0, Shadow = 1, Shadow2 = 2, Shadow3 = 3, Classic = 4, SendReset = 5, ReceiveReset = 6, Retransmit = 7,
        Accept = 8, TimeWaitAsk = 9, TimeWaitArm = 10, TimeWaitKill = 11, TimerStart = 12, TimerCancel = 13,
        TimerExpire = 14, Capture = 15,
    }
    TimeWaitSource time_wait_source_code time_wait_source { Off = 0, Fentry = 1, Timer = 2, Sweep = 3 }
    SocketKind socket_kind_code socket_kind { Full = 0, TimeWait = 1, Request = 2, None = 3 }
    RetransmitCause retransmit_cause_code retransmit_cause { Timeout = 0, LossProbe = 1, Recovery = 2 }
    TimeWaitChange time_wait_change_code time_wait_change { Asked = 0, Armed = 1, Disarmed = 2, Expired = 3 }
    CallSite call_site_code call_site {
        Segment = 0, Receive = 1, Connect = 2, Abort = 3, Purge = 4, Rearm = 5, Other = 6,
    }
    DumpScope dump_scope_code dump_scope { Connections = 0, TimeWait = 1 }
}

/// TCP states have the kernel's numbers.
#[inline]
pub(super) fn state(code: u8) -> Read<TcpState> {
    STATES.get(usize::from(code)).copied().flatten().ok_or(&Fault::Bad("a TCP state"))
}

/// By four bits, as transitions have them.
const STATES: [Option<TcpState>; 16] = {
    let (mut states, mut raw) = ([None; 16], 0);
    while raw < states.len() {
        states[raw] = TcpState::from_raw(raw as u8);
        raw += 1;
    }
    states
};

/// Fields of a transition that are written only where they differ: calls `$do!(bit, field)`, in the order in which they are
/// written, for those ahead of the sequence numbers (`sequence`: bits 4 to 9). Those that change most often have the lowest bits, so
/// that the mask is short. Bits 1 and 23 (task, family) are not here: they are written in ways of their own, where their bit says.
macro_rules! each_first_field {
    ($do:ident) => {
        $do!(0, lock_owned);
        $do!(2, flags);
        $do!(3, shutdown);
    };
}
pub(super) use each_first_field;

/// Those behind the sequence numbers that change often, likewise.
macro_rules! each_frequent_field {
    ($do:ident) => {
        $do!(10, tcp.clock_cache_ns);
        $do!(11, tcp.bytes_acked);
        $do!(12, tcp.bytes_received);
        $do!(13, tcp.srtt_us);
        $do!(14, tcp.rto_ns);
        $do!(15, tcp.since_send_ns);
        $do!(16, tcp.since_receive_ns);
    };
}
pub(super) use each_frequent_field;

/// The rest of them, which seldom differ between two transitions of a socket.
macro_rules! each_rare_field {
    ($do:ident) => {
        $do!(17, inode);
        $do!(18, num);
        $do!(19, inet_sport);
        $do!(20, dport);
        $do!(21, local_addr);
        $do!(22, remote_addr);
        $do!(24, cookie);
        $do!(25, sock_addr);
        $do!(26, netns);
        $do!(27, cgroup);
        $do!(28, uid);
    };
}
pub(super) use each_rare_field;

/// What hardly ever differs.
macro_rules! each_rarest_field {
    ($do:ident) => {
        $do!(29, mark);
        $do!(30, linger_ns);
        $do!(31, err);
        $do!(32, err_soft);
        $do!(33, tcp.linger2);
        $do!(34, tcp.total_retrans);
        $do!(35, tcp.retransmits);
        $do!(36, tcp.probes_out);
        $do!(37, tcp.snd_wnd);
        $do!(38, tcp.is_mptcp);
    };
}
pub(super) use each_rarest_field;

/// Bits of what [`each_rare_field`] and [`each_rarest_field`] have, and of the family.
pub(super) const RARE_FIELDS: u64 = CHANGE_FIELDS & !((1 << 17) - 1);
/// Bits of what [`each_rarest_field`] has.
pub(super) const RAREST_FIELDS: u64 = CHANGE_FIELDS & !((1 << 29) - 1);
/// Bit of the task.
pub(super) const TASK: u64 = 1 << 1;
/// Bit of the family, of which there are two.
pub(super) const FAMILY: u64 = 1 << 23;
/// Bits that there are.
pub(super) const CHANGE_FIELDS: u64 = (1 << 39) - 1;

/// Every field of a hook's socket but its kind, likewise.
macro_rules! each_subject_field {
    ($do:ident) => {
        $do!(1, cookie);
        $do!(2, sock_addr);
        $do!(3, netns);
        $do!(4, local_addr);
        $do!(5, local_port);
        $do!(6, remote_addr);
        $do!(7, remote_port);
    };
}
pub(super) use each_subject_field;

/// Every field of a listed socket that may be absent, likewise.
macro_rules! each_row_field {
    ($do:ident) => {
        $do!(0, cookie);
        $do!(1, local_port);
        $do!(2, remote_port);
        $do!(3, inode);
        $do!(4, uid);
        $do!(5, mark);
        $do!(6, cgroup);
        $do!(7, timer_ns);
    };
}
pub(super) use each_row_field;

/// Bits of what a listed socket always has, and of who holds it.
pub(super) mod row {
    pub(in crate::recording) const NETNS: u64 = 1 << 8;
    pub(in crate::recording) const LOCAL: u64 = 1 << 9;
    pub(in crate::recording) const REMOTE: u64 = 1 << 10;
    pub(in crate::recording) const HOLDER: u64 = 1 << 11;
    pub(in crate::recording) const FIELDS: u64 = (1 << 12) - 1;
    /// In the byte of the state: a time-wait socket
    pub(in crate::recording) const MINI: u8 = 0x80;
    /// In the byte of the state: an IPv6 socket
    pub(in crate::recording) const INET6: u8 = 0x40;
}

/// What the first transition of a frame is compared with.
pub(super) fn blank_change() -> StateChange {
    let stream = Stream { cpu: 0, program: Program::Prime, depth: 0 };
    StateChange::bare(MonoNs(0), stream, (TcpState::Close, TcpState::Close))
}

/// What the first of a hook's sockets is compared with.
pub(super) fn blank_subject() -> Subject {
    Subject {
        kind: SocketKind::Full,
        cookie: None,
        sock_addr: None,
        netns: None,
        local_addr: None,
        local_port: None,
        remote_addr: None,
        remote_port: None,
    }
}

/// What a hook's socket is compared with where a transition of it was seen.
pub(super) fn subject_of(change: &StateChange) -> Subject {
    Subject {
        kind: SocketKind::Full,
        cookie: change.cookie,
        sock_addr: change.sock_addr,
        netns: change.netns,
        local_addr: change.local_addr,
        local_port: change.inet_sport,
        remote_addr: change.remote_addr,
        remote_port: change.dport,
    }
}

/// What the first listed socket of a frame is compared with.
pub(super) fn blank_row() -> SocketRow {
    let nowhere = std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
    SocketRow {
        netns: NetNs(0),
        family: Family::Inet,
        state: TcpState::Close,
        mini: false,
        cookie: None,
        local_addr: nowhere,
        local_port: None,
        remote_addr: nowhere,
        remote_port: None,
        inode: None,
        uid: None,
        mark: None,
        cgroup: None,
        holder: None,
        timer_ns: None,
    }
}
