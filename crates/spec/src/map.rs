//! Maps, and what is in them before any program runs.

use bombus_platform::MapType;

/// A map.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MapSpec {
    /// The kernel shows its first 15 characters.
    pub name: String,
    /// What kind of map.
    pub map_type: MapType,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value; on per-CPU maps, of one CPU's.
    pub value_size: u32,
    /// Elements, or bytes for a ring buffer.
    pub max_entries: u32,
    /// `BPF_F_*` flags of `BPF_MAP_CREATE`.
    pub flags: u32,
    /// Elements to store before any program runs: key, value.
    pub contents: Vec<(Vec<u8>, Vec<u8>)>,
    /// `map_extra` of `BPF_MAP_CREATE`: hash functions of a bloom filter, address of an arena.
    pub extra: u64,
    /// The NUMA node, when one was asked for.
    pub numa_node: Option<u32>,
    /// Type of the key in [`crate::ObjectSpec::btf`]; 0: none.
    pub key_type: u32,
    /// Type of the value in [`crate::ObjectSpec::btf`]; 0: none.
    pub value_type: u32,
    /// Shared by name with other objects (`LIBBPF_PIN_BY_NAME`).
    pub pin_by_name: bool,
    /// What kind of map its values are, for a map of maps.
    pub inner: Option<Box<MapSpec>>,
    /// Maps and programs to store before any program runs: key, what.
    pub slots: Vec<(u32, Slot)>,
    /// Whether it is created with the object (`SEC("?.struct_ops")`: not unless somebody says so).
    pub autocreate: bool,
    /// What it is for.
    pub role: MapRole,
}

/// What a map of maps or a tail-call table holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Slot {
    /// Index in [`crate::ObjectSpec::maps`].
    Map(u32),
    /// Index in [`crate::ObjectSpec::programs`].
    Program(u32),
}

/// What a map is for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum MapRole {
    /// Whatever its programs say.
    #[default]
    Ordinary,
    /// A section of global variables: one value, [`MapSpec::contents`] has it unless it is all
    /// zero. Of an arena, what its memory starts with.
    Data {
        /// For example `.rodata`.
        section: String,
        /// Nobody may write to it once it is loaded (it is frozen).
        read_only: bool,
    },
    /// The kernel's configuration, see [`crate::Extern::Kconfig`].
    Kconfig,
    /// A structure of kernel callbacks; the value is in [`MapSpec::contents`] in the local layout.
    StructOps {
        /// The structure, in [`crate::ObjectSpec::btf`].
        type_id: u32,
        /// Attached by a link (`.struct_ops.link`).
        link: bool,
        /// Members that are programs: byte offset, index in [`crate::ObjectSpec::programs`].
        functions: Vec<(u32, u32)>,
    },
}

/// An empty hash table, to be filled in.
impl Default for MapSpec {
    fn default() -> MapSpec {
        MapSpec {
            name: String::new(),
            map_type: MapType::Hash,
            key_size: 0,
            value_size: 0,
            max_entries: 0,
            flags: 0,
            contents: Vec::new(),
            extra: 0,
            numa_node: None,
            key_type: 0,
            value_type: 0,
            pin_by_name: false,
            inner: None,
            slots: Vec::new(),
            autocreate: true,
            role: MapRole::Ordinary,
        }
    }
}
