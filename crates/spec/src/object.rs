//! Everything that one source gives.

use std::sync::Arc;

use crate::{MapSpec, ProgramSpec};

/// Everything that one source gives.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ObjectSpec {
    /// The maps; programs refer to them by index.
    pub maps: Vec<MapSpec>,
    /// The programs.
    pub programs: Vec<ProgramSpec>,
    /// What the code takes from the kernel; programs refer to them by index.
    pub externs: Vec<Extern>,
    /// The global variables.
    pub variables: Vec<Variable>,
    /// The types that the other fields name by number: a blob of BTF.
    pub btf: Option<Arc<[u8]>>,
    /// `LINUX_VERSION_CODE` that kprobes were written for, which kernels before 5.0 check; 0: none.
    pub kernel_version: u32,
}

/// A global variable.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Variable {
    /// Its name in C.
    pub name: String,
    /// Index in [`ObjectSpec::maps`] of the map whose value it is in.
    pub map: u32,
    /// Bytes from the start of the value.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
    /// Its type in [`ObjectSpec::btf`]; 0: unknown.
    pub type_id: u32,
}

/// Something that the target kernel has, or is asked whether it has.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Extern {
    /// A variable in a map of role [`crate::MapRole::Kconfig`], to be filled from the kernel's
    /// configuration or version: `LINUX_KERNEL_VERSION`, `CONFIG_HZ`.
    Kconfig {
        /// Its name.
        name: String,
        /// Its type in [`ObjectSpec::btf`].
        type_id: u32,
        /// Index in [`ObjectSpec::maps`].
        map: u32,
        /// Bytes from the start of the value.
        offset: u32,
        /// Bytes.
        size: u32,
        /// 0 when there is no such option.
        weak: bool,
    },
    /// The address of a kernel symbol, or with a type the variable behind it (`__ksym`).
    Ksym {
        /// Its name, possibly with a flavour: `bpf_prog_active___v1`.
        name: String,
        /// Its type in [`ObjectSpec::btf`]; 0 (`void`): any symbol of kallsyms.
        type_id: u32,
        /// Null when there is no such symbol.
        weak: bool,
    },
    /// A function of the kernel's that programs may call (`__ksym`).
    Kfunc {
        /// Its name, possibly with a flavour.
        name: String,
        /// Its `BTF_KIND_FUNC_PROTO` in [`ObjectSpec::btf`].
        type_id: u32,
        /// Null when there is no such function.
        weak: bool,
    },
}

impl Extern {
    /// Its name in C.
    pub fn name(&self) -> &str {
        match self {
            Extern::Kconfig { name, .. }
            | Extern::Ksym { name, .. }
            | Extern::Kfunc { name, .. } => name,
        }
    }
}
