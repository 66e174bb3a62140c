//! Programs and maps as plain data: no file descriptors, the same on every host.
//!
//! Metadata travels on the instruction: what a slot refers to, and which source line it came from.
#![forbid(unsafe_code)]

use bombus_isa::Insn;
use bombus_platform::{AttachType, MapType, ProgType};

/// What a slot of code stands for until it is loaded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reference {
    /// First slot of a `ld_imm64` that loads the address of the map with this index in
    /// [`ObjectSpec::maps`].
    Map(u32),
    /// First slot of a `ld_imm64` that loads an address inside the only value of that array map.
    MapValue {
        /// Index in [`ObjectSpec::maps`].
        map: u32,
        /// Bytes from the start of the value.
        offset: u32,
    },
    /// First slot of a `ld_imm64` of a function's address; the function with this index in
    /// [`ProgramSpec::functions`].
    Function(u32),
}

/// One slot with its metadata.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpecInsn {
    /// The slot. Immediates that depend on the host are zero.
    pub insn: Insn,
    /// What the slot refers to.
    pub reference: Option<Reference>,
    /// Index in [`ProgramSpec::lines`].
    pub line: Option<u32>,
}

impl From<Insn> for SpecInsn {
    fn from(insn: Insn) -> SpecInsn {
        SpecInsn { insn, reference: None, line: None }
    }
}

/// A place in the user's source.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SourceLine {
    /// The file, or `stdin` for `-e`.
    pub file: String,
    /// Line number, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// The line's text.
    pub text: String,
}

/// A function inside a program. The first one is the entry and starts at slot 0.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Function {
    /// A C identifier.
    pub name: String,
    /// Slot of its first instruction.
    pub start: u32,
    /// How many arguments it takes (the entry takes the context).
    pub args: u32,
}

/// A program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProgramSpec {
    /// A C identifier; the kernel shows its first 15 characters.
    pub name: String,
    /// What kind of program.
    pub prog_type: ProgType,
    /// Where it will attach, when the type does not say all.
    pub attach_type: AttachType,
    /// Kernel symbol that it attaches to by BTF (`tp_btf`, `fentry`), without prefix.
    pub attach_to: Option<String>,
    /// The code.
    pub insns: Vec<SpecInsn>,
    /// The functions, by start.
    pub functions: Vec<Function>,
    /// The source places that instructions name.
    pub lines: Vec<SourceLine>,
    /// The licence that the program declares.
    pub license: String,
}

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
}

/// Everything that one source gives.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ObjectSpec {
    /// The maps; programs refer to them by index.
    pub maps: Vec<MapSpec>,
    /// The programs.
    pub programs: Vec<ProgramSpec>,
}
