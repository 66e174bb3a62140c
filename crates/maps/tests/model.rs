//! Random operations against a model: one thread, every answer compared.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use bombus_maps::{EXIST, Map, MapDef, NOEXIST, Visited};
use bombus_platform::MapType;
use support::Random;

fn map(map_type: MapType, key_size: u32, value_size: u32, max_entries: u32) -> Arc<Map> {
    let def = MapDef { map_type, key_size, value_size, max_entries, ..MapDef::default() };
    Map::new(&def, 3, 42).expect("the map can be made")
}

/// A key of a size: the same number gives the same key.
fn key(number: u64, size: usize) -> Vec<u8> {
    let words = [number, !number, number.rotate_left(7)];
    let mut key: Vec<u8> =
        words.iter().cycle().take(size.div_ceil(8)).flat_map(|word| word.to_ne_bytes()).collect();
    key.truncate(size);
    key
}

fn steps() -> u64 {
    if cfg!(miri) { 300 } else { 30_000 }
}

#[test]
fn hash_tables() {
    for (key_size, value_size) in [(1, 1), (4, 8), (8, 8), (13, 3), (16, 40), (64, 8), (65, 9)] {
        let map = map(MapType::Hash, key_size as u32, value_size as u32, 100);
        let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let mut random = Random(key_size as u64);
        for _ in 0..steps() {
            let key = key(random.below(150), key_size);
            let value: Vec<u8> = (0..value_size).map(|_| random.next() as u8).collect();
            match random.below(10) {
                0..3 => {
                    let known = model.get(&key).cloned().ok_or(libc::ENOENT);
                    assert_eq!(map.user_lookup(&key, 0), known);
                    assert_eq!(map.lookup(&key[..], 0).is_some(), known.is_ok());
                }
                3..7 => {
                    let flags = random.below(3);
                    let expected = match model.contains_key(&key) {
                        true if flags == NOEXIST => Err(libc::EEXIST),
                        false if flags == EXIST => Err(libc::ENOENT),
                        false if model.len() == 100 => Err(libc::E2BIG),
                        _ => Ok(()),
                    };
                    assert_eq!(map.update(&key[..], &value[..], flags, 0), expected);
                    if expected.is_ok() {
                        model.insert(key, value);
                    }
                }
                7 => assert_eq!(map.user_take(&key, 0), model.remove(&key).ok_or(libc::ENOENT)),
                8 if random.below(100) == 0 => {
                    let mut keys = Vec::new();
                    let mut last: Option<Vec<u8>> = None;
                    while let Ok(next) = map.user_next_key(last.as_deref()) {
                        keys.push(next.clone());
                        last = Some(next);
                    }
                    keys.sort();
                    assert!(keys.iter().eq(model.keys()));
                }
                _ => {
                    let expected = model.remove(&key).map(drop).ok_or(libc::ENOENT);
                    assert_eq!(map.delete(&key[..]), expected);
                }
            }
        }
    }
}

#[test]
fn walks_meet_what_stays_once() {
    let map = map(MapType::Hash, 8, 8, 1000);
    for number in 0..1000 {
        assert_eq!(map.update(&key(number, 8)[..], &[1; 8][..], 0, 0), Ok(()));
    }
    let mut met = Vec::new();
    for visited in map.walk(0).expect("hash tables can be walked") {
        let Visited::Key(at, value) = visited else { panic!("a hash table has keys") };
        // SAFETY: the map is alive, and nobody else uses it.
        let (number, _) = unsafe { (*at.cast::<u64>().as_ref(), value) };
        met.push(number);
        // Whoever walks may delete and replace, also what is still to come.
        if number % 3 == 0 {
            assert_eq!(map.delete(&key(number, 8)[..]), Ok(()));
        } else {
            assert_eq!(map.update(&key(number, 8)[..], &[2; 8][..], EXIST, 0), Ok(()));
        }
    }
    met.sort_unstable();
    assert!(met.into_iter().eq(0..1000));
}

#[test]
fn per_cpu_values() {
    let map = map(MapType::PercpuHash, 4, 5, 10);
    assert_eq!(map.user_value_size(), 24);
    let key = [1, 2, 3, 4];
    assert_eq!(map.update(&key[..], &[7; 5][..], 0, 1), Ok(()));
    let mut expected = [[0; 8]; 3];
    expected[1][..5].fill(7);
    assert_eq!(map.user_lookup(&key, 0), Ok(expected.concat()));
    let all: Vec<u8> = (0..24).collect();
    assert_eq!(map.user_update(&key, &all, EXIST), Ok(()));
    for part in expected.iter_mut() {
        part.fill(0);
    }
    for (cpu, part) in expected.iter_mut().enumerate() {
        part[..5].copy_from_slice(&all[cpu * 8..cpu * 8 + 5]);
    }
    assert_eq!(map.user_lookup(&key, 0), Ok(expected.concat()));
    assert!(map.lookup_percpu(&key[..], 2).is_some());
    assert!(map.lookup_percpu(&key[..], 3).is_none());
    // A new element has zeros for the other CPUs, whatever its memory was used for before.
    assert_eq!(map.delete(&key[..]), Ok(()));
    assert_eq!(map.update(&key[..], &[9; 5][..], 0, 0), Ok(()));
    assert_eq!(map.user_lookup(&key, 0).map(|value| value[8..].to_vec()), Ok(vec![0; 16]));
}

#[test]
fn lru_maps_make_room() {
    let map = map(MapType::LruHash, 8, 8, 64);
    let put = |number| map.update(&key(number, 8)[..], &[0; 8][..], 0, 0);
    for number in 0..64 {
        assert_eq!(put(number), Ok(()));
    }
    for number in 64..640 {
        // What is used all the time stays.
        assert!(map.lookup(&key(5, 8)[..], 0).is_some());
        assert_eq!(put(number), Ok(()));
        assert!(map.lookup(&key(5, 8)[..], 0).is_some(), "{number}");
        // And what just came is not the first to go.
        assert!(map.user_lookup(&key(number, 8), 0).is_ok());
    }
    let all = map.walk(0).expect("hash tables can be walked").count();
    assert_eq!(all, 64);
}

#[test]
fn arrays() {
    let map = map(MapType::Array, 4, 12, 3);
    let at = |index: u32| index.to_ne_bytes();
    assert_eq!(map.user_lookup(&at(2), 0), Ok(vec![0; 12]));
    assert_eq!(map.update(&at(2)[..], &[1; 12][..], NOEXIST, 0), Err(libc::EEXIST));
    assert_eq!(map.update(&at(2)[..], &[1; 12][..], EXIST, 0), Ok(()));
    assert_eq!(map.update(&at(3)[..], &[1; 12][..], 0, 0), Err(libc::E2BIG));
    assert_eq!(map.user_lookup(&at(2), 0), Ok(vec![1; 12]));
    assert_eq!(map.delete(&at(2)[..]), Err(libc::EINVAL));
    assert_eq!(map.user_lookup(&at(3), 0), Err(libc::ENOENT));
    let layout = map.as_array().expect("it is an array");
    assert_eq!((layout.stride, layout.max_entries, layout.cpu_stride), (16, 3, 0));
    let second = map.lookup(&at(1)[..], 0).expect("it is always there").as_ptr();
    assert_eq!(second, layout.base.wrapping_add(16));
    assert_eq!(map.user_freeze(), Ok(()));
    assert_eq!(map.user_freeze(), Err(libc::EPERM));
    assert_eq!(map.user_update(&at(0), &[0; 12], 0), Err(libc::EPERM));
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no address space that costs nothing")]
fn maps_that_are_too_large_are_refused() {
    let refused = |map_type, key_size, value_size, max_entries, flags| {
        let def =
            MapDef { map_type, key_size, value_size, max_entries, flags, ..MapDef::default() };
        Map::new(&def, 3, 42).err()
    };
    assert_eq!(refused(MapType::Array, 4, 1 << 30, u32::MAX, 0), Some(libc::ENOMEM));
    assert_eq!(refused(MapType::PercpuArray, 4, 32768, u32::MAX, 0), Some(libc::ENOMEM));
    assert_eq!(refused(MapType::Hash, 8, 1 << 20, 1 << 27, 0), Some(libc::ENOMEM));
    assert_eq!(refused(MapType::Hash, 8, 8, 1 << 31, 0), Some(libc::E2BIG));
    assert_eq!(refused(MapType::Hash, 8, 1 << 20, 1 << 20, 1), None);
}

#[test]
fn references() {
    use std::num::NonZeroU64;
    let numbers = [1, 2, 3].map(|number| NonZeroU64::new(number).expect("it is not zero"));
    for map_type in [MapType::ProgArray, MapType::HashOfMaps] {
        let map = map(map_type, 4, 4, 3);
        let [one, two, _] = numbers;
        assert!(map.holds_references());
        assert_eq!(map.reference(&[1, 0, 0, 0]), Err(libc::ENOENT));
        assert_eq!(map.set_reference(&[1, 0, 0, 0], one, 0), Ok(None));
        assert_eq!(map.set_reference(&[1, 0, 0, 0], two, 0), Ok(Some(one)));
        assert_eq!(map.reference(&[1, 0, 0, 0]), Ok(two));
        assert_eq!(map.take_reference(&[1, 0, 0, 0]), Ok(two));
        assert_eq!(map.take_reference(&[1, 0, 0, 0]), Err(libc::ENOENT));
        assert_eq!(map.user_lookup(&[1, 0, 0, 0], 0), Err(bombus_maps::ENOTSUPP));
    }
    let array = map(MapType::ProgArray, 4, 4, 3);
    assert_eq!(array.set_reference(&[3, 0, 0, 0], numbers[0], 0), Err(libc::E2BIG));
    assert_eq!(array.set_reference(&[0, 0, 0, 0], numbers[0], EXIST), Err(libc::EINVAL));
}

#[test]
fn stack_traces() {
    let map = map(MapType::StackTrace, 4, 32, 16);
    let frames =
        |words: &[u64]| words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<u8>>();
    let trace = frames(&[1, 2, 3]);
    let id = map.stack_id(&trace, 0).expect("there is room");
    assert_eq!(map.stack_id(&trace, 0), Ok(id));
    let mut expected = trace.clone();
    expected.resize(32, 0);
    assert_eq!(map.user_lookup(&id.to_ne_bytes(), 0), Ok(expected));
    assert_eq!(map.user_next_key(None), Ok(id.to_ne_bytes().to_vec()));
    assert_eq!(map.user_next_key(Some(&id.to_ne_bytes())), Err(libc::ENOENT));
    assert_eq!(map.user_update(&id.to_ne_bytes(), &[0; 32], 0), Err(libc::EINVAL));
    // Another trace with the same number is not mistaken for it.
    let other = (10u64..)
        .map(|word| frames(&[word]))
        .find(|other| map.stack_id(other, 0) == Err(libc::EEXIST));
    let other = other.expect("one of them meets it");
    assert_eq!(map.stack_id(&other, 1 << 10), map.stack_id(&other, 0));
    assert_eq!(map.user_delete(&id.to_ne_bytes()), Ok(()));
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no memfd_create")]
fn ring_buffers() {
    let map = map(MapType::Ringbuf, 0, 0, 4096);
    let ring = map.ringbuf().expect("it is one");
    let read = || {
        let mut records = Vec::new();
        ring.read(|record| records.push(record.to_vec()));
        records
    };
    assert!(ring.reserve(4096 - 7).is_none());
    // Many times round, so that records run over the end.
    for round in 0..100u32 {
        let first = vec![round as u8; 1000 + round as usize];
        assert_eq!(ring.output(&first[..], 0), Ok(true));
        let held = ring.reserve(100).expect("there is room");
        assert_eq!(ring.output(&b"behind"[..], 0), Ok(false));
        assert_eq!(ring.output(&[0; 4000][..], 0), Err(libc::EAGAIN));
        // What comes after a record that somebody holds waits for it.
        assert_eq!(read(), [first]);
        assert_eq!(ring.finish(held, 0, true), Some(true));
        assert_eq!(read(), [b"behind".to_vec()]);
        assert_eq!(ring.query(0), 0);
    }
    assert_eq!(ring.output(&[0; 8][..], 4), Err(libc::EINVAL));
    let map = self::map(MapType::UserRingbuf, 0, 0, 4096);
    let ring = map.user_ringbuf().expect("it is one");
    for round in 0..100u32 {
        let records = [vec![1; 900 + round as usize], vec![], vec![3; 7]];
        for record in &records {
            assert_eq!(ring.push(record), Ok(()));
        }
        let mut seen = Vec::new();
        let mut each = |record: bombus_maps::Bytes<'_>| {
            seen.push(record.to_vec());
            seen.len() == 2
        };
        assert_eq!(ring.drain(&mut each), Ok(2));
        assert_eq!(ring.drain(&mut each), Ok(1));
        assert_eq!(seen, records);
    }
    assert_eq!(ring.push(&[0; 4090]), Err(libc::E2BIG));
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no memfd_create")]
fn machine_code_finds_the_ring_of_a_record() {
    use bombus_maps::raw;
    use std::sync::atomic::{AtomicU32, Ordering};
    let map = map(MapType::Ringbuf, 0, 0, 8192);
    let ring = map.ringbuf().expect("it is one");
    let woken = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&woken);
    assert!(ring.on_wakeup(move || {
        count.fetch_add(1, Ordering::Relaxed);
    }));
    // Records on every page, and over the end.
    for round in 0..50u64 {
        // SAFETY: the map is alive; records are as long as they were asked for.
        unsafe {
            let record = raw::ringbuf_reserve(&*map, 1000, 0);
            record.cast::<u64>().write(round);
            raw::ringbuf_submit(record, 0);
            assert!(raw::ringbuf_reserve(&*map, 1000, 1).is_null());
        }
        let mut seen = Vec::new();
        ring.read(|record| seen.push(record.to_vec()));
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0][..8], round.to_ne_bytes());
    }
    assert_eq!(woken.load(Ordering::Relaxed), 50);
}

#[test]
fn locked_values_are_whole() {
    // A lock, and 20 bytes that belong together.
    let steps = if cfg!(miri) { 30 } else { 20_000 };
    for map_type in [MapType::Hash, MapType::Array] {
        let def = MapDef {
            map_type,
            key_size: 4,
            value_size: 24,
            max_entries: 4,
            spin_lock: Some(0),
            ..MapDef::default()
        };
        let map = Map::new(&def, 2, 1).expect("the map can be made");
        let key = [1, 0, 0, 0];
        assert_eq!(map.user_update(&key, &[0; 24], 0), Ok(()));
        let write = |byte: u8| {
            for step in 0..steps {
                let mut value = [byte.wrapping_mul(step as u8 | 1); 24];
                value[..4].fill(0xff);
                assert_eq!(map.user_update(&key, &value, bombus_maps::LOCK), Ok(()));
                let seen = map.user_lookup(&key, bombus_maps::LOCK).expect("it is there");
                assert_eq!(seen[..4], [0; 4]);
                assert!(seen[4..].iter().all(|&byte| byte == seen[4]), "{seen:x?}");
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| write(3));
            write(5);
        });
    }
    let plain = map(MapType::Hash, 4, 8, 4);
    assert_eq!(plain.user_update(&[0; 4], &[0; 8], bombus_maps::LOCK), Err(libc::EINVAL));
    assert_eq!(plain.user_lookup(&[0; 4], bombus_maps::LOCK), Err(libc::EINVAL));
}
