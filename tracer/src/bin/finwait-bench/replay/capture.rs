//! A capture of made connections, of which some hundreds are open at once: requests and answers, then a close of one kind
//! or another, in Ethernet frames of which the first bytes are kept.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};

use crate::numbers::Shuffle;

/// Connections open at once.
const LIVE: usize = 500;
/// Between two packets
const STEP_NS: u64 = 200_000;
/// Kept of each packet
const SNAPLEN: usize = 96;
const START_NS: u64 = 1_700_000_000_000_000_000;
/// pcap's header: little endian, nanoseconds, version 2.4, Ethernet.
const HEADER: [u32; 6] = [0xa1b2_3c4d, 0x0004_0002, 0, 0, SNAPLEN as u32, 1];
const REQUEST_BYTES: u32 = 300;
const SEGMENT_BYTES: u32 = 1448;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// A segment: by the client, flags, payload.
type Line = (bool, u8, u32);

const HANDSHAKE: [Line; 3] = [(true, SYN, 0), (false, SYN | ACK, 0), (true, ACK, 0)];
const EXCHANGE: [Line; 5] = [
    (true, ACK, REQUEST_BYTES),
    (false, ACK, 0),
    (false, ACK, SEGMENT_BYTES),
    (false, ACK, SEGMENT_BYTES),
    (true, ACK, 0),
];
const CLOSES: [&[Line]; 4] = [
    &[(true, FIN | ACK, 0), (false, ACK, 0), (false, FIN | ACK, 0), (true, ACK, 0)],
    &[(false, FIN | ACK, 0), (true, FIN | ACK, 0), (false, ACK, 0)],
    &[(true, RST | ACK, 0)],
    &[(true, FIN | ACK, 0), (false, ACK, 0), (false, ACK, SEGMENT_BYTES), (true, RST, 0)],
];

/// One connection: what is left of it, and where both ends are.
struct Connection {
    number: u64,
    place: usize,
    /// Next sequence numbers, the client's first
    next: [u32; 2],
}

impl Connection {
    fn new(number: u64) -> Self {
        let isn = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self { number, place: 0, next: [isn as u32, (isn >> 32) as u32] }
    }

    /// One to four exchanges.
    fn line(&self) -> Option<Line> {
        let exchanges = 1 + (self.number / 4 % 4) as usize;
        let close = CLOSES[(self.number % 4) as usize];
        let exchanged = std::iter::repeat_n(&EXCHANGE, exchanges).flatten();
        HANDSHAKE.iter().chain(exchanged).chain(close).nth(self.place).copied()
    }

    /// Its next packet; `None` once it is over.
    fn packet(&mut self) -> Option<Vec<u8>> {
        let (by_client, flags, payload) = self.line()?;
        self.place += 1;
        let (me, peer) = if by_client { (0, 1) } else { (1, 0) };
        let ack = if flags & ACK == 0 { 0 } else { self.next[peer] };
        let packet = self.frame(by_client, flags, (self.next[me], ack), payload);
        self.next[me] = self.next[me].wrapping_add(payload + u32::from(flags & (SYN | FIN) != 0));
        Some(packet)
    }

    fn frame(&self, by_client: bool, flags: u8, (seq, ack): (u32, u32), payload: u32) -> Vec<u8> {
        let net = (self.number / 60_000) as u16;
        let client = ([10, 1, (net >> 8) as u8, net as u8], 1024 + (self.number % 60_000) as u16);
        let server = ([10, 0, 0, 2], 80_u16);
        let (from, to) = if by_client { (client, server) } else { (server, client) };
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
        frame.extend((40 + payload as u16).to_be_bytes());
        frame.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        frame.extend(from.0);
        frame.extend(to.0);
        frame.extend(from.1.to_be_bytes());
        frame.extend(to.1.to_be_bytes());
        frame.extend(seq.to_be_bytes());
        frame.extend(ack.to_be_bytes());
        frame.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        frame.resize((frame.len() + payload as usize).min(SNAPLEN), 0x78);
        frame
    }

    /// On the wire
    fn wire_bytes(kept: &[u8]) -> u32 {
        let ip = kept.get(16..18).and_then(|bytes| bytes.try_into().ok()).map_or(0, u16::from_be_bytes);
        14 + u32::from(ip)
    }
}

/// Writes a capture of `packets` to `path`.
pub(super) fn make(path: &Path, packets: u64) -> Result<()> {
    let mut out = BufWriter::new(File::create(path).with_context(|| path.display().to_string())?);
    for word in HEADER {
        out.write_all(&word.to_le_bytes())?;
    }
    let mut shuffle = Shuffle::new();
    let mut live: Vec<Connection> = (0..LIVE as u64).map(Connection::new).collect();
    let (mut number, mut made) = (LIVE as u64, 0);
    while made < packets {
        let place = shuffle.below(live.len());
        let Some(packet) = live[place].packet() else {
            live[place] = Connection::new(number);
            number += 1;
            continue;
        };
        let at = START_NS + made * STEP_NS;
        let header = [
            (at / 1_000_000_000) as u32,
            (at % 1_000_000_000) as u32,
            packet.len() as u32,
            Connection::wire_bytes(&packet),
        ];
        for word in header {
            out.write_all(&word.to_le_bytes())?;
        }
        out.write_all(&packet)?;
        made += 1;
    }
    out.flush().context("a capture")
}
