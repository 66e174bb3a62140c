//! Hash tables: chains of elements, as the kernel's (`kernel/bpf/hashtab.c`).
//!
//! Looking up takes no lock: it walks the chain, and notices by the bucket's count of changes when
//! it may have missed a key. Changing takes the bucket's lock. An update puts a new element where
//! the old one was, by one store: a reader finds the old value or the new one, never none and never
//! half of one. An element that was given up is used again at once, as the kernel's are; a program
//! that still holds a pointer to its value then has a pointer to another key's value.

mod clock;
pub(crate) mod elements;
mod free;
pub(crate) mod key;
mod walk;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub(crate) use walk::Position;

use crate::Errno;
use crate::lock::{SequenceLock, wait};
use crate::region::{AtomicRow, MaskedRows, Rows};
use crate::update::Change;
use clock::Clock;
use elements::{Element, Elements};
use free::Free;
use key::Key;

/// A chain.
#[repr(C)]
struct Bucket {
    lock: SequenceLock,
    head: AtomicU32,
}

// SAFETY: atomic integers only.
unsafe impl AtomicRow for Bucket {}

/// How often a reader tries without the bucket's lock.
const TRIES: u32 = 12;

/// A hash table.
pub(crate) struct HashTable {
    buckets: MaskedRows<Bucket>,
    seed: u64,
    elements: Elements,
    free: Free,
    clock: Option<Clock>,
    /// A bit for each 64 buckets: whether there ever was an element.
    inhabited: Rows<Inhabited>,
    /// The error when there is no free element.
    full: Errno,
}

/// Bits of 64 groups of buckets.
#[repr(transparent)]
struct Inhabited(AtomicU64);

// SAFETY: one atomic integer.
unsafe impl AtomicRow for Inhabited {}

/// What a table is to be like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) key_size: usize,
    pub(crate) value_size: usize,
    pub(crate) max_entries: u32,
    /// How many CPUs have values of their own.
    pub(crate) cpus: Option<u32>,
    /// Makes room by evicting what was not used for long.
    pub(crate) evicts: bool,
    /// Elements take memory when they are used for the first time.
    pub(crate) sparse: bool,
    pub(crate) seed: u64,
}

impl HashTable {
    pub(crate) fn new(shape: Shape) -> Result<HashTable, Errno> {
        let sizes = (shape.key_size, shape.value_size);
        let spares = crate::threads::NUMBERS;
        let count = (shape.max_entries as usize).saturating_add(spares);
        // A map that takes elements as it needs them may be larger than memory.
        let most = Elements::most(shape.key_size, shape.value_size);
        let (count, full) = match shape.sparse && count > most {
            true => (most, libc::ENOMEM),
            false => (count, libc::E2BIG),
        };
        let capacity = count.saturating_sub(spares) as u32;
        let buckets = shape.max_entries.checked_next_power_of_two().ok_or(libc::E2BIG)?;
        Ok(HashTable {
            buckets: MaskedRows::new(buckets)?,
            seed: key::whiten(shape.seed),
            elements: Elements::new(sizes, count, shape.cpus, shape.sparse)?,
            free: Free::new(capacity)?,
            clock: shape.evicts.then(|| Clock::new(capacity)),
            inhabited: Rows::new((buckets as usize).div_ceil(64 * 64))?,
            full,
        })
    }

    /// Its elements' memory.
    pub(crate) fn elements(&self) -> &Elements {
        &self.elements
    }

    #[inline(always)]
    fn bucket(&self, hash: u32) -> &Bucket {
        self.buckets.get(hash)
    }

    /// Walks a chain.
    #[inline(always)]
    fn find(&self, bucket: &Bucket, key: impl Key, hash: u32) -> Option<Element<'_>> {
        let mut link = bucket.head.load(Ordering::Acquire);
        while link != 0 {
            let element = self.elements.get(link);
            if key.may_be(hash, element.hash()) && key.is_at(element.key()) {
                return Some(element);
            }
            link = element.next().load(Ordering::Acquire);
        }
        None
    }

    /// The element of a key.
    #[inline(always)]
    pub(crate) fn get<K: Key>(&self, key: K) -> Option<Element<'_>> {
        let hash = key.hash(self.seed);
        let bucket = self.bucket(hash);
        let before = bucket.lock.begin();
        if let Some(found) = self.find(bucket, key, hash) {
            // A key that was seen whole was there at that time, whatever else went on.
            if K::ONE_WORD || bucket.lock.unchanged(before) {
                return Some(found);
            }
        } else if bucket.lock.unchanged(before) {
            return None;
        }
        self.look_again(bucket, key, hash)
    }

    /// [`HashTable::get`] of a key whose bucket changes.
    #[cold]
    fn look_again(&self, bucket: &Bucket, key: impl Key, hash: u32) -> Option<Element<'_>> {
        let mut round = 0;
        while round < TRIES {
            let before = bucket.lock.begin();
            let found = self.find(bucket, key, hash);
            if bucket.lock.unchanged(before) {
                return found;
            }
            wait(&mut round);
        }
        let _held = bucket.lock.lock();
        self.find(bucket, key, hash)
    }

    /// Looks a key up for a program: the element counts as used.
    #[inline(always)]
    pub(crate) fn get_for_program(&self, key: impl Key) -> Option<Element<'_>> {
        let found = self.get(key)?;
        if self.clock.is_some() {
            clock::touch(found);
        }
        Some(found)
    }

    /// Reads an element's value, all of it as it was at one time as far as updates are concerned
    /// (what programs write in place is not held back). `read` may be called more than once.
    pub(crate) fn read<R>(
        &self,
        key: impl Key,
        mut read: impl FnMut(Element<'_>) -> R,
    ) -> Option<R> {
        let hash = key.hash(self.seed);
        let bucket = self.bucket(hash);
        let mut round = 0;
        while round < TRIES {
            let before = bucket.lock.begin();
            let result = self.find(bucket, key, hash).map(&mut read);
            if bucket.lock.unchanged(before) {
                return result;
            }
            wait(&mut round);
        }
        let _held = bucket.lock.lock();
        self.find(bucket, key, hash).map(read)
    }

    /// The link that names the element of a key, or the zero at the chain's end. Unless the bucket's
    /// lock is held that is only so if the bucket has not changed since.
    #[inline]
    fn link_to<'a>(&'a self, bucket: &'a Bucket, key: impl Key, hash: u32) -> (&'a AtomicU32, u32) {
        let mut place = &bucket.head;
        loop {
            let link = place.load(Ordering::Acquire);
            if link == 0 {
                return (place, 0);
            }
            let element = self.elements.get(link);
            if key.may_be(hash, element.hash()) && key.is_at(element.key()) {
                return (place, link);
            }
            place = element.next();
        }
    }

    /// Stores a value (`htab_map_update_elem` and its kin, `kernel/bpf/hashtab.c`).
    #[inline]
    pub(crate) fn update<K: Key>(&self, key: K, update: &impl Change) -> Result<(), Errno> {
        update.check()?;
        let hash = key.hash(self.seed);
        let bucket = self.bucket(hash);
        let before = bucket.lock.begin();
        let (place, old) = self.link_to(bucket, key, hash);
        if old != 0
            && !(self.elements.is_per_cpu() || update.in_place() || update.must_not_exist())
            && self.free.swap_own(&self.elements, |spare| {
                // Nobody sees the new element yet, so it is written before the lock is taken.
                self.prepare(spare, old, key, hash, update);
                let held = bucket.lock.upgrade(before)?;
                self.replace(place, old, spare);
                drop(held);
                Some(old)
            })
        {
            return Ok(());
        }
        self.update_locked(bucket, key, hash, update)
    }

    /// [`HashTable::update`] in the general case.
    fn update_locked<K: Key>(
        &self,
        bucket: &Bucket,
        key: K,
        hash: u32,
        update: &impl Change,
    ) -> Result<(), Errno> {
        let mut taken = None;
        // Making room takes other buckets' locks, so that comes before.
        if self.clock.is_some() && !update.must_exist() && self.get(key).is_none() {
            taken = Some(self.take_or_evict()?);
        }
        loop {
            let held = bucket.lock.lock();
            let (place, old) = self.link_to(bucket, key, hash);
            let outcome = match old {
                0 if update.must_exist() => Err(libc::ENOENT),
                0 => match taken.take().or_else(|| self.free.take(&self.elements)) {
                    Some(new) => {
                        self.insert(bucket, new, key, hash, update);
                        Ok(())
                    }
                    None if self.clock.is_some() => {
                        // It was there a moment ago.
                        drop(held);
                        taken = Some(self.take_or_evict()?);
                        continue;
                    }
                    None => Err(self.full),
                },
                _ if update.must_not_exist() => Err(libc::EEXIST),
                old if self.elements.is_per_cpu() || update.in_place() => {
                    let element = self.elements.get(old);
                    update.write_over(element);
                    if self.clock.is_some() {
                        clock::touch(element);
                    }
                    Ok(())
                }
                old => {
                    self.free.swap(&self.elements, |spare| {
                        self.prepare(spare, old, key, hash, update);
                        self.replace(place, old, spare);
                        old
                    });
                    Ok(())
                }
            };
            drop(held);
            if let Some(unused) = taken {
                self.free.give(&self.elements, unused);
            }
            return outcome;
        }
    }

    /// Writes a new element and puts it at the head of its chain.
    fn insert<K: Key>(&self, bucket: &Bucket, new: u32, key: K, hash: u32, update: &impl Change) {
        let element = self.elements.get(new);
        update.write_new(element);
        element.hash().store(hash, Ordering::Relaxed);
        element.mark().store(0, Ordering::Relaxed);
        // A reader who is still here from the element's last life must not find the key before the
        // value.
        key.write_to(element.key());
        element.next().store(bucket.head.load(Ordering::Relaxed), Ordering::Release);
        self.settle(self.buckets.index(hash));
        bucket.head.store(new, Ordering::Release);
    }

    /// Writes a new element that is to take the place of an old one.
    #[inline]
    fn prepare<K: Key>(&self, new: u32, old: u32, key: K, hash: u32, update: &impl Change) {
        let element = self.elements.get(new);
        update.write_new(element);
        element.hash().store(hash, Ordering::Relaxed);
        key.write_to(element.key());
        let next = self.elements.get(old).next().load(Ordering::Acquire);
        element.next().store(next, Ordering::Release);
    }

    /// Puts a prepared element where an old one is; the lock is held.
    #[inline]
    fn replace(&self, place: &AtomicU32, old: u32, new: u32) {
        if self.clock.is_some() {
            self.elements.get(new).mark().store(clock::USED, Ordering::Relaxed);
            self.elements.get(old).mark().store(free::FREE, Ordering::Relaxed);
        }
        place.store(new, Ordering::Release);
    }

    /// Notes that there is an element in a bucket.
    #[inline]
    fn settle(&self, bucket: u32) {
        let (word, bit) = (bucket / (64 * 64), 1 << (bucket / 64 % 64));
        let word = &self.inhabited.get(word as usize).0;
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Deletes a key. `last_look` sees the element before it is gone.
    pub(crate) fn delete<K: Key, R>(
        &self,
        key: K,
        last_look: impl FnOnce(Element<'_>) -> R,
    ) -> Result<R, Errno> {
        let hash = key.hash(self.seed);
        let bucket = self.bucket(hash);
        let before = bucket.lock.begin();
        let (mut place, mut link) = self.link_to(bucket, key, hash);
        let held = bucket.lock.upgrade(before).unwrap_or_else(|| {
            let held = bucket.lock.lock();
            (place, link) = self.link_to(bucket, key, hash);
            held
        });
        if link == 0 {
            return Err(libc::ENOENT);
        }
        let element = self.elements.get(link);
        let seen = last_look(element);
        place.store(element.next().load(Ordering::Relaxed), Ordering::Release);
        drop(held);
        self.free.give(&self.elements, link);
        Ok(seen)
    }
}
