//! Answers of the kernel put together by hand, and any bytes at all.

use finwait_core::observation::Family;
use finwait_core::{CgroupId, Cookie, NetNs, TcpState};
use proptest::prelude::*;

use super::decode::{DecodeError, Piece, piece};
use super::row::{Row, SocketKind, Timer, TimerKind};

const NETNS: NetNs = NetNs(4_026_531_840);
const SEQUENCE: u32 = 9;

/// struct inet_diag_msg with its attributes.
struct Answer {
    family: u8,
    state: u8,
    timer: u8,
    retransmits: u8,
    addresses: [[u8; 16]; 2],
    cookie: [u32; 2],
    expires_ms: u32,
    inode: u32,
    attributes: Vec<u8>,
}

impl Answer {
    fn established() -> Self {
        let v4 = |last| {
            let mut address = [0; 16];
            address[..4].copy_from_slice(&[10, 0, 0, last]);
            address
        };
        Self {
            family: 2,
            state: 1,
            timer: 0,
            retransmits: 0,
            addresses: [v4(5), v4(9)],
            cookie: [0x2a, 1],
            expires_ms: 0,
            inode: 77,
            attributes: Vec::new(),
        }
    }

    fn with(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).unwrap();
        self.attributes.extend(length.to_ne_bytes());
        self.attributes.extend(kind.to_ne_bytes());
        self.attributes.extend(value);
        self.attributes.resize(self.attributes.len().next_multiple_of(4), 0);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.family, self.state, self.timer, self.retransmits];
        bytes.extend(443_u16.to_be_bytes());
        bytes.extend(51_122_u16.to_be_bytes());
        bytes.extend(self.addresses.concat());
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend(self.cookie.map(u32::to_ne_bytes).concat());
        for number in [self.expires_ms, 3, 4, 1000, self.inode] {
            bytes.extend(number.to_ne_bytes());
        }
        bytes.extend(&self.attributes);
        bytes
    }
}

fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 16).unwrap();
    let mut bytes = Vec::new();
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(payload);
    bytes
}

fn read(answer: &Answer) -> Row {
    let piece = piece(&message(20, 2, SEQUENCE, &answer.bytes()), NETNS, SEQUENCE).unwrap();
    assert_eq!((piece.rows.len(), piece.end, piece.interrupted), (1, None, false));
    piece.rows.into_iter().next().unwrap()
}

/// struct tcp_info whose every byte tells its offset.
fn tcp_info(length: u8) -> Vec<u8> {
    (0..length).collect()
}

fn number(offset: u8) -> Option<u32> {
    Some(u32::from_ne_bytes([offset, offset + 1, offset + 2, offset + 3]))
}

#[test]
fn a_full_socket_has_identity_owner_and_counters() {
    let answer = Answer { timer: 1, retransmits: 3, expires_ms: 250, ..Answer::established() };
    let row = read(
        &answer.with(2, &tcp_info(232)).with(15, &7_u32.to_ne_bytes()).with(21, &1234_u64.to_ne_bytes()),
    );
    assert_eq!((row.netns, row.family, row.state, row.kind), expected(TcpState::Established));
    assert_eq!((row.local, row.remote), end_to_end("10.0.0.5:443", "10.0.0.9:51122"));
    assert_eq!((row.cookie, row.inode, row.uid), (Some(Cookie(0x1_0000_002a)), Some(77), Some(1000)));
    assert_eq!((row.mark, row.cgroup), (Some(7), Some(CgroupId(1234))));
    assert_eq!(row.timer, Some(Timer { kind: TimerKind::Retransmit, expires_ms: 250 }));
    assert_eq!((row.retransmits, row.unread_bytes, row.unacked_bytes), (Some(3), Some(3), Some(4)));
    assert_eq!((row.unacked_segments, row.srtt_us), (number(24), number(68)));
    assert_eq!((row.last_data_sent_ms, row.last_data_recv_ms), (number(44), number(52)));
    assert_eq!((row.last_ack_recv_ms, row.total_retrans), (number(56), number(100)));
    let eight = |offset: u8| {
        let bytes: Vec<u8> = (offset..offset + 8).collect();
        Some(u64::from_ne_bytes(bytes.try_into().unwrap()))
    };
    assert_eq!((row.bytes_acked, row.bytes_received), (eight(120), eight(128)));
    assert!(!row.is_mini_socket());
}

fn expected(state: TcpState) -> (NetNs, Family, TcpState, SocketKind) {
    (NETNS, Family::Inet, state, SocketKind::Full)
}

fn end_to_end(local: &str, remote: &str) -> (std::net::SocketAddr, std::net::SocketAddr) {
    (local.parse().unwrap(), remote.parse().unwrap())
}

#[test]
fn fin_wait2_of_a_mini_socket_is_told_from_that_of_a_full_one() {
    let full = read(&Answer { state: 5, ..Answer::established() }.with(2, &tcp_info(232)));
    assert_eq!((full.state, full.kind), (TcpState::FinWait2, SocketKind::Full));
    // An orphan has no inode either; its timer is another.
    let orphan = Answer { state: 5, timer: 2, inode: 0, ..Answer::established() };
    assert_eq!(read(&orphan.with(2, &tcp_info(232))).kind, SocketKind::Full);
    let mini = Answer { state: 5, timer: 3, expires_ms: 41_000, inode: 0, ..Answer::established() };
    let mini = read(&mini);
    assert_eq!((mini.state, mini.kind), (TcpState::FinWait2, SocketKind::TimeWait));
    assert_eq!(mini.timer, Some(Timer { kind: TimerKind::TimeWait, expires_ms: 41_000 }));
    assert!(mini.is_mini_socket());
}

#[test]
fn what_a_mini_socket_does_not_have_is_absent() {
    let row = read(&Answer { state: 6, timer: 3, inode: 0, ..Answer::established() });
    assert_eq!((row.inode, row.uid, row.mark, row.cgroup), (None, None, None, None));
    assert_eq!((row.retransmits, row.unread_bytes, row.unacked_bytes), (None, None, None));
    assert_eq!((row.srtt_us, row.bytes_acked, row.last_ack_recv_ms), (None, None, None));
    assert_eq!(row.cookie, Some(Cookie(0x1_0000_002a)));
}

#[test]
fn a_cookie_that_was_not_made_is_absent() {
    for cookie in [[0, 0], [u32::MAX, u32::MAX]] {
        assert_eq!(read(&Answer { cookie, ..Answer::established() }).cookie, None);
    }
}

#[test]
fn an_unfinished_handshake_is_a_request() {
    let request = Answer { state: 3, timer: 1, inode: 0, ..Answer::established() };
    assert_eq!(read(&request).kind, SocketKind::Request);
}

#[test]
fn mapped_addresses_are_the_ipv4_they_are() {
    let mapped = |last| {
        let mut address = [0; 16];
        address[10..].copy_from_slice(&[0xff, 0xff, 10, 0, 0, last]);
        address
    };
    let row = read(&Answer { family: 10, addresses: [mapped(1), mapped(2)], ..Answer::established() });
    assert_eq!((row.local, row.remote), end_to_end("10.0.0.1:443", "10.0.0.2:51122"));
    assert_eq!(row.family, Family::Inet6);
}

#[test]
fn a_piece_ends_with_what_the_kernel_says_and_passes_older_answers_over() {
    let socket = Answer::established().bytes();
    let mut bytes = message(20, 2, SEQUENCE - 1, &socket);
    bytes.extend(message(20, 2 | 0x10, SEQUENCE, &socket));
    bytes.extend(message(3, 2, SEQUENCE, &0_i32.to_ne_bytes()));
    let read = piece(&bytes, NETNS, SEQUENCE).unwrap();
    assert_eq!((read.rows.len(), read.interrupted, read.end), (1, true, Some(0)));
    let refused = [(-2_i32).to_ne_bytes().to_vec(), vec![0; 16]].concat();
    let read = piece(&message(2, 0, SEQUENCE, &refused), NETNS, SEQUENCE).unwrap();
    assert_eq!(read, Piece { end: Some(2), ..Piece::default() });
}

#[test]
fn a_state_that_tcp_does_not_have_is_an_error() {
    let answer = Answer { state: 14, ..Answer::established() };
    let read = piece(&message(20, 2, SEQUENCE, &answer.bytes()), NETNS, SEQUENCE);
    assert!(matches!(read, Err(DecodeError::State { offset: 0, state: 14 })), "{read:?}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        _ = piece(&bytes, NETNS, SEQUENCE);
    }

    /// Well-formed outside, anything inside.
    #[test]
    fn no_payload_makes_it_panic(
        kind in prop_oneof![Just(20_u16), Just(2), Just(3), Just(4), 0_u16..32],
        family in prop_oneof![Just(2_u8), Just(10), Just(1), any::<u8>()],
        payload in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let payload = [vec![family], payload].concat();
        _ = piece(&message(kind, 2, SEQUENCE, &payload), NETNS, SEQUENCE);
    }

    #[test]
    fn no_attribute_makes_it_panic(
        attributes in proptest::collection::vec((0_u16..40, proptest::collection::vec(any::<u8>(), 0..64)), 0..6),
        cut in 0_usize..400,
    ) {
        let answer = attributes.iter().fold(Answer::established(), |answer, (kind, value)| answer.with(*kind, value));
        let payload = answer.bytes();
        _ = piece(&message(20, 2, SEQUENCE, &payload), NETNS, SEQUENCE);
        _ = piece(&message(20, 2, SEQUENCE, &payload[..cut.min(payload.len())]), NETNS, SEQUENCE);
    }
}
