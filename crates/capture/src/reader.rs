//! Reading: which form it is, and packet after packet.

use std::io::Read;

use crate::buffer::Buffer;
use crate::pcap::{self, Pcap};
use crate::pcapng::{self, Interface, block};
use crate::{CaptureError, Format, LinkType, MAX_PACKET, Order, Packet, Resolution};

/// A capture that is being read.
#[derive(Debug)]
pub struct Reader<R> {
    from: Buffer<R>,
    form: Form,
    failed: bool,
}

#[derive(Debug)]
enum Form {
    Pcap(Pcap),
    Pcapng { order: Order, interfaces: Vec<Interface> },
}

impl<R: Read> Reader<R> {
    /// Reads the start of a capture.
    pub fn new(from: R) -> Result<Reader<R>, CaptureError> {
        let mut from = Buffer::new(from);
        let len = from.fill(pcap::FILE_HEADER)?;
        let start = &from.bytes()[..len];
        let unknown = |looks_like| Err(CaptureError::Unknown { looks_like });
        let form = if start.starts_with(&block::SECTION_HEADER.to_le_bytes()) {
            Form::Pcapng { order: Order::Little, interfaces: Vec::new() }
        } else if len < pcap::FILE_HEADER {
            return unknown((len == 0).then_some("an empty one"));
        } else if let Some(pcap) = Pcap::parse(start) {
            from.take(pcap::FILE_HEADER);
            Form::Pcap(pcap)
        } else {
            return unknown(match start {
                [0x1f, 0x8b, ..] => Some("gzip's: unpack it first"),
                [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd's: unpack it first"),
                _ => None,
            });
        };
        let mut reader = Reader { from, form, failed: false };
        reader.read_interfaces()?;
        Ok(reader)
    }

    /// The form.
    pub fn format(&self) -> Format {
        match self.form {
            Form::Pcap(_) => Format::Pcap,
            Form::Pcapng { .. } => Format::Pcapng,
        }
    }

    /// What times count; of a file with several interfaces, the finest so far.
    pub fn resolution(&self) -> Resolution {
        match &self.form {
            Form::Pcap(pcap) => pcap.resolution,
            Form::Pcapng { interfaces, .. } if interfaces.iter().all(Interface::is_micro) => {
                Resolution::Micro
            }
            Form::Pcapng { .. } => Resolution::Nano,
        }
    }

    /// The link type that all packets so far have; `None`: there are several, or nobody knows yet.
    pub fn link(&self) -> Option<LinkType> {
        match &self.form {
            Form::Pcap(pcap) => Some(pcap.link),
            Form::Pcapng { interfaces, .. } => {
                let first = interfaces.first()?.link;
                interfaces.iter().all(|interface| interface.link == first).then_some(first)
            }
        }
    }

    /// How many bytes of each packet were captured at most.
    pub fn snaplen(&self) -> u32 {
        match &self.form {
            Form::Pcap(pcap) => pcap.snaplen,
            Form::Pcapng { interfaces, .. } => {
                interfaces.iter().map(|interface| interface.snaplen).max().unwrap_or(0)
            }
        }
    }

    /// Bytes of the file that were read.
    pub fn offset(&self) -> u64 {
        self.from.offset()
    }

    /// The next packet; `None` at the end. After an error there are no more.
    #[inline(always)]
    #[expect(clippy::should_implement_trait, reason = "packets are lent, which iterators cannot")]
    pub fn next(&mut self) -> Result<Option<Packet<'_>>, CaptureError> {
        if self.failed {
            return Ok(None);
        }
        match &self.form {
            Form::Pcap(pcap) => {
                let found = next_of_pcap(&mut self.from, pcap);
                if !matches!(found, Ok(Some(_))) {
                    self.failed = true;
                }
                found
            }
            Form::Pcapng { .. } => {
                // Set back when all went well.
                self.failed = true;
                self.next_of_pcapng()
            }
        }
    }

    /// Reads the blocks before the first packet, so that its link type is known.
    fn read_interfaces(&mut self) -> Result<(), CaptureError> {
        if let Form::Pcapng { .. } = self.form {
            while let Some((ty, len)) = self.block()? {
                if is_packet(ty) {
                    break;
                }
                self.note(ty, len)?;
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn next_of_pcapng(&mut self) -> Result<Option<Packet<'_>>, CaptureError> {
        let (ty, len) = loop {
            match self.block()? {
                None => return Ok(None),
                Some((ty, len)) if is_packet(ty) => break (ty, len),
                Some((ty, len)) => self.note(ty, len)?,
            }
        };
        let offset = self.from.offset();
        let Form::Pcapng { order, interfaces } = &self.form else { return Ok(None) };
        let body = self.from.take(len).get(8..len - 4).unwrap_or_default();
        let invalid = |reason: &str| CaptureError::Invalid { offset, reason: reason.to_owned() };
        let record = pcapng::packet(ty, *order, body, interfaces).map_err(invalid)?;
        self.failed = false;
        let pcapng::Record { data, wire_len, time, link } = record;
        Ok(Some(Packet { data: &body[data], wire_len, time, link }))
    }

    /// Makes the next block visible; its type and length.
    fn block(&mut self) -> Result<Option<(u32, usize)>, CaptureError> {
        let offset = self.from.offset();
        let invalid = |reason: String| Err(CaptureError::Invalid { offset, reason });
        let Form::Pcapng { order, .. } = &mut self.form else { return Ok(None) };
        let have = self.from.fill(12)?;
        if have == 0 {
            return Ok(None);
        }
        if have < 12 {
            return Err(CaptureError::Truncated { offset });
        }
        let head = self.from.bytes();
        // This type reads the same in both orders.
        if order.u32_at(head, 0) == block::SECTION_HEADER {
            let magic = [head[8], head[9], head[10], head[11]];
            match pcapng::section_order(magic) {
                Some(found) => *order = found,
                None => return invalid("a section that does not say its byte order".to_owned()),
            }
        }
        let (ty, len) = (order.u32_at(head, 0), order.u32_at(head, 4));
        if len < 12 || len % 4 != 0 || len > MAX_PACKET + 4096 {
            return invalid(format!("a block of {len} bytes"));
        }
        let len = len as usize;
        if self.from.fill(len)? < len {
            return Err(CaptureError::Truncated { offset });
        }
        Ok(Some((ty, len)))
    }

    /// Takes in the visible block, which has no packet.
    fn note(&mut self, ty: u32, len: usize) -> Result<(), CaptureError> {
        let offset = self.from.offset();
        let Form::Pcapng { order, interfaces } = &mut self.form else { return Ok(()) };
        let body = self.from.take(len).get(8..len - 4).unwrap_or_default();
        match ty {
            block::SECTION_HEADER => interfaces.clear(),
            block::INTERFACE => {
                let reason = || "an interface's block is too short".to_owned();
                let interface = Interface::parse(*order, body)
                    .ok_or_else(|| CaptureError::Invalid { offset, reason: reason() })?;
                interfaces.push(interface);
            }
            _ => {}
        }
        Ok(())
    }
}

fn is_packet(ty: u32) -> bool {
    matches!(ty, block::ENHANCED_PACKET | block::SIMPLE_PACKET | block::OLD_PACKET)
}

#[inline(always)]
fn next_of_pcap<'a, R: Read>(
    from: &'a mut Buffer<R>,
    pcap: &Pcap,
) -> Result<Option<Packet<'a>>, CaptureError> {
    let record = match pcap.record(from.bytes()) {
        Some(record) => record,
        None => match see_record(from, pcap)? {
            Some(record) => record,
            None => return Ok(None),
        },
    };
    let pcap::Record { len, wire_len, time } = record;
    let data = &from.take(len)[pcap.record_header..];
    Ok(Some(Packet { data, wire_len, time, link: pcap.link }))
}

/// Makes a whole record visible; `None`: there are no more.
#[cold]
fn see_record<R: Read>(
    from: &mut Buffer<R>,
    pcap: &Pcap,
) -> Result<Option<pcap::Record>, CaptureError> {
    let offset = from.offset();
    let have = from.fill(pcap.record_header)?;
    if have == 0 {
        return Ok(None);
    }
    let truncated = CaptureError::Truncated { offset };
    if have < pcap.record_header {
        return Err(truncated);
    }
    let captured = pcap.captured(from.bytes());
    if captured > MAX_PACKET {
        let reason = format!("a packet of {captured} bytes");
        return Err(CaptureError::Invalid { offset, reason });
    }
    from.fill(pcap.record_header + captured as usize)?;
    pcap.record(from.bytes()).map(Some).ok_or(truncated)
}
