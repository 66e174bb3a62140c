//! What a function of the program needs: its frame, its prologue and epilogue.

use bombus_isa::{Op, Reg, Size, Width};
use bombus_platform::MAX_STACK;

use super::encode::{Arith, Assembler, Gpr, Mem};
use super::{ENVIRONMENT, HOMES};
use crate::MAX_LOOPS;
use crate::jit::optimise::Inst;
use crate::program::Uses;

/// Where the budget of `may_goto` is, from the frame pointer.
const LOOPS: i32 = -(MAX_STACK as i32) - 8;

/// Registers that a function must leave as they were, a bit each.
const CALLEE_SAVED: u16 =
    1 << Gpr::RBX.0 | 1 << Gpr::R12.0 | 1 << Gpr::R13.0 | 1 << Gpr::R14.0 | 1 << Gpr::R15.0;

/// The shape of a function's frame: from the frame pointer down the program's stack, the budget of
/// its loops, saved registers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Frame {
    /// Registers that it saves, a bit each.
    saved: u16,
    /// It uses `r10`.
    pointer: bool,
    /// It has `may_goto`.
    loops: bool,
    /// It calls.
    calls: bool,
    /// It takes the environment from its caller, for it is entered from outside.
    environment: bool,
}

fn is_call(inst: Inst) -> bool {
    matches!(inst, Inst::Op(Op::CallHelper { .. } | Op::CallLocal { .. } | Op::LoadPacket { .. }))
}

/// What a function of these instructions uses.
fn uses_of(insts: impl Iterator<Item = Inst>) -> Uses {
    insts.fold(Uses::default(), |uses, inst| Uses {
        registers: uses.registers | inst.uses() | inst.defs(),
        calls: uses.calls | is_call(inst),
        loops: uses.loops | matches!(inst, Inst::Op(Op::MayGoto { .. })),
    })
}

impl Frame {
    /// The frame of a function.
    pub(super) fn new(uses: Uses, homes: &[Gpr; 16], environment: bool) -> Frame {
        let Uses { registers, calls, loops } = uses;
        let used = |reg: &usize| registers & (1 << reg) != 0;
        let mut saved = (0..16).filter(used).fold(0, |saved, reg| saved | 1 << homes[reg].0);
        saved &= CALLEE_SAVED;
        if environment {
            saved |= 1 << ENVIRONMENT.0;
        }
        let pointer = registers & (1 << Reg::FP.0) != 0;
        Frame { saved, pointer, loops, calls, environment }
    }

    /// The frame of a function of these instructions.
    pub(super) fn of(
        insts: impl Iterator<Item = Inst>,
        homes: &[Gpr; 16],
        environment: bool,
    ) -> Frame {
        Frame::new(uses_of(insts), homes, environment)
    }

    /// Registers that a function has no use for, and may keep something in over all that it does.
    /// The environment's is not among them if there is one.
    pub(super) fn free_registers(uses: Uses, environment: bool) -> Vec<Gpr> {
        // Divisions need rax and rdx.
        let candidates: &[u8] = if uses.calls { &[9, 8, 7, 6] } else { &[5, 4, 2, 1, 9, 8, 7, 6] };
        let free = candidates.iter().filter(|&reg| uses.registers & (1 << reg) == 0);
        let free = free.map(|&reg| HOMES[usize::from(reg)]);
        free.chain((!environment).then_some(ENVIRONMENT)).take(5).collect()
    }

    fn has_stack(self) -> bool {
        self.pointer || self.loops
    }

    /// Bytes below the frame pointer that are no saved registers.
    fn size(self) -> i32 {
        let stack = if self.has_stack() { MAX_STACK as i32 } else { 0 };
        let loops = if self.loops { 8 } else { 0 };
        let pushes = 8 * self.saved.count_ones() as i32;
        // The return address and, with a stack, the caller's frame pointer lie above.
        let above = if self.has_stack() { 16 } else { 8 };
        let misaligned = (above + stack + loops + pushes) % 16 != 0;
        stack + loops + if self.calls && misaligned { 8 } else { 0 }
    }

    fn saved(self) -> impl DoubleEndedIterator<Item = Gpr> {
        (0..16).filter(move |reg| self.saved & (1 << reg) != 0).map(Gpr)
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
            asm.store_imm(Size::Dw, Mem::new(Gpr::RBP, LOOPS), MAX_LOOPS as i32);
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
