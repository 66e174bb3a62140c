//! Runs of one program over many packets, one after the other, in the same memory.

use bombus_kernel::{Error, ProgFd, Result};
use bombus_platform::{ProgType, takes_packets};

use crate::Embedded;
use crate::kernel::index;
use crate::packet::Packet;
use crate::this_task::ThisTask;

/// Where packets come from: the loopback device, as in test runs.
const IFINDEX: u32 = 1;

/// A program that is given packet after packet.
#[derive(Debug)]
pub struct PacketRunner<'a> {
    kernel: &'a Embedded,
    program: usize,
    prog_type: ProgType,
    packet: Packet,
}

impl Embedded {
    /// Prepares runs of a program over packets (XDP, traffic control, socket filter, cgroup). Fails
    /// with `ENOTSUPP` for other types.
    pub fn packet_runner(&self, program: ProgFd) -> Result<PacketRunner<'_>> {
        let core = self.core.borrow();
        let error = |errno| Error::os("run a program over packets", errno);
        let found = index(program.0).and_then(|index| Some((index, core.programs.get(index)?)));
        let (program, loaded) = found.ok_or_else(|| error(libc::EBADF))?;
        let prog_type = loaded.prog_type;
        if !takes_packets(prog_type) {
            return Err(error(crate::maps::ENOTSUPP));
        }
        let packet = Packet::new().map_err(error)?;
        Ok(PacketRunner { kernel: self, program, prog_type, packet })
    }
}

impl PacketRunner<'_> {
    /// Runs the program over a packet that starts with its link layer's header. Gives the program's
    /// value; `None` when it was stopped, which is counted.
    pub fn run(&mut self, bytes: &[u8]) -> Result<Option<u32>> {
        let error = |errno| Error::os("take in a packet", errno);
        let received = match self.prog_type {
            ProgType::Xdp => self.packet.receive_xdp(bytes, 0, IFINDEX, 0),
            prog_type => self.packet.receive_skb(prog_type, bytes, &[]),
        };
        received.map_err(error)?;
        let core = &mut *self.kernel.core.borrow_mut();
        let value = core.run_packet(self.program, &mut self.packet, &mut ThisTask);
        Ok(value.map(|value| value as u32))
    }

    /// The packet as the last run left it, with its link layer's header.
    pub fn packet(&self) -> &[u8] {
        match self.prog_type {
            ProgType::Xdp => self.packet.data(),
            _ => self.packet.with_link_layer(),
        }
    }
}
