//! `bpf(2)` itself. The modules beside this one have the attributes of its commands (`union
//! bpf_attr`, `include/uapi/linux/bpf.h`). A kernel refuses bytes that it does not know unless they
//! are zero, so one structure serves every version.

use std::os::fd::OwnedFd;

use super::{Errno, check, check_fd};

/// Bytes of a name with its closing zero (`BPF_OBJ_NAME_LEN`).
pub(crate) const NAME_LEN: usize = 16;

/// `enum bpf_cmd`.
#[derive(Clone, Copy)]
#[repr(i32)]
pub(super) enum Command {
    MapCreate = 0,
    MapLookupElem = 1,
    MapUpdateElem = 2,
    MapDeleteElem = 3,
    MapGetNextKey = 4,
    ProgLoad = 5,
    ObjPin = 6,
    ObjGet = 7,
    ProgAttach = 8,
    ProgDetach = 9,
    ProgTestRun = 10,
    ProgGetNextId = 11,
    MapGetNextId = 12,
    ProgGetFdById = 13,
    MapGetFdById = 14,
    ObjGetInfoByFd = 15,
    ProgQuery = 16,
    RawTracepointOpen = 17,
    BtfLoad = 18,
    BtfGetFdById = 19,
    TaskFdQuery = 20,
    MapLookupAndDeleteElem = 21,
    MapFreeze = 22,
    BtfGetNextId = 23,
    MapLookupBatch = 24,
    MapUpdateBatch = 26,
    MapDeleteBatch = 27,
    LinkCreate = 28,
    LinkUpdate = 29,
    LinkGetFdById = 30,
    LinkGetNextId = 31,
    EnableStats = 32,
    IterCreate = 33,
    LinkDetach = 34,
    ProgBindMap = 35,
    TokenCreate = 36,
    ProgStreamReadByFd = 37,
}

/// The system call.
///
/// # Safety
/// `attr` is the structure that `command` takes, and every pointer in it stays valid for what the
/// kernel reads or writes through it.
pub(super) unsafe fn bpf<T>(command: Command, attr: &mut T) -> Result<libc::c_long, Errno> {
    let attr: *mut T = attr;
    // SAFETY: `attr` points to `size_of::<T>()` readable and writable bytes; the rest is the
    // caller's promise.
    check(unsafe { libc::syscall(libc::SYS_bpf, command as i32, attr, size_of::<T>()) })
}

/// As [`bpf`], for commands that give a file descriptor.
///
/// # Safety
/// As for [`bpf`].
pub(super) unsafe fn bpf_fd<T>(command: Command, attr: &mut T) -> Result<OwnedFd, Errno> {
    let attr: *mut T = attr;
    // SAFETY: as above; the descriptor is new.
    unsafe { check_fd(libc::syscall(libc::SYS_bpf, command as i32, attr, size_of::<T>())) }
}

/// What the kernel accepts as an object's name: letters, digits, `_` and `.`, at most 15.
pub(crate) fn object_name(name: &str) -> [u8; NAME_LEN] {
    let mut bytes = [0; NAME_LEN];
    for (to, from) in bytes.iter_mut().zip(name.bytes().take(NAME_LEN - 1)) {
        *to = if from.is_ascii_alphanumeric() || from == b'.' { from } else { b'_' };
    }
    bytes
}

/// A token's descriptor is given (`BPF_F_TOKEN_FD`, of `map_flags`, `prog_flags` and `btf_flags`).
pub(super) const FLAG_TOKEN: u32 = 1 << 16;

/// `BPF_ENABLE_STATS` with `BPF_STATS_RUN_TIME`: the kernel counts for as long as the descriptor is
/// open.
pub(crate) fn enable_run_time_stats() -> Result<OwnedFd, Errno> {
    const BPF_STATS_RUN_TIME: u32 = 0;
    let mut kind = BPF_STATS_RUN_TIME;
    // SAFETY: the command takes a single number and no pointers.
    unsafe { bpf_fd(Command::EnableStats, &mut kind) }
}

#[cfg(test)]
mod tests {
    use super::object_name;

    #[test]
    fn names_are_made_acceptable() {
        assert_eq!(&object_name("@x-y.z"), b"_x_y.z\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(&object_name("a_name_that_is_too_long"), b"a_name_that_is_\0");
    }
}
