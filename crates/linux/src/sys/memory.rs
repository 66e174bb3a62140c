//! The values of a map as memory shared with programs.
//!
//! Programs, and whoever else has mapped them, write at any time, so that no reference to this
//! memory is ever made: it is read and written by atomic words, as wide as offset and length allow.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

use super::Errno;
use super::mapping::{Mapping, page_size};

/// A map's values, mapped.
pub(crate) struct Memory {
    mapping: Mapping,
    writable: bool,
}

impl Memory {
    /// Maps at least `len` bytes of the map's values.
    pub(crate) fn new(map: BorrowedFd<'_>, len: usize, writable: bool) -> Result<Memory, Errno> {
        Memory::at(0, map, len, writable)
    }

    /// The same at an address where nothing is yet; at any when it is 0.
    pub(crate) fn at(
        address: usize,
        map: BorrowedFd<'_>,
        len: usize,
        writable: bool,
    ) -> Result<Memory, Errno> {
        let len = len.checked_next_multiple_of(page_size()).ok_or(libc::EINVAL)?;
        let mapping = Mapping::at(address, len, writable, Some((map, 0)))?;
        mapping.keep_from_children();
        Ok(Memory { mapping, writable })
    }

    pub(crate) fn size(&self) -> usize {
        self.mapping.len
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.writable
    }

    /// Where `len` bytes from `offset` start, when all are inside.
    fn start(&self, offset: usize, len: usize) -> Result<*mut u8, Errno> {
        let end = offset.checked_add(len).ok_or(libc::EFAULT)?;
        if end > self.mapping.len {
            return Err(libc::EFAULT);
        }
        // SAFETY: `offset` is at most the mapping's length.
        Ok(unsafe { self.mapping.start.as_ptr().add(offset) })
    }

    fn start_to_write(&self, offset: usize, len: usize) -> Result<*mut u8, Errno> {
        if self.writable { self.start(offset, len) } else { Err(libc::EPERM) }
    }

    pub(crate) fn read(&self, offset: usize, to: &mut [u8]) -> Result<(), Errno> {
        let start = self.start(offset, to.len())?;
        let mut at = 0;
        while at < to.len() {
            let word = start.wrapping_add(at);
            let width = width(word as usize, to.len() - at);
            // SAFETY: `width` bytes from `word`, which is aligned to them, are in the mapping.
            let bytes = unsafe { load(word, width) };
            to[at..at + width].copy_from_slice(&bytes[..width]);
            at += width;
        }
        fence(Ordering::Acquire);
        Ok(())
    }

    pub(crate) fn write(&self, offset: usize, from: &[u8]) -> Result<(), Errno> {
        let start = self.start_to_write(offset, from.len())?;
        fence(Ordering::Release);
        let mut at = 0;
        while at < from.len() {
            let word = start.wrapping_add(at);
            let width = width(word as usize, from.len() - at);
            let mut bytes = [0; 8];
            bytes[..width].copy_from_slice(&from[at..at + width]);
            // SAFETY: as above, and the mapping is writable.
            unsafe { store(word, width, bytes) };
            at += width;
        }
        Ok(())
    }

    /// Adds to an aligned word; gives what it was.
    pub(crate) fn fetch_add(&self, offset: usize, value: u64) -> Result<u64, Errno> {
        let start = self.start_to_write(offset, 8)?;
        if !offset.is_multiple_of(8) {
            return Err(libc::EINVAL);
        }
        // SAFETY: the word is inside the mapping and, as the mapping starts with a page, aligned.
        Ok(unsafe { AtomicU64::from_ptr(start.cast()) }.fetch_add(value, Ordering::AcqRel))
    }
}

/// The widest word that an aligned access can have here.
fn width(address: usize, left: usize) -> usize {
    [8, 4, 2].into_iter().find(|&size| address.is_multiple_of(size) && left >= size).unwrap_or(1)
}

/// The bytes of a word, at the start.
///
/// # Safety
/// `word` is aligned to `width` and points to as many bytes that stay mapped and are only ever
/// accessed atomically.
unsafe fn load(word: *mut u8, width: usize) -> [u8; 8] {
    let relaxed = Ordering::Relaxed;
    // SAFETY: by the contract.
    let value = unsafe {
        match width {
            8 => AtomicU64::from_ptr(word.cast()).load(relaxed),
            4 => AtomicU32::from_ptr(word.cast()).load(relaxed).into(),
            2 => AtomicU16::from_ptr(word.cast()).load(relaxed).into(),
            _ => AtomicU8::from_ptr(word).load(relaxed).into(),
        }
    };
    value.to_le_bytes()
}

/// Stores the first `width` bytes.
///
/// # Safety
/// As for [`load`], and the memory can be written to.
unsafe fn store(word: *mut u8, width: usize, bytes: [u8; 8]) {
    let (value, relaxed) = (u64::from_le_bytes(bytes), Ordering::Relaxed);
    // SAFETY: by the contract.
    unsafe {
        match width {
            8 => AtomicU64::from_ptr(word.cast()).store(value, relaxed),
            4 => AtomicU32::from_ptr(word.cast()).store(value as u32, relaxed),
            2 => AtomicU16::from_ptr(word.cast()).store(value as u16, relaxed),
            _ => AtomicU8::from_ptr(word).store(value as u8, relaxed),
        }
    }
}
