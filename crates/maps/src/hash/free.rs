//! Elements that are free, and those that threads keep for themselves.
//!
//! As in the kernel (`kernel/bpf/percpu_freelist.c`, `extra_elems` of `kernel/bpf/hashtab.c`) there
//! is a list for each CPU, here for each thread number, behind a lock that others only take when
//! they have run out. Beyond what a map has room for there is one more element for each thread: the
//! spare, which takes the place of an element that is updated, so that updating a full map works.

use std::sync::atomic::{AtomicU32, Ordering};

use super::elements::Elements;
use crate::Errno;
use crate::lock::{Held, SequenceLock};
use crate::region::{AtomicRow, Rows};
use crate::threads;

/// Elements that move from one list to another at a time.
const BATCH: u32 = 16;

/// `mark` of an element that is on no chain.
pub(crate) const FREE: u32 = 2;

/// What the threads of a number have.
#[repr(C, align(64))]
pub(crate) struct Local {
    lock: SequenceLock,
    /// First element of the list.
    head: AtomicU32,
    /// Only its thread touches it; those of the shared number take the lock before.
    spare: AtomicU32,
    /// Part of the clock's dial that this thread is to look at next: from, to.
    pub(crate) dial: [AtomicU32; 2],
}

// SAFETY: atomic integers only.
unsafe impl AtomicRow for Local {}

/// The free elements of a table.
pub(crate) struct Free {
    locals: Rows<Local>,
    /// How many elements were ever taken from those that nobody had before.
    fresh: AtomicU32,
    /// How many there are, spares aside.
    capacity: u32,
}

impl Free {
    pub(crate) fn new(capacity: u32) -> Result<Free, Errno> {
        Ok(Free { locals: Rows::new(threads::NUMBERS)?, fresh: AtomicU32::new(0), capacity })
    }

    #[inline]
    pub(crate) fn local(&self, thread: usize) -> &Local {
        self.locals.get(thread)
    }

    /// A free element, unless there is none.
    pub(crate) fn take(&self, elements: &Elements) -> Option<u32> {
        let thread = threads::number();
        let local = self.local(thread);
        {
            let _held = local.lock.lock();
            let head = local.head.load(Ordering::Relaxed);
            if head != 0 {
                let next = elements.get(head).next_free().load(Ordering::Relaxed);
                local.head.store(next, Ordering::Relaxed);
                return Some(head);
            }
        }
        self.take_fresh(elements, local).or_else(|| self.steal(elements, local))
    }

    /// Takes some that nobody had before.
    fn take_fresh(&self, elements: &Elements, local: &Local) -> Option<u32> {
        // In a small map the elements stay close together.
        let batch = BATCH.min(self.capacity / 64).max(1);
        if self.fresh.load(Ordering::Relaxed) >= self.capacity {
            return None;
        }
        let first = self.fresh.fetch_add(batch, Ordering::Relaxed);
        let end = (first + batch).min(self.capacity);
        if first >= end {
            return None;
        }
        if first + 1 < end {
            let _held = local.lock.lock();
            for number in (first + 1..end).rev() {
                local.push(elements, elements.link(number as usize));
            }
        }
        Some(elements.link(first as usize))
    }

    /// Takes some from another thread's list.
    #[cold]
    fn steal(&self, elements: &Elements, own: &Local) -> Option<u32> {
        for victim in threads::used().map(|thread| self.local(thread)) {
            if victim.head.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let mut taken = [0; BATCH as usize];
            let mut count = 0;
            {
                let _held = victim.lock.lock();
                let mut head = victim.head.load(Ordering::Relaxed);
                while head != 0 && count < taken.len() {
                    taken[count] = head;
                    count += 1;
                    head = elements.get(head).next_free().load(Ordering::Relaxed);
                }
                victim.head.store(head, Ordering::Relaxed);
            }
            if let [first, rest @ ..] = &taken[..count] {
                let _held = own.lock.lock();
                rest.iter().rev().for_each(|&link| own.push(elements, link));
                return Some(*first);
            }
        }
        None
    }

    /// Gives an element back, which is on no chain any more.
    pub(crate) fn give(&self, elements: &Elements, link: u32) {
        let local = self.local(threads::number());
        let _held = local.lock.lock();
        local.push(elements, link);
    }

    /// Swaps the thread's spare element for one that `replace` took off its chain.
    pub(crate) fn swap(&self, elements: &Elements, replace: impl FnOnce(u32) -> u32) {
        let thread = threads::number();
        let local = self.local(thread);
        let _held: Option<Held<'_>> = (thread == threads::SHARED).then(|| local.lock.lock());
        let spare = self.spare(elements, local, thread);
        local.spare.store(replace(spare), Ordering::Relaxed);
    }

    /// As [`Free::swap`], if the thread has a spare element to itself and `replace` succeeds.
    #[inline]
    pub(crate) fn swap_own(
        &self,
        elements: &Elements,
        replace: impl FnOnce(u32) -> Option<u32>,
    ) -> bool {
        let thread = threads::number();
        let local = self.local(thread);
        if thread == threads::SHARED {
            return false;
        }
        let spare = self.spare(elements, local, thread);
        match replace(spare) {
            Some(old) => {
                local.spare.store(old, Ordering::Relaxed);
                true
            }
            None => false,
        }
    }

    #[inline]
    fn spare(&self, elements: &Elements, local: &Local, thread: usize) -> u32 {
        match local.spare.load(Ordering::Relaxed) {
            0 => elements.link(self.capacity as usize + thread),
            spare => spare,
        }
    }
}

impl Local {
    /// Puts an element on the list; the lock is held.
    #[inline]
    fn push(&self, elements: &Elements, link: u32) {
        let element = elements.get(link);
        element.mark().store(FREE, Ordering::Relaxed);
        element.next_free().store(self.head.load(Ordering::Relaxed), Ordering::Relaxed);
        self.head.store(link, Ordering::Relaxed);
    }
}
