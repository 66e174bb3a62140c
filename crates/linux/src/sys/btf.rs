//! `bpf(2)`: type information.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::Errno;
use super::bpf::{Command, FLAG_TOKEN, bpf, bpf_fd};
use super::object::info;

#[repr(C)]
#[derive(Default)]
struct BtfLoad {
    btf: u64,
    btf_log_buf: u64,
    btf_size: u32,
    btf_log_size: u32,
    btf_log_level: u32,
    btf_log_true_size: u32,
    btf_flags: u32,
    btf_token_fd: i32,
}

/// `BPF_BTF_LOAD`. With an empty `log` the kernel writes none.
pub(crate) fn load(
    btf: &[u8],
    token: Option<BorrowedFd<'_>>,
    log: &mut [u8],
) -> Result<OwnedFd, Errno> {
    let mut attr = BtfLoad {
        btf: btf.as_ptr() as u64,
        btf_size: u32::try_from(btf.len()).map_err(|_| libc::E2BIG)?,
        ..BtfLoad::default()
    };
    if let Some(token) = token {
        attr.btf_flags = FLAG_TOKEN;
        attr.btf_token_fd = token.as_raw_fd();
    }
    if !log.is_empty() {
        attr.btf_log_buf = log.as_mut_ptr() as u64;
        attr.btf_log_size = u32::try_from(log.len()).unwrap_or(u32::MAX);
        attr.btf_log_level = 1;
    }
    // SAFETY: both pointers come from slices that outlive the call, with their lengths.
    unsafe { bpf_fd(Command::BtfLoad, &mut attr) }
}

#[repr(C)]
#[derive(Default)]
struct GetId {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// `BPF_BTF_GET_NEXT_ID`: the id after this one; `ENOENT` after the last.
pub(crate) fn next_id(id: u32) -> Result<u32, Errno> {
    let mut attr = GetId { id, ..GetId::default() };
    // SAFETY: there are no pointers.
    unsafe { bpf(Command::BtfGetNextId, &mut attr) }?;
    Ok(attr.next_id)
}

/// `BPF_BTF_GET_FD_BY_ID`.
pub(crate) fn by_id(id: u32) -> Result<OwnedFd, Errno> {
    // SAFETY: there are no pointers.
    unsafe { bpf_fd(Command::BtfGetFdById, &mut GetId { id, ..GetId::default() }) }
}

/// `struct bpf_btf_info`.
#[repr(C)]
#[derive(Default)]
struct BtfInfo {
    btf: u64,
    btf_size: u32,
    id: u32,
    name: u64,
    name_len: u32,
    kernel_btf: u32,
}

/// The name of the kernel or of the module that these types are of; `None` for a program's.
pub(crate) fn kernel_name(btf: BorrowedFd<'_>) -> Result<Option<String>, Errno> {
    let mut name = [0u8; 64];
    let mut about = BtfInfo {
        name: name.as_mut_ptr() as u64,
        name_len: name.len() as u32,
        ..BtfInfo::default()
    };
    // SAFETY: all fields are numbers; the kernel writes at most `name_len` bytes to `name`.
    unsafe { info(btf, &mut about) }?;
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    Ok((about.kernel_btf != 0).then(|| String::from_utf8_lossy(&name[..end]).into_owned()))
}

/// The blob.
pub(crate) fn blob(btf: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    let mut about = BtfInfo::default();
    // SAFETY: all fields are numbers; no memory is offered.
    unsafe { info(btf, &mut about) }?;
    let mut blob = vec![0u8; about.btf_size as usize];
    let mut about = BtfInfo {
        btf: blob.as_mut_ptr() as u64,
        btf_size: blob.len() as u32,
        ..BtfInfo::default()
    };
    // SAFETY: as above; the kernel writes at most `btf_size` bytes to `blob`.
    unsafe { info(btf, &mut about) }?;
    Ok(blob)
}
