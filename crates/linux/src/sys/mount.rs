//! A file system of our own, mounted nowhere (`fsopen(2)`, `fsmount(2)`; Linux 5.2).

use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd};

use super::{Errno, check, check_fd};

/// A mount of `kind` that only this process sees, through the descriptor. It is gone when the
/// descriptor is closed: nothing on the machine has changed.
pub(crate) fn detached(kind: &CStr) -> Result<OwnedFd, Errno> {
    const FSOPEN_CLOEXEC: u32 = 1;
    const FSMOUNT_CLOEXEC: u32 = 1;
    const FSCONFIG_CMD_CREATE: u32 = 6;
    let null = std::ptr::null::<u8>();
    // SAFETY: `kind` is a C string that outlives the call; the descriptor is new.
    let context =
        unsafe { check_fd(libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC)) }?;
    let fd = context.as_raw_fd();
    // SAFETY: this command takes no key and no value.
    check(unsafe { libc::syscall(libc::SYS_fsconfig, fd, FSCONFIG_CMD_CREATE, null, null, 0) })?;
    // SAFETY: there are no pointers; the descriptor is new.
    unsafe { check_fd(libc::syscall(libc::SYS_fsmount, fd, FSMOUNT_CLOEXEC, 0)) }
}
