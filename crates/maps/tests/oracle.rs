//! Our maps against the running kernel's: the same maps, the same operations at random, every value
//! and every error number compared. Skipped where maps cannot be made.

mod support;

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use bombus_maps::{Batch, Errno, Found, Map, MapDef, flag};
use bombus_platform::MapType;
use support::Random;

/// `union bpf_attr` of the commands on elements, or of those on many.
#[repr(C)]
#[derive(Default)]
struct Attr {
    words: [u64; 16],
}

/// A map of the kernel.
struct Kernel {
    fd: OwnedFd,
    key_size: usize,
    value_size: usize,
}

fn bpf(command: i32, attr: &mut Attr) -> Result<i64, Errno> {
    let size = size_of::<Attr>();
    // SAFETY: the attributes point to buffers of the sizes that the map has, see the callers.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size) };
    match result {
        // SAFETY: each thread has its own.
        -1 => Err(unsafe { *libc::__errno_location() }),
        value => Ok(value),
    }
}

fn halves(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

impl Kernel {
    fn create(def: &MapDef, cpus: usize) -> Result<Kernel, Errno> {
        let mut attr = Attr::default();
        attr.words[0] = halves(def.map_type as u32, def.key_size);
        attr.words[1] = halves(def.value_size, def.max_entries);
        attr.words[2] = halves(def.flags, 0);
        // map_extra comes after the name and five numbers.
        attr.words[8] = def.map_extra;
        let fd = bpf(0, &mut attr)?;
        // SAFETY: the descriptor is new.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        let value_size = def.value_size as usize;
        let value_size = match def.map_type.is_per_cpu() {
            true => value_size.next_multiple_of(8) * cpus,
            false => value_size,
        };
        Ok(Kernel { fd, key_size: def.key_size as usize, value_size })
    }

    fn element(&self, key: &[u8], value: u64, flags: u64) -> Attr {
        assert!(key.is_empty() || key.len() == self.key_size);
        let key = if key.is_empty() { 0 } else { key.as_ptr() as u64 };
        let mut attr = Attr::default();
        attr.words[..4].copy_from_slice(&[self.fd.as_raw_fd() as u64, key, value, flags]);
        attr
    }

    fn lookup(&self, key: &[u8], flags: u64) -> Result<Vec<u8>, Errno> {
        let mut value = vec![0; self.value_size];
        bpf(1, &mut self.element(key, value.as_mut_ptr() as u64, flags))?;
        Ok(value)
    }

    /// Whether a bloom filter has a value.
    fn ask(&self, value: &mut [u8]) -> Result<(), Errno> {
        bpf(1, &mut self.element(&[], value.as_mut_ptr() as u64, 0)).map(drop)
    }

    fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        assert_eq!(value.len(), self.value_size);
        bpf(2, &mut self.element(key, value.as_ptr() as u64, flags)).map(drop)
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        bpf(3, &mut self.element(key, 0, 0)).map(drop)
    }

    fn next_key(&self, key: Option<&[u8]>) -> Result<Vec<u8>, Errno> {
        let mut next = vec![0; self.key_size];
        let mut attr = self.element(key.unwrap_or(&[]), next.as_mut_ptr() as u64, 0);
        bpf(4, &mut attr)?;
        Ok(next)
    }

    fn take(&self, key: &[u8], flags: u64) -> Result<Vec<u8>, Errno> {
        let mut value = vec![0; self.value_size];
        bpf(21, &mut self.element(key, value.as_mut_ptr() as u64, flags))?;
        Ok(value)
    }

    fn freeze(&self) -> Result<(), Errno> {
        bpf(22, &mut self.element(&[], 0, 0)).map(drop)
    }

    fn batch(
        &self,
        command: i32,
        [from, next]: [u64; 2],
        (keys, values): (u64, u64),
        count: u32,
        elem_flags: u64,
    ) -> (Result<(), Errno>, u32) {
        let mut attr = Attr::default();
        let fd = self.fd.as_raw_fd() as u32;
        attr.words[..6].copy_from_slice(&[from, next, keys, values, halves(count, fd), elem_flags]);
        let result = bpf(command, &mut attr).map(drop);
        (result, attr.words[4] as u32)
    }

    fn lookup_batch(
        &self,
        from: Option<&[u8]>,
        room: u32,
        elem_flags: u64,
        take: bool,
    ) -> Result<Found, Errno> {
        let mut keys = vec![0; self.key_size * room as usize];
        let mut values = vec![0; self.value_size * room as usize];
        let mut next = vec![0; self.key_size.max(4)];
        let places = [from.map_or(0, |from| from.as_ptr() as u64), next.as_mut_ptr() as u64];
        let buffers = (keys.as_mut_ptr() as u64, values.as_mut_ptr() as u64);
        let command = if take { 25 } else { 24 };
        let (result, count) = self.batch(command, places, buffers, room, elem_flags);
        let end = match result {
            Ok(()) => false,
            Err(libc::ENOENT) => true,
            Err(errno) => return Err(errno),
        };
        keys.truncate(count as usize * self.key_size);
        values.truncate(count as usize * self.value_size);
        Ok(Found { keys, values, count, next, end })
    }

    fn change_batch(
        &self,
        keys: &[u8],
        values: Option<&[u8]>,
        elem_flags: u64,
    ) -> Result<Batch, Errno> {
        let count = (keys.len() / self.key_size) as u32;
        let command = if values.is_some() { 26 } else { 27 };
        let buffers = (keys.as_ptr() as u64, values.map_or(0, |values| values.as_ptr() as u64));
        let (outcome, done) = self.batch(command, [0, 0], buffers, count, elem_flags);
        match outcome {
            // Errors that come before the first element leave the count alone.
            Err(errno) if done == count && count > 0 => Err(errno),
            outcome => Ok(Batch { count: done, outcome }),
        }
    }
}

fn possible_cpus() -> usize {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let last = text.trim().rsplit(['-', ',']).next().unwrap_or_default();
    last.parse::<usize>().unwrap_or(0) + 1
}

/// Whether maps can be made here.
fn permitted() -> bool {
    let def = MapDef {
        map_type: MapType::LpmTrie,
        key_size: 8,
        value_size: 8,
        max_entries: 1,
        flags: flag::NO_PREALLOC,
        ..MapDef::default()
    };
    let made = Kernel::create(&def, possible_cpus());
    if let Err(errno) = &made {
        eprintln!("skipped: the kernel makes no map: error {errno}");
    }
    made.is_ok()
}

/// The same map in both places; the error when both refuse it.
fn both(def: &MapDef) -> Result<(Kernel, Arc<Map>), Errno> {
    let cpus = possible_cpus();
    let (theirs, ours) = (Kernel::create(def, cpus), Map::new(def, cpus as u32, 1));
    match (theirs, ours) {
        (Ok(theirs), Ok(ours)) => Ok((theirs, ours)),
        (Err(theirs), Err(ours)) if theirs == ours => Err(theirs),
        (theirs, ours) => {
            panic!("{def:?}: kernel {:?}, ours {:?}", theirs.err(), ours.err())
        }
    }
}

const VALUED: [MapType; 7] = [
    MapType::Hash,
    MapType::PercpuHash,
    MapType::LruHash,
    MapType::LruPercpuHash,
    MapType::Array,
    MapType::PercpuArray,
    MapType::LpmTrie,
];

#[test]
fn definitions() {
    if !permitted() {
        return;
    }
    let types = VALUED.into_iter().chain([
        MapType::Queue,
        MapType::Stack,
        MapType::BloomFilter,
        MapType::StackTrace,
        MapType::ProgArray,
        MapType::PerfEventArray,
        MapType::CgroupArray,
        MapType::Ringbuf,
        MapType::UserRingbuf,
    ]);
    let mut random = Random(1);
    let mut made = 0;
    for map_type in types {
        for round in 0..300 {
            let pick = |random: &mut Random, choices: &[u32]| {
                choices[random.below(choices.len() as u64) as usize]
            };
            // One value out of the ordinary at most, for half of them.
            let odd = if round % 2 == 0 { random.below(5) } else { 5 };
            let key_size = match (odd, map_type) {
                (0, _) => pick(&mut random, &[0, 1, 3, 4, 5, 8, 260, 261, 512, 4 << 20]),
                (_, MapType::LpmTrie) => 8,
                (_, MapType::Queue | MapType::Stack | MapType::BloomFilter) => 0,
                (_, MapType::Ringbuf | MapType::UserRingbuf) => 0,
                _ => 4,
            };
            let sizes = [0, 1, 4, 7, 8, 1016, 1024, 4064, 32761, 32768, 32769, (4 << 20) - 53];
            let more = [(4 << 20) - 52, (4 << 20) - 48, (4 << 20) + 1, 1 << 31, u32::MAX];
            let value_size = match (odd, map_type) {
                (1, _) if random.below(3) > 0 => pick(&mut random, &sizes),
                (1, _) => pick(&mut random, &more),
                (_, MapType::StackTrace) => 80,
                (_, MapType::Ringbuf | MapType::UserRingbuf) => 0,
                (_, MapType::ProgArray | MapType::PerfEventArray | MapType::CgroupArray) => 4,
                _ => pick(&mut random, &[4, 8, 12]),
            };
            let ring = matches!(map_type, MapType::Ringbuf | MapType::UserRingbuf);
            let max_entries = match odd {
                2 => pick(&mut random, &[0, 1, 3, 100, 4095, 4096, 8192, 12288]),
                _ if ring => 8192,
                _ => pick(&mut random, &[1, 2, 7, 64]),
            };
            let lpm = if map_type == MapType::LpmTrie { flag::NO_PREALLOC } else { 0 };
            let flags = match odd {
                3 => 1 << pick(&mut random, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 20]),
                4 => lpm | 3 << pick(&mut random, &[0, 1, 2, 3, 6, 7]),
                _ => lpm,
            };
            // Nodes and descriptors are not ours; a cgroup array wants cgroups.
            let flags = flags & !(1 << 9);
            let map_extra = if random.below(20) == 0 { random.below(20) } else { 0 };
            let (size, spin_lock) = (value_size, None);
            let def = MapDef {
                map_type,
                key_size,
                value_size: size,
                max_entries,
                flags,
                map_extra,
                spin_lock,
            };
            made += u32::from(both(&def).is_ok());
        }
    }
    assert!(made > 500, "{made}");
}

/// All keys, in the map's order.
fn walk(next: impl Fn(Option<&[u8]>) -> Result<Vec<u8>, Errno>) -> (Vec<Vec<u8>>, Errno) {
    let mut keys: Vec<Vec<u8>> = Vec::new();
    loop {
        match next(keys.last().map(Vec::as_slice)) {
            Ok(key) => keys.push(key),
            Err(errno) => return (keys, errno),
        }
    }
}

/// Key and value.
type Element = (Vec<u8>, Vec<u8>);

/// All elements by batches, in order of keys.
fn all(
    room: u32,
    lookup: impl Fn(Option<&[u8]>) -> Result<Found, Errno>,
    sizes: (usize, usize),
) -> Result<Vec<Element>, Errno> {
    let mut elements = Vec::new();
    let mut from: Option<Vec<u8>> = None;
    loop {
        let found = lookup(from.as_deref())?;
        assert!(found.count <= room);
        let keys = found.keys.chunks(sizes.0).map(<[u8]>::to_vec);
        elements.extend(keys.zip(found.values.chunks(sizes.1).map(<[u8]>::to_vec)));
        if found.end {
            elements.sort();
            return Ok(elements);
        }
        from = Some(found.next);
    }
}

fn bytes(random: &mut Random, len: usize) -> Vec<u8> {
    (0..len).map(|_| random.next() as u8).collect()
}

fn key(random: &mut Random, def: &MapDef) -> Vec<u8> {
    let number = random.below(40) as u32;
    match def.map_type {
        MapType::Array | MapType::PercpuArray => number.to_ne_bytes().to_vec(),
        MapType::LpmTrie => {
            // Few bits, so that prefixes meet; a length that is too great now and then.
            let bits = (def.key_size - 4) * 8;
            let len = random.below(u64::from(bits) + 2) as u32;
            let mut key = len.to_ne_bytes().to_vec();
            key.extend((4..def.key_size).map(|_| [0, 0x80, 0xc0, 0xff][random.below(4) as usize]));
            key
        }
        _ => {
            let mut key = vec![number as u8; def.key_size as usize];
            key[0] = 7;
            key[def.key_size as usize - 1] = number as u8;
            key
        }
    }
}

#[test]
fn elements() {
    if !permitted() {
        return;
    }
    for (seed, map_type) in (1..).zip(VALUED) {
        let lpm = map_type == MapType::LpmTrie;
        let array = matches!(map_type, MapType::Array | MapType::PercpuArray);
        let lru = matches!(map_type, MapType::LruHash | MapType::LruPercpuHash);
        for (key_size, value_size) in [(8, 8), (5, 3), (13, 20), (20, 64), (40, 9)] {
            for extra in [0, flag::NO_PREALLOC, flag::RDONLY, flag::WRONLY, flag::RDONLY_PROG] {
                let base = if lpm { flag::NO_PREALLOC } else { 0 };
                let def = MapDef {
                    map_type,
                    key_size: if array { 4 } else { key_size },
                    value_size,
                    // The kernel's LRU maps evict before they are full.
                    max_entries: if lru { 10_000 } else { 30 },
                    flags: base | extra,
                    ..MapDef::default()
                };
                let Ok((theirs, ours)) = both(&def) else { continue };
                compare(&def, &theirs, &ours, &mut Random(seed << 32 | u64::from(key_size)));
            }
        }
    }
}

/// Elements that are not allocated beforehand come out of a cache that an interrupt fills again: right
/// after it was emptied there is none for a moment (`kernel/bpf/memalloc.c`).
fn update(theirs: &Kernel, key: &[u8], value: &[u8], flags: u64) -> Result<(), i32> {
    for _ in 0..100 {
        match theirs.update(key, value, flags) {
            Err(libc::ENOMEM) => std::thread::sleep(std::time::Duration::from_millis(1)),
            done => return done,
        }
    }
    theirs.update(key, value, flags)
}

fn compare(def: &MapDef, theirs: &Kernel, ours: &Arc<Map>, random: &mut Random) {
    let lpm = def.map_type == MapType::LpmTrie;
    let ordered = lpm || matches!(def.map_type, MapType::Array | MapType::PercpuArray);
    assert_eq!(theirs.value_size, ours.user_value_size());
    for step in 0..500 {
        let (key, flags) =
            (key(random, def), [0, 0, 0, 1, 2, 3, 4, 5, 8][random.below(9) as usize]);
        let value = bytes(random, theirs.value_size);
        let few = if random.below(2) == 0 { 0 } else { flags };
        let at = || format!("{def:?}, step {step}, key {key:x?}, flags {flags}/{few}");
        match random.below(40) {
            0..9 => {
                assert_eq!(ours.user_lookup(&key, few), lookup(theirs, def, &key, few), "{}", at())
            }
            9..22 => {
                let expected = update(theirs, &key, &value, flags);
                assert_eq!(ours.user_update(&key, &value, flags), expected, "{}", at());
            }
            22..28 => assert_eq!(ours.user_delete(&key), theirs.delete(&key), "{}", at()),
            28..32 => {
                let expected = clean(theirs.take(&key, few), def);
                assert_eq!(ours.user_take(&key, few), expected, "{}", at());
            }
            32..35 if ordered => {
                let expected = theirs.next_key(Some(&key));
                assert_eq!(ours.user_next_key(Some(&key)), expected, "{}", at());
            }
            35 => {
                let mut walks =
                    [walk(|key| ours.user_next_key(key)), walk(|key| theirs.next_key(key))];
                if !ordered {
                    walks.iter_mut().for_each(|walk| walk.0.sort());
                }
                assert_eq!(walks[0], walks[1], "{}", at());
            }
            36 => {
                let (sizes, room) = ((theirs.key_size, theirs.value_size), 64);
                let take = random.below(4) == 0;
                let own = all(room, |from| ours.user_lookup_batch(from, room, few, take), sizes);
                let their = all(room, |from| theirs.lookup_batch(from, room, few, take), sizes);
                let their = their.map(|all| {
                    all.into_iter().map(|(key, value)| (key, clean_value(value, def))).collect()
                });
                assert_eq!(own, their, "{}", at());
            }
            37 if ordered => {
                let room = 1 + random.below(5) as u32;
                let from = (random.below(2) == 0).then_some(&key[..]);
                let mut own = ours.user_lookup_batch(from, room, 0, false);
                let mut their = theirs.lookup_batch(from, room, 0, false);
                for found in [&mut own, &mut their].into_iter().flatten() {
                    found.values = clean_value(std::mem::take(&mut found.values), def);
                    if found.count == 0 {
                        found.next.clear();
                    }
                }
                assert_eq!(own, their, "{}", at());
            }
            38 => {
                let count = 1 + random.below(6) as usize;
                let keys: Vec<u8> = (0..count).flat_map(|_| self::key(random, def)).collect();
                let values = bytes(random, count * theirs.value_size);
                let own = ours.user_update_batch(&keys, &values, few);
                same_batch(own, theirs.change_batch(&keys, Some(&values), few), count, &at());
            }
            39 => {
                let count = 1 + random.below(3) as usize;
                let keys: Vec<u8> = (0..count).flat_map(|_| self::key(random, def)).collect();
                let own = ours.user_delete_batch(&keys, few);
                same_batch(own, theirs.change_batch(&keys, None, few), count, &at());
            }
            _ => {}
        }
    }
    assert_eq!(ours.user_freeze(), theirs.freeze());
    assert_eq!(ours.user_freeze(), theirs.freeze());
    let (key, value) = (key(random, def), bytes(random, theirs.value_size));
    assert_eq!(ours.user_update(&key, &value, 0), theirs.update(&key, &value, 0));
    assert_eq!(ours.user_delete(&key), theirs.delete(&key));
    assert_eq!(ours.user_take(&key, 0), clean(theirs.take(&key, 0), def));
    assert_eq!(ours.user_lookup(&key, 0), lookup(theirs, def, &key, 0));
}

/// An error at the first element, of which the kernel does not say that it was none before it.
fn same_batch(own: Result<Batch, Errno>, their: Result<Batch, Errno>, count: usize, at: &str) {
    let plain = |batch: Result<Batch, Errno>| match batch {
        Ok(Batch { outcome: Err(errno), count: done }) if done as usize == count || done == 0 => {
            Err(errno)
        }
        other => other,
    };
    assert_eq!(plain(own), plain(their), "{at}");
}

fn lookup(theirs: &Kernel, def: &MapDef, key: &[u8], flags: u64) -> Result<Vec<u8>, Errno> {
    clean(theirs.lookup(key, flags), def)
}

fn clean(value: Result<Vec<u8>, Errno>, def: &MapDef) -> Result<Vec<u8>, Errno> {
    value.map(|value| clean_value(value, def))
}

/// Bytes between the values of CPUs are whatever they were in the kernel; here they are zeros.
fn clean_value(mut value: Vec<u8>, def: &MapDef) -> Vec<u8> {
    if def.map_type.is_per_cpu() {
        let size = def.value_size as usize;
        for part in value.chunks_mut(size.next_multiple_of(8)) {
            part[size..].fill(0);
        }
    }
    value
}

#[test]
fn values_without_keys() {
    if !permitted() {
        return;
    }
    let types = [MapType::Queue, MapType::Stack, MapType::BloomFilter];
    for (seed, map_type) in (1..).zip(types) {
        for value_size in [1, 4, 8, 13] {
            for flags in [0, flag::RDONLY, flag::WRONLY] {
                let max_entries = 10;
                let def = MapDef { map_type, value_size, max_entries, flags, ..MapDef::default() };
                let (theirs, ours) = both(&def).expect("both make it");
                let mut random = Random(seed);
                for step in 0..2000 {
                    let flags = [0, 0, 0, 1, 2, 2, 3, 4][random.below(8) as usize];
                    let few = if random.below(3) == 0 { flags } else { 0 };
                    let mut value = bytes(&mut random, theirs.value_size);
                    let at = format!("{def:?}, step {step}, flags {flags}/{few}");
                    match random.below(10) {
                        0..4 => assert_eq!(
                            ours.user_update(&[], &value, flags),
                            theirs.update(&[], &value, flags),
                            "{at}"
                        ),
                        4..6 if map_type == MapType::BloomFilter => {
                            // What was pushed is there; the rest is luck.
                            if flags == 0 && ours.user_update(&[], &value, 0).is_ok() {
                                assert_eq!(theirs.update(&[], &value, 0), Ok(()));
                                assert_eq!(ours.user_ask(&value), theirs.ask(&mut value), "{at}");
                            }
                        }
                        4..6 => {
                            let expected = theirs.lookup(&[], few);
                            assert_eq!(ours.user_lookup(&[], few), expected, "{at}");
                        }
                        6..9 => {
                            assert_eq!(ours.user_take(&[], few), theirs.take(&[], few), "{at}");
                        }
                        _ => {
                            assert_eq!(ours.user_delete(&[]), theirs.delete(&[]), "{at}");
                            assert_eq!(ours.user_next_key(None), theirs.next_key(None), "{at}");
                            let own = ours.user_lookup_batch(None, 3, 0, false).err();
                            let room = [0u8; 64];
                            let keys = (room.as_ptr() as u64, room.as_ptr() as u64);
                            let (their, _) = theirs.batch(24, [0, keys.0], keys, 3, 0);
                            assert_eq!(own, their.err(), "{at}");
                        }
                    }
                }
            }
        }
    }
}
