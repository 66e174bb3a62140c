//! `bpf(2)`: type information.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::Errno;
use super::bpf::{Command, FLAG_TOKEN, bpf_fd};
use super::record::{Array, Record, info, text};

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

/// `struct bpf_btf_info`, by field.
pub(crate) type BtfRecord = Record<4>;

/// The structure, and the name that it points to.
pub(crate) fn about(btf: BorrowedFd<'_>) -> Result<(BtfRecord, String), Errno> {
    let (mut about, mut name) = (BtfRecord::new(), [0u8; 64]);
    let array = Array { pointer: 16, count: 24, element: None, size: 1, room: &mut name };
    info(btf, &mut about, &mut [array])?;
    Ok((about, text(&name)))
}

/// The name of the kernel or of the module that these types are of; `None` for a program's.
pub(crate) fn kernel_name(btf: BorrowedFd<'_>) -> Result<Option<String>, Errno> {
    let (about, name) = about(btf)?;
    Ok((about.u32(28) != 0).then_some(name))
}

/// The blob.
pub(crate) fn blob(btf: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    let mut about = BtfRecord::new();
    info(btf, &mut about, &mut [])?;
    let mut blob = vec![0u8; about.u32(8) as usize];
    let array = Array { pointer: 0, count: 8, element: None, size: 1, room: &mut blob };
    info(btf, &mut BtfRecord::new(), &mut [array])?;
    Ok(blob)
}
