//! Instructions of the second tier.

use bombus_isa::{Operand, Size, Width};

use super::SCRATCH;
use super::emit::Emitter;
use super::encode::{Branch, Cc, Mem};
use crate::jit::optimise::{Address, Inst};

impl Emitter<'_> {
    /// Emits what the optimiser has made at `pc`.
    pub(super) fn fused_instruction(&mut self, inst: Inst, pc: usize) {
        match inst {
            Inst::Nop => {}
            // The walk takes these itself.
            Inst::Op(_) => {}
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
                let (mem, to) = (self.operand(address), self.gpr(dst));
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
                let (to, from) = (self.gpr(dst), self.gpr(src));
                if self.target.bmi2 {
                    self.asm.rorx(width, to, from, right);
                } else {
                    self.asm.mov(width, to, from);
                    self.asm.shift_imm(super::encode::Shift::Ror, width, to, right);
                }
                self.known.forget(dst);
            }
            Inst::Truncate { from, dst, src } => {
                self.asm.extend(from, false, Width::W32, self.gpr(dst), self.gpr(src));
                self.known.forget(dst);
            }
            Inst::Choose { width, cond, a, b, dst, src } => {
                let stays = self.compare(width, cond, a, b);
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
            Inst::JumpIfClear { width, dst, mask, off } => {
                self.asm.test_imm(width, self.gpr(dst), mask);
                self.jump(Branch::Jcc(Cc::E), pc, off.into());
            }
        }
    }

    fn operand(&self, Address { base, index, disp }: Address) -> Mem {
        let index = index.map(|(index, scale)| (self.gpr(index), scale));
        Mem { base: self.gpr(base), index, disp }
    }
}
