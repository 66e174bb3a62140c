//! Queues and stacks (`kernel/bpf/queue_stack_maps.c`): values without keys, in a ring.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::lock::{Held, SequenceLock};
use crate::region::Region;
use crate::words::{Bytes, Place};
use crate::{EXIST, Errno};

/// A queue or a stack.
pub(crate) struct Queue {
    region: Region,
    value_size: usize,
    stride: usize,
    max_entries: u32,
    last_in_first_out: bool,
    lock: SequenceLock,
    /// Where the oldest value is, and how many there are.
    oldest: AtomicU32,
    len: AtomicU32,
}

impl Queue {
    pub(crate) fn new(
        max_entries: u32,
        value_size: usize,
        last_in_first_out: bool,
    ) -> Result<Queue, Errno> {
        let stride = value_size.next_multiple_of(8);
        let region = Region::new(stride.checked_mul(max_entries as usize).ok_or(libc::ENOMEM)?)?;
        let (oldest, len, lock) = (AtomicU32::new(0), AtomicU32::new(0), SequenceLock::default());
        Ok(Queue { region, value_size, stride, max_entries, last_in_first_out, lock, oldest, len })
    }

    /// The place so many after the oldest.
    fn place(&self, oldest: u32, after: u32) -> Place<'_> {
        let at = (u64::from(oldest) + u64::from(after)) % u64::from(self.max_entries);
        self.region.place(at as usize * self.stride, self.stride)
    }

    fn hold(&self) -> (Held<'_>, u32, u32) {
        let held = self.lock.lock();
        (held, self.oldest.load(Ordering::Relaxed), self.len.load(Ordering::Relaxed))
    }

    /// Adds a value. With `BPF_EXIST` the oldest makes room if there is none.
    pub(crate) fn push(&self, value: Bytes<'_>, flags: u64) -> Result<(), Errno> {
        if flags != 0 && flags != EXIST {
            return Err(libc::EINVAL);
        }
        let (_held, mut oldest, mut len) = self.hold();
        if len == self.max_entries {
            if flags != EXIST {
                return Err(libc::E2BIG);
            }
            oldest = (oldest + 1) % self.max_entries;
            len -= 1;
        }
        self.place(oldest, len).store(value);
        self.oldest.store(oldest, Ordering::Relaxed);
        self.len.store(len + 1, Ordering::Relaxed);
        Ok(())
    }

    /// Reads the next value, and takes it out if told to. `ENOENT` when there is none; what was to
    /// be filled is zero then.
    pub(crate) fn next(
        &self,
        take: bool,
        fill: impl FnOnce(Option<Place<'_>>),
    ) -> Result<(), Errno> {
        let (_held, oldest, len) = self.hold();
        if len == 0 {
            fill(None);
            return Err(libc::ENOENT);
        }
        let after = if self.last_in_first_out { len - 1 } else { 0 };
        fill(Some(self.place(oldest, after)));
        if take {
            self.len.store(len - 1, Ordering::Relaxed);
            if !self.last_in_first_out {
                self.oldest.store((oldest + 1) % self.max_entries, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// As [`Queue::next`], into a buffer.
    pub(crate) fn read(&self, take: bool, into: &mut [u8]) -> Result<(), Errno> {
        self.next(take, |place| match place {
            Some(place) => place.load(&mut into[..self.value_size]),
            None => into.fill(0),
        })
    }
}
