//! What a machine is to the compiler.

use std::fmt;

use crate::Program;
use crate::native::Linker;

/// A kind of machine that programs can be compiled for. It is a value: code for any of them can be
/// made, and its bytes tested, on every other.
pub trait Target {
    /// The code of a program that is to stand at `address`.
    fn emit(
        &self,
        program: &Program,
        linker: &dyn Linker,
        address: u64,
    ) -> Result<MachineCode, LinkError>;
}

/// What a compiler gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MachineCode {
    /// The code and its constants.
    pub bytes: Vec<u8>,
    /// Offset of the program's entry.
    pub entry: usize,
}

/// A program calls something that is not there.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LinkError {
    /// Slot of the instruction.
    pub pc: usize,
    /// The helper's number.
    pub helper: i32,
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "insn {}: invalid func unknown#{}", self.pc, self.helper)
    }
}

impl std::error::Error for LinkError {}
