//! The operations of programs as functions for machine code to call.
//!
//! They take what the registers of BPF hold when a program calls the helper, and the number of the
//! CPU in a register that the helper does not use; R1 to R5 are in the order of the system's
//! calling convention, so a call needs no moves. [`lookup_function`] knows the quickest one for a
//! map.

use std::ptr::{self, NonNull};
use std::slice;

use bombus_platform::MapType;

use crate::Errno;
use crate::hash::HashTable;
use crate::hash::key::{Half, Pair, Word};
use crate::map::{Kind, Map};
use crate::ringbuf::Ringbuf;
use crate::update::{Update, Whose};
use crate::words::Bytes;

/// A function that looks a key up: the map, the key, the CPU; null when there is none.
pub type LookupFunction = unsafe extern "C" fn(*const Map, *const u8, u64) -> *mut u8;

/// What `map_lookup_elem` is to call for this map.
pub fn lookup_function(map: &Map) -> LookupFunction {
    match (&map.kind, map.def().map_type, map.key_size()) {
        (Kind::Array(_), ..) => array_lookup,
        (Kind::Hash(_), MapType::Hash, 4) => hash_lookup_4,
        (Kind::Hash(_), MapType::Hash, 8) => hash_lookup_8,
        (Kind::Hash(_), MapType::Hash, 16) => hash_lookup_16,
        (Kind::Hash(_), MapType::Hash, 64) => hash_lookup_64,
        (Kind::Hash(_), _, 4) => any_hash_lookup_4,
        (Kind::Hash(_), _, 8) => any_hash_lookup_8,
        (Kind::Hash(_), _, 16) => any_hash_lookup_16,
        (Kind::Hash(_), _, 64) => any_hash_lookup_64,
        _ => lookup,
    }
}

/// What `map_update_elem` is to call for this map.
pub fn update_function(map: &Map) -> UpdateFunction {
    let words = map.value_size() == 8 && map.def().spin_lock.is_none();
    let words = words && !map.def().map_type.is_per_cpu();
    match (&map.kind, map.key_size()) {
        (Kind::Array(_), _) if words => array_update_8,
        (Kind::Array(_), _) if map.def().spin_lock.is_none() => array_update,
        (Kind::Hash(table), 4) if words && table.is_biased() => hash_update_4,
        (Kind::Hash(table), 8) if words && table.is_biased() => hash_update_8,
        (Kind::Hash(table), 16) if words && table.is_biased() => hash_update_16,
        (Kind::Hash(table), 64) if words && table.is_biased() => hash_update_64,
        (Kind::Hash(_), 4) if words => large_hash_update_4,
        (Kind::Hash(_), 8) if words => large_hash_update_8,
        (Kind::Hash(_), 16) if words => large_hash_update_16,
        (Kind::Hash(_), 64) if words => large_hash_update_64,
        _ => update,
    }
}

/// `bpf_map_lookup_elem` of any map.
///
/// # Safety
/// `map` is alive, and `key` points to as many bytes as its keys have.
pub unsafe extern "C" fn lookup(map: *const Map, key: *const u8, cpu: u64) -> *mut u8 {
    // SAFETY: as the caller says.
    let (map, key) = unsafe { (&*map, Bytes::from_raw(key, (*map).key_size())) };
    map.lookup(key, cpu as u32).map_or(ptr::null_mut(), |value| value.as_ptr())
}

/// The hash table that a map is.
///
/// # Safety
/// `map` is alive, and a hash table.
#[inline(always)]
unsafe fn table_of<'a>(map: *const Map) -> &'a HashTable {
    // SAFETY: as the caller says.
    match unsafe { &(*map).kind } {
        Kind::Hash(table) => table,
        // SAFETY: as the caller says.
        _ => unsafe { std::hint::unreachable_unchecked() },
    }
}

/// The functions for hash tables whose keys have one size.
macro_rules! for_key_size {
    (
        $size:literal,
        $lookup:ident,
        $any_lookup:ident,
        $update:ident,
        $large_update:ident,
        $delete:ident,
        |$bytes:ident| $key:expr
    ) => {
        /// [`lookup`] in a map of type [`MapType::Hash`] whose keys have the size in the name.
        ///
        /// # Safety
        /// As for [`lookup`]; it has that type, and the keys that size.
        pub unsafe extern "C" fn $lookup(map: *const Map, key: *const u8, _cpu: u64) -> *mut u8 {
            // SAFETY: as the caller says.
            let (table, $bytes) = unsafe { (table_of(map), Bytes::from_raw(key, $size)) };
            const WORDS: usize = usize::div_ceil($size, 8);
            if let Ok(found) = table.try_get($key) {
                return found.map_or(ptr::null_mut(), |element| element.after_key(WORDS));
            }
            // SAFETY: as the caller says.
            unsafe { lookup(map, key, 0) }
        }

        /// [`lookup`] in a hash table of any type whose keys have the size in the name.
        ///
        /// # Safety
        /// As for [`lookup`]; it is a hash table, and the keys have that size.
        pub unsafe extern "C" fn $any_lookup(map: *const Map, key: *const u8, cpu: u64) -> *mut u8 {
            // SAFETY: as the caller says.
            let (table, $bytes) = unsafe { (table_of(map), Bytes::from_raw(key, $size)) };
            if let Ok(found) = table.try_get_for_program($key) {
                return found.map_or(ptr::null_mut(), |found| found.value(cpu as u32).start());
            }
            // SAFETY: as the caller says.
            unsafe { lookup(map, key, cpu) }
        }

        /// [`update`] in a hash table whose keys have the size in the name and whose values have
        /// eight bytes, no lock in them, and are the same for all CPUs.
        ///
        /// # Safety
        /// As for [`update`]; it is such a hash table, and keys and values have these sizes.
        pub unsafe extern "C" fn $update(
            map: *const Map,
            key: *const u8,
            value: *const u8,
            flags: u64,
            cpu: u64,
        ) -> i64 {
            // SAFETY: as the caller says.
            let (table, $bytes) = unsafe { (table_of(map), Bytes::from_raw(key, $size)) };
            // SAFETY: as the caller says.
            let new = unsafe { Bytes::from_raw(value, 8) };
            if flags == crate::ANY && table.try_replace($key, new.word(0)) {
                return 0;
            }
            // SAFETY: as the caller says.
            unsafe { update(map, key, value, flags, cpu) }
        }

        /// [`update`] in a hash table whose keys have the size in the name and whose values have
        /// eight bytes, no lock in them, and are the same for all CPUs, if it is large.
        ///
        /// # Safety
        /// As for [`update`]; it is such a hash table, and keys and values have these sizes.
        pub unsafe extern "C" fn $large_update(
            map: *const Map,
            key: *const u8,
            value: *const u8,
            flags: u64,
            cpu: u64,
        ) -> i64 {
            // SAFETY: as the caller says.
            let (table, $bytes) = unsafe { (table_of(map), Bytes::from_raw(key, $size)) };
            // SAFETY: as the caller says.
            let new = unsafe { Bytes::from_raw(value, 8) };
            if flags == crate::ANY && table.try_replace_unbiased($key, new.word(0)) {
                return 0;
            }
            // SAFETY: as the caller says.
            unsafe { update(map, key, value, flags, cpu) }
        }

        /// [`delete`] in a hash table whose keys have the size in the name.
        ///
        /// # Safety
        /// As for [`delete`]; it is a hash table, and the keys have that size.
        pub unsafe extern "C" fn $delete(map: *const Map, key: *const u8) -> i64 {
            // SAFETY: as the caller says.
            let (table, $bytes) = unsafe { (table_of(map), Bytes::from_raw(key, $size)) };
            status(table.delete($key, |_| ()))
        }
    };
}

for_key_size!(
    4,
    hash_lookup_4,
    any_hash_lookup_4,
    hash_update_4,
    large_hash_update_4,
    hash_delete_4,
    |bytes| Half(bytes.first_u32())
);
for_key_size!(
    8,
    hash_lookup_8,
    any_hash_lookup_8,
    hash_update_8,
    large_hash_update_8,
    hash_delete_8,
    |bytes| Word(bytes.word(0))
);
for_key_size!(
    16,
    hash_lookup_16,
    any_hash_lookup_16,
    hash_update_16,
    large_hash_update_16,
    hash_delete_16,
    |bytes| Pair([bytes.word(0), bytes.word(1)])
);
for_key_size!(
    64,
    hash_lookup_64,
    any_hash_lookup_64,
    hash_update_64,
    large_hash_update_64,
    hash_delete_64,
    |bytes| bytes
);

/// [`lookup`] in an array, where machine code does not do it by itself.
///
/// # Safety
/// As for [`lookup`].
pub unsafe extern "C" fn array_lookup(map: *const Map, key: *const u8, cpu: u64) -> *mut u8 {
    // SAFETY: as the caller says.
    let (map, key) = unsafe { (&*map, Bytes::from_raw(key, 4)) };
    let Kind::Array(array) = &map.kind else { return ptr::null_mut() };
    array.value(key.first_u32(), cpu as u32).map_or(ptr::null_mut(), |value| value.start())
}

/// [`update`] of an array whose values have no lock.
///
/// # Safety
/// As for [`update`].
pub unsafe extern "C" fn array_update(
    map: *const Map,
    key: *const u8,
    value: *const u8,
    flags: u64,
    cpu: u64,
) -> i64 {
    // SAFETY: as the caller says.
    let (map, key) = unsafe { (&*map, Bytes::from_raw(key, 4)) };
    let Kind::Array(array) = &map.kind else { return -i64::from(libc::EINVAL) };
    let size = map.value_size();
    // SAFETY: as the caller says.
    let value = unsafe { Bytes::from_raw(value, size) };
    let whose = Whose::One(cpu as u32);
    status(array.update(key.first_u32(), &Update { value, whose, flags, size, spin_lock: None }))
}

/// [`update`] of an array whose values have eight bytes, no lock in them, and are the same for all
/// CPUs.
///
/// # Safety
/// As for [`update`].
pub unsafe extern "C" fn array_update_8(
    map: *const Map,
    key: *const u8,
    value: *const u8,
    flags: u64,
    cpu: u64,
) -> i64 {
    // SAFETY: as the caller says.
    let (kind, index, new) = unsafe {
        (&(*map).kind, Bytes::from_raw(key, 4).first_u32(), Bytes::from_raw(value, 8).word(0))
    };
    if let Kind::Array(array) = kind
        && flags == crate::ANY
        && array.try_update(index, new)
    {
        return 0;
    }
    // SAFETY: as the caller says.
    unsafe { array_update(map, key, value, flags, cpu) }
}

/// A function that stores a value: the map, the key, the value, flags, the CPU; 0 or a negative
/// error number.
pub type UpdateFunction = unsafe extern "C" fn(*const Map, *const u8, *const u8, u64, u64) -> i64;

/// `bpf_map_update_elem`: 0 or a negative error number.
///
/// # Safety
/// `map` is alive, and `key` and `value` point to as many bytes as its keys and values have.
pub unsafe extern "C" fn update(
    map: *const Map,
    key: *const u8,
    value: *const u8,
    flags: u64,
    cpu: u64,
) -> i64 {
    // SAFETY: as the caller says.
    let (map, key, value) = unsafe {
        let map = &*map;
        let value = Bytes::from_raw(value, map.value_size());
        (map, Bytes::from_raw(key, map.key_size()), value)
    };
    status(map.store(key, value, Whose::One(cpu as u32), flags))
}

/// `bpf_map_delete_elem`: 0 or a negative error number.
///
/// # Safety
/// `map` is alive, and `key` points to as many bytes as its keys have.
pub unsafe extern "C" fn delete(map: *const Map, key: *const u8) -> i64 {
    // SAFETY: as the caller says.
    let (map, key) = unsafe { (&*map, Bytes::from_raw(key, (*map).key_size())) };
    status(map.delete(key))
}

/// A function that deletes a key: the map, the key; 0 or a negative error number.
pub type DeleteFunction = unsafe extern "C" fn(*const Map, *const u8) -> i64;

/// What `map_delete_elem` is to call for this map.
pub fn delete_function(map: &Map) -> DeleteFunction {
    match (&map.kind, map.key_size()) {
        (Kind::Hash(_), 4) => hash_delete_4,
        (Kind::Hash(_), 8) => hash_delete_8,
        (Kind::Hash(_), 16) => hash_delete_16,
        (Kind::Hash(_), 64) => hash_delete_64,
        _ => delete,
    }
}

/// `bpf_map_lookup_percpu_elem`: null when there is no such key or CPU.
///
/// # Safety
/// As for [`lookup`].
pub unsafe extern "C" fn lookup_percpu(map: *const Map, key: *const u8, cpu: u64) -> *mut u8 {
    // SAFETY: as the caller says.
    let (map, key) = unsafe { (&*map, Bytes::from_raw(key, (*map).key_size())) };
    map.lookup_percpu(key, cpu as u32).map_or(ptr::null_mut(), |value| value.as_ptr())
}

/// `bpf_map_push_elem`: 0 or a negative error number.
///
/// # Safety
/// `map` is alive, and `value` points to as many bytes as its values have.
pub unsafe extern "C" fn push(map: *const Map, value: *const u8, flags: u64) -> i64 {
    // SAFETY: as the caller says.
    let (map, value) = unsafe { (&*map, Bytes::from_raw(value, (*map).value_size())) };
    status(map.push(value, flags))
}

/// `bpf_map_pop_elem`: 0 or a negative error number.
///
/// # Safety
/// `map` is alive, and as many bytes as its values have can be written at `value`; nobody else
/// uses them.
pub unsafe extern "C" fn pop(map: *const Map, value: *mut u8) -> i64 {
    // SAFETY: as the caller says.
    let (map, value) = unsafe { (&*map, slice::from_raw_parts_mut(value, (*map).value_size())) };
    status(map.pop(value))
}

/// `bpf_map_peek_elem`: 0 or a negative error number.
///
/// # Safety
/// As for [`pop`]; for a bloom filter the bytes are the value.
pub unsafe extern "C" fn peek(map: *const Map, value: *mut u8) -> i64 {
    // SAFETY: as the caller says.
    let (map, value) = unsafe { (&*map, slice::from_raw_parts_mut(value, (*map).value_size())) };
    status(map.peek(value))
}

/// `bpf_ringbuf_reserve`: null when there is no room, or flags.
///
/// # Safety
/// `map` is alive.
pub unsafe extern "C" fn ringbuf_reserve(map: *const Map, len: u64, flags: u64) -> *mut u8 {
    // SAFETY: as the caller says.
    let ring = unsafe { &*map }.ringbuf().filter(|_| flags == 0);
    let record = ring.and_then(|ring| ring.reserve(len));
    record.map_or(ptr::null_mut(), |record| record.as_ptr())
}

/// `bpf_ringbuf_submit`, and a call of what [`crate::Ringbuf::on_wakeup`] was given.
///
/// # Safety
/// [`ringbuf_reserve`] gave the record, which is finished once, and its map is alive.
pub unsafe extern "C" fn ringbuf_submit(record: *mut u8, flags: u64) {
    // SAFETY: as the caller says.
    unsafe { ringbuf_finish(record, flags, false) }
}

/// `bpf_ringbuf_discard`.
///
/// # Safety
/// As for [`ringbuf_submit`].
pub unsafe extern "C" fn ringbuf_discard(record: *mut u8, flags: u64) {
    // SAFETY: as the caller says.
    unsafe { ringbuf_finish(record, flags, true) }
}

/// # Safety
/// As for [`ringbuf_submit`].
unsafe fn ringbuf_finish(record: *mut u8, flags: u64, discard: bool) {
    // SAFETY: `Map::new` said that the ring's owner is its map, which is alive.
    let map = unsafe { &*(Ringbuf::owner_of(record) as *const Map) };
    if let (Some(ring), Some(record)) = (map.ringbuf(), NonNull::new(record)) {
        let wake = ring.finish(record, flags, discard).unwrap_or(false);
        ring.wake_if(wake);
    }
}

/// `bpf_ringbuf_output`: 0 or a negative error number.
///
/// # Safety
/// `map` is alive, and `len` bytes can be read at `record`.
pub unsafe extern "C" fn ringbuf_output(
    map: *const Map,
    record: *const u8,
    len: u64,
    flags: u64,
) -> i64 {
    // SAFETY: as the caller says.
    let (map, record) = unsafe { (&*map, Bytes::from_raw(record, len as usize)) };
    let Some(ring) = map.ringbuf() else { return -i64::from(libc::EINVAL) };
    status(ring.output(record, flags).map(|wake| ring.wake_if(wake)))
}

#[inline(always)]
fn status(result: Result<(), Errno>) -> i64 {
    match result {
        Ok(()) => 0,
        Err(errno) => -i64::from(errno),
    }
}
