//! Two threads at once. `BOMBUS_STRESS_SECONDS` says how long all of it shall take together;
//! `cargo xtask fuzz maps` sets it, and builds with a sanitizer.
//!
//! What each thread knows for certain is compared exactly: keys that only it changes, versions that
//! only it writes, counts of what went in and came out. What both change must be whole.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use bombus_maps::{EXIST, Map, MapDef, NOEXIST, Visited, flag};
use bombus_platform::MapType;
use support::Random;

/// How long one of the tests here goes on.
struct Time {
    end: Instant,
    steps: u64,
}

/// Parts into which the tests divide the time.
const PARTS: f64 = 17.0;

impl Time {
    fn new() -> Time {
        let seconds = std::env::var("BOMBUS_STRESS_SECONDS").ok();
        let seconds = seconds.and_then(|text| text.parse::<f64>().ok()).unwrap_or(1.5);
        Time { end: Instant::now() + Duration::from_secs_f64(seconds / PARTS), steps: 0 }
    }

    fn goes_on(&mut self) -> bool {
        self.steps += 1;
        if cfg!(miri) {
            self.steps < 60
        } else {
            !self.steps.is_multiple_of(64) || Instant::now() < self.end
        }
    }
}

fn map(map_type: MapType, key_size: u32, value_size: u32, max_entries: u32) -> Arc<Map> {
    let flags = if map_type == MapType::LpmTrie { flag::NO_PREALLOC } else { 0 };
    let def = MapDef { map_type, key_size, value_size, max_entries, flags, ..MapDef::default() };
    Map::new(&def, 2, 42).expect("the map can be made")
}

/// Runs it in two threads, which start together.
fn two(work: impl Fn(u64) + Sync) {
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (barrier, work) = (&barrier, &work);
            scope.spawn(move || {
                barrier.wait();
                work(thread);
            });
        }
    });
}

/// A key of a size that starts with a number.
fn key(map: &Map, number: u64) -> Vec<u8> {
    let mut key = vec![0xa5; map.key_size().max(8)];
    if map.def().map_type == MapType::LpmTrie {
        key[..4].copy_from_slice(&(map.key_size() as u32 * 8 - 32).to_ne_bytes());
        key[4..8].copy_from_slice(&(number as u32).to_be_bytes());
    } else {
        key[..8].copy_from_slice(&number.to_ne_bytes());
    }
    key.truncate(map.key_size());
    key
}

/// Three words that belong together.
fn whole(number: u64, version: u64) -> Vec<u8> {
    [number, version, number ^ version.rotate_left(17)].map(u64::to_ne_bytes).concat()
}

/// What [`whole`] was given. Panics when it is not whole.
fn parts(value: &[u8]) -> (u64, u64) {
    let word = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&value[at * 8..at * 8 + 8]);
        u64::from_ne_bytes(word)
    };
    assert_eq!(word(2), word(0) ^ word(1).rotate_left(17), "torn: {value:x?}");
    (word(0), word(1))
}

/// Keys that belong to one thread each, in one map: every answer is compared.
fn own_keys(map_type: MapType, key_size: u32, seed: u64) {
    const KEYS: u64 = 64;
    let map = map(map_type, key_size, 24, 4 * KEYS as u32);
    let copies = map.cpus() as usize;
    two(|thread| {
        let (mut random, mut time) = (Random(seed + thread), Time::new());
        let mut model: BTreeMap<u64, u64> = BTreeMap::new();
        let all = |number, version| whole(number, version).repeat(copies);
        while time.goes_on() {
            let number = random.below(KEYS) * 2 + thread;
            let (name, version) = (key(&map, number), random.next());
            let known = model.get(&number).copied();
            let expected = known.map(|version| all(number, version)).ok_or(libc::ENOENT);
            match random.below(16) {
                0..5 => assert_eq!(map.user_lookup(&name, 0), expected),
                5 => assert_eq!(map.lookup(&name[..], 0).is_some(), known.is_some()),
                6..9 => {
                    let flags = random.below(3);
                    let outcome = match known {
                        Some(_) if flags == NOEXIST => Err(libc::EEXIST),
                        None if flags == EXIST => Err(libc::ENOENT),
                        _ => Ok(()),
                    };
                    let value = all(number, version);
                    assert_eq!(map.user_update(&name, &value, flags), outcome);
                    if outcome.is_ok() {
                        model.insert(number, version);
                    }
                }
                9..12 => {
                    let outcome = expected.map(drop);
                    assert_eq!(map.delete(&name[..]), outcome);
                    model.remove(&number);
                }
                12 if map_type != MapType::LpmTrie => {
                    assert_eq!(map.user_take(&name, 0), expected);
                    model.remove(&number);
                }
                13 => {
                    let names: Vec<u8> = [number, number + 2, number + 4]
                        .iter()
                        .flat_map(|&number| key(&map, number))
                        .collect();
                    let values: Vec<u8> =
                        (0..3).flat_map(|n| all(number + 2 * n, version)).collect();
                    let batch = map.user_update_batch(&names, &values, 0).expect("it has batches");
                    assert_eq!((batch.count, batch.outcome), (3, Ok(())));
                    model.extend((0..3).map(|n| (number + 2 * n, version)));
                }
                14 if random.below(8) == 0 => {
                    let met = elements(&map);
                    let own = met.iter().filter(|(number, _)| *number % 2 == thread);
                    let own: Vec<(u64, u64)> = own.copied().collect();
                    assert_eq!(own, model.clone().into_iter().collect::<Vec<_>>());
                }
                15 if random.below(8) == 0 && map_type != MapType::LpmTrie => {
                    let mut met = BTreeSet::new();
                    for visited in map.walk(0).expect("it can be walked") {
                        let Visited::Key(at, _) = visited else { panic!("it has keys") };
                        // SAFETY: the map is alive, and its keys start with a whole word.
                        let number = unsafe { AtomicU64::from_ptr(at.as_ptr().cast()) };
                        met.insert(number.load(Ordering::Relaxed));
                    }
                    assert!(model.keys().all(|number| met.contains(number)));
                }
                _ => {}
            }
        }
        for number in (0..KEYS + 4).map(|number| number * 2 + thread) {
            let expected = model.get(&number).map(|&version| all(number, version));
            assert_eq!(map.user_lookup(&key(&map, number), 0).ok(), expected);
        }
    });
}

/// All elements by batches, in the order of their keys: each met once.
fn elements(map: &Map) -> Vec<(u64, u64)> {
    let mut met = BTreeMap::new();
    let mut from: Option<Vec<u8>> = None;
    loop {
        let found = map.user_lookup_batch(from.as_deref(), 256, 0, false).expect("it has batches");
        for value in found.values.chunks(map.user_value_size()) {
            let (number, version) = parts(value);
            met.insert(number, version);
        }
        if found.end {
            return met.into_iter().collect();
        }
        from = Some(found.next);
    }
}

#[test]
fn own_keys_of_hash_tables() {
    for (key_size, seed) in [(8, 1), (16, 2), (27, 3)] {
        own_keys(MapType::Hash, key_size, seed);
    }
}

#[test]
fn own_keys_of_percpu_hash_tables() {
    own_keys(MapType::PercpuHash, 8, 4);
}

#[test]
fn own_keys_of_lru_hash_tables() {
    // With room for all of them nothing is evicted.
    own_keys(MapType::LruHash, 8, 5);
    own_keys(MapType::LruPercpuHash, 16, 6);
}

#[test]
fn own_keys_of_tries() {
    // A walk starts again when the key where it was is deleted, so there are no batches here.
    let map = map(MapType::LpmTrie, 8, 24, 256);
    two(|thread| {
        let (mut random, mut time) = (Random(thread), Time::new());
        let mut model: BTreeMap<u64, u64> = BTreeMap::new();
        while time.goes_on() {
            let number = random.below(64) * 2 + thread;
            let (name, version) = (key(&map, number), random.next());
            let known = model.get(&number).map(|&version| whole(number, version));
            match random.below(4) {
                0 => assert_eq!(map.user_lookup(&name, 0), known.ok_or(libc::ENOENT)),
                1 => assert_eq!(map.lookup(&name[..], 0).is_some(), known.is_some()),
                2 => {
                    assert_eq!(map.update(&name[..], &whole(number, version)[..], 0, 0), Ok(()));
                    model.insert(number, version);
                }
                _ => {
                    assert_eq!(map.delete(&name[..]), known.map(drop).ok_or(libc::ENOENT));
                    model.remove(&number);
                }
            }
        }
    });
}

#[test]
fn shared_keys_are_whole_and_do_not_go_back() {
    for (key_size, keys) in [(8, 4), (16, 2), (40, 3)] {
        let map = map(MapType::Hash, key_size, 24, 64);
        let versions = [AtomicU64::new(1), AtomicU64::new(1)];
        two(|thread| {
            let (mut random, mut time) = (Random(thread), Time::new());
            let mut seen = BTreeMap::new();
            while time.goes_on() {
                let number = random.below(keys);
                let name = key(&map, number);
                // Versions of one thread only grow; it is told by their lowest bit.
                let version =
                    versions[thread as usize].fetch_add(1, Ordering::Relaxed) * 2 + thread;
                match random.below(8) {
                    0..3 => {
                        assert_eq!(
                            map.update(&name[..], &whole(number, version)[..], 0, 0),
                            Ok(())
                        );
                    }
                    3 => {
                        let _ = map.delete(&name[..]);
                    }
                    _ => {
                        let Ok(value) = map.user_lookup(&name, 0) else { continue };
                        let (there, version) = parts(&value);
                        assert_eq!(there, number, "a value of another key");
                        if version % 2 != thread {
                            let before = seen.insert((number, version % 2), version);
                            assert!(before.is_none_or(|before| before <= version));
                        }
                    }
                }
            }
        });
    }
}

#[test]
fn additions_in_place_are_all_kept() {
    const KEYS: u64 = 8;
    let map = map(MapType::Hash, 8, 8, 64);
    for number in 0..KEYS {
        assert_eq!(map.update(&key(&map, number)[..], &[0; 8][..], 0, 0), Ok(()));
    }
    let added = AtomicU64::new(0);
    two(|thread| {
        let (mut random, mut time) = (Random(thread), Time::new());
        let mut count = 0;
        while time.goes_on() {
            let number = random.below(KEYS);
            let value = map.lookup(&key(&map, number)[..], 0).expect("nobody deletes it");
            // SAFETY: the map is alive, and its values are words.
            unsafe { AtomicU64::from_ptr(value.as_ptr().cast()) }.fetch_add(1, Ordering::Relaxed);
            count += 1;
            // Others come and go on the same chains.
            let other = key(&map, KEYS + random.below(40));
            match random.below(2) {
                0 => {
                    let _ = map.update(&other[..], &[1; 8][..], 0, 0);
                }
                _ => {
                    let _ = map.delete(&other[..]);
                }
            }
        }
        added.fetch_add(count, Ordering::Relaxed);
    });
    let total: u64 = (0..KEYS)
        .map(|number| map.user_lookup(&key(&map, number), 0).expect("nobody deleted it"))
        .map(|value| u64::from_ne_bytes(value.try_into().expect("eight bytes")))
        .sum();
    assert_eq!(total, added.load(Ordering::Relaxed));
}

#[test]
fn a_full_map_holds_as_many_as_it_should() {
    const ROOM: u32 = 32;
    let map = map(MapType::Hash, 8, 24, ROOM);
    let there = AtomicU64::new(0);
    two(|thread| {
        let (mut random, mut time) = (Random(thread), Time::new());
        while time.goes_on() {
            let number = random.below(64);
            if random.below(3) > 0 {
                match map.update(&key(&map, number)[..], &whole(number, 1)[..], NOEXIST, 0) {
                    Ok(()) => {
                        there.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(errno) => assert!([libc::EEXIST, libc::E2BIG].contains(&errno)),
                }
            } else if map.delete(&key(&map, number)[..]).is_ok() {
                there.fetch_sub(1, Ordering::Relaxed);
            }
        }
    });
    assert_eq!(elements(&map).len() as u64, there.load(Ordering::Relaxed));
    // Nothing was lost on the way: one thread can fill it.
    for number in 0..64 {
        let full = elements(&map).len() as u32 == ROOM;
        let outcome = map.update(&key(&map, number)[..], &whole(number, 2)[..], 0, 0);
        let known = !full || outcome.is_ok();
        assert!(known || outcome == Err(libc::E2BIG), "{outcome:?}");
    }
    assert_eq!(elements(&map).len() as u32, ROOM);
}

#[test]
fn lru_maps_always_make_room() {
    for map_type in [MapType::LruHash, MapType::LruPercpuHash] {
        let map = map(map_type, 8, 24, 100);
        two(|thread| {
            let (mut random, mut time) = (Random(thread), Time::new());
            while time.goes_on() {
                let number = random.below(500);
                let name = key(&map, number);
                match random.below(4) {
                    0 => {
                        let _ = map.delete(&name[..]);
                    }
                    1 => {
                        if let Ok(value) = map.user_lookup(&name, 0) {
                            assert!(value.chunks(24).any(|value| parts(value).0 == number));
                        }
                    }
                    _ => {
                        let value = whole(number, random.next()).repeat(map.cpus() as usize);
                        assert_eq!(map.user_update(&name, &value, 0), Ok(()));
                    }
                }
            }
        });
        assert!(elements(&map).len() <= 100);
    }
}

#[test]
fn queues_lose_nothing() {
    for map_type in [MapType::Queue, MapType::Stack] {
        let map = map(map_type, 0, 24, 10);
        let (pushed, popped) = (AtomicU64::new(0), AtomicU64::new(0));
        let pop = || {
            let mut value = [0; 24];
            if map.pop(&mut value).is_ok() {
                popped.fetch_add(parts(&value).0, Ordering::Relaxed);
                return true;
            }
            false
        };
        two(|thread| {
            let (mut random, mut time) = (Random(thread), Time::new());
            while time.goes_on() {
                let number = random.below(1 << 20);
                if random.below(2) == 0 {
                    if map.push(&whole(number, thread)[..], 0).is_ok() {
                        pushed.fetch_add(number, Ordering::Relaxed);
                    }
                } else {
                    pop();
                }
            }
        });
        while pop() {}
        assert_eq!(pushed.load(Ordering::Relaxed), popped.load(Ordering::Relaxed));
    }
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no memfd_create")]
fn ring_buffers_keep_records_whole_and_in_order() {
    let map = map(MapType::Ringbuf, 0, 0, 4096);
    let ring = map.ringbuf().expect("it is one");
    let writing = AtomicBool::new(true);
    let sent = [AtomicU64::new(0), AtomicU64::new(0)];
    let mut received = [0, 0];
    let mut take = || {
        ring.read(|record| {
            let record = record.to_vec();
            let (thread, number) = parts(&record);
            assert_eq!(number, received[thread as usize], "out of order");
            received[thread as usize] += 1;
            // The rest of a record says whose it is.
            assert!(record[24..].iter().all(|&byte| byte == thread as u8));
        })
    };
    std::thread::scope(|scope| {
        let (writing, sent) = (&writing, &sent);
        scope.spawn(move || {
            two(|thread| {
                let (mut random, mut time) = (Random(thread), Time::new());
                while time.goes_on() {
                    let number = sent[thread as usize].load(Ordering::Relaxed);
                    let mut record = whole(thread, number);
                    record.resize(24 + random.below(300) as usize, thread as u8);
                    let held = if random.below(5) == 0 { ring.reserve(number % 100) } else { None };
                    if let Some(place) = held {
                        ring.finish(place, 0, true).expect("it is a record");
                    }
                    if ring.output(&record[..], 0).is_ok() {
                        sent[thread as usize].fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
            writing.store(false, Ordering::Release);
        });
        while writing.load(Ordering::Acquire) {
            take();
            std::thread::yield_now();
        }
    });
    take();
    assert_eq!(received, [0, 1].map(|thread: usize| sent[thread].load(Ordering::Relaxed)));
}
