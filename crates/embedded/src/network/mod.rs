//! The packet hook: programs at network devices.
//!
//! A *wire* is a device of the network stack whose other end is here: a TAP device. What comes from
//! outside passes the programs before the stack gets it, what the stack sends passes them before it
//! goes out, so their verdicts hold, as on Linux. A device that somebody else made can only be
//! *watched*, by a packet socket: programs see copies, their verdicts are counted, and the packets go
//! on whatever the program says.

mod attach;
mod chain;
mod port;
mod travel;
mod verdict;

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use bombus_kernel::{Error, PacketVerdicts, Result};

use crate::packet::Packet;
use crate::programs::Loaded;
use chain::Chain;
pub(crate) use chain::Entry;
pub use port::Port;
use port::interface;
pub(crate) use port::{interface_index, is_interface, mtu, wait_readable};
use travel::Travel;

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
