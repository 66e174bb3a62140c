//! Why a run ended before its `exit`.

use std::fmt;

/// A run that was stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trap {
    /// [`Program::id`](crate::Program::id) of the program that ran, which tail calls change.
    pub program: u32,
    /// Slot of the instruction.
    pub pc: usize,
    /// What it did.
    pub kind: TrapKind,
}

/// What a program did that it must not do.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TrapKind {
    /// Read a register that nothing was written to, or that a call had made unreadable.
    UninitializedRegister(u8),
    /// Read memory that is not there.
    BadRead {
        /// The guest address.
        address: u64,
        /// Bytes.
        len: usize,
    },
    /// Wrote memory that is not there or is read-only.
    BadWrite {
        /// The guest address.
        address: u64,
        /// Bytes.
        len: usize,
    },
    /// An atomic operation on an address that is not a multiple of its size.
    Misaligned(u64),
    /// An instruction that this engine does not have.
    Unsupported,
    /// Called a helper that the host does not have.
    UnknownHelper(i32),
    /// Gave a helper what it cannot take.
    BadArgument {
        /// The helper's name without `bpf_`.
        helper: &'static str,
        /// From 1.
        argument: u8,
        /// What is wrong, as the end of a sentence.
        reason: &'static str,
    },
    /// Called something that is no function of the program.
    BadFunction(u64),
    /// Too many nested calls.
    TooManyFrames,
    /// Ran longer than it may.
    OutOfFuel,
    /// Asked to be ended with this value (`bpf_throw`): no fault.
    Thrown(u64),
}

impl fmt::Display for TrapKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrapKind::UninitializedRegister(register) => write!(f, "R{register} !read_ok"),
            TrapKind::BadRead { address, len } => {
                write!(f, "invalid read of {len} bytes at {address:#x}")
            }
            TrapKind::BadWrite { address, len } => {
                write!(f, "invalid write of {len} bytes at {address:#x}")
            }
            TrapKind::Misaligned(address) => write!(f, "misaligned atomic access at {address:#x}"),
            TrapKind::Unsupported => write!(f, "this instruction is not supported"),
            TrapKind::UnknownHelper(id) => write!(f, "invalid func unknown#{id}"),
            TrapKind::BadArgument { helper, argument, reason } => {
                write!(f, "argument {argument} of bpf_{helper} {reason}")
            }
            TrapKind::BadFunction(value) => write!(f, "{value:#x} is no function of the program"),
            TrapKind::TooManyFrames => write!(f, "the call stack is too deep"),
            TrapKind::OutOfFuel => write!(f, "the program ran too long"),
            TrapKind::Thrown(value) => write!(f, "an exception with {value:#x}"),
        }
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instruction {}: {}", self.pc, self.kind)
    }
}

impl std::error::Error for Trap {}
