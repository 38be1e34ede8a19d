//! Records and counters of the hooks beyond the transitions: resets, retransmissions, accepted sockets, time-wait sockets.
//!
//! Their first 32 bytes are laid out as a [`crate::StateRecord`]'s; what follows is each kind's own.

use crate::counters::DEPTHS;

/// `kind` of a [`ResetRecord`].
pub const KIND_RESET: u8 = 2;
/// `kind` of a [`RetransmitRecord`].
pub const KIND_RETRANSMIT: u8 = 3;
/// `kind` of an [`AcceptRecord`].
pub const KIND_ACCEPT: u8 = 4;
/// `kind` of a [`TimeWaitRecord`].
pub const KIND_TIME_WAIT: u8 = 5;

/// `program` of the first hook; the others follow without a gap.
pub const PROGRAM_HOOKS: u8 = 16;
/// tcp:tcp_send_reset
pub const PROGRAM_SEND_RESET: u8 = 16;
/// tcp:tcp_receive_reset
pub const PROGRAM_RECEIVE_RESET: u8 = 17;
/// tcp:tcp_retransmit_skb
pub const PROGRAM_RETRANSMIT: u8 = 18;
/// fentry on security_sock_graft
pub const PROGRAM_ACCEPT: u8 = 19;
/// fentry on tcp_time_wait
pub const PROGRAM_TIME_WAIT_ASK: u8 = 20;
/// fentry on __inet_twsk_schedule
pub const PROGRAM_TIME_WAIT_ARM: u8 = 21;
/// fentry on inet_twsk_kill
pub const PROGRAM_TIME_WAIT_KILL: u8 = 22;
/// timer:timer_start
pub const PROGRAM_TIMER_START: u8 = 23;
/// timer:timer_cancel
pub const PROGRAM_TIMER_CANCEL: u8 = 24;
/// timer:timer_expire_entry
pub const PROGRAM_TIMER_EXPIRE: u8 = 25;
/// Number of hooks: entries of the map of [`HookState`], by program − [`PROGRAM_HOOKS`].
pub const HOOK_PROGRAMS: usize = 10;

/// Addresses kept of the kernel's stack.
pub const STACK_FRAMES: usize = 12;

/// Bits of [`Head::present`] that only these records have; the others are [`crate::present`]'s.
pub mod hook_present {
    /// state
    pub const STATE: u64 = 1 << 40;
    /// reason
    pub const REASON: u64 = 1 << 41;
    /// tcp_flags
    pub const TCP_FLAGS: u64 = 1 << 42;
    /// pending
    pub const PENDING: u64 = 1 << 43;
    /// failed
    pub const FAILED: u64 = 1 << 44;
    /// timeout_jiffies
    pub const TIMEOUT: u64 = 1 << 45;
    /// stack
    pub const STACK: u64 = 1 << 46;
    /// local_port
    pub const LOCAL_PORT: u64 = 1 << 47;
}

/// `socket_kind`: no socket at all.
pub const SOCKET_NONE: u8 = 0;
/// `socket_kind`: struct tcp_sock.
pub const SOCKET_FULL: u8 = 1;
/// `socket_kind`: struct tcp_timewait_sock.
pub const SOCKET_TIME_WAIT: u8 = 2;
/// `socket_kind`: struct request_sock.
pub const SOCKET_REQUEST: u8 = 3;

/// `change`: a full socket asked for a time-wait socket.
pub const CHANGE_ASKED: u8 = 1;
/// `change`: the time-wait socket's timer was set.
pub const CHANGE_ARMED: u8 = 2;
/// `change`: its timer was taken off early.
pub const CHANGE_DISARMED: u8 = 3;
/// `change`: its timer ran out, or would have by the clock.
pub const CHANGE_EXPIRED: u8 = 4;

/// One CPU's counters of one hook. Every word has a single writer at a time, as in [`crate::CpuState`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookState {
    /// Runs that are under way on this CPU now.
    pub depth: u64,
    /// Last sequence number given out, by depth. The first record has 1.
    pub seq: [u64; DEPTHS],
    /// Records that found no room in the ring, by depth.
    pub lost_ring: [u64; DEPTHS],
    /// Where a program lays down a pointer to look at it as a number, by depth.
    pub scratch: [u64; DEPTHS],
}

record! {
    /// How every record begins.
    pub struct Head {
        /// [`crate::RECORD_VERSION`]
        pub version: u8,
        /// KIND_…
        pub kind: u8,
        /// Bytes of the whole record
        pub size: u16,
        /// PROGRAM_…
        pub program: u8,
        /// Nesting depth of the run, 0 to [`DEPTHS`] − 1
        pub depth: u8,
        /// CPU the program ran on
        pub cpu: u16,
        /// Sequence number of this CPU, program and depth; 1 for the first; also counted when the ring has no room
        pub seq: u64,
        /// CLOCK_MONOTONIC, ns
        pub time_ns: u64,
        /// Which fields of the record mean anything, see [`crate::present`] and [`hook_present`]
        pub present: u64,
    }
}

record! {
    /// The socket that a hook was called for.
    pub struct SocketPart {
        /// skc_cookie
        pub socket_cookie: u64,
        /// Its address
        pub sock_addr: u64,
        /// Local address, network order: IPv4 in the first 4 bytes, the rest 0
        pub local_addr: [u8; 16],
        /// Remote address, likewise
        pub remote_addr: [u8; 16],
        /// Network namespace's inode number
        pub netns: u32,
        /// AF_INET or AF_INET6
        pub family: u16,
        /// Local port, host order
        pub local_port: u16,
        /// Remote port, host order
        pub remote_port: u16,
        /// SOCKET_…
        pub socket_kind: u8,
        /// sk_state; of a time-wait socket tw_substate, of `Asked` the state asked for
        pub state: u8,
        /// 0
        pub reserved: u32,
    }
}

record! {
    /// The current task.
    pub struct TaskPart {
        /// task_struct.start_boottime, ns of CLOCK_BOOTTIME
        pub task_start_boot_ns: u64,
        /// task_struct.comm, NUL-padded
        pub comm: [u8; 16],
        /// Process (thread group)
        pub tgid: u32,
        /// Thread
        pub pid: u32,
        /// TASK_FLAG_… bits
        pub task_flags: u8,
        /// Low 7 bits of task_struct.exit_code
        pub exit_signal: u8,
        /// 0
        pub reserved_half: u16,
        /// 0
        pub reserved_word: u32,
    }
}

record! {
    /// `tcp_send_reset` or `tcp_receive_reset`.
    pub struct ResetRecord {
        /// Head
        pub head: Head,
        /// The socket, if there is one
        pub socket: SocketPart,
        /// The current task, only where it holds the socket
        pub task: TaskPart,
        /// enum sk_rst_reason
        pub reason: u32,
        /// 1: a segment was given that it answers
        pub answers_segment: u32,
    }
}

record! {
    /// `tcp_retransmit_skb` of a closing socket.
    pub struct RetransmitRecord {
        /// Head
        pub head: Head,
        /// The socket
        pub socket: SocketPart,
        /// tcp_skb_cb.tcp_flags, the low byte
        pub tcp_flags: u8,
        /// icsk_pending: which timer is set
        pub pending: u8,
        /// 1: could not be sent
        pub failed: u8,
        /// 0
        pub reserved_byte: u8,
        /// 0
        pub reserved_word: u32,
    }
}

record! {
    /// `security_sock_graft`.
    pub struct AcceptRecord {
        /// Head
        pub head: Head,
        /// The accepted socket
        pub socket: SocketPart,
        /// The task that accepted it
        pub task: TaskPart,
    }
}

record! {
    /// Something happened to a time-wait socket.
    pub struct TimeWaitRecord {
        /// Head
        pub head: Head,
        /// The time-wait socket, or the one that asked for it
        pub socket: SocketPart,
        /// The current task
        pub task: TaskPart,
        /// For how long its timer was set, jiffies
        pub timeout_jiffies: u64,
        /// Return addresses on the kernel's stack, innermost first; 0 where it ends
        pub stack: [u64; STACK_FRAMES],
        /// CHANGE_…
        pub change: u64,
    }
}

const _: () =
    assert!(core::mem::offset_of!(crate::StateRecord, present) == core::mem::offset_of!(Head, present));
const _: () = assert!(core::mem::size_of::<Head>() == 32);
const _: () = assert!((PROGRAM_TIMER_EXPIRE - PROGRAM_HOOKS) as usize + 1 == HOOK_PROGRAMS);
