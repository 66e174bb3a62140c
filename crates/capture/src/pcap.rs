//! The records of pcap files.

use crate::{LinkType, MAX_PACKET, Order, Packet, Resolution};

/// Bytes of the file's header.
pub(crate) const FILE_HEADER: usize = 24;

/// Magic numbers: times in microseconds; in nanoseconds; records with eight more bytes in their
/// headers, by a patch of old.
pub(crate) const MICRO: u32 = 0xa1b2_c3d4;
pub(crate) const NANO: u32 = 0xa1b2_3c4d;
const PATCHED: u32 = 0xa1b2_cd34;

/// What the file's header says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pcap {
    pub(crate) order: Order,
    pub(crate) resolution: Resolution,
    pub(crate) link: LinkType,
    pub(crate) snaplen: u32,
    /// Bytes of a record's header.
    pub(crate) record_header: usize,
}

/// What a record's header says.
pub(crate) struct Record {
    /// Bytes of the whole record.
    pub(crate) len: usize,
    pub(crate) wire_len: u32,
    pub(crate) time: u64,
}

impl Pcap {
    /// Reads the file's header, [`FILE_HEADER`] bytes; `None` when it is none.
    pub(crate) fn parse(header: &[u8]) -> Option<Pcap> {
        let known = |order: Order| {
            let magic = order.u32_at(header, 0);
            [MICRO, NANO, PATCHED].contains(&magic).then_some((order, magic))
        };
        let (order, magic) = known(Order::Little).or_else(|| known(Order::Big))?;
        // The upper bits say how long frame check sequences are.
        let link = LinkType(order.u32_at(header, 20) as u16);
        Some(Pcap {
            order,
            resolution: if magic == NANO { Resolution::Nano } else { Resolution::Micro },
            link,
            snaplen: order.u32_at(header, 16),
            record_header: if magic == PATCHED { 24 } else { 16 },
        })
    }

    /// How many bytes a record's header says were captured.
    pub(crate) fn captured(&self, header: &[u8]) -> u32 {
        self.order.u32_at(header, 8)
    }

    /// The record at the start of these bytes, if all of it is there.
    #[inline(always)]
    pub(crate) fn record(&self, bytes: &[u8]) -> Option<Record> {
        let (words, _) = bytes.first_chunk::<16>()?.as_chunks::<4>();
        let mut words = [0, 1, 2, 3].map(|at| u32::from_le_bytes(words[at]));
        if self.order == Order::Big {
            words = swapped(words);
        }
        let [seconds, fraction, captured, wire_len] = words;
        let len = self.record_header + captured as usize;
        if len > bytes.len() || captured > MAX_PACKET {
            return None;
        }
        let unit = match self.resolution {
            Resolution::Micro => 1_000,
            Resolution::Nano => 1,
        };
        let time = u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * unit;
        Some(Record { len, wire_len, time })
    }
}

/// (Few files are of the other order: a branch, where for each word there would be both.)
#[cold]
fn swapped(words: [u32; 4]) -> [u32; 4] {
    words.map(u32::swap_bytes)
}

/// A file's header.
pub(crate) fn file_header(
    link: LinkType,
    snaplen: u32,
    resolution: Resolution,
) -> [u8; FILE_HEADER] {
    let magic = match resolution {
        Resolution::Micro => MICRO,
        Resolution::Nano => NANO,
    };
    let mut bytes = [0; FILE_HEADER];
    let words = [magic, 2 | 4 << 16, 0, 0, snaplen, link.0.into()];
    for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// A record's header.
pub(crate) fn record_header(packet: &Packet<'_>, resolution: Resolution) -> [u8; 16] {
    let nanoseconds = (packet.time % 1_000_000_000) as u32;
    let fraction = match resolution {
        Resolution::Micro => nanoseconds / 1_000,
        Resolution::Nano => nanoseconds,
    };
    let seconds = (packet.time / 1_000_000_000) as u32;
    let mut bytes = [0; 16];
    let words = [seconds, fraction, packet.data.len() as u32, packet.wire_len];
    for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}
