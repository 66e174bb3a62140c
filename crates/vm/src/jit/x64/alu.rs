//! Arithmetic.

use bombus_isa::{AluOp, Endian, Operand, Reg, Size, Width};

use super::emit::{Cold, ColdCode, Emitter};
use super::encode::{Arith, Branch, Cc, Gpr, Shift, Unary};
use super::{SCRATCH, SCRATCH2, SCRATCH3};

/// The processor's operation, where it is one of those with one encoding.
#[inline]
pub(super) fn arith(op: AluOp) -> Option<Arith> {
    match op {
        AluOp::Add => Some(Arith::Add),
        AluOp::Sub => Some(Arith::Sub),
        AluOp::Or => Some(Arith::Or),
        AluOp::And => Some(Arith::And),
        AluOp::Xor => Some(Arith::Xor),
        _ => None,
    }
}

impl Emitter<'_> {
    /// `dst op= src`.
    #[inline]
    pub(super) fn alu(&mut self, width: Width, op: AluOp, dst: Reg, src: Operand) {
        self.alu_in(width, op, self.gpr(dst), src);
    }

    /// The same in any register of the machine.
    #[inline]
    pub(super) fn alu_in(&mut self, width: Width, op: AluOp, d: Gpr, src: Operand) {
        match (arith(op), src) {
            (Some(op), Operand::Reg(src)) => self.asm.arith(op, width, d, self.gpr(src)),
            (Some(op), Operand::Imm(imm)) => self.arith_imm(op, width, d, imm),
            (None, _) => match op {
                AluOp::Mov => self.mov(width, d, src),
                AluOp::Mul => self.mul(width, d, src),
                AluOp::Lsh => self.shift(Shift::Shl, width, d, src),
                AluOp::Rsh => self.shift(Shift::Shr, width, d, src),
                AluOp::Arsh => self.shift(Shift::Sar, width, d, src),
                _ => self.divide(width, op, d, src),
            },
        }
    }

    pub(super) fn arith_imm(&mut self, op: Arith, width: Width, dst: Gpr, imm: i32) {
        match self.visible(imm) {
            // An and with these is a move.
            Some(0xff) if op == Arith::And => {
                self.asm.extend(Size::B, false, width, dst, dst);
            }
            Some(0xffff) if op == Arith::And => {
                self.asm.extend(Size::H, false, width, dst, dst);
            }
            // 128 does not fit a signed byte, -128 does.
            Some(128) if op == Arith::Add => self.asm.arith_imm(Arith::Sub, width, dst, -128),
            Some(128) if op == Arith::Sub => self.asm.arith_imm(Arith::Add, width, dst, -128),
            // A positive mask leaves nothing above bit 31.
            Some(imm) if op == Arith::And && imm >= 0 => {
                self.asm.arith_imm(op, Width::W32, dst, imm);
            }
            Some(imm) => self.asm.arith_imm(op, width, dst, imm),
            None => {
                self.constant(SCRATCH, imm as u64);
                self.asm.arith(op, width, dst, SCRATCH);
            }
        }
    }

    fn mov(&mut self, width: Width, dst: Gpr, src: Operand) {
        match (src, width) {
            (Operand::Reg(src), Width::W64) if self.gpr(src) == dst => {}
            (Operand::Reg(src), _) => self.asm.mov(width, dst, self.gpr(src)),
            (Operand::Imm(0), _) => self.asm.clear(dst),
            (Operand::Imm(imm), Width::W64) => self.constant(dst, imm as u64),
            (Operand::Imm(imm), Width::W32) => self.constant(dst, imm as u32 as u64),
        }
    }

    fn mul(&mut self, width: Width, dst: Gpr, src: Operand) {
        match src {
            Operand::Reg(src) => self.asm.imul(width, dst, self.gpr(src)),
            Operand::Imm(imm) => match self.visible(imm) {
                Some(imm) => self.asm.imul_imm(width, dst, dst, imm),
                None => {
                    self.constant(SCRATCH, imm as u64);
                    self.asm.imul(width, dst, SCRATCH);
                }
            },
        }
    }

    fn shift(&mut self, op: Shift, width: Width, dst: Gpr, src: Operand) {
        let bits = if width == Width::W64 { 63 } else { 31 };
        match src {
            Operand::Imm(imm) => match (imm & bits, width) {
                (0, Width::W64) => {}
                (0, Width::W32) => self.asm.mov(Width::W32, dst, dst),
                (distance, _) => self.asm.shift_imm(op, width, dst, distance as u8),
            },
            Operand::Reg(src) if self.target.bmi2 => {
                self.asm.shift_reg(op, width, dst, dst, self.gpr(src));
            }
            Operand::Reg(src) => self.shift_by_cl(op, width, dst, self.gpr(src)),
        }
    }

    /// Without BMI2 the distance must be in `cl`.
    fn shift_by_cl(&mut self, op: Shift, width: Width, dst: Gpr, src: Gpr) {
        if src == Gpr::RCX && dst != Gpr::RCX {
            self.asm.shift_cl(op, width, dst);
            if width == Width::W32 {
                // By a distance of zero nothing is written, and the upper half must go.
                self.asm.mov(Width::W32, dst, dst);
            }
            return;
        }
        self.asm.mov(Width::W64, SCRATCH, Gpr::RCX);
        self.asm.mov(Width::W64, SCRATCH2, dst);
        self.asm.mov(Width::W64, Gpr::RCX, src);
        self.asm.shift_cl(op, width, SCRATCH2);
        self.asm.mov(Width::W64, Gpr::RCX, SCRATCH);
        self.asm.mov(width, dst, SCRATCH2);
    }

    pub(super) fn endian(&mut self, order: Endian, size: Size, dst: Gpr) {
        match (order, size) {
            (Endian::Le, Size::Dw) => {}
            (Endian::Le, Size::W) => self.asm.mov(Width::W32, dst, dst),
            (Endian::Le, size) => self.asm.extend(size, false, Width::W32, dst, dst),
            (_, Size::Dw) => self.asm.bswap(Width::W64, dst),
            (_, Size::W) => self.asm.bswap(Width::W32, dst),
            (_, size) => {
                self.asm.swap16(dst);
                self.asm.extend(size, false, Width::W32, dst, dst);
            }
        }
    }

    /// Division and remainder: the processor wants them in `rax` and `rdx`.
    fn divide(&mut self, width: Width, op: AluOp, dst: Gpr, src: Operand) {
        let signed = matches!(op, AluOp::Sdiv | AluOp::Smod);
        let remainder = matches!(op, AluOp::Mod | AluOp::Smod);
        if let Operand::Imm(imm) = src
            && self.divide_by_constant(width, op, dst, imm)
        {
            return;
        }
        let (rax, rdx) = (Gpr::RAX, Gpr::RDX);
        match src {
            Operand::Reg(src) => self.asm.mov(width, SCRATCH, self.gpr(src)),
            Operand::Imm(imm) => self.constant(SCRATCH, imm as u64),
        }
        let keep_rax = dst != rax && self.is_live(Reg::R0);
        let keep_rdx = dst != rdx && self.is_live(Reg::R3);
        if keep_rax {
            self.asm.mov(Width::W64, SCRATCH2, rax);
        }
        if keep_rdx {
            self.asm.mov(Width::W64, SCRATCH3, rdx);
        }
        if dst != rax {
            self.asm.mov(width, rax, dst);
        } else if width == Width::W32 {
            self.asm.mov(width, rax, rax);
        }
        let mut cold = Vec::new();
        if matches!(src, Operand::Reg(_)) {
            self.asm.test(width, SCRATCH, SCRATCH);
            let by_zero = if remainder { ColdCode::Move(rdx, rax) } else { ColdCode::Clear(rax) };
            cold.push((self.asm.branch(Branch::Jcc(Cc::E)), by_zero));
            if signed {
                // The smallest number by -1 would trap.
                self.asm.arith_imm(Arith::Cmp, width, SCRATCH, -1);
                let by_minus_one =
                    if remainder { ColdCode::Clear(rdx) } else { ColdCode::Negate(width, rax) };
                cold.push((self.asm.branch(Branch::Jcc(Cc::E)), by_minus_one));
            }
        }
        if signed {
            self.asm.sign_into_rdx(width);
            self.asm.unary(Unary::Idiv, width, SCRATCH);
        } else {
            self.asm.clear(rdx);
            self.asm.unary(Unary::Div, width, SCRATCH);
        }
        let to = self.asm.len();
        self.cold.extend(cold.into_iter().map(|(from, what)| Cold { from, to, what }));
        let result = if remainder { rdx } else { rax };
        if dst != result {
            self.asm.mov(Width::W64, dst, result);
        }
        if keep_rax {
            self.asm.mov(Width::W64, rax, SCRATCH2);
        }
        if keep_rdx {
            self.asm.mov(Width::W64, rdx, SCRATCH3);
        }
    }

    /// Divisions that are none; false if this is one.
    fn divide_by_constant(&mut self, width: Width, op: AluOp, dst: Gpr, imm: i32) -> bool {
        let truncate = |emitter: &mut Self| {
            if width == Width::W32 {
                emitter.asm.mov(Width::W32, dst, dst);
            }
        };
        match (op, imm) {
            (AluOp::Div | AluOp::Sdiv, 0) | (AluOp::Mod, 1) | (AluOp::Smod, 1 | -1) => {
                self.asm.clear(dst);
            }
            (AluOp::Mod | AluOp::Smod, 0) | (AluOp::Div | AluOp::Sdiv, 1) => truncate(self),
            (AluOp::Sdiv, -1) => self.asm.unary(Unary::Neg, width, dst),
            (AluOp::Div, 2..) if imm.count_ones() == 1 => {
                self.asm.shift_imm(Shift::Shr, width, dst, imm.trailing_zeros() as u8);
            }
            (AluOp::Mod, 2..) if imm.count_ones() == 1 => {
                self.arith_imm(Arith::And, width, dst, imm - 1);
            }
            _ => return false,
        }
        true
    }
}
