//! Hash tables: chains of elements, as the kernel's (`kernel/bpf/hashtab.c`).
//!
//! Looking up takes no lock: it walks the chain, and notices by the bucket's count of changes when
//! it may have missed a key. Changing takes the lock of the bucket's stripe, see [`stripes`]. An
//! update puts a new element where the old one was, by one store: a reader finds the old value or
//! the new one, never none and never half of one. An element that was given up is used again at once, as the kernel's are; a program
//! that still holds a pointer to its value then has a pointer to another key's value.

pub(crate) mod chain;
mod clock;
pub(crate) mod elements;
pub(crate) mod key;
mod stripes;
mod walk;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub(crate) use walk::Position;

use crate::Errno;
use crate::lock::wait;
use crate::region::{AtomicRow, MaskedRows, Rows};
use crate::update::Change;
use chain::{Bucket, Found};
use clock::Clock;
use elements::{Element, Elements};
use key::Key;
use stripes::{Locked, Stripes};

// SAFETY: atomic integers only.
unsafe impl AtomicRow for Bucket {}

/// A bucket changes at this moment.
pub(crate) struct Changes;

/// How often a reader tries without the bucket's lock.
const TRIES: u32 = 12;

/// Elements of a table that is small: its buckets fit in the first cache.
const SMALL: u32 = 256;

/// A hash table.
pub(crate) struct HashTable {
    buckets: MaskedRows<Bucket>,
    seed: u64,
    elements: Elements,
    stripes: Stripes,
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

/// How many buckets a table has. The fewer keys there are on a chain before the one that is looked
/// for, the fewer branches are mispredicted: one in 32 in a small table, in a large one half of
/// what there are with the kernel's number.
fn buckets(max_entries: u32) -> Option<u32> {
    let least = max_entries.checked_next_power_of_two()?;
    let factor = if least <= SMALL { 16 } else { 2 };
    Some(least.checked_mul(factor).unwrap_or(least))
}

impl HashTable {
    pub(crate) fn new(shape: Shape) -> Result<HashTable, Errno> {
        let sizes = (shape.key_size, shape.value_size);
        let mut stripes = stripes::count(shape.max_entries);
        if shape.evicts {
            // Nothing is evicted before all of them were asked for free elements.
            stripes = stripes.min(16);
        }
        let spares = stripes as usize;
        let count = (shape.max_entries as usize).saturating_add(spares);
        // A map that takes elements as it needs them may be larger than memory.
        let most = Elements::most(shape.key_size, shape.value_size);
        let (count, full) = match shape.sparse && count > most {
            true => (most, libc::ENOMEM),
            false => (count, libc::E2BIG),
        };
        let capacity = count.saturating_sub(spares) as u32;
        let buckets = buckets(shape.max_entries).ok_or(libc::E2BIG)?;
        Ok(HashTable {
            buckets: MaskedRows::new(buckets)?,
            seed: key::whiten(shape.seed),
            elements: Elements::new(sizes, count, shape.cpus, shape.sparse)?,
            stripes: Stripes::new(stripes, capacity)?,
            clock: shape.evicts.then(|| Clock::new(count as u32)),
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

    /// Takes the lock of a hash's stripe.
    #[inline(always)]
    fn lock(&self, hash: u32) -> Locked<'_> {
        self.stripes.lock(hash, &self.elements)
    }

    /// Walks a chain.
    #[inline(always)]
    fn find<'a>(&'a self, bucket: &'a Bucket, key: impl Key, hash: u32) -> Found<'a, Element<'a>> {
        let is_it =
            |element: Element<'_>| key.may_be(hash, element.hash()) && key.is_at(element.key());
        bucket.find(|link| self.elements.get(link), is_it)
    }

    /// The element of a key; an error when it may have been missed, because the bucket changes.
    #[inline(always)]
    pub(crate) fn try_get<K: Key>(&self, key: K) -> Result<Option<Element<'_>>, Changes> {
        let hash = key.hash(self.seed);
        let bucket = self.bucket(hash);
        let before = bucket.begin();
        let is_it =
            |element: Element<'_>| key.may_be(hash, element.hash()) && key.is_at(element.key());
        let found = bucket.get(|link| self.elements.get(link), is_it);
        // A key that was seen whole was there at that time, whatever else went on.
        if found.is_some() && K::ONE_WORD || bucket.unchanged(before) {
            Ok(found)
        } else {
            Err(Changes)
        }
    }

    /// The element of a key.
    #[inline(always)]
    pub(crate) fn get(&self, key: impl Key) -> Option<Element<'_>> {
        self.try_get(key).unwrap_or_else(|Changes| self.look_again(key))
    }

    /// As [`HashTable::try_get`] for a program: the element counts as used.
    #[inline(always)]
    pub(crate) fn try_get_for_program(
        &self,
        key: impl Key,
    ) -> Result<Option<Element<'_>>, Changes> {
        let found = self.try_get(key)?;
        if let Some(element) = found
            && self.clock.is_some()
        {
            clock::touch(element);
        }
        Ok(found)
    }

    /// [`HashTable::get`] of a key whose bucket changes.
    #[cold]
    fn look_again(&self, key: impl Key) -> Option<Element<'_>> {
        let hash = key.hash(self.seed);
        let bucket = self.bucket(hash);
        let mut round = 0;
        while round < TRIES {
            let before = bucket.begin();
            let (_, found) = self.find(bucket, key, hash);
            if bucket.unchanged(before) {
                return found;
            }
            wait(&mut round);
        }
        let _held = self.lock(hash);
        self.find(bucket, key, hash).1
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
            let before = bucket.begin();
            let result = self.find(bucket, key, hash).1.map(&mut read);
            if bucket.unchanged(before) {
                return result;
            }
            wait(&mut round);
        }
        let _held = self.lock(hash);
        self.find(bucket, key, hash).1.map(read)
    }

    /// Stores a value (`htab_map_update_elem` and its kin, `kernel/bpf/hashtab.c`).
    ///
    /// The locked instruction waits for what comes before it, and loads that follow wait for it. So
    /// the chain is searched before, and again only if it has changed meanwhile.
    #[inline(always)]
    pub(crate) fn update<K: Key>(&self, key: K, update: &impl Change) -> Result<(), Errno> {
        update.check()?;
        let hash = key.hash(self.seed);
        let bucket = self.bucket(hash);
        let before = bucket.begin();
        let (mut place, mut old) = self.find(bucket, key, hash);
        let mut taken = None;
        loop {
            let held = self.lock(hash);
            if !bucket.unchanged(before) {
                (place, old) = self.find(bucket, key, hash);
            }
            let outcome = match old {
                None if update.must_exist() => Err(libc::ENOENT),
                None => {
                    let Some(new) = taken.take().or_else(|| held.take()) else {
                        // Making room takes other locks.
                        drop(held);
                        taken = Some(self.make_room(hash)?);
                        continue;
                    };
                    update.write_new(new);
                    self.insert(bucket, new, key, hash);
                    Ok(())
                }
                Some(_) if update.must_not_exist() => Err(libc::EEXIST),
                Some(old) if self.elements.is_per_cpu() || update.in_place() => {
                    bucket.change(|| update.write_over(old));
                    if self.clock.is_some() {
                        clock::touch(old);
                    }
                    Ok(())
                }
                Some(old) => {
                    let spare = held.spare();
                    update.write_new(spare);
                    self.replace(bucket, place, old, spare, key, hash);
                    held.keep(old);
                    Ok(())
                }
            };
            if let Some(unused) = taken {
                held.push(unused);
            }
            return outcome;
        }
    }

    /// Stores a value of eight bytes in the place of another, in a table that has one for all CPUs,
    /// if the lock has a bias to this thread. `false`: it is not as simple as that, and nothing was
    /// done.
    #[inline(always)]
    pub(crate) fn try_replace<K: Key>(&self, key: K, value: u64) -> bool {
        let hash = key.hash(self.seed);
        let bucket = self.bucket(hash);
        let Some(held) = self.stripes.enter(hash, &self.elements) else { return false };
        let (place, Some(old)) = self.find(bucket, key, hash) else { return false };
        let Some(spare) = held.known_spare() else { return false };
        spare.shared_value().first().store(value, Ordering::Relaxed);
        self.replace(bucket, place, old, spare, key, hash);
        held.keep(old);
        true
    }

    /// The same where locks have no bias: the fewer instructions there are to it, the more updates
    /// wait for their elements to come from memory at the same time.
    #[inline(always)]
    pub(crate) fn try_replace_unbiased<K: Key>(&self, key: K, value: u64) -> bool {
        let hash = key.hash(self.seed);
        let bucket = self.bucket(hash);
        let before = bucket.begin();
        let (place, Some(old)) = self.find(bucket, key, hash) else { return false };
        let held = self.stripes.try_lock_unbiased(hash, &self.elements);
        let Some(held) = held else { return false };
        let Some(spare) = held.known_spare() else { return false };
        if !bucket.unchanged(before) {
            return false;
        }
        spare.shared_value().first().store(value, Ordering::Relaxed);
        self.replace(bucket, place, old, spare, key, hash);
        held.keep(old);
        true
    }

    /// Whether its locks can have a bias.
    pub(crate) fn is_biased(&self) -> bool {
        self.stripes.are_biased()
    }

    /// A free element, wherever there is one.
    #[cold]
    fn make_room(&self, hash: u32) -> Result<Element<'_>, Errno> {
        if let Some(link) = self.stripes.gather(hash, &self.elements) {
            return Ok(self.elements.get(link));
        }
        match &self.clock {
            Some(clock) => self.evict_one(clock, self.stripes.of(hash)),
            None => Err(self.full),
        }
    }

    /// Puts a new element, whose value was written, at the head of its chain.
    #[inline(always)]
    fn insert<K: Key>(&self, bucket: &Bucket, new: Element<'_>, key: K, hash: u32) {
        self.note_hash::<K>(new, hash);
        if self.clock.is_some() {
            new.mark().store(0, Ordering::Relaxed);
        }
        self.inhabit(self.buckets.index(hash));
        bucket.insert(new, || key.write_to(new.key()));
    }

    /// Puts a new element, whose value was written, where an old one is.
    #[inline(always)]
    fn replace<K: Key>(
        &self,
        bucket: &Bucket,
        place: &AtomicU32,
        old: Element<'_>,
        new: Element<'_>,
        key: K,
        hash: u32,
    ) {
        self.note_hash::<K>(new, hash);
        if self.clock.is_some() {
            new.mark().store(clock::USED, Ordering::Relaxed);
            old.mark().store(stripes::FREE, Ordering::Relaxed);
        }
        bucket.replace(place, old, new, || key.write_to(new.key()));
    }

    /// Notes the hash of an element's key, where somebody asks for it.
    #[inline(always)]
    fn note_hash<K: Key>(&self, new: Element<'_>, hash: u32) {
        if K::COMPARES_HASHES || self.clock.is_some() {
            new.hash().store(hash, Ordering::Relaxed);
        }
    }

    /// Notes that there is an element in a bucket.
    #[inline]
    fn inhabit(&self, bucket: u32) {
        let (word, bit) = (bucket / (64 * 64), 1 << (bucket / 64 % 64));
        let word = &self.inhabited.get(word as usize).0;
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Deletes a key. `last_look` sees the element before it is gone.
    #[inline(always)]
    pub(crate) fn delete<K: Key, R>(
        &self,
        key: K,
        last_look: impl FnOnce(Element<'_>) -> R,
    ) -> Result<R, Errno> {
        let hash = key.hash(self.seed);
        let bucket = self.bucket(hash);
        let before = bucket.begin();
        let (mut place, mut found) = self.find(bucket, key, hash);
        let held = self.lock(hash);
        if !bucket.unchanged(before) {
            (place, found) = self.find(bucket, key, hash);
        }
        let Some(element) = found else { return Err(libc::ENOENT) };
        let seen = last_look(element);
        bucket.remove(place, element);
        held.push(element);
        Ok(seen)
    }
}
