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

impl CompileError {
    /// What is wrong, without the function's name: what may follow a place in the source.
    pub fn reason(&self) -> String {
        match &self.kind {
            ErrorKind::InvalidIr(what) => format!("internal error: {what}"),
            ErrorKind::StackTooBig(bytes) => {
                format!("needs {bytes} bytes of stack, and the kernel gives 512")
            }
            ErrorKind::Recursion => "calls itself, which BPF does not allow".to_string(),
            ErrorKind::JumpTooFar => "is too long for this kernel's jumps".to_string(),
            ErrorKind::RegisterAllocation(what) => format!("internal error: registers: {what}"),
        }
    }

    /// What to do about it; for an internal error nothing but to report it.
    pub const fn remedy(&self) -> &'static str {
        match &self.kind {
            ErrorKind::InvalidIr(_) | ErrorKind::RegisterAllocation(_) => {
                "this is a mistake in the compiler; please report it with the source"
            }
            ErrorKind::StackTooBig(_) => "use fewer or smaller variables and strings",
            ErrorKind::Recursion => "use a loop",
            ErrorKind::JumpTooFar => {
                "make it shorter, or use a kernel with instruction set v4 (Linux 6.6)"
            }
        }
    }
}

impl std::fmt::Display for CompileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.kind {
            ErrorKind::InvalidIr(_) | ErrorKind::RegisterAllocation(_) => {
                write!(f, "function {}: {}", self.function, self.reason())
            }
            _ => write!(f, "{} {}; {}", self.function, self.reason(), self.remedy()),
        }
    }
}

impl std::error::Error for CompileError {}
