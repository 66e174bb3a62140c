//! Memory that stands twice in a row, so that a record which runs over the end goes on as if there
//! were none.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::Errno;
use crate::words::{Bytes, Place};

/// Bytes of a page on the only machine there is.
pub(crate) const PAGE: usize = 4096;
/// Pages before the data: the consumer's position, the producer's.
const POSITIONS: usize = 2 * PAGE;

/// A ring as the kernel lays it out for user space (`struct bpf_ringbuf`, `kernel/bpf/ringbuf.c`).
#[derive(Debug)]
pub(crate) struct RingMemory {
    start: *mut u8,
    size: usize,
    file: OwnedFd,
}

// SAFETY: it is memory that is only accessed by atomic operations and by programs.
unsafe impl Send for RingMemory {}
// SAFETY: as above.
unsafe impl Sync for RingMemory {}

impl RingMemory {
    /// A ring with so many bytes of data, a power of two and a multiple of a page.
    pub(crate) fn new(size: usize) -> Result<RingMemory, Errno> {
        assert!(size.is_power_of_two() && size >= PAGE);
        // SAFETY: the name is a string with its zero; the descriptor is new.
        let file = unsafe {
            let file = libc::memfd_create(c"bpf-ringbuf".as_ptr(), libc::MFD_CLOEXEC);
            if file < 0 {
                return Err(libc::ENOMEM);
            }
            OwnedFd::from_raw_fd(file)
        };
        let len = POSITIONS + 2 * size;
        // SAFETY: it only makes the new file longer; then a new mapping, at an address that the
        // system chooses.
        let start = unsafe {
            if libc::ftruncate(file.as_raw_fd(), (POSITIONS + size) as i64) < 0 {
                return Err(libc::ENOMEM);
            }
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            libc::mmap(ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0)
        };
        if start == libc::MAP_FAILED {
            return Err(libc::ENOMEM);
        }
        let ring = RingMemory { start: start.cast(), size, file };
        ring.map(0, POSITIONS + size, 0)?;
        ring.map(POSITIONS + size, size, POSITIONS)?;
        Ok(ring)
    }

    /// Maps a part of the file into the reserved addresses.
    fn map(&self, at: usize, len: usize, from: usize) -> Result<(), Errno> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_FIXED;
        // SAFETY: the addresses belong to the mapping that `new` has reserved.
        let mapped = unsafe {
            let to = self.start.add(at).cast();
            libc::mmap(to, len, access, flags, self.file.as_raw_fd(), from as i64)
        };
        if mapped == libc::MAP_FAILED { Err(libc::ENOMEM) } else { Ok(()) }
    }

    /// The file: the consumer's page, the producer's page, the data once.
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.file.as_fd()
    }

    /// Bytes of data.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    fn position(&self, page: usize, word: usize) -> &AtomicU64 {
        // SAFETY: two whole pages come before the data, and are only accessed atomically.
        unsafe { AtomicU64::from_ptr(self.start.add(page * PAGE + word * 8).cast()) }
    }

    /// What has been read.
    pub(crate) fn consumer(&self) -> &AtomicU64 {
        self.position(0, 0)
    }

    /// What has been written.
    pub(crate) fn producer(&self) -> &AtomicU64 {
        self.position(1, 0)
    }

    /// The first record that is not complete.
    pub(crate) fn pending(&self) -> &AtomicU64 {
        self.position(1, 1)
    }

    /// Where data starts; it stands there twice.
    pub(crate) fn data(&self) -> *mut u8 {
        self.start.wrapping_add(POSITIONS)
    }

    fn offset(&self, position: u64) -> usize {
        position as usize & (self.size - 1) & !7
    }

    /// The half of the header at a position: 0 has the length, 1 the page.
    pub(crate) fn header(&self, position: u64, half: usize) -> &AtomicU32 {
        debug_assert!(half < 2);
        // SAFETY: a header of eight bytes at a multiple of eight lies within the data.
        unsafe { AtomicU32::from_ptr(self.data().add(self.offset(position) + half * 4).cast()) }
    }

    /// The bytes of a record after its header; as many as there can be.
    pub(crate) fn record(&self, position: u64, len: usize) -> Bytes<'_> {
        let len = len.min(self.size - 8);
        // SAFETY: the data stands there twice, so `size` bytes follow each offset in the first.
        unsafe { Bytes::from_raw(self.data().add(self.offset(position) + 8), len) }
    }

    /// The same, to be written.
    pub(crate) fn place(&self, position: u64, len: usize) -> Place<'_> {
        let words = len.min(self.size - 8).div_ceil(8).max(1);
        // SAFETY: as above; offsets are multiples of eight.
        unsafe { Place::from_raw(self.data().add(self.offset(position) + 8), words) }
    }
}

impl Drop for RingMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and whoever holds pointers into it holds the map.
        unsafe { libc::munmap(self.start.cast(), POSITIONS + 2 * self.size) };
    }
}
