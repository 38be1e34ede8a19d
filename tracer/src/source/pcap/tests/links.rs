//! Link types, VLAN tags, IP versions, extension headers, fragments, and packets that were cut.

use std::net::IpAddr;

use super::super::ip::{self, Held};
use super::super::link::{self, Below};
use super::super::segment::Segment;
use super::*;

const ETHERNET: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

/// A FIN of version 4 or 6, made by etherparse.
fn fin(version: u8) -> Vec<u8> {
    let builder = match version {
        4 => PacketBuilder::ipv4(A.0, B.0, 64),
        _ => PacketBuilder::ipv6(v6(1), v6(2), 64),
    };
    let mut bytes = Vec::new();
    builder.tcp(A.1, B.1, 77, WINDOW).fin().ack(88).write(&mut bytes, b"abc").unwrap();
    bytes
}

/// Of every segment here.
const WINDOW: u16 = 1000;

fn v6(last: u8) -> [u8; 16] {
    let mut address = [0; 16];
    (address[0], address[1], address[15]) = (0x20, 1, last);
    address
}

fn wanted(version: u8) -> Segment {
    let ends: [IpAddr; 2] = match version {
        4 => [A.0.into(), B.0.into()],
        _ => [v6(1).into(), v6(2).into()],
    };
    Segment {
        from: (ends[0], A.1),
        to: (ends[1], B.1),
        seq: 77,
        ack: Some(88),
        syn: false,
        fin: true,
        rst: false,
        window: WINDOW,
        payload_bytes: 3,
    }
}

fn decode(link: u16, frame: &[u8]) -> Option<Held> {
    match link::strip(link, frame) {
        Below::Ip(packet) => Some(ip::read(packet, 0)),
        _ => None,
    }
}

fn ethertype(version: u8) -> [u8; 2] {
    if version == 4 { [8, 0] } else { [0x86, 0xdd] }
}

/// What stands ahead of the IP packet on each link.
fn headers(version: u8) -> Vec<(&'static str, u16, Vec<u8>)> {
    let kind = ethertype(version);
    let sll = |kind: &[u8]| [&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0], kind].concat();
    let sll2 = |kind: &[u8]| [kind, &[0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0][..]].concat();
    let mut all = vec![
        ("Ethernet", 1, [&ETHERNET[..], &kind].concat()),
        ("VLAN", 1, [&ETHERNET[..], &[0x81, 0, 0, 7], &kind].concat()),
        ("QinQ", 1, [&ETHERNET[..], &[0x88, 0xa8, 0, 7, 0x81, 0, 0, 9], &kind].concat()),
        ("old QinQ", 1, [&ETHERNET[..], &[0x91, 0, 0, 7, 0x81, 0, 0, 9], &kind].concat()),
        ("Linux cooked v1", 113, sll(&kind)),
        ("Linux cooked v1 with a tag", 113, [&sll(&[0x81, 0])[..], &[0, 7], &kind].concat()),
        ("Linux cooked v2", 276, sll2(&kind)),
        ("raw", 101, vec![]),
        ("raw, BSD's number", 12, vec![]),
        ("raw, OpenBSD's number", 14, vec![]),
    ];
    let families: &[u32] = if version == 4 { &[2] } else { &[10, 24, 28, 30] };
    for family in families {
        all.push(("NULL, little endian", 0, family.to_le_bytes().to_vec()));
        all.push(("NULL, big endian", 0, family.to_be_bytes().to_vec()));
        all.push(("LOOP", 108, family.to_be_bytes().to_vec()));
    }
    all.push(("the IP version's own", if version == 4 { 228 } else { 229 }, vec![]));
    all
}

#[test]
fn every_link_type_leads_to_the_same_segment() {
    for version in [4, 6] {
        for (name, link, header) in headers(version) {
            let frame = [header, fin(version)].concat();
            assert_eq!(decode(link, &frame), Some(Held::Segment(wanted(version))), "{name}, IPv{version}");
        }
    }
}

#[test]
fn padding_of_short_ethernet_frames_is_no_payload() {
    let mut frame = [&ETHERNET[..], &[8, 0], &fin(4)].concat();
    frame.resize(80, 0);
    assert_eq!(decode(1, &frame), Some(Held::Segment(wanted(4))));
}

#[test]
fn what_is_no_ip_is_passed_over() {
    let arp = [&ETHERNET[..], &[8, 6], &[0; 28]].concat();
    assert_eq!(link::strip(1, &arp), Below::Other);
    assert_eq!(link::strip(0, &[7, 0, 0, 0, 1]), Below::Other);
    assert_eq!(link::strip(9999, &fin(4)), Below::UnknownLink);
    assert_eq!(link::strip(1, &ETHERNET), Below::Cut);
}

/// The IPv6 packet with these headers, each with its number and its bytes, between IP and TCP.
fn with_extensions(extensions: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut packet = fin(6);
    let mut inserted = Vec::new();
    for (index, (_, bytes)) in extensions.iter().enumerate() {
        let mut bytes = bytes.clone();
        bytes[0] = extensions.get(index + 1).map_or(6, |(number, _)| *number);
        inserted.extend(bytes);
    }
    packet[6] = extensions[0].0;
    let length = u16::from_be_bytes([packet[4], packet[5]]) + u16::try_from(inserted.len()).unwrap();
    packet[4..6].copy_from_slice(&length.to_be_bytes());
    packet.splice(40..40, inserted);
    packet
}

#[test]
fn extension_headers_are_passed() {
    let plain = |units: u8| {
        let mut bytes = vec![0; (usize::from(units) + 1) * 8];
        bytes[1] = units;
        bytes
    };
    let authentication = [&[0, 4][..], &[0; 22]].concat();
    let whole_fragment = vec![0; 8];
    for (name, extensions) in [
        ("hop by hop", vec![(0, plain(0))]),
        ("routing", vec![(43, plain(2))]),
        ("destination", vec![(60, plain(1))]),
        ("authentication", vec![(51, authentication)]),
        ("a fragment that is whole", vec![(44, whole_fragment.clone())]),
        ("all", vec![(0, plain(1)), (60, plain(0)), (43, plain(1)), (44, whole_fragment), (60, plain(0))]),
    ] {
        let packet = with_extensions(&extensions);
        assert_eq!(ip::read(&packet, 0), Held::Segment(wanted(6)), "{name}");
    }
}

#[test]
fn of_a_fragmented_segment_the_first_fragment_alone_is_read() {
    let mut first = fin(4);
    first[6] = 0x20;
    assert_eq!(ip::read(&first, 0), Held::FirstFragment(wanted(4)));
    let mut later = fin(4);
    later[7] = 3;
    assert_eq!(ip::read(&later, 0), Held::LaterFragment);
    let fragment = |field: u16| [&[0, 0], &field.to_be_bytes()[..], &[0, 0, 0, 1]].concat();
    let first = with_extensions(&[(44, fragment(1))]);
    assert_eq!(ip::read(&first, 0), Held::FirstFragment(wanted(6)));
    let later = with_extensions(&[(44, fragment(9))]);
    assert_eq!(ip::read(&later, 0), Held::LaterFragment);
}

#[test]
fn a_packet_cut_behind_the_fixed_tcp_header_is_read_and_one_cut_within_is_counted() {
    for version in [4, 6] {
        let packet = fin(version);
        let header = packet.len() - 3 - 20;
        for kept in 0..packet.len() {
            let missing = packet.len() - kept;
            let held = ip::read(&packet[..kept], missing);
            if kept < header + 20 {
                assert_eq!(held, Held::Cut, "IPv{version}, {kept} bytes");
            } else {
                assert_eq!(held, Held::Segment(wanted(version)), "IPv{version}, {kept} bytes");
            }
        }
    }
}

#[test]
fn a_length_of_zero_is_that_of_segmentation_offload() {
    let mut packet = fin(4);
    packet[2..4].copy_from_slice(&[0, 0]);
    assert_eq!(ip::read(&packet, 0), Held::Segment(wanted(4)));
    assert_eq!(ip::read(&packet[..40], 3), Held::Segment(wanted(4)));
    let mut packet = fin(6);
    packet[4..6].copy_from_slice(&[0, 0]);
    assert_eq!(ip::read(&packet, 0), Held::Segment(wanted(6)));
}

#[test]
fn headers_that_contradict_themselves_are_malformed() {
    let with = |at: usize, byte: u8| {
        let mut packet = fin(4);
        packet[at] = byte;
        packet
    };
    for (name, packet) in [
        ("IP version 5", with(0, 0x55)),
        ("an IP header of 16 bytes", with(0, 0x44)),
        ("a total length below the header", with(3, 10)),
        ("a TCP header of 16 bytes", with(32, 0x40)),
        ("a TCP header longer than the packet", with(32, 0xf0)),
    ] {
        assert_eq!(ip::read(&packet, 0), Held::Malformed, "{name}");
    }
    let mut udp = fin(4);
    udp[9] = 17;
    assert_eq!(ip::read(&udp, 0), Held::Other);
}

#[test]
fn a_capture_of_any_link_type_tells_the_same_close() {
    let lines = scene(&(OPEN.to_owned() + "100 a FA 1 1 0 / 110 b FA 1 2 0 / 120 a A 2 2 0"));
    for (name, link, header) in headers(4) {
        let packets: Vec<_> = lines
            .iter()
            .map(|line| (START_MS + line.at_ms, [header.clone(), packet(line, (1, 1))].concat()))
            .collect();
        assert_eq!(Read::of(pcap(link.into(), &packets)).kinds(), ["active", "passive"], "{name}");
    }
}

#[test]
fn cut_packets_and_fragments_are_in_the_books() {
    let mut later = fin(4);
    later[7] = 3;
    let packets = vec![(START_MS, fin(4)[..30].to_vec()), (START_MS, later), (START_MS, vec![0x55])];
    let books = Read::of(pcap(RAW, &packets)).books;
    assert_eq!((books.packets, books.cut, books.later_fragments, books.malformed), (3, 1, 1, 1));
    assert_eq!(books.segments, 0);
}
