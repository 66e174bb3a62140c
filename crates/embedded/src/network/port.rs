//! Where frames come from and go to: TAP devices (`Documentation/networking/tuntap.rst`) and packet
//! sockets (`packet(7)`).
#![allow(unsafe_code, reason = "ioctls and sockets; each block says why it is sound")]

use std::fs::OpenOptions;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use bombus_kernel::{Error, Result};

use crate::maps::Errno;

/// `IFF_TAP`, `IFF_NO_PI` (`include/uapi/linux/if_tun.h`): whole frames, and nothing before them.
const TAP: libc::c_short = 2;
const NO_PI: libc::c_short = 0x1000;
/// `TUNSETIFF`.
const TUN_SET_IFF: libc::c_ulong = 0x4004_54ca;

const TUN: &str = "/dev/net/tun";

/// Which way a frame goes past the device that it is seen at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// From the wire to the network stack.
    In,
    /// From the network stack to the wire.
    Out,
}

/// Whole Ethernet frames, in and out.
#[derive(Debug)]
pub struct Port {
    fd: OwnedFd,
    is_socket: bool,
}

impl Port {
    /// Makes a TAP device in the network namespace of the calling thread; it is gone with the port.
    /// What the stack sends there comes out of the port, what goes into the port the stack receives.
    /// Takes `CAP_NET_ADMIN` in the namespace.
    pub fn tap(name: &str) -> Result<Port> {
        let doing = format!("make network device {name}");
        if name.is_empty() || name.len() >= libc::IFNAMSIZ {
            let help = "names of network devices have 1 to 15 bytes";
            return Err(Error::Os { doing, errno: libc::EINVAL, help: Some(help.into()) });
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(TUN)
            .map_err(|error| no_tun(doing.clone(), &error))?;
        // SAFETY: all zeros is a valid `ifreq`.
        let mut request: libc::ifreq = unsafe { mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = TAP | NO_PI;
        // SAFETY: `request` is a whole `ifreq` with a closed name, and outlives the call.
        if unsafe { libc::ioctl(file.as_raw_fd(), TUN_SET_IFF, &raw mut request) } != 0 {
            let errno = errno();
            let help = match errno {
                libc::EBUSY => Some("there is a device of this name"),
                libc::EPERM => Some("it takes CAP_NET_ADMIN in the network namespace"),
                _ => None,
            };
            return Err(Error::Os { doing, errno, help: help.map(str::to_owned) });
        }
        Ok(Port { fd: file.into(), is_socket: false })
    }

    /// Copies of the frames that pass a device, both ways. Takes `CAP_NET_RAW`.
    pub(crate) fn watch(ifindex: u32) -> std::result::Result<Port, Errno> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // Bound before it is told to receive, so that nothing comes from other devices.
        // SAFETY: the call takes no pointers; the descriptor is new and nobody else's.
        let fd = unsafe {
            match libc::socket(libc::AF_PACKET, kind, 0) {
                -1 => return Err(errno()),
                fd => OwnedFd::from_raw_fd(fd),
            }
        };
        // SAFETY: all zeros is a valid `sockaddr_ll`.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = i32::try_from(ifindex).map_err(|_| libc::ENODEV)?;
        let size = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: `address` is a whole `sockaddr_ll` and outlives the call.
        match unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size) } {
            0 => Ok(Port { fd, is_socket: true }),
            _ => Err(errno()),
        }
    }

    /// The next frame's length and, for a packet socket, its way. `None`: there is none now.
    pub(crate) fn receive(
        &self,
        buffer: &mut [u8],
    ) -> std::result::Result<Option<(usize, Way)>, Errno> {
        let (fd, len) = (self.fd.as_raw_fd(), buffer.len());
        let mut way = Way::Out;
        let got = if self.is_socket {
            // SAFETY: all zeros is a valid `sockaddr_ll`.
            let mut from: libc::sockaddr_ll = unsafe { mem::zeroed() };
            let mut size = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            let (start, at) = (buffer.as_mut_ptr().cast(), (&raw mut from).cast());
            // SAFETY: the kernel writes at most `len` bytes into `buffer` and `size` into `from`.
            let got = unsafe { libc::recvfrom(fd, start, len, 0, at, &raw mut size) };
            if i32::from(from.sll_pkttype) != i32::from(libc::PACKET_OUTGOING) {
                way = Way::In;
            }
            got
        } else {
            // SAFETY: the kernel writes at most `len` bytes into `buffer`.
            unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), len) }
        };
        match usize::try_from(got) {
            Ok(got) => Ok(Some((got, way))),
            Err(_) => match errno() {
                libc::EAGAIN | libc::EINTR => Ok(None),
                errno => Err(errno),
            },
        }
    }

    /// Sends a frame.
    pub(crate) fn send(&self, frame: &[u8]) -> std::result::Result<(), Errno> {
        // SAFETY: the kernel reads `frame`, which outlives the call.
        let sent = unsafe { libc::write(self.fd.as_raw_fd(), frame.as_ptr().cast(), frame.len()) };
        if sent < 0 { Err(errno()) } else { Ok(()) }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn errno() -> Errno {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

fn no_tun(doing: String, error: &io::Error) -> Error {
    let errno = error.raw_os_error().unwrap_or(libc::EIO);
    let help = match errno {
        libc::ENOENT | libc::ENODEV | libc::ENXIO => {
            format!("{TUN} is not there: load the module tun, or give the container that device")
        }
        libc::EACCES | libc::EPERM => format!(
            "{TUN} may not be opened by this user: it usually may by everybody (chmod 666 {TUN})"
        ),
        _ => format!("{TUN} could not be opened"),
    };
    Error::Os { doing, errno, help: Some(help) }
}

/// The number of a network device, in the network namespace of the calling thread.
pub(crate) fn interface_index(name: &str) -> std::result::Result<u32, Errno> {
    let name = std::ffi::CString::new(name).map_err(|_| libc::EINVAL)?;
    // SAFETY: `name` is a C string that outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(errno()),
        index => Ok(index),
    }
}

/// The name of a network device, and its address on the wire (zeros when it has none).
pub(crate) fn interface(ifindex: u32) -> std::result::Result<(String, [u8; 6]), Errno> {
    let mut name = [0u8; libc::IF_NAMESIZE];
    // SAFETY: `name` has the room that the call wants.
    if unsafe { libc::if_indextoname(ifindex, name.as_mut_ptr().cast()) }.is_null() {
        return Err(errno());
    }
    let mac = hardware_address(&name)?;
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    Ok((String::from_utf8_lossy(name).into_owned(), mac))
}

/// Bytes that a network packet may have at the device with this number, if it is there.
pub(crate) fn mtu(ifindex: u32) -> Option<u32> {
    let (name, _) = interface(ifindex).ok()?;
    let mut request = request(name.as_bytes());
    ask(&mut request, libc::SIOCGIFMTU).ok()?;
    // SAFETY: the kernel has put a number there.
    u32::try_from(unsafe { request.ifr_ifru.ifru_mtu }).ok()
}

/// Whether there is a device with this number.
pub(crate) fn is_interface(ifindex: u32) -> bool {
    interface(ifindex).is_ok()
}

/// The address on the wire of the device with this name.
fn hardware_address(name: &[u8; libc::IF_NAMESIZE]) -> std::result::Result<[u8; 6], Errno> {
    let mut request = request(name);
    ask(&mut request, libc::SIOCGIFHWADDR)?;
    // SAFETY: the kernel has put an address there, which is plain bytes.
    let bytes = unsafe { request.ifr_ifru.ifru_hwaddr.sa_data };
    Ok(std::array::from_fn(|index| bytes[index] as u8))
}

/// A question about the device with this name.
fn request(name: &[u8]) -> libc::ifreq {
    // SAFETY: all zeros is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    // (The last byte closes it.)
    let room = libc::IF_NAMESIZE - 1;
    for (to, from) in request.ifr_name[..room].iter_mut().zip(name) {
        *to = *from as libc::c_char;
    }
    request
}

/// Asks it (netdevice(7)).
fn ask(request: &mut libc::ifreq, what: libc::Ioctl) -> std::result::Result<(), Errno> {
    // SAFETY: the call takes no pointers; the descriptor is new and nobody else's.
    let socket = unsafe {
        match libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) {
            -1 => return Err(errno()),
            fd => OwnedFd::from_raw_fd(fd),
        }
    };
    // SAFETY: `request` is a whole `ifreq` with a closed name, and outlives the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), what, &raw mut *request) } {
        0 => Ok(()),
        _ => Err(errno()),
    }
}

/// How often to look whether a device is up again.
const DOWN: Duration = Duration::from_millis(10);

/// Waits until one of these can be read from, or the time is over.
pub(crate) fn wait_readable<'a>(fds: impl Iterator<Item = BorrowedFd<'a>>, timeout: Duration) {
    let polled =
        |fd: BorrowedFd<'_>| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut polled: Vec<libc::pollfd> = fds.map(polled).collect();
    let span = libc::timespec {
        tv_sec: timeout.as_secs() as libc::time_t,
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: as many `pollfd` as are said, and one `timespec`; no signal mask. Whatever comes of
    // it, the caller looks at everything.
    let ready = unsafe {
        libc::ppoll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, &span, std::ptr::null())
    };
    if ready > 0 && polled.iter().all(|polled| polled.revents & libc::POLLIN == 0) {
        // A device is down, and says so until it is up again.
        std::thread::sleep(timeout.min(DOWN));
    }
}
