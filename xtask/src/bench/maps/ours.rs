//! Our maps, through the functions that machine code calls.

use std::hint::black_box;
use std::sync::Arc;

use bombus_maps::raw::{self, DeleteFunction, LookupFunction, UpdateFunction};
use bombus_maps::{ArrayLayout, Map, MapDef};

use super::{Case, Keys, Operation, Subject};

struct Ours {
    map: Arc<Map>,
    lookup: LookupFunction,
    update: UpdateFunction,
    delete: DeleteFunction,
}

/// A map of a case, full.
pub(super) fn make(case: &Case) -> Result<Box<dyn Subject>, String> {
    let def = MapDef {
        map_type: case.map_type,
        key_size: case.key_size as u32,
        value_size: 8,
        max_entries: case.room(),
        ..MapDef::default()
    };
    let map = Map::new(&def, 2, 1).map_err(|errno| format!("a map: error {errno}"))?;
    for number in 0..u64::from(case.entries) {
        let mut key = [0u64; 8];
        key[0] = number;
        let key = key.map(u64::to_ne_bytes).concat();
        map.update(&key[..case.key_size], &[1; 8][..], 0, 0)
            .map_err(|errno| format!("filling a map: error {errno}"))?;
    }
    let (lookup, update) = (raw::lookup_function(&map), raw::update_function(&map));
    let ours = Ours { delete: raw::delete_function(&map), map, lookup, update };
    Ok(match ours.map.as_array() {
        Some(layout) => Box::new(Inlined { ours, layout }),
        None => Box::new(ours),
    })
}

impl Ours {
    /// Calls it with the map, a key and a value.
    #[inline(always)]
    fn each(
        &self,
        keys: &mut Keys,
        times: u32,
        mut call: impl FnMut(*const Map, *const u8, *const u8),
    ) {
        let (mut key, value) = ([0u64; 8], 1u64);
        keys.each(times, |number| {
            key[0] = number;
            call(&raw const *self.map, key.as_ptr().cast(), (&raw const value).cast());
        });
    }
}

impl Subject for Ours {
    fn work(&self, operation: Operation, keys: &mut Keys, cpu: u32, times: u32) {
        let (&Ours { lookup, update, delete, .. }, cpu) = (self, u64::from(cpu));
        // SAFETY, of all calls: the map is alive; its keys have at most 64 bytes and its values 8.
        match operation {
            Operation::Lookup => {
                let mut sum = 0;
                self.each(keys, times, |map, key, _| {
                    // SAFETY: as above.
                    let found = unsafe { lookup(map, key, cpu) };
                    if !found.is_null() {
                        // SAFETY: as above; it is aligned.
                        sum += unsafe { found.cast::<u64>().read_volatile() };
                    }
                });
                black_box(sum);
            }
            Operation::Update => self.each(keys, times, |map, key, value| {
                // SAFETY: as above.
                unsafe { update(map, key, value, 0, cpu) };
            }),
            Operation::Renew => self.each(keys, times, |map, key, value| {
                // SAFETY: as above.
                unsafe {
                    delete(map, key);
                    update(map, key, value, 0, cpu);
                }
            }),
        }
    }
}

/// Look-ups in an array as machine code does them without a call.
struct Inlined {
    ours: Ours,
    layout: ArrayLayout,
}

// SAFETY: the layout points into the map, which is kept and may be used from any thread.
unsafe impl Sync for Inlined {}

impl Subject for Inlined {
    fn work(&self, operation: Operation, keys: &mut Keys, cpu: u32, times: u32) {
        if operation != Operation::Lookup {
            return self.ours.work(operation, keys, cpu, times);
        }
        let ArrayLayout { base, stride, max_entries, cpu_stride } = self.layout;
        let mut sum = 0;
        keys.each(times, |number| {
            let index = number as u32;
            if index < max_entries {
                let offset = index as usize * stride + cpu as usize * cpu_stride;
                // SAFETY: the array has that many values of 8 bytes, for two CPUs.
                sum += unsafe { base.add(offset).cast::<u64>().read_volatile() };
            }
        });
        black_box(sum);
    }
}
