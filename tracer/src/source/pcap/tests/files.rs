//! The file formats: byte orders, resolutions of time, interfaces, and files that end too early.

use std::io::{self, BufRead};

use finwait_core::MonoNs;

use super::super::file::{Format, Next};
use super::super::input::Input;
use super::*;

/// Writes numbers in either byte order.
#[derive(Clone, Copy)]
struct Writer {
    big: bool,
}

impl Writer {
    fn u16(self, n: u16) -> Vec<u8> {
        if self.big { n.to_be_bytes().into() } else { n.to_le_bytes().into() }
    }

    fn u32(self, n: u32) -> Vec<u8> {
        if self.big { n.to_be_bytes().into() } else { n.to_le_bytes().into() }
    }

    fn u64(self, n: u64) -> Vec<u8> {
        if self.big { n.to_be_bytes().into() } else { n.to_le_bytes().into() }
    }

    fn pcap(self, magic: u32, packets: &[(u32, u32, &[u8])]) -> Vec<u8> {
        let mut file: Vec<u8> =
            [magic, 0x0002_0004, 0, 0, 65_535, RAW].iter().flat_map(|n| self.u32(*n)).collect();
        for (seconds, fraction, data) in packets {
            let length = u32::try_from(data.len()).unwrap();
            for n in [*seconds, *fraction, length, length + 7] {
                file.extend(self.u32(n));
            }
            file.extend(*data);
        }
        file
    }

    fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
        let length = u32::try_from(12 + body.len() + padding.len()).unwrap();
        [&self.u32(kind)[..], &self.u32(length), body, &padding, &self.u32(length)].concat()
    }

    fn section(self) -> Vec<u8> {
        self.block(
            0x0a0d_0d0a,
            &[self.u32(0x1a2b_3c4d), self.u16(1), self.u16(0), self.u64(u64::MAX)].concat(),
        )
    }

    fn option(self, code: u16, value: &[u8]) -> Vec<u8> {
        let padding = vec![0; value.len().next_multiple_of(4) - value.len()];
        [&self.u16(code)[..], &self.u16(u16::try_from(value.len()).unwrap()), value, &padding].concat()
    }

    fn interface(self, link: u16, options: &[Vec<u8>]) -> Vec<u8> {
        let end = if options.is_empty() { vec![] } else { self.option(0, &[]) };
        self.block(1, &[self.u16(link), self.u16(0), self.u32(0), options.concat(), end].concat())
    }

    fn enhanced(self, interface: u32, units: u64, data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len()).unwrap();
        let (high, low) = ((units >> 32) as u32, units as u32);
        let numbers = [interface, high, low, length, length + 7].map(|n| self.u32(n)).concat();
        self.block(6, &[&numbers[..], data].concat())
    }

    fn obsolete(self, interface: u16, units: u64, data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len()).unwrap();
        let numbers = [(units >> 32) as u32, units as u32, length, length].map(|n| self.u32(n)).concat();
        self.block(2, &[&self.u16(interface)[..], &self.u16(0), &numbers, data].concat())
    }
}

const BOTH: [Writer; 2] = [Writer { big: false }, Writer { big: true }];

/// A packet's link, time and bytes.
type Found = (u16, Option<u64>, Vec<u8>);

/// The packets, and how the file ends.
fn read(file: &[u8]) -> (Vec<Found>, Next) {
    read_from(Box::new(Cursor::new(file.to_vec())))
}

fn read_from(input: Box<dyn BufRead + Send>) -> (Vec<Found>, Next) {
    let (mut input, mut format, mut packets) = (Input::new(input), Format::Unknown, Vec::new());
    loop {
        match format.next(&mut input).unwrap() {
            Next::Packet(packet) => {
                let data = input.front()[packet.data.clone()].to_vec();
                packets.push((packet.link, packet.at.map(|at| at.0), data));
                input.consume(packet.whole);
            }
            Next::Dropped(_) | Next::Pending => {}
            end => return (packets, end),
        }
    }
}

#[test]
fn pcap_of_both_byte_orders_and_resolutions() {
    for writer in BOTH {
        for (magic, fraction, ns) in
            [(0xa1b2_c3d4, 250_000, 250_000_000), (0xa1b2_3c4d, 250_000_001, 250_000_001)]
        {
            let file = writer.pcap(magic, &[(1_700_000_000, fraction, b"abc"), (1_700_000_001, 0, b"")]);
            let (packets, end) = read(&file);
            let first = (101, Some(1_700_000_000_000_000_000 + ns), b"abc".to_vec());
            assert_eq!(packets, [first, (101, Some(1_700_000_001_000_000_000), vec![])]);
            assert_eq!(end, Next::End);
        }
    }
}

#[test]
fn pcapng_has_interfaces_of_their_own_link_type_and_resolution() {
    for writer in BOTH {
        let file = [
            writer.section(),
            writer.interface(1, &[]),
            writer.interface(113, &[writer.option(2, b"eth0"), writer.option(9, &[9])]),
            writer.interface(101, &[writer.option(9, &[0x80 | 10]), writer.option(14, &writer.u64(100))]),
            writer.block(0xbad, b"what nobody knows"),
            writer.enhanced(0, 1_700_000_000_000_001, b"a"),
            writer.enhanced(1, 1_700_000_000_000_000_001, b"bcde"),
            writer.enhanced(2, 1024 * 5 + 512, b"f"),
            writer.obsolete(1, 7, b"g"),
            writer.enhanced(9, 0, b"of no interface"),
        ]
        .concat();
        let (packets, end) = read(&file);
        let want = [
            (1, Some(1_700_000_000_000_001_000), b"a".to_vec()),
            (113, Some(1_700_000_000_000_000_001), b"bcde".to_vec()),
            (101, Some(105_500_000_000), b"f".to_vec()),
            (113, Some(7), b"g".to_vec()),
        ];
        assert_eq!((packets, end), (want.to_vec(), Next::End));
    }
}

#[test]
fn a_new_section_has_interfaces_and_a_byte_order_of_its_own() {
    let [little, big] = BOTH;
    let file = [
        little.section(),
        little.interface(1, &[]),
        little.enhanced(0, 1_000_000, b"x"),
        big.section(),
        big.interface(113, &[]),
        big.enhanced(0, 2_000_000, b"y"),
    ]
    .concat();
    let links: Vec<_> = read(&file).0.into_iter().map(|(link, at, _)| (link, at)).collect();
    assert_eq!(links, [(1, Some(1_000_000_000)), (113, Some(2_000_000_000))]);
}

#[test]
fn a_simple_packet_has_no_time_and_is_counted() {
    let [little, _] = BOTH;
    let body = [&little.u32(2)[..], b"xy"].concat();
    let file = [little.section(), little.interface(101, &[]), little.block(3, &body)].concat();
    assert_eq!(read(&file), (vec![(101, None, b"xy".to_vec())], Next::End));
    assert_eq!(Read::of(file).books.untimed, 1);
}

#[test]
fn what_the_capturing_program_lost_is_counted_once() {
    let [little, _] = BOTH;
    let statistics = |dropped: u64| {
        let body =
            [little.u32(0), little.u32(0), little.u32(0), little.option(5, &little.u64(dropped))].concat();
        little.block(5, &[body, little.option(0, &[])].concat())
    };
    let file = [little.section(), little.interface(101, &[]), statistics(5), statistics(7)].concat();
    assert_eq!(Read::of(file).books.dropped, 7);
}

#[test]
fn a_file_cut_anywhere_yields_what_is_whole_and_says_that_it_is_cut() {
    let [little, _] = BOTH;
    let ng = [
        little.section(),
        little.interface(101, &[]),
        little.enhanced(0, 5, b"abc"),
        little.enhanced(0, 6, b"d"),
    ];
    let classic = little.pcap(0xa1b2_c3d4, &[(1, 2, b"abc"), (3, 4, b"d")]);
    for file in [ng.concat(), classic] {
        let whole = read(&file).0;
        for kept in 0..file.len() {
            let (packets, end) = read(&file[..kept]);
            assert!(whole.starts_with(&packets), "{kept}");
            assert!(matches!(end, Next::Damaged(_) | Next::End), "{kept}: {end:?}");
        }
    }
    let books = Read::of(pcap(RAW, &[(START_MS, packet(&line("0 a S 0 0 0"), (1, 1)))])[..60].to_vec()).books;
    let damage = books.damage.unwrap();
    assert_eq!(damage, "test.pcap could not be read beyond byte 24: its last packet is cut off");
}

#[test]
fn an_impossible_length_ends_the_reading_and_takes_no_memory() {
    let [little, _] = BOTH;
    let mut classic = little.pcap(0xa1b2_c3d4, &[(1, 2, b"abc")]);
    classic[32..36].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut ng = [little.section(), little.interface(101, &[])].concat();
    let at = ng.len();
    ng.extend(little.enhanced(0, 5, b"abc"));
    ng[at + 4..at + 8].copy_from_slice(&u32::MAX.to_le_bytes());
    for file in [classic, ng] {
        assert!(matches!(
            read(&file).1,
            Next::Damaged("a packet's length is impossible" | "a block's length is impossible")
        ));
    }
}

/// Gives one byte at a time, and nothing before each.
struct Slow {
    bytes: Vec<u8>,
    at: usize,
    ready: bool,
}

impl io::Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Slow {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.ready = !self.ready;
        if !self.ready {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(&self.bytes[self.at..self.bytes.len().min(self.at + 1)])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

#[test]
fn a_slow_pipe_is_not_waited_for_and_loses_nothing() {
    let [little, big] = BOTH;
    for file in [
        little.pcap(0xa1b2_c3d4, &[(1, 2, b"abc"), (3, 4, b"d")]),
        [big.section(), big.interface(101, &[]), big.enhanced(0, 5, b"abc")].concat(),
    ] {
        let slow = Slow { bytes: file.clone(), at: 0, ready: false };
        assert_eq!(read_from(Box::new(slow)), read(&file));
    }
}

#[test]
fn time_before_1970_and_beyond_what_can_be_counted_is_none() {
    let [little, _] = BOTH;
    let shift = |seconds: i64| little.interface(101, &[little.option(14, &little.u64(seconds as u64))]);
    for (interface, units, at) in [
        (shift(-10), 5_000_000, None),
        (shift(-4), 5_000_000, Some(MonoNs(1_000_000_000))),
        (shift(i64::MAX), 5_000_000, None),
        (little.interface(101, &[little.option(9, &[0])]), u64::MAX, None),
        (little.interface(101, &[little.option(9, &[0x7f])]), u64::MAX, Some(MonoNs(1_000_000_000))),
    ] {
        let file = [little.section(), interface, little.enhanced(0, units, b"x")].concat();
        assert_eq!(read(&file).0[0].1, at.map(|at| at.0));
    }
}
