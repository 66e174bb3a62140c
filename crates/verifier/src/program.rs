//! What is to be proved: a program as `BPF_PROG_LOAD` gets it, with all that its numbers refer to.
//!
//! Everything is given; nothing is looked up. The same program, maps and target give the same
//! verdict on every host.

use std::sync::Arc;

use bombus_btf::{Btf, FuncInfo, LineInfo, TypeId};
use bombus_isa::Insn;
use bombus_platform::{AttachType, MapType, ProgType};

/// `BPF_F_STRICT_ALIGNMENT`: every access must be aligned, whatever the processor can do.
pub const F_STRICT_ALIGNMENT: u32 = 1 << 0;
/// `BPF_F_ANY_ALIGNMENT`: none need be.
pub const F_ANY_ALIGNMENT: u32 = 1 << 1;
/// `BPF_F_TEST_STATE_FREQ`: keep a state at each place where states may be kept.
pub const F_TEST_STATE_FREQ: u32 = 1 << 3;
/// `BPF_F_SLEEPABLE`: the program may sleep.
pub const F_SLEEPABLE: u32 = 1 << 4;
/// `BPF_F_XDP_HAS_FRAGS`: the packet may be in several pieces.
pub const F_XDP_HAS_FRAGS: u32 = 1 << 5;
/// `BPF_F_XDP_DEV_BOUND_ONLY`: the program is bound to a device.
pub const F_XDP_DEV_BOUND_ONLY: u32 = 1 << 6;
/// `BPF_F_TEST_REG_INVARIANTS`: refuse when what is known of a number contradicts itself.
pub const F_TEST_REG_INVARIANTS: u32 = 1 << 7;

/// A program to be proved.
#[derive(Clone, Debug)]
pub struct Program<'a> {
    /// Its name.
    pub name: &'a str,
    /// The code, all functions one after the other, the entry first. Maps are named by their index
    /// in [`Program::maps`] (as by `BPF_PSEUDO_MAP_IDX`, whichever of the forms the slot has);
    /// kernel functions and variables by their type's number in [`Target::btf`], or in the module
    /// that the slot's offset (for `ld_imm64`, its second immediate) names, from 1.
    pub insns: &'a [Insn],
    /// The type.
    pub prog_type: ProgType,
    /// Expected attach type.
    pub attach_type: AttachType,
    /// What it attaches to by BTF.
    pub attach_to: AttachTarget<'a>,
    /// `BPF_F_*` flags of `BPF_PROG_LOAD`.
    pub flags: u32,
    /// Whether its licence lets it call what is only for GPL programs.
    pub gpl_compatible: bool,
    /// The maps that the code names.
    pub maps: &'a [Arc<Map>],
    /// Its own types.
    pub btf: Option<&'a Btf>,
    /// Which function starts where, by types of [`Program::btf`].
    pub functions: &'a [FuncInfo],
    /// Which source line instructions came from, by strings of [`Program::btf`].
    pub lines: &'a [LineInfo],
}

/// What a program attaches to by BTF.
#[derive(Clone, Copy, Debug)]
pub enum AttachTarget<'a> {
    /// Nothing.
    Nothing,
    /// A function, hook, tracepoint's typedef, iterator's function or (struct_ops) structure.
    Kernel {
        /// The types: the kernel's, or a module's.
        btf: &'a Btf,
        /// Which of them.
        id: TypeId,
        /// For struct_ops: which member, from 0.
        member: u32,
    },
    /// A function of another program.
    Program {
        /// That program's types.
        btf: &'a Btf,
        /// Its function's type.
        id: TypeId,
        /// That program's type.
        prog_type: ProgType,
    },
}

/// A map as the verifier sees it.
#[derive(Clone, Debug)]
pub struct Map {
    /// Its name.
    pub name: String,
    /// What kind.
    pub map_type: MapType,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value (of one CPU's).
    pub value_size: u32,
    /// Elements, or bytes of a ring buffer.
    pub max_entries: u32,
    /// `BPF_F_*` flags of `BPF_MAP_CREATE`.
    pub flags: u32,
    /// `map_extra`: the address of an arena.
    pub extra: u64,
    /// The types of the key and of the value, with what they are numbered in.
    pub types: Option<MapTypes>,
    /// A map like those it holds.
    pub inner: Option<Arc<Map>>,
    /// What it holds and nobody can change any more (frozen, read-only for programs): the value of
    /// an array of one element; for an instruction array the places.
    pub constant: Option<Arc<[u8]>>,
}

/// The types of a map's key and value.
#[derive(Clone, Debug)]
pub struct MapTypes {
    /// What numbers them.
    pub btf: Arc<Btf>,
    /// The key's; [`TypeId::VOID`]: unknown.
    pub key: TypeId,
    /// The value's; [`TypeId::VOID`]: unknown.
    pub value: TypeId,
}

/// The kernel that a program is proved for.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its version: 7, 3.
    pub version: (u16, u16),
    /// Its types.
    pub btf: Option<&'a Btf>,
    /// The types of the modules that the program's calls name, from 1.
    pub modules: &'a [&'a Btf],
}

/// What the loading process may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Privileges {
    /// `CAP_BPF`: back edges, calls, pointers that are compared and stored.
    pub bpf: bool,
    /// `CAP_PERFMON`: pointers may leak, and speculation is not guarded against.
    pub perfmon: bool,
    /// `CAP_SYS_ADMIN`.
    pub sys_admin: bool,
}

impl Privileges {
    /// root's.
    pub const ALL: Privileges = Privileges { bpf: true, perfmon: true, sys_admin: true };
    /// Nobody's.
    pub const NONE: Privileges = Privileges { bpf: false, perfmon: false, sys_admin: false };
}

/// How to verify.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What the loading process may do.
    pub privileges: Privileges,
    /// What the log tells (`BPF_LOG_*`): 1 the refused path, 2 every instruction, 4 statistics.
    pub log_level: u32,
    /// Instructions walked at most (`BPF_COMPLEXITY_LIMIT_INSNS`).
    pub max_walked: u32,
    /// Bytes of log at most; what is older is dropped.
    pub max_log: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            privileges: Privileges::ALL,
            log_level: 0,
            max_walked: 1_000_000,
            max_log: 16 << 20,
        }
    }
}
