//! The packet hook: programs at network devices.
//!
//! A *wire* is a device of the network stack whose other end is here: a TAP device. What comes from
//! outside passes the programs before the stack gets it, what the stack sends passes them before it
//! goes out, so their verdicts hold, as on Linux. A device that somebody else made can only be
//! *watched*, by a packet socket: programs see copies, their verdicts are counted, and the packets go
//! on whatever the program says.

mod chain;
mod port;
mod verdict;

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use bombus_kernel::{AttachPoint, Error, PacketVerdicts, Result};
use bombus_platform::ProgType;

use crate::core::Core;
use crate::maps::Errno;
use crate::packet::{Direction, Packet, Redirect};
use crate::programs::Loaded;
use crate::this_task::ThisTask;
use chain::Chain;
pub(crate) use chain::Entry;
pub use port::Port;
use port::{Way, interface};
pub(crate) use port::{interface_index, is_interface, wait_readable};
use verdict::Fate;

/// Frames that are taken from one port before the next has its turn.
const ROUND: usize = 64;

/// The largest frame that a device gives, with a margin.
const LARGEST: usize = 1 << 16;

/// Devices that a frame may be sent on to (`XMIT_RECURSION_LIMIT`, `include/linux/netdevice.h`).
const MOST_HOPS: u8 = 8;

/// `XDP_FLAGS_HW_MODE`.
const OFFLOAD: u32 = 1 << 3;

/// A device with programs.
#[derive(Debug)]
struct Device {
    ifindex: u32,
    name: Rc<str>,
    mac: [u8; 6],
    side: Side,
    xdp: Option<Entry>,
    ingress: Chain,
    egress: Chain,
}

/// How frames come by.
#[derive(Debug)]
enum Side {
    /// Only through here.
    Wire {
        /// The network stack.
        stack: Port,
        /// The other end.
        outside: Port,
    },
    /// Elsewhere; these are copies.
    Watched(Port),
}

/// A frame on its way.
#[derive(Debug)]
struct Travel {
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

/// A program, a device, and the program's value there (`None`: it was stopped).
type Decision = (u32, Rc<str>, Option<u32>);

#[derive(Clone, Copy, Default, Debug)]
struct Count {
    packets: u64,
    bytes: u64,
}

/// The devices that have programs.
#[derive(Debug, Default)]
pub(crate) struct Network {
    devices: Vec<Device>,
    decisions: BTreeMap<Decision, Count>,
    packet: Option<Packet>,
    buffer: Vec<u8>,
    /// What is still on its way.
    queue: VecDeque<Travel>,
    /// Frames that a watched device passed on although a program said otherwise.
    not_enforced: u64,
    /// Frames that a device did not take, or that were sent on too often.
    lost: u64,
}

impl Network {
    /// Makes a wire of a device's two ends.
    pub(crate) fn add_wire(&mut self, name: &str, stack: Port, outside: Port) -> Result<u32> {
        let found = interface_index(name).and_then(|ifindex| Ok((ifindex, interface(ifindex)?)));
        let found = found.map_err(|errno| Error::os(format!("find network device {name}"), errno));
        let (ifindex, (name, mac)) = found?;
        self.devices.push(Device::new(ifindex, &name, mac, Side::Wire { stack, outside }));
        Ok(ifindex)
    }

    /// Whether anything can come.
    pub(crate) fn is_idle(&self) -> bool {
        self.devices.is_empty()
    }

    /// Attaches a program; `None`: that is no place for packets.
    pub(crate) fn attach(
        &mut self,
        program: &Loaded,
        at: &AttachPoint,
        entry: Entry,
    ) -> Option<Result<()>> {
        let (ifindex, prog_type) = match *at {
            AttachPoint::Xdp { ifindex, .. } => (ifindex, ProgType::Xdp),
            AttachPoint::Tcx { ifindex, .. } | AttachPoint::TcFilter { ifindex, .. } => {
                (ifindex, ProgType::SchedCls)
            }
            _ => return None,
        };
        let refused = |errno, help: Option<&str>| Error::Os {
            doing: format!("attach program {} to network device {ifindex}", program.name),
            errno,
            help: help.map(str::to_owned),
        };
        if program.prog_type != prog_type {
            return Some(Err(refused(libc::EINVAL, None)));
        }
        let device = match self.device(ifindex) {
            Ok(device) => device,
            Err(errno @ (libc::EPERM | libc::EACCES)) => {
                let help = "watching a device takes CAP_NET_RAW; --wire makes one in a network of \
                            its own, which takes no privileges";
                return Some(Err(refused(errno, Some(help))));
            }
            Err(errno) => return Some(Err(refused(errno, None))),
        };
        let attached = match *at {
            AttachPoint::Xdp { flags, .. } if flags & OFFLOAD != 0 => Err(libc::EOPNOTSUPP),
            AttachPoint::Xdp { .. } => match device.xdp {
                Some(_) => Err(libc::EBUSY),
                None => {
                    device.xdp = Some(entry);
                    Ok(())
                }
            },
            AttachPoint::Tcx { egress, order, revision, .. } => {
                device.chain(egress).attach(entry, order, revision)
            }
            AttachPoint::TcFilter { egress, priority, handle, .. } => {
                device.chain(egress).filter(entry, priority, handle)
            }
            _ => Err(libc::EINVAL),
        };
        Some(attached.map_err(|errno| {
            let help = match errno {
                libc::EBUSY => Some("the device has an XDP program already"),
                libc::EEXIST => Some("there is such a program or filter already"),
                libc::ESTALE => Some("somebody else has changed the programs there"),
                libc::ENOENT => Some("the program to be before or after is not there"),
                _ => None,
            };
            refused(errno, help)
        }))
    }

    /// The device with this number; one that is not known is watched from now on.
    fn device(&mut self, ifindex: u32) -> std::result::Result<&mut Device, Errno> {
        let found = self.devices.iter().position(|device| device.ifindex == ifindex);
        let index = match found {
            Some(index) => index,
            None => {
                let (name, mac) = interface(ifindex)?;
                let port = Port::watch(ifindex)?;
                self.devices.push(Device::new(ifindex, &name, mac, Side::Watched(port)));
                self.devices.len() - 1
            }
        };
        Ok(&mut self.devices[index])
    }

    /// Takes a link off; whether it was one of these.
    pub(crate) fn detach(&mut self, link: u32) -> bool {
        let found = self.devices.iter_mut().any(|device| {
            let is_xdp = device.xdp.is_some_and(|entry| entry.link == link);
            if is_xdp {
                device.xdp = None;
            }
            is_xdp || device.ingress.detach(link) || device.egress.detach(link)
        });
        self.forget_unused();
        found
    }

    /// Takes all links off. Wires go on, without programs.
    pub(crate) fn detach_all(&mut self) {
        for device in &mut self.devices {
            (device.xdp, device.ingress, device.egress) = Default::default();
        }
        self.forget_unused();
    }

    /// Nobody looks at what comes from watched devices without programs.
    fn forget_unused(&mut self) {
        self.devices.retain(|device| {
            let is_used = device.xdp.is_some() || !device.ingress.is_empty();
            is_used || !device.egress.is_empty() || device.is_wire()
        });
    }

    /// Puts another program in a link's place; whether it was one of these.
    pub(crate) fn update(&mut self, link: u32, program: u32) -> bool {
        let entries = self.devices.iter_mut().find_map(|device| {
            let xdp = device.xdp.as_mut().filter(|entry| entry.link == link);
            xdp.or_else(|| device.ingress.find(link)).or_else(|| device.egress.find(link))
        });
        entries.map(|entry| entry.program = program).is_some()
    }

    /// The program that a link has.
    pub(crate) fn program(&mut self, link: u32) -> Option<u32> {
        self.devices.iter_mut().find_map(|device| {
            let xdp = device.xdp.filter(|entry| entry.link == link);
            let found = xdp.or_else(|| device.ingress.find(link).copied());
            found.or_else(|| device.egress.find(link).copied()).map(|entry| entry.program)
        })
    }

    /// What can be read from when a frame comes.
    pub(crate) fn ports(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.devices
            .iter()
            .flat_map(|device| match &device.side {
                Side::Wire { stack, outside } => [Some(stack.fd()), Some(outside.fd())],
                Side::Watched(port) => [Some(port.fd()), None],
            })
            .flatten()
    }

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
            Fate::Pass => self.deliver(device, packet.with_link_layer()),
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
            Fate::Pass => self.emit(device, packet.with_link_layer()),
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
            let frame = packet.with_link_layer();
            self.redirect(core, packet.redirected, Step::Transmit, hops, frame);
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

    /// What the programs decided so far.
    pub(crate) fn verdicts(&self, programs: &[Loaded]) -> Vec<PacketVerdicts> {
        let decisions = self.decisions.iter();
        let decisions = decisions.filter_map(|((program, device, verdict), count)| {
            let loaded = programs.get(*program as usize)?;
            Some(PacketVerdicts {
                program: loaded.name.clone(),
                prog_type: loaded.prog_type,
                device: device.to_string(),
                verdict: *verdict,
                packets: count.packets,
                bytes: count.bytes,
            })
        });
        decisions.collect()
    }

    /// What to tell the user at the end.
    pub(crate) fn summary(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.not_enforced > 0 {
            lines.push(format!(
                "{} packets passed although a program said otherwise: a device that is only \
                 watched goes its own way",
                self.not_enforced
            ));
        }
        if self.lost > 0 {
            lines.push(format!("{} packets were lost: no device took them", self.lost));
        }
        lines
    }
}

/// An end of a wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Outside,
    Stack,
}

impl Device {
    fn new(ifindex: u32, name: &str, mac: [u8; 6], side: Side) -> Device {
        let (ingress, egress) = (Chain::default(), Chain::default());
        Device { ifindex, name: name.into(), mac, side, xdp: None, ingress, egress }
    }

    fn is_wire(&self) -> bool {
        matches!(self.side, Side::Wire { .. })
    }

    fn chain(&mut self, egress: bool) -> &mut Chain {
        if egress { &mut self.egress } else { &mut self.ingress }
    }
}
