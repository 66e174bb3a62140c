//! The operations of programs as functions for machine code to call.
//!
//! They take what the registers of BPF hold when a program calls the helper, and the number of the
//! CPU in a register that the helper does not use; R1 to R5 are in the order of the system's
//! calling convention, so a call needs no moves. [`lookup_function`] knows the quickest one for a
//! map.

use std::ptr;

use bombus_platform::MapType;

use crate::Errno;
use crate::hash::key::{Key, Pair, Word};
use crate::map::{Kind, Map};
use crate::update::{Update, Whose};
use crate::words::Bytes;

/// A function that looks a key up: the map, the key, the CPU; null when there is none.
pub type LookupFunction = unsafe extern "C" fn(*const Map, *const u8, u64) -> *mut u8;

/// What `map_lookup_elem` is to call for this map.
pub fn lookup_function(map: &Map) -> LookupFunction {
    match (map.def().map_type, map.key_size()) {
        (MapType::Hash, 4) => hash_lookup_4,
        (MapType::Hash, 8) => hash_lookup_8,
        (MapType::Hash, 16) => hash_lookup_16,
        _ => lookup,
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

/// [`lookup`] in a hash table whose keys have 4 bytes.
///
/// # Safety
/// As for [`lookup`]; the keys have 4 bytes.
pub unsafe extern "C" fn hash_lookup_4(map: *const Map, key: *const u8, _cpu: u64) -> *mut u8 {
    // SAFETY: as the caller says.
    let (map, key) = unsafe { (&*map, Bytes::from_raw(key, 4)) };
    hash_lookup(map, Word(key.first_u32().into()))
}

/// [`lookup`] in a hash table whose keys have 8 bytes.
///
/// # Safety
/// As for [`lookup`]; the keys have 8 bytes.
pub unsafe extern "C" fn hash_lookup_8(map: *const Map, key: *const u8, _cpu: u64) -> *mut u8 {
    // SAFETY: as the caller says.
    let (map, key) = unsafe { (&*map, Bytes::from_raw(key, 8)) };
    hash_lookup(map, Word(key.word(0)))
}

/// [`lookup`] in a hash table whose keys have 16 bytes.
///
/// # Safety
/// As for [`lookup`]; the keys have 16 bytes.
pub unsafe extern "C" fn hash_lookup_16(map: *const Map, key: *const u8, _cpu: u64) -> *mut u8 {
    // SAFETY: as the caller says.
    let (map, key) = unsafe { (&*map, Bytes::from_raw(key, 16)) };
    hash_lookup(map, Pair([key.word(0), key.word(1)]))
}

/// A look-up in a table of type [`MapType::Hash`]; nothing is there in others.
#[inline(always)]
fn hash_lookup(map: &Map, key: impl Key) -> *mut u8 {
    let Kind::Hash(table) = &map.kind else { return ptr::null_mut() };
    table.get(key).map_or(ptr::null_mut(), |element| element.shared_value().start())
}

/// A function that stores a value: the map, the key, the value, flags, the CPU; 0 or a negative
/// error number.
pub type UpdateFunction = unsafe extern "C" fn(*const Map, *const u8, *const u8, u64, u64) -> i64;

/// What `map_update_elem` is to call for this map.
pub fn update_function(map: &Map) -> UpdateFunction {
    match (map.def().map_type, map.key_size(), map.def().spin_lock) {
        (MapType::Hash, 4, None) => hash_update_4,
        (MapType::Hash, 8, None) => hash_update_8,
        (MapType::Hash, 16, None) => hash_update_16,
        _ => update,
    }
}

/// [`update`] in a hash table whose keys have 4 bytes.
///
/// # Safety
/// As for [`update`]; the keys have 4 bytes.
pub unsafe extern "C" fn hash_update_4(
    map: *const Map,
    key: *const u8,
    value: *const u8,
    flags: u64,
    _cpu: u64,
) -> i64 {
    // SAFETY: as the caller says.
    unsafe { hash_update(map, Word(Bytes::from_raw(key, 4).first_u32().into()), value, flags) }
}

/// [`update`] in a hash table whose keys have 8 bytes.
///
/// # Safety
/// As for [`update`]; the keys have 8 bytes.
pub unsafe extern "C" fn hash_update_8(
    map: *const Map,
    key: *const u8,
    value: *const u8,
    flags: u64,
    _cpu: u64,
) -> i64 {
    // SAFETY: as the caller says.
    unsafe { hash_update(map, Word(Bytes::from_raw(key, 8).word(0)), value, flags) }
}

/// [`update`] in a hash table whose keys have 16 bytes.
///
/// # Safety
/// As for [`update`]; the keys have 16 bytes.
pub unsafe extern "C" fn hash_update_16(
    map: *const Map,
    key: *const u8,
    value: *const u8,
    flags: u64,
    _cpu: u64,
) -> i64 {
    // SAFETY: as the caller says.
    unsafe {
        let key = Bytes::from_raw(key, 16);
        hash_update(map, Pair([key.word(0), key.word(1)]), value, flags)
    }
}

/// An update of a table of type [`MapType::Hash`] whose values have no lock.
///
/// # Safety
/// As for [`update`].
#[inline(always)]
unsafe fn hash_update(map: *const Map, key: impl Key, value: *const u8, flags: u64) -> i64 {
    // SAFETY: as the caller says.
    let map = unsafe { &*map };
    let Kind::Hash(table) = &map.kind else { return -i64::from(libc::EINVAL) };
    let size = map.value_size();
    // SAFETY: as the caller says.
    let value = unsafe { Bytes::from_raw(value, size) };
    let whose = Whose::One(0);
    status(table.update(key, &Update { value, whose, flags, size, spin_lock: None }))
}

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

fn status(result: Result<(), Errno>) -> i64 {
    match result {
        Ok(()) => 0,
        Err(errno) => -i64::from(errno),
    }
}
