//! From instructions to steps.

use bombus_isa::{AluOp, Imm64, Op, Operand, Reg, Width};

use super::instruction::{self, Form, Shape};
use super::step::{Fields, NO_REGISTER, Step, Steps, number};
use super::{atomic, function_number, pair};
use crate::Program;
use crate::native::{Callee, LinkError, Linker, Lookup};
use crate::program;

/// The shape of loading a number.
const LOAD: Shape = Shape::Alu(AluOp::Mov, Width::W64, Form::K);

/// `bpf_map_lookup_elem`.
const MAP_LOOKUP_ELEM: i32 = 1;

/// Translates a program.
pub(super) fn translate(program: &Program, linker: &dyn Linker) -> Result<Steps, LinkError> {
    let mut translation = Translation::new(program.ops(), linker);
    let mut slot = 0;
    while let Some(&op) = program.ops().get(slot) {
        translation.slot(slot, op)?;
        slot += op.slots();
    }
    Ok(Steps::new(translation.finish()))
}

struct Translation<'a> {
    linker: &'a dyn Linker,
    steps: Vec<Step>,
    /// The first step of each slot; for second slots of `ld_imm64`, no matter what.
    first_steps: Vec<u32>,
    /// Steps whose `off`, or `imm` for addresses of functions, is still a slot.
    to_slots: Vec<usize>,
    /// Which slots are jumped to or called.
    targets: Vec<bool>,
    /// What `r1` holds, if that is known: the number of its last `ld_imm64` in this basic block.
    first_argument: Option<u64>,
}

impl<'a> Translation<'a> {
    fn new(ops: &[Op], linker: &'a dyn Linker) -> Translation<'a> {
        let mut targets = vec![false; ops.len()];
        for (slot, &op) in ops.iter().enumerate() {
            if let Some(target) = target(slot, op).and_then(|target| targets.get_mut(target)) {
                *target = true;
            }
        }
        Translation {
            linker,
            steps: Vec::with_capacity(ops.len()),
            first_steps: vec![0; ops.len()],
            to_slots: Vec::new(),
            targets,
            first_argument: None,
        }
    }

    /// Translates the instruction in a slot.
    fn slot(&mut self, slot: usize, op: Op) -> Result<(), LinkError> {
        self.first_steps[slot] = self.steps.len() as u32;
        if self.targets[slot] {
            self.first_argument = None;
        }
        match op {
            Op::CallHelper { id } => self.call_helper(slot, id)?,
            Op::LoadPacket { size, index, imm } => {
                let load = self.linker.load_packet().ok_or(LinkError::Unsupported { pc: slot })?;
                let (dst, src) = (size.bytes() as u8, index.map_or(NO_REGISTER, |index| index.0));
                let fields = Fields { dst, src, off: imm, imm: load as usize as i64 };
                self.steps.push(Step { code: number::LOAD_PACKET, fields });
            }
            _ => {
                let step = self.step(slot, op).ok_or(LinkError::Unsupported { pc: slot })?;
                if target(slot, op).is_some() {
                    self.to_slots.push(self.steps.len());
                }
                self.steps.push(step);
            }
        }
        self.first_argument = match op {
            Op::LoadImm64 { dst: Reg::R1, imm: Imm64::Value(value) } => Some(value),
            Op::CallHelper { .. } | Op::CallLocal { .. } | Op::LoadPacket { .. } => None,
            // All others that write a register have its number in the field of the result.
            _ => self.first_argument.filter(|_| {
                let fields = self.steps[self.steps.len() - 1].fields;
                fields.dst != Reg::R1.0 && fields.src != Reg::R1.0
            }),
        };
        Ok(())
    }

    fn call_helper(&mut self, pc: usize, id: i32) -> Result<(), LinkError> {
        let step = |code, off, imm| Step {
            code,
            fields: Fields { dst: NO_REGISTER, src: NO_REGISTER, off, imm },
        };
        let map = self.first_argument.filter(|_| id == MAP_LOOKUP_ELEM);
        match map.and_then(|map| self.linker.lookup(map)) {
            Some(Lookup::Array { base, stride, len }) => {
                self.steps.push(step(number::ELEMENT, 0, base as i64));
                self.steps.push(step(number::MORE, len as i32, stride.into()));
                return Ok(());
            }
            Some(Lookup::Function(function)) => {
                self.steps.push(step(number::HELPER, 0, function as usize as i64));
                return Ok(());
            }
            None => {}
        }
        self.steps.push(match self.linker.helper(id) {
            Some(Callee::Helper(helper)) => step(number::HELPER, 0, helper as usize as i64),
            Some(Callee::TailCall(find)) => step(number::TAIL_CALL, 0, find as usize as i64),
            None => return Err(LinkError::UnknownHelper { pc, id }),
        });
        Ok(())
    }

    /// The step of an instruction that is one. Jumps hold the slot that they go to. `None`: this
    /// engine does not have it.
    fn step(&self, slot: usize, op: Op) -> Option<Step> {
        let to = target(slot, op).unwrap_or_default();
        let fields =
            |dst: Reg, src: Reg, off: i32, imm: i64| Fields { dst: dst.0, src: src.0, off, imm };
        let none = Reg(NO_REGISTER);
        let table = |shape, fields| Some(Step { code: instruction::code(shape)?, fields });
        let special = |code, off| Some(Step { code, fields: fields(none, none, off, 0) });
        match op {
            // Loads what a 32-bit move leaves; one instruction less to know.
            Op::Alu { width: Width::W32, op: AluOp::Mov, dst, src: Operand::Imm(imm) } => {
                table(LOAD, fields(dst, none, 0, i64::from(imm as u32)))
            }
            Op::Alu { width, op, dst, src } => {
                let (form, src, imm) = operand(src);
                table(Shape::Alu(op, width, form), fields(dst, src, 0, imm))
            }
            Op::Neg { width, dst } => table(Shape::Neg(width), fields(dst, none, 0, 0)),
            Op::MovSx { width, from, dst, src } => {
                table(Shape::MovSx(width, from), fields(dst, src, 0, 0))
            }
            Op::End { order, size, dst } => table(Shape::End(order, size), fields(dst, none, 0, 0)),
            Op::LoadImm64 { dst, imm } => {
                let imm = match imm {
                    Imm64::Value(value) => value as i64,
                    // The slot, for now.
                    Imm64::Func(_) => to as i64,
                    // Program::new leaves nothing else.
                    _ => return None,
                };
                table(LOAD, fields(dst, none, 0, imm))
            }
            Op::Load { size, signed, dst, base, off } => {
                table(Shape::Load(size, signed), fields(dst, base, off.into(), 0))
            }
            Op::Store { size, base, off, src } => {
                let (form, src, imm) = operand(src);
                table(Shape::Store(size, form), fields(base, src, off.into(), imm))
            }
            Op::Goto { .. } | Op::GotoLong { .. } => {
                table(Shape::Goto, fields(none, none, to as i32, 0))
            }
            Op::JumpIf { width, cond, dst, src, .. } => {
                let (form, src, imm) = operand(src);
                table(Shape::Jump(cond, width, form), fields(dst, src, to as i32, imm))
            }
            Op::MayGoto { .. } => special(number::MAY_GOTO, to as i32),
            Op::CallLocal { .. } => special(number::CALL, to as i32),
            Op::Exit => special(number::EXIT, 0),
            Op::Atomic { base, off, src, .. } | Op::StoreRelease { base, off, src, .. } => {
                let imm = atomic::perform(op)? as usize as i64;
                Some(Step { code: number::ATOMIC, fields: fields(base, src, off.into(), imm) })
            }
            Op::LoadAcquire { base, off, dst, .. } => {
                let imm = atomic::perform(op)? as usize as i64;
                Some(Step { code: number::ATOMIC, fields: fields(base, dst, off.into(), imm) })
            }
            Op::CallHelper { .. }
            | Op::LoadPacket { .. }
            | Op::CallKfunc { .. }
            | Op::GotoRegister { .. }
            | Op::AddrSpaceCast { .. } => None,
        }
    }

    /// Turns slots into distances, and makes pairs.
    fn finish(mut self) -> Vec<Step> {
        for at in self.to_slots {
            let Step { code, fields } = &mut self.steps[at];
            let first_step = |slot: usize| self.first_steps[slot] as usize;
            if instruction::code(LOAD) == Some(*code) {
                fields.imm = function_number(first_step(fields.imm as usize)) as i64;
            } else {
                let distance = first_step(fields.off as usize) as i64 - at as i64;
                // A million steps of 16 bytes are far from the limit.
                fields.off = (distance * size_of::<Step>() as i64) as i32;
            }
        }
        for at in 1..self.steps.len() {
            let (first, second) = (&self.steps[at - 1], &self.steps[at]);
            if let Some(code) = pair::code(first, second) {
                self.steps[at - 1].code = code;
            }
        }
        self.steps
    }
}

/// Where else an instruction goes on, or the function whose address it loads: a slot. Validation
/// has seen that it is one.
fn target(slot: usize, op: Op) -> Option<usize> {
    let distance = match op {
        Op::Goto { off } | Op::MayGoto { off } | Op::JumpIf { off, .. } => off.into(),
        Op::GotoLong { off } | Op::CallLocal { off } => off,
        Op::LoadImm64 { imm: Imm64::Func(off), .. } => off,
        _ => return None,
    };
    Some(program::target(slot, distance))
}

/// The form, the register and the immediate of a second operand.
fn operand(operand: Operand) -> (Form, Reg, i64) {
    match operand {
        Operand::Reg(src) => (Form::X, src, 0),
        Operand::Imm(imm) => (Form::K, Reg(NO_REGISTER), imm.into()),
    }
}
