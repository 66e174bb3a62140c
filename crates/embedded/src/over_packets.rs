//! Runs of one program over many packets, one after the other.
#![allow(unsafe_code, reason = "lends packets for one run; each block says why it is sound")]

use std::borrow::Cow;

use bombus_kernel::{Error, ProgFd, Result};
use bombus_platform::{ProgType, takes_packets};

use crate::Embedded;
use crate::kernel::index;
use crate::maps::Errno;
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
    /// Taken out while it has something that is not ours.
    packet: Option<Packet>,
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
        Ok(PacketRunner { kernel: self, program, prog_type, packet: Some(packet) })
    }
}

/// Packets that a program is run over, one after the other.
pub trait Traffic {
    /// Why it ends before its end.
    type Failure: From<Error>;

    /// The next packet, which starts with its link layer's header; `None` at the end.
    fn next(&mut self) -> std::result::Result<Option<&[u8]>, Self::Failure>;

    /// What became of it: the program's value (`None`: it was stopped), and the packet, with its link
    /// layer's header, if the program changed it.
    fn done(
        &mut self,
        value: Option<u32>,
        changed: Option<&[u8]>,
    ) -> std::result::Result<(), Self::Failure>;
}

/// Packets that a program is run over before somebody else has a turn.
const ROUND: u32 = 1024;

impl PacketRunner<'_> {
    /// Runs the program over some packets; whether there may be more. It comes back now and then, and
    /// when a program has printed something, which is to be taken.
    pub fn run_over<T: Traffic>(
        &mut self,
        traffic: &mut T,
    ) -> std::result::Result<bool, T::Failure> {
        let (mut traps, mut task) = (Vec::new(), ThisTask);
        let mut packet = self.take_packet()?;
        let core = &mut *self.kernel.core.borrow_mut();
        core.run_deferred();
        let runs = core.runs(self.program, &mut packet, &mut task);
        let outcome = runs.map_or(Ok(false), |mut runs| {
            for _ in 0..ROUND {
                let Some(bytes) = traffic.next()? else { return Ok(false) };
                let Some(packet) = runs.packet() else { return Ok(false) };
                // SAFETY: they are borrowed from the traffic, which is not used before they are given
                // back; if it does not come to that, nobody uses the packet any more.
                let received = unsafe { packet.borrow(self.prog_type, bytes, IFINDEX) };
                received.map_err(error)?;
                let result = runs.next();
                let Some(packet) = runs.packet() else { return Ok(false) };
                let is_same = packet.take_back();
                let value = result.map_err(|trap| traps.push(trap)).ok();
                let changed = (!is_same).then(|| whole(packet, self.prog_type));
                traffic.done(value.map(|value| value as u32), changed.as_deref())?;
                if runs.has_printed() {
                    break;
                }
            }
            Ok(true)
        });
        for trap in traps {
            core.outcome(Err(trap));
        }
        self.packet = Some(packet);
        outcome
    }

    fn take_packet(&mut self) -> Result<Packet> {
        self.packet.take().map_or_else(Packet::new, Ok).map_err(error)
    }

    /// Runs the program over a packet that starts with its link layer's header. Gives the program's
    /// value; `None` when it was stopped, which is counted.
    pub fn run(&mut self, bytes: &[u8]) -> Result<Option<u32>> {
        let mut packet = self.take_packet()?;
        let received = match self.prog_type {
            ProgType::Xdp => packet.receive_xdp(bytes, 0, IFINDEX, 0),
            prog_type => packet.receive_skb(prog_type, bytes, &[]),
        };
        let core = &mut *self.kernel.core.borrow_mut();
        let value = received.map(|()| core.run_packet(self.program, &mut packet, &mut ThisTask));
        self.packet = Some(packet);
        Ok(value.map_err(error)?.map(|value| value as u32))
    }

    /// The packet as the last [`PacketRunner::run`] left it, with its link layer's header.
    pub fn packet(&self) -> Cow<'_, [u8]> {
        self.packet.as_ref().map_or(Cow::default(), |packet| whole(packet, self.prog_type))
    }
}

fn error(errno: Errno) -> Error {
    Error::os("take in a packet", errno)
}

/// A packet as it is on a wire.
#[inline]
fn whole(packet: &Packet, prog_type: ProgType) -> Cow<'_, [u8]> {
    match prog_type {
        ProgType::Xdp => packet.data().into(),
        _ => packet.frame(),
    }
}
