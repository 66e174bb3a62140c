//! Network devices and namespaces, as far as one has to make some to try programs on them.
//!
//! Everything happens in the network namespace of the calling thread.

use std::ffi::CString;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use bombus_kernel::{Error, Result};

use crate::caps::Wants;
use crate::error::{errno_of, privileged};
use crate::sys::netlink::{FLAG_CREATE, FLAG_EXCL, Message, Netlink, Refusal};
use crate::sys::{process, socket};

/// `RTM_*` (`include/uapi/linux/rtnetlink.h`).
const NEW_LINK: u16 = 16;
const DEL_LINK: u16 = 17;
const NEW_ADDRESS: u16 = 20;

/// `IFLA_*` (`include/uapi/linux/if_link.h`).
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
/// `VETH_INFO_PEER`.
const VETH_PEER: u16 = 1;
/// `IFLA_NETKIT_PEER_INFO`, `IFLA_NETKIT_MODE` and its value for packets with Ethernet headers.
const NETKIT_PEER: u16 = 1;
const NETKIT_MODE: u16 = 4;
const NETKIT_L2: u32 = 0;

/// `IFA_*`.
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// `IFA_F_NODAD`: an address that can be used at once.
const NO_DUPLICATE_DETECTION: u8 = 2;

/// `struct ifinfomsg`.
fn link_head(ifindex: u32, flags: u32) -> [u8; 16] {
    let mut head = [0; 16];
    head[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    head[8..12].copy_from_slice(&flags.to_ne_bytes());
    // Which flags are meant.
    head[12..].copy_from_slice(&flags.to_ne_bytes());
    head
}

fn request(doing: String, message: Message) -> Result<()> {
    let outcome = Netlink::open().map_err(Refusal::from).and_then(|link| link.request(message));
    outcome.map(drop).map_err(|refusal| match (refusal.errno, refusal.words) {
        (errno @ (libc::EPERM | libc::EACCES), _) => privileged(doing, errno, Wants::Network),
        (libc::EOPNOTSUPP, words) => Error::Unsupported {
            what: format!("could not {doing}: this kernel has no such devices"),
            help: words,
        },
        (errno, words) => Error::Os { doing, errno, help: words },
    })
}

/// The number of a network device.
pub fn interface_index(name: &str) -> Result<u32> {
    let doing = || format!("find network device {name}");
    let name = CString::new(name).map_err(|_| Error::os(doing(), libc::EINVAL))?;
    socket::interface_index(&name).map_err(|errno| Error::os(doing(), errno))
}

/// Gives the calling thread a network namespace of its own, with nothing in it but a loopback
/// device that is down. It is gone with the thread, and with it every device that was made in it.
pub fn unshare() -> Result<()> {
    socket::new_namespace()
        .map_err(|errno| privileged("make a network namespace", errno, Wants::Admin))
}

/// Gives this process a network namespace of its own with nothing in it, whoever it is: without the
/// privilege it gets a user namespace of its own as well, and all capabilities there, which it hands
/// on to what it starts. For processes with one thread.
pub fn unshare_process() -> Result<()> {
    let doing = "make a network of its own";
    match socket::new_namespace() {
        Err(libc::EPERM) => {}
        made => return made.map_err(|errno| Error::os(doing, errno)),
    }
    let made = socket::new_namespaces().and_then(|()| process::hand_on_capabilities());
    made.map_err(|errno| {
        let help = match errno {
            libc::EPERM | libc::EACCES => Some(
                "users may not make user namespaces here: a sandbox forbids unshare(2), or a \
                 setting of the system does (kernel.unprivileged_userns_clone, \
                 kernel.apparmor_restrict_unprivileged_userns)",
            ),
            libc::ENOSPC | libc::EUSERS => {
                Some("there are too many user namespaces (sysctl user.max_user_namespaces)")
            }
            _ => None,
        };
        Error::Os { doing: doing.into(), errno, help: help.map(str::to_owned) }
    })
}

/// The network namespace of the calling thread, as a file. It lives as long as that is open.
pub fn namespace() -> Result<OwnedFd> {
    let file = std::fs::File::open("/proc/thread-self/ns/net");
    let error = |error| Error::os("open the network namespace", errno_of(&error));
    file.map(OwnedFd::from).map_err(error)
}

/// Makes two devices that are the ends of one cable.
pub fn veth_pair(name: &str, peer: &str) -> Result<()> {
    let mut message = Message::new(NEW_LINK, FLAG_CREATE | FLAG_EXCL, &link_head(0, 0));
    message.text(IFLA_IFNAME, name).nested(IFLA_LINKINFO, &[], |info| {
        info.text(IFLA_INFO_KIND, "veth").nested(IFLA_INFO_DATA, &[], |data| {
            data.nested(VETH_PEER, &link_head(0, 0), |end| {
                end.text(IFLA_IFNAME, peer);
            });
        });
    });
    request(format!("make veth devices {name} and {peer}"), message)
}

/// Makes two devices that are the ends of a cable whose traffic programs decide on (Linux 6.7).
pub fn netkit_pair(name: &str, peer: &str) -> Result<()> {
    let mut message = Message::new(NEW_LINK, FLAG_CREATE | FLAG_EXCL, &link_head(0, 0));
    message.text(IFLA_IFNAME, name).nested(IFLA_LINKINFO, &[], |info| {
        info.text(IFLA_INFO_KIND, "netkit").nested(IFLA_INFO_DATA, &[], |data| {
            data.attribute(NETKIT_MODE, &NETKIT_L2.to_ne_bytes());
            data.nested(NETKIT_PEER, &link_head(0, 0), |end| {
                end.text(IFLA_IFNAME, peer);
            });
        });
    });
    request(format!("make netkit devices {name} and {peer}"), message)
}

/// Takes a device away.
pub fn remove(ifindex: u32) -> Result<()> {
    let message = Message::new(DEL_LINK, 0, &link_head(ifindex, 0));
    request(format!("remove network device {ifindex}"), message)
}

/// Switches a device on.
pub fn set_up(ifindex: u32) -> Result<()> {
    let message = Message::new(NEW_LINK, 0, &link_head(ifindex, libc::IFF_UP as u32));
    request(format!("switch network device {ifindex} on"), message)
}

/// Gives a device an address, and a route to those that share its first `prefix` bits.
pub fn add_address(ifindex: u32, address: IpAddr, prefix: u8) -> Result<()> {
    let (family, bytes) = match address {
        IpAddr::V4(address) => (libc::AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6, address.octets().to_vec()),
    };
    // `struct ifaddrmsg`: family, prefix, flags, scope, number.
    let mut head = [family as u8, prefix, NO_DUPLICATE_DETECTION, 0, 0, 0, 0, 0];
    head[4..].copy_from_slice(&ifindex.to_ne_bytes());
    let mut message = Message::new(NEW_ADDRESS, FLAG_CREATE | FLAG_EXCL, &head);
    message.attribute(IFA_LOCAL, &bytes).attribute(IFA_ADDRESS, &bytes);
    request(format!("give network device {ifindex} the address {address}"), message)
}
