//! The format of libpcap: one header, then packets, each with a header of its own.

use std::io;

use super::bytes::Order;
use super::file::{MAX_BLOCK, Next, Packet, nanoseconds};
use super::input::{Filled, Input};

const FILE_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;

/// See the module.
pub(super) struct Classic {
    order: Order,
    nanoseconds: bool,
    /// LINKTYPE_…, once the header was read
    link: Option<u16>,
}

impl Classic {
    pub(super) fn new(order: Order, nanoseconds: bool) -> Self {
        Self { order, nanoseconds, link: None }
    }

    pub(super) fn next(&mut self, input: &mut Input) -> io::Result<Next> {
        if self.link.is_none() {
            match input.fill(FILE_HEADER)? {
                Filled::Enough => {}
                Filled::Pending => return Ok(Next::Pending),
                Filled::Short => return Ok(Next::Damaged("its header is cut off")),
            }
            // The upper half says how long the frame check sequence is.
            self.link = self.order.u32(input.front(), 20).map(|network| network as u16);
            input.consume(FILE_HEADER);
        }
        match input.fill(PACKET_HEADER)? {
            Filled::Enough => {}
            Filled::Pending => return Ok(Next::Pending),
            Filled::Short if input.front().is_empty() => return Ok(Next::End),
            Filled::Short => return Ok(Next::Damaged("its last packet is cut off")),
        }
        let Some(packet) = self.packet(input.front()) else {
            return Ok(Next::Damaged("a packet's length is impossible"));
        };
        Ok(match input.fill(packet.whole)? {
            Filled::Enough => Next::Packet(packet),
            Filled::Pending => Next::Pending,
            Filled::Short => Next::Damaged("its last packet is cut off"),
        })
    }

    fn packet(&self, header: &[u8]) -> Option<Packet> {
        let field = |at| self.order.u32(header, at);
        let (seconds, fraction) = (u64::from(field(0)?), u64::from(field(4)?));
        let length = usize::try_from(field(8)?).ok().filter(|length| *length <= MAX_BLOCK)?;
        let per_second = if self.nanoseconds { 1_000_000_000 } else { 1_000_000 };
        Some(Packet {
            at: nanoseconds(seconds * per_second + fraction, per_second, 0),
            link: self.link?,
            data: PACKET_HEADER..PACKET_HEADER + length,
            wire_bytes: field(12)?,
            whole: PACKET_HEADER + length,
        })
    }
}
