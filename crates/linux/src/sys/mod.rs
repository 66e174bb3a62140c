//! The system calls, with the only unsafe code of the crate. Everything here takes slices and
//! owned descriptors, fails with the bare error number, and knows nothing of tracing.
#![allow(unsafe_code)]

pub(crate) mod bpf;
pub(crate) mod btf;
pub(crate) mod clock;
pub(crate) mod fork;
pub(crate) mod hook;
pub(crate) mod link;
pub(crate) mod map;
pub(crate) mod mapping;
pub(crate) mod memory;
pub(crate) mod mount;
pub(crate) mod netlink;
pub(crate) mod object;
pub(crate) mod perf;
pub(crate) mod perf_ring;
pub(crate) mod poll;
pub(crate) mod process;
pub(crate) mod prog;
pub(crate) mod record;
pub(crate) mod socket;
pub(crate) mod user_ring;

use std::os::fd::{FromRawFd, OwnedFd};

/// An error number, as the C library has it.
pub(crate) type Errno = i32;

pub(crate) use bombus_kernel::ENOTSUPP;

/// What the last failed call of this thread left in `errno`.
fn errno() -> Errno {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

/// Turns the C library's `-1` into the error number.
fn check(value: libc::c_long) -> Result<libc::c_long, Errno> {
    if value < 0 { Err(errno()) } else { Ok(value) }
}

/// As [`check`], for calls that give a new file descriptor.
///
/// # Safety
/// `value` is what such a call returned just now: nobody else owns the descriptor.
unsafe fn check_fd(value: libc::c_long) -> Result<OwnedFd, Errno> {
    let fd = check(value)?;
    // SAFETY: by the contract the descriptor is open and ours alone; descriptors are `int`s.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
