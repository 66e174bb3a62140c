//! The kernel's maps behind the script's.

use bombus_platform::MapType;
use bombus_spec::MapSpec;

use crate::check::tree::Map;
use crate::plan::{MapPlan, MapValue, hist_buckets};

/// `BPF_F_NO_PREALLOC` (`include/uapi/linux/bpf.h`).
const NO_PREALLOC: u32 = 1;

/// Elements up to this size are allocated ahead, which makes inserting faster.
const MAX_PREALLOCATED: u32 = 128;

/// In the value of a map without keys, where the mark stands that says it was assigned. Most
/// aggregations show by themselves that they were.
pub(super) fn mark_offset(value: &MapValue) -> Option<u32> {
    match value {
        MapValue::Plain(ty) => Some(ty.size().next_multiple_of(8)),
        MapValue::Sum { .. } => Some(8),
        _ => None,
    }
}

/// Bytes of a value.
fn value_size(map: &Map) -> u32 {
    match (&map.value, &map.key) {
        (MapValue::Plain(ty), Some(_)) => ty.size().max(1),
        (MapValue::Plain(ty), None) => ty.size().next_multiple_of(8) + 8,
        (MapValue::Sum { .. }, None) => 16,
        (MapValue::Count | MapValue::Sum { .. }, _) => 8,
        (
            MapValue::Min { .. }
            | MapValue::Max { .. }
            | MapValue::Avg { .. }
            | MapValue::Stats { .. },
            _,
        ) => 16,
        (MapValue::Hist { bits }, _) => hist_buckets(*bits) as u32 * 8,
        (MapValue::LHist { min, max, step }, _) => ((max - min) / step + 2) as u32 * 8,
    }
}

/// The specification of a script's map.
pub(super) fn spec(map: &Map) -> MapSpec {
    let plain = matches!(map.value, MapValue::Plain(_));
    let value_size = value_size(map);
    let (map_type, key_size, max_entries) = match &map.key {
        None if plain => (MapType::Array, 4, 1),
        None => (MapType::PercpuArray, 4, 1),
        Some(key) => {
            let map_type = match (plain, map.lru) {
                (true, false) => MapType::Hash,
                (false, false) => MapType::PercpuHash,
                (true, true) => MapType::LruHash,
                (false, true) => MapType::LruPercpuHash,
            };
            (map_type, key.size(), map.max_entries)
        }
    };
    let is_table = map.key.is_some() && !map.lru;
    let flags = match is_table && key_size + value_size > MAX_PREALLOCATED {
        true => NO_PREALLOC,
        false => 0,
    };
    let name = kernel_name(&map.name);
    MapSpec {
        name,
        map_type,
        key_size,
        value_size,
        max_entries,
        flags,
        contents: Vec::new(),
        ..MapSpec::default()
    }
}

/// What user space must know of it.
pub(super) fn plan(map: &Map, index: u32) -> MapPlan {
    MapPlan {
        name: map.name.clone(),
        index,
        key: map.key.clone(),
        value: map.value.clone(),
        present_at: if map.key.is_none() { mark_offset(&map.value) } else { None },
    }
}

/// A name that the kernel takes: letters, digits, `_` and `.`
/// (`bpf_obj_name_cpy`, kernel/bpf/syscall.c).
fn kernel_name(name: &str) -> String {
    match name {
        "@" => "AT_".to_string(),
        _ => name.replace('@', "AT_"),
    }
}
