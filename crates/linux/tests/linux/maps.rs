//! Maps, from user space alone.

use std::collections::BTreeMap;

use bombus_kernel::{Kernel, MapFd, UpdateFlag};
use bombus_linux::Linux;
use bombus_platform::MapType;
use libtest_mimic::Failed;

use crate::{Test, ensure, map_spec, same};

pub(crate) const TESTS: &[Test] = &[
    ("maps::hash", hash),
    ("maps::all_elements", all_elements),
    ("maps::per_cpu", per_cpu),
    ("maps::without_batches", without_batches),
    ("maps::errors", errors),
];

fn hash() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let map = linux.map_create(&map_spec(MapType::Hash, 4, 8, 10))?;
    let (key, one, two) = ([1, 2, 3, 4], [1; 8], [2; 8]);
    same(linux.map_lookup(map, &key)?, None)?;
    same(linux.map_delete(map, &key)?, false)?;
    same(linux.map_next_key(map, None)?, None)?;
    let exist = linux.map_update(map, &key, &one, UpdateFlag::Exist);
    same(exist.unwrap_err().errno(), Some(libc::ENOENT))?;
    linux.map_update(map, &key, &one, UpdateFlag::NoExist)?;
    let again = linux.map_update(map, &key, &two, UpdateFlag::NoExist);
    same(again.unwrap_err().errno(), Some(libc::EEXIST))?;
    linux.map_update(map, &key, &two, UpdateFlag::Any)?;
    same(linux.map_lookup(map, &key)?, Some(two.to_vec()))?;
    same(linux.map_next_key(map, None)?, Some(key.to_vec()))?;
    same(linux.map_next_key(map, Some(&key))?, None)?;
    same(linux.map_delete(map, &key)?, true)?;
    same(linux.map_elements(map)?, vec![])
}

fn fill(linux: &Linux, map: MapFd, count: u32, value_len: usize) -> Result<(), Failed> {
    for number in 0..count {
        let value: Vec<u8> = number.to_ne_bytes().into_iter().cycle().take(value_len).collect();
        linux.map_update(map, &number.to_ne_bytes(), &value, UpdateFlag::Any)?;
    }
    Ok(())
}

fn check_filled(linux: &Linux, map: MapFd, count: u32, value_len: usize) -> Result<(), Failed> {
    let elements = linux.map_elements(map)?;
    same(elements.len(), count as usize)?;
    let elements: BTreeMap<Vec<u8>, Vec<u8>> = elements.into_iter().collect();
    for number in 0..count {
        let value = elements.get(number.to_ne_bytes().as_slice());
        let wanted: Vec<u8> = number.to_ne_bytes().into_iter().cycle().take(value_len).collect();
        ensure(value == Some(&wanted), || format!("element {number} is {value:?}"))?;
    }
    Ok(())
}

/// More elements than one batch has room for, in every type with keys.
fn all_elements() -> Result<(), Failed> {
    let linux = Linux::new()?;
    for map_type in [MapType::Hash, MapType::LruHash, MapType::Array] {
        let (value_size, count) = (200, 5000);
        // An LRU table evicts before it is quite full.
        let room = if map_type == MapType::LruHash { 4 * count } else { count };
        let map = linux.map_create(&map_spec(map_type, 4, value_size, room))?;
        fill(&linux, map, count, value_size as usize)?;
        check_filled(&linux, map, count, value_size as usize)?;
    }
    Ok(())
}

fn per_cpu() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let cpus = linux.features().possible_cpus as usize;
    for map_type in [MapType::PercpuHash, MapType::LruPercpuHash, MapType::PercpuArray] {
        // Four bytes become eight for each CPU.
        let map = linux.map_create(&map_spec(map_type, 4, 4, 100))?;
        let value: Vec<u8> = (0..cpus as u64).flat_map(|cpu| (cpu + 7).to_ne_bytes()).collect();
        linux.map_update(map, &[0; 4], &value, UpdateFlag::Any)?;
        same(linux.map_lookup(map, &[0; 4])?, Some(value.clone()))?;
        let elements = linux.map_elements(map)?;
        let first = elements.into_iter().find(|(key, _)| key == &[0; 4]);
        same(first, Some((vec![0; 4], value)))?;
    }
    Ok(())
}

/// LPM tries got batches late, and queues have no keys at all.
fn without_batches() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let mut spec = map_spec(MapType::LpmTrie, 8, 4, 10);
    spec.flags = 1; // BPF_F_NO_PREALLOC
    let trie = linux.map_create(&spec)?;
    let key = [16, 0, 0, 0, 10, 1, 0, 0];
    linux.map_update(trie, &key, &[9; 4], UpdateFlag::Any)?;
    same(linux.map_elements(trie)?, vec![(key.to_vec(), vec![9; 4])])?;
    let queue = linux.map_create(&map_spec(MapType::Queue, 0, 4, 10))?;
    ensure(linux.map_elements(queue).is_err(), || "a queue listed its elements".into())
}

fn errors() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let map = linux.map_create(&map_spec(MapType::Hash, 4, 8, 1))?;
    for (key, value) in [(&[0u8; 3][..], &[0u8; 8][..]), (&[0; 5], &[0; 8]), (&[0; 4], &[0; 7])] {
        let update = linux.map_update(map, key, value, UpdateFlag::Any);
        same(update.unwrap_err().errno(), Some(libc::EINVAL))?;
    }
    linux.map_update(map, &[0; 4], &[0; 8], UpdateFlag::Any)?;
    let full = linux.map_update(map, &[1; 4], &[0; 8], UpdateFlag::Any).unwrap_err();
    same(full.errno(), Some(libc::E2BIG))?;
    same(full.to_string().starts_with("could not write to map test: "), true)?;
    let unknown = linux.map_lookup(MapFd(u32::MAX), &[0; 4]).unwrap_err();
    same(unknown.errno(), Some(libc::EBADF))?;
    let odd = linux.map_create(&map_spec(MapType::Array, 3, 8, 1)).unwrap_err().to_string();
    ensure(odd.contains("array with keys of 3"), || odd.clone())
}
