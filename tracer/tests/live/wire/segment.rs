//! One TCP segment, decoded from the headers of an IP packet. Payload is counted, not kept.

use std::net::{IpAddr, SocketAddr};

use etherparse::{IpNumber, Ipv4HeaderSlice, Ipv6HeaderSlice, TcpHeaderSlice};

/// The flags that open and close connections (RFC 9293, 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) fin: bool,
    pub(crate) syn: bool,
    pub(crate) rst: bool,
    pub(crate) ack: bool,
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) flags: Flags,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) payload_bytes: u32,
}

impl Segment {
    /// What `packet` carries, if that is TCP; its end may be cut off behind the headers.
    pub(crate) fn parse(packet: &[u8]) -> Option<Self> {
        let (source, destination, header_bytes, total_bytes) = match packet.first()? >> 4 {
            4 => {
                let ip = Ipv4HeaderSlice::from_slice(packet).ok()?;
                let addresses: (IpAddr, IpAddr) = (ip.source_addr().into(), ip.destination_addr().into());
                let tcp = ip.protocol() == IpNumber::TCP;
                let header_bytes = ip.slice().len();
                tcp.then_some((addresses.0, addresses.1, header_bytes, usize::from(ip.total_len())))?
            }
            6 => {
                let ip = Ipv6HeaderSlice::from_slice(packet).ok()?;
                let addresses: (IpAddr, IpAddr) = (ip.source_addr().into(), ip.destination_addr().into());
                let tcp = ip.next_header() == IpNumber::TCP;
                let header_bytes = ip.slice().len();
                let total_bytes = header_bytes + usize::from(ip.payload_length());
                tcp.then_some((addresses.0, addresses.1, header_bytes, total_bytes))?
            }
            _ => return None,
        };
        let tcp = TcpHeaderSlice::from_slice(packet.get(header_bytes..)?).ok()?;
        let payload_bytes = total_bytes.checked_sub(header_bytes + tcp.slice().len())?;
        Some(Self {
            from: SocketAddr::new(source, tcp.source_port()),
            to: SocketAddr::new(destination, tcp.destination_port()),
            flags: Flags { fin: tcp.fin(), syn: tcp.syn(), rst: tcp.rst(), ack: tcp.ack() },
            seq: tcp.sequence_number(),
            ack: tcp.acknowledgment_number(),
            payload_bytes: u32::try_from(payload_bytes).ok()?,
        })
    }

    /// The sequence number behind all that it carries.
    pub(crate) fn end_seq(&self) -> u32 {
        let control = u32::from(self.flags.syn) + u32::from(self.flags.fin);
        self.seq.wrapping_add(self.payload_bytes).wrapping_add(control)
    }

    /// Whether it acknowledges everything before `seq`.
    pub(crate) fn covers(&self, seq: u32) -> bool {
        self.flags.ack && self.ack.wrapping_sub(seq) < 1 << 31
    }
}

#[test]
fn a_segment_is_read_from_its_headers_alone() {
    let mut packet = Vec::new();
    etherparse::PacketBuilder::ipv4([10, 77, 0, 1], [10, 77, 0, 2], 64)
        .tcp(40_000, 80, 0xffff_fffe, 1000)
        .ack(7)
        .fin()
        .write(&mut packet, b"four")
        .expect("packet");
    packet.truncate(40);
    let segment = Segment::parse(&packet).expect("a segment");
    assert_eq!((segment.from, segment.to.port()), ("10.77.0.1:40000".parse().expect("address"), 80));
    assert_eq!(segment.flags, Flags { fin: true, ack: true, ..Flags::default() });
    assert_eq!((segment.payload_bytes, segment.end_seq()), (4, 3));
    assert!(segment.covers(7) && segment.covers(3) && !segment.covers(8));
    packet[9] = 17;
    assert_eq!(Segment::parse(&packet), None, "UDP");
    assert_eq!(Segment::parse(&packet[..30]), None, "cut off inside a header");
}
