//! Who may change what: a table's buckets are divided into stripes, each with a lock, the free
//! elements of its own, and a spare one.
//!
//! A locked instruction is the dearest part of an update. A stripe's lock is the only one that an
//! operation takes: what it needs besides the chain lies behind it. Small tables have one stripe:
//! two threads that change the same few elements would pass their cache lines back and forth, which
//! takes longer than to let each do many things in turn, see [`crate::bias`].
//!
//! Beyond what a map has room for there is one more element for each stripe: the spare, which takes
//! the place of an element that is updated, so that updating a full map works (`extra_elems`,
//! `kernel/bpf/hashtab.c`).

use std::sync::atomic::{AtomicU32, Ordering};

use super::chain::Node;
use super::elements::{Element, Elements};
use crate::Errno;
use crate::bias::{self, BiasedLock, PATIENCE};
use crate::region::{AtomicRow, MaskedRows};
use crate::threads::OfProcess;

/// Elements that move from one list to another at a time.
const BATCH: u32 = 16;
/// Elements that a stripe should have at least.
const ELEMENTS: u32 = 256;
/// How many stripes there are at most: whoever finds a table full has looked at each.
const MOST: u32 = 128;

/// How many stripes a table may have for their locks to have a bias. In larger ones elements come
/// from memory most of the time, which takes longer than a locked instruction; and who comes second
/// has to take every single bias away.
const BIASED: u32 = 16;

/// `mark` of an element that is on no chain.
pub(super) const FREE: u32 = 2;

/// What belongs to a part of the buckets.
#[repr(C, align(64))]
pub(super) struct Stripe {
    lock: BiasedLock,
    /// First element of the list of those that are free.
    free: AtomicU32,
    /// 0 as long as it is the one that the stripe began with.
    spare: AtomicU32,
    /// Part of the clock's dial that is to be looked at next: from, to.
    pub(super) dial: [AtomicU32; 2],
}

// SAFETY: atomic integers only.
unsafe impl AtomicRow for Stripe {}

/// The stripes of a table.
pub(super) struct Stripes {
    rows: MaskedRows<Stripe>,
    /// How many elements were ever taken from those that nobody had before.
    fresh: AtomicU32,
    /// How many there are, spares aside.
    capacity: u32,
    /// Turns of waiting when a stripe is locked.
    patience: u32,
    threads: OfProcess,
}

/// How many stripes a table has.
pub(super) fn count(max_entries: u32) -> u32 {
    (max_entries / ELEMENTS).clamp(1, MOST).next_power_of_two()
}

impl Stripes {
    pub(super) fn new(count: u32, capacity: u32) -> Result<Stripes, Errno> {
        let (rows, patience) = (MaskedRows::new(count)?, PATIENCE / count);
        let threads = OfProcess { biased: count <= BIASED };
        Ok(Stripes { rows, fresh: AtomicU32::new(0), capacity, patience, threads })
    }

    /// The stripe of a bucket, by the hash.
    #[inline(always)]
    pub(super) fn of(&self, hash: u32) -> &Stripe {
        self.rows.get(hash)
    }

    /// Takes a stripe's lock.
    #[inline(always)]
    pub(super) fn lock<'a>(&'a self, hash: u32, elements: &'a Elements) -> Locked<'a> {
        let stripe = self.of(hash);
        let held = stripe.lock.lock(&self.threads, self.patience);
        Locked { stripe, held, stripes: self, elements }
    }

    /// Takes a stripe's lock if it has a bias to this thread.
    #[inline(always)]
    pub(super) fn enter<'a>(&'a self, hash: u32, elements: &'a Elements) -> Option<Locked<'a>> {
        let stripe = self.of(hash);
        let held = stripe.lock.enter(self.threads.known()?)?;
        Some(Locked { stripe, held, stripes: self, elements })
    }

    /// Takes a stripe's lock, which never has a bias, unless somebody has it.
    #[inline(always)]
    pub(super) fn try_lock_unbiased<'a>(
        &'a self,
        hash: u32,
        elements: &'a Elements,
    ) -> Option<Locked<'a>> {
        let stripe = self.of(hash);
        let held = stripe.lock.try_lock_unbiased()?;
        Some(Locked { stripe, held, stripes: self, elements })
    }

    /// Whether the locks can have a bias.
    pub(super) fn are_biased(&self) -> bool {
        self.threads.biased
    }

    /// A free element of another stripe, and some more for this one. No lock is held.
    #[cold]
    pub(super) fn gather(&self, hash: u32, elements: &Elements) -> Option<u32> {
        for other in 0..self.rows.len() as u32 {
            if self.of(other).free.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let mut taken = [0; BATCH as usize];
            let mut count = 0;
            {
                let victim = self.lock(other, elements);
                while let (Some(place), Some(element)) = (taken.get_mut(count), victim.pop()) {
                    *place = element.link();
                    count += 1;
                }
            }
            if let [first, rest @ ..] = &taken[..count] {
                let own = self.lock(hash, elements);
                rest.iter().rev().for_each(|&link| own.push(elements.get(link)));
                return Some(*first);
            }
        }
        None
    }
}

/// A stripe whose lock is held as long as this lives.
pub(super) struct Locked<'a> {
    stripe: &'a Stripe,
    held: bias::Held<'static>,
    stripes: &'a Stripes,
    elements: &'a Elements,
}

impl Drop for Locked<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.stripe.lock.unlock(self.held);
    }
}

impl<'a> Locked<'a> {
    /// A free element; none if the stripe has none and there are no fresh ones.
    #[inline(always)]
    pub(super) fn take(&self) -> Option<Element<'a>> {
        self.pop().or_else(|| self.take_fresh())
    }

    #[inline(always)]
    fn pop(&self) -> Option<Element<'a>> {
        let head = self.stripe.free.load(Ordering::Relaxed);
        if head == 0 {
            return None;
        }
        let element = self.elements.get(head);
        self.stripe.free.store(element.next_free().load(Ordering::Relaxed), Ordering::Relaxed);
        Some(element)
    }

    /// Takes some that nobody had before.
    #[cold]
    fn take_fresh(&self) -> Option<Element<'a>> {
        let Stripes { fresh, capacity, .. } = self.stripes;
        // In a small map the elements stay close together.
        let batch = BATCH.min(capacity / 64).max(1);
        if fresh.load(Ordering::Relaxed) >= *capacity {
            return None;
        }
        let first = fresh.fetch_add(batch, Ordering::Relaxed);
        let end = (first + batch).min(*capacity);
        if first >= end {
            return None;
        }
        let element = |number: u32| self.elements.get(self.elements.link(number as usize));
        (first + 1..end).rev().for_each(|number| self.push(element(number)));
        Some(element(first))
    }

    /// Gives an element back, which is on no chain any more.
    #[inline(always)]
    pub(super) fn push(&self, element: Element<'a>) {
        element.mark().store(FREE, Ordering::Relaxed);
        element.next_free().store(self.stripe.free.load(Ordering::Relaxed), Ordering::Relaxed);
        self.stripe.free.store(element.link(), Ordering::Relaxed);
    }

    /// The spare element. Whoever puts it on a chain keeps another one.
    #[inline(always)]
    pub(super) fn spare(&self) -> Element<'a> {
        self.known_spare().unwrap_or_else(|| self.first_spare())
    }

    /// The spare element, unless it is the first one.
    #[inline(always)]
    pub(super) fn known_spare(&self) -> Option<Element<'a>> {
        let spare = self.stripe.spare.load(Ordering::Relaxed);
        if spare == 0 { None } else { Some(self.elements.get(spare)) }
    }

    #[cold]
    fn first_spare(&self) -> Element<'a> {
        let stripe = self.stripes.rows.number_of(self.stripe);
        self.elements.get(self.elements.link(self.stripes.capacity as usize + stripe))
    }

    /// Keeps an element, which is on no chain any more, as the spare one.
    #[inline(always)]
    pub(super) fn keep(&self, element: Element<'a>) {
        self.stripe.spare.store(element.link(), Ordering::Relaxed);
    }
}
