//! Several instructions as one, block by block.
//!
//! For each register the pass knows how its value comes about from what other registers still hold.
//! Whoever uses the value can then be given those. What is no longer used afterwards is taken out
//! by [`super::liveness`].

use std::ops::Range;

use bombus_isa::{AluOp, Cond, Endian, Op, Operand, Reg, Size, Width};

use super::inst::{Address, Inst, Test};

/// What a register held at some time: it is still there while its version is the same.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Held {
    reg: Reg,
    version: u32,
}

/// How a value comes about.
#[derive(Clone, Copy)]
enum Value {
    Unknown,
    /// `base + index << scale + disp`.
    Sum {
        base: Held,
        index: Option<(Held, u8)>,
        disp: i32,
    },
    /// The low half of this, and zeros.
    Low {
        of: Held,
    },
    /// `of << distance` or `of >> distance`, by the instruction in `slot`.
    Shifted {
        left: bool,
        width: Width,
        of: Held,
        distance: u8,
        slot: usize,
    },
    /// `of & mask`.
    Masked {
        width: Width,
        of: Held,
        mask: i32,
    },
    /// Read from memory, which has not been written to since `epoch`.
    Loaded {
        size: Size,
        base: Held,
        index: Option<(Held, u8)>,
        disp: i32,
        epoch: u32,
    },
}

/// The state between two instructions.
struct State {
    versions: [u32; 16],
    values: [Value; 16],
    /// Counts writes to memory.
    epoch: u32,
}

/// Folds every block.
pub(super) fn fold(insts: &mut [Inst], blocks: &[Range<usize>]) {
    let mut versions = [0; 16];
    for block in blocks {
        let mut state = State { versions, values: [Value::Unknown; 16], epoch: 0 };
        for slot in block.clone() {
            state.replace(&mut insts[block.start..], slot - block.start);
        }
        versions = state.versions;
    }
}

impl State {
    fn holds(&self, held: Held) -> bool {
        self.versions[usize::from(held.reg.0)] == held.version
    }

    fn held(&self, reg: Reg) -> Held {
        Held { reg, version: self.versions[usize::from(reg.0)] }
    }

    /// The register's value as a sum of what is still there; at worst itself.
    fn sum(&self, reg: Reg) -> Address {
        match self.values[usize::from(reg.0)] {
            Value::Sum { base, index, disp }
                if self.holds(base) && index.is_none_or(|(index, _)| self.holds(index)) =>
            {
                let index = index.map(|(index, scale)| (index.reg, scale));
                Address { base: base.reg, index, disp }
            }
            _ => Address { base: reg, index: None, disp: 0 },
        }
    }

    /// The register that this one is a copy of, as far as the width goes, or itself.
    fn origin(&self, width: Width, reg: Reg) -> Reg {
        match (self.values[usize::from(reg.0)], width) {
            (Value::Low { of }, Width::W32) if self.holds(of) => return of.reg,
            _ => {}
        }
        match self.sum(reg) {
            Address { base, index: None, disp: 0 } => base,
            _ => reg,
        }
    }

    fn origin_of(&self, width: Width, operand: Operand) -> Operand {
        match operand {
            Operand::Reg(reg) => Operand::Reg(self.origin(width, reg)),
            imm => imm,
        }
    }

    /// The address of an access.
    fn address(&self, base: Reg, off: i16) -> Address {
        let sum = self.sum(base);
        match sum.disp.checked_add(off.into()) {
            Some(disp) => Address { disp, ..sum },
            None => Address { base, index: None, disp: off.into() },
        }
    }

    /// As a value, while its registers stay.
    fn of_address(&self, address: Address) -> Value {
        let index = address.index.map(|(index, scale)| (self.held(index), scale));
        Value::Sum { base: self.held(address.base), index, disp: address.disp }
    }

    /// Another value is in `dst` now.
    fn set(&mut self, dst: Reg, value: Value) {
        self.versions[usize::from(dst.0)] += 1;
        self.values[usize::from(dst.0)] = value;
    }

    /// Puts in place of the instruction at `slot` of a block what is better.
    fn replace(&mut self, insts: &mut [Inst], slot: usize) {
        let inst = insts[slot];
        if let Inst::Branch { test, off } = inst {
            insts[slot] = Inst::Branch { test: self.test(test), off };
            return;
        }
        let Inst::Op(op) = inst else { return self.pass(inst) };
        insts[slot] = match op {
            Op::Alu { width, op, dst, src } => return self.alu(insts, slot, width, op, dst, src),
            Op::End { order: Endian::Be | Endian::Swap, size, dst } => {
                return self.swapped(insts, slot, size, dst);
            }
            Op::Load { size, signed, dst, base, off } => {
                let address = self.address(base, off);
                let index = address.index.map(|(index, scale)| (self.held(index), scale));
                let (base, disp, epoch) = (self.held(address.base), address.disp, self.epoch);
                let loaded = Value::Loaded { size, base, index, disp, epoch };
                self.set(dst, if signed { Value::Unknown } else { loaded });
                Inst::Load { size, signed, dst, address }
            }
            Op::Store { size, base, off, src } => {
                let width = if size == Size::Dw { Width::W64 } else { Width::W32 };
                let (address, src) = (self.address(base, off), self.origin_of(width, src));
                self.epoch += 1;
                Inst::Store { size, address, src }
            }
            Op::MovSx { width, from, dst, src } => {
                let src = self.origin(Width::W32, src);
                self.set(dst, Value::Unknown);
                Inst::Op(Op::MovSx { width, from, dst, src })
            }
            _ => return self.pass(inst),
        };
    }

    /// Notes what an instruction changes that stays as it is.
    fn pass(&mut self, inst: Inst) {
        self.epoch += u32::from(inst.writes_memory());
        let defs = inst.defs();
        (0..16)
            .filter(|reg| defs & (1 << reg) != 0)
            .for_each(|reg| self.set(Reg(reg), Value::Unknown));
    }

    /// The same question, of those that still know the answer.
    fn test(&self, test: Test) -> Test {
        let Test { width, cond, negated, a, b } = test;
        if let (Value::Masked { width: masked, of, mask }, Operand::Imm(0)) =
            (self.values[usize::from(a.0)], b)
            && self.holds(of)
            && (masked == width || mask >= 0 || width == Width::W32)
            && matches!(cond, Cond::Eq | Cond::Ne)
        {
            let narrow = if mask >= 0 { Width::W32 } else { masked };
            let width = if width == Width::W32 { width } else { narrow };
            let negated = negated != (cond == Cond::Eq);
            return Test { width, cond: Cond::Set, negated, a: of.reg, b: Operand::Imm(mask) };
        }
        Test { a: self.origin(width, a), b: self.origin_of(width, b), ..test }
    }

    /// A byte swap: of what was just loaded, or of a register.
    fn swapped(&mut self, insts: &mut [Inst], slot: usize, size: Size, dst: Reg) {
        let value = self.values[usize::from(dst.0)];
        self.set(dst, Value::Unknown);
        // Right before, whatever happened to the registers of the address.
        if let Some(before) = slot.checked_sub(1)
            && let Inst::Load { size: loaded, signed: false, dst: into, address } = insts[before]
            && (loaded, into) == (size, dst)
        {
            insts[before] = Inst::Nop;
            insts[slot] = Inst::LoadSwapped { size, dst, address };
            return;
        }
        if let Value::Loaded { size: loaded, base, index, disp, epoch } = value
            && (loaded, epoch) == (size, self.epoch)
            && self.holds(base)
            && index.is_none_or(|(index, _)| self.holds(index))
        {
            let index = index.map(|(index, scale)| (index.reg, scale));
            let address = Address { base: base.reg, index, disp };
            insts[slot] = Inst::LoadSwapped { size, dst, address };
        }
    }

    fn alu(
        &mut self,
        insts: &mut [Inst],
        slot: usize,
        width: Width,
        op: AluOp,
        dst: Reg,
        src: Operand,
    ) {
        let src = self.origin_of(width, src);
        let plain = Inst::Op(Op::Alu { width, op, dst, src });
        let before = self.sum(dst);
        // The register that `dst` is still a copy of.
        let copied = Some(self.origin(width, dst)).filter(|&origin| origin != dst);
        let (inst, value) = match (op, width, src) {
            (AluOp::Mov, Width::W64, Operand::Reg(from)) => {
                let address = self.sum(from);
                if from == dst {
                    insts[slot] = Inst::Nop;
                    return;
                }
                (plain, self.of_address(address))
            }
            (AluOp::Mov, Width::W32, Operand::Reg(from)) => {
                let of = self.held(from);
                (Inst::Truncate { from: Size::W, dst, src: from }, Value::Low { of })
            }
            (AluOp::Add, Width::W64, Operand::Imm(imm)) => match before.disp.checked_add(imm) {
                Some(disp) if before.base != dst && before.index.is_none_or(|(i, _)| i != dst) => {
                    let address = Address { disp, ..before };
                    (self.lea(plain, dst, address), self.of_address(address))
                }
                _ => (plain, Value::Unknown),
            },
            (AluOp::Lsh | AluOp::Rsh, _, Operand::Imm(distance)) => {
                self.shifted(plain, op, width, dst, distance, slot)
            }
            (AluOp::And, _, Operand::Imm(mask)) => {
                let truncated = match mask {
                    0xff => Some(Size::B),
                    0xffff => Some(Size::H),
                    _ => None,
                };
                let inst = match truncated {
                    Some(from) => Inst::Truncate { from, dst, src: copied.unwrap_or(dst) },
                    None => plain,
                };
                let masked = |of| Value::Masked { width, of: self.held(of), mask };
                (inst, copied.map_or(Value::Unknown, masked))
            }
            (AluOp::Or | AluOp::Xor | AluOp::Add, _, Operand::Reg(other))
                if let Some(rotation) = self.rotation(insts, slot, width, dst, other) =>
            {
                (rotation, Value::Unknown)
            }
            (AluOp::Add, Width::W64, Operand::Reg(other)) => self.add(plain, dst, other),
            _ => (plain, Value::Unknown),
        };
        self.set(dst, value);
        insts[slot] = inst;
    }

    /// A sum in one instruction, where that is no slower than the addition.
    fn lea(&self, plain: Inst, dst: Reg, address: Address) -> Inst {
        if address.index.is_some() && address.disp != 0 {
            return plain;
        }
        Inst::Lea { dst, address }
    }

    fn add(&self, plain: Inst, dst: Reg, other: Reg) -> (Inst, Value) {
        let before = self.sum(dst);
        if before.base == dst || before.index.is_some() || other == dst {
            // What dst was is gone; but it may have been a shifted register.
            if let Value::Shifted {
                left: true, width: Width::W64, of, distance: scale @ 1..=3, ..
            } = self.values[usize::from(dst.0)]
                && self.holds(of)
                && of.reg != dst
                && other != dst
            {
                let address = Address { base: other, index: Some((of.reg, scale)), disp: 0 };
                return (Inst::Lea { dst, address }, self.of_address(address));
            }
            return (plain, Value::Unknown);
        }
        let shifted = match self.values[usize::from(other.0)] {
            Value::Shifted {
                left: true, width: Width::W64, of, distance: scale @ 1..=3, ..
            } if self.holds(of) && of.reg != dst => Some((of.reg, scale)),
            _ => None,
        };
        let address = match shifted {
            Some(index) => Address { index: Some(index), ..before },
            None => match self.sum(other) {
                Address { base, index: None, disp } if base != dst => {
                    let disp = before.disp.checked_add(disp);
                    match disp {
                        Some(disp) => Address { base: before.base, index: Some((base, 0)), disp },
                        None => return (plain, Value::Unknown),
                    }
                }
                _ => Address { index: Some((other, 0)), ..before },
            },
        };
        (self.lea(plain, dst, address), self.of_address(address))
    }

    fn shifted(
        &self,
        plain: Inst,
        op: AluOp,
        width: Width,
        dst: Reg,
        distance: i32,
        slot: usize,
    ) -> (Inst, Value) {
        let bits = if width == Width::W64 { 64 } else { 32 };
        let distance = (distance & (bits - 1)) as u8;
        // dst <<= 32; dst >>= 32
        if let (AluOp::Rsh, Width::W64, 32) = (op, width, distance)
            && let Value::Shifted { left: true, width: Width::W64, of, distance: 32, .. } =
                self.values[usize::from(dst.0)]
            && self.holds(of)
        {
            return (Inst::Truncate { from: Size::W, dst, src: of.reg }, Value::Low { of });
        }
        let of = self.held(self.origin(width, dst));
        let value = match distance {
            0 => Value::Unknown,
            _ => Value::Shifted { left: op == AluOp::Lsh, width, of, distance, slot },
        };
        (plain, value)
    }

    /// `x << a | x >> b` where both together are the whole width. What stands in place of the last
    /// operation, when that is one; the instructions before may change, too.
    fn rotation(
        &mut self,
        insts: &mut [Inst],
        slot: usize,
        width: Width,
        dst: Reg,
        other: Reg,
    ) -> Option<Inst> {
        let shifted = |reg: Reg| match self.values[usize::from(reg.0)] {
            Value::Shifted { left, width: shifted, of, distance, slot } if shifted == width => {
                Some((left, of, distance, slot))
            }
            _ => None,
        };
        let (left, of, distance, at) = shifted(dst)?;
        let (other_left, other_of, other_distance, other_at) = shifted(other)?;
        let bits = if width == Width::W64 { 64 } else { 32 };
        if left == other_left || of != other_of || distance + other_distance != bits {
            return None;
        }
        let right = if left { other_distance } else { distance };
        if self.holds(of) {
            return Some(Inst::Rotate { width, dst, src: of.reg, right });
        }
        // The operand was shifted where it was: rotate there instead, if nobody looks meanwhile.
        let last = at.max(other_at);
        let in_place = if last == at { dst } else { other };
        let touched = super::inst::bit(dst) | super::inst::bit(other);
        let untouched =
            insts[last + 1..slot].iter().all(|inst| (inst.uses() | inst.defs()) & touched == 0);
        if in_place != of.reg || !untouched {
            return None;
        }
        let shift =
            std::mem::replace(&mut insts[last], Inst::Rotate { width, dst, src: of.reg, right });
        // If the shifted operand is another register than the result, somebody may still want it.
        self.values[usize::from(other.0)] = Value::Unknown;
        Some(if in_place == dst { Inst::Nop } else { shift })
    }
}
