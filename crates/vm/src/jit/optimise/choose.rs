//! Conditional jumps: over a jump, they are one jump; over a move, no jump at all.

use bombus_isa::{AluOp, Op, Operand, Reg, Width};

use super::inst::{Inst, Test};

/// Does it wherever nothing else jumps to what is jumped over.
pub(super) fn choose(insts: &mut [Inst]) {
    let mut targets = vec![0u32; insts.len() + 1];
    for (slot, inst) in insts.iter().enumerate() {
        if let Some(distance) = inst.jump() {
            targets[(slot as i64 + 1 + distance) as usize] += 1;
        }
    }
    for slot in 0..insts.len() {
        let Inst::Op(Op::JumpIf { width, cond, dst: a, src: b, off }) = insts[slot] else {
            continue;
        };
        let test = Test { width, cond, negated: false, a, b };
        insts[slot] = Inst::Branch { test, off: off.into() };
        let over = insts.get(slot + 1).filter(|_| off == 1 && targets[slot + 1] == 0);
        match over.copied() {
            Some(Inst::Op(Op::Goto { off: away })) => {
                let test = Test { negated: true, ..test };
                insts[slot] = Inst::Branch { test, off: i32::from(away) + 1 };
                insts[slot + 1] = Inst::Nop;
            }
            Some(over) => {
                let Some((dst, src)) = moved(over) else { continue };
                insts[slot] = Inst::Nop;
                insts[slot + 1] = Inst::Choose { test, dst, src };
            }
            None => {}
        }
    }
}

/// A move that leaves nothing of the old value: destination and source.
fn moved(inst: Inst) -> Option<(Reg, Operand)> {
    match inst {
        Inst::Op(Op::Alu { width, op: AluOp::Mov, dst, src }) => match (width, src) {
            (Width::W64, src) => Some((dst, src)),
            // What is not negative is the same with all bits.
            (Width::W32, Operand::Imm(imm @ 0..)) => Some((dst, Operand::Imm(imm))),
            (Width::W32, _) => None,
        },
        _ => None,
    }
}
