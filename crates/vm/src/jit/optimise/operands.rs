//! What is read only to be an operand, or shifted only to be part of an address, is read or shifted by
//! the instruction that wants it.

use std::ops::Range;

use bombus_isa::{AluOp, Op, Operand, Reg, Size, Width};

use super::inst::{Address, Inst, bit};

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
