//! Packet captures: files of `tcpdump` (pcap) and of Wireshark (pcapng), read and written.
//!
//! [`Reader`] streams: packets are handed out in its buffer, nothing is copied for a packet, and
//! memory does not depend on the file's size. Formats: <https://ietf-opsawg-wg.github.io/draft-ietf-opsawg-pcap/>.
#![forbid(unsafe_code)]

mod buffer;
mod error;
mod pcap;
mod pcapng;
mod reader;
mod writer;

pub use error::CaptureError;
pub use reader::Reader;
pub use writer::Writer;

/// A packet in a capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    /// The bytes that were captured.
    pub data: &'a [u8],
    /// How long it was on the wire.
    pub wire_len: u32,
    /// Nanoseconds since 1970.
    pub time: u64,
    /// What its first header is.
    pub link: LinkType,
}

/// What packets start with (<https://www.tcpdump.org/linktypes.html>).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LinkType(pub u16);

impl LinkType {
    /// Ethernet.
    pub const ETHERNET: LinkType = LinkType(1);
    /// IPv4 or IPv6, without anything before it.
    pub const RAW: LinkType = LinkType(101);
    /// Linux's "any" device: 16 bytes before the network layer.
    pub const LINUX_SLL: LinkType = LinkType(113);
    /// The same, version 2: 20 bytes.
    pub const LINUX_SLL2: LinkType = LinkType(276);

    /// Where the network layer's header starts, where that is the same for all packets.
    pub const fn network_header(self) -> Option<u32> {
        match self {
            LinkType::ETHERNET => Some(14),
            LinkType::RAW | LinkType(12) | LinkType(228) | LinkType(229) => Some(0),
            LinkType::LINUX_SLL => Some(16),
            LinkType::LINUX_SLL2 => Some(20),
            LinkType(0) | LinkType(108) => Some(4),
            _ => None,
        }
    }
}

/// Forms of files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// One link type a file.
    Pcap,
    /// Many interfaces.
    Pcapng,
}

/// What times count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolution {
    /// Microseconds.
    Micro,
    /// Nanoseconds.
    Nano,
}

/// Bytes that a packet may have (`MAXIMUM_SNAPLEN` of D-Bus captures, the largest that libpcap
/// takes).
pub const MAX_PACKET: u32 = 128 << 20;

/// Byte order of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    Little,
    Big,
}

impl Order {
    #[inline]
    pub(crate) fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Order::Little => u16::from_le_bytes(bytes),
            Order::Big => u16::from_be_bytes(bytes),
        }
    }

    #[inline]
    pub(crate) fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Order::Little => u32::from_le_bytes(bytes),
            Order::Big => u32::from_be_bytes(bytes),
        }
    }

    /// The number at an offset of bytes that are there.
    #[inline]
    pub(crate) fn u32_at(self, bytes: &[u8], at: usize) -> u32 {
        bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| self.u32(*chunk))
    }

    /// The number at an offset of bytes that are there.
    #[inline]
    pub(crate) fn u16_at(self, bytes: &[u8], at: usize) -> u16 {
        bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| self.u16(*chunk))
    }
}
