//! Programs at network devices and in the network stack, by link.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use bombus_kernel::{Error, Feature, Kernel, Order, Result};
use bombus_platform::AttachType;

use super::{Attached, Undo};
use crate::Linux;
use crate::caps::Wants;
use crate::error::{errno_of, privileged};
use crate::programs::Program;
use crate::sys::link::{self, AFTER, BEFORE, ID, LinkOptions, Target};
use crate::sys::netlink::{Message, Netlink};

/// Packets that a device receives: by link, or as the device's property before Linux 5.9.
pub(super) fn xdp(linux: &Linux, program: &Program, ifindex: u32, flags: u32) -> Result<Attached> {
    let doing = || format!("attach program {} to network device {ifindex}", program.name);
    if !linux.supports(Feature::XdpLink) {
        return xdp_without_link(program, ifindex, flags);
    }
    let (target, attach_type) = (Target::Device(ifindex), AttachType::Xdp as u32);
    link::create(program.fd(), target, attach_type, flags, &LinkOptions::Plain)
        .map(Attached::quick)
        .map_err(|errno| xdp_refused(doing(), errno))
}

fn xdp_refused(doing: String, errno: i32) -> Error {
    match errno {
        libc::EBUSY | libc::EEXIST => {
            Error::Os { doing, errno, help: Some("the device has an XDP program already".into()) }
        }
        libc::EOPNOTSUPP => Error::Os {
            doing,
            errno,
            help: Some("its driver has no native XDP; XDP_FLAGS_SKB_MODE needs none".into()),
        },
        errno => privileged(doing, errno, Wants::Network),
    }
}

/// `RTM_SETLINK`.
const SET_LINK: u16 = 19;
/// `IFLA_XDP`, and what is in it.
const IFLA_XDP: u16 = 43;
const IFLA_XDP_FD: u16 = 1;
const IFLA_XDP_FLAGS: u16 = 3;
const IFLA_XDP_EXPECTED_FD: u16 = 8;
/// `XDP_FLAGS_UPDATE_IF_NOEXIST`.
const IF_NONE: u32 = 1 << 0;
/// `XDP_FLAGS_REPLACE` (Linux 5.7).
const IF_EXPECTED: u32 = 1 << 4;

/// An XDP program that a device has as a property. It stays until it is taken off, even if this
/// process is killed: that is why links came.
pub(super) struct XdpProgram {
    /// In the device's namespace.
    netlink: Netlink,
    program: OwnedFd,
    ifindex: u32,
    flags: u32,
}

impl XdpProgram {
    fn set(&self, fd: i32, flags: u32, expected: Option<i32>) -> std::result::Result<(), i32> {
        set_xdp(&self.netlink, self.ifindex, fd, flags, expected)
    }

    pub(super) fn detach(self) -> Result<()> {
        let expected = self.program.as_fd().as_raw_fd();
        let outcome = match self.set(-1, self.flags | IF_EXPECTED, Some(expected)) {
            // Before Linux 5.7 nobody can say which program is meant.
            Err(libc::EINVAL) => self.set(-1, self.flags, None),
            outcome => outcome,
        };
        match outcome {
            // The device is gone, or has somebody else's program.
            Ok(()) | Err(libc::ENODEV | libc::EEXIST) => Ok(()),
            Err(errno) => Err(xdp_refused(
                format!("take a program off network device {}", self.ifindex),
                errno,
            )),
        }
    }
}

/// Sets the XDP program of a device; -1: to none. `flags` are `XDP_FLAGS_*`.
pub(crate) fn set_xdp(
    netlink: &Netlink,
    ifindex: u32,
    program: i32,
    flags: u32,
    expected: Option<i32>,
) -> std::result::Result<(), i32> {
    // `struct ifinfomsg`: family, type, number, flags, which of them.
    let mut head = [0; 16];
    head[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    let mut message = Message::new(SET_LINK, 0, &head);
    message.nested(IFLA_XDP, &[], |xdp| {
        xdp.attribute(IFLA_XDP_FD, &program.to_ne_bytes());
        xdp.attribute(IFLA_XDP_FLAGS, &flags.to_ne_bytes());
        if let Some(expected) = expected {
            xdp.attribute(IFLA_XDP_EXPECTED_FD, &expected.to_ne_bytes());
        }
    });
    netlink.request(message).map(drop).map_err(|refusal| refusal.errno)
}

fn xdp_without_link(program: &Program, ifindex: u32, flags: u32) -> Result<Attached> {
    let doing = || format!("attach program {} to network device {ifindex}", program.name);
    let own = program.fd().try_clone_to_owned();
    let xdp = XdpProgram {
        netlink: Netlink::open().map_err(|errno| Error::os(doing(), errno))?,
        program: own.map_err(|error| Error::os(doing(), errno_of(&error)))?,
        ifindex,
        flags,
    };
    xdp.set(xdp.program.as_raw_fd(), flags | IF_NONE, None)
        .map_err(|errno| xdp_refused(doing(), errno))?;
    Ok(Attached::without_link(Undo::Xdp(xdp)))
}

/// Traffic control by link.
pub(super) fn tcx(
    program: &Program,
    ifindex: u32,
    egress: bool,
    order: Order,
    revision: u64,
) -> Result<Attached> {
    let attach_type = if egress { AttachType::TcxEgress } else { AttachType::TcxIngress };
    let doing = format!("attach program {} to network device {ifindex}", program.name);
    among(program, ifindex, attach_type, order, revision)
        .map_err(|errno| order_refused(doing, "tcx needs Linux 6.6", errno))
}

/// A netkit device.
pub(super) fn netkit(
    program: &Program,
    ifindex: u32,
    peer: bool,
    order: Order,
    revision: u64,
) -> Result<Attached> {
    let attach_type = if peer { AttachType::NetkitPeer } else { AttachType::NetkitPrimary };
    let doing = format!("attach program {} to netkit device {ifindex}", program.name);
    let why = "is it a netkit device? They need Linux 6.7 with CONFIG_NETKIT";
    among(program, ifindex, attach_type, order, revision)
        .map_err(|errno| order_refused(doing, why, errno))
}

fn order_refused(doing: String, why: &str, errno: i32) -> Error {
    let help = match errno {
        libc::EINVAL => why,
        libc::ESTALE => "somebody else has changed the programs there",
        libc::ENOENT => "the program to be before or after is not there",
        errno => return privileged(doing, errno, Wants::Network),
    };
    Error::Os { doing, errno, help: Some(help.into()) }
}

fn among(
    program: &Program,
    ifindex: u32,
    attach_type: AttachType,
    order: Order,
    revision: u64,
) -> std::result::Result<Attached, i32> {
    // Before or after no program in particular is first or last.
    let (flags, relative) = match order {
        Order::Default => (0, 0),
        Order::First => (BEFORE, 0),
        Order::Last => (AFTER, 0),
        Order::Before(id) => (BEFORE | ID, id),
        Order::After(id) => (AFTER | ID, id),
    };
    let options = LinkOptions::Among { relative, revision };
    let target = Target::Device(ifindex);
    link::create(program.fd(), target, attach_type as u32, flags, &options).map(Attached::quick)
}

/// `BPF_F_NETFILTER_IP_DEFRAG`.
const DEFRAG: u32 = 1;

/// A netfilter hook of the calling thread's network namespace.
pub(super) fn netfilter(
    program: &Program,
    family: u32,
    hook: u32,
    priority: i32,
    defrag: bool,
) -> Result<Attached> {
    let flags = if defrag { DEFRAG } else { 0 };
    let options = LinkOptions::Netfilter { family, hook, priority, flags };
    let attach_type = AttachType::Netfilter as u32;
    link::create(program.fd(), Target::Nothing, attach_type, 0, &options)
        .map(Attached::quick)
        .map_err(|errno| {
            let doing = format!("attach program {} to netfilter hook {hook}", program.name);
            match errno {
                libc::EINVAL | libc::ERANGE | libc::EAFNOSUPPORT => Error::Os {
                    doing,
                    errno,
                    help: Some(
                        "it needs Linux 6.4, family IPv4 or IPv6, and a priority that is \
                                neither the first nor the last"
                            .into(),
                    ),
                },
                errno => privileged(doing, errno, Wants::Network),
            }
        })
}

#[cfg(test)]
mod tests {
    use bombus_isa::{Insn, Reg};
    use bombus_kernel::{AttachPoint, KernelVersion, ProgLoad};
    use bombus_platform::ProgType;

    use super::*;
    use crate::net;

    /// How programs were attached before Linux 5.9 works on later kernels as well.
    #[test]
    fn xdp_without_links() {
        if let Err(error) = crate::can_load_programs().and_then(|()| net::unshare()) {
            println!("skipped: {error}");
            return;
        }
        // `XDP_PASS`.
        let code = [Insn::mov_imm(Reg::R0, 2), Insn::exit()];
        let old = || {
            let mut linux = Linux::new().unwrap();
            linux.features.version = KernelVersion { major: 5, minor: 8, patch: 0 };
            linux
        };
        let attach = |linux: &Linux| {
            let program = ProgLoad { prog_type: ProgType::Xdp, insns: &code, ..Default::default() };
            // `XDP_FLAGS_SKB_MODE`, at the loopback device.
            let at = AttachPoint::Xdp { ifindex: 1, flags: 2 };
            linux.attach(linux.prog_load(&program).unwrap(), &at, 0)
        };
        let (one, other) = (old(), old());
        let link = attach(&one).unwrap();
        assert!(attach(&other).unwrap_err().to_string().contains("has an XDP program already"));
        one.detach(link).unwrap();
        attach(&other).unwrap();
        assert!(attach(&one).is_err());
        drop(other);
        attach(&one).unwrap();
    }
}
