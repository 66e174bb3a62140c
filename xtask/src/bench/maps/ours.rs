//! Our maps, through the functions that machine code calls.

use std::hint::black_box;
use std::sync::Arc;

use bombus_maps::raw::{self, LookupFunction, UpdateFunction};
use bombus_maps::{ArrayLayout, Map, MapDef};
use bombus_platform::MapType;

use super::{Case, Keys, Operation, Subject};

struct Ours {
    map: Arc<Map>,
    case: Case,
    lookup: LookupFunction,
    update: UpdateFunction,
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
    let subject = Ours { map, case: *case, lookup, update };
    Ok(match (case.map_type, case.operation, subject.map.as_array()) {
        (MapType::Array | MapType::PercpuArray, Operation::Lookup, Some(layout)) => {
            Box::new(Inlined { _map: subject.map, layout })
        }
        _ => Box::new(subject),
    })
}

impl Subject for Ours {
    fn work(&self, keys: &mut Keys, cpu: u32, times: u32) {
        let map: *const Map = &*self.map;
        let (mut key, value) = ([0u64; 8], 1u64);
        let mut sum = 0;
        for _ in 0..times {
            key[0] = keys.next();
            let (key, value) = (key.as_ptr().cast(), (&raw const value).cast());
            // SAFETY: the map is alive; its keys have at most 64 bytes and its values 8.
            unsafe {
                match self.case.operation {
                    Operation::Lookup => {
                        let found = (self.lookup)(map, key, cpu.into());
                        if !found.is_null() {
                            sum += found.cast::<u64>().read_volatile();
                        }
                    }
                    Operation::Update => {
                        (self.update)(map, key, value, 0, cpu.into());
                    }
                    Operation::Renew => {
                        raw::delete(map, key);
                        (self.update)(map, key, value, 0, cpu.into());
                    }
                }
            }
        }
        black_box(sum);
    }
}

/// Look-ups in an array as machine code does them without a call.
struct Inlined {
    _map: Arc<Map>,
    layout: ArrayLayout,
}

// SAFETY: the layout points into the map, which is kept and may be used from any thread.
unsafe impl Sync for Inlined {}

impl Subject for Inlined {
    fn work(&self, keys: &mut Keys, cpu: u32, times: u32) {
        let ArrayLayout { base, stride, max_entries, cpu_stride } = self.layout;
        let mut sum = 0;
        for _ in 0..times {
            let index = keys.next() as u32;
            if index < max_entries {
                let offset = index as usize * stride + cpu as usize * cpu_stride;
                // SAFETY: the array has that many values of 8 bytes, for two CPUs.
                sum += unsafe { base.add(offset).cast::<u64>().read_volatile() };
            }
        }
        black_box(sum);
    }
}
