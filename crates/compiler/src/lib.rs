//! SSA intermediate representation and BPF back end.
//!
//! Front ends build [`ir::Function`]s with [`ir::Builder`]; [`compile`] optimises a module of them
//! and turns it into one program.
#![forbid(unsafe_code)]

mod codegen;
mod error;
pub mod ir;
pub mod passes;

use bombus_spec::{MapSpec, SourceLine, SpecInsn};

pub use error::{CompileError, ErrorKind};

/// What the code must run on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// Instruction set version, 1 to 4 (as clang's `-mcpu=v1` to `v4`).
    pub isa: u8,
}

impl Target {
    /// Whether `<`, `<=` jumps exist (v2).
    pub const fn has_less_jumps(self) -> bool {
        self.isa >= 2
    }

    /// Whether 32-bit arithmetic and jumps are used (v3).
    pub const fn has_alu32(self) -> bool {
        self.isa >= 3
    }

    /// Whether sign-extending moves and loads, signed division, unconditional byte swaps and
    /// long jumps exist (v4).
    pub const fn has_v4(self) -> bool {
        self.isa >= 4
    }
}

/// A program's code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Compiled {
    /// The code; every slot names its line when the module does.
    pub insns: Vec<SpecInsn>,
    /// The functions, by start; the entry is the first.
    pub functions: Vec<bombus_spec::Function>,
    /// The source places that instructions name.
    pub lines: Vec<SourceLine>,
}

/// Compiles a module to one program. `maps` are the object's maps; one is appended when the frames
/// need more than the kernel's stack, to hold the biggest stack slots.
///
/// Functions that the entry does not reach are left out.
///
/// # Errors
///
/// A module that breaks the rules of the IR (a bug of the front end), frames that cannot be made to
/// fit, or code too long for the target's jumps.
pub fn compile(
    module: &ir::Module,
    target: &Target,
    maps: &mut Vec<MapSpec>,
) -> Result<Compiled, CompileError> {
    ir::verify(module)?;
    let mut module = module.clone();
    passes::optimize(&mut module, *target);
    codegen::generate(module, *target, maps)
}
