//! What the kernel answers, as rows. The netlink crates take messages apart; no bytes make this panic.

use std::net::{IpAddr, SocketAddr};

use finwait_core::observation::Family;
use finwait_core::{CgroupId, Cookie, NetNs, TcpState};
use netlink_packet_core::{NLM_F_DUMP_INTR, NetlinkBuffer, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::AF_INET6;
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{InetResponse, InetResponseHeader};

use super::attributes::{self, INET_DIAG_CGROUP_ID, TcpInfo};
use super::row::{Row, SocketKind, Timer, TimerKind};

/// NLMSG_ALIGNTO: messages are padded to this.
const ALIGNMENT: usize = 4;
/// Length of struct nlmsghdr.
const HEADER: usize = 16;
/// INET_DIAG_NOCOOKIE in both halves.
const COOKIE_UNKNOWN: u64 = u64::MAX;

/// Why an answer cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not a netlink message
    #[error("netlink message at offset {offset}: {detail}")]
    Message {
        /// Where it begins in what was received
        offset: usize,
        /// What the crate says
        detail: String,
    },
    /// A state that TCP does not have
    #[error("netlink message at offset {offset}: no TCP state has the number {state}")]
    State {
        /// Where it begins in what was received
        offset: usize,
        /// The number
        state: u8,
    },
}

/// What a piece of the answer says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Piece {
    /// Sockets
    pub(super) rows: Vec<Row>,
    /// NLM_F_DUMP_INTR: what was dumped changed meanwhile, in a way that may have spoilt the dump
    pub(super) interrupted: bool,
    /// How the dump ended, if it did: 0 or an errno
    pub(super) end: Option<i32>,
}

/// Reads `received`, one datagram, as far as it answers the request numbered `sequence`.
pub(super) fn piece(received: &[u8], netns: NetNs, sequence: u32) -> Result<Piece, DecodeError> {
    let mut piece = Piece::default();
    let mut offset = 0;
    while received.len().saturating_sub(offset) >= HEADER {
        let rest = &received[offset..];
        let failed = |detail: String| DecodeError::Message { offset, detail };
        let buffer = NetlinkBuffer::new_checked(rest).map_err(|error| failed(error.to_string()))?;
        let length = buffer.length() as usize;
        // What a request given up earlier still left is passed over.
        if buffer.sequence_number() == sequence {
            piece.interrupted |= buffer.flags() & NLM_F_DUMP_INTR != 0;
            let bytes = &rest[..length];
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(bytes)
                .map_err(|error| failed(error.to_string()))?;
            match message.payload {
                NetlinkPayload::Done(done) => piece.end = Some(done.code.saturating_neg().max(0)),
                NetlinkPayload::Error(error) => {
                    piece.end = Some(error.code.map_or(0, |code| code.get().saturating_neg()));
                }
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                    let row = row(&response, &bytes[HEADER..], netns);
                    piece.rows.push(row.map_err(|state| DecodeError::State { offset, state })?);
                }
                _ => {}
            }
        }
        offset += length.next_multiple_of(ALIGNMENT);
    }
    Ok(piece)
}

/// The socket that `response` tells of; `payload` is the same as bytes. The error is an unknown state.
fn row(response: &InetResponse, payload: &[u8], netns: NetNs) -> Result<Row, u8> {
    let header = &response.header;
    let state = TcpState::from_raw(header.state).ok_or(header.state)?;
    let (retransmits, expires_ms) = attributes::timer_fields(payload).unwrap_or_default();
    let timer = timer(payload).map(|kind| Timer { kind, expires_ms });
    let told = Told::of(&response.nlas);
    let kind = kind(state, timer, told.info.is_some());
    let full = kind == SocketKind::Full;
    let info = told.info.map(TcpInfo);
    Ok(Row {
        netns,
        family: if header.family == AF_INET6 { Family::Inet6 } else { Family::Inet },
        local: end(header.socket_id.source_address, header.socket_id.source_port),
        remote: end(header.socket_id.destination_address, header.socket_id.destination_port),
        state,
        kind,
        cookie: cookie(header),
        inode: Some(u64::from(header.inode)).filter(|inode| *inode != 0),
        uid: full.then_some(header.uid),
        mark: told.mark,
        cgroup: told.cgroup,
        timer,
        retransmits: (kind != SocketKind::TimeWait).then_some(retransmits),
        unread_bytes: full.then_some(header.recv_queue),
        unacked_bytes: full.then_some(header.send_queue),
        srtt_us: info.and_then(TcpInfo::rtt_us),
        unacked_segments: info.and_then(TcpInfo::unacked),
        bytes_acked: info.and_then(TcpInfo::bytes_acked),
        bytes_received: info.and_then(TcpInfo::bytes_received),
        total_retrans: info.and_then(TcpInfo::total_retrans),
        last_data_sent_ms: info.and_then(TcpInfo::last_data_sent_ms),
        last_data_recv_ms: info.and_then(TcpInfo::last_data_recv_ms),
        last_ack_recv_ms: info.and_then(TcpInfo::last_ack_recv_ms),
    })
}

/// Attributes of a row.
#[derive(Default)]
struct Told<'a> {
    info: Option<&'a [u8]>,
    mark: Option<u32>,
    cgroup: Option<CgroupId>,
}

impl<'a> Told<'a> {
    fn of(attributes: &'a [Nla]) -> Self {
        use netlink_packet_core::Nla as _;
        let mut told = Self::default();
        for attribute in attributes {
            match attribute {
                Nla::TcpInfo(bytes) => told.info = Some(bytes),
                Nla::Mark(mark) => told.mark = Some(*mark),
                Nla::Other(other) if other.kind() == INET_DIAG_CGROUP_ID => {
                    let mut value = vec![0; other.value_len()];
                    other.emit_value(&mut value);
                    told.cgroup = attributes::u64_value(&value).filter(|id| *id != 0).map(CgroupId);
                }
                _ => {}
            }
        }
        told
    }
}

/// inet_diag.c: a mini-socket always has the timer 3, and a request has no tcp_info.
fn kind(state: TcpState, timer: Option<Timer>, has_info: bool) -> SocketKind {
    let time_wait = timer.is_some_and(|timer| timer.kind == TimerKind::TimeWait);
    match state {
        _ if time_wait => SocketKind::TimeWait,
        TcpState::TimeWait => SocketKind::TimeWait,
        TcpState::SynRecv | TcpState::NewSynRecv if !has_info => SocketKind::Request,
        _ => SocketKind::Full,
    }
}

/// `idiag_timer`.
fn timer(payload: &[u8]) -> Option<TimerKind> {
    match payload.get(2)? {
        1 => Some(TimerKind::Retransmit),
        2 => Some(TimerKind::Keepalive),
        3 => Some(TimerKind::TimeWait),
        4 => Some(TimerKind::Probe),
        _ => None,
    }
}

/// Two u32, the low one first (sock_diag_save_cookie()).
fn cookie(header: &InetResponseHeader) -> Option<Cookie> {
    let [a, b, c, d, e, f, g, h] = header.socket_id.cookie;
    let (low, high) = (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]));
    let cookie = u64::from(high) << 32 | u64::from(low);
    Some(Cookie(cookie)).filter(|cookie| cookie.0 != 0 && cookie.0 != COOKIE_UNKNOWN)
}

fn end(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address.to_canonical(), port)
}
