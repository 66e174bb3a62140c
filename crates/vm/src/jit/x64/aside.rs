//! Ways out of a function stand behind it, so that what goes on goes straight on.
//!
//! Compilers write `if (found) return n;` in a loop as a jump over the return. The loop goes on more
//! often than it ends (the return heuristic of Ball and Larus, "Branch prediction for free", PLDI
//! 1993), and a jump that is taken costs more than one that is not. The second tier orders all
//! blocks; this is what the first can tell without a look at the whole.

use std::ops::Range;

use bombus_isa::Op;

use super::emit::{Emitter, Known};
use super::encode::Branch;
use crate::jit::LinkError;
use crate::program::target;

/// How many slots are moved at most.
const SLOTS: usize = 4;
/// The offset of a slot whose code will stand behind its function.
pub(super) const BEHIND: u32 = u32::MAX;

impl Emitter<'_> {
    /// Emits a jump over a way out of the function as a jump to it, which will stand behind; gives
    /// how many slots that were.
    pub(super) fn put_aside(&mut self, ops: &[Op], pc: usize) -> Option<usize> {
        let Op::JumpIf { width, cond, dst, src, off } = ops[pc] else { return None };
        let slots = pc + 1..pc + 1 + usize::try_from(off).ok().filter(|off| *off <= SLOTS)?;
        // A jump over a jump is one jump with the opposite condition.
        let is_jump = off == 1 && matches!(ops[pc + 1], Op::Goto { .. });
        if is_jump || !leads_out(ops, slots.clone()) {
            return None;
        }
        let cc = self.compare(width, cond, dst, src);
        let from = self.asm.branch(Branch::Jcc(cc.negated()));
        slots.clone().for_each(|slot| self.offsets[slot] = BEHIND);
        self.aside.push((from, slots));
        Some(1 + usize::from(off.unsigned_abs()))
    }

    /// Emits what was put aside.
    pub(super) fn what_was_put_aside(&mut self) -> Result<(), LinkError> {
        let ops = self.program.ops();
        for (from, slots) in std::mem::take(&mut self.aside) {
            let here = self.asm.len();
            self.asm.patch(from, here);
            self.known = Known::default();
            let mut pc = slots.start;
            while pc < slots.end {
                self.arrive(pc);
                pc += self.instruction(ops, pc)?;
            }
        }
        Ok(())
    }
}

/// Whether these slots do something in a row and then leave the function.
fn leads_out(ops: &[Op], slots: Range<usize>) -> bool {
    let Some(last) = slots.clone().last() else { return false };
    let leaves = match ops.get(last) {
        Some(Op::Exit) => true,
        Some(Op::Goto { off }) => ops.get(target(last, i64::from(*off))) == Some(&Op::Exit),
        _ => false,
    };
    let straight = |slot| {
        !matches!(
            ops[slot],
            Op::Goto { .. }
                | Op::GotoLong { .. }
                | Op::MayGoto { .. }
                | Op::JumpIf { .. }
                | Op::Exit
        )
    };
    leaves && (slots.start..last).all(straight)
}
