//! Maps: memory that programs and user space share.
//!
//! Limits, flags and error numbers are the kernel's; `tests/maps/` compares them. What differs:
//! memory of hash tables is taken when it is needed, not when the map is created.

mod cells;
mod hash_index;
mod prefixes;
mod recency;
pub(crate) mod ringbuf;
mod table;

use bombus_platform::MapType;
use bombus_spec::MapSpec;

pub(crate) use ringbuf::Ringbuf;
pub(crate) use table::Table;

/// An error number.
pub(crate) type Errno = i32;

/// The kernel's own "not supported", which the C library has no name for (`include/linux/errno.h`).
pub(crate) const ENOTSUPP: Errno = 524;

/// Bytes that one map may take.
const MAX_MEMORY: usize = 1 << 30;
/// Bytes of one value of a per-CPU map (`PCPU_MIN_UNIT_SIZE`, `include/linux/percpu.h`).
const MAX_PERCPU_VALUE: u64 = 32 << 10;
/// Bytes of an element of other maps (`KMALLOC_MAX_SIZE`, `include/linux/slab.h`).
const MAX_ELEMENT: u64 = 4 << 20;

/// `BPF_F_*` of map creation (`include/uapi/linux/bpf.h`).
mod flag {
    pub(super) const NO_PREALLOC: u32 = 1 << 0;
    pub(super) const NO_COMMON_LRU: u32 = 1 << 1;
    pub(super) const NUMA_NODE: u32 = 1 << 2;
    pub(super) const RDONLY: u32 = 1 << 3;
    pub(super) const WRONLY: u32 = 1 << 4;
    pub(super) const ZERO_SEED: u32 = 1 << 6;
    pub(super) const RDONLY_PROG: u32 = 1 << 7;
    pub(super) const WRONLY_PROG: u32 = 1 << 8;
    pub(super) const MMAPABLE: u32 = 1 << 10;
    pub(super) const ACCESS: u32 = RDONLY | WRONLY | RDONLY_PROG | WRONLY_PROG;
}

/// A map.
#[derive(Clone, Debug)]
pub(crate) struct Map {
    pub(crate) name: String,
    pub(crate) key_size: usize,
    /// Of one CPU.
    pub(crate) value_size: usize,
    /// What user space gives and gets as a value.
    pub(crate) user_value_size: usize,
    /// Programs may not write the values.
    pub(crate) read_only: bool,
    /// Each CPU has values of its own, which no program of another changes or pushes out.
    pub(crate) apart: bool,
    pub(crate) storage: Storage,
}

/// What a map is made of.
#[derive(Clone, Debug)]
pub(crate) enum Storage {
    Table(Table),
    Ringbuf(Ringbuf),
    /// Programs by number, for tail calls.
    Programs(Vec<Option<u32>>),
}

impl Map {
    /// Creates a map, with the kernel's checks (`array_map_alloc_check`, `htab_map_alloc_check`,
    /// `ringbuf_map_alloc` and so on, `kernel/bpf`).
    pub(crate) fn new(spec: &MapSpec, cpus: u32) -> Result<Map, Errno> {
        let MapSpec { map_type, key_size, value_size, max_entries, flags, .. } = *spec;
        let allowed = match map_type {
            MapType::Array => flag::NUMA_NODE | flag::MMAPABLE | flag::ACCESS,
            MapType::PercpuArray => flag::ACCESS,
            MapType::Hash | MapType::PercpuHash => {
                flag::NO_PREALLOC | flag::NUMA_NODE | flag::ZERO_SEED | flag::ACCESS
            }
            MapType::LruHash | MapType::LruPercpuHash => {
                flag::NO_COMMON_LRU | flag::NUMA_NODE | flag::ZERO_SEED | flag::ACCESS
            }
            MapType::LpmTrie => flag::NO_PREALLOC | flag::NUMA_NODE | flag::ACCESS,
            MapType::Ringbuf => flag::NUMA_NODE,
            MapType::ProgArray => flag::RDONLY | flag::WRONLY | flag::NUMA_NODE,
            _ => return Err(libc::EOPNOTSUPP),
        };
        if flags & !allowed != 0 || max_entries == 0 {
            return Err(libc::EINVAL);
        }
        let storage = match map_type {
            MapType::Ringbuf => {
                // A page is 4096 bytes on the only machine there is.
                let aligned = max_entries.is_power_of_two() && max_entries.is_multiple_of(4096);
                if key_size != 0 || value_size != 0 || !aligned {
                    return Err(libc::EINVAL);
                }
                Storage::Ringbuf(Ringbuf::new(max_entries)?)
            }
            MapType::ProgArray => {
                if key_size != 4 || value_size != 4 {
                    return Err(libc::EINVAL);
                }
                let mut programs = Vec::new();
                programs.try_reserve_exact(max_entries as usize).map_err(|_| libc::ENOMEM)?;
                programs.resize(max_entries as usize, None);
                Storage::Programs(programs)
            }
            _ => {
                let array = matches!(map_type, MapType::Array | MapType::PercpuArray);
                if key_size == 0 || value_size == 0 || (array && key_size != 4) {
                    return Err(libc::EINVAL);
                }
                // (`trie_alloc`)
                let is_trie = map_type == MapType::LpmTrie;
                let data = key_size.saturating_sub(4);
                let preallocates = flags & flag::NO_PREALLOC == 0;
                if is_trie && (preallocates || !prefixes::DATA_SIZES.contains(&data)) {
                    return Err(libc::EINVAL);
                }
                let too_big = if map_type.is_per_cpu() {
                    u64::from(value_size).next_multiple_of(8) > MAX_PERCPU_VALUE
                } else if array {
                    value_size > i32::MAX as u32
                } else {
                    u64::from(key_size) + u64::from(value_size) >= MAX_ELEMENT
                };
                if too_big {
                    return Err(libc::E2BIG);
                }
                Storage::Table(Table::new(spec, cpus)?)
            }
        };
        let value_size = value_size as usize;
        let user_value_size = if map_type.is_per_cpu() {
            value_size.next_multiple_of(8) * cpus as usize
        } else {
            value_size
        };
        Ok(Map {
            name: spec.name.clone(),
            key_size: key_size as usize,
            value_size,
            user_value_size,
            read_only: flags & flag::RDONLY_PROG != 0,
            apart: matches!(map_type, MapType::PercpuHash | MapType::PercpuArray),
            storage,
        })
    }

    /// The values, when the map has some.
    pub(crate) fn table(&self) -> Option<&Table> {
        match &self.storage {
            Storage::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The values, when the map has some.
    pub(crate) fn table_mut(&mut self) -> Option<&mut Table> {
        match &mut self.storage {
            Storage::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The ring buffer, when it is one.
    pub(crate) fn ringbuf(&self) -> Option<&Ringbuf> {
        match &self.storage {
            Storage::Ringbuf(ring) => Some(ring),
            _ => None,
        }
    }

    /// The ring buffer, when it is one.
    pub(crate) fn ringbuf_mut(&mut self) -> Option<&mut Ringbuf> {
        match &mut self.storage {
            Storage::Ringbuf(ring) => Some(ring),
            _ => None,
        }
    }
}
