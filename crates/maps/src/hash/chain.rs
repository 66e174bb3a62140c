//! Chains of elements: who walks one takes no lock, who changes one keeps others out by a lock.
//!
//! The heart of the tables, apart from memory and keys, so that a model checker can go through all
//! that two threads may do and see here: `tests/interleavings.rs`.

use crate::lock::{Sequence, SequenceLock};
use crate::sync::{AtomicU32, Ordering};

/// A chain: links name elements, zero ends it.
#[repr(C)]
#[derive(Default)]
pub(crate) struct Bucket {
    /// Counts changes.
    changes: SequenceLock,
    head: AtomicU32,
}

/// An element as a chain sees it.
pub(crate) trait Node<'a>: Copy {
    /// What names it.
    fn link(self) -> u32;

    /// The next one. It stays what it was when the element is taken off, so that whoever is here
    /// finds the way on.
    fn next(self) -> &'a AtomicU32;
}

/// An element and the link that names it; without an element, the zero at the chain's end.
pub(crate) type Found<'a, N> = (&'a AtomicU32, Option<N>);

impl Bucket {
    /// The count of changes before reading.
    #[inline(always)]
    pub(crate) fn begin(&self) -> Sequence {
        self.changes.begin()
    }

    /// Whether nothing has changed since.
    #[inline(always)]
    pub(crate) fn unchanged(&self, since: Sequence) -> bool {
        self.changes.unchanged(since)
    }

    /// The first link.
    #[inline(always)]
    pub(crate) fn head(&self) -> &AtomicU32 {
        &self.head
    }

    /// Walks along the chain. Without the lock what is found only holds if nothing has changed
    /// since: elements are used again, and the way may have led to another chain.
    #[inline(always)]
    pub(crate) fn find<'a, N: Node<'a>>(
        &'a self,
        node: impl Fn(u32) -> N,
        is_it: impl Fn(N) -> bool,
    ) -> Found<'a, N> {
        let mut place = &self.head;
        loop {
            let link = place.load(Ordering::Acquire);
            if link == 0 {
                return (place, None);
            }
            let node = node(link);
            if is_it(node) {
                return (place, Some(node));
            }
            place = node.next();
        }
    }

    /// The same for who only wants the element.
    #[inline(always)]
    pub(crate) fn get<'a, N: Node<'a>>(
        &self,
        node: impl Fn(u32) -> N,
        is_it: impl Fn(N) -> bool,
    ) -> Option<N> {
        let mut link = self.head.load(Ordering::Acquire);
        while link != 0 {
            let node = node(link);
            if is_it(node) {
                return Some(node);
            }
            link = node.next().load(Ordering::Acquire);
        }
        None
    }

    /// Changes what readers see other than by the chain. The lock is held.
    #[inline(always)]
    pub(crate) fn change<R>(&self, act: impl FnOnce() -> R) -> R {
        let _changing = self.changes.change();
        act()
    }

    /// Puts an element at the head, whose value was written. The lock is held.
    ///
    /// A reader who is still here from the element's last life must not find the key before the
    /// value: `write_key` stores with release.
    #[inline(always)]
    pub(crate) fn insert<'a, N: Node<'a>>(&self, new: N, write_key: impl FnOnce()) {
        let _changing = self.changes.change();
        write_key();
        new.next().store(self.head.load(Ordering::Relaxed), Ordering::Release);
        self.head.store(new.link(), Ordering::Release);
    }

    /// Puts an element, as for [`Bucket::insert`], where an old one is, by one store: readers find
    /// either of them. The lock is held.
    #[inline(always)]
    pub(crate) fn replace<'a, N: Node<'a>>(
        &self,
        place: &AtomicU32,
        old: N,
        new: N,
        write_key: impl FnOnce(),
    ) {
        let _changing = self.changes.change();
        write_key();
        new.next().store(old.next().load(Ordering::Relaxed), Ordering::Release);
        place.store(new.link(), Ordering::Release);
    }

    /// Takes an element off. The lock is held.
    #[inline(always)]
    pub(crate) fn remove<'a, N: Node<'a>>(&self, place: &AtomicU32, old: N) {
        let _changing = self.changes.change();
        place.store(old.next().load(Ordering::Relaxed), Ordering::Release);
    }

    /// Takes all of them off. The lock is held.
    pub(crate) fn clear(&self) {
        let _changing = self.changes.change();
        self.head.store(0, Ordering::Release);
    }
}
