//! One socket of a dump.

use std::net::SocketAddr;

use finwait_core::observation::Family;
use finwait_core::{CgroupId, Cookie, NetNs, TcpState};

/// What kind of kernel object a row stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketKind {
    /// struct tcp_sock
    Full,
    /// struct inet_timewait_sock, in TIME_WAIT or, under [`TcpState::FinWait2`], in its FIN_WAIT2
    TimeWait,
    /// struct tcp_request_sock: a handshake that a listener has not finished
    Request,
}

/// The timer that is running, `idiag_timer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerKind {
    /// Retransmission, tail-loss probe or reordering; of a request its SYN-ACK
    Retransmit,
    /// Keepalive, or the end of FIN_WAIT2
    Keepalive,
    /// The end of a mini-socket
    TimeWait,
    /// Probe of a zero window
    Probe,
}

/// A running timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// Which one
    pub kind: TimerKind,
    /// Until it expires, milliseconds; 0 when that is due
    pub expires_ms: u32,
}

/// One socket. What the kernel does not tell of it is `None`, never a zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Network namespace that the dump was taken in
    pub netns: NetNs,
    /// The socket's family; an inet6 socket may speak IPv4
    pub family: Family,
    /// Local end; IPv4-mapped IPv6 is the IPv4 that it is
    pub local: SocketAddr,
    /// Remote end, likewise
    pub remote: SocketAddr,
    /// Its state; of a mini-socket its substate, FIN_WAIT2 or TIME_WAIT
    pub state: TcpState,
    /// What it is
    pub kind: SocketKind,
    /// sk_cookie, which the dump generates if need be; of a mini-socket the one of the socket that it took over from
    pub cookie: Option<Cookie>,
    /// Inode of the socket's file; none after close(), before accept() and for mini-sockets
    pub inode: Option<u64>,
    /// sk_uid; none for mini-sockets
    pub uid: Option<u32>,
    /// sk_mark; told to those with CAP_NET_ADMIN alone
    pub mark: Option<u32>,
    /// cgroup2 of the socket; from 5.7 on, none for mini-sockets
    pub cgroup: Option<CgroupId>,
    /// The timer that is running
    pub timer: Option<Timer>,
    /// Timeouts in a row, icsk_retransmits (or unanswered probes, where that timer runs); none for mini-sockets
    pub retransmits: Option<u8>,
    /// Bytes received and not read, `idiag_rqueue`; of full sockets
    pub unread_bytes: Option<u32>,
    /// Bytes from snd_una to write_seq, an unacknowledged FIN included, `idiag_wqueue`; of full sockets
    pub unacked_bytes: Option<u32>,
    /// Smoothed round trip, microseconds
    pub srtt_us: Option<u32>,
    /// Segments sent and not acknowledged
    pub unacked_segments: Option<u32>,
    /// tcpi_bytes_acked: SYN and FIN count in it
    pub bytes_acked: Option<u64>,
    /// tcpi_bytes_received: the FIN counts in it
    pub bytes_received: Option<u64>,
    /// Segments sent again since the connection began
    pub total_retrans: Option<u32>,
    /// Since data was last sent, milliseconds
    pub last_data_sent_ms: Option<u32>,
    /// Since data was last received, milliseconds
    pub last_data_recv_ms: Option<u32>,
    /// Since an acceptable acknowledgement was last received, milliseconds (tp->rcv_tstamp, set in tcp_ack())
    pub last_ack_recv_ms: Option<u32>,
}

impl Row {
    /// Whether it is a mini-socket: nothing refers to it, and it changes state without a trace.
    #[must_use]
    pub fn is_mini_socket(&self) -> bool {
        self.kind != SocketKind::Full
    }
}
