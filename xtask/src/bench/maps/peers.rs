//! Hash tables for many threads that others made. Values are behind `Arc`s of atomics where a table
//! gives out no place that stays, as a program's pointer to a value needs one.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bombus_platform::MapType;

use super::{Case, Keys, Operation, Subject};

type Key = [u64; 8];
type Value = Arc<AtomicU64>;

struct Papaya<K>(papaya::HashMap<K, Value>);
struct Dashmap<K>(dashmap::DashMap<K, Value>);

/// Keys of the sizes that are compared.
trait FromNumber: Copy + Eq + std::hash::Hash + Send + Sync {
    fn from_number(number: u64) -> Self;
}

impl FromNumber for u64 {
    fn from_number(number: u64) -> u64 {
        number
    }
}

impl FromNumber for [u64; 2] {
    fn from_number(number: u64) -> [u64; 2] {
        [number, 0]
    }
}

impl FromNumber for Key {
    fn from_number(number: u64) -> Key {
        [number, 0, 0, 0, 0, 0, 0, 0]
    }
}

/// Papaya and dashmap, in this order; nothing for maps that they have no like of.
pub(super) fn make(case: &Case) -> Vec<Box<dyn Subject>> {
    if case.map_type != MapType::Hash {
        return Vec::new();
    }
    match case.key_size {
        16 => both::<[u64; 2]>(case),
        64 => both::<Key>(case),
        _ => both::<u64>(case),
    }
}

fn both<K: FromNumber + 'static>(case: &Case) -> Vec<Box<dyn Subject>> {
    let papaya = papaya::HashMap::with_capacity(case.room() as usize);
    let dashmap = dashmap::DashMap::with_capacity(case.room() as usize);
    for number in 0..u64::from(case.entries) {
        papaya.pin().insert(K::from_number(number), value());
        dashmap.insert(K::from_number(number), value());
    }
    vec![Box::new(Papaya(papaya)), Box::new(Dashmap(dashmap))]
}

fn value() -> Value {
    Arc::new(AtomicU64::new(1))
}

/// Calls it with each key in turn.
#[inline(always)]
fn each<K: FromNumber>(keys: &mut Keys, times: u32, mut call: impl FnMut(K)) {
    keys.each(times, |number| call(K::from_number(number)));
}

impl<K: FromNumber> Subject for Papaya<K> {
    fn work(&self, operation: Operation, keys: &mut Keys, _: u32, times: u32) {
        let Papaya(map) = self;
        match operation {
            Operation::Lookup => {
                let mut sum = 0;
                each::<K>(keys, times, |key| {
                    sum += map.pin().get(&key).map_or(0, |value| value.load(Ordering::Relaxed));
                });
                black_box(sum);
            }
            Operation::Update => each::<K>(keys, times, |key| {
                map.pin().insert(key, value());
            }),
            Operation::Renew => each::<K>(keys, times, |key| {
                let map = map.pin();
                map.remove(&key);
                map.insert(key, value());
            }),
        }
    }
}

impl<K: FromNumber> Subject for Dashmap<K> {
    fn work(&self, operation: Operation, keys: &mut Keys, _: u32, times: u32) {
        let Dashmap(map) = self;
        match operation {
            Operation::Lookup => {
                let mut sum = 0;
                each::<K>(keys, times, |key| {
                    sum += map.get(&key).map_or(0, |value| value.load(Ordering::Relaxed));
                });
                black_box(sum);
            }
            Operation::Update => each::<K>(keys, times, |key| {
                map.insert(key, value());
            }),
            Operation::Renew => each::<K>(keys, times, |key| {
                map.remove(&key);
                map.insert(key, value());
            }),
        }
    }
}
