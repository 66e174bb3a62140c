//! File systems: of our own, mounted nowhere (`fsopen(2)`, `fsmount(2)`; Linux 5.2), and BPF's.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

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

/// Whether this is in a BPF file system (`BPF_FS_MAGIC`).
pub(crate) fn is_bpf(directory: &CStr) -> bool {
    const BPF_FS_MAGIC: i64 = 0xcafe_4a11;
    // SAFETY: all fields of `statfs` are integers.
    let mut about: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path is a C string, and `about` is what the call writes to.
    let outcome = unsafe { libc::statfs(directory.as_ptr(), &mut about) };
    outcome == 0 && about.f_type as i64 & 0xffff_ffff == BPF_FS_MAGIC
}

/// Whether this file is one that the kernel shows of itself (`SYSFS_MAGIC`).
pub(crate) fn is_sysfs(file: BorrowedFd<'_>) -> bool {
    const SYSFS_MAGIC: i64 = 0x6265_6572;
    // SAFETY: all fields of `statfs` are integers.
    let mut about: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, and `about` is what the call writes to.
    let outcome = unsafe { libc::fstatfs(file.as_raw_fd(), &mut about) };
    outcome == 0 && about.f_type as i64 == SYSFS_MAGIC
}

/// `mount -t bpf`, private to this mount's peers, for root's eyes only.
pub(crate) fn mount_bpf(directory: &CStr) -> Result<(), Errno> {
    let mount = |source: &CStr, kind: &CStr, flags, data: Option<&CStr>| {
        let data = data.map_or(std::ptr::null(), |data| data.as_ptr().cast());
        // SAFETY: all pointers are C strings that outlive the call, or null.
        let outcome =
            unsafe { libc::mount(source.as_ptr(), directory.as_ptr(), kind.as_ptr(), flags, data) };
        check(outcome.into()).map(drop)
    };
    match mount(c"", c"none", libc::MS_PRIVATE | libc::MS_REC, None) {
        // Not a mount point yet.
        Err(libc::EINVAL) => {
            mount(directory, c"none", libc::MS_BIND, None)?;
            mount(c"", c"none", libc::MS_PRIVATE | libc::MS_REC, None)?;
        }
        outcome => outcome?,
    }
    mount(c"bpf", c"bpf", 0, Some(c"mode=0700"))
}
