//! Sockets and network namespaces.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use super::{Errno, check};

/// `SO_ATTACH_REUSEPORT_EBPF`.
const ATTACH_REUSEPORT: libc::c_int = 52;
/// `SO_DETACH_REUSEPORT_BPF`.
const DETACH_REUSEPORT: libc::c_int = 68;

/// Which file a descriptor of this process stands for: device and inode.
pub(crate) fn identity(fd: RawFd) -> Result<(u64, u64), Errno> {
    // SAFETY: `struct stat` is plain numbers.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` outlives the call; a number that is no descriptor fails.
    check(unsafe { libc::fstat(fd, &mut stat) }.into())?;
    Ok((stat.st_dev, stat.st_ino))
}

fn set_option(socket: RawFd, option: libc::c_int, value: libc::c_int) -> Result<(), Errno> {
    let (value, size): (*const libc::c_int, _) = (&value, size_of::<libc::c_int>() as u32);
    // SAFETY: `value` outlives the call; a number that is no socket fails.
    check(unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, option, value.cast(), size) }.into())
        .map(drop)
}

/// Makes a program the filter of a socket, or the chooser of its `SO_REUSEPORT` group.
pub(crate) fn attach(socket: RawFd, program: BorrowedFd<'_>, reuseport: bool) -> Result<(), Errno> {
    let option = if reuseport { ATTACH_REUSEPORT } else { libc::SO_ATTACH_BPF };
    set_option(socket, option, program.as_raw_fd())
}

/// Undoes [`attach`].
pub(crate) fn detach(socket: RawFd, reuseport: bool) -> Result<(), Errno> {
    set_option(socket, if reuseport { DETACH_REUSEPORT } else { libc::SO_DETACH_FILTER }, 0)
}

/// The number of a network device.
pub(crate) fn interface_index(name: &CStr) -> Result<u32, Errno> {
    // SAFETY: `name` is a C string.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(super::errno()),
        index => Ok(index),
    }
}

/// The name of a network device.
pub(crate) fn interface_name(ifindex: u32) -> Option<String> {
    let mut name = [0u8; libc::IF_NAMESIZE];
    // SAFETY: `name` has the room that the call wants.
    let found = unsafe { libc::if_indextoname(ifindex, name.as_mut_ptr().cast()) };
    (!found.is_null()).then(|| super::record::text(&name))
}

/// Gives this process, which has one thread, user and network namespaces of its own. Who it is stays
/// the same in there.
pub(crate) fn new_namespaces() -> Result<(), Errno> {
    // SAFETY: these take and touch nothing.
    let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
    // SAFETY: there are no pointers.
    check(unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET) }.into())?;
    let write = |file: &str, text: &str| {
        let written = std::fs::write(format!("/proc/self/{file}"), text);
        written.map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))
    };
    write("setgroups", "deny")?;
    write("uid_map", &format!("{user} {user} 1"))?;
    write("gid_map", &format!("{group} {group} 1"))
}

/// Gives the calling thread a network namespace of its own.
pub(crate) fn new_namespace() -> Result<(), Errno> {
    // SAFETY: there are no pointers, and it concerns this thread alone.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) }.into()).map(drop)
}
