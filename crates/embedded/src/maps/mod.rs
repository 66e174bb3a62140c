//! Maps: memory that programs and user space share.
//!
//! Limits, flags and error numbers are the kernel's; `tests/maps/` compares them. What differs:
//! memory of hash tables is taken when it is needed, not when the map is created.

mod arena;
mod cells;
mod hash_index;
mod perf;
mod places;
mod prefixes;
mod recency;
pub(crate) mod ringbuf;
mod shown;
mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bombus_btf::Btf;
use bombus_kernel::described_map;
use bombus_platform::MapType;
use bombus_spec::MapSpec;

use crate::objects::{Fields, layout};
use crate::run::value_address;

pub(crate) use arena::Arena;
pub(crate) use perf::PerfArray;
pub(crate) use places::Places;
pub(crate) use ringbuf::Ringbuf;
pub(crate) use shown::shown;
pub(crate) use table::Table;

/// An error number.
pub(crate) type Errno = i32;

pub(crate) use bombus_kernel::ENOTSUPP;

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
    pub(super) const PRESERVE_ELEMS: u32 = 1 << 11;
    pub(super) const INNER_MAP: u32 = 1 << 12;
    pub(super) const SEGV_ON_FAULT: u32 = 1 << 17;
    pub(super) const NO_USER_CONV: u32 = 1 << 18;
    pub(super) const ACCESS: u32 = RDONLY | WRONLY | RDONLY_PROG | WRONLY_PROG;
}

/// A map.
#[derive(Debug)]
pub(crate) struct Map {
    pub(crate) name: String,
    map_type: MapType,
    max_entries: u32,
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
    /// What programs see of the kernel's structure for it.
    pub(crate) shown: Box<[u8]>,
    /// As the verifier sees it.
    described: Arc<bombus_verifier::Map>,
    /// User space may not write to it any more.
    frozen: bool,
}

/// A map without keys, which needs nothing of this kernel: that of the crate that has them all.
#[derive(Clone)]
pub(crate) struct Keyless(pub(crate) Arc<bombus_maps::Map>);

impl fmt::Debug for Keyless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keyless").field(self.0.def()).finish()
    }
}

impl Keyless {
    fn new(spec: &MapSpec) -> Result<Keyless, Errno> {
        let def = bombus_maps::MapDef {
            map_type: spec.map_type,
            key_size: spec.key_size,
            value_size: spec.value_size,
            max_entries: spec.max_entries,
            flags: spec.flags,
            map_extra: spec.extra,
            spin_lock: None,
        };
        bombus_maps::Map::new(&def, 1, 0).map(Keyless)
    }
}

/// What a map is made of.
#[derive(Debug)]
pub(crate) enum Storage {
    Table(Table),
    Ringbuf(Ringbuf),
    /// Programs by number, for tail calls.
    Programs(Vec<Option<u32>>),
    /// Records for user space, by CPU.
    Perf(PerfArray),
    /// Values without keys: a queue, a stack or a bloom filter.
    Keyless(Keyless),
    /// Pages.
    Arena(Box<Arena>),
    /// Places in programs.
    Places(Places),
    /// Values that belong to something else than a key: where they are among objects.
    Owned(BTreeMap<u64, u64>),
    /// Maps by key: values are their handles.
    Maps(Table),
    /// Sockets of a kind that this kernel has none of.
    Sockets,
}

/// What the kernel takes care of in the values of a map.
fn fields(map: &bombus_verifier::Map) -> Fields {
    let found = map.types.as_ref().and_then(|types| layout(&types.btf, types.value));
    found.map(|(_, fields)| fields).unwrap_or_default()
}

impl Storage {
    /// That of maps which are made of something of their own.
    fn special(spec: &MapSpec, number: usize) -> Result<Option<Storage>, Errno> {
        use MapType as M;
        let keyed = spec.key_size == 4 && spec.value_size == 4 && spec.max_entries != 0;
        Ok(Some(match spec.map_type {
            M::Queue | M::Stack | M::BloomFilter | M::UserRingbuf => {
                Storage::Keyless(Keyless::new(spec)?)
            }
            M::Arena => Storage::Arena(Box::new(Arena::new(spec, number)?)),
            M::InsnArray => Storage::Places(Places::new(spec)?),
            M::ArrayOfMaps | M::HashOfMaps => {
                if spec.value_size != 4 || spec.map_type == M::ArrayOfMaps && !keyed {
                    return Err(libc::EINVAL);
                }
                let map_type = if spec.map_type == M::ArrayOfMaps { M::Array } else { M::Hash };
                Storage::Maps(Table::new(&MapSpec { map_type, ..spec.clone() }, 1)?)
            }
            M::Xskmap if keyed => Storage::Sockets,
            // (`sock_map_alloc`, `sock_hash_alloc`: descriptors, or cookies of 8 bytes.)
            M::Sockmap | M::Sockhash | M::ReuseportSockarray
                if matches!(spec.value_size, 4 | 8) && spec.max_entries != 0 =>
            {
                Storage::Sockets
            }
            // (`bpf_local_storage_map_alloc_check`, `cgroup_storage_map_alloc`)
            M::SkStorage | M::CgroupStorage | M::PercpuCgroupStorage => {
                let is_large = u64::from(spec.value_size) >= MAX_ELEMENT;
                match spec.value_size {
                    0 => return Err(libc::EINVAL),
                    _ if is_large => return Err(libc::E2BIG),
                    _ => Storage::Owned(BTreeMap::new()),
                }
            }
            _ => return Ok(None),
        }))
    }
}

impl Map {
    /// Creates a map, with the kernel's checks (`array_map_alloc_check`, `htab_map_alloc_check`,
    /// `ringbuf_map_alloc` and so on, `kernel/bpf`).
    ///
    /// `types` has those of the key and value, `inner` is a map like those that it holds, `number` is
    /// its own.
    pub(crate) fn new(
        spec: &MapSpec,
        types: Option<Arc<Btf>>,
        inner: Option<Arc<bombus_verifier::Map>>,
        cpus: u32,
        number: usize,
    ) -> Result<Map, Errno> {
        let mut described = described_map(spec, types, inner);
        // (`dev_map_init_map`)
        if matches!(spec.map_type, MapType::Devmap | MapType::DevmapHash) {
            described.flags |= flag::RDONLY_PROG;
        }
        let described = Arc::new(described);
        let MapSpec { map_type, key_size, value_size, max_entries, flags, .. } = *spec;
        if let Some(storage) = Storage::special(spec, number)? {
            return Ok(Map {
                name: spec.name.clone(),
                map_type,
                max_entries,
                key_size: key_size as usize,
                value_size: value_size as usize,
                user_value_size: value_size as usize,
                read_only: false,
                apart: false,
                storage,
                described,
                frozen: false,
                shown: Box::default(),
            });
        }
        let allowed = match map_type {
            MapType::Array => {
                flag::NUMA_NODE
                    | flag::MMAPABLE
                    | flag::PRESERVE_ELEMS
                    | flag::INNER_MAP
                    | flag::ACCESS
            }
            MapType::PercpuArray => flag::ACCESS,
            MapType::Hash | MapType::PercpuHash => {
                flag::NO_PREALLOC | flag::NUMA_NODE | flag::ZERO_SEED | flag::ACCESS
            }
            MapType::LruHash | MapType::LruPercpuHash => {
                flag::NO_COMMON_LRU | flag::NUMA_NODE | flag::ZERO_SEED | flag::ACCESS
            }
            MapType::LpmTrie => flag::NO_PREALLOC | flag::NUMA_NODE | flag::ACCESS,
            MapType::Devmap | MapType::DevmapHash => flag::NUMA_NODE | flag::RDONLY | flag::WRONLY,
            MapType::Ringbuf => flag::NUMA_NODE,
            MapType::PerfEventArray => {
                flag::RDONLY | flag::WRONLY | flag::NUMA_NODE | flag::PRESERVE_ELEMS
            }
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
            // (`perf_event_array_map_ops`: an array of descriptors.)
            MapType::PerfEventArray => {
                if key_size != 4 || value_size != 4 {
                    return Err(libc::EINVAL);
                }
                Storage::Perf(PerfArray::new(max_entries))
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
                // (`dev_map_init_map`: `struct bpf_devmap_val`, with a program or without.)
                let devices = matches!(map_type, MapType::Devmap | MapType::DevmapHash);
                let numbered = array || devices;
                if key_size == 0 || value_size == 0 || (numbered && key_size != 4) {
                    return Err(libc::EINVAL);
                }
                if devices && !matches!(value_size, 4 | 8) {
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
                Storage::Table(Table::new(spec, cpus)?.with_fields(fields(&described)))
            }
        };
        let devices = matches!(map_type, MapType::Devmap | MapType::DevmapHash);
        let value_size = value_size as usize;
        let user_value_size = if map_type.is_per_cpu() {
            value_size.next_multiple_of(8) * cpus as usize
        } else {
            value_size
        };
        Ok(Map {
            name: spec.name.clone(),
            map_type,
            max_entries,
            key_size: key_size as usize,
            value_size,
            user_value_size,
            read_only: flags & flag::RDONLY_PROG != 0 || devices,
            apart: matches!(map_type, MapType::PercpuHash | MapType::PercpuArray),
            storage,
            described,
            frozen: false,
            shown: Box::default(),
        })
    }

    /// As the verifier sees it, with what it holds where nobody can change that any more.
    pub(crate) fn described(&self) -> Arc<bombus_verifier::Map> {
        if let Storage::Places(places) = &self.storage
            && self.frozen
        {
            let constant = Some(places.values().into());
            return Arc::new(bombus_verifier::Map { constant, ..(*self.described).clone() });
        }
        if let Storage::Arena(arena) = &self.storage {
            let extra = arena.user();
            return Arc::new(bombus_verifier::Map { extra, ..(*self.described).clone() });
        }
        let is_section = self.map_type == MapType::Array && self.max_entries == 1;
        let is_constant =
            self.frozen && is_section && self.described.flags & flag::RDONLY_PROG != 0;
        let value =
            self.table().filter(|_| is_constant).and_then(|table| table.lookup_all(&[0; 4]));
        match value {
            Some(value) => {
                let constant = Some(value.into());
                Arc::new(bombus_verifier::Map { constant, ..(*self.described).clone() })
            }
            None => self.described.clone(),
        }
    }

    /// `map_freeze`.
    pub(crate) fn freeze(&mut self) -> Result<(), Errno> {
        if std::mem::replace(&mut self.frozen, true) { Err(libc::EBUSY) } else { Ok(()) }
    }

    /// That user space may write to it.
    pub(crate) fn check_thawed(&self) -> Result<(), Errno> {
        if self.frozen { Err(libc::EPERM) } else { Ok(()) }
    }

    /// What user space must not store in a map of devices (`__dev_map_update_elem`,
    /// `__dev_map_hash_update_elem`, `kernel/bpf/devmap.c`): a place behind its end, a device that is
    /// not there, a program.
    pub(crate) fn check_device(&self, key: &[u8], value: &[u8]) -> Result<(), Errno> {
        if !matches!(self.map_type, MapType::Devmap | MapType::DevmapHash) {
            return Ok(());
        }
        let word = |bytes: &[u8]| bytes.first_chunk().map_or(0, |word| u32::from_ne_bytes(*word));
        if self.map_type == MapType::Devmap && word(key) >= self.max_entries {
            return Err(libc::E2BIG);
        }
        let has_program = value.get(4..).is_some_and(|fd| (word(fd) as i32) > 0);
        if has_program || !crate::network::is_interface(word(value)) {
            return Err(libc::EINVAL);
        }
        Ok(())
    }

    /// Its type.
    pub(crate) fn map_type(&self) -> MapType {
        self.map_type
    }

    /// The arena, when it is one.
    pub(crate) fn arena(&self) -> Option<&Arena> {
        match &self.storage {
            Storage::Arena(arena) => Some(arena),
            _ => None,
        }
    }

    /// The arena, when it is one.
    pub(crate) fn arena_mut(&mut self) -> Option<&mut Arena> {
        match &mut self.storage {
            Storage::Arena(arena) => Some(arena),
            _ => None,
        }
    }

    /// Where a place in its direct value is for programs that have an address of it, if it has one.
    pub(crate) fn direct_value(&self, number: usize, offset: u32) -> Option<u64> {
        match &self.storage {
            Storage::Table(_) if (offset as usize) < self.value_size => {
                Some(value_address(number, offset.into()))
            }
            Storage::Arena(arena) if (offset as usize) < arena.len() => {
                Some(arena.user() + u64::from(offset))
            }
            Storage::Places(places) if (offset as usize) < places.len() => {
                Some(value_address(number, offset.into()))
            }
            _ => None,
        }
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

    /// The perf event array, when it is one.
    pub(crate) fn perf_mut(&mut self) -> Option<&mut PerfArray> {
        match &mut self.storage {
            Storage::Perf(array) => Some(array),
            _ => None,
        }
    }

    /// The map without keys, when it is one.
    pub(crate) fn keyless(&self) -> Option<&bombus_maps::Map> {
        match &self.storage {
            Storage::Keyless(Keyless(map)) => Some(map),
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
