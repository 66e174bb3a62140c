//! A network of the test's own: a namespace with two devices that are wired to each other, a sender
//! at one and taps at the other. The crate's only unsafe code is here, around system calls.
#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

use crate::mix::{ADDRESS, MAC};

/// Where packets are sent, and where they come out.
pub(crate) const ENDS: (&str, &str) = ("bombus0", "bombus1");

/// Moves the calling thread, and those that it starts, into a new network namespace with the two
/// devices. It is gone with the last thread.
pub(crate) fn enter() -> Result<(), String> {
    enter_empty()?;
    let (from, to) = ENDS;
    let mac = MAC.map(|byte| format!("{byte:02x}")).join(":");
    ip(&format!("link add {from} type veth peer name {to} address {mac}"))?;
    ip(&format!("address add {ADDRESS}/32 dev {to}"))?;
    set_up()
}

/// Moves the calling thread into a new network namespace without devices.
pub(crate) fn enter_empty() -> Result<(), String> {
    // SAFETY: the call takes no pointers; only this thread's view of the network changes.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(format!("a network namespace: {}", io::Error::last_os_error()));
    }
    // Nobody but us is to send anything, and no address is to be refused.
    for (setting, value) in [
        ("ipv6/conf/all/disable_ipv6", "1"),
        ("ipv6/conf/default/disable_ipv6", "1"),
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/default/rp_filter", "0"),
    ] {
        // A kernel without IPv6 has no such setting.
        let _ = fs::write(format!("/proc/sys/net/{setting}"), value);
    }
    Ok(())
}

/// Whether TAP devices can be made here.
pub(crate) fn has_taps() -> Result<(), String> {
    let made = std::thread::spawn(|| {
        enter_empty()?;
        bombus_embedded::Port::tap(ENDS.0).map(drop).map_err(|error| error.to_string())
    });
    made.join().unwrap_or_else(|_| Err("no network namespace".into()))
}

/// Switches both ends on.
pub(crate) fn set_up() -> Result<(), String> {
    let (from, to) = ENDS;
    ip(&format!("link set {to} up"))?;
    ip(&format!("link set {from} up"))?;
    // Until the kernel has noticed that the wire is there, it drops what is sent.
    for _ in 0..500 {
        let shown = ip(&format!("-o link show dev {from}"))?;
        // A TAP device never knows more than that somebody has the other end.
        if ["state UP", "state UNKNOWN"].iter().any(|state| shown.contains(state)) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(format!("{from} does not come up"))
}

/// What `ip` says.
fn ip(arguments: &str) -> Result<String, String> {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.map_err(|error| format!("ip: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// A socket for whole frames at a device. `ether_type` 0 receives nothing.
fn packet_socket(ifindex: u32, ether_type: u16) -> io::Result<OwnedFd> {
    let protocol = ether_type.to_be();
    // SAFETY: the call takes no pointers; the descriptor is new and nobody else's.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    // SAFETY: an address of all zeros is valid, as plain integers are.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol;
    address.sll_ifindex = ifindex as i32;
    let size = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: `address` is a whole `sockaddr_ll` and outlives the call.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size) };
    if bound == 0 { Ok(socket) } else { Err(io::Error::last_os_error()) }
}

/// Sends frames.
pub(crate) struct Sender(OwnedFd);

impl Sender {
    pub(crate) fn new(ifindex: u32) -> io::Result<Sender> {
        packet_socket(ifindex, 0).map(Sender)
    }

    /// Sends them all, in order.
    pub(crate) fn send(&self, frames: &[Vec<u8>]) -> io::Result<()> {
        let mut vectors: Vec<libc::iovec> = frames
            .iter()
            .map(|frame| libc::iovec {
                iov_base: frame.as_ptr().cast_mut().cast(),
                iov_len: frame.len(),
            })
            .collect();
        let mut messages: Vec<libc::mmsghdr> = vectors
            .iter_mut()
            .map(|vector| {
                // SAFETY: a header of all zeros is valid: no address, no control data.
                let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
                message.msg_hdr.msg_iov = vector;
                message.msg_hdr.msg_iovlen = 1;
                message
            })
            .collect();
        let mut sent = 0;
        while sent < messages.len() {
            let left = &mut messages[sent..];
            // SAFETY: the headers point to `vectors`, those to `frames`; all of them outlive the
            // call, which only reads the frames.
            let count = unsafe {
                libc::sendmmsg(self.0.as_raw_fd(), left.as_mut_ptr(), left.len() as u32, 0)
            };
            match count {
                0.. => sent += count as usize,
                _ => match io::Error::last_os_error() {
                    full if full.raw_os_error() == Some(libc::ENOBUFS) => std::thread::yield_now(),
                    error => return Err(error),
                },
            }
        }
        Ok(())
    }
}

/// Gets the frames of one type that come out of a device.
pub(crate) struct Listener(OwnedFd);

impl Listener {
    pub(crate) fn new(ifindex: u32, ether_type: u16) -> io::Result<Listener> {
        packet_socket(ifindex, ether_type).map(Listener)
    }

    /// The length of the next frame; `None`: there is none now.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let (start, len) = (buffer.as_mut_ptr().cast(), buffer.len());
        // SAFETY: the kernel writes at most the buffer's length.
        let got = unsafe { libc::recv(self.0.as_raw_fd(), start, len, libc::MSG_DONTWAIT) };
        match usize::try_from(got) {
            Ok(got) => Ok(Some(got)),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                error => Err(error),
            },
        }
    }
}

/// Counts the frames of one type that come out of a device. (Only a socket for a certain type sees
/// them behind traffic control; one for all types would see them before.)
pub(crate) struct Tap {
    socket: OwnedFd,
    seen: u64,
}

impl Tap {
    pub(crate) fn new(ifindex: u32, ether_type: u16) -> io::Result<Tap> {
        Ok(Tap { socket: packet_socket(ifindex, ether_type)?, seen: 0 })
    }

    /// How many there were, also those that the socket had no room for.
    pub(crate) fn count(&mut self) -> io::Result<u64> {
        let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut size = size_of::<libc::tpacket_stats>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `size` bytes into `statistics`.
        let got = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &mut size,
            )
        };
        if got != 0 {
            return Err(io::Error::last_os_error());
        }
        // Asking sets them back to zero.
        self.seen += u64::from(statistics.tp_packets);
        Ok(self.seen)
    }
}
