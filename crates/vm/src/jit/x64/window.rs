//! What the first tier makes one instruction of, looking at a few that follow each other.
//!
//! Nothing is known here of who reads a register later, so every register gets what the program says;
//! only what is overwritten within the window need not be made.

use bombus_isa::{AluOp, Endian, Op, Operand, Reg, Size, Width};

use super::emit::Emitter;
use super::encode::{Mem, Shift};

/// Whether a window may begin with these two; most do not.
#[inline]
pub(super) fn may_fuse(first: Op, second: Option<Op>) -> bool {
    match (first, second) {
        (Op::Load { dst, .. }, Some(Op::End { dst: next, .. })) => dst == next,
        (Op::Alu { op: AluOp::Mov | AluOp::Lsh, dst, .. }, Some(Op::Alu { dst: next, .. })) => {
            dst == next
        }
        _ => false,
    }
}

impl Emitter<'_> {
    /// Emits the first instructions of a window together, if there is a way; gives how many.
    #[inline]
    pub(super) fn fused(&mut self, window: &[Op]) -> Option<usize> {
        match *window {
            [
                Op::Load { size, signed: false, dst, base, off },
                Op::End { order, size: swapped, dst: end },
                ..,
            ] if (size, dst) == (swapped, end) && !matches!(order, Endian::Le) => {
                self.load_swapped(size, dst, self.displaced(base, off));
                self.known.forget(dst);
                Some(2)
            }
            [
                Op::Alu { width, op: AluOp::Mov, dst, src: Operand::Reg(src) },
                Op::Alu { dst: next, .. },
                ..,
            ] if dst == next => {
                let slots = self.moved(width, dst, src, &window[1..])?;
                self.known.forget(dst);
                Some(slots)
            }
            [
                Op::Alu { width: Width::W64, op: AluOp::Lsh, dst, src: Operand::Imm(32) },
                Op::Alu { width: Width::W64, op, dst: next, src: Operand::Imm(32) },
                ..,
            ] if dst == next && matches!(op, AluOp::Rsh | AluOp::Arsh) => {
                // What compilers without 32-bit operations write.
                let (d, signed) = (self.gpr(dst), op == AluOp::Arsh);
                self.asm.extend(Size::W, signed, Width::W64, d, d);
                self.known.forget(dst);
                Some(2)
            }
            _ => None,
        }
    }

    /// `dst = src` and what follows, which begins with an operation on `dst`; gives how many
    /// instructions that were.
    fn moved(&mut self, width: Width, dst: Reg, src: Reg, rest: &[Op]) -> Option<usize> {
        let Op::Alu { width: next, op, src: operand, .. } = rest[0] else { return None };
        if dst == src {
            return None;
        }
        let (d, s) = (self.gpr(dst), self.gpr(src));
        // Only the low half counts for what makes no more of it.
        let whole = width == Width::W64;
        if !whole && next == Width::W64 {
            return None;
        }
        match (op, operand) {
            (AluOp::Add, Operand::Imm(disp)) => {
                let disp = self.visible(disp)?;
                self.sum(next, dst, Mem::new(s, disp), &rest[1..])
            }
            (AluOp::Add, Operand::Reg(index)) if index != dst => {
                let mem = Mem { base: s, index: Some((self.gpr(index), 0)), disp: 0 };
                self.sum(next, dst, mem, &rest[1..])
            }
            (AluOp::Lsh, Operand::Imm(1)) => {
                self.asm.lea(next, d, Mem { base: s, index: Some((s, 0)), disp: 0 });
                Some(2)
            }
            (AluOp::Lsh | AluOp::Rsh, Operand::Imm(distance)) if width == next => {
                self.rotation(width, dst, src, op, distance, &rest[1..])
            }
            _ => None,
        }
    }

    /// `dst = address`, or what is there if that is all that is wanted of it.
    fn sum(&mut self, width: Width, dst: Reg, mem: Mem, rest: &[Op]) -> Option<usize> {
        let d = self.gpr(dst);
        if let Some(&Op::Load { size, signed, dst: into, base, off }) = rest.first()
            && (into, base, width) == (dst, dst, Width::W64)
            && let Some(disp) = mem.disp.checked_add(off.into())
        {
            self.asm.load(size, signed, d, Mem { disp, ..mem });
            return Some(3);
        }
        self.asm.lea(width, d, mem);
        Some(2)
    }

    /// `other = src; other >>= b; src <<= a; src |= other` and the like: a rotation of `src`, and
    /// `other` as the program has it.
    fn rotation(
        &mut self,
        width: Width,
        other: Reg,
        src: Reg,
        op: AluOp,
        distance: i32,
        rest: &[Op],
    ) -> Option<usize> {
        // The other shift may be of a copy, too.
        let (result, rest, moves) = match rest {
            [Op::Alu { width: w, op: AluOp::Mov, dst, src: Operand::Reg(of) }, rest @ ..]
                if (*w, *of) == (width, src) && *dst != other =>
            {
                (*dst, rest, 1)
            }
            _ => (src, rest, 0),
        };
        let [
            Op::Alu { width: w1, op: shift, dst: d1, src: Operand::Imm(back) },
            Op::Alu {
                width: w2,
                op: AluOp::Or | AluOp::Xor | AluOp::Add,
                dst: d2,
                src: Operand::Reg(of),
            },
            ..,
        ] = *rest
        else {
            return None;
        };
        let bits = if width == Width::W64 { 64 } else { 32 };
        let opposite = matches!((op, shift), (AluOp::Lsh, AluOp::Rsh) | (AluOp::Rsh, AluOp::Lsh));
        let fits = opposite && (w1, w2, d1) == (width, width, result) && distance + back == bits;
        if !fits || (d2, of) != (result, other) || distance <= 0 || back <= 0 {
            return None;
        }
        let (o, s, r) = (self.gpr(other), self.gpr(src), self.gpr(result));
        let right = if op == AluOp::Rsh { distance } else { back };
        let shift = if op == AluOp::Rsh { Shift::Shr } else { Shift::Shl };
        self.asm.mov(width, o, s);
        self.rotate(width, r, s, right as u8);
        self.asm.shift_imm(shift, width, o, distance as u8);
        self.known.forget(result);
        Some(4 + moves)
    }
}
