//! Map types (`enum bpf_map_type`, `include/uapi/linux/bpf.h`).

macro_rules! map_types {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, per_cpu: $per_cpu:literal;)*) => {
        /// A kind of map. The numbers are the kernel's.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u32)]
        #[non_exhaustive]
        pub enum MapType { $($(#[$doc])* $variant = $number,)* }

        impl MapType {
            /// Every map type, in the kernel's order.
            pub const ALL: &[MapType] = &[$(MapType::$variant,)*];

            /// The one with this number.
            pub fn from_number(number: u32) -> Option<MapType> {
                MapType::ALL.iter().copied().find(|each| *each as u32 == number)
            }

            /// The name as bpftool prints it.
            pub const fn name(self) -> &'static str {
                match self { $(MapType::$variant => $name,)* }
            }

            /// Whether every CPU has a value of its own.
            pub const fn is_per_cpu(self) -> bool {
                match self { $(MapType::$variant => $per_cpu,)* }
            }
        }
    };
}

map_types! {
    /// Hash table.
    Hash = 1, "hash", per_cpu: false;
    /// Array indexed by a 32-bit key.
    Array = 2, "array", per_cpu: false;
    /// Programs, for tail calls.
    ProgArray = 3, "prog_array", per_cpu: false;
    /// Perf event file descriptors.
    PerfEventArray = 4, "perf_event_array", per_cpu: false;
    /// Hash table with a value a CPU.
    PercpuHash = 5, "percpu_hash", per_cpu: true;
    /// Array with a value a CPU.
    PercpuArray = 6, "percpu_array", per_cpu: true;
    /// Stack traces by id.
    StackTrace = 7, "stack_trace", per_cpu: false;
    /// Cgroups.
    CgroupArray = 8, "cgroup_array", per_cpu: false;
    /// Hash table that evicts the least recently used.
    LruHash = 9, "lru_hash", per_cpu: false;
    /// LRU hash table with a value a CPU.
    LruPercpuHash = 10, "lru_percpu_hash", per_cpu: true;
    /// Longest prefix match.
    LpmTrie = 11, "lpm_trie", per_cpu: false;
    /// Maps in an array.
    ArrayOfMaps = 12, "array_of_maps", per_cpu: false;
    /// Maps in a hash table.
    HashOfMaps = 13, "hash_of_maps", per_cpu: false;
    /// Network devices, for redirection.
    Devmap = 14, "devmap", per_cpu: false;
    /// Sockets in an array.
    Sockmap = 15, "sockmap", per_cpu: false;
    /// CPUs, for redirection.
    Cpumap = 16, "cpumap", per_cpu: false;
    /// `AF_XDP` sockets, for redirection.
    Xskmap = 17, "xskmap", per_cpu: false;
    /// Sockets in a hash table.
    Sockhash = 18, "sockhash", per_cpu: false;
    /// A value for each cgroup that a program is attached to.
    CgroupStorage = 19, "cgroup_storage", per_cpu: false;
    /// Sockets of a `SO_REUSEPORT` group.
    ReuseportSockarray = 20, "reuseport_sockarray", per_cpu: false;
    /// As `CgroupStorage`, with a value a CPU.
    PercpuCgroupStorage = 21, "percpu_cgroup_storage", per_cpu: true;
    /// First in, first out.
    Queue = 22, "queue", per_cpu: false;
    /// Last in, first out.
    Stack = 23, "stack", per_cpu: false;
    /// A value for each socket.
    SkStorage = 24, "sk_storage", per_cpu: false;
    /// Network devices in a hash table, for redirection.
    DevmapHash = 25, "devmap_hash", per_cpu: false;
    /// A structure of kernel callbacks.
    StructOps = 26, "struct_ops", per_cpu: false;
    /// Ring buffer shared by all CPUs.
    Ringbuf = 27, "ringbuf", per_cpu: false;
    /// A value for each inode.
    InodeStorage = 28, "inode_storage", per_cpu: false;
    /// A value for each task.
    TaskStorage = 29, "task_storage", per_cpu: false;
    /// Bloom filter.
    BloomFilter = 30, "bloom_filter", per_cpu: false;
    /// Ring buffer from user space to the program.
    UserRingbuf = 31, "user_ringbuf", per_cpu: false;
    /// A value for each cgroup.
    CgrpStorage = 32, "cgrp_storage", per_cpu: false;
    /// Memory shared with user space, with pointers in it.
    Arena = 33, "arena", per_cpu: false;
    /// Places in a program's code, for jump tables.
    InsnArray = 34, "insn_array", per_cpu: false;
    /// Hash table that grows.
    Rhash = 35, "rhash", per_cpu: false;
}
