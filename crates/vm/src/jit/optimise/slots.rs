//! Words of the stack become registers.
//!
//! What a compiler has spilled for want of an eleventh register, a processor with sixteen may keep.
//! Only words count that are always read and written whole, in functions where the frame pointer is
//! used for nothing but such accesses: else anything might point there.

use bombus_isa::{AluOp, Op, Operand, Reg, Size, Width};

use super::inst::{Inst, bit};

/// The number of the first register that programs do not have.
pub const FIRST_EXTRA: u8 = 11;
/// Words of a frame.
const WORDS: usize = bombus_platform::MAX_STACK / 8;

/// A word, as far as it was seen.
#[derive(Clone, Copy, Default)]
struct Word {
    accesses: u32,
    size: Option<Size>,
    /// It is not always read and written whole.
    mixed: bool,
}

/// Turns as many words as there are `extra` registers into these, most used first.
pub(super) fn promote(insts: &mut [Inst], extra: usize) {
    if extra == 0 {
        return;
    }
    let Some(words) = words(insts) else { return };
    let mut best: Vec<usize> =
        (0..WORDS).filter(|&at| words[at].accesses > 1 && !words[at].mixed).collect();
    best.sort_by_key(|&at| std::cmp::Reverse(words[at].accesses));
    best.truncate(extra);
    let register = |off: i16| {
        let at = word(off)?;
        let index = best.iter().position(|&best| best == at)?;
        Some(Reg(FIRST_EXTRA + index as u8))
    };
    for inst in insts {
        let Inst::Op(op) = inst else { continue };
        let width = |size| if size == Size::Dw { Width::W64 } else { Width::W32 };
        let mov = |width, dst, src| Op::Alu { width, op: AluOp::Mov, dst, src };
        *op = match *op {
            Op::Load { size, signed, dst, base: Reg::FP, off } => match register(off) {
                Some(src) if signed => Op::MovSx { width: Width::W64, from: size, dst, src },
                Some(src) => mov(width(size), dst, Operand::Reg(src)),
                None => continue,
            },
            Op::Store { size, base: Reg::FP, off, src } => match register(off) {
                Some(dst) => mov(width(size), dst, src),
                None => continue,
            },
            _ => continue,
        };
    }
}

/// The word of an access at this offset.
fn word(off: i16) -> Option<usize> {
    let at = usize::try_from(i32::from(off) + bombus_platform::MAX_STACK as i32).ok()?;
    (at < 8 * WORDS).then_some(at / 8)
}

/// Every word of the frame; `None` if something may point into it.
fn words(insts: &[Inst]) -> Option<[Word; WORDS]> {
    let mut words = [Word::default(); WORDS];
    for inst in insts {
        if (inst.uses() | inst.defs()) & bit(Reg::FP) == 0 {
            continue;
        }
        let (size, off) = match *inst {
            Inst::Op(Op::Load { size, base: Reg::FP, off, .. }) => (size, off),
            Inst::Op(Op::Store { size, base: Reg::FP, off, src, .. })
                if src != Operand::Reg(Reg::FP) =>
            {
                (size, off)
            }
            Inst::Op(Op::Atomic { base: Reg::FP, src, off, .. }) if src != Reg::FP => {
                words[word(off)?].mixed = true;
                continue;
            }
            _ => return None,
        };
        let word = &mut words[word(off)?];
        let whole = matches!(size, Size::Dw | Size::W) && off % 8 == 0;
        word.mixed |= !whole || word.size.is_some_and(|other| other != size);
        word.size = Some(size);
        word.accesses += 1;
    }
    Some(words)
}
