//! Jumps over moves become conditional moves.

use bombus_isa::{AluOp, Op, Operand, Reg, Width};

use super::inst::Inst;

/// Does it wherever a jump goes over a single move that nothing else jumps to.
pub(super) fn choose(insts: &mut [Inst]) {
    let mut targets = vec![0u32; insts.len()];
    for (slot, inst) in insts.iter().enumerate() {
        if let Some(distance) = inst.jump() {
            targets[(slot as i64 + 1 + distance) as usize] += 1;
        }
    }
    for slot in 0..insts.len().saturating_sub(2) {
        let Inst::Op(Op::JumpIf { width, cond, dst: a, src: b, off: 1 }) = insts[slot] else {
            continue;
        };
        let Some((dst, src)) = moved(insts[slot + 1]).filter(|_| targets[slot + 1] == 0) else {
            continue;
        };
        insts[slot] = Inst::Nop;
        insts[slot + 1] = Inst::Choose { width, cond, a, b, dst, src };
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
