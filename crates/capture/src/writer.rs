//! Writing.

use std::io::{BufWriter, Write};

use crate::{CaptureError, Format, LinkType, Packet, Resolution, pcap, pcapng};

/// Bytes written at a time.
const CHUNK: usize = 1 << 18;

/// A capture that is being written.
#[derive(Debug)]
pub struct Writer<W: Write> {
    to: BufWriter<W>,
    form: Form,
    /// Bytes that a packet may have; packets are not cut, it is what the file says.
    snaplen: u32,
}

#[derive(Debug)]
enum Form {
    Pcap { link: LinkType, resolution: Resolution },
    Pcapng { links: Vec<LinkType>, block: Vec<u8> },
}

impl<W: Write> Writer<W> {
    /// Starts a file. `link` is that of all packets of a pcap file; pcapng files tell times in
    /// nanoseconds and have packets of any link type.
    pub fn new(
        to: W,
        format: Format,
        link: LinkType,
        snaplen: u32,
        resolution: Resolution,
    ) -> Result<Writer<W>, CaptureError> {
        let mut to = BufWriter::with_capacity(CHUNK, to);
        let form = match format {
            Format::Pcap => {
                to.write_all(&pcap::file_header(link, snaplen, resolution))?;
                Form::Pcap { link, resolution }
            }
            Format::Pcapng => {
                let (links, mut block) = (vec![link], Vec::new());
                pcapng::write_section(&mut block);
                pcapng::write_interface(&mut block, link, snaplen);
                to.write_all(&block)?;
                Form::Pcapng { links, block }
            }
        };
        Ok(Writer { to, form, snaplen })
    }

    /// Adds a packet.
    pub fn write(&mut self, packet: &Packet<'_>) -> Result<(), CaptureError> {
        match &mut self.form {
            Form::Pcap { link, .. } if packet.link != *link => {
                let reason = format!(
                    "a pcap file has packets of one link type: this has {}, a packet has {}; \
                     pcapng files (NAME.pcapng) may have several",
                    link.0, packet.link.0
                );
                return Err(CaptureError::Unwritable(reason));
            }
            Form::Pcap { resolution, .. } => {
                self.to.write_all(&pcap::record_header(packet, *resolution))?;
                self.to.write_all(packet.data)?;
            }
            Form::Pcapng { links, block } => {
                block.clear();
                let known = links.iter().position(|link| *link == packet.link);
                let interface = known.unwrap_or_else(|| {
                    pcapng::write_interface(block, packet.link, self.snaplen);
                    links.push(packet.link);
                    links.len() - 1
                });
                pcapng::write_packet(block, interface as u32, packet);
                self.to.write_all(block)?;
            }
        }
        Ok(())
    }

    /// Writes what is still in memory.
    pub fn finish(mut self) -> Result<(), CaptureError> {
        self.to.flush().map_err(CaptureError::from)
    }
}
