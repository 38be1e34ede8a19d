//! The kernel fields that the programs read, by the name under which BTF knows them.

/// Slots of the offset table; spare ones keep its size when fields are added.
pub const OFFSET_SLOTS: usize = 64;
/// The running kernel lacks this field.
pub const OFFSET_ABSENT: u16 = 0xffff;

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident = $path:literal),* $(,)?) => {
        /// A kernel structure member whose byte offset is resolved from the running kernel's BTF.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Field { $($(#[$doc])* #[doc = concat!("`", $path, "`")] $name),* }

        impl Field {
            /// Every field, in table order.
            pub const ALL: &'static [Field] = &[$(Field::$name),*];

            /// Dotted path: structure name, then members; anonymous members are looked through.
            #[must_use]
            pub const fn path(self) -> &'static str {
                match self { $(Field::$name => $path),* }
            }
        }

        /// Number of fields.
        pub const FIELD_COUNT: usize = Field::ALL.len();
    };
}

fields! {
    AddrPair = "sock.__sk_common.skc_addrpair",
    Dport = "sock.__sk_common.skc_dport",
    Num = "sock.__sk_common.skc_num",
    Family = "sock.__sk_common.skc_family",
    Net = "sock.__sk_common.skc_net.net",
    RemoteV6 = "sock.__sk_common.skc_v6_daddr",
    LocalV6 = "sock.__sk_common.skc_v6_rcv_saddr",
    Flags = "sock.__sk_common.skc_flags",
    Cookie = "sock.__sk_common.skc_cookie",
    Protocol = "sock.sk_protocol",
    Shutdown = "sock.sk_shutdown",
    Err = "sock.sk_err",
    ErrSoft = "sock.sk_err_soft",
    Uid = "sock.sk_uid",
    Mark = "sock.sk_mark",
    LockOwned = "sock.sk_lock.owned",
    LingerTime = "sock.sk_lingertime",
    Socket = "sock.sk_socket",
    Cgroup = "sock.sk_cgrp_data.cgroup",
    CgroupTagged = "sock.sk_cgrp_data.val",
    SocketFile = "socket.file",
    FileInode = "file.f_inode",
    InodeNumber = "inode.i_ino",
    Sport = "inet_sock.inet_sport",
    Retransmits = "inet_connection_sock.icsk_retransmits",
    ProbesOut = "inet_connection_sock.icsk_probes_out",
    Rto = "inet_connection_sock.icsk_rto",
    LastReceiveTime = "inet_connection_sock.icsk_ack.lrcvtime",
    SndUna = "tcp_sock.snd_una",
    SndNxt = "tcp_sock.snd_nxt",
    WriteSeq = "tcp_sock.write_seq",
    RcvNxt = "tcp_sock.rcv_nxt",
    RcvWup = "tcp_sock.rcv_wup",
    CopiedSeq = "tcp_sock.copied_seq",
    ClockCache = "tcp_sock.tcp_clock_cache",
    BytesAcked = "tcp_sock.bytes_acked",
    BytesReceived = "tcp_sock.bytes_received",
    SrttUs = "tcp_sock.srtt_us",
    TotalRetrans = "tcp_sock.total_retrans",
    LastSendTime = "tcp_sock.lsndtime",
    Linger2 = "tcp_sock.linger2",
    IsMptcp = "tcp_sock.is_mptcp",
    NetnsInum = "net.ns.inum",
    CgroupNode = "cgroup.kn",
    KernfsId = "kernfs_node.id",
    TaskPid = "task_struct.pid",
    TaskTgid = "task_struct.tgid",
    TaskComm = "task_struct.comm",
    TaskFlags = "task_struct.flags",
    TaskStart = "task_struct.start_boottime",
    SndWnd = "tcp_sock.snd_wnd",
    TaskExitCode = "task_struct.exit_code",
    State = "sock.__sk_common.skc_state",
    Pending = "inet_connection_sock.icsk_pending",
    SegmentFlags = "tcp_skb_cb.tcp_flags",
    SegmentControl = "sk_buff.cb",
    SegmentDevice = "sk_buff.dev",
    DeviceNet = "net_device.nd_net.net",
    TwSubstate = "inet_timewait_sock.tw_substate",
    TwTimer = "inet_timewait_sock.tw_timer",
    TwExpires = "inet_timewait_sock.tw_timer.expires",
    TwFunction = "inet_timewait_sock.tw_timer.function",
    TimerFunction = "timer_list.function",
}

const _: () = assert!(FIELD_COUNT <= OFFSET_SLOTS);
