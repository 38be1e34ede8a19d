//! Captures made by hand and by etherparse, read back through the tracker.

mod closes;
mod files;
mod links;
mod odd;
mod properties;

use std::io::Cursor;
use std::time::Duration;

use etherparse::PacketBuilder;
use finwait_core::record::CloseRecord;
use finwait_core::{Observation, Record, Tracker, TrackerConfig};

use super::{CaptureBooks, PcapSource};
use crate::source::{Polled, Source};

/// The end that opens, and the other one.
const A: ([u8; 4], u16) = ([10, 0, 0, 1], 40_000);
const B: ([u8; 4], u16) = ([10, 0, 0, 2], 80);

/// Milliseconds since 1970 at which every scene begins.
const START_MS: u64 = 1_700_000_000_000;

/// Raw IP, LINKTYPE_RAW.
const RAW: u32 = 101;

/// A segment of a scene: numbers relative to the first of each end.
#[derive(Clone, Debug)]
struct Line {
    at_ms: u64,
    from_a: bool,
    flags: String,
    seq: u32,
    ack: u32,
    payload: usize,
}

/// Each line or part between slashes: milliseconds, end, flags of `SAFR` and `0` for a window without room, sequence number, acknowledgement, payload bytes.
fn scene(text: &str) -> Vec<Line> {
    text.split(['/', '\n']).filter(|line| !line.trim().is_empty()).map(line).collect()
}

fn line(text: &str) -> Line {
    let parts: Vec<&str> = text.split_whitespace().collect();
    let [at, end, flags, seq, ack, payload] = parts[..] else { panic!("six parts: {text:?}") };
    Line {
        at_ms: at.parse().unwrap(),
        from_a: end == "a",
        flags: flags.to_owned(),
        seq: seq.parse().unwrap(),
        ack: ack.parse().unwrap(),
        payload: payload.parse().unwrap(),
    }
}

/// The IP packet of a line, with these first sequence numbers.
fn packet(line: &Line, isn: (u32, u32)) -> Vec<u8> {
    let (from, to, own, other) = if line.from_a { (A, B, isn.0, isn.1) } else { (B, A, isn.1, isn.0) };
    let has = |flag: char| line.flags.contains(flag);
    let window = if has('0') { 0 } else { 1000 };
    let mut tcp = PacketBuilder::ipv4(from.0, to.0, 64).tcp(from.1, to.1, own.wrapping_add(line.seq), window);
    if has('A') {
        tcp = tcp.ack(other.wrapping_add(line.ack));
    }
    if has('S') {
        tcp = tcp.syn();
    }
    if has('F') {
        tcp = tcp.fin();
    }
    if has('R') {
        tcp = tcp.rst();
    }
    let mut bytes = Vec::new();
    tcp.write(&mut bytes, &vec![0; line.payload]).unwrap();
    bytes
}

/// A pcap file of nanoseconds, little endian.
fn pcap(link: u32, packets: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 65_535, link] {
        file.extend(word.to_le_bytes());
    }
    for (at_ms, bytes) in packets {
        let length = u32::try_from(bytes.len()).unwrap();
        let seconds = u32::try_from(at_ms / 1000).unwrap();
        let ns = u32::try_from(at_ms % 1000).unwrap() * 1_000_000;
        for word in [seconds, ns, length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend(bytes);
    }
    file
}

fn capture_of(lines: &[Line], isn: (u32, u32)) -> Vec<u8> {
    let packets: Vec<_> = lines.iter().map(|line| (START_MS + line.at_ms, packet(line, isn))).collect();
    pcap(RAW, &packets)
}

/// Everything that a capture tells.
struct Read {
    closes: Vec<CloseRecord>,
    steps: Vec<(u16, finwait_core::TcpState, finwait_core::TcpState)>,
    books: CaptureBooks,
}

impl Read {
    fn of(file: Vec<u8>) -> Self {
        Self::from(PcapSource::new(Box::new(Cursor::new(file)), "test.pcap".to_owned()))
    }

    fn from(mut source: PcapSource) -> Self {
        let mut tracker = Tracker::new(TrackerConfig::default());
        let mut read = Self { closes: Vec::new(), steps: Vec::new(), books: CaptureBooks::default() };
        let mut batch: Vec<Observation> = Vec::new();
        loop {
            let polled = source.poll(&mut batch, Duration::ZERO).unwrap();
            batch.drain(..).for_each(|observation| tracker.observe(&observation));
            if polled == Polled::End {
                tracker.finish();
            }
            while let Some(record) = tracker.next_record() {
                match record {
                    Record::Close(close) => read.closes.push(*close),
                    Record::Transition(step) => {
                        read.steps.push((step.local.port.unwrap().0, step.change.old, step.change.new));
                    }
                    _ => {}
                }
            }
            if polled == Polled::End {
                break;
            }
        }
        read.books = source.books().clone();
        read
    }

    fn scene(text: &str) -> Self {
        Self::of(capture_of(&scene(text), (1_000_000, 7_000_000)))
    }

    /// The record of one end.
    fn end(&self, port: u16) -> &CloseRecord {
        let of_end = |close: &&CloseRecord| close.local.port.is_some_and(|local| local.0 == port);
        self.closes.iter().find(of_end).unwrap_or_else(|| panic!("a record of port {port}"))
    }

    fn a(&self) -> &CloseRecord {
        self.end(A.1)
    }

    fn b(&self) -> &CloseRecord {
        self.end(B.1)
    }

    /// The kinds at both ends, `-` for one without a record.
    fn kinds(&self) -> [&'static str; 2] {
        [A.1, B.1].map(|port| {
            let of_end = |close: &&CloseRecord| close.local.port.is_some_and(|local| local.0 == port);
            self.closes
                .iter()
                .find(of_end)
                .map_or("-", |close| close.kind.value().map_or("unknown", |kind| kind.name()))
        })
    }
}

/// A handshake of three segments.
const OPEN: &str = "0 a S 0 0 0 / 10 b SA 0 1 0 / 20 a A 1 1 0 /";
