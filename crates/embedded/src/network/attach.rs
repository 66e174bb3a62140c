//! Which programs are at which device.

use bombus_kernel::{AttachPoint, Error, Result};
use bombus_platform::ProgType;

use super::port::{Port, interface};
use super::{Device, Entry, Network, Side};
use crate::maps::Errno;
use crate::programs::Loaded;

/// `XDP_FLAGS_HW_MODE`.
const OFFLOAD: u32 = 1 << 3;

impl Network {
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
}
