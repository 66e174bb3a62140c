//! Going back along a path to find out which numbers decided what became of it: these are precise,
//! the others may be any (`kernel/bpf/backtrack.c`).

use bombus_isa::{AluOp, AtomicOp, Op, Operand};

use super::history::{Jump, Link};
use crate::code::Code;
use crate::state::{FP, MAX_FRAMES};

/// The registers that carry arguments.
const ARGUMENTS: u32 = 0b11_1110;

/// Which wanted registers an instruction has something to do with when it is passed on the way back:
/// a bit each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Concerns(u16);

impl Concerns {
    /// Whatever is wanted.
    const ALL: u16 = 1 << 15;
    /// Stack slots, when it is in the history.
    const SLOTS: u16 = 1 << 14;

    /// Of the instruction in a slot. Those that nothing is known of concern all.
    pub(crate) fn of(code: &Code, slot: usize) -> Concerns {
        let bit = |register: bombus_isa::Reg| 1 << register.0;
        let Some(op) = code.op(slot) else {
            return Concerns(if code.is_argument_access(slot) { Concerns::ALL } else { 0 });
        };
        Concerns(match op {
            Op::Neg { .. } | Op::End { .. } | Op::Goto { .. } | Op::GotoLong { .. } => 0,
            Op::MayGoto { .. } | Op::JumpIf { src: Operand::Imm(_), .. } => 0,
            Op::Alu { dst, .. }
            | Op::MovSx { dst, .. }
            | Op::AddrSpaceCast { dst, .. }
            | Op::Load { dst, .. }
            | Op::LoadAcquire { dst, .. }
            | Op::LoadImm64 { dst, .. } => bit(dst),
            Op::Store { base, .. } => bit(base) | Concerns::SLOTS,
            Op::JumpIf { dst, src: Operand::Reg(src), .. } => bit(dst) | bit(src),
            _ => Concerns::ALL,
        })
    }
}

/// What must be precise before an instruction: a bit a register, and a bit a stack slot, of each
/// frame (`struct backtrack_state`).
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// The innermost frame at the instruction.
    pub frame: usize,
    registers: [u32; MAX_FRAMES],
    slots: [u64; MAX_FRAMES],
}

/// The path cannot be followed back: all must be precise.
#[derive(Debug)]
pub(crate) struct Lost;

impl Wanted {
    /// Nothing, from a frame on.
    pub(crate) fn new(frame: usize) -> Wanted {
        Wanted { frame, ..Wanted::default() }
    }

    /// Nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        let top = self.frame.min(MAX_FRAMES - 1);
        if self.registers[top] != 0 {
            return false;
        }
        let frames = ..=top;
        self.registers[frames].iter().all(|set| *set == 0)
            && self.slots[frames].iter().all(|set| *set == 0)
    }

    /// Whether the instruction has something to do with what is wanted.
    pub(super) fn is_met_by(&self, concerns: Concerns, jump: Option<&Jump>) -> bool {
        let slots = if jump.is_some() { Concerns::SLOTS } else { 0 };
        let wanted = self.registers[self.frame] as u16 | slots | Concerns::ALL;
        wanted & concerns.0 != 0 || jump.is_some_and(|jump| jump.links.len() > 0)
    }

    /// The registers of a frame.
    pub(crate) fn registers(&self, frame: usize) -> u32 {
        self.registers[frame]
    }

    /// The stack slots of a frame.
    pub(crate) fn slots(&self, frame: usize) -> u64 {
        self.slots[frame]
    }

    /// A register is wanted.
    pub(crate) fn want_register(&mut self, frame: usize, register: usize) {
        self.registers[frame] |= 1 << register;
    }

    /// A stack slot is wanted.
    pub(crate) fn want_slot(&mut self, frame: usize, slot: usize) {
        self.slots[frame] |= 1 << slot;
    }

    /// A register is no longer wanted.
    pub(crate) fn drop_register(&mut self, frame: usize, register: usize) {
        self.registers[frame] &= !(1 << register);
    }

    /// A stack slot is no longer wanted.
    pub(crate) fn drop_slot(&mut self, frame: usize, slot: usize) {
        self.slots[frame] &= !(1 << slot);
    }

    fn wants(&self, register: usize) -> bool {
        self.registers[self.frame] & 1 << register != 0
    }

    fn want(&mut self, register: usize) {
        self.want_register(self.frame, register);
    }

    fn forget(&mut self, register: usize) {
        self.drop_register(self.frame, register);
    }

    fn wants_link(&self, link: Link) -> bool {
        let (frame, place) = (usize::from(link.frame), link.place);
        match link.is_register {
            true => self.registers[frame] & 1 << place != 0,
            false => self.slots[frame] & 1 << place != 0,
        }
    }

    /// When one of those that depend on each other is wanted, all are.
    fn follow_links(&mut self, jump: Option<&Jump>) {
        let Some(jump) = jump else { return };
        if jump.links.iter().any(|link| self.wants_link(link)) {
            for link in jump.links.iter() {
                match link.is_register {
                    true => self.want_register(link.frame.into(), link.place.into()),
                    false => self.want_slot(link.frame.into(), link.place.into()),
                }
            }
        }
    }

    fn enter_callee(&mut self) -> Result<(), Lost> {
        if self.frame + 1 >= MAX_FRAMES {
            return Err(Lost);
        }
        self.frame += 1;
        Ok(())
    }

    fn leave_callee(&mut self) -> Result<(), Lost> {
        self.frame = self.frame.checked_sub(1).ok_or(Lost)?;
        Ok(())
    }

    /// What is wanted before the instruction at `slot`, given what is after it, where
    /// `next` is the slot that ran after it (-1: none).
    pub(crate) fn before(
        &mut self,
        code: &Code,
        slot: usize,
        next: i32,
        jump: Option<&Jump>,
    ) -> Result<(), Lost> {
        let Some(op) = code.op(slot) else {
            return if code.is_argument_access(slot) { Err(Lost) } else { Ok(()) };
        };
        self.follow_links(jump);
        match op {
            Op::Neg { .. } | Op::End { .. } => return Ok(()),
            Op::Alu { op: AluOp::Mov, dst, src, .. } => {
                self.moved(usize::from(dst.0), operand(src));
                return Ok(());
            }
            Op::MovSx { dst, src, .. } | Op::AddrSpaceCast { dst, src, .. } => {
                self.moved(usize::from(dst.0), Some(usize::from(src.0)));
                return Ok(());
            }
            Op::Alu { dst, src, .. } => {
                if self.wants(dst.0.into())
                    && let Some(src) = operand(src)
                    && src != FP
                {
                    self.want(src);
                }
                return Ok(());
            }
            Op::Load { dst, .. } | Op::LoadAcquire { dst, .. } => {
                self.loaded(dst.0.into(), jump);
                return Ok(());
            }
            Op::Atomic { op, fetch: true, src, .. } => {
                let loaded = if op == AtomicOp::Cmpxchg { 0 } else { usize::from(src.0) };
                self.loaded(loaded, jump);
                return Ok(());
            }
            Op::Store { base, src, .. } => return self.stored(base.0.into(), operand(src), jump),
            Op::Atomic { base, src, .. } | Op::StoreRelease { base, src, .. } => {
                return self.stored(base.0.into(), Some(src.0.into()), jump);
            }
            Op::CallLocal { .. } => return self.called(code, slot),
            Op::CallHelper { .. } | Op::CallKfunc { .. } => {
                self.helper_called(code, slot, next)?;
                if code.calls_back(slot) && slot as i32 != next - 1 {
                    return Ok(());
                }
            }
            Op::Exit => return self.exited(code, next),
            Op::JumpIf { dst, src: Operand::Reg(src), .. } => {
                let (dst, src) = (usize::from(dst.0), usize::from(src.0));
                if !self.wants(dst) && !self.wants(src) {
                    return Ok(());
                }
                let touch = jump.map(|jump| jump.touch).unwrap_or_default();
                if !touch.src_is_stack {
                    self.want(src);
                }
                if !touch.dst_is_stack {
                    self.want(dst);
                }
            }
            Op::LoadImm64 { dst, .. } => {
                self.forget(dst.0.into());
                return Ok(());
            }
            Op::LoadPacket { .. } => {
                if self.wants(0) {
                    return Err(Lost);
                }
                // It may end the function that it is in.
                if slot as i32 + 1 != next {
                    self.enter_callee()?;
                }
                return Ok(());
            }
            _ => {}
        }
        self.follow_links(jump);
        Ok(())
    }

    fn moved(&mut self, dst: usize, src: Option<usize>) {
        if self.wants(dst) {
            self.forget(dst);
            if let Some(src) = src
                && src != FP
            {
                self.want(src);
            }
        }
    }

    fn loaded(&mut self, dst: usize, jump: Option<&Jump>) {
        if !self.wants(dst) {
            return;
        }
        self.forget(dst);
        // A number that does not come from the stack comes from where its value does not matter.
        if let Some((frame, slot)) = jump.and_then(|jump| jump.touch.stack) {
            self.want_slot(frame.into(), slot.into());
        }
    }

    fn stored(&mut self, base: usize, src: Option<usize>, jump: Option<&Jump>) -> Result<(), Lost> {
        // An address that is a number: pointers were subtracted.
        if self.wants(base) {
            return Err(Lost);
        }
        let Some((frame, slot)) = jump.and_then(|jump| jump.touch.stack) else { return Ok(()) };
        let (frame, slot) = (usize::from(frame), usize::from(slot));
        if self.slots[frame] & 1 << slot != 0 {
            self.drop_slot(frame, slot);
            if let Some(src) = src {
                self.want(src);
            }
        }
        Ok(())
    }

    /// A call of a function of the program: its end was passed before, when the function was walked.
    fn called(&mut self, code: &Code, slot: usize) -> Result<(), Lost> {
        let Some(callee) = code.called_function(slot) else { return Err(Lost) };
        if code.is_global(callee) {
            self.forget(0);
            return match self.registers[self.frame] & ARGUMENTS {
                0 => Ok(()),
                _ => Err(Lost),
            };
        }
        let wanted = self.registers[self.frame];
        if wanted & !ARGUMENTS != 0 || self.slots[self.frame] != 0 {
            return Err(Lost);
        }
        self.registers[self.frame] = 0;
        self.leave_callee()?;
        self.registers[self.frame] |= wanted;
        Ok(())
    }

    fn helper_called(&mut self, code: &Code, slot: usize, next: i32) -> Result<(), Lost> {
        // Back from a callback to the call that made it.
        if code.calls_back(slot) && slot as i32 != next - 1 {
            if self.registers[self.frame] & !ARGUMENTS != 0 || self.slots[self.frame] != 0 {
                return Err(Lost);
            }
            self.registers[self.frame] = 0;
            return self.leave_callee();
        }
        self.forget(0);
        if self.registers[self.frame] & ARGUMENTS != 0 {
            return Err(Lost);
        }
        if code.is_tail_call(slot) && next - slot as i32 != 1 {
            self.enter_callee()?;
        }
        Ok(())
    }

    /// The end of a function: going back enters it.
    fn exited(&mut self, code: &Code, next: i32) -> Result<(), Lost> {
        let call = usize::try_from(next - 1).ok();
        let from_call =
            call.is_some_and(|call| matches!(code.op(call), Some(Op::CallLocal { .. })));
        let wants_result = from_call && self.wants(0);
        if from_call && self.registers[self.frame] & ARGUMENTS != 0 {
            return Err(Lost);
        }
        self.forget(0);
        self.enter_callee()?;
        if wants_result {
            self.want(0);
        }
        Ok(())
    }
}

fn operand(src: Operand) -> Option<usize> {
    match src {
        Operand::Reg(src) => Some(src.0.into()),
        Operand::Imm(_) => None,
    }
}
