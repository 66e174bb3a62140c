//! `bpf(2)`: what is the same for maps, programs and links: asking about them, pinning them, and
//! tokens.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::Errno;
use super::bpf::{Command, NAME_LEN, bpf, bpf_fd};

#[repr(C)]
struct ObjectInfo {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// `BPF_OBJ_GET_INFO_BY_FD`. What the kernel does not have stays as it is.
///
/// # Safety
/// `T` is the head of the object's information structure, in which every bit pattern is valid;
/// pointers in it are null or valid for the length beside them.
pub(super) unsafe fn info<T>(object: BorrowedFd<'_>, info: &mut T) -> Result<(), Errno> {
    let info: *mut T = info;
    let mut attr = ObjectInfo {
        bpf_fd: object.as_raw_fd() as u32,
        info_len: size_of::<T>() as u32,
        info: info as u64,
    };
    // SAFETY: the kernel writes at most `info_len` bytes to `info`; the rest is the caller's
    // promise.
    unsafe { bpf(Command::ObjGetInfoByFd, &mut attr) }.map(drop)
}

/// `struct bpf_prog_info`, up to what is asked for.
#[repr(C)]
#[derive(Default)]
struct ProgInfo {
    prog_type: u32,
    id: u32,
    tag: [u8; 8],
    lengths: [u32; 2],
    codes: [u64; 2],
    load_time: u64,
    created_by_uid: u32,
    nr_map_ids: u32,
    map_ids: u64,
    name: [u8; NAME_LEN],
    ifindex: u32,
    gpl_compatible: u32,
    netns: [u64; 2],
    nr_jited: [u32; 2],
    jited: [u64; 2],
    btf_id: u32,
    pad: u32,
}

/// What a program is.
pub(crate) struct Program {
    /// No other program has it as long as this one lives.
    pub(crate) id: u32,
    pub(crate) prog_type: u32,
    pub(crate) name: String,
    /// Of its types; 0: none.
    pub(crate) btf_id: u32,
}

/// `BPF_OBJ_GET_INFO_BY_FD` of a program.
pub(crate) fn program(program: BorrowedFd<'_>) -> Result<Program, Errno> {
    let mut about = ProgInfo::default();
    // SAFETY: all fields are numbers, all pointers null.
    unsafe { info(program, &mut about) }?;
    Ok(Program {
        id: about.id,
        prog_type: about.prog_type,
        name: until_zero(&about.name),
        btf_id: about.btf_id,
    })
}

/// `struct bpf_map_info`.
#[repr(C)]
#[derive(Default)]
struct MapInfo {
    map_type: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    name: [u8; NAME_LEN],
    ifindex: u32,
    btf_vmlinux_value_type_id: u32,
    netns: [u64; 2],
    btf_id: u32,
    btf_key_type_id: u32,
    btf_value_type_id: u32,
    btf_vmlinux_id: u32,
    map_extra: u64,
}

/// What a map is.
#[derive(Clone)]
pub(crate) struct MapFacts {
    pub(crate) map_type: u32,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) flags: u32,
    pub(crate) name: String,
    pub(crate) extra: u64,
}

/// `BPF_OBJ_GET_INFO_BY_FD` of a map.
pub(crate) fn map(map: BorrowedFd<'_>) -> Result<MapFacts, Errno> {
    let mut about = MapInfo::default();
    // SAFETY: all fields are numbers.
    unsafe { info(map, &mut about) }?;
    Ok(MapFacts {
        map_type: about.map_type,
        key_size: about.key_size,
        value_size: about.value_size,
        max_entries: about.max_entries,
        flags: about.map_flags,
        name: until_zero(&about.name),
        extra: about.map_extra,
    })
}

fn until_zero(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[repr(C)]
#[derive(Default)]
struct Named {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// `BPF_OBJ_PIN`.
pub(crate) fn pin(object: BorrowedFd<'_>, path: &CStr) -> Result<(), Errno> {
    let mut attr = Named {
        pathname: path.as_ptr() as u64,
        bpf_fd: object.as_raw_fd() as u32,
        ..Named::default()
    };
    // SAFETY: `path` is a C string that outlives the call.
    unsafe { bpf(Command::ObjPin, &mut attr) }.map(drop)
}

/// `BPF_OBJ_GET`.
pub(crate) fn pinned(path: &CStr) -> Result<OwnedFd, Errno> {
    let mut attr = Named { pathname: path.as_ptr() as u64, ..Named::default() };
    // SAFETY: as above.
    unsafe { bpf_fd(Command::ObjGet, &mut attr) }
}

#[repr(C)]
struct TokenCreate {
    flags: u32,
    bpffs_fd: u32,
}

/// `BPF_TOKEN_CREATE` from a directory of a BPF file system that passes rights on (Linux 6.9).
pub(crate) fn token(directory: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let mut attr = TokenCreate { flags: 0, bpffs_fd: directory.as_raw_fd() as u32 };
    // SAFETY: there are no pointers.
    unsafe { bpf_fd(Command::TokenCreate, &mut attr) }
}

/// What the kernel says to a token from nowhere: `EBADF` if it has tokens.
pub(crate) fn no_token() -> Errno {
    let mut attr = TokenCreate { flags: 0, bpffs_fd: u32::MAX };
    // SAFETY: there are no pointers.
    unsafe { bpf_fd(Command::TokenCreate, &mut attr) }.err().unwrap_or(0)
}
