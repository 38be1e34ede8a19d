//! pcapng: sections of blocks, with several interfaces, each with its own link type and resolution of time.

use std::io;

use super::bytes::Order;
use super::file::{MAX_BLOCK, Next, Packet, nanoseconds};
use super::input::{Filled, Input};

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
/// Obsolete, but old files hold them
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

/// Block type and length ahead, length again behind.
const FRAME: usize = 12;
const BODY: usize = 8;
/// Interfaces of one section that are kept.
const INTERFACES: usize = 1 << 14;

const OPTION_TSRESOL: u16 = 9;
const OPTION_TSOFFSET: u16 = 14;
const OPTION_IFDROP: u16 = 5;

#[derive(Clone, Copy, Debug)]
struct Interface {
    link: u16,
    snaplen: u32,
    units_a_second: u64,
    shift_seconds: i64,
    dropped: u64,
}

/// See the module.
#[derive(Default)]
pub(super) struct Ng {
    order: Option<Order>,
    interfaces: Vec<Interface>,
}

impl Ng {
    pub(super) fn next(&mut self, input: &mut Input) -> io::Result<Next> {
        match input.fill(FRAME)? {
            Filled::Enough => {}
            Filled::Pending => return Ok(Next::Pending),
            Filled::Short if input.front().is_empty() => return Ok(Next::End),
            Filled::Short => return Ok(Next::Damaged("its last block is cut off")),
        }
        let (order, kind, whole) = match self.header(input.front()) {
            Ok(header) => header,
            Err(damage) => return Ok(Next::Damaged(damage)),
        };
        match input.fill(whole)? {
            Filled::Enough => {}
            Filled::Pending => return Ok(Next::Pending),
            Filled::Short => return Ok(Next::Damaged("its last block is cut off")),
        }
        let block = input.front().get(..whole).unwrap_or_default();
        let next = self.block(order, kind, block);
        Ok(match next {
            Some(Next::Packet(packet)) => Next::Packet(packet),
            other => {
                input.consume(whole);
                other.unwrap_or(Next::Dropped(0))
            }
        })
    }

    /// The block's byte order, type and length with its padding.
    fn header(&mut self, block: &[u8]) -> Result<(Order, u32, usize), &'static str> {
        // A section's type reads the same in both byte orders; what follows it tells which one holds.
        if Order::Big.u32(block, 0) == Some(SECTION) {
            self.order = match Order::Big.u32(block, BODY) {
                Some(0x1a2b_3c4d) => Some(Order::Big),
                Some(0x4d3c_2b1a) => Some(Order::Little),
                _ => return Err("a section's byte order is none"),
            };
            self.interfaces.clear();
        }
        let order = self.order.ok_or("it begins without a section")?;
        let (Some(kind), Some(length)) = (order.u32(block, 0), order.u32(block, 4)) else {
            return Err("a block's length is impossible");
        };
        let whole = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(3) & !3;
        if !(FRAME..=MAX_BLOCK + 64).contains(&whole) {
            return Err("a block's length is impossible");
        }
        Ok((order, kind, whole))
    }

    /// `None` for a block that says nothing of packets, or nothing that can be used.
    fn block(&mut self, order: Order, kind: u32, block: &[u8]) -> Option<Next> {
        match kind {
            INTERFACE => {
                let interface = interface(order, block)?;
                if self.interfaces.len() < INTERFACES {
                    self.interfaces.push(interface);
                }
                None
            }
            ENHANCED_PACKET => {
                let id = order.u32(block, BODY)?;
                self.packet(order, block, id)
            }
            PACKET => {
                let id = u32::from(order.u16(block, BODY)?);
                self.packet(order, block, id)
            }
            SIMPLE_PACKET => self.simple_packet(order, block),
            STATISTICS => self.statistics(order, block),
            _ => None,
        }
    }

    /// Enhanced and obsolete packet blocks differ only in where the interface's number is.
    fn packet(&self, order: Order, block: &[u8], id: u32) -> Option<Next> {
        let interface = self.interfaces.get(usize::try_from(id).ok()?)?;
        let field = |at: usize| order.u32(block, BODY + at);
        let units = u64::from(field(4)?) << 32 | u64::from(field(8)?);
        let length = usize::try_from(field(12)?).ok()?;
        let from = BODY + 20;
        block.get(from..from.checked_add(length)?)?;
        Some(Next::Packet(Packet {
            at: nanoseconds(units, interface.units_a_second, interface.shift_seconds),
            link: interface.link,
            data: from..from + length,
            wire_bytes: field(16)?,
            whole: block.len(),
        }))
    }

    fn simple_packet(&self, order: Order, block: &[u8]) -> Option<Next> {
        let interface = self.interfaces.first()?;
        let wire_bytes = order.u32(block, BODY)?;
        let snaplen = if interface.snaplen == 0 { u32::MAX } else { interface.snaplen };
        let room = block.len().checked_sub(FRAME + 4)?;
        let length = usize::try_from(wire_bytes.min(snaplen)).ok()?.min(room);
        let from = BODY + 4;
        let data = from..from + length;
        Some(Next::Packet(Packet { at: None, link: interface.link, data, wire_bytes, whole: block.len() }))
    }

    /// The count is a total; only what is new in it is handed on.
    fn statistics(&mut self, order: Order, block: &[u8]) -> Option<Next> {
        let id = usize::try_from(order.u32(block, BODY)?).ok()?;
        let dropped = option(order, block, BODY + 12, OPTION_IFDROP).and_then(|value| order.u64(value, 0))?;
        let interface = self.interfaces.get_mut(id)?;
        let new = dropped.saturating_sub(interface.dropped);
        interface.dropped = interface.dropped.max(dropped);
        Some(Next::Dropped(new))
    }
}

fn interface(order: Order, block: &[u8]) -> Option<Interface> {
    let options = BODY + 8;
    let resolution = option(order, block, options, OPTION_TSRESOL).and_then(|value| value.first().copied());
    let offset = option(order, block, options, OPTION_TSOFFSET).and_then(|value| order.u64(value, 0));
    Some(Interface {
        link: order.u16(block, BODY)?,
        snaplen: order.u32(block, BODY + 4)?,
        units_a_second: units_a_second(resolution.unwrap_or(6)),
        shift_seconds: offset.map_or(0, |offset| offset as i64),
        dropped: 0,
    })
}

/// A negative power of 10, or with the highest bit set of 2.
fn units_a_second(resolution: u8) -> u64 {
    let (base, power) = if resolution & 0x80 == 0 { (10u64, resolution) } else { (2, resolution & 0x7f) };
    base.checked_pow(power.into()).unwrap_or(u64::MAX)
}

/// The value of the first option with this code, in the options that begin at `from`.
fn option(order: Order, block: &[u8], from: usize, wanted: u16) -> Option<&[u8]> {
    let end = block.len().checked_sub(4)?;
    let mut at = from;
    while at < end {
        let (code, length) = (order.u16(block, at)?, usize::from(order.u16(block, at + 2)?));
        let value = block.get(at + 4..at + 4 + length).filter(|_| at + 4 + length <= end)?;
        if code == wanted {
            return Some(value);
        }
        if code == 0 {
            return None;
        }
        at += 4 + length.next_multiple_of(4);
    }
    None
}
