//! The compiler to machine code.
//!
//! Two tiers. The first is one pass over the program, a fixed template an instruction ([`x64`]),
//! registers one to one. The second first makes one instruction of several ([`optimise`]). The code
//! checks nothing; it is for programs that have been proved safe.
//!
//! A [`Target`] is a value that turns a program into bytes, whatever machine this is; only
//! [`JitProgram`] runs them.

#![allow(unsafe_code, reason = "runs machine code")]

pub(crate) mod guarded;
mod memory;
pub mod optimise;
mod target;
pub mod x64;

use std::{fmt, io};

use crate::Program;
pub use crate::native::LinkError;
use crate::native::{Environment, Linker, NativeHelper};
use memory::CodeMemory;
pub use target::{MachineCode, Target};

/// Why there is no machine code for a program.
#[derive(Debug)]
#[non_exhaustive]
pub enum JitError {
    /// The program calls something that is not there.
    Link(LinkError),
    /// There is no memory for code, or the system forbids it.
    Memory(io::Error),
    /// There is no [`Target`] for this machine.
    Machine,
}

impl fmt::Display for JitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JitError::Link(error) => error.fmt(f),
            JitError::Memory(error) => write!(f, "no memory for machine code: {error}"),
            JitError::Machine => write!(f, "there is no compiler for this kind of machine"),
        }
    }
}

impl std::error::Error for JitError {}

/// A program in machine code.
#[derive(Debug)]
pub struct JitProgram {
    code: CodeMemory,
    len: usize,
    entry: u64,
}

impl JitProgram {
    /// Compiles a program for this machine, with everything that its processor has.
    pub fn compile(program: &Program, linker: &dyn Linker) -> Result<JitProgram, JitError> {
        if !cfg!(target_arch = "x86_64") {
            return Err(JitError::Machine);
        }
        JitProgram::compile_for(&x64::X64::of_this_machine(), program, linker)
    }

    /// Compiles a program for a target, which this machine must be.
    pub fn compile_for(
        target: &dyn Target,
        program: &Program,
        linker: &dyn Linker,
    ) -> Result<JitProgram, JitError> {
        let mut made = Ok((0, 0));
        let code = CodeMemory::place(|address| match target.emit(program, linker, address) {
            Ok(MachineCode { bytes, entry }) => {
                made = Ok((bytes.len(), entry));
                bytes
            }
            Err(error) => {
                made = Err(error);
                Vec::new()
            }
        });
        let code = code.map_err(JitError::Memory)?;
        let (len, entry) = made.map_err(JitError::Link)?;
        Ok(JitProgram { entry: code.address() + entry as u64, code, len })
    }

    /// The address of the program's entry, which takes `r1` to `r5` and the environment as a
    /// [`NativeHelper`] does.
    #[inline]
    pub fn entry(&self) -> u64 {
        self.entry
    }

    /// Address and length of the code.
    pub fn extent(&self) -> (u64, usize) {
        (self.code.address(), self.len)
    }

    /// Runs the program with these arguments; gives `r0`.
    ///
    /// # Safety
    ///
    /// The program must have been proved safe for such arguments, and for the helpers and maps that
    /// it was linked with, which must still be there.
    #[inline]
    pub unsafe fn run(&self, args: [u64; 5], environment: &mut Environment) -> u64 {
        let [a, b, c, d, e] = args;
        // SAFETY: at `entry` is code in this convention, alive as long as `self`; the caller vouches
        // for what it does.
        unsafe {
            let entry = std::mem::transmute::<usize, NativeHelper>(self.entry as usize);
            entry(a, b, c, d, e, environment)
        }
    }
}
