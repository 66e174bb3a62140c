//! Instructions of the second tier.

use bombus_isa::{Operand, Reg, Size, Width};

use super::SCRATCH;
use super::alu::arith;
use super::emit::Emitter;
use super::encode::{Cc, Gpr, Mem, Shift};
use crate::jit::optimise::{Address, Inst, Test};

impl Emitter<'_> {
    /// Emits what the optimiser has made.
    pub(super) fn fused_instruction(&mut self, inst: Inst) {
        match inst {
            Inst::Nop => {}
            // The walk takes these itself.
            Inst::Op(_) | Inst::Branch { .. } => {}
            Inst::Lea { dst, address } => {
                let mem = self.operand(address);
                self.asm.lea(Width::W64, self.gpr(dst), mem);
                self.known.forget(dst);
            }
            Inst::Load { size, signed, dst, address } => {
                let mem = self.operand(address);
                self.asm.load(size, signed, self.gpr(dst), mem);
                self.known.forget(dst);
            }
            Inst::LoadSwapped { size, dst, address } => {
                let mem = self.operand(address);
                self.load_swapped(size, dst, mem);
                self.known.forget(dst);
            }
            Inst::AluLoaded { width, op, dst, address } => {
                let (mem, to) = (self.operand(address), self.gpr(dst));
                match arith(op) {
                    Some(op) => self.asm.arith_mem(op, width, to, mem),
                    // No other takes an operand in memory.
                    None => self.asm.imul(width, to, mem),
                }
                self.known.forget(dst);
            }
            Inst::Store { size, address, src } => {
                let mem = self.operand(address);
                match src {
                    Operand::Reg(src) => self.asm.store(size, mem, self.gpr(src)),
                    Operand::Imm(imm) => self.asm.store_imm(size, mem, imm),
                }
            }
            Inst::Rotate { width, dst, src, right } => {
                self.rotate(width, self.gpr(dst), self.gpr(src), right);
                self.known.forget(dst);
            }
            Inst::Truncate { from, dst, src } => {
                self.asm.extend(from, false, Width::W32, self.gpr(dst), self.gpr(src));
                self.known.forget(dst);
            }
            Inst::ChooseAlu { test, width, op, dst, imm } => {
                // The operation changes flags, so it comes first, away from what is compared.
                let home = self.gpr(dst);
                self.asm.mov(Width::W64, SCRATCH, home);
                self.alu_in(width, op, SCRATCH, Operand::Imm(imm));
                let stays = self.test(test);
                self.asm.cmov(stays.negated(), Width::W64, home, SCRATCH);
                self.known.forget(dst);
            }
            Inst::Choose { test, dst, src } => {
                let stays = self.test(test);
                let from = match src {
                    Operand::Reg(src) => self.gpr(src),
                    Operand::Imm(imm) => {
                        // Moves leave the flags alone.
                        self.asm.mov_imm(SCRATCH, imm as u64);
                        SCRATCH
                    }
                };
                self.asm.cmov(stays.negated(), Width::W64, self.gpr(dst), from);
                self.known.forget(dst);
            }
        }
    }

    /// Asks; gives the condition under which the answer is yes.
    pub(super) fn test(&mut self, test: Test) -> Cc {
        let cc = self.compare(test.width, test.cond, test.a, test.b);
        if test.negated { cc.negated() } else { cc }
    }

    /// `dst = bytes of mem reversed`, zero-extended.
    pub(super) fn load_swapped(&mut self, size: Size, dst: Reg, mem: Mem) {
        let to = self.gpr(dst);
        if size == Size::H {
            self.asm.load(size, false, to, mem);
            self.asm.swap16(to);
        } else if self.target.movbe {
            self.asm.movbe(size, to, mem);
        } else {
            let width = if size == Size::Dw { Width::W64 } else { Width::W32 };
            self.asm.load(size, false, to, mem);
            self.asm.bswap(width, to);
        }
    }

    /// `to = from` rotated right.
    pub(super) fn rotate(&mut self, width: Width, to: Gpr, from: Gpr, right: u8) {
        if self.target.bmi2 {
            self.asm.rorx(width, to, from, right);
        } else {
            self.asm.mov(width, to, from);
            self.asm.shift_imm(Shift::Ror, width, to, right);
        }
    }

    fn operand(&self, Address { base, index, disp }: Address) -> Mem {
        let index = index.map(|(index, scale)| (self.gpr(index), scale));
        Mem { base: self.gpr(base), index, disp }
    }
}
