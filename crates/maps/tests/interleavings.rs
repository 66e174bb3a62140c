//! All that two threads can see of each other on a chain and at a lock, by loom: it runs a model with
//! every order of their steps (up to three preemptions) and every value that the memory model allows
//! a load.
//!
//! The chains and locks are those of the crate; keys, values and elements are made of loom's atomic
//! integers here, and both barriers of a bias are the strongest fence.

#[path = "../src/bias.rs"]
#[allow(dead_code)]
mod bias;
#[path = "../src/hash/chain.rs"]
#[allow(dead_code)]
mod chain;
#[path = "../src/lock.rs"]
#[allow(dead_code)]
mod lock;

/// What the crate's modules take from their `sync`.
mod sync {
    use std::cell::Cell;

    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::atomic::{AtomicU32, Ordering, fence};
    pub(crate) use loom::thread::yield_now;

    thread_local! {
        /// Whether the barriers of who has a bias, and of who takes it away, are there.
        pub(crate) static BARRIERS: Cell<[bool; 2]> = const { Cell::new([true, true]) };
    }

    pub(crate) fn rest(_: u32) {
        yield_now();
    }

    pub(crate) fn light_fence() {
        if BARRIERS.get()[0] {
            fence(Ordering::SeqCst);
        }
    }

    pub(crate) fn heavy_fence() {
        if BARRIERS.get()[1] {
            fence(Ordering::SeqCst);
        }
    }
}

use bias::{BiasedLock, Presence, Thread, Threads};
use chain::{Bucket, Node};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use sync::{AtomicU32, BARRIERS, Ordering};

/// Elements that a table has: links 1 to 3.
const ELEMENTS: u32 = 3;

/// A table with one chain.
struct Table {
    bucket: Bucket,
    lock: BiasedLock,
    elements: Vec<Element>,
    /// The link of the spare element; who has the lock uses it.
    spare: AtomicU32,
    /// Elements that are free, a bit each; likewise.
    free: AtomicU32,
}

struct Element {
    next: AtomicU32,
    key: AtomicU32,
    value: AtomicU32,
}

impl Element {
    fn name(&self, key: u32) {
        self.key.store(key, Ordering::Release);
    }
}

#[derive(Clone, Copy)]
struct Named<'a>(u32, &'a Element);

impl<'a> Node<'a> for Named<'a> {
    fn link(self) -> u32 {
        self.0
    }

    fn next(self) -> &'a AtomicU32 {
        &self.1.next
    }
}

/// A value that tells its key and its version.
fn value(key: u32, version: u32) -> u32 {
    key * 100 + version
}

impl Table {
    /// A table with some keys, version 0 each.
    fn with(keys: &[u32]) -> Table {
        let element = |_| Element {
            next: AtomicU32::new(0),
            key: AtomicU32::new(0),
            value: AtomicU32::new(0),
        };
        let table = Table {
            bucket: Bucket::default(),
            lock: BiasedLock::default(),
            elements: (0..ELEMENTS).map(element).collect(),
            spare: AtomicU32::new(ELEMENTS),
            free: AtomicU32::new((1 << ELEMENTS) - 2),
        };
        for &key in keys {
            assert_eq!(table.update(key, 0), Some(true));
        }
        table
    }

    fn element(&self, link: u32) -> Named<'_> {
        Named(link, &self.elements[link as usize - 1])
    }

    fn find(&self, key: u32) -> chain::Found<'_, Named<'_>> {
        let is_it = |element: Named<'_>| element.1.key.load(Ordering::Acquire) == key;
        self.bucket.find(|link| self.element(link), is_it)
    }

    /// As the table's own: searched before the lock is taken, and again if something changed.
    /// `None` when another has the lock: a model in which threads wait in a loop never ends.
    fn locked(
        &self,
        key: u32,
        act: impl FnOnce(&AtomicU32, Option<Named<'_>>) -> bool,
    ) -> Option<bool> {
        let before = self.bucket.begin();
        let (mut place, mut found) = self.find(key);
        let held = self.lock.try_lock(&Nobody)?;
        if !self.bucket.unchanged(before) {
            (place, found) = self.find(key);
        }
        let done = act(place, found);
        self.lock.unlock(held);
        Some(done)
    }

    /// Stores a value; `false` when there is no room.
    fn update(&self, key: u32, version: u32) -> Option<bool> {
        self.locked(key, |place, old| {
            match old {
                Some(old) => {
                    let spare = self.element(self.spare.load(Ordering::Relaxed));
                    spare.1.value.store(value(key, version), Ordering::Relaxed);
                    self.bucket.replace(place, old, spare, || spare.1.name(key));
                    self.spare.store(old.link(), Ordering::Relaxed);
                }
                None => {
                    let free = self.free.load(Ordering::Relaxed) & !1;
                    let link = free.trailing_zeros();
                    if link >= ELEMENTS {
                        return false;
                    }
                    self.free.store(free & !(1 << link), Ordering::Relaxed);
                    let new = self.element(link);
                    new.1.value.store(value(key, version), Ordering::Relaxed);
                    self.bucket.insert(new, || new.1.name(key));
                }
            }
            true
        })
    }

    fn delete(&self, key: u32) -> Option<bool> {
        self.locked(key, |place, found| {
            let Some(element) = found else { return false };
            self.bucket.remove(place, element);
            let free = self.free.load(Ordering::Relaxed);
            self.free.store(free | 1 << element.link(), Ordering::Relaxed);
            true
        })
    }

    /// The version of a key, read without the lock, unless something changed meanwhile.
    fn read(&self, key: u32) -> Option<Option<u32>> {
        let before = self.bucket.begin();
        let (_, found) = self.find(key);
        let read = found.map(|element| element.1.value.load(Ordering::Relaxed));
        if !self.bucket.unchanged(before) {
            return None;
        }
        if let Some(read) = read {
            assert_eq!(read / 100, key, "a value of another key");
        }
        Some(read.map(|read| read % 100))
    }
}

/// Threads none of which can be given a bias.
struct Nobody;

impl Threads<'static> for Nobody {
    const ROW: u32 = 0;
    const NOTICE: u32 = 0;

    fn this(&self) -> Option<Thread<'static>> {
        None
    }

    fn presence(&self, _: u32) -> Option<&'static Presence> {
        None
    }
}

fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// Two threads work on a table with some keys, and are asked what they did.
fn two<T: Send + 'static, U: 'static>(
    keys: &'static [u32],
    first: fn(&Table) -> U,
    second: fn(&Table) -> T,
    afterwards: fn(&Table, U, T),
) {
    explore(move || {
        let table = Arc::new(Table::with(keys));
        let other = Arc::clone(&table);
        let thread = loom::thread::spawn(move || second(&other));
        let own = first(&table);
        let other = thread.join().expect("the other thread does not panic");
        afterwards(&table, own, other);
    });
}

#[test]
fn a_reader_finds_the_old_value_or_the_new() {
    let write = |table: &Table| {
        table.update(1, 1);
        table.update(1, 2);
    };
    let read = |table: &Table| {
        let mut last = 0;
        for _ in 0..2 {
            if let Some(version) = table.read(1) {
                let version = version.expect("the key was there all the time");
                assert!(version >= last, "an older value than before");
                last = version;
            }
        }
    };
    two(&[1], write, read, |table, (), ()| assert_eq!(table.read(1), Some(Some(2))));
}

#[test]
fn elements_that_are_used_again_do_not_mislead() {
    let write = |table: &Table| {
        assert_eq!(table.delete(1), Some(true));
        // The same element becomes another key's.
        assert_eq!(table.update(3, 1), Some(true));
    };
    let read = |table: &Table| {
        if let Some(version) = table.read(2) {
            assert_eq!(version, Some(0), "the key was there all the time");
        }
        let _ = table.read(1);
    };
    two(&[1, 2], write, read, |table, (), ()| {
        let read = [1, 2, 3].map(|key| table.read(key));
        assert_eq!(read, [Some(None), Some(Some(0)), Some(Some(1))]);
    });
}

#[test]
fn no_update_is_lost() {
    let replace = |table: &Table| table.update(1, 1);
    let insert = |table: &Table| table.update(2, 2);
    two(&[1], replace, insert, |table, replaced, inserted| {
        assert!(replaced.is_some() || inserted.is_some(), "nobody had the lock");
        assert_eq!(table.read(1), Some(Some(replaced.map_or(0, |_| 1))));
        assert_eq!(table.read(2), Some(inserted.map(|_| 2)));
    });
}

#[test]
fn a_key_is_deleted_once() {
    let delete = |table: &Table| table.delete(1) == Some(true);
    two(&[1], delete, delete, |table, first, second| {
        assert!(first != second, "one of them deletes it");
        assert_eq!(table.read(1), Some(None));
    });
}

#[test]
fn an_update_beside_a_deletion_is_there_or_was_before_it() {
    let update = |table: &Table| table.update(1, 1).is_some();
    let delete = |table: &Table| table.delete(1) == Some(true);
    two(&[1], update, delete, |table, updated, deleted| {
        assert!(updated || deleted, "nobody had the lock");
        let read = table.read(1).expect("nobody changes it any more");
        assert!(read.is_none() || read == Some(u32::from(updated)));
        assert!(deleted || read.is_some());
    });
}

/// A number behind a lock: loom sees when two are there together, or one does not see what the other
/// did.
#[derive(Default)]
struct Guarded {
    lock: BiasedLock,
    presences: [Presence; 2],
    number: UnsafeCell<u32>,
}

/// Both threads; this one has a number. Who takes a bias away waits so many turns for it to be
/// noticed.
struct Both<'a, const NOTICE: u32>(&'a Guarded, u32);

impl<'a, const NOTICE: u32> Threads<'a> for Both<'a, NOTICE> {
    const ROW: u32 = 0;
    const NOTICE: u32 = NOTICE;

    fn this(&self) -> Option<Thread<'a>> {
        let presence = self.presence(self.1)?;
        Some(Thread { number: self.1, presence })
    }

    fn presence(&self, number: u32) -> Option<&'a Presence> {
        self.0.presences.get(number as usize - 1)
    }
}

impl Guarded {
    /// Adds one, as the thread of a number, which waits for the lock if it must.
    fn add<const NOTICE: u32>(&self, thread: u32) {
        let held = self.lock.lock(&Both::<NOTICE>(self, thread), 0);
        self.add_inside(held);
    }

    /// Adds one unless another has the lock; whether it did.
    fn try_add<const NOTICE: u32>(&self, thread: u32) -> bool {
        let held = self.lock.try_lock(&Both::<NOTICE>(self, thread));
        held.map(|held| self.add_inside(held)).is_some()
    }

    fn add_inside(&self, held: bias::Held<'_>) {
        // SAFETY: loom checks that nobody else has a reference.
        self.number.with_mut(|number| unsafe { *number += 1 });
        self.lock.unlock(held);
    }
}

/// The first thread has a bias and goes in twice while the second takes it away.
fn contend<const NOTICE: u32>(first: fn(&Guarded) -> bool) {
    explore(move || {
        let guarded = Arc::new(Guarded::default());
        guarded.add::<NOTICE>(1);
        guarded.add::<NOTICE>(1);
        let this = Both::<NOTICE>(&guarded, 1).this().expect("there is a first thread");
        let held = guarded.lock.enter(this).expect("it has the bias");
        guarded.add_inside(held);
        let other = Arc::clone(&guarded);
        let thread = loom::thread::spawn(move || other.add::<NOTICE>(2));
        let added = u32::from(first(&guarded)) + u32::from(first(&guarded));
        thread.join().expect("the other thread does not panic");
        guarded.add::<NOTICE>(2);
        // SAFETY: as in `add_inside`.
        let number = guarded.number.with(|number| unsafe { *number });
        assert_eq!(number, 5 + added, "one was lost");
    });
}

#[test]
fn a_bias_keeps_the_other_out_and_can_be_taken_away() {
    contend::<0>(|guarded| guarded.try_add::<0>(1));
}

#[test]
fn a_bias_is_given_up_when_it_is_asked_for() {
    contend::<2>(|guarded| {
        guarded.add::<2>(1);
        true
    });
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_bias_needs_the_barrier_of_who_has_it() {
    BARRIERS.set([false, true]);
    contend::<0>(|guarded| guarded.try_add::<0>(1));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_bias_needs_the_barrier_of_who_takes_it_away() {
    BARRIERS.set([true, false]);
    contend::<0>(|guarded| guarded.try_add::<0>(1));
}
