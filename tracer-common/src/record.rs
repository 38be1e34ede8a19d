//! The record of one state transition as it crosses the ring buffer. Native byte order: both ends are one machine.

/// Version of every record layout here; raised when one changes.
pub const RECORD_VERSION: u8 = 1;
/// `kind` of a [`StateRecord`].
pub const KIND_STATE: u8 = 1;
/// Bytes of a [`StateRecord`]; with the ring's own 8-byte header a record takes 264.
pub const STATE_RECORD_BYTES: usize = 256;

/// Bit of [`StateRecord::sock_flags`]: SOCK_DEAD, no descriptor refers to the socket any more.
pub const SOCK_FLAG_DEAD: u8 = 1;
/// Bit of [`StateRecord::sock_flags`]: SOCK_DONE, the peer's FIN was received.
pub const SOCK_FLAG_DONE: u8 = 2;
/// Bit of [`StateRecord::sock_flags`]: SOCK_LINGER, SO_LINGER is on.
pub const SOCK_FLAG_LINGER: u8 = 4;
/// Bit of [`StateRecord::task_flags`]: PF_KTHREAD.
pub const TASK_FLAG_KTHREAD: u8 = 1;
/// Bit of [`StateRecord::task_flags`]: PF_EXITING.
pub const TASK_FLAG_EXITING: u8 = 2;

/// Bits of [`StateRecord::present`]: without its bit a field holds 0 and means nothing.
pub mod present {
    /// socket_cookie
    pub const COOKIE: u64 = 1;
    /// netns
    pub const NETNS: u64 = 1 << 1;
    /// cgroup_id
    pub const CGROUP: u64 = 1 << 2;
    /// inode
    pub const INODE: u64 = 1 << 3;
    /// uid
    pub const UID: u64 = 1 << 4;
    /// mark
    pub const MARK: u64 = 1 << 5;
    /// tgid, pid and comm: only where the current task holds the socket's lock
    pub const TASK: u64 = 1 << 6;
    /// task_start_boot_ns
    pub const TASK_START: u64 = 1 << 7;
    /// task_flags
    pub const TASK_FLAGS: u64 = 1 << 8;
    /// lock_owned
    pub const LOCK_OWNED: u64 = 1 << 9;
    /// sock_flags
    pub const SOCK_FLAGS: u64 = 1 << 10;
    /// shutdown
    pub const SHUTDOWN: u64 = 1 << 11;
    /// linger_jiffies
    pub const LINGER_TIME: u64 = 1 << 12;
    /// err
    pub const ERR: u64 = 1 << 13;
    /// err_soft
    pub const ERR_SOFT: u64 = 1 << 14;
    /// num
    pub const NUM: u64 = 1 << 15;
    /// inet_sport
    pub const SPORT: u64 = 1 << 16;
    /// dport
    pub const DPORT: u64 = 1 << 17;
    /// local_addr and remote_addr
    pub const ADDRESSES: u64 = 1 << 18;
    /// retransmits
    pub const RETRANSMITS: u64 = 1 << 19;
    /// probes_out
    pub const PROBES_OUT: u64 = 1 << 20;
    /// rto_jiffies
    pub const RTO: u64 = 1 << 21;
    /// since_receive_jiffies
    pub const SINCE_RECEIVE: u64 = 1 << 22;
    /// since_send_jiffies
    pub const SINCE_SEND: u64 = 1 << 23;
    /// snd_una
    pub const SND_UNA: u64 = 1 << 24;
    /// snd_nxt
    pub const SND_NXT: u64 = 1 << 25;
    /// write_seq
    pub const WRITE_SEQ: u64 = 1 << 26;
    /// rcv_nxt
    pub const RCV_NXT: u64 = 1 << 27;
    /// rcv_wup
    pub const RCV_WUP: u64 = 1 << 28;
    /// copied_seq
    pub const COPIED_SEQ: u64 = 1 << 29;
    /// tcp_clock_cache_ns
    pub const CLOCK_CACHE: u64 = 1 << 30;
    /// bytes_acked
    pub const BYTES_ACKED: u64 = 1 << 31;
    /// bytes_received
    pub const BYTES_RECEIVED: u64 = 1 << 32;
    /// srtt_us_x8
    pub const SRTT: u64 = 1 << 33;
    /// total_retrans
    pub const TOTAL_RETRANS: u64 = 1 << 34;
    /// linger2
    pub const LINGER2: u64 = 1 << 35;
    /// is_mptcp
    pub const IS_MPTCP: u64 = 1 << 36;
    /// sock_addr
    pub const SOCK_ADDR: u64 = 1 << 37;
    /// exit_signal
    pub const TASK_EXIT: u64 = 1 << 38;
    /// snd_wnd
    pub const SND_WND: u64 = 1 << 39;

    /// Fields of struct tcp_sock and struct inet_connection_sock: absent where the cast to tcp_sock fails.
    pub const TCP: u64 = SPORT
        | RETRANSMITS
        | PROBES_OUT
        | RTO
        | SINCE_RECEIVE
        | SINCE_SEND
        | SND_UNA
        | SND_NXT
        | WRITE_SEQ
        | RCV_NXT
        | RCV_WUP
        | COPIED_SEQ
        | CLOCK_CACHE
        | BYTES_ACKED
        | BYTES_RECEIVED
        | SRTT
        | TOTAL_RETRANS
        | LINGER2
        | IS_MPTCP
        | SND_WND;
    /// Fields of the current task.
    pub const ALL_TASK: u64 = TASK | TASK_START | TASK_FLAGS | TASK_EXIT;
}

macro_rules! record {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$doc:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name { $($(#[$doc])* pub $field: $type,)* }

        // The fields' own sizes add up to the structure's: there is no padding that could carry kernel memory.
        const _: () = assert!(0 $(+ core::mem::size_of::<$type>())* == core::mem::size_of::<$name>());
    };
}

record! {
    /// One transition of one socket, as seen in `trace_inet_sock_set_state` (net/ipv4/af_inet.c), before sk_state is written.
    pub struct StateRecord {
        /// [`RECORD_VERSION`]
        pub version: u8,
        /// [`KIND_STATE`]
        pub kind: u8,
        /// [`STATE_RECORD_BYTES`]
        pub size: u16,
        /// [`crate::PROGRAM_PRIME`] or another of these numbers
        pub program: u8,
        /// Nesting depth of the run, 0 to [`crate::DEPTHS`] − 1
        pub depth: u8,
        /// CPU the program ran on
        pub cpu: u16,
        /// Sequence number of this CPU, program and depth; 1 for the first; also counted when the ring has no room
        pub seq: u64,
        /// CLOCK_MONOTONIC, ns
        pub time_ns: u64,
        /// Which of the fields below mean anything, see [`present`]
        pub present: u64,
        /// sk_cookie
        pub socket_cookie: u64,
        /// Address of struct sock; reused within microseconds of its end
        pub sock_addr: u64,
        /// cgroup2 directory's inode number
        pub cgroup_id: u64,
        /// Inode number of the socket's file
        pub inode: u64,
        /// task_struct.start_boottime, ns of CLOCK_BOOTTIME
        pub task_start_boot_ns: u64,
        /// task_struct.comm, NUL-padded
        pub comm: [u8; 16],
        /// tcp_clock_cache, ns: refreshed once for each segment processed
        pub tcp_clock_cache_ns: u64,
        /// tcp_sock.bytes_acked
        pub bytes_acked: u64,
        /// tcp_sock.bytes_received
        pub bytes_received: u64,
        /// sk_lingertime, jiffies
        pub linger_jiffies: u64,
        /// Local address, network order: IPv4 in the first 4 bytes, the rest 0
        pub local_addr: [u8; 16],
        /// Remote address, likewise
        pub remote_addr: [u8; 16],
        /// Network namespace's inode number
        pub netns: u32,
        /// sk_uid
        pub uid: u32,
        /// sk_mark
        pub mark: u32,
        /// sk_err, errno
        pub err: i32,
        /// sk_err_soft, errno
        pub err_soft: i32,
        /// tcp_sock.linger2: below 0, no FIN_WAIT2 after close()
        pub linger2: i32,
        /// Process (thread group)
        pub tgid: u32,
        /// Thread
        pub pid: u32,
        /// tcp_sock.snd_una
        pub snd_una: u32,
        /// tcp_sock.snd_nxt
        pub snd_nxt: u32,
        /// tcp_sock.write_seq
        pub write_seq: u32,
        /// tcp_sock.rcv_nxt
        pub rcv_nxt: u32,
        /// tcp_sock.rcv_wup
        pub rcv_wup: u32,
        /// tcp_sock.copied_seq
        pub copied_seq: u32,
        /// tcp_sock.srtt_us as the kernel keeps it: eighths of a microsecond
        pub srtt_us_x8: u32,
        /// icsk_rto, jiffies
        pub rto_jiffies: u32,
        /// Jiffies since tcp_sock.lsndtime
        pub since_send_jiffies: u32,
        /// Jiffies since icsk_ack.lrcvtime
        pub since_receive_jiffies: u32,
        /// tcp_sock.total_retrans
        pub total_retrans: u32,
        /// tcp_sock.snd_wnd: the window that the peer offers, bytes
        pub snd_wnd: u32,
        /// 0
        pub reserved: u32,
        /// AF_INET or AF_INET6
        pub family: u16,
        /// sk_protocol: IPPROTO_TCP
        pub protocol: u16,
        /// inet_sport, host order
        pub inet_sport: u16,
        /// skc_num, host order: 0 once the port was given back
        pub num: u16,
        /// skc_dport, host order
        pub dport: u16,
        /// State being left
        pub old_state: u8,
        /// State being entered
        pub new_state: u8,
        /// sk_shutdown: 1 receive, 2 send
        pub shutdown: u8,
        /// icsk_retransmits
        pub retransmits: u8,
        /// icsk_probes_out
        pub probes_out: u8,
        /// tcp_sock.is_mptcp
        pub is_mptcp: u8,
        /// sk_lock.owned: the current task holds the socket
        pub lock_owned: u8,
        /// SOCK_FLAG_… bits
        pub sock_flags: u8,
        /// TASK_FLAG_… bits
        pub task_flags: u8,
        /// Low 7 bits of task_struct.exit_code: the signal that ends a task on its way out
        pub exit_signal: u8,
    }
}

const _: () = assert!(core::mem::size_of::<StateRecord>() == STATE_RECORD_BYTES);
const _: () = assert!(core::mem::align_of::<StateRecord>() == 8);
