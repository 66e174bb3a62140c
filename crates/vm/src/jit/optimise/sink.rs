//! What only one way of a branch reads is made on that way.

use std::ops::Range;

use bombus_isa::{AluOp, Imm64, Op};

use super::inst::Inst;
use super::liveness::live_in;
use crate::program::target;

/// An instruction that is only needed on one way out of a branch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sunk {
    /// The branch's slot in the function.
    pub(super) branch: usize,
    /// It is needed where the branch goes; else where it does not.
    pub(super) taken: bool,
    /// The instruction.
    pub(super) inst: Inst,
}

/// Takes such instructions out; gives them in the order in which they are to be made.
pub(super) fn sink(
    insts: &mut [Inst],
    blocks: &[Range<usize>],
    live_after: &mut [u16],
) -> Vec<Sunk> {
    let live = live_in(insts, blocks);
    let mut all = Vec::new();
    for (index, block) in blocks.iter().enumerate() {
        let branch = block.end - 1;
        let Inst::Branch { off, .. } = insts[branch] else { continue };
        let to = target(branch, off);
        let Ok(there) = blocks.binary_search_by_key(&to, |block| block.start) else { continue };
        let Some(&live_next) = live.get(index + 1) else { continue };
        let mut live_out = [live_next, live[there]];
        // A way back is gone often: nothing is gained there.
        let ways = if to <= branch { &[false][..] } else { &[false, true] };
        let (mut used, mut defined) = (insts[branch].uses(), 0);
        let first = all.len();
        for slot in block.start..branch {
            let slot = block.start + branch - 1 - slot;
            let inst = insts[slot];
            let (uses, defs) = (inst.uses(), inst.defs());
            let movable = is_movable(inst) && defs & (used | defined) == 0 && uses & defined == 0;
            let way = ways.iter().find(|&&taken| {
                let (this, other) = (live_out[usize::from(taken)], live_out[usize::from(!taken)]);
                movable && this & defs != 0 && other & defs == 0
            });
            if let Some(&taken) = way {
                let live = &mut live_out[usize::from(taken)];
                *live = (*live & !defs) | uses;
                all.push(Sunk { branch, taken, inst });
                insts[slot] = Inst::Nop;
                // What it reads is read later now.
                live_after[slot..=branch].iter_mut().for_each(|live| *live |= uses);
            } else {
                used |= uses;
                defined |= defs;
            }
        }
        all[first..].reverse();
    }
    all
}

/// Whether it only computes, quickly, from what registers hold, wherever it stands.
fn is_movable(inst: Inst) -> bool {
    match inst {
        Inst::Lea { .. } | Inst::Rotate { .. } | Inst::Truncate { .. } => true,
        Inst::Op(Op::Alu { op, .. }) => {
            !matches!(op, AluOp::Div | AluOp::Sdiv | AluOp::Mod | AluOp::Smod)
        }
        Inst::Op(Op::LoadImm64 { imm, .. }) => matches!(imm, Imm64::Value(_)),
        Inst::Op(op) => matches!(op, Op::Neg { .. } | Op::MovSx { .. } | Op::End { .. }),
        _ => false,
    }
}
