//! The producer's side of a user ring buffer (`BPF_MAP_TYPE_USER_RINGBUF`, Linux 6.1).

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::Errno;
use super::mapping::{BUSY, HEADER, Mapping, page_size};

/// A page with the consumer's position, which only the kernel writes; then one with ours, and the
/// data twice in a row.
pub(crate) struct UserRing {
    consumer: Mapping,
    producer: Mapping,
    page: usize,
    size: usize,
}

impl UserRing {
    /// Maps the user ring buffer `fd` with `size` bytes of data.
    pub(crate) fn new(fd: BorrowedFd<'_>, size: u32) -> Result<UserRing, Errno> {
        let (size, page) = (size as usize, page_size());
        if !size.is_power_of_two() || !size.is_multiple_of(page) {
            return Err(libc::EINVAL);
        }
        let consumer = Mapping::new(page, false, Some((fd, 0)))?;
        let producer = Mapping::new(page + 2 * size, true, Some((fd, page as i64)))?;
        consumer.keep_from_children();
        producer.keep_from_children();
        Ok(UserRing { consumer, producer, page, size })
    }

    /// Adds a record. `ENOSPC` when there is no room for it now, `E2BIG` when there never is.
    ///
    /// Takes `&mut`: there is one producer.
    pub(crate) fn submit(&mut self, record: &[u8]) -> Result<(), Errno> {
        let room = record.len().checked_next_multiple_of(HEADER).ok_or(libc::E2BIG)? + HEADER;
        if room > self.size {
            return Err(libc::E2BIG);
        }
        // SAFETY: both pages start with a word that kernel and user access atomically, and live as
        // long as `self`.
        let (consumer, producer) = unsafe {
            (
                AtomicUsize::from_ptr(self.consumer.start.as_ptr().cast()),
                AtomicUsize::from_ptr(self.producer.start.as_ptr().cast()),
            )
        };
        let position = producer.load(Ordering::Relaxed);
        let taken = position.wrapping_sub(consumer.load(Ordering::Acquire));
        if room > self.size.saturating_sub(taken) {
            return Err(libc::ENOSPC);
        }
        let offset = self.page + (position & (self.size - 1));
        // SAFETY: positions are multiples of eight and `offset` is below `page + size`, so that
        // header and record lie inside of the mapping. The kernel does not look at them before
        // the producer's position has passed them, and not at the record while it is busy.
        unsafe {
            let header = self.producer.start.as_ptr().add(offset);
            let length = AtomicU32::from_ptr(header.cast());
            length.store(record.len() as u32 | BUSY, Ordering::Relaxed);
            AtomicU32::from_ptr(header.add(4).cast()).store(0, Ordering::Relaxed);
            producer.store(position.wrapping_add(room), Ordering::Release);
            std::ptr::copy_nonoverlapping(record.as_ptr(), header.add(HEADER), record.len());
            length.store(record.len() as u32, Ordering::Release);
        }
        Ok(())
    }
}
