//! The wire contract between the kernel programs and user space: record layouts, per-CPU counters,
//! the table of kernel fields whose offsets are resolved at load time, names of maps and constants.
//!
//! Nothing here interprets what it carries; that is `finwait-core`'s work.
#![no_std]

mod counters;
mod fields;
mod filter;
#[macro_use]
mod record;
mod hooks;
mod state;

pub use counters::{
    CpuState, DEPTHS, LANES, PAIR_STATES, PROGRAM_CLASSIC, PROGRAM_PRIME, PROGRAM_SHADOW, PROGRAM_SHADOW2,
    PROGRAM_SHADOW3, PROGRAMS, TOKEN_RINGS, TOKENS, Token, TokenRing, depths, lane, pair_index,
};
pub use fields::{FIELD_COUNT, Field, OFFSET_ABSENT, OFFSET_SLOTS};
pub use filter::{FILTER_NETNS, FILTER_PORTS, KernelFilter};
pub use hooks::{
    AcceptRecord, CHANGE_ARMED, CHANGE_ASKED, CHANGE_DISARMED, CHANGE_EXPIRED, HOOK_PROGRAMS, Head,
    HookState, KIND_ACCEPT, KIND_RESET, KIND_RETRANSMIT, KIND_TIME_WAIT, PROGRAM_ACCEPT, PROGRAM_HOOKS,
    PROGRAM_RECEIVE_RESET, PROGRAM_RETRANSMIT, PROGRAM_SEND_RESET, PROGRAM_TIME_WAIT_ARM,
    PROGRAM_TIME_WAIT_ASK, PROGRAM_TIME_WAIT_KILL, PROGRAM_TIMER_CANCEL, PROGRAM_TIMER_EXPIRE,
    PROGRAM_TIMER_START, ResetRecord, RetransmitRecord, SOCKET_FULL, SOCKET_NONE, SOCKET_REQUEST,
    SOCKET_TIME_WAIT, STACK_FRAMES, SocketPart, TaskPart, TimeWaitRecord, hook_present,
};
pub use record::{
    KIND_STATE, RECORD_VERSION, SOCK_FLAG_DEAD, SOCK_FLAG_DONE, SOCK_FLAG_LINGER, STATE_RECORD_BYTES,
    StateRecord, TASK_FLAG_EXITING, TASK_FLAG_KTHREAD, present,
};
pub use state::TcpState;

/// Name of the ring buffer that carries every record.
pub const MAP_EVENTS: &str = "EVENTS";
/// Name of the per-CPU array, one entry of [`CpuState`].
pub const MAP_CPUS: &str = "CPUS";
/// Name of the per-CPU array of [`HookState`], one entry for each of [`HOOK_PROGRAMS`].
pub const MAP_HOOK_CPUS: &str = "HOOK_CPUS";

/// Load-time constant: `[u16; OFFSET_SLOTS]`, byte offsets indexed by [`Field`].
pub const CONST_OFFSETS: &str = "OFFSETS";
/// Load-time constant: `u32`, a set of [`feature`] bits.
pub const CONST_FEATURES: &str = "FEATURES";
/// Load-time constant: `u64`, the [`present`] bits that this kernel can fill at all.
pub const CONST_PRESENT: &str = "PRESENT";
/// Load-time constant: [`KernelFilter`].
pub const CONST_FILTER: &str = "FILTER";
/// Load-time constant: `u64`, the address of tw_timer_handler.
pub const CONST_TW_HANDLER: &str = "TW_HANDLER";

/// What the running kernel offers to the programs, as bits of [`CONST_FEATURES`].
pub mod feature {
    /// `bpf_get_socket_cookie` may be called from tp_btf (5.12 and later).
    pub const COOKIE_HELPER: u32 = 1;
    /// `bpf_get_current_task_btf` exists (5.11 and later).
    pub const TASK_BTF: u32 = 1 << 1;
    /// `sk_cgrp_data` is the tagged word of 5.14 and earlier.
    pub const CGROUP_TAGGED: u32 = 1 << 2;
    /// A filter is set; without this bit the filter code is cut out by the verifier.
    pub const FILTER: u32 = 1 << 3;
    /// A task may be preempted inside a program (7.0 and later): the second and third shadow are attached too.
    pub const MORE_SHADOWS: u32 = 1 << 4;
    /// `tcp_send_reset` has a reason (6.10 and later).
    pub const RESET_REASON: u32 = 1 << 16;
    /// `tcp_retransmit_skb` says whether the segment could be sent (6.17 and later).
    pub const RETRANSMIT_ERR: u32 = 1 << 17;
}

/// Members of `trace_event_raw_inet_sock_set_state`, the classic tracepoint's record.
///
/// Their offsets are compiled in: the verifier takes no load-time constant there. The layout has been the same since 5.6;
/// user space compares it with the running kernel's and does without the program where it differs.
pub mod classic {
    /// `skaddr`, pointer.
    pub const SKADDR: usize = 0;
    /// `oldstate`, int.
    pub const OLDSTATE: usize = 1;
    /// `newstate`, int.
    pub const NEWSTATE: usize = 2;
    /// `sport`, u16 in host order.
    pub const SPORT: usize = 3;
    /// `dport`, u16 in host order.
    pub const DPORT: usize = 4;
    /// `family`, u16.
    pub const FAMILY: usize = 5;
    /// `protocol`, u16 (a single byte before 5.6).
    pub const PROTOCOL: usize = 6;
    /// `saddr`, 4 bytes.
    pub const SADDR: usize = 7;
    /// `daddr`, 4 bytes.
    pub const DADDR: usize = 8;
    /// `saddr_v6`, 16 bytes.
    pub const SADDR_V6: usize = 9;
    /// `daddr_v6`, 16 bytes.
    pub const DADDR_V6: usize = 10;
    /// Member names in slot order, as BTF and the tracefs format file spell them.
    pub const MEMBERS: [&str; 11] = [
        "skaddr", "oldstate", "newstate", "sport", "dport", "family", "protocol", "saddr", "daddr",
        "saddr_v6", "daddr_v6",
    ];
    /// Byte offsets in slot order.
    pub const OFFSETS: [u16; 11] = [8, 16, 20, 24, 26, 28, 30, 32, 36, 40, 56];
    /// Sizes in slot order.
    pub const SIZES: [u16; 11] = [8, 4, 4, 2, 2, 2, 2, 4, 4, 16, 16];
}
