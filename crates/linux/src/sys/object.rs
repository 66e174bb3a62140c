//! `bpf(2)`: what is the same for programs, maps, links and types: finding them, asking about them,
//! pinning them; and tokens.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::Errno;
use super::bpf::{Command, NAME_LEN, bpf, bpf_fd};
use super::record::{Record, info};

/// A kind of object that has ids.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Program,
    Map,
    Link,
    Btf,
}

#[repr(C)]
#[derive(Default)]
struct GetId {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// `BPF_*_GET_NEXT_ID`: the id after this one; `None` after the last.
pub(crate) fn next_id(kind: Kind, id: u32) -> Result<Option<u32>, Errno> {
    let command = match kind {
        Kind::Program => Command::ProgGetNextId,
        Kind::Map => Command::MapGetNextId,
        Kind::Link => Command::LinkGetNextId,
        Kind::Btf => Command::BtfGetNextId,
    };
    let mut attr = GetId { id, ..GetId::default() };
    // SAFETY: there are no pointers.
    match unsafe { bpf(command, &mut attr) } {
        Ok(_) => Ok(Some(attr.next_id)),
        Err(libc::ENOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// `BPF_*_GET_FD_BY_ID`. `flags` is `BPF_F_RDONLY` and the like, for maps.
pub(crate) fn by_id(kind: Kind, id: u32, flags: u32) -> Result<OwnedFd, Errno> {
    let command = match kind {
        Kind::Program => Command::ProgGetFdById,
        Kind::Map => Command::MapGetFdById,
        Kind::Link => Command::LinkGetFdById,
        Kind::Btf => Command::BtfGetFdById,
    };
    // SAFETY: there are no pointers.
    unsafe { bpf_fd(command, &mut GetId { id, next_id: 0, open_flags: flags }) }
}

/// `struct bpf_prog_info` and `struct bpf_map_info`, by field.
pub(crate) type ProgramRecord = Record<29>;
pub(crate) type MapRecord = Record<11>;

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
    let mut about = ProgramRecord::new();
    info(program, &mut about, &mut [])?;
    Ok(Program {
        id: about.u32(4),
        prog_type: about.u32(0),
        name: about.name::<NAME_LEN>(64),
        btf_id: about.u32(128),
    })
}

/// What a map is.
#[derive(Clone)]
pub(crate) struct MapFacts {
    pub(crate) id: u32,
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
    let mut about = MapRecord::new();
    info(map, &mut about, &mut [])?;
    Ok(MapFacts {
        id: about.u32(4),
        map_type: about.u32(0),
        key_size: about.u32(8),
        value_size: about.u32(12),
        max_entries: about.u32(16),
        flags: about.u32(20),
        name: about.name::<NAME_LEN>(24),
        extra: about.u64(80),
    })
}

/// The id of a link.
pub(crate) fn link_id(link: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut about = Record::<1>::new();
    info(link, &mut about, &mut [])?;
    Ok(about.u32(4))
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

/// `BPF_OBJ_GET`. `flags` is `BPF_F_RDONLY` and the like.
pub(crate) fn pinned(path: &CStr, flags: u32) -> Result<OwnedFd, Errno> {
    let mut attr = Named { pathname: path.as_ptr() as u64, file_flags: flags, ..Named::default() };
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
