//! The way of a frame: past the programs of a device, and on to where they send it.

use bombus_kernel::{Error, Result};
use bombus_platform::ProgType;

use super::port::Way;
use super::verdict::{self, Fate};
use super::{Entry, Network, Side};
use crate::core::Core;
use crate::maps::Errno;
use crate::packet::{Direction, Packet, Redirect};
use crate::this_task::ThisTask;

/// Frames that are taken from one port before the next has its turn.
const ROUND: usize = 64;

/// The largest frame that a device gives, with a margin.
const LARGEST: usize = 1 << 16;

/// Devices that a frame may be sent on to (`XMIT_RECURSION_LIMIT`, `include/linux/netdevice.h`).
const MOST_HOPS: u8 = 8;

/// A frame on its way.
#[derive(Debug)]
pub(super) struct Travel {
    /// Number of the device in [`Network::devices`].
    device: usize,
    step: Step,
    hops: u8,
    frame: Vec<u8>,
}

/// Where a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// It came in from the wire.
    Receive,
    /// It is to go out by the device.
    Transmit,
    /// It is to go out by the device without passing traffic control.
    Emit,
}

/// An end of a wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Outside,
    Stack,
}

impl Network {
    /// Carries the frames that have come; whether there were any.
    pub(crate) fn carry(&mut self, core: &mut Core) -> Result<bool> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(LARGEST, 0);
        let mut came = false;
        for device in 0..self.devices.len() {
            for end in [End::Outside, End::Stack] {
                for _ in 0..ROUND {
                    let Some((len, step)) = self.take(device, end, &mut buffer) else { break };
                    came = true;
                    self.travel(core, device, step, 0, &buffer[..len])?;
                    while let Some(next) = self.queue.pop_front() {
                        let Travel { device, step, hops, frame } = next;
                        self.travel(core, device, step, hops, &frame)?;
                    }
                }
            }
        }
        self.buffer = buffer;
        Ok(came)
    }

    /// The next frame from one end of a device.
    fn take(&mut self, device: usize, end: End, buffer: &mut [u8]) -> Option<(usize, Step)> {
        let got = match (&self.devices[device].side, end) {
            (Side::Wire { outside, .. }, End::Outside) => {
                outside.receive(buffer).map(|got| got.map(|(len, _)| (len, Step::Receive)))
            }
            (Side::Wire { stack, .. }, End::Stack) => {
                stack.receive(buffer).map(|got| got.map(|(len, _)| (len, Step::Transmit)))
            }
            (Side::Watched(port), End::Outside) => port.receive(buffer).map(|got| {
                got.map(|(len, way)| match way {
                    Way::In => (len, Step::Receive),
                    Way::Out => (len, Step::Transmit),
                })
            }),
            (Side::Watched(_), End::Stack) => return None,
        };
        // A device that is down or gone gives nothing.
        got.ok().flatten().filter(|(len, _)| *len > 0)
    }

    /// Takes a frame one step further.
    fn travel(
        &mut self,
        core: &mut Core,
        device: usize,
        step: Step,
        hops: u8,
        frame: &[u8],
    ) -> Result<()> {
        let error = |errno| Error::os("take in a packet", errno);
        let mut packet = self.packet.take().map_or_else(Packet::new, Ok).map_err(error)?;
        let outcome = match step {
            Step::Receive => self.receive(core, &mut packet, device, hops, frame),
            Step::Transmit => self.transmit(core, &mut packet, device, hops, frame),
            Step::Emit => {
                self.emit(device, frame);
                Ok(())
            }
        };
        self.packet = Some(packet);
        outcome.map_err(error)
    }

    /// From the wire to the stack.
    fn receive(
        &mut self,
        core: &mut Core,
        packet: &mut Packet,
        device: usize,
        hops: u8,
        frame: &[u8],
    ) -> std::result::Result<(), Errno> {
        let ifindex = self.devices[device].ifindex;
        let mut changed = Vec::new();
        let mut frame = frame;
        if let Some(xdp) = self.devices[device].xdp {
            packet.receive_xdp(frame, 0, ifindex, 0)?;
            let fate = verdict::of_xdp(self.run(core, packet, xdp, device));
            match self.obeyed(device, fate) {
                Fate::Drop => return Ok(()),
                Fate::Send => {
                    self.emit(device, packet.data());
                    return Ok(());
                }
                Fate::Redirect => {
                    self.redirect(core, packet.redirected, Step::Emit, hops, packet.data());
                    return Ok(());
                }
                Fate::Pass if self.devices[device].is_wire() => {
                    changed.extend_from_slice(packet.data());
                    frame = &changed;
                }
                Fate::Pass => {}
            }
        }
        let direction = Direction::In { mac: self.devices[device].mac };
        match self.classify(core, packet, device, direction, hops, frame)? {
            Fate::Pass if self.devices[device].ingress.is_empty() => self.deliver(device, frame),
            Fate::Pass => self.deliver(device, &packet.frame()),
            _ => {}
        }
        Ok(())
    }

    /// From the stack to the wire.
    fn transmit(
        &mut self,
        core: &mut Core,
        packet: &mut Packet,
        device: usize,
        hops: u8,
        frame: &[u8],
    ) -> std::result::Result<(), Errno> {
        match self.classify(core, packet, device, Direction::Out, hops, frame)? {
            Fate::Pass if self.devices[device].egress.is_empty() => self.emit(device, frame),
            Fate::Pass => self.emit(device, &packet.frame()),
            _ => {}
        }
        Ok(())
    }

    /// Runs the programs of traffic control. What they send elsewhere is on its way afterwards.
    fn classify(
        &mut self,
        core: &mut Core,
        packet: &mut Packet,
        device: usize,
        direction: Direction,
        hops: u8,
        frame: &[u8],
    ) -> std::result::Result<Fate, Errno> {
        let at = &self.devices[device];
        let chain = if direction == Direction::Out { &at.egress } else { &at.ingress };
        if chain.is_empty() {
            return Ok(Fate::Pass);
        }
        let (chain, ifindex) = (chain.clone(), at.ifindex);
        packet.pass(ProgType::SchedCls, frame, ifindex, direction)?;
        let mut by_link = chain.links().iter();
        let fate =
            by_link.find_map(|&entry| verdict::of_tcx(self.run(core, packet, entry, device)));
        let fate = fate.or_else(|| {
            let mut filters = chain.filters();
            filters.find_map(|entry| verdict::of_filter(self.run(core, packet, entry, device)))
        });
        let fate = self.obeyed(device, fate.unwrap_or(Fate::Pass));
        if self.devices[device].is_wire() {
            for (to, frame) in packet.take_clones() {
                self.redirect(core, Some(to), Step::Transmit, hops, &frame);
            }
        }
        if fate == Fate::Redirect {
            let frame = packet.frame();
            self.redirect(core, packet.redirected, Step::Transmit, hops, &frame);
        }
        Ok(fate)
    }

    /// Runs a program, and counts what it said.
    fn run(
        &mut self,
        core: &mut Core,
        packet: &mut Packet,
        entry: Entry,
        device: usize,
    ) -> Option<u32> {
        let bytes = packet.len() as u64;
        let value = core.run_packet(entry.program as usize, packet, &mut ThisTask);
        let value = value.map(|value| value as u32);
        let name = self.devices[device].name.clone();
        let count = self.decisions.entry((entry.program, name, value)).or_default();
        count.packets += 1;
        count.bytes += bytes;
        value
    }

    /// What becomes of a packet: a device that is only watched passes everything.
    fn obeyed(&mut self, device: usize, fate: Fate) -> Fate {
        if self.devices[device].is_wire() || fate == Fate::Pass {
            return fate;
        }
        self.not_enforced += 1;
        Fate::Pass
    }

    /// Sends a frame to where a program said. `step` is how packets leave there.
    fn redirect(&mut self, core: &Core, to: Option<Redirect>, step: Step, hops: u8, frame: &[u8]) {
        let ifindex = to.and_then(|to| core.device_of(to));
        let found = self.devices.iter().position(|device| Some(device.ifindex) == ifindex);
        let found = found.filter(|&device| self.devices[device].is_wire() && hops < MOST_HOPS);
        let Some(device) = found else {
            self.lost += 1;
            return;
        };
        let step = if to.is_some_and(|to| to.ingress) { Step::Receive } else { step };
        self.queue.push_back(Travel { device, step, hops: hops + 1, frame: frame.to_vec() });
    }

    fn emit(&mut self, device: usize, frame: &[u8]) {
        if let Side::Wire { outside, .. } = &self.devices[device].side {
            self.lost += u64::from(outside.send(frame).is_err());
        }
    }

    fn deliver(&mut self, device: usize, frame: &[u8]) {
        if let Side::Wire { stack, .. } = &self.devices[device].side {
            self.lost += u64::from(stack.send(frame).is_err());
        }
    }
}
