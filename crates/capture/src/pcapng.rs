//! The blocks of pcapng files.

use std::ops::Range;

use crate::{LinkType, Order, Packet};

/// Types of blocks.
pub(crate) mod block {
    pub(crate) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
    pub(crate) const INTERFACE: u32 = 1;
    /// Out of use; its interface has 16 bits.
    pub(crate) const OLD_PACKET: u32 = 2;
    pub(crate) const SIMPLE_PACKET: u32 = 3;
    pub(crate) const ENHANCED_PACKET: u32 = 6;
}

/// Says which byte order a section has.
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

/// Options of an interface.
const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;

/// Where packets were captured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interface {
    pub(crate) link: LinkType,
    pub(crate) snaplen: u32,
    /// Units of time in a second.
    units: u64,
    /// Seconds to add.
    offset: i64,
}

/// What a packet's block says.
pub(crate) struct Record {
    pub(crate) data: Range<usize>,
    pub(crate) wire_len: u32,
    pub(crate) time: u64,
    pub(crate) link: LinkType,
}

/// The byte order of a section, by the four bytes after its header's type and length.
pub(crate) fn section_order(magic: [u8; 4]) -> Option<Order> {
    [Order::Little, Order::Big].into_iter().find(|order| order.u32(magic) == BYTE_ORDER_MAGIC)
}

impl Interface {
    /// Reads an interface's block, without type and lengths.
    pub(crate) fn parse(order: Order, body: &[u8]) -> Option<Interface> {
        let mut interface = Interface {
            link: LinkType(order.u16(*body.first_chunk()?)),
            snaplen: order.u32(*body.get(4..)?.first_chunk()?),
            units: 1_000_000,
            offset: 0,
        };
        let mut options = &body[8..];
        while let Some((head, rest)) = options.split_first_chunk::<4>() {
            let (code, len) = (order.u16_at(head, 0), usize::from(order.u16_at(head, 2)));
            let Some(value) = rest.get(..len).filter(|_| code != 0) else { break };
            match (code, value) {
                (IF_TSRESOL, &[exponent]) => interface.units = units(exponent),
                (IF_TSOFFSET, value) if len == 8 => {
                    let (low, high) = (order.u32_at(value, 0), order.u32_at(value, 4));
                    let (low, high) = match order {
                        Order::Little => (low, high),
                        Order::Big => (high, low),
                    };
                    interface.offset = (u64::from(high) << 32 | u64::from(low)) as i64;
                }
                _ => {}
            }
            options = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        Some(interface)
    }

    /// Whether its times can be told in microseconds.
    pub(crate) fn is_micro(&self) -> bool {
        1_000_000 % self.units == 0
    }

    /// Nanoseconds since 1970.
    #[inline]
    fn time(&self, stamp: u64) -> u64 {
        let nanoseconds = match self.units {
            1_000_000_000 => stamp,
            1_000_000 => stamp.wrapping_mul(1_000),
            units => (u128::from(stamp) * 1_000_000_000 / u128::from(units)) as u64,
        };
        nanoseconds.wrapping_add((self.offset as u64).wrapping_mul(1_000_000_000))
    }
}

/// Units in a second of an `if_tsresol`: a power of ten, or of two with the highest bit set.
fn units(exponent: u8) -> u64 {
    let power = u32::from(exponent & 0x7f);
    let base: u64 = if exponent & 0x80 == 0 { 10 } else { 2 };
    base.checked_pow(power).unwrap_or(u64::MAX)
}

/// Reads a packet's block, without type and lengths. The error is what is wrong.
#[inline]
pub(crate) fn packet(
    ty: u32,
    order: Order,
    body: &[u8],
    interfaces: &[Interface],
) -> Result<Record, &'static str> {
    const TOO_SHORT: &str = "a packet's block is too short";
    let header = if ty == block::SIMPLE_PACKET { 4 } else { 20 };
    if body.len() < header {
        return Err(TOO_SHORT);
    }
    let number = match ty {
        block::ENHANCED_PACKET => order.u32_at(body, 0) as usize,
        block::OLD_PACKET => order.u16_at(body, 0).into(),
        _ => 0,
    };
    let interface = interfaces.get(number).ok_or("a packet of an interface that is not there")?;
    let (captured, wire_len, stamp) = if ty == block::SIMPLE_PACKET {
        let wire_len = order.u32_at(body, 0);
        let most = if interface.snaplen == 0 { u32::MAX } else { interface.snaplen };
        (wire_len.min(most), wire_len, 0)
    } else {
        let word = |at| order.u32_at(body, at);
        (word(12), word(16), u64::from(word(4)) << 32 | u64::from(word(8)))
    };
    let end = header.checked_add(captured as usize).filter(|end| *end <= body.len());
    let data = header..end.ok_or(TOO_SHORT)?;
    // A simple packet has no time.
    let time = if ty == block::SIMPLE_PACKET { 0 } else { interface.time(stamp) };
    Ok(Record { data, wire_len, time, link: interface.link })
}

fn push(bytes: &mut Vec<u8>, words: &[u32]) {
    words.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
}

/// The header of a section of unknown length.
pub(crate) fn write_section(to: &mut Vec<u8>) {
    let version = 1;
    let words = [28, BYTE_ORDER_MAGIC, version, u32::MAX, u32::MAX, 28];
    push(to, &[block::SECTION_HEADER]);
    push(to, &words);
}

/// An interface whose times count nanoseconds.
pub(crate) fn write_interface(to: &mut Vec<u8>, link: LinkType, snaplen: u32) {
    let resolution = u32::from(IF_TSRESOL) | 1 << 16;
    push(to, &[block::INTERFACE, 32, link.0.into(), snaplen, resolution, 9, 0, 32]);
}

/// A packet of such an interface.
pub(crate) fn write_packet(to: &mut Vec<u8>, interface: u32, packet: &Packet<'_>) {
    let captured = packet.data.len();
    let padded = captured.next_multiple_of(4);
    let total = (32 + padded) as u32;
    let (high, low) = ((packet.time >> 32) as u32, packet.time as u32);
    push(to, &[block::ENHANCED_PACKET, total, interface, high, low]);
    push(to, &[captured as u32, packet.wire_len]);
    to.extend_from_slice(packet.data);
    to.resize(to.len() + padded - captured, 0);
    push(to, &[total]);
}
