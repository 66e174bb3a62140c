//! Memory shared with the kernel or with a forked child.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::{Errno, errno, mount};

/// A mapping that is unmapped when dropped.
pub(super) struct Mapping {
    pub(super) start: NonNull<u8>,
    pub(super) len: usize,
}

/// Bytes of a page.
pub(super) fn page_size() -> usize {
    // SAFETY: asks for a constant of the system.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

impl Mapping {
    /// `mmap(2)`, shared; anonymous without a descriptor.
    pub(super) fn new(
        len: usize,
        write: bool,
        fd: Option<(BorrowedFd<'_>, i64)>,
    ) -> Result<Mapping, Errno> {
        Mapping::at(0, len, write, fd)
    }

    /// The same at an address where nothing is yet; at any when it is 0.
    pub(super) fn at(
        address: usize,
        len: usize,
        write: bool,
        fd: Option<(BorrowedFd<'_>, i64)>,
    ) -> Result<Mapping, Errno> {
        let protection = libc::PROT_READ | if write { libc::PROT_WRITE } else { 0 };
        let flags = libc::MAP_SHARED | if fd.is_none() { libc::MAP_ANONYMOUS } else { 0 };
        let flags = flags | if address == 0 { 0 } else { libc::MAP_FIXED_NOREPLACE };
        let (fd, offset) = fd.map_or((-1, 0), |(fd, offset)| (fd.as_raw_fd(), offset));
        let address = std::ptr::without_provenance_mut(address);
        // SAFETY: the kernel picks an unused address or refuses one that is used (before 4.17 it
        // picks another), so nobody else's memory changes.
        let start = unsafe { libc::mmap(address, len, protection, flags, fd, offset) };
        if start == libc::MAP_FAILED {
            return Err(errno());
        }
        let start = NonNull::new(start.cast()).ok_or(libc::ENOMEM)?;
        Ok(Mapping { start, len })
    }

    /// The first bytes of a file, to be read only.
    fn of_file(len: usize, fd: BorrowedFd<'_>) -> Result<Mapping, Errno> {
        let flags = libc::MAP_PRIVATE;
        // SAFETY: the kernel picks an unused address, so nobody else's memory changes.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ, flags, fd.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(errno());
        }
        let start = NonNull::new(start.cast()).ok_or(libc::ENOMEM)?;
        Ok(Mapping { start, len })
    }

    /// Keeps forked children from inheriting the mapping, and with it a reference to its map.
    pub(super) fn keep_from_children(&self) {
        // SAFETY: the range is exactly this mapping. A failure only means that a child holds the
        // map a little longer.
        unsafe { libc::madvise(self.start.as_ptr().cast(), self.len, libc::MADV_DONTFORK) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new`, and whoever borrowed from it is gone.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// The kernel's own types where they lie in its memory: they never change.
pub(crate) struct KernelTypes(Mapping);

// SAFETY: the mapping is only ever read, and belongs to whoever has this.
unsafe impl Send for KernelTypes {}
// SAFETY: as above.
unsafe impl Sync for KernelTypes {}

impl KernelTypes {
    /// Maps the file in which the kernel shows them (Linux 6.16).
    pub(crate) fn new(file: &File) -> Result<KernelTypes, Errno> {
        let len = file.metadata().ok().and_then(|about| usize::try_from(about.len()).ok());
        // What is mounted over the kernel's own file may well change.
        match len.filter(|_| mount::is_sysfs(file.as_fd())) {
            Some(len) => Mapping::of_file(len, file.as_fd()).map(KernelTypes),
            None => Err(libc::EINVAL),
        }
    }
}

impl AsRef<[u8]> for KernelTypes {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the mapping lives as long as `self`. The file has as many bytes, and the kernel,
        // whose read-only data they are, never changes them (`kernel/bpf/sysfs_btf.c`).
        unsafe { std::slice::from_raw_parts(self.0.start.as_ptr(), self.0.len) }
    }
}

/// A few flags that parent and forked child both see.
pub(crate) struct SharedFlags(Mapping);

impl SharedFlags {
    pub(crate) fn new() -> Result<SharedFlags, Errno> {
        Mapping::new(64, true, None).map(SharedFlags)
    }

    /// Flag 0 to 15, all zero at first.
    pub(crate) fn flag(&self, index: usize) -> &AtomicU32 {
        assert!(index < 16);
        // SAFETY: the mapping has 16 aligned words, lives as long as `self`, and is only ever
        // accessed atomically.
        unsafe { AtomicU32::from_ptr(self.0.start.as_ptr().cast::<u32>().add(index)) }
    }
}

/// A record's header: its length with two flags on top, then the distance to the buffer's start
/// (`struct bpf_ringbuf_hdr`, `kernel/bpf/ringbuf.c`).
pub(super) const HEADER: usize = 8;
/// The producer still writes the record (`BPF_RINGBUF_BUSY_BIT`).
pub(super) const BUSY: u32 = 1 << 31;
/// The producer gave the record up (`BPF_RINGBUF_DISCARD_BIT`).
const DISCARD: u32 = 1 << 30;

/// The user's side of a ring buffer map: a page with the consumer's position, a page with the
/// producer's, and the data mapped twice in a row, so that a record that wraps around is still
/// one slice.
pub(crate) struct RingBuffer {
    consumer: Mapping,
    producer: Mapping,
    page: usize,
    size: usize,
}

impl RingBuffer {
    /// Maps the ring buffer map `fd` with `size` bytes of data.
    pub(crate) fn new(fd: BorrowedFd<'_>, size: u32) -> Result<RingBuffer, Errno> {
        let size = size as usize;
        let page = page_size();
        if !size.is_power_of_two() || !size.is_multiple_of(page) {
            return Err(libc::EINVAL);
        }
        let consumer = Mapping::new(page, true, Some((fd, 0)))?;
        let producer = Mapping::new(page + 2 * size, false, Some((fd, page as i64)))?;
        consumer.keep_from_children();
        producer.keep_from_children();
        Ok(RingBuffer { consumer, producer, page, size })
    }

    /// Gives every record that is ready to `each`, in order and where it lies; returns how many.
    pub(crate) fn consume(&self, each: &mut dyn FnMut(&[u8])) -> usize {
        // SAFETY: both pages start with a word that kernel and user access atomically
        // (`unsigned long consumer_pos`, `producer_pos`), and live as long as `self`.
        let (consumer, producer) = unsafe {
            (
                AtomicUsize::from_ptr(self.consumer.start.as_ptr().cast()),
                AtomicUsize::from_ptr(self.producer.start.as_ptr().cast()),
            )
        };
        let mut records = 0;
        let mut position = consumer.load(Ordering::Relaxed);
        while position < producer.load(Ordering::Acquire) {
            let offset = self.page + (position & (self.size - 1));
            // SAFETY: positions are multiples of eight and `offset` is below `page + size`, so the
            // word lies inside the mapping; the kernel writes it atomically.
            let header =
                unsafe { AtomicU32::from_ptr(self.producer.start.as_ptr().add(offset).cast()) }
                    .load(Ordering::Acquire);
            if header & BUSY != 0 {
                break;
            }
            let len = (header & !DISCARD) as usize;
            // The kernel never writes a longer one; whatever stands there, stay in the mapping.
            if len > self.size - HEADER {
                break;
            }
            if header & DISCARD == 0 {
                // SAFETY: `offset + HEADER + len < page + 2 * size`, the end of the mapping. The
                // record is committed, and the producer does not touch it before the consumer's
                // position has passed it, which happens only after `each` is done.
                let record = unsafe {
                    let start = self.producer.start.as_ptr().add(offset + HEADER);
                    std::slice::from_raw_parts(start, len)
                };
                each(record);
                records += 1;
            }
            position += (len + HEADER).next_multiple_of(HEADER);
            consumer.store(position, Ordering::Release);
        }
        records
    }
}
