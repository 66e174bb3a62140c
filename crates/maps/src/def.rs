//! What a map is to be, and the kernel's checks of that, type by type.

use bombus_platform::MapType;

use crate::Errno;

/// `BPF_F_*` of map creation (`include/uapi/linux/bpf.h`).
pub mod flag {
    /// Elements take memory when they are needed.
    pub const NO_PREALLOC: u32 = 1 << 0;
    /// Each CPU evicts elements of its own.
    pub const NO_COMMON_LRU: u32 = 1 << 1;
    /// There is a NUMA node to take memory from.
    pub const NUMA_NODE: u32 = 1 << 2;
    /// User space may not write.
    pub const RDONLY: u32 = 1 << 3;
    /// User space may not read.
    pub const WRONLY: u32 = 1 << 4;
    /// Stack traces are build ids and offsets.
    pub const STACK_BUILD_ID: u32 = 1 << 5;
    /// The hash function has no secret.
    pub const ZERO_SEED: u32 = 1 << 6;
    /// Programs may not write.
    pub const RDONLY_PROG: u32 = 1 << 7;
    /// Programs may not read.
    pub const WRONLY_PROG: u32 = 1 << 8;
    /// User space may map the values.
    pub const MMAPABLE: u32 = 1 << 10;
    /// Perf events stay when the file descriptor that stored them is closed.
    pub const PRESERVE_ELEMS: u32 = 1 << 11;
    /// As an inner map it may differ in size from the others.
    pub const INNER_MAP: u32 = 1 << 12;
    /// `BPF_F_ACCESS_MASK`.
    pub(crate) const ACCESS: u32 = RDONLY | WRONLY | RDONLY_PROG | WRONLY_PROG;
}

/// What `BPF_MAP_CREATE` is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapDef {
    /// What kind of map.
    pub map_type: MapType,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value; on per-CPU maps, of one CPU's.
    pub value_size: u32,
    /// Elements, or bytes of a ring buffer.
    pub max_entries: u32,
    /// See [`flag`].
    pub flags: u32,
    /// Hash functions of a bloom filter.
    pub map_extra: u64,
    /// Where the value has a `struct bpf_spin_lock`, as its type says: a multiple of four.
    pub spin_lock: Option<u32>,
}

/// Bytes of one value of a per-CPU map (`PCPU_MIN_UNIT_SIZE`, `include/linux/percpu.h`).
const MAX_PERCPU_VALUE: u32 = 32 << 10;
/// `KMALLOC_MAX_SIZE` (`include/linux/slab.h`).
const KMALLOC_MAX: u64 = 4 << 20;
/// Bytes of `struct htab_elem` before the key (`kernel/bpf/hashtab.c`).
const HTAB_ELEM: u64 = 48;
/// Bytes of `struct bucket`, likewise.
const BUCKET: u64 = 16;
/// Bytes of `struct lpm_trie_node` before the data (`kernel/bpf/lpm_trie.c`).
const LPM_NODE: u64 = 40;
/// Frames of a stack trace at most (`kernel.perf_event_max_stack`, sysctl/kernel.rst).
const MAX_STACK: u32 = 127;

impl Default for MapDef {
    /// A hash table, to be filled in.
    fn default() -> MapDef {
        MapDef {
            map_type: MapType::Hash,
            key_size: 0,
            value_size: 0,
            max_entries: 0,
            flags: 0,
            map_extra: 0,
            spin_lock: None,
        }
    }
}

impl MapDef {
    fn has(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }

    /// What the kernel checks before it makes a map: `map_create` of `kernel/bpf/syscall.c` and the
    /// type's `map_alloc_check`.
    pub(crate) fn check(&self) -> Result<(), Errno> {
        use MapType as T;
        if self.map_extra != 0 && !matches!(self.map_type, T::BloomFilter | T::Arena) {
            return Err(libc::EINVAL);
        }
        if let Some(offset) = self.spin_lock {
            let fits = offset.checked_add(4).is_some_and(|end| end <= self.value_size);
            if !fits || !offset.is_multiple_of(4) {
                return Err(libc::EINVAL);
            }
            // `map_check_btf`, `kernel/bpf/syscall.c`.
            if !matches!(self.map_type, T::Hash | T::Array) {
                return Err(libc::EOPNOTSUPP);
            }
        }
        match self.map_type {
            T::Hash | T::PercpuHash | T::LruHash | T::LruPercpuHash | T::HashOfMaps => {
                self.check_hash()
            }
            T::Array | T::PercpuArray => self.check_array(),
            T::ProgArray | T::PerfEventArray | T::CgroupArray | T::ArrayOfMaps => {
                if self.value_size != 4 || self.has(flag::RDONLY_PROG | flag::WRONLY_PROG) {
                    return Err(libc::EINVAL);
                }
                self.check_array()
            }
            T::Queue | T::Stack => {
                self.allow(flag::NUMA_NODE | flag::ACCESS)?;
                self.invalid_if(self.key_size != 0 || self.value_size == 0)?;
                self.too_big_if(u64::from(self.value_size) > KMALLOC_MAX)
            }
            T::BloomFilter => {
                self.allow(flag::NUMA_NODE | flag::ZERO_SEED | flag::ACCESS)?;
                self.invalid_if(self.key_size != 0 || self.value_size == 0)?;
                self.invalid_if(self.map_extra > 15)?;
                self.too_big_if(u64::from(self.value_size) > KMALLOC_MAX)
            }
            T::LpmTrie => {
                self.allow(flag::NO_PREALLOC | flag::NUMA_NODE | flag::ACCESS)?;
                self.invalid_if(!self.has(flag::NO_PREALLOC))?;
                let most = KMALLOC_MAX - 256 - LPM_NODE;
                self.invalid_if(!(5..=260).contains(&self.key_size))?;
                self.invalid_if(self.value_size == 0 || u64::from(self.value_size) > most)
            }
            T::StackTrace => {
                let frame = if self.has(flag::STACK_BUILD_ID) { 32 } else { 8 };
                let known = flag::NUMA_NODE | flag::RDONLY | flag::WRONLY | flag::STACK_BUILD_ID;
                self.allow(known)?;
                let size = self.value_size;
                self.invalid_if(self.key_size != 4 || size < 8 || !size.is_multiple_of(frame))?;
                self.invalid_if(size / frame > MAX_STACK)?;
                self.too_big_if(self.max_entries > 1 << 31)
            }
            T::Ringbuf | T::UserRingbuf => {
                self.allow(flag::NUMA_NODE)?;
                // A page is 4096 bytes on the only machine there is.
                let whole = self.max_entries.is_power_of_two() && self.max_entries >= 4096;
                self.invalid_if(self.key_size != 0 || self.value_size != 0 || !whole)
            }
            _ => Err(libc::EOPNOTSUPP),
        }
    }

    /// That no other flags are set, that those for programs leave them something to do
    /// (`bpf_map_flags_access_ok`, and for user space `bpf_get_file_flag`), and that there are to
    /// be entries.
    fn allow(&self, flags: u32) -> Result<(), Errno> {
        let all = |mask: u32| self.flags & mask == mask;
        self.invalid_if(
            self.has(!flags)
                || self.max_entries == 0
                || all(flag::RDONLY_PROG | flag::WRONLY_PROG)
                || all(flag::RDONLY | flag::WRONLY),
        )
    }

    fn invalid_if(&self, wrong: bool) -> Result<(), Errno> {
        if wrong { Err(libc::EINVAL) } else { Ok(()) }
    }

    fn too_big_if(&self, wrong: bool) -> Result<(), Errno> {
        if wrong { Err(libc::E2BIG) } else { Ok(()) }
    }

    /// `htab_map_alloc_check` and `htab_map_alloc`.
    fn check_hash(&self) -> Result<(), Errno> {
        let evicts = self.evicts();
        let lru_flags = if evicts { flag::NO_COMMON_LRU | flag::NO_PREALLOC } else { 0 };
        let others = flag::NO_PREALLOC | flag::NUMA_NODE | flag::ZERO_SEED | flag::ACCESS;
        if self.map_type == MapType::HashOfMaps {
            self.invalid_if(self.value_size != 4)?;
        }
        self.invalid_if(self.has(!(others | lru_flags)))?;
        if evicts && self.has(flag::NO_PREALLOC) {
            return Err(crate::ENOTSUPP);
        }
        self.allow(others | lru_flags)?;
        let apart = self.map_type.is_per_cpu() || self.has(flag::NO_COMMON_LRU);
        self.invalid_if(self.has(flag::NUMA_NODE) && apart)?;
        self.invalid_if(self.key_size == 0 || self.value_size == 0)?;
        let element = u64::from(self.key_size) + u64::from(self.value_size);
        self.too_big_if(element >= KMALLOC_MAX - HTAB_ELEM)?;
        self.check_percpu_value()?;
        self.too_big_if(self.max_entries > 1 << 31)?;
        let buckets = u64::from(self.max_entries).next_power_of_two();
        self.too_big_if(buckets > u64::from(u32::MAX) / BUCKET)
    }

    /// `array_map_alloc_check`.
    fn check_array(&self) -> Result<(), Errno> {
        let others = match self.map_type {
            MapType::Array => flag::MMAPABLE | flag::INNER_MAP,
            MapType::PerfEventArray => flag::PRESERVE_ELEMS,
            _ => 0,
        };
        self.allow(flag::NUMA_NODE | flag::ACCESS | others)?;
        self.invalid_if(self.key_size != 4 || self.value_size == 0)?;
        self.invalid_if(self.has(flag::NUMA_NODE) && self.map_type.is_per_cpu())?;
        self.too_big_if(self.value_size > i32::MAX as u32)?;
        self.check_percpu_value()
    }

    fn check_percpu_value(&self) -> Result<(), Errno> {
        let rounded = self.value_size.checked_next_multiple_of(8).unwrap_or(u32::MAX);
        self.too_big_if(self.map_type.is_per_cpu() && rounded > MAX_PERCPU_VALUE)
    }

    /// Whether it makes room by itself.
    pub(crate) fn evicts(&self) -> bool {
        matches!(self.map_type, MapType::LruHash | MapType::LruPercpuHash)
    }
}
