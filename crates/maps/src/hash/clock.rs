//! Which element of an LRU map has to go: the clock algorithm, an approximation as the kernel's
//! lists are (`kernel/bpf/bpf_lru_list.c`).
//!
//! A look-up of a program leaves a mark. A hand goes round over all elements: where it finds a mark
//! it takes it away, where it finds none the element goes. Each stripe has a part of the dial to
//! itself, so that threads do not wait for each other.

use std::sync::atomic::{AtomicU32, Ordering};

use super::HashTable;
use super::chain::Node;
use super::elements::Element;
use super::stripes::{FREE, Stripe};
use crate::Errno;

/// `mark` of an element that was used.
pub(super) const USED: u32 = 1;

/// Elements that one stripe looks at before it asks for more.
const PART: u32 = 16;

/// Where the hand is.
pub(super) struct Clock {
    hand: AtomicU32,
    /// How many elements there are, spares and all.
    dial: u32,
}

impl Clock {
    pub(super) fn new(dial: u32) -> Clock {
        Clock { hand: AtomicU32::new(0), dial }
    }

    /// The number of the element that is next on a stripe's part of the dial.
    fn next(&self, stripe: &Stripe) -> u32 {
        let &Clock { ref hand, dial } = self;
        let [next, end] = &stripe.dial;
        let mut number = next.load(Ordering::Relaxed);
        if number >= end.load(Ordering::Relaxed) || number >= dial {
            let part = PART.min(dial / 16).max(1);
            let turned = |hand: u32| Some(if hand + part >= dial { 0 } else { hand + part });
            let (done, seen) = (Ordering::Relaxed, Ordering::Relaxed);
            number = match hand.fetch_update(done, seen, turned) {
                Ok(hand) | Err(hand) => hand.min(dial - 1),
            };
            end.store((number + part).min(dial), Ordering::Relaxed);
        }
        next.store(number + 1, Ordering::Relaxed);
        number
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
    /// Takes an element from somebody. `ENOMEM` when all are on their way from one stripe to
    /// another.
    pub(super) fn evict_one(&self, clock: &Clock, stripe: &Stripe) -> Result<Element<'_>, Errno> {
        // Twice round: the first round may only take marks away.
        for _ in 0..3 * u64::from(clock.dial) {
            let number = clock.next(stripe);
            let element = self.elements.get(self.elements.link(number as usize));
            match element.mark().load(Ordering::Relaxed) {
                0 if self.evict(element) => return Ok(element),
                USED => element.mark().store(0, Ordering::Relaxed),
                _ => {}
            }
        }
        Err(libc::ENOMEM)
    }

    /// Takes an element off its chain, if it is on one.
    fn evict(&self, element: Element<'_>) -> bool {
        let hash = element.hash().load(Ordering::Relaxed);
        let bucket = self.bucket(hash);
        let _held = self.lock(hash);
        let is_it = |each: Element<'_>| each.link() == element.link();
        let (place, Some(found)) = bucket.find(|link| self.elements.get(link), is_it) else {
            return false;
        };
        element.mark().store(FREE, Ordering::Relaxed);
        bucket.remove(place, found);
        true
    }
}
