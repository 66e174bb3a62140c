//! Why a module could not be compiled.

use crate::ir::Line;

/// Why a module could not be compiled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CompileError {
    /// The function's name.
    pub function: String,
    /// The source place, by position in the module's lines.
    pub line: Option<Line>,
    /// What is wrong.
    pub kind: ErrorKind,
}

/// What is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// The IR breaks a rule: a bug of the front end. Says where and which.
    InvalidIr(String),
    /// The frames along a chain of calls need so many bytes, more than 512, and what is left
    /// cannot move to a map.
    StackTooBig(u32),
    /// The functions call each other in a circle.
    Recursion,
    /// A jump is farther than 32767 slots, and the target has no longer one.
    JumpTooFar,
    /// Registers could not be allocated: a bug of the compiler.
    RegisterAllocation(String),
}

impl std::fmt::Display for CompileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = &self.function;
        match &self.kind {
            ErrorKind::InvalidIr(what) => write!(f, "internal error: function {name}: {what}"),
            ErrorKind::StackTooBig(bytes) => write!(
                f,
                "{name} needs {bytes} bytes of stack, and the kernel gives 512; use fewer or \
                 smaller variables"
            ),
            ErrorKind::Recursion => {
                write!(f, "{name} calls itself, which BPF does not allow; use a loop")
            }
            ErrorKind::JumpTooFar => write!(
                f,
                "{name} is too long for this kernel's jumps; split it, or use a kernel with \
                 instruction set v4 (Linux 6.6)"
            ),
            ErrorKind::RegisterAllocation(what) => {
                write!(f, "internal error: registers for {name}: {what}")
            }
        }
    }
}

impl std::error::Error for CompileError {}
