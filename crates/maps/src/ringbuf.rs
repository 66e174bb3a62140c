//! Ring buffers (`kernel/bpf/ringbuf.c`): records in the order in which they were reserved, from
//! programs to user space, and the other way round.

use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Errno;
use crate::lock::SequenceLock;
use crate::ring_memory::RingMemory;
use crate::words::Bytes;

/// Bytes before each record.
const HEADER: u64 = 8;
/// Bits of the header (`include/uapi/linux/bpf.h`).
const BUSY: u32 = 1 << 31;
const DISCARD: u32 = 1 << 30;
/// `RINGBUF_MAX_RECORD_SZ`.
const MAX_RECORD: u64 = (u32::MAX / 4) as u64;

/// `BPF_RB_NO_WAKEUP`.
pub const NO_WAKEUP: u64 = 1;
/// `BPF_RB_FORCE_WAKEUP`.
pub const FORCE_WAKEUP: u64 = 2;

/// A ring buffer from programs to user space.
pub struct Ringbuf {
    memory: RingMemory,
    lock: SequenceLock,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// Bytes that a record takes.
fn total(len: u64) -> u64 {
    (len + HEADER).next_multiple_of(8)
}

impl Ringbuf {
    pub(crate) fn new(size: u32) -> Result<Ringbuf, Errno> {
        let memory = RingMemory::new(size as usize)?;
        Ok(Ringbuf { memory, lock: SequenceLock::default(), wake: OnceLock::new() })
    }

    /// What wakes the reader when a program has sent a record by machine code (see
    /// [`crate::raw::ringbuf_submit`]). It is said once; false when it was said before.
    pub fn on_wakeup(&self, wake: impl Fn() + Send + Sync + 'static) -> bool {
        self.wake.set(Box::new(wake)).is_ok()
    }

    /// Wakes the reader if it wants to be.
    pub(crate) fn wake_if(&self, wanted: bool) {
        if let (true, Some(wake)) = (wanted, self.wake.get()) {
            wake();
        }
    }

    /// Says whose ring it is, for [`Ringbuf::owner_of`].
    pub(crate) fn set_owner(&self, owner: u64) {
        self.memory.owner().store(owner, Ordering::Relaxed);
    }

    /// Whose ring a record lies in.
    ///
    /// # Safety
    /// [`Ringbuf::reserve`] gave the record, and its map is alive.
    pub(crate) unsafe fn owner_of(record: *const u8) -> u64 {
        // SAFETY: as the caller says.
        unsafe { RingMemory::owner_of(record) }
    }

    /// The file that has the consumer's page, the producer's page and the data.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.memory.file()
    }

    /// Where the data starts, and its size. It stands there twice.
    pub fn data(&self) -> (*mut u8, usize) {
        (self.memory.data(), self.memory.size())
    }

    /// `bpf_ringbuf_reserve`: room for a record. It stays where it is until it is submitted or
    /// discarded.
    pub fn reserve(&self, len: u64) -> Option<NonNull<u8>> {
        let mask = self.memory.size() as u64 - 1;
        if len > MAX_RECORD || total(len) > mask + 1 {
            return None;
        }
        let consumed = self.memory.consumer().load(Ordering::Acquire);
        let _held = self.lock.lock();
        let start = self.memory.producer().load(Ordering::Relaxed);
        let end = start.wrapping_add(total(len));
        let pending = self.skip_complete(start);
        if end.wrapping_sub(consumed) > mask || end.wrapping_sub(pending) > mask {
            return None;
        }
        self.memory.header(start, 1).store(self.memory.page(start), Ordering::Relaxed);
        self.memory.header(start, 0).store(len as u32 | BUSY, Ordering::Relaxed);
        self.memory.producer().store(end, Ordering::Release);
        NonNull::new(self.memory.place(start, len as usize).start())
    }

    /// The first record that somebody still holds, up to `end`; the lock is held.
    fn skip_complete(&self, end: u64) -> u64 {
        let mut pending = self.memory.pending().load(Ordering::Relaxed);
        while pending < end {
            let header = self.memory.header(pending, 0).load(Ordering::Acquire);
            if header & BUSY != 0 {
                break;
            }
            pending += total(u64::from(header & !DISCARD));
        }
        self.memory.pending().store(pending, Ordering::Relaxed);
        pending
    }

    /// `bpf_ringbuf_submit` or `bpf_ringbuf_discard` of what [`Ringbuf::reserve`] gave: whether the
    /// reader wants to be woken. `None` when it is no record.
    pub fn finish(&self, record: NonNull<u8>, flags: u64, discard: bool) -> Option<bool> {
        let offset = (record.as_ptr() as usize).checked_sub(self.memory.data() as usize)?;
        let offset = offset.checked_sub(HEADER as usize)?;
        if offset >= self.memory.size() || !offset.is_multiple_of(8) {
            return None;
        }
        let header = self.memory.header(offset as u64, 0);
        let len = header.load(Ordering::Relaxed) & !BUSY;
        header.swap(if discard { len | DISCARD } else { len }, Ordering::AcqRel);
        let mask = self.memory.size() - 1;
        let reader_is_here =
            self.memory.consumer().load(Ordering::Relaxed) as usize & mask == offset;
        Some(flags & FORCE_WAKEUP != 0 || (reader_is_here && flags & NO_WAKEUP == 0))
    }

    /// `bpf_ringbuf_output`: copies a record in; whether the reader wants to be woken.
    pub fn output<'a>(&self, record: impl Into<Bytes<'a>>, flags: u64) -> Result<bool, Errno> {
        if flags & !(NO_WAKEUP | FORCE_WAKEUP) != 0 {
            return Err(libc::EINVAL);
        }
        let record = record.into();
        let place = self.reserve(record.len() as u64).ok_or(libc::EAGAIN)?;
        let offset = place.as_ptr() as usize - self.memory.data() as usize - HEADER as usize;
        self.memory.place(offset as u64, record.len()).store(record);
        self.finish(place, flags, false).ok_or(libc::EINVAL)
    }

    /// `bpf_ringbuf_query`.
    pub fn query(&self, what: u64) -> u64 {
        let consumed = self.memory.consumer().load(Ordering::Acquire);
        let produced = self.memory.producer().load(Ordering::Acquire);
        match what {
            0 => produced.wrapping_sub(consumed),
            1 => self.memory.size() as u64,
            2 => consumed,
            3 => produced,
            _ => 0,
        }
    }

    /// Hands all complete records to the reader, up to the first that is not; how many there were.
    /// There is one reader.
    pub fn read(&self, mut each: impl FnMut(Bytes<'_>)) -> usize {
        let mut count = 0;
        let mut position = self.memory.consumer().load(Ordering::Relaxed);
        while position < self.memory.producer().load(Ordering::Acquire) {
            let header = self.memory.header(position, 0).load(Ordering::Acquire);
            if header & BUSY != 0 {
                break;
            }
            let len = header & !DISCARD;
            if header & DISCARD == 0 {
                each(self.memory.record(position, len as usize));
                count += 1;
            }
            position += total(len.into());
            self.memory.consumer().store(position, Ordering::Release);
        }
        count
    }
}

/// A ring buffer from user space to programs.
#[derive(Debug)]
pub struct UserRingbuf {
    memory: RingMemory,
    /// Whether a program reads.
    busy: AtomicU32,
    /// For those of this process who write.
    writers: SequenceLock,
}

impl UserRingbuf {
    pub(crate) fn new(size: u32) -> Result<UserRingbuf, Errno> {
        let memory = RingMemory::new(size as usize)?;
        Ok(UserRingbuf { memory, busy: AtomicU32::new(0), writers: SequenceLock::default() })
    }

    /// The file that has the consumer's page, the producer's page and the data.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.memory.file()
    }

    /// Writes a record; `ENOSPC` when there is no room, `E2BIG` when there can be none.
    pub fn push(&self, record: &[u8]) -> Result<(), Errno> {
        let (len, size) = (record.len() as u64, self.memory.size() as u64);
        if len > MAX_RECORD || total(len) > size {
            return Err(libc::E2BIG);
        }
        let _held = self.writers.lock();
        let start = self.memory.producer().load(Ordering::Relaxed);
        let consumed = self.memory.consumer().load(Ordering::Acquire);
        if total(len) > size.saturating_sub(start.wrapping_sub(consumed)) {
            return Err(libc::ENOSPC);
        }
        if !record.is_empty() {
            self.memory.place(start, record.len()).store(record.into());
        }
        self.memory.header(start, 0).store(len as u32, Ordering::Release);
        self.memory.producer().store(start + total(len), Ordering::Release);
        Ok(())
    }

    /// `bpf_user_ringbuf_drain`: hands records to a program until it returns true or there are no
    /// more; how many there were. What the writer writes is checked as in the kernel
    /// (`__bpf_user_ringbuf_peek`).
    pub fn drain(&self, mut each: impl FnMut(Bytes<'_>) -> bool) -> Result<u64, Errno> {
        if self.busy.swap(1, Ordering::Acquire) != 0 {
            return Err(libc::EBUSY);
        }
        let result = self.drain_alone(&mut each);
        self.busy.store(0, Ordering::Release);
        result
    }

    fn drain_alone(&self, each: &mut dyn FnMut(Bytes<'_>) -> bool) -> Result<u64, Errno> {
        /// `BPF_MAX_USER_RINGBUF_SAMPLES`.
        const MAX_SAMPLES: u64 = 128 * 1024;
        let mut samples = 0;
        while samples < MAX_SAMPLES {
            let produced = self.memory.producer().load(Ordering::Acquire);
            if !produced.is_multiple_of(8) {
                return Err(libc::EINVAL);
            }
            let position = self.memory.consumer().load(Ordering::Acquire);
            if position >= produced {
                return Ok(samples);
            }
            let header = self.memory.header(position, 0).load(Ordering::Acquire);
            let len = header & !(BUSY | DISCARD);
            if total(len.into()) > produced - position {
                return Err(libc::EINVAL);
            }
            if len as usize > self.memory.size() {
                return Err(libc::E2BIG);
            }
            if header & BUSY != 0 {
                return Ok(samples);
            }
            let stop = header & DISCARD == 0 && {
                samples += 1;
                each(self.memory.record(position, len as usize))
            };
            self.memory.consumer().store(position + total(len.into()), Ordering::Release);
            if stop {
                break;
            }
        }
        Ok(samples)
    }
}
