//! Structures that the kernel fills in, by the offsets of their fields.
//!
//! What `BPF_OBJ_GET_INFO_BY_FD` tells of an object (`struct bpf_prog_info` and the like,
//! `include/uapi/linux/bpf.h`) grows from version to version: what a kernel does not know stays
//! zero here, what it knows and we do not is not asked for.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::Errno;
use super::bpf::{Command, bpf};

/// A structure of C, by the offsets of its fields. Eight bytes aligned, as its pointers have to be.
pub(crate) struct Record<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Record<WORDS> {
    pub(crate) fn new() -> Record<WORDS> {
        Record([0; WORDS])
    }

    pub(crate) fn u32(&self, at: usize) -> u32 {
        (self.0[at / 8] >> (at % 8 * 8)) as u32
    }

    pub(crate) fn u64(&self, at: usize) -> u64 {
        self.0[at / 8]
    }

    fn set_u32(&mut self, at: usize, value: u32) {
        let shift = at % 8 * 8;
        let word = &mut self.0[at / 8];
        *word = *word & !(0xffff_ffff << shift) | u64::from(value) << shift;
    }

    fn set_u64(&mut self, at: usize, value: u64) {
        self.0[at / 8] = value;
    }

    pub(crate) fn bytes<const LEN: usize>(&self, at: usize) -> [u8; LEN] {
        std::array::from_fn(|index| (self.0[(at + index) / 8] >> ((at + index) % 8 * 8)) as u8)
    }

    /// A name that ends at the first zero byte.
    pub(crate) fn name<const LEN: usize>(&self, at: usize) -> String {
        text(&self.bytes::<LEN>(at))
    }
}

/// Bytes up to the first zero.
pub(crate) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// An array that the kernel fills in beside a structure of information.
pub(crate) struct Array<'a> {
    /// Where the structure has its address.
    pub(crate) pointer: usize,
    /// Where the structure has how many elements there are.
    pub(crate) count: usize,
    /// Where the structure has how large an element is, when it says so.
    pub(crate) element: Option<usize>,
    /// Bytes of an element.
    pub(crate) size: usize,
    pub(crate) room: &'a mut [u8],
}

/// What `BPF_OBJ_GET_INFO_BY_FD` takes.
#[repr(C)]
struct ObjectInfo {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// `BPF_OBJ_GET_INFO_BY_FD`. `info` says what is asked for and is filled in; so are the arrays,
/// each as far as it has room.
pub(crate) fn info<const WORDS: usize>(
    object: BorrowedFd<'_>,
    info: &mut Record<WORDS>,
    arrays: &mut [Array<'_>],
) -> Result<(), Errno> {
    for array in arrays {
        info.set_u32(array.count, u32::try_from(array.room.len() / array.size).unwrap_or(0));
        if let Some(element) = array.element {
            info.set_u32(element, array.size as u32);
        }
        let address = if array.room.is_empty() { 0 } else { array.room.as_mut_ptr() as u64 };
        info.set_u64(array.pointer, address);
    }
    let mut attr = ObjectInfo {
        bpf_fd: object.as_raw_fd() as u32,
        info_len: size_of_val(&info.0) as u32,
        info: info.0.as_mut_ptr() as u64,
    };
    // SAFETY: the kernel writes at most the structure's size to `info`, and to each array at most
    // as many elements of the size as were just said to fit.
    unsafe { bpf(Command::ObjGetInfoByFd, &mut attr) }.map(drop)
}

/// The structure as it is, of at most so many bytes: whoever asks knows its type. Pointers in it
/// are null, so that no array is filled in.
pub(crate) fn raw_info(object: BorrowedFd<'_>, len: usize) -> Result<Vec<u8>, Errno> {
    // The kernel reads and writes words.
    let mut words = vec![0u64; len.div_ceil(8)];
    let mut attr = ObjectInfo {
        bpf_fd: object.as_raw_fd() as u32,
        info_len: u32::try_from(len).map_err(|_| libc::E2BIG)?,
        info: words.as_mut_ptr() as u64,
    };
    // SAFETY: the kernel writes at most `len` bytes to `words`.
    unsafe { bpf(Command::ObjGetInfoByFd, &mut attr) }?;
    let bytes = words.into_iter().flat_map(u64::to_ne_bytes);
    Ok(bytes.take(len).collect())
}
