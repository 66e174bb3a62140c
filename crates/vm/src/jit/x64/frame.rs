//! What a function of the program needs: its frame, its prologue and epilogue.

use std::ops::Range;

use bombus_isa::{Imm64, Op, Operand, Reg};
use bombus_platform::MAX_STACK;

use super::encode::{Arith, Assembler, Gpr, Mem};
use super::{ENVIRONMENT, gpr};
use bombus_isa::{Size, Width};

/// Iterations that `may_goto` allows (`BPF_MAX_LOOPS`, `include/linux/bpf.h`).
const MAX_LOOPS: i32 = 8 * 1024 * 1024;
/// Where the budget of `may_goto` is, from the frame pointer.
const LOOPS: i32 = -(MAX_STACK as i32) - 8;

/// The shape of a function's frame: from the frame pointer down the program's stack, the budget of
/// its loops, saved registers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Frame {
    /// Callee-saved registers that it uses, by number of the program's register.
    saved: u16,
    /// It uses `r10`.
    pointer: bool,
    /// It has `may_goto`.
    loops: bool,
    /// It calls.
    pub(super) calls: bool,
    /// Another function's address is taken here.
    pub(super) takes_functions: bool,
    /// It is entered from outside and its calls need the environment.
    pub(super) environment: bool,
}

impl Frame {
    /// The frame of the function in these slots.
    pub(super) fn of(ops: &[Op], function: Range<usize>) -> Frame {
        let mut frame = Frame::default();
        let mut used = 0u16;
        let mut use_reg = |reg: Reg| used |= 1 << (reg.0 & 15);
        for op in &ops[function] {
            match *op {
                Op::Alu { dst, src, .. } | Op::JumpIf { dst, src, .. } => {
                    use_reg(dst);
                    if let Operand::Reg(src) = src {
                        use_reg(src);
                    }
                }
                Op::Neg { dst, .. } | Op::End { dst, .. } => use_reg(dst),
                Op::LoadImm64 { dst, imm } => {
                    use_reg(dst);
                    frame.takes_functions |= matches!(imm, Imm64::Func(_));
                }
                Op::MovSx { dst, src, .. } | Op::AddrSpaceCast { dst, src, .. } => {
                    use_reg(dst);
                    use_reg(src);
                }
                Op::Load { dst, base, .. } | Op::LoadAcquire { dst, base, .. } => {
                    use_reg(dst);
                    use_reg(base);
                }
                Op::Store { base, src, .. } => {
                    use_reg(base);
                    if let Operand::Reg(src) = src {
                        use_reg(src);
                    }
                }
                Op::Atomic { base, src, .. } | Op::StoreRelease { base, src, .. } => {
                    use_reg(base);
                    use_reg(src);
                }
                Op::CallHelper { .. } | Op::CallLocal { .. } | Op::CallKfunc { .. } => {
                    frame.calls = true;
                }
                Op::MayGoto { .. } => frame.loops = true,
                Op::LoadPacket { .. } | Op::Goto { .. } | Op::GotoLong { .. } | Op::Exit => {}
            }
        }
        frame.saved = used & 0b11_1100_0000;
        frame.pointer = used & (1 << Reg::FP.0) != 0;
        frame
    }

    fn has_stack(self) -> bool {
        self.pointer || self.loops
    }

    /// Bytes below the frame pointer that are no saved registers.
    fn size(self) -> i32 {
        let stack = if self.has_stack() { MAX_STACK as i32 } else { 0 };
        let loops = if self.loops { 8 } else { 0 };
        let pushes = 8 * (self.saved.count_ones() as i32 + i32::from(self.environment));
        // The return address and, with a stack, the caller's frame pointer lie above.
        let above = if self.has_stack() { 16 } else { 8 };
        let misaligned = (above + stack + loops + pushes) % 16 != 0;
        stack + loops + if self.calls && misaligned { 8 } else { 0 }
    }

    fn saved(self) -> impl DoubleEndedIterator<Item = Gpr> {
        let registers = (6..10).filter(move |&reg| self.saved & (1 << reg) != 0);
        let registers = registers.map(|reg| gpr(Reg(reg)));
        registers.chain(self.environment.then_some(ENVIRONMENT))
    }

    /// Opens the frame.
    pub(super) fn open(self, asm: &mut Assembler) {
        if self.has_stack() {
            asm.push(Gpr::RBP);
            asm.mov(Width::W64, Gpr::RBP, Gpr::RSP);
        }
        let size = self.size();
        if size != 0 {
            asm.arith_imm(Arith::Sub, Width::W64, Gpr::RSP, size);
        }
        self.saved().for_each(|reg| asm.push(reg));
        if self.environment {
            asm.mov(Width::W64, ENVIRONMENT, Gpr::R9);
        }
        if self.loops {
            asm.store_imm(Size::Dw, Mem::new(Gpr::RBP, LOOPS), MAX_LOOPS);
        }
    }

    /// Closes it, up to the return.
    pub(super) fn close(self, asm: &mut Assembler) {
        self.saved().rev().for_each(|reg| asm.pop(reg));
        if self.has_stack() {
            asm.leave();
        } else if self.size() != 0 {
            asm.arith_imm(Arith::Add, Width::W64, Gpr::RSP, self.size());
        }
    }

    /// Pays for an iteration: the carry flag says whether the budget was spent before.
    pub(super) fn pay_for_loop(asm: &mut Assembler) {
        let budget = Mem::new(Gpr::RBP, LOOPS);
        asm.arith_imm(Arith::Sub, Width::W64, budget, 1);
    }
}
