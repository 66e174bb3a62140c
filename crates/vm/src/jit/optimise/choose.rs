//! Conditional jumps: over a jump, they are one jump; over a move or a quick operation, no jump at
//! all.

use bombus_isa::{AluOp, Op, Operand, Width};

use super::inst::{Inst, Test};
use crate::program::target;

/// Does it wherever nothing else jumps to what is jumped over.
pub(super) fn choose(insts: &mut [Inst]) {
    let mut targets = vec![0u32; insts.len() + 1];
    for (slot, inst) in insts.iter().enumerate() {
        if let Some(distance) = inst.jump() {
            targets[target(slot, distance)] += 1;
        }
    }
    for slot in 0..insts.len() {
        let Inst::Op(Op::JumpIf { width, cond, dst: a, src: b, off }) = insts[slot] else {
            continue;
        };
        let test = Test { width, cond, negated: false, a, b };
        insts[slot] = Inst::Branch { test, off: off.into() };
        if let Some(all) = all_over(&insts[slot + 1..], test, off)
            && targets[slot + 1..slot + 4] == [0, 1, 0]
        {
            insts[slot] = Inst::Branch { test, off: all };
            insts[slot + 2] = Inst::Nop;
            continue;
        }
        let over = insts.get(slot + 1).filter(|_| targets[slot + 1] == 0);
        match over.copied() {
            Some(Inst::Op(Op::Goto { off: away })) if off == 1 => {
                let test = Test { negated: true, ..test };
                insts[slot] = Inst::Branch { test, off: i32::from(away) + 1 };
                insts[slot + 1] = Inst::Nop;
            }
            Some(Inst::Op(over)) => {
                let after = insts.get(slot + 2).copied();
                if !skips_one(off, after.and_then(Inst::op)) {
                    continue;
                }
                let Some(chosen) = chosen(test, over) else { continue };
                insts[slot] = Inst::Nop;
                insts[slot + 1] = chosen;
            }
            _ => {}
        }
    }
}

/// The distance of one jump over both operations, where two jumps after each other ask the same.
fn all_over(after: &[Inst], test: Test, off: i16) -> Option<i32> {
    let [Inst::Op(over), Inst::Op(again), Inst::Op(Op::Alu { .. }), rest @ ..] = after else {
        return None;
    };
    let second = asks_again(test, *over, *again).filter(|_| off == 1)?;
    let is_over_one = skips_one(second, rest.first().copied().and_then(Inst::op));
    is_over_one.then_some(i32::from(second) + 2)
}

/// The distance of a jump that asks what the one before asked, when what stands between changes nothing
/// of the answer. Compilers make these of `if` with several statements; to jump over all of them is less
/// work than to choose each result (so GCC has it).
#[inline]
pub(crate) fn asks_again(test: Test, over: Op, again: Op) -> Option<i16> {
    let Op::Alu { dst: changed, .. } = over else { return None };
    let Op::JumpIf { width, cond, dst: a, src: b, off } = again else { return None };
    let is_same = test == Test { width, cond, negated: false, a, b };
    (is_same && changed != a && b != Operand::Reg(changed)).then_some(off)
}

/// Whether a jump by this distance does without the next instruction and nothing else: it goes behind
/// it, or where what stands there goes.
#[inline]
pub(crate) fn skips_one(off: i16, after: Option<Op>) -> bool {
    match after {
        _ if off == 1 => true,
        Some(Op::Goto { off: away }) => i32::from(off) == i32::from(away) + 2,
        _ => false,
    }
}

/// What does the same without a jump as a jump over this.
pub(crate) fn chosen(test: Test, over: Op) -> Option<Inst> {
    let Op::Alu { width, op, dst, src } = over else { return None };
    Some(match (op, width, src) {
        // A move leaves nothing of the old value.
        (AluOp::Mov, Width::W64, src) => Inst::Choose { test, dst, src },
        // What is not negative is the same with all bits.
        (AluOp::Mov, Width::W32, Operand::Imm(imm @ 0..)) => {
            Inst::Choose { test, dst, src: Operand::Imm(imm) }
        }
        (
            AluOp::Add
            | AluOp::Sub
            | AluOp::Or
            | AluOp::And
            | AluOp::Xor
            | AluOp::Lsh
            | AluOp::Rsh
            | AluOp::Arsh,
            width,
            Operand::Imm(imm),
        ) => Inst::ChooseAlu { test, width, op, dst, imm },
        _ => return None,
    })
}
