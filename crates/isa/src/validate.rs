//! Whether code is validly encoded, and which version of the instruction set it needs.

use std::fmt;

use crate::{AluOp, Cond, DecodeError, Endian, Insn, Op, Width, decode};

/// A slot that is not a valid instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidInsn {
    /// Which slot.
    pub slot: usize,
    /// What is wrong with it.
    pub error: DecodeError,
}

impl fmt::Display for InvalidInsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instruction {}: {}", self.slot, self.error)
    }
}

impl std::error::Error for InvalidInsn {}

/// Checks the encoding of every slot (not where jumps go, nor what the program does), and says
/// which instruction set version the code needs: 1 to 4, see [`Op::version`].
pub fn validate(insns: &[Insn]) -> Result<u8, InvalidInsn> {
    decode::ops(insns).try_fold(1, |version, (slot, op)| match op {
        Ok(op) => Ok(version.max(op.version())),
        Err(error) => Err(InvalidInsn { slot, error }),
    })
}

impl Op {
    /// The first instruction set version that has this instruction, by the numbers that LLVM's
    /// `-mcpu` uses. What came later and has no number of its own counts as 4.
    pub const fn version(self) -> u8 {
        match self {
            Op::JumpIf { width: Width::W32, .. } => 3,
            Op::JumpIf { cond: Cond::Lt | Cond::Le | Cond::Slt | Cond::Sle, .. } => 2,
            // Linux has had the plain atomic add from the start, the others since 5.12.
            Op::Atomic { op: crate::AtomicOp::Add, fetch: false, .. } => 1,
            Op::Atomic { .. } => 3,
            Op::Alu { op: AluOp::Sdiv | AluOp::Smod, .. }
            | Op::MovSx { .. }
            | Op::Load { signed: true, .. }
            | Op::End { order: Endian::Swap, .. }
            | Op::GotoLong { .. }
            | Op::GotoRegister { .. }
            | Op::MayGoto { .. }
            | Op::AddrSpaceCast { .. }
            | Op::LoadAcquire { .. }
            | Op::StoreRelease { .. } => 4,
            _ => 1,
        }
    }
}
