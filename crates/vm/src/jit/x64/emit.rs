//! The walk over a program: functions, jumps, and what is emitted after them.

use std::ops::Range;

use bombus_isa::{AluOp, Cond, Imm64, Op, Operand, Reg, Width};

use super::aside::BEHIND;
use super::encode::{Arith, Assembler, Branch, Cc, Gpr, Mem, Unary};
use super::frame::Frame;
use super::window::may_fuse;
use super::{HOMES, SCRATCH, X64};
use crate::Program;
use crate::jit::optimise::{Test, asks_again, chosen, skips_one};
use crate::jit::{LinkError, MachineCode};
use crate::native::Linker;
use crate::program::target;

/// How many instructions are looked at together.
const WINDOW: usize = 5;

/// Registers with values that are known at this place of the program.
#[derive(Clone, Copy, Default)]
pub(super) struct Known {
    which: u16,
    values: [u64; 16],
}

impl Known {
    #[inline]
    pub(super) fn get(&self, reg: Reg) -> Option<u64> {
        let at = reg.0 & 15;
        (self.which & (1 << at) != 0).then(|| self.values[usize::from(at)])
    }

    #[inline]
    fn set(&mut self, reg: Reg, value: u64) {
        self.which |= 1 << (reg.0 & 15);
        self.values[usize::from(reg.0 & 15)] = value;
    }

    #[inline]
    pub(super) fn forget(&mut self, reg: Reg) {
        self.which &= !(1 << (reg.0 & 15));
    }

    /// After a call.
    pub(super) fn forget_caller_saved(&mut self) {
        self.which &= !0b11_1111;
    }
}

/// Code that is seldom reached, emitted after its function.
pub(super) struct Cold {
    /// The branch to it.
    pub(super) from: usize,
    /// Where it goes back to.
    pub(super) to: usize,
    pub(super) what: ColdCode,
}

/// What such code does.
#[derive(Clone, Copy)]
pub(super) enum ColdCode {
    /// `register = 0`.
    Clear(Gpr),
    /// `register = source`.
    Move(Gpr, Gpr),
    /// `register = -register`.
    Negate(Width, Gpr),
}

/// Compiles one program.
pub(super) struct Emitter<'a> {
    pub(super) target: X64,
    pub(super) program: &'a Program,
    pub(super) linker: &'a dyn Linker,
    /// Where the code will stand.
    pub(super) address: u64,
    pub(super) asm: Assembler,
    /// Offset of each slot's code.
    pub(super) offsets: Vec<u32>,
    /// Slots that something jumps to, a bit each.
    joins: Vec<u64>,
    /// Branches with 32-bit distances, and the slots that they go to.
    pub(super) branches: Vec<(usize, usize)>,
    /// Places with the address of a function that takes the environment: distance, slot.
    pub(super) taken: Vec<(usize, usize)>,
    pub(super) cold: Vec<Cold>,
    /// Slots that will stand behind the function, and the branches to them.
    pub(super) aside: Vec<(usize, Range<usize>)>,
    pub(super) known: Known,
    pub(super) frame: Frame,
    /// First slot of the function, and where its code begins after the prologue.
    entry: usize,
    body: usize,
    pub(super) homes: [Gpr; 16],
    /// Registers that somebody reads after the instruction at hand.
    pub(super) live: u16,
    /// State of the numbers that hide constants.
    random: u64,
}

impl<'a> Emitter<'a> {
    pub(super) fn new(
        target: X64,
        program: &'a Program,
        linker: &'a dyn Linker,
        address: u64,
    ) -> Emitter<'a> {
        let slots = program.ops().len();
        Emitter {
            target,
            program,
            linker,
            address,
            asm: Assembler::with_capacity(slots * 6 + 64),
            offsets: vec![0; slots],
            joins: vec![0; slots / 64 + 1],
            branches: Vec::with_capacity(slots / 8),
            taken: Vec::new(),
            cold: Vec::new(),
            aside: Vec::new(),
            known: Known::default(),
            frame: Frame::default(),
            entry: 0,
            body: 0,
            homes: HOMES,
            live: u16::MAX,
            random: target.blinding.unwrap_or_default(),
        }
    }

    pub(super) fn emit(mut self) -> Result<MachineCode, LinkError> {
        let (ops, functions) = (self.program.ops(), self.program.functions());
        self.mark_joins();
        let uses = self.program.uses();
        // The environment stays in its register for all functions that the first one calls.
        let environment = uses.iter().any(|uses| uses.calls);
        for (index, (&entry, &uses)) in functions.iter().zip(uses).enumerate() {
            let end = functions.get(index + 1).map_or(ops.len(), |&next| next as usize);
            let function = entry as usize..end;
            if self.optimises() {
                self.optimised(function, uses, environment)?;
            } else {
                self.frame = Frame::new(uses, &self.homes, environment && index == 0);
                self.function(function)?;
            }
        }
        self.entries_from_outside();
        let Emitter { mut asm, branches, offsets, .. } = self;
        for (at, slot) in branches {
            asm.patch(at, offsets[slot] as usize);
        }
        Ok(MachineCode { bytes: asm.finish(), entry: 0 })
    }

    /// Whether this is the second tier.
    pub(super) fn optimises(&self) -> bool {
        self.target.optimise && self.target.blinding.is_none()
    }

    fn mark_joins(&mut self) {
        let ops = self.program.ops();
        let mut pc = 0;
        while pc < ops.len() {
            let distance = match ops[pc] {
                Op::Goto { off } | Op::MayGoto { off } | Op::JumpIf { off, .. } => i64::from(off),
                Op::GotoLong { off } => off.into(),
                _ => {
                    pc += ops[pc].slots();
                    continue;
                }
            };
            let target = target(pc, distance);
            self.joins[target / 64] |= 1 << (target % 64);
            pc += 1;
        }
    }

    /// Whether something jumps to this slot.
    #[inline]
    pub(super) fn is_join(&self, slot: usize) -> bool {
        self.joins[slot / 64] & (1 << (slot % 64)) != 0
    }

    /// A function as it is.
    fn function(&mut self, function: Range<usize>) -> Result<(), LinkError> {
        let ops = self.program.ops();
        self.open(function.start);
        let mut pc = function.start;
        while pc < function.end {
            self.arrive(pc);
            pc += match self.put_aside(ops, pc) {
                Some(slots) => slots,
                None => self.instruction(ops, pc)?,
            };
        }
        self.what_was_put_aside()?;
        self.cold_code();
        Ok(())
    }

    pub(super) fn open(&mut self, entry: usize) {
        self.entry = entry;
        self.offsets[entry] = self.asm.len() as u32;
        self.frame.open(&mut self.asm);
        // A jump to the first instruction must not open the frame again.
        self.body = self.asm.len();
        self.known = Known::default();
    }

    #[inline]
    pub(super) fn arrive(&mut self, pc: usize) {
        if self.is_join(pc) {
            self.known = Known::default();
        }
        if pc != self.entry {
            self.offsets[pc] = self.asm.len() as u32;
        }
    }

    pub(super) fn cold_code(&mut self) {
        for Cold { from, to, what } in std::mem::take(&mut self.cold) {
            let here = self.asm.len();
            self.asm.patch(from, here);
            match what {
                ColdCode::Clear(reg) => self.asm.clear(reg),
                ColdCode::Move(reg, source) => self.asm.mov(Width::W64, reg, source),
                ColdCode::Negate(width, reg) => {
                    self.asm.unary(Unary::Neg, width, reg);
                }
            }
            self.asm.branch_to(Branch::Jmp, to);
        }
    }

    /// Emits the instruction at `pc`, and perhaps that after it; gives how many slots that were.
    #[inline]
    pub(super) fn instruction(&mut self, ops: &[Op], pc: usize) -> Result<usize, LinkError> {
        if may_fuse(ops[pc], ops.get(pc + 1).copied()) {
            // As many as nothing jumps between.
            let end = (pc + 1..ops.len().min(pc + WINDOW)).find(|&slot| self.is_join(slot));
            let window = &ops[pc..end.unwrap_or(ops.len().min(pc + WINDOW))];
            if let Some(slots) = self.fused(window) {
                return Ok(slots);
            }
        }
        if let Op::JumpIf { width, cond, dst, src, off } = ops[pc]
            && skips_one(off, ops.get(pc + 2).copied())
            && !self.is_join(pc + 1)
        {
            match ops[pc + 1] {
                // With the opposite condition one jump does for both.
                Op::Goto { off: away } if off == 1 => {
                    let cc = self.compare(width, cond, dst, src);
                    self.jump(Branch::Jcc(cc.negated()), pc + 1, away.into());
                    return Ok(2);
                }
                over if self.target.blinding.is_none() => {
                    let test = Test { width, cond, negated: false, a: dst, b: src };
                    // The next jump will say the same: there at once. (It stays for who comes else.)
                    if off == 1
                        && let Some(again) = ops.get(pc + 2)
                        && let Some(off @ 1..) = asks_again(test, over, *again)
                    {
                        let cc = self.compare(width, cond, dst, src);
                        self.jump(Branch::Jcc(cc), pc + 2, off.into());
                        return Ok(1);
                    }
                    if self.is_asked_again(ops, pc, test) {
                        return self.single(ops[pc], pc);
                    }
                    if let Some(inst) = chosen(test, over) {
                        self.fused_instruction(inst);
                        return Ok(2);
                    }
                }
                _ => {}
            }
        }
        self.single(ops[pc], pc)
    }

    /// Whether the jump at `pc` asks what the one before asked.
    fn is_asked_again(&self, ops: &[Op], pc: usize, test: Test) -> bool {
        let before = pc.checked_sub(2).map(|first| &ops[first..=pc]);
        let Some(&[Op::JumpIf { width, cond, dst: a, src: b, off: 1 }, over, again]) = before
        else {
            return false;
        };
        test == Test { width, cond, negated: false, a, b }
            && matches!(asks_again(test, over, again), Some(1..))
    }

    /// Emits the instruction at `pc`; gives how many slots it takes.
    #[inline]
    pub(super) fn single(&mut self, op: Op, pc: usize) -> Result<usize, LinkError> {
        match op {
            Op::Alu { width, op, dst, src } => {
                self.alu(width, op, dst, src);
                match (op, width, src) {
                    (AluOp::Mov, Width::W64, Operand::Reg(src)) => match self.known.get(src) {
                        Some(value) => self.known.set(dst, value),
                        None => self.known.forget(dst),
                    },
                    _ => self.known.forget(dst),
                }
            }
            Op::Neg { width, dst } => {
                self.asm.unary(Unary::Neg, width, self.gpr(dst));
                self.known.forget(dst);
            }
            Op::MovSx { width, from, dst, src } => {
                self.asm.extend(from, true, width, self.gpr(dst), self.gpr(src));
                self.known.forget(dst);
            }
            Op::End { order, size, dst } => {
                self.endian(order, size, self.gpr(dst));
                self.known.forget(dst);
            }
            Op::LoadImm64 { dst, imm } => match imm {
                Imm64::Func(distance) => {
                    self.function_address(dst, target(pc, distance));
                    self.known.forget(dst);
                }
                Imm64::Value(value) => {
                    self.constant(self.gpr(dst), value);
                    self.known.set(dst, value);
                }
                // Program::new leaves nothing else.
                _ => self.known.forget(dst),
            },
            Op::Load { size, signed, dst, base, off } => {
                self.asm.load(size, signed, self.gpr(dst), self.displaced(base, off));
                self.known.forget(dst);
            }
            Op::LoadAcquire { size, dst, base, off } => {
                // Loads have acquire semantics on this machine.
                self.asm.load(size, false, self.gpr(dst), self.displaced(base, off));
                self.known.forget(dst);
            }
            Op::Store { size, base, off, src } => self.store(size, base, off, src),
            Op::StoreRelease { size, base, off, src } => {
                // Stores have release semantics on this machine.
                self.asm.store(size, self.displaced(base, off), self.gpr(src));
            }
            Op::Atomic { size, op, fetch, base, off, src } => {
                self.atomic(size, op, fetch, base, off, src);
                self.known.forget(src);
                self.known.forget(Reg::R0);
            }
            Op::Goto { off } => self.jump(Branch::Jmp, pc, off.into()),
            Op::GotoLong { off } => self.jump(Branch::Jmp, pc, off.into()),
            Op::MayGoto { off } => {
                Frame::pay_for_loop(&mut self.asm);
                self.jump(Branch::Jcc(Cc::B), pc, off.into());
            }
            Op::JumpIf { width, cond, dst, src, off } => {
                let cc = self.compare(width, cond, dst, src);
                self.jump(Branch::Jcc(cc), pc, off.into());
            }
            Op::CallHelper { id } => {
                self.call_helper(pc, id)?;
                self.known.forget_caller_saved();
            }
            Op::CallLocal { off } => {
                self.call_local(target(pc, off))?;
            }
            Op::LoadPacket { size, index, imm } => {
                self.load_packet(pc, size, index, imm)?;
                self.known.forget_caller_saved();
            }
            Op::Exit => {
                self.frame.close(&mut self.asm);
                self.asm.ret();
            }
            Op::CallKfunc { .. } | Op::AddrSpaceCast { .. } | Op::GotoRegister { .. } => {
                return Err(LinkError::Unsupported { pc });
            }
        }
        Ok(op.slots())
    }

    /// Goes to the slot `distance` after the next one.
    pub(super) fn jump(&mut self, branch: Branch, pc: usize, distance: i64) {
        let target = target(pc, distance);
        if target == pc + 1 {
            return;
        }
        if target == self.entry {
            self.asm.branch_to(branch, self.body);
        } else if target <= pc && self.offsets[target] != BEHIND {
            self.asm.branch_to(branch, self.offsets[target] as usize);
        } else {
            let at = self.asm.branch(branch);
            self.branches.push((at, target));
        }
    }

    /// Compares; gives the condition under which to jump.
    pub(super) fn compare(&mut self, width: Width, cond: Cond, dst: Reg, src: Operand) -> Cc {
        let a = self.gpr(dst);
        match (cond, src) {
            (Cond::Set, Operand::Reg(src)) => self.asm.test(width, a, self.gpr(src)),
            (Cond::Set, Operand::Imm(imm)) => match self.visible(imm) {
                Some(imm) => self.asm.test_imm(width, a, imm),
                None => {
                    self.constant(SCRATCH, imm as u64);
                    self.asm.test(width, a, SCRATCH);
                }
            },
            (_, Operand::Reg(src)) => self.asm.arith(Arith::Cmp, width, a, self.gpr(src)),
            (_, Operand::Imm(0)) => self.asm.test(width, a, a),
            (_, Operand::Imm(imm)) => self.arith_imm(Arith::Cmp, width, a, imm),
        }
        match cond {
            Cond::Eq => Cc::E,
            Cond::Ne | Cond::Set => Cc::Ne,
            Cond::Gt => Cc::A,
            Cond::Ge => Cc::Ae,
            Cond::Lt => Cc::B,
            Cond::Le => Cc::Be,
            Cond::Sgt => Cc::G,
            Cond::Sge => Cc::Ge,
            Cond::Slt => Cc::L,
            Cond::Sle => Cc::Le,
        }
    }

    /// The immediate, if it may stand in the code as it is.
    #[inline]
    pub(super) fn visible(&self, imm: i32) -> Option<i32> {
        // What fits a byte cannot be made an instruction of.
        (self.target.blinding.is_none() || i8::try_from(imm).is_ok()).then_some(imm)
    }

    /// `reg = value`.
    #[inline]
    pub(super) fn constant(&mut self, reg: Gpr, value: u64) {
        let small = i8::try_from(value as i64).is_ok();
        if self.target.blinding.is_none() || small {
            return self.asm.mov_imm(reg, value);
        }
        // xorshift64* (Vigna, 2016).
        self.random = (self.random | 1) ^ (self.random << 13);
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let mask = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d);
        let other = if reg == SCRATCH { super::SCRATCH2 } else { SCRATCH };
        self.asm.mov_imm(reg, value ^ mask);
        self.asm.mov_imm(other, mask);
        self.asm.arith(Arith::Xor, Width::W64, reg, other);
    }

    /// Where a register of the program is.
    #[inline]
    pub(super) fn gpr(&self, reg: Reg) -> Gpr {
        self.homes[usize::from(reg.0 & 15)]
    }

    /// The operand at an address.
    #[inline]
    pub(super) fn displaced(&self, base: Reg, off: i16) -> Mem {
        Mem::new(self.gpr(base), off.into())
    }

    /// Whether somebody reads what is in this register after the instruction at hand.
    #[inline]
    pub(super) fn is_live(&self, reg: Reg) -> bool {
        self.live & (1 << (reg.0 & 15)) != 0
    }
}
