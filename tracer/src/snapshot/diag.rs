//! One NETLINK_SOCK_DIAG socket: asks for a dump and reads it to its end.
//!
//! A socket belongs to the network namespace that its thread was in when it was made, and keeps answering for it
//! whatever that thread does later.

use std::io;
use std::time::Duration;

use finwait_core::{MonoNs, NetNs};
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use socket2::SockRef;

use super::decode::{DecodeError, piece};
use super::row::Row;
use super::states::States;
use crate::probe::host::monotonic_now;

/// The kernel makes no piece of a dump larger (netlink_recvmsg(): SKB_WITH_OVERHEAD(32768)).
const PIECE_BYTES: usize = 1 << 15;
/// The kernel answers within the call that asks; a socket that says nothing for so long never will.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// errno of a protocol that no module answers for.
const ENOENT: i32 = 2;

/// Why there is no dump.
#[derive(Debug, thiserror::Error)]
pub enum DiagError {
    /// socket(), setsockopt(), connect()
    #[error("cannot open a NETLINK_SOCK_DIAG socket: {0}")]
    Open(#[source] io::Error),
    /// send()
    #[error("cannot ask sock_diag for a dump of {netns}: {source}")]
    Ask {
        /// Network namespace
        netns: NetNs,
        /// What the system says
        source: io::Error,
    },
    /// recv()
    #[error("cannot read the sock_diag dump of {netns}: {source}")]
    Read {
        /// Network namespace
        netns: NetNs,
        /// What the system says
        source: io::Error,
    },
    /// The kernel ended the dump with an error
    #[error("the kernel ended the sock_diag dump of {netns}: {source}")]
    Refused {
        /// Network namespace
        netns: NetNs,
        /// Why
        source: io::Error,
    },
    /// No tcp_diag
    #[error(
        "the kernel has no sock_diag for TCP (CONFIG_INET_TCP_DIAG; modules inet_diag and tcp_diag), \
         asked in {netns}"
    )]
    Absent {
        /// Network namespace
        netns: NetNs,
    },
    /// The answer cannot be understood
    #[error("sock_diag dump of {netns}: {source}")]
    Decode {
        /// Network namespace
        netns: NetNs,
        /// Where and why
        source: DecodeError,
    },
    /// No such namespace is open
    #[error("network namespace {netns} is not open")]
    NotOpen {
        /// Network namespace
        netns: NetNs,
    },
}

/// What one namespace held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump {
    /// The namespace
    pub netns: NetNs,
    /// The states that were asked for
    pub states: States,
    /// CLOCK_MONOTONIC before the kernel was asked
    pub begin: MonoNs,
    /// CLOCK_MONOTONIC after the last row was read. Each row was true at some moment between both
    pub end: MonoNs,
    /// The sockets
    pub rows: Vec<Row>,
    /// The kernel says that changes meanwhile may have spoilt the dump (NLM_F_DUMP_INTR): worth repeating
    pub interrupted: bool,
}

/// A socket of one namespace.
#[derive(Debug)]
pub(super) struct DiagSocket {
    socket: Socket,
    netns: NetNs,
    sequence: u32,
}

impl DiagSocket {
    /// For the namespace that the calling thread is in, which `netns` names.
    pub(super) fn open(netns: NetNs) -> Result<Self, DiagError> {
        let socket = Socket::new(NETLINK_SOCK_DIAG).map_err(DiagError::Open)?;
        // Address 0 is the kernel: nobody else's messages are received.
        socket.connect(&netlink_sys::SocketAddr::new(0, 0)).map_err(DiagError::Open)?;
        SockRef::from(&socket).set_read_timeout(Some(ANSWER_LIMIT)).map_err(DiagError::Open)?;
        Ok(Self { socket, netns, sequence: 0 })
    }

    pub(super) fn netns(&self) -> NetNs {
        self.netns
    }

    /// TCP sockets of both families in `states`.
    pub(super) fn dump(&mut self, states: States) -> Result<Dump, DiagError> {
        let begin = monotonic_now();
        let (mut rows, mut interrupted) = (Vec::new(), false);
        for family in [AF_INET, AF_INET6] {
            interrupted |= self.dump_family(family, states, &mut rows)?;
        }
        Ok(Dump { netns: self.netns, states, begin, end: monotonic_now(), rows, interrupted })
    }

    /// Whether it was interrupted.
    fn dump_family(&mut self, family: u8, states: States, rows: &mut Vec<Row>) -> Result<bool, DiagError> {
        let netns = self.netns;
        self.sequence = self.sequence.wrapping_add(1);
        let request = request(family, states, self.sequence);
        self.socket.send(&request, 0).map_err(|source| DiagError::Ask { netns, source })?;
        let mut interrupted = false;
        let mut received = Vec::with_capacity(PIECE_BYTES);
        loop {
            received.clear();
            self.receive(&mut received)?;
            let piece = piece(&received, netns, self.sequence)
                .map_err(|source| DiagError::Decode { netns, source })?;
            interrupted |= piece.interrupted;
            rows.extend(piece.rows);
            match piece.end {
                None => {}
                Some(0) => return Ok(interrupted),
                Some(ENOENT) => return Err(DiagError::Absent { netns }),
                Some(errno) => {
                    let source = io::Error::from_raw_os_error(errno);
                    return Err(DiagError::Refused { netns, source });
                }
            }
        }
    }

    fn receive(&self, buffer: &mut Vec<u8>) -> Result<(), DiagError> {
        let netns = self.netns;
        loop {
            match self.socket.recv(buffer, 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(DiagError::Read { netns, source }),
            }
        }
    }
}

fn request(family: u8, states: States, sequence: u32) -> Vec<u8> {
    let socket_id = if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    header.sequence_number = sequence;
    let request = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::INFO,
        states: StateFlags::from_bits_retain(states.bits()),
        socket_id,
    };
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use finwait_core::TcpState;

    #[test]
    fn a_request_asks_for_tcp_with_its_info_in_the_wanted_states() {
        let bytes = request(AF_INET6, States::of(&[TcpState::TimeWait]), 7);
        // struct nlmsghdr (16 bytes), struct inet_diag_req_v2 (56).
        assert_eq!(bytes.len(), 72);
        assert_eq!(bytes[..4], 72_u32.to_ne_bytes());
        assert_eq!(bytes[4..6], 20_u16.to_ne_bytes());
        assert_eq!(bytes[6..8], 0x301_u16.to_ne_bytes());
        assert_eq!(bytes[8..12], 7_u32.to_ne_bytes());
        assert_eq!(bytes[16..20], [10, 6, 1 << 1, 0]);
        assert_eq!(bytes[20..24], (1_u32 << 6).to_ne_bytes());
        assert!(bytes[24..].iter().all(|byte| *byte == 0));
    }
}
