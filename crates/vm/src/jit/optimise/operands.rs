//! What is read only to be an operand, or shifted only to be part of an address, is read or shifted by
//! the instruction that wants it; two bytes that become one number are read as one.

use std::ops::Range;

use bombus_isa::{AluOp, Op, Operand, Reg, Size, Width};

use super::inst::{Address, Inst, bit};

/// Slots that two bytes of a number may be apart.
const BYTES_APART: usize = 16;

/// Does so in every block.
pub(super) fn operands(insts: &mut [Inst], blocks: &[Range<usize>], live_after: &mut [u16]) {
    for block in blocks {
        for slot in block.clone() {
            match insts[slot] {
                Inst::Load { size: size @ (Size::W | Size::Dw), signed: false, dst, address } => {
                    let width = if size == Size::Dw { Width::W64 } else { Width::W32 };
                    read_there(insts, slot..block.end, live_after, width, dst, address);
                }
                Inst::Op(Op::Alu {
                    width: Width::W64,
                    op: AluOp::Lsh,
                    dst,
                    src: Operand::Imm(distance @ 1..=3),
                }) => shift_there(insts, slot..block.end, live_after, dst, distance as u8),
                Inst::Op(Op::Alu {
                    op: AluOp::Or | AluOp::Xor | AluOp::Add,
                    dst,
                    src: Operand::Reg(src),
                    ..
                }) if dst != src => {
                    let start = block.start.max(slot.saturating_sub(BYTES_APART));
                    read_both(insts, start..slot, live_after, dst, src);
                }
                _ => {}
            }
        }
    }
}

/// Lets the only instruction that wants what the first one of these loads load it.
fn read_there(
    insts: &mut [Inst],
    range: Range<usize>,
    live_after: &mut [u16],
    width: Width,
    loaded: Reg,
    address: Address,
) {
    for slot in range.start + 1..range.end {
        let inst = insts[slot];
        if inst.uses() & bit(loaded) != 0 {
            let Inst::Op(Op::Alu { width: wanted, op, dst, src }) = inst else { return };
            let takes_memory = matches!(
                op,
                AluOp::Add | AluOp::Sub | AluOp::Mul | AluOp::Or | AluOp::And | AluOp::Xor
            );
            let only = dst != loaded && live_after[slot] & bit(loaded) == 0;
            if wanted == width && takes_memory && only && src == Operand::Reg(loaded) {
                insts[range.start] = Inst::Nop;
                insts[slot] = Inst::AluLoaded { width, op, dst, address };
                live_after[range.start..slot].iter_mut().for_each(|live| *live |= address.uses());
            }
            return;
        }
        if inst.writes_memory() || inst.defs() & (bit(loaded) | address.uses()) != 0 {
            return;
        }
    }
}

/// Lets addresses shift what the first one of these shifts, if nobody else wants it.
fn shift_there(
    insts: &mut [Inst],
    range: Range<usize>,
    live_after: &[u16],
    index: Reg,
    distance: u8,
) {
    let mut changed = Vec::new();
    for slot in range.start + 1..range.end {
        let mut inst = insts[slot];
        if inst.uses() & bit(index) != 0 {
            let others = match inst {
                Inst::Store { src: Operand::Reg(src), .. } => src == index,
                Inst::AluLoaded { dst, .. } => dst == index,
                _ => false,
            };
            let Some(address) = inst.address_mut().filter(|_| !others) else { return };
            let Some(scaled) = scaled(*address, index, distance) else { return };
            *address = scaled;
            changed.push((slot, inst));
        }
        if live_after[slot] & bit(index) == 0 || inst.defs() & bit(index) != 0 {
            insts[range.start] = Inst::Nop;
            changed.into_iter().for_each(|(slot, inst)| insts[slot] = inst);
            return;
        }
    }
}

/// The address with a register in it shifted.
fn scaled(address: Address, shifted: Reg, distance: u8) -> Option<Address> {
    let Address { base, index, disp } = address;
    let (other, scale) = match index {
        Some((index, scale)) if index == shifted && base != shifted => (base, scale + distance),
        Some((index, 0)) if base == shifted && index != shifted => (index, distance),
        _ => return None,
    };
    (scale <= 3).then_some(Address { base: other, index: Some((shifted, scale)), disp })
}

/// `high <<= 8; high |= low` of two bytes that lie side by side: reads them at the end of the range.
fn read_both(
    insts: &mut [Inst],
    range: Range<usize>,
    live_after: &mut [u16],
    high: Reg,
    low: Reg,
) -> Option<()> {
    let (start, slot) = (range.start, range.end);
    // The last that has to do with a register.
    let last = |end: usize, reg: Reg| {
        let touches = |inst: &Inst| (inst.uses() | inst.defs()) & bit(reg) != 0;
        insts[start..end].iter().rposition(touches).map(|at| start + at)
    };
    let byte = |at: usize, reg: Reg| match insts[at] {
        Inst::Load { size: Size::B, signed: false, dst, address } if dst == reg => Some(address),
        _ => None,
    };
    let low_at = last(slot, low)?;
    let shift_at = last(slot, high)?;
    let Inst::Op(Op::Alu { op: AluOp::Lsh, dst: shifted, src: Operand::Imm(8), .. }) =
        insts[shift_at]
    else {
        return None;
    };
    let high_at = last(shift_at, high)?;
    let (first, second) = (byte(high_at, high)?, byte(low_at, low)?);
    let next = |address: Address| Some(Address { disp: address.disp.checked_add(1)?, ..address });
    let (size, dst) = (Size::H, high);
    let both = if next(first) == Some(second) {
        Inst::LoadSwapped { size, dst, address: first }
    } else if next(second) == Some(first) {
        Inst::Load { size, signed: false, dst, address: second }
    } else {
        return None;
    };
    let from = low_at.min(high_at);
    let stays = |inst: &Inst| !inst.writes_memory() && inst.defs() & first.uses() == 0;
    if shifted != high || live_after[slot] & bit(low) != 0 || !insts[from..slot].iter().all(stays) {
        return None;
    }
    [low_at, shift_at, high_at].into_iter().for_each(|at| insts[at] = Inst::Nop);
    insts[slot] = both;
    live_after[from..slot].iter_mut().for_each(|live| *live |= first.uses());
    Some(())
}
