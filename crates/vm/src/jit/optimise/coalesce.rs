//! What is made only to be moved is made where it is wanted.

use std::ops::Range;

use bombus_isa::{AluOp, Op, Operand, Reg, Width};

use super::inst::{Inst, bit};

/// Looks for `dst = src` where `src` is not read any more, and has the instruction that made `src`,
/// in the same block, make `dst`. Whether anything changed.
pub(super) fn coalesce(insts: &mut [Inst], blocks: &[Range<usize>], live_after: &[u16]) -> bool {
    let mut changed = false;
    for block in blocks {
        for slot in block.clone() {
            let Inst::Op(Op::Alu {
                width: Width::W64,
                op: AluOp::Mov,
                dst,
                src: Operand::Reg(src),
            }) = insts[slot]
            else {
                continue;
            };
            if live_after[slot] & bit(src) == 0
                && made_elsewhere(insts, block.start, slot, dst, src)
            {
                insts[slot] = Inst::Nop;
                changed = true;
            }
        }
    }
    changed
}

/// Renames `src` to `dst` from where it is made up to `slot`, if it can be.
fn made_elsewhere(insts: &mut [Inst], start: usize, slot: usize, dst: Reg, src: Reg) -> bool {
    let either = bit(dst) | bit(src);
    let maker =
        insts[start..slot].iter().rposition(|inst| (inst.uses() | inst.defs()) & either != 0);
    let Some(maker) = maker.map(|at| start + at) else { return false };
    match with_result(insts[maker], src, dst) {
        Some(renamed) => {
            insts[maker] = renamed;
            true
        }
        None => false,
    }
}

/// The instruction with its result in another register, where that is all that it does to `from`.
fn with_result(inst: Inst, from: Reg, to: Reg) -> Option<Inst> {
    if inst.defs() != bit(from) {
        return None;
    }
    Some(match inst {
        Inst::Lea { address, .. } => Inst::Lea { dst: to, address },
        Inst::Load { size, signed, address, .. } => Inst::Load { size, signed, dst: to, address },
        Inst::LoadSwapped { size, address, .. } => Inst::LoadSwapped { size, dst: to, address },
        Inst::Rotate { width, src, right, .. } => Inst::Rotate { width, dst: to, src, right },
        Inst::Truncate { from, src, .. } => Inst::Truncate { from, dst: to, src },
        Inst::Op(Op::Alu { width, op: AluOp::Mov, src, .. }) => {
            Inst::Op(Op::Alu { width, op: AluOp::Mov, dst: to, src })
        }
        Inst::Op(Op::MovSx { width, from, src, .. }) => {
            Inst::Op(Op::MovSx { width, from, dst: to, src })
        }
        _ => return None,
    })
}
