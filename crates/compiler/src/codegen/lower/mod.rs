//! Instruction selection.
//!
//! Blocks and instructions are visited backwards, as in Cranelift: when an operation is reached, it
//! is known whether anything still needs its result in a register, since users that could take it
//! in (as an immediate, an address, a condition) have done so. Numbers and addresses of slots, maps
//! and functions are made afresh at each use: that is cheaper than a register over a call, and the
//! form that the kernel's verifier knows best.

mod condition;
mod order;

use bombus_isa::Size;
use bombus_isa::opcode::alu;
use regalloc2::{Block as MachBlock, Operand, VReg};

use super::vcode::{Mach, MachInst, Place, VCode, preg, vreg};
use crate::Target as Machine;
use crate::ir::bits::low_bits_of_op;
use crate::ir::{
    BinaryOp, Cfg, FuncRef, Function, Inst, Line, LoadWidth, MapRef, Op, StackSlot, Target, Term,
    UnaryOp, Value,
};

pub(super) use condition::inverse_jump;
use order::{Origin, order};

/// Selects instructions for a function.
pub(super) fn lower(func: &Function, machine: Machine) -> VCode {
    let cfg = Cfg::new(func);
    let defs = func.definitions();
    let mut bits = vec![64; func.values as usize];
    for &block in &cfg.rpo {
        for inst in &func.blocks[block.index()].insts {
            let number = |value: Value| match defs[value.index()] {
                Some(Op::Const(number)) => Some(*number),
                _ => None,
            };
            if let Some(result) = inst.result {
                bits[result.index()] = low_bits_of_op(&inst.op, &bits, number);
            }
        }
    }
    let mut lower = Lower {
        func,
        machine,
        defs,
        bits,
        uses: func.use_counts(),
        needed: vec![false; func.values as usize],
        code: VCode { registers: func.values as usize, ..VCode::default() },
        now: Vec::new(),
        line: None,
    };
    lower.run(&cfg);
    lower.code
}

/// What can be made anywhere for the price of a move.
#[derive(Clone, Copy)]
enum Fresh {
    Number(i64),
    Slot(StackSlot, i32),
    Map(MapRef),
    MapValue(MapRef, u32),
    Func(FuncRef),
}

struct Lower<'a> {
    func: &'a Function,
    machine: Machine,
    defs: Vec<Option<&'a Op>>,
    /// By value: how many low bits may be set.
    bits: Vec<u8>,
    uses: Vec<u32>,
    /// By value: whether something wants it in a register.
    needed: Vec<bool>,
    /// Instructions are in reverse until the end.
    code: VCode,
    /// What the current operation becomes, forwards.
    now: Vec<MachInst>,
    line: Option<Line>,
}

impl<'a> Lower<'a> {
    fn run(&mut self, cfg: &Cfg) {
        let order = order(self.func, cfg);
        let mut block_index = vec![u32::MAX; self.func.blocks.len()];
        for (i, origin) in order.iter().enumerate() {
            if let Origin::Block(block) = origin {
                block_index[block.index()] = i as u32;
            }
        }
        let index = |target: &Target| MachBlock::new(block_index[target.block.index()] as usize);
        let count = order.len();
        self.code.ranges = vec![(0, 0); count];
        self.code.succs = vec![Vec::new(); count];
        self.code.preds = vec![Vec::new(); count];
        self.code.params = vec![Vec::new(); count];
        self.code.args = vec![Vec::new(); count];
        for (i, &origin) in order.iter().enumerate().rev() {
            let end = self.code.insts.len() as u32;
            let succs = match origin {
                Origin::Edge(block, is_then) => {
                    let Term::Branch(_, then, otherwise) = self.func.term(block) else { continue };
                    let target = if is_then { then } else { otherwise };
                    self.line = self.func.blocks[block.index()].term_line;
                    self.goto(i, target);
                    vec![index(target)]
                }
                Origin::Block(block) => {
                    let data = &self.func.blocks[block.index()];
                    let succs = match self.func.term(block) {
                        Term::Jump(target) => vec![index(target)],
                        Term::Branch(_, then, otherwise) => {
                            let find = |target: &Target, is_then| {
                                let edge = Origin::Edge(block, is_then);
                                let position = order[i..].iter().take(3).position(|&o| o == edge);
                                position.map_or(index(target), |at| MachBlock::new(i + at))
                            };
                            vec![find(then, true), find(otherwise, false)]
                        }
                        Term::Return(_) | Term::Unreachable => Vec::new(),
                    };
                    self.line = data.term_line;
                    let negated = self.term(i, self.func.term(block));
                    for inst in data.insts.iter().rev() {
                        self.line = inst.line;
                        self.inst(inst);
                        self.flush();
                    }
                    if i == 0 {
                        self.arguments(&data.params);
                    } else {
                        self.code.params[i] = data.params.iter().map(|v| vreg(v.0)).collect();
                    }
                    if negated { succs.into_iter().rev().collect() } else { succs }
                }
            };
            self.code.succs[i] = succs;
            self.code.ranges[i] = (end, self.code.insts.len() as u32);
        }
        self.finish();
    }

    /// Turns the order of instructions around and fills in predecessors.
    fn finish(&mut self) {
        let code = &mut self.code;
        code.insts.reverse();
        let total = code.insts.len() as u32;
        for range in &mut code.ranges {
            *range = (total - range.1, total - range.0);
        }
        for i in 0..code.succs.len() {
            for j in 0..code.succs[i].len() {
                let succ = code.succs[i][j];
                code.preds[succ.index()].push(MachBlock::new(i));
            }
        }
    }

    fn flush(&mut self) {
        self.code.insts.extend(self.now.drain(..).rev());
    }

    fn push(&mut self, op: Mach, operands: &[Operand]) {
        let start = self.code.operands.len() as u32;
        self.code.operands.extend_from_slice(operands);
        let operands = (start, self.code.operands.len() as u32);
        self.now.push(MachInst { op, line: self.line, operands });
    }

    fn temp(&mut self) -> VReg {
        self.code.registers += 1;
        vreg(self.code.registers as u32 - 1)
    }

    fn def(&self, value: Value) -> Option<&'a Op> {
        self.defs[value.index()]
    }

    fn number(&self, value: Value) -> Option<i64> {
        match self.def(value) {
            Some(Op::Const(number)) => Some(*number),
            _ => None,
        }
    }

    fn imm(&self, value: Value) -> Option<i32> {
        self.number(value).and_then(|number| i32::try_from(number).ok())
    }

    fn is_used_once(&self, value: Value) -> bool {
        self.uses[value.index()] == 1
    }

    fn fresh(&self, value: Value) -> Option<Fresh> {
        match *self.def(value)? {
            Op::Const(number) => Some(Fresh::Number(number)),
            Op::SlotAddr(slot) => Some(Fresh::Slot(slot, 0)),
            Op::MapAddr(map) => Some(Fresh::Map(map)),
            Op::MapValueAddr(map, offset) => Some(Fresh::MapValue(map, offset)),
            Op::FuncAddr(func) => Some(Fresh::Func(func)),
            Op::Binary(BinaryOp::Add, a, b) => {
                let number = self.imm(b)?;
                match *self.def(a)? {
                    Op::SlotAddr(slot) => Some(Fresh::Slot(slot, number)),
                    Op::MapValueAddr(map, offset) => {
                        Some(Fresh::MapValue(map, offset.checked_add_signed(number)?))
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// The value in a register.
    fn reg(&mut self, value: Value) -> VReg {
        let op = match self.fresh(value) {
            None => {
                self.needed[value.index()] = true;
                return vreg(value.0);
            }
            Some(Fresh::Number(number)) => Mach::Imm(number),
            Some(Fresh::Slot(slot, offset)) => Mach::SlotAddr(slot, offset),
            Some(Fresh::Map(map)) => Mach::Map(map),
            Some(Fresh::MapValue(map, offset)) => Mach::MapValue(map, offset),
            Some(Fresh::Func(func)) => Mach::Func(func),
        };
        let result = self.temp();
        self.push(op, &[Operand::reg_def(result)]);
        result
    }

    fn use_reg(&mut self, value: Value) -> Operand {
        Operand::reg_use(self.reg(value))
    }

    fn arguments(&mut self, params: &[Value]) {
        let defs: Vec<Operand> = params
            .iter()
            .enumerate()
            .filter(|(_, param)| self.needed[param.index()])
            .map(|(i, param)| Operand::reg_fixed_def(vreg(param.0), preg(i + 1)))
            .collect();
        if !defs.is_empty() {
            self.push(Mach::Args, &defs);
            self.flush();
        }
    }

    fn goto(&mut self, block: usize, target: &Target) {
        self.code.args[block] = target.args.iter().map(|&arg| self.reg(arg)).collect();
        self.push(Mach::Goto, &[]);
        self.flush();
    }

    /// Says whether a branch goes to its second target when its jump is taken.
    fn term(&mut self, block: usize, term: &Term) -> bool {
        let mut negated = false;
        match term {
            Term::Jump(target) => self.goto(block, target),
            Term::Branch(test, ..) => {
                let condition = self.condition(*test);
                negated = condition.negated;
                let (jump, operands) = self.jump(condition);
                self.push(Mach::Branch(jump), &operands);
            }
            Term::Return(value) => {
                let value = self.reg(*value);
                self.push(Mach::Return, &[Operand::reg_fixed_use(value, preg(0))]);
            }
            Term::Unreachable => {
                let zero = self.temp();
                self.push(Mach::Imm(0), &[Operand::reg_def(zero)]);
                self.push(Mach::Return, &[Operand::reg_fixed_use(zero, preg(0))]);
            }
        }
        self.flush();
        negated
    }

    fn inst(&mut self, inst: &Inst) {
        let needed = inst.result.is_some_and(|result| self.needed[result.index()]);
        if inst.op.is_removable() && !needed {
            return;
        }
        let result = inst.result.map_or_else(VReg::invalid, |value| vreg(value.0));
        match inst.op {
            // Made afresh where they are needed.
            Op::Const(_)
            | Op::SlotAddr(_)
            | Op::MapAddr(_)
            | Op::MapValueAddr(..)
            | Op::FuncAddr(_) => {}
            Op::Unary(op, a) => self.unary(op, a, result),
            Op::Binary(op, a, b) => self.binary(op, a, b, true, result),
            Op::Compare(cond, a, b) => {
                let condition = self.compare(cond, a, b);
                self.truth(condition, result);
            }
            Op::Select(test, a, b) => self.select(test, a, b, result),
            Op::Load { width, base, offset } => self.load(width, base, offset, result),
            Op::Store { bytes, value, base, offset } => self.store(bytes, value, base, offset),
            Op::AtomicAdd { bytes, value, base, offset } => {
                let value = self.use_reg(value);
                let (at, base) = self.place(base, offset);
                let operands: Vec<Operand> = [value].into_iter().chain(base).collect();
                self.push(Mach::AtomicAdd(size(bytes), at), &operands);
            }
            Op::CallHelper(helper, ref args) => {
                self.call(Mach::CallHelper(helper), args, needed.then_some(result));
            }
            Op::Call(func, ref args) => {
                self.call(Mach::Call(func), args, needed.then_some(result));
            }
            // Written out before.
            Op::Zero { .. } | Op::Copy { .. } => {}
        }
    }

    fn alu(&mut self, op: u8, wide: bool, a: VReg, imm: i32, result: VReg) {
        let op = Mach::Alu { op, wide, signed: false, imm: Some(imm) };
        self.push(op, &[Operand::reg_use(a), Operand::reg_reuse_def(result, 0)]);
    }

    fn unary(&mut self, op: UnaryOp, a: Value, result: VReg) {
        if op == UnaryOp::Zext32 && self.machine.has_alu32() && self.narrow_binary(a, result) {
            return;
        }
        let a = self.reg(a);
        let in_place = [Operand::reg_use(a), Operand::reg_reuse_def(result, 0)];
        let moved = [Operand::reg_use(a), Operand::reg_def(result)];
        let v4 = self.machine.has_v4();
        match op {
            UnaryOp::Neg => self.push(Mach::Neg, &in_place),
            UnaryOp::Not => self.alu(alu::XOR, true, a, -1, result),
            UnaryOp::Zext8 => self.alu(alu::AND, true, a, 0xff, result),
            UnaryOp::Zext16 => self.alu(alu::AND, true, a, 0xffff, result),
            UnaryOp::Zext32 if self.machine.has_alu32() => {
                self.push(Mach::Extend { bits: 32, signed: false }, &moved);
            }
            UnaryOp::Zext32 => self.two_shifts(32, alu::RSH, a, result),
            UnaryOp::Sext8 if v4 => self.push(Mach::Extend { bits: 8, signed: true }, &moved),
            UnaryOp::Sext16 if v4 => self.push(Mach::Extend { bits: 16, signed: true }, &moved),
            UnaryOp::Sext32 if v4 => self.push(Mach::Extend { bits: 32, signed: true }, &moved),
            UnaryOp::Sext8 => self.two_shifts(56, alu::ARSH, a, result),
            UnaryOp::Sext16 => self.two_shifts(48, alu::ARSH, a, result),
            UnaryOp::Sext32 => self.two_shifts(32, alu::ARSH, a, result),
            UnaryOp::Bswap16 => self.push(Mach::Swap(16), &in_place),
            UnaryOp::Bswap32 => self.push(Mach::Swap(32), &in_place),
            UnaryOp::Bswap64 => self.push(Mach::Swap(64), &in_place),
        }
    }

    fn two_shifts(&mut self, count: i32, back: u8, a: VReg, result: VReg) {
        let up = self.temp();
        self.alu(alu::LSH, true, a, count, up);
        self.alu(back, true, up, count, result);
    }

    /// A 32-bit operation zero-extends by itself: `zext32(a + b)` is `w += w`.
    fn narrow_binary(&mut self, value: Value, result: VReg) -> bool {
        let Some(&Op::Binary(op, a, b)) = self.def(value) else { return false };
        let fits = match op {
            BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::And
            | BinaryOp::Or
            | BinaryOp::Xor => true,
            BinaryOp::Shl => self.number(b).is_some_and(|shift| (0..32).contains(&shift)),
            _ => false,
        };
        if !fits || !self.is_used_once(value) || self.fresh(value).is_some() {
            return false;
        }
        self.binary(op, a, b, false, result);
        true
    }

    fn binary(&mut self, op: BinaryOp, a: Value, b: Value, wide: bool, result: VReg) {
        let (code, signed) = match op {
            BinaryOp::Add => (alu::ADD, false),
            BinaryOp::Sub => (alu::SUB, false),
            BinaryOp::Mul => (alu::MUL, false),
            BinaryOp::Udiv => (alu::DIV, false),
            BinaryOp::Sdiv => (alu::DIV, true),
            BinaryOp::Urem => (alu::MOD, false),
            BinaryOp::Srem => (alu::MOD, true),
            BinaryOp::And => (alu::AND, false),
            BinaryOp::Or => (alu::OR, false),
            BinaryOp::Xor => (alu::XOR, false),
            BinaryOp::Shl => (alu::LSH, false),
            BinaryOp::Lshr => (alu::RSH, false),
            BinaryOp::Ashr => (alu::ARSH, false),
        };
        let is_division = matches!(code, alu::DIV | alu::MOD);
        let is_shift = matches!(code, alu::LSH | alu::RSH | alu::ARSH);
        let mut wide = wide;
        let imm = match self.number(b) {
            Some(count) if is_shift => Some((count & 63) as i32),
            // The kernel refuses division by an immediate zero.
            Some(0) if is_division => None,
            Some(number) if !wide => Some(number as i32),
            Some(number) if code == alu::AND && self.machine.has_alu32() => {
                // A mask of 32 bits clears the upper half, as a 32-bit operation does.
                if i32::try_from(number).is_err() && u32::try_from(number).is_ok() {
                    wide = false;
                    Some(number as i32)
                } else {
                    i32::try_from(number).ok()
                }
            }
            Some(number) => i32::try_from(number).ok(),
            None => None,
        };
        let op_code = Mach::Alu { op: code, wide, signed, imm };
        if imm.is_some() {
            let a = self.use_reg(a);
            self.push(op_code, &[a, Operand::reg_reuse_def(result, 0)]);
            return;
        }
        // The result takes the left register: better one that nobody needs any more.
        let exchange = op.is_commutative()
            && ((!self.is_used_once(a) && self.is_used_once(b)) || self.fresh(b).is_some());
        let (a, b) = if exchange { (b, a) } else { (a, b) };
        let (a, b) = (self.use_reg(a), self.use_reg(b));
        self.push(op_code, &[a, b, Operand::reg_reuse_def(result, 0)]);
    }

    fn select(&mut self, test: Value, a: Value, b: Value, result: VReg) {
        let condition = self.condition(test);
        let (mut stays, mut other) = (a, b);
        let mut condition = condition;
        if condition.negated {
            (stays, other) = (other, stays);
        }
        // An immediate can be moved in one instruction after the jump.
        if self.imm(other).is_none()
            && self.imm(stays).is_some()
            && let Some(op) = inverse_jump(condition.op, self.machine)
        {
            condition.op = op;
            (stays, other) = (other, stays);
        }
        let (jump, operands) = self.jump(condition);
        let imm = self.imm(other);
        let mut all = vec![self.use_reg(stays)];
        all.extend(operands);
        if imm.is_none() {
            all.push(self.use_reg(other));
        }
        all.push(Operand::reg_reuse_def(result, 0));
        self.push(Mach::Select { cond: jump, imm }, &all);
    }

    /// The address of an access, and the operand for its base.
    fn place(&mut self, base: Value, offset: i32) -> (Place, Option<Operand>) {
        if let Some(Fresh::Slot(slot, start)) = self.fresh(base)
            && let Ok(offset) = i16::try_from(start.saturating_add(offset))
        {
            return (Place { slot: Some(slot), offset }, None);
        }
        if let Ok(offset) = i16::try_from(offset) {
            let base = self.use_reg(base);
            return (Place { slot: None, offset }, Some(base));
        }
        let base = self.reg(base);
        let sum = self.temp();
        self.alu(alu::ADD, true, base, offset, sum);
        (Place { slot: None, offset: 0 }, Some(Operand::reg_use(sum)))
    }

    fn load(&mut self, width: LoadWidth, base: Value, offset: i32, result: VReg) {
        let (at, base) = self.place(base, offset);
        let operands: Vec<Operand> = base.into_iter().chain([Operand::reg_def(result)]).collect();
        let op =
            Mach::Load { size: size(width.bytes() as u8), signed: width != width.unsigned(), at };
        self.push(op, &operands);
    }

    fn store(&mut self, bytes: u8, value: Value, base: Value, offset: i32) {
        let imm = match self.number(value) {
            Some(number) if bytes < 8 => Some(number as i32),
            Some(number) => i32::try_from(number).ok(),
            None => None,
        };
        if let Some(imm) = imm {
            let (at, base) = self.place(base, offset);
            // Only the low bytes are stored; the others would only confuse readers.
            let imm = match bytes {
                1 => i32::from(imm as i8),
                2 => i32::from(imm as i16),
                _ => imm,
            };
            self.push(Mach::StoreImm(size(bytes), at, imm), base.as_slice());
            return;
        }
        let value = self.use_reg(value);
        let (at, base) = self.place(base, offset);
        let operands: Vec<Operand> = [value].into_iter().chain(base).collect();
        self.push(Mach::Store(size(bytes), at), &operands);
    }

    fn call(&mut self, op: Mach, args: &[Value], result: Option<VReg>) {
        let mut operands = Vec::with_capacity(args.len() + 1);
        for (i, &arg) in args.iter().enumerate() {
            let arg = self.reg(arg);
            operands.push(Operand::reg_fixed_use(arg, preg(i + 1)));
        }
        let result = result.unwrap_or_else(|| self.temp());
        operands.push(Operand::reg_fixed_def(result, preg(0)));
        self.push(op, &operands);
    }
}

fn size(bytes: u8) -> Size {
    match bytes {
        1 => Size::B,
        2 => Size::H,
        4 => Size::W,
        _ => Size::Dw,
    }
}
