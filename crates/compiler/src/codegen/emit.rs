//! From allocated machine instructions to slots of code: one function.

use bombus_isa::opcode::{alu, atomic, class, pseudo};
use bombus_isa::{Insn, Reg, Size};
use bombus_spec::{Reference, SpecInsn};
use regalloc2::{
    Allocation, Block as MachBlock, Edit, Function as _, Inst as MachIndex, InstOrEdit, Output,
};

use super::lower::inverse_jump;
use super::vcode::{Jump, Mach, Place, VCode};
use super::{peephole, reuse};
use crate::Target;
use crate::ir::{FuncRef, Line, StackSlot};

/// A function's code, with what is not known before all functions are laid out.
#[derive(Debug, Default)]
pub(super) struct Emitted {
    pub(super) insns: Vec<SpecInsn>,
    /// Slots whose immediate is the distance to a function.
    pub(super) calls: Vec<(u32, FuncRef)>,
}

/// Where the frame's parts are, as offsets from the frame pointer.
pub(super) struct FrameLayout<'a> {
    /// By stack slot.
    pub(super) slots: &'a [i32],
    /// Of the first spill slot; the others are below.
    pub(super) spills: i32,
}

/// How a block ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Goto(usize),
    Branch(Jump, Reg, Reg, usize, usize),
    Exit,
}

/// A block's code, without the jumps at its end.
pub(super) struct Part {
    pub(super) insns: Vec<SpecInsn>,
    pub(super) calls: Vec<(u32, FuncRef)>,
    /// How many arguments the calls take, by slot in order.
    pub(super) call_args: Vec<(u32, u8)>,
    pub(super) end: End,
    line: Option<u32>,
}

/// Emits a function.
///
/// # Errors
///
/// A jump is too far for the target; the line that it stands at.
pub(super) fn emit(
    code: &VCode,
    output: &Output,
    frame: &FrameLayout<'_>,
    target: Target,
) -> Result<Emitted, Option<Line>> {
    let mut parts: Vec<Part> = (0..code.ranges.len())
        .map(|i| BlockEmitter::new(code, output, frame, target).block(MachBlock::new(i)))
        .collect();
    parts.iter_mut().for_each(reuse::run);
    peephole::run(&mut parts);
    Layout::new(parts, target).emit()
}

struct BlockEmitter<'a> {
    code: &'a VCode,
    output: &'a Output,
    frame: &'a FrameLayout<'a>,
    target: Target,
    insns: Vec<SpecInsn>,
    calls: Vec<(u32, FuncRef)>,
    call_args: Vec<(u32, u8)>,
    line: Option<Line>,
}

impl<'a> BlockEmitter<'a> {
    fn new(
        code: &'a VCode,
        output: &'a Output,
        frame: &'a FrameLayout<'a>,
        target: Target,
    ) -> BlockEmitter<'a> {
        let (insns, calls, call_args) = (Vec::new(), Vec::new(), Vec::new());
        BlockEmitter { code, output, frame, target, insns, calls, call_args, line: None }
    }

    fn block(mut self, block: MachBlock) -> Part {
        let mut end = End::Exit;
        let range = self.code.block_insns(block);
        self.line = range.iter().find_map(|inst| self.code.insts[inst.index()].line);
        for item in self.output.block_insts_and_edits(self.code, block) {
            match item {
                InstOrEdit::Edit(Edit::Move { from, to }) => self.move_(*from, *to),
                InstOrEdit::Inst(inst) => {
                    let line = self.code.insts[inst.index()].line;
                    self.line = line.or(self.line);
                    end = self.inst(block, inst).unwrap_or(end);
                }
            }
        }
        let line = self.line.map(|line| line.0);
        Part { insns: self.insns, calls: self.calls, call_args: self.call_args, end, line }
    }

    fn push(&mut self, insn: Insn) {
        self.push_reference(insn, None);
    }

    fn push_reference(&mut self, insn: Insn, reference: Option<Reference>) {
        let line = self.line.map(|line| line.0);
        self.insns.push(SpecInsn { insn, reference, line });
    }

    fn wide(&mut self, dst: Reg, pseudo: u8, value: u64, reference: Option<Reference>) {
        let [first, second] = Insn::ld_imm64(dst, pseudo, value);
        self.push_reference(first, reference);
        self.push(second);
    }

    fn spill(&self, allocation: Allocation) -> i16 {
        let index = allocation.as_stack().map_or(0, |slot| slot.index());
        (self.frame.spills - 8 * index as i32) as i16
    }

    fn move_(&mut self, from: Allocation, to: Allocation) {
        match (from.as_reg(), to.as_reg()) {
            (Some(from), Some(to)) if from == to => {}
            (Some(from), Some(to)) => {
                self.push(Insn::mov(Reg(to.hw_enc() as u8), Reg(from.hw_enc() as u8)));
            }
            (Some(from), None) => {
                let offset = self.spill(to);
                self.push(Insn::store(Size::Dw, Reg::FP, offset, Reg(from.hw_enc() as u8)));
            }
            (None, Some(to)) => {
                let offset = self.spill(from);
                self.push(Insn::load(Size::Dw, Reg(to.hw_enc() as u8), Reg::FP, offset));
            }
            // regalloc2 makes no such moves.
            (None, None) => {}
        }
    }

    fn slot(&self, slot: StackSlot) -> i32 {
        self.frame.slots[slot.index()]
    }

    /// Register and offset of an access.
    fn place(&self, place: Place, base: Option<Reg>) -> (Reg, i16) {
        match place.slot {
            Some(slot) => (Reg::FP, (self.slot(slot) + i32::from(place.offset)) as i16),
            None => (base.unwrap_or(Reg::FP), place.offset),
        }
    }

    fn inst(&mut self, block: MachBlock, index: MachIndex) -> Option<End> {
        let allocs = self.output.inst_allocs(index);
        let reg = |i: usize| {
            let alloc = allocs.get(i).and_then(|alloc| alloc.as_reg());
            Reg(alloc.map_or(0, |reg| reg.hw_enc() as u8))
        };
        let result = reg(allocs.len().wrapping_sub(1));
        let base = |i: usize| (i < allocs.len()).then(|| reg(i));
        let succs = &self.code.succs[block.index()];
        match self.code.insts[index.index()].op {
            Mach::Args => {}
            Mach::Imm(number) => match i32::try_from(number) {
                Ok(imm) => self.push(Insn::mov_imm(result, imm)),
                Err(_) if self.target.has_alu32() && u32::try_from(number).is_ok() => {
                    self.push(Insn::alu32_imm(alu::MOV, result, number as i32));
                }
                Err(_) => self.wide(result, 0, number as u64, None),
            },
            Mach::Map(map) => {
                self.wide(result, pseudo::MAP_FD, 0, Some(Reference::Map(map.0)));
            }
            Mach::MapValue(map, offset) => {
                let reference = Reference::MapValue { map: map.0, offset };
                self.wide(result, pseudo::MAP_VALUE, u64::from(offset) << 32, Some(reference));
            }
            Mach::Func(func) => {
                self.calls.push((self.insns.len() as u32, func));
                self.wide(result, pseudo::FUNC, 0, Some(Reference::Function(func.0)));
            }
            Mach::SlotAddr(slot, offset) => {
                self.push(Insn::mov(result, Reg::FP));
                let offset = self.slot(slot) + offset;
                self.push(Insn::alu64_imm(alu::ADD, result, offset));
            }
            Mach::Alu { op, wide, signed, imm } => {
                let mut insn = match (wide, imm) {
                    (true, Some(imm)) => Insn::alu64_imm(op, result, imm),
                    (false, Some(imm)) => Insn::alu32_imm(op, result, imm),
                    (true, None) => Insn::alu64_reg(op, result, reg(1)),
                    (false, None) => Insn::alu32_reg(op, result, reg(1)),
                };
                insn.off = i16::from(signed);
                self.push(insn);
            }
            Mach::Neg => self.push(Insn::alu64_imm(alu::NEG, result, 0)),
            Mach::Swap(bits) => self.push(self.swap(result, bits)),
            Mach::Extend { bits, signed } => {
                let src = reg(0);
                if signed {
                    let mut insn = Insn::mov(result, src);
                    insn.off = i16::from(bits);
                    self.push(insn);
                } else {
                    self.push(Insn::alu32_reg(alu::MOV, result, src));
                }
            }
            Mach::Load { size, signed, at } => {
                let (base, offset) = self.place(at, Some(reg(0)));
                let load = if signed { Insn::load_signed } else { Insn::load };
                self.push(load(size, result, base, offset));
            }
            Mach::Store(size, at) => {
                let (base, offset) = self.place(at, base(1));
                self.push(Insn::store(size, base, offset, reg(0)));
            }
            Mach::StoreImm(size, at, imm) => {
                let (base, offset) = self.place(at, base(0));
                self.push(Insn::store_imm(size, base, offset, imm));
            }
            Mach::AtomicAdd(size, at) => {
                let (base, offset) = self.place(at, base(1));
                self.push(Insn::atomic(size, atomic::ADD, base, offset, reg(0)));
            }
            Mach::CallHelper(helper) => {
                self.call_args.push((self.insns.len() as u32, allocs.len() as u8 - 1));
                self.push(Insn::call_helper(helper.id()));
            }
            Mach::Call(func) => {
                self.call_args.push((self.insns.len() as u32, allocs.len() as u8 - 1));
                self.calls.push((self.insns.len() as u32, func));
                self.push(Insn::call_local(0));
            }
            Mach::Select { cond, imm } => {
                let y = 2;
                let b = if cond.imm.is_some() { y } else { y + 1 };
                self.push(jump_insn(cond, reg(1), reg(y), 1));
                match imm {
                    Some(imm) => self.push(Insn::mov_imm(result, imm)),
                    None => self.push(Insn::mov(result, reg(b))),
                }
            }
            Mach::Goto => return Some(End::Goto(succs[0].index())),
            Mach::Branch(jump) => {
                let (then, otherwise) = (succs[0].index(), succs[1].index());
                return Some(End::Branch(jump, reg(0), reg(1), then, otherwise));
            }
            Mach::Return => return Some(End::Exit),
        }
        None
    }

    /// `be16` and so on swap on little-endian machines, which are all that eBPF compiles for here;
    /// v4 has an unconditional swap.
    fn swap(&self, reg: Reg, bits: u8) -> Insn {
        let imm = i32::from(bits);
        if self.target.has_v4() {
            Insn::alu64_imm(alu::END, reg, imm)
        } else {
            Insn {
                code: class::ALU | alu::END | bombus_isa::opcode::X,
                ..Insn::alu32_imm(0, reg, imm)
            }
        }
    }
}

fn jump_insn(jump: Jump, left: Reg, right: Reg, offset: i16) -> Insn {
    match (jump.wide, jump.imm) {
        (true, Some(imm)) => Insn::jmp_imm(jump.op, left, imm, offset),
        (false, Some(imm)) => Insn::jmp32_imm(jump.op, left, imm, offset),
        (true, None) => Insn::jmp_reg(jump.op, left, right, offset),
        (false, None) => Insn::jmp32_reg(jump.op, left, right, offset),
    }
}

/// Puts blocks one after the other and measures jumps.
struct Layout {
    parts: Vec<Part>,
    target: Target,
    /// By part: whether its jump needs a long one.
    long: Vec<bool>,
}

/// The jumps that a block ends with.
#[derive(Clone, Copy)]
enum Tail {
    Nothing,
    Exit,
    Goto(usize),
    /// When it holds, to the first; on, or to the second.
    Branch(Jump, Reg, Reg, usize, Option<usize>),
}

impl Layout {
    fn new(parts: Vec<Part>, target: Target) -> Layout {
        let long = vec![false; parts.len()];
        let mut layout = Layout { parts, target, long };
        layout.thread();
        layout
    }

    /// Jumps to blocks that hold only a jump go on.
    fn thread(&mut self) {
        let resolve = |mut at: usize| {
            for _ in 0..self.parts.len() {
                match self.parts[at].end {
                    End::Goto(next) if self.parts[at].insns.is_empty() && next != at => at = next,
                    _ => break,
                }
            }
            at
        };
        let ends: Vec<End> = self
            .parts
            .iter()
            .map(|part| match part.end {
                End::Goto(to) => End::Goto(resolve(to)),
                End::Branch(jump, left, right, then, otherwise) => {
                    End::Branch(jump, left, right, resolve(then), resolve(otherwise))
                }
                End::Exit => End::Exit,
            })
            .collect();
        for (part, end) in self.parts.iter_mut().zip(ends) {
            part.end = end;
        }
    }

    /// The parts that are reached, in order.
    fn reached(&self) -> Vec<usize> {
        let mut reached = vec![false; self.parts.len()];
        let mut work = vec![0];
        while let Some(at) = work.pop() {
            if std::mem::replace(&mut reached[at], true) {
                continue;
            }
            match self.parts[at].end {
                End::Goto(to) => work.push(to),
                End::Branch(_, _, _, then, otherwise) => work.extend([then, otherwise]),
                End::Exit => {}
            }
        }
        (0..self.parts.len()).filter(|&i| reached[i]).collect()
    }

    fn tail(&self, part: usize, next: Option<usize>) -> Tail {
        let is_exit =
            |to: usize| self.parts[to].insns.is_empty() && matches!(self.parts[to].end, End::Exit);
        match self.parts[part].end {
            End::Exit => Tail::Exit,
            End::Goto(to) if Some(to) == next => Tail::Nothing,
            End::Goto(to) if is_exit(to) => Tail::Exit,
            End::Goto(to) => Tail::Goto(to),
            End::Branch(_, _, _, then, otherwise) if then == otherwise => {
                if Some(then) == next {
                    Tail::Nothing
                } else {
                    Tail::Goto(then)
                }
            }
            End::Branch(jump, left, right, then, otherwise) => {
                if Some(otherwise) == next {
                    return Tail::Branch(jump, left, right, then, None);
                }
                match inverse_jump(jump.op, self.target) {
                    Some(op) if Some(then) == next => {
                        Tail::Branch(Jump { op, ..jump }, left, right, otherwise, None)
                    }
                    _ => Tail::Branch(jump, left, right, then, Some(otherwise)),
                }
            }
        }
    }

    fn emit(mut self) -> Result<Emitted, Option<Line>> {
        let order = self.reached();
        let tails: Vec<Tail> = order
            .iter()
            .enumerate()
            .map(|(i, &part)| self.tail(part, order.get(i + 1).copied()))
            .collect();
        let mut starts = vec![0_i64; self.parts.len()];
        loop {
            let mut at = 0;
            for (&part, &tail) in order.iter().zip(&tails) {
                starts[part] = at;
                at += self.parts[part].insns.len() as i64 + self.tail_len(part, tail);
            }
            if !self.lengthen(&order, &tails, &starts)? {
                break;
            }
        }
        let mut emitted = Emitted::default();
        for (&part, &tail) in order.iter().zip(&tails) {
            let base = emitted.insns.len() as u32;
            let data = &mut self.parts[part];
            emitted.calls.extend(data.calls.iter().map(|&(at, func)| (base + at, func)));
            emitted.insns.append(&mut data.insns);
            self.emit_tail(part, tail, &starts, &mut emitted.insns);
        }
        Ok(emitted)
    }

    fn tail_len(&self, part: usize, tail: Tail) -> i64 {
        match tail {
            Tail::Nothing => 0,
            Tail::Exit | Tail::Goto(_) => 1,
            Tail::Branch(..) if self.long[part] => 3,
            Tail::Branch(.., other) => 1 + i64::from(other.is_some()),
        }
    }

    /// Marks jumps that are too far, and tells whether there were any; an error when the target
    /// has no longer ones.
    fn lengthen(
        &mut self,
        order: &[usize],
        tails: &[Tail],
        starts: &[i64],
    ) -> Result<bool, Option<Line>> {
        let mut changed = false;
        for (&part, &tail) in order.iter().zip(tails) {
            let end = starts[part] + self.parts[part].insns.len() as i64 + 4;
            let far = |to: usize| (starts[to] - end).abs() > i64::from(i16::MAX) - 8;
            let needed = match tail {
                Tail::Nothing | Tail::Exit => false,
                Tail::Goto(to) => far(to),
                Tail::Branch(_, _, _, to, other) => far(to) || other.is_some_and(far),
            };
            if needed && !self.long[part] {
                if !self.target.has_v4() {
                    return Err(self.parts[part].line.map(Line));
                }
                self.long[part] = true;
                changed = true;
            }
        }
        Ok(changed)
    }

    fn emit_tail(&self, part: usize, tail: Tail, starts: &[i64], out: &mut Vec<SpecInsn>) {
        let line = self.parts[part].line;
        let long = self.long[part];
        let end = out.len() as i64;
        let mut push = |insn: Insn| out.push(SpecInsn { insn, reference: None, line });
        let goto = |to: usize, at: i64| {
            let distance = starts[to] - (at + 1);
            if long { Insn::ja_long(distance as i32) } else { Insn::ja(distance as i16) }
        };
        match tail {
            Tail::Nothing => {}
            Tail::Exit => push(Insn::exit()),
            Tail::Goto(to) => push(goto(to, end)),
            Tail::Branch(jump, left, right, to, other) => {
                if !long {
                    push(jump_insn(jump, left, right, (starts[to] - (end + 1)) as i16));
                    if let Some(other) = other {
                        push(goto(other, end + 1));
                    }
                    return;
                }
                // Over the jump on, to the long jump.
                push(jump_insn(jump, left, right, 1));
                match other {
                    Some(other) => push(goto(other, end + 1)),
                    None => push(Insn::ja(1)),
                }
                push(goto(to, end + 2));
            }
        }
    }
}
