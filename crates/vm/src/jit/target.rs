//! What a machine is to the compiler.

use crate::Program;
use crate::native::{LinkError, Linker};

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
