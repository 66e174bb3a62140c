//! Which element of an LRU map has to go: the clock algorithm, an approximation as the kernel's
//! lists are (`kernel/bpf/bpf_lru_list.c`).
//!
//! A look-up of a program leaves a mark. A hand goes round over all elements: where it finds a mark
//! it takes it away, where it finds none the element goes. Each thread has a part of the dial to
//! itself, so that threads do not wait for each other.

use std::sync::atomic::{AtomicU32, Ordering};

use super::elements::Element;
use super::{HashTable, free};
use crate::{Errno, threads};

/// `mark` of an element that was used.
pub(super) const USED: u32 = 1;

/// Elements that one thread looks at before it asks for more.
const PART: u32 = 16;

/// Where the hand is.
pub(super) struct Clock {
    hand: AtomicU32,
    capacity: u32,
}

impl Clock {
    pub(super) fn new(capacity: u32) -> Clock {
        Clock { hand: AtomicU32::new(0), capacity }
    }

    /// How many elements may be in use: all, and the spares of the threads that there were.
    fn dial(&self) -> u32 {
        let spares = threads::used().take(threads::NUMBERS).count() as u32 - 1;
        let all = spares == threads::SHARED as u32;
        self.capacity + if all { threads::NUMBERS as u32 } else { spares }
    }
}

/// Marks an element as used. What has the mark already is not written to, lest all CPUs fight for
/// its cache line.
#[inline]
pub(super) fn touch(element: Element<'_>) {
    if element.mark().load(Ordering::Relaxed) == 0 {
        element.mark().store(USED, Ordering::Relaxed);
    }
}

impl HashTable {
    /// A free element; somebody else's when there is none. `ENOMEM` when all are on their way from
    /// one thread to another.
    pub(super) fn take_or_evict(&self) -> Result<u32, Errno> {
        if let Some(link) = self.free.take(&self.elements) {
            return Ok(link);
        }
        let Some(clock) = &self.clock else { return Err(self.full) };
        let dial = clock.dial();
        // Twice round: the first round may only take marks away.
        for _ in 0..3 * u64::from(dial) {
            let number = self.next_on_dial(clock, dial);
            let element = self.elements.get(self.elements.link(number as usize));
            match element.mark().load(Ordering::Relaxed) {
                0 if self.evict(element) => return Ok(element.link()),
                USED => element.mark().store(0, Ordering::Relaxed),
                _ => {}
            }
        }
        self.free.take(&self.elements).ok_or(libc::ENOMEM)
    }

    fn next_on_dial(&self, clock: &Clock, dial: u32) -> u32 {
        let [next, end] = &self.free.local(threads::number()).dial;
        let mut number = next.load(Ordering::Relaxed);
        if number >= end.load(Ordering::Relaxed) || number >= dial {
            let part = PART.min(dial / 16).max(1);
            let turned = |hand: u32| Some(if hand + part >= dial { 0 } else { hand + part });
            let (done, seen) = (Ordering::Relaxed, Ordering::Relaxed);
            number = match clock.hand.fetch_update(done, seen, turned) {
                Ok(hand) | Err(hand) => hand.min(dial - 1),
            };
            end.store((number + part).min(dial), Ordering::Relaxed);
        }
        next.store(number + 1, Ordering::Relaxed);
        number
    }

    /// Takes an element off its chain, if it is on one.
    fn evict(&self, element: Element<'_>) -> bool {
        let bucket = self.bucket(element.hash().load(Ordering::Relaxed));
        let _held = bucket.lock.lock();
        let mut place = &bucket.head;
        loop {
            let link = place.load(Ordering::Relaxed);
            if link == 0 {
                return false;
            }
            let next = self.elements.get(link).next();
            if link == element.link() {
                element.mark().store(free::FREE, Ordering::Relaxed);
                place.store(next.load(Ordering::Relaxed), Ordering::Release);
                return true;
            }
            place = next;
        }
    }
}
