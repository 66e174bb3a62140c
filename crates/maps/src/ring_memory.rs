//! Memory that stands twice in a row, so that a record which runs over the end goes on as if there
//! were none.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::Errno;
use crate::words::{Bytes, Place};

/// Bytes of a page on the only machine there is.
pub(crate) const PAGE: usize = 4096;
/// Bytes before the data that user space sees, too: the consumer's page, the producer's.
const POSITIONS: usize = 2 * PAGE;
/// Bytes before the data: a page that is ours alone, and those.
const BEFORE: usize = PAGE + POSITIONS;

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
        let len = BEFORE + 2 * size;
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
        ring.map(PAGE, POSITIONS + size, 0)?;
        ring.map(BEFORE + size, size, POSITIONS)?;
        // SAFETY: the first page belongs to the mapping, and nobody knows of it yet.
        if unsafe { libc::mprotect(start, PAGE, libc::PROT_READ | libc::PROT_WRITE) } < 0 {
            return Err(libc::ENOMEM);
        }
        Ok(ring)
    }

    /// Whose ring it is: a number of the owner's choice.
    pub(crate) fn owner(&self) -> &AtomicU64 {
        // SAFETY: the first page is only accessed atomically.
        unsafe { AtomicU64::from_ptr(self.start.cast()) }
    }

    /// The pages from the start of the ring to the header at a position, which is kept there
    /// (`bpf_ringbuf_rec_pg_off`).
    pub(crate) fn page(&self, position: u64) -> u32 {
        ((BEFORE + self.offset(position)) / PAGE) as u32
    }

    /// The owner of the ring that a record lies in (`bpf_ringbuf_restore_from_rec`).
    ///
    /// # Safety
    /// `record` is the start of a record in a ring that there still is.
    pub(crate) unsafe fn owner_of(record: *const u8) -> u64 {
        let header = record.wrapping_sub(8);
        let into_page = header as usize % PAGE;
        // SAFETY: the header says how many pages lie between the ring's first page and its own.
        unsafe {
            let page = AtomicU32::from_ptr(header.add(4).cast::<u32>().cast_mut());
            let pages = page.load(Ordering::Relaxed) as usize;
            let start = header.wrapping_sub(into_page + pages * PAGE);
            AtomicU64::from_ptr(start.cast::<u64>().cast_mut()).load(Ordering::Relaxed)
        }
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
        unsafe { AtomicU64::from_ptr(self.start.add((1 + page) * PAGE + word * 8).cast()) }
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
        self.start.wrapping_add(BEFORE)
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
        unsafe { libc::munmap(self.start.cast(), BEFORE + 2 * self.size) };
    }
}
