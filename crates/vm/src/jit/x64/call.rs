//! Calls: helpers, functions, tail calls, look-ups in known maps.

use std::ops::Range;

use bombus_isa::{Op, Reg, Size, Width};

use super::emit::Emitter;
use super::encode::{Arith, Branch, Cc, Gpr, Mem, Shift};
use super::{ENVIRONMENT, SCRATCH};
use crate::jit::LinkError;
use crate::jit::optimise::{Inst, optimise};
use crate::native::{Callee, Lookup, NativeHelper};
use bombus_platform::Helper;

/// Instructions of a function that is worth no call.
const INLINED: usize = 10;
/// `r0` to `r5`, which calls change.
const CALLER_SAVED: u16 = 0b11_1111;

impl Emitter<'_> {
    pub(super) fn call_helper(&mut self, pc: usize, id: i32) -> Result<(), LinkError> {
        let callee = self.linker.helper(id).ok_or(LinkError::UnknownHelper { pc, id })?;
        match callee {
            Callee::TailCall(find) => self.tail_call(find),
            Callee::Helper(helper) => {
                let map = (id == Helper::MapLookupElem.id()).then(|| self.known.get(Reg::R1));
                match map.flatten().and_then(|map| self.linker.lookup(map)) {
                    Some(Lookup::Array { base, stride, len }) => self.element(base, stride, len),
                    Some(Lookup::Function(function)) => self.call(function),
                    None => self.call(helper),
                }
            }
        }
        Ok(())
    }

    /// Calls a function of the host: the arguments are where they must be.
    fn call(&mut self, function: NativeHelper) {
        self.asm.mov(Width::W64, Gpr::R9, ENVIRONMENT);
        let target = function as usize as u64;
        let after = self.address + self.asm.len() as u64 + 5;
        if i32::try_from(target.wrapping_sub(after) as i64).is_ok() {
            let at = self.asm.branch(Branch::Call);
            self.asm.patch(at, target.wrapping_sub(self.address) as usize);
        } else {
            self.asm.mov_imm(Gpr::RAX, target);
            self.asm.call_reg(Gpr::RAX);
        }
    }

    /// `r0 = a number of the packet`; without it the function ends with 0.
    pub(super) fn load_packet(
        &mut self,
        pc: usize,
        size: Size,
        index: Option<Reg>,
        imm: i32,
    ) -> Result<(), LinkError> {
        let load = self.linker.load_packet().ok_or(LinkError::Unsupported { pc })?;
        let offset = self.gpr(Reg::R2);
        match index {
            Some(index) => {
                self.asm.mov(Width::W64, offset, self.gpr(index));
                self.arith_imm(Arith::Add, Width::W64, offset, imm);
            }
            None => self.constant(offset, i64::from(imm) as u64),
        }
        self.asm.mov(Width::W64, self.gpr(Reg::R1), self.gpr(Reg(6)));
        self.asm.mov_imm(self.gpr(Reg::R3), size.bytes() as u64);
        self.call(load);
        self.asm.test(Width::W64, Gpr::RAX, Gpr::RAX);
        let there = self.asm.branch(Branch::Jcc(Cc::Ge));
        self.asm.clear(Gpr::RAX);
        self.frame.close(&mut self.asm);
        self.asm.ret();
        let here = self.asm.len();
        self.asm.patch(there, here);
        Ok(())
    }

    /// `r0 = address of the array element at *(u32 *)r2`, or 0.
    fn element(&mut self, base: u64, stride: u32, len: u32) {
        let rax = Gpr::RAX;
        self.asm.load(Size::W, false, rax, Mem::new(self.gpr(Reg::R2), 0));
        self.asm.arith_imm(Arith::Cmp, Width::W32, rax, len as i32);
        let outside = self.asm.short_jcc(Cc::Ae);
        match stride {
            stride if stride.is_power_of_two() => {
                let distance = stride.trailing_zeros() as u8;
                if distance != 0 {
                    self.asm.shift_imm(Shift::Shl, Width::W64, rax, distance);
                }
            }
            stride => match i32::try_from(stride) {
                Ok(stride) => self.asm.imul_imm(Width::W64, rax, rax, stride),
                Err(_) => {
                    self.asm.mov_imm(SCRATCH, stride.into());
                    self.asm.imul(Width::W64, rax, SCRATCH);
                }
            },
        }
        self.asm.mov_imm(SCRATCH, base);
        self.asm.arith(Arith::Add, Width::W64, rax, SCRATCH);
        let done = self.asm.short_jmp();
        self.asm.patch_short(outside);
        self.asm.clear(rax);
        self.asm.patch_short(done);
    }

    /// Calls a function of the program, or does here what it would.
    pub(super) fn call_local(&mut self, slot: usize) -> Result<(), LinkError> {
        match self.leaf(slot) {
            Some(leaf) => self.inlined(leaf)?,
            None => self.call_function(slot),
        }
        self.known.forget_caller_saved();
        Ok(())
    }

    /// The instructions of a function, up to its exit, that is hardly longer than a call of it: a few
    /// in a row that only use what a call changes anyway.
    fn leaf(&self, entry: usize) -> Option<Range<usize>> {
        let ops = &self.program.ops()[entry..];
        let fits = |op: &Op| {
            let inst = Inst::Op(*op);
            let plain = inst.is_pure() || matches!(op, Op::Store { .. });
            plain && (inst.uses() | inst.defs()) & !CALLER_SAVED == 0
        };
        let len = ops.iter().take(INLINED + 1).position(|op| !fits(op))?;
        (ops[len] == Op::Exit).then_some(entry..entry + len)
    }

    /// Does what a function does where it is called.
    fn inlined(&mut self, leaf: Range<usize>) -> Result<(), LinkError> {
        let ops = self.program.ops();
        if self.optimises() {
            let code = optimise(ops, leaf.start..leaf.end + 1, 0);
            // A block with the exit as its last step.
            let steps = code.flow.blocks[0].steps.split_last().map_or(&[][..], |(_, steps)| steps);
            return self.steps(steps, leaf.start);
        }
        let mut pc = leaf.start;
        while pc < leaf.end {
            pc += self.instruction(ops, pc)?;
        }
        Ok(())
    }

    fn call_function(&mut self, slot: usize) {
        if slot == 0 {
            // The first function takes the environment from its caller.
            self.asm.mov(Width::W64, Gpr::R9, ENVIRONMENT);
        }
        let at = self.asm.branch(Branch::Call);
        self.branches.push((at, slot));
    }

    /// Asks for the program to go on with; goes there, or on with the next instruction.
    fn tail_call(&mut self, find: NativeHelper) {
        let context = self.gpr(Reg::R1);
        // Twice, to keep the stack aligned.
        self.asm.push(context);
        self.asm.push(context);
        self.call(find);
        self.asm.pop(context);
        self.asm.pop(context);
        self.asm.test(Width::W64, Gpr::RAX, Gpr::RAX);
        let stay = self.asm.branch(Branch::Jcc(Cc::E));
        self.asm.mov(Width::W64, Gpr::R9, ENVIRONMENT);
        self.frame.close(&mut self.asm);
        self.asm.jmp_reg(Gpr::RAX);
        let here = self.asm.len();
        self.asm.patch(stay, here);
    }

    /// `dst = address of a function` for helpers that call it: of an entry that takes the
    /// environment as all functions from outside do.
    pub(super) fn function_address(&mut self, dst: Reg, slot: usize) {
        let at = self.asm.lea_relative(self.gpr(dst));
        self.taken.push((at, slot));
    }

    /// The entries of functions whose addresses are taken.
    pub(super) fn entries_from_outside(&mut self) {
        let mut taken = std::mem::take(&mut self.taken);
        taken.sort_by_key(|&(_, slot)| slot);
        for places in taken.chunk_by(|(_, a), (_, b)| a == b) {
            self.asm.align(16);
            let entry = self.asm.len();
            for &(at, _) in places {
                self.asm.patch(at, entry);
            }
            self.asm.push(ENVIRONMENT);
            self.asm.mov(Width::W64, ENVIRONMENT, Gpr::R9);
            self.call_function(places[0].1);
            self.asm.pop(ENVIRONMENT);
            self.asm.ret();
        }
    }
}
