//! Programs: code with what it refers to and where it came from.

use std::sync::Arc;

use bombus_btf::RelocationKind;
use bombus_isa::Insn;
use bombus_platform::{AttachType, ProgType};

/// What a slot of code stands for until it is loaded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reference {
    /// First slot of a `ld_imm64` that loads the address of the map with this index in
    /// [`crate::ObjectSpec::maps`].
    Map(u32),
    /// First slot of a `ld_imm64` that loads an address inside the only value of that array map.
    MapValue {
        /// Index in [`crate::ObjectSpec::maps`].
        map: u32,
        /// Bytes from the start of the value.
        offset: u32,
    },
    /// First slot of a `ld_imm64` of a function's address; the function with this index in
    /// [`ProgramSpec::functions`].
    Function(u32),
    /// A variable or function of the kernel's: a `ld_imm64` of the address of the one, a `call` of
    /// the other; the one with this index in [`crate::ObjectSpec::externs`].
    Extern(u32),
}

/// A slot that depends on the layout of the target kernel's types (CO-RE).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct CoreRelocation {
    /// Index in [`ProgramSpec::insns`].
    pub slot: u32,
    /// What is asked.
    pub kind: RelocationKind,
    /// The root type, in [`crate::ObjectSpec::btf`].
    pub type_id: u32,
    /// The way from there, as numbers with colons between: `0:1:2`.
    pub access: String,
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
    pub file: Arc<str>,
    /// Line number, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// The line's text. Programs of one object share it, as they share functions.
    pub text: Arc<str>,
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
    /// Its `BTF_KIND_FUNC` in [`crate::ObjectSpec::btf`]; 0: none.
    pub type_id: u32,
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
    /// The section it stood in, whole: `kprobe/do_unlinkat`. Empty when it comes from no object.
    pub section: String,
    /// `BPF_F_*` flags of `BPF_PROG_LOAD`: sleepable, XDP fragments.
    pub flags: u32,
    /// Whether it is loaded with the object (`SEC("?...")`: not unless somebody says so).
    pub autoload: bool,
    /// What depends on the target's types.
    pub core_relocations: Vec<CoreRelocation>,
}

/// An empty socket filter, to be filled in.
impl Default for ProgramSpec {
    fn default() -> ProgramSpec {
        ProgramSpec {
            name: String::new(),
            prog_type: ProgType::SocketFilter,
            attach_type: AttachType::NONE,
            attach_to: None,
            insns: Vec::new(),
            functions: Vec::new(),
            lines: Vec::new(),
            license: String::new(),
            section: String::new(),
            flags: 0,
            autoload: true,
            core_relocations: Vec::new(),
        }
    }
}
