//! Comparisons as the conditions of jumps: which jump, in how many bits, on which operands.
//!
//! Pointers are never compared in 32 bits: only what an extension says to be a number is.

use bombus_isa::opcode::jmp;
use regalloc2::{Operand, VReg};

use super::Lower;
use crate::Target as Machine;
use crate::codegen::vcode::{Jump, Mach};
use crate::ir::{BinaryOp, Cond, Op, UnaryOp, Value};

/// The right operand of an instruction.
#[derive(Clone, Copy)]
pub(super) enum Right {
    Imm(i32),
    Value(Value),
}

/// A comparison; `negated` when the jump is taken where it does not hold.
#[derive(Clone, Copy)]
pub(super) struct Condition {
    pub(super) op: u8,
    pub(super) wide: bool,
    pub(super) left: Value,
    pub(super) right: Right,
    pub(super) negated: bool,
}

impl Lower<'_> {
    /// What a branch or select tests.
    pub(super) fn condition(&self, test: Value) -> Condition {
        if let Some(&Op::Compare(cond, a, b)) = self.def(test) {
            return self.compare(cond, a, b);
        }
        self.test_not_zero(test, false)
    }

    /// `value != 0`, or `value == 0` when negated.
    fn test_not_zero(&self, value: Value, negated: bool) -> Condition {
        if self.is_used_once(value) {
            let masked = match self.def(value) {
                Some(&Op::Binary(BinaryOp::And, x, mask)) => Some((x, self.mask(mask))),
                Some(&Op::Unary(UnaryOp::Zext8, x)) => Some((x, Some((true, Right::Imm(0xff))))),
                Some(&Op::Unary(UnaryOp::Zext16, x)) => Some((x, Some((true, Right::Imm(0xffff))))),
                _ => None,
            };
            if let Some((left, Some((wide, right)))) = masked {
                return Condition { op: jmp::JSET, wide, left, right, negated };
            }
        }
        let cond = if negated { Cond::Eq } else { Cond::Ne };
        self.plain(cond, value, Right::Imm(0), self.narrow(value, false))
    }

    /// The right operand of a test of bits: whether it takes 64 bits, and what it is.
    fn mask(&self, mask: Value) -> Option<(bool, Right)> {
        match self.number(mask) {
            Some(number) => match i32::try_from(number) {
                Ok(imm) => Some((true, Right::Imm(imm))),
                Err(_) if self.machine.has_alu32() => {
                    u32::try_from(number).ok().map(|imm| (false, Right::Imm(imm as i32)))
                }
                Err(_) => None,
            },
            None => Some((true, Right::Value(mask))),
        }
    }

    /// The value whose low 32 bits decide, when the comparison can be one of 32 bits: `value` is an
    /// extension that nobody else needs.
    fn narrow(&self, value: Value, signed: bool) -> Option<Value> {
        if !self.machine.has_alu32() || !self.is_used_once(value) {
            return None;
        }
        match (self.def(value), signed) {
            (Some(&Op::Unary(UnaryOp::Zext32, x)), false) => Some(x),
            (Some(&Op::Unary(UnaryOp::Sext32, x)), true) => Some(x),
            _ => None,
        }
    }

    pub(super) fn compare(&self, cond: Cond, a: Value, b: Value) -> Condition {
        let is_equality = matches!(cond, Cond::Eq | Cond::Ne);
        if is_equality && self.number(b) == Some(0) {
            return self.test_not_zero(a, cond == Cond::Eq);
        }
        let unsigned = is_equality || !cond.is_signed();
        let signed = is_equality || cond.is_signed();
        if let Some(number) = self.number(b) {
            if unsigned && u32::try_from(number).is_ok() {
                let right = Right::Imm(number as i32);
                if let Some(x) = self.narrow(a, false) {
                    return self.plain(cond, a, right, Some(x));
                }
                let fits = i32::try_from(number).is_ok();
                if !fits && self.machine.has_alu32() && self.bits[a.index()] <= 32 {
                    return self.plain(cond, a, right, Some(a));
                }
            }
            if let Ok(imm) = i32::try_from(number) {
                let narrow = if signed { self.narrow(a, true) } else { None };
                return self.plain(cond, a, Right::Imm(imm), narrow);
            }
            return self.plain(cond, a, Right::Value(b), None);
        }
        for (allowed, is_signed) in [(unsigned, false), (signed, true)] {
            if !allowed {
                continue;
            }
            let already = |value: Value| {
                (!is_signed && self.machine.has_alu32() && self.bits[value.index()] <= 32)
                    .then_some(value)
            };
            let x = self.narrow(a, is_signed);
            let y = self.narrow(b, is_signed);
            if x.is_none() && y.is_none() {
                continue;
            }
            if let (Some(x), Some(y)) = (x.or(already(a)), y.or(already(b))) {
                return self.plain(cond, a, Right::Value(y), Some(x));
            }
        }
        self.plain(cond, a, Right::Value(b), None)
    }

    /// A comparison, of 32 bits of `narrow` when given.
    fn plain(&self, cond: Cond, a: Value, right: Right, narrow: Option<Value>) -> Condition {
        let (wide, left) = match narrow {
            Some(x) => (false, x),
            None => (true, a),
        };
        let lacking = matches!(cond, Cond::Ult | Cond::Ule | Cond::Slt | Cond::Sle);
        let negated = lacking && !self.machine.has_less_jumps();
        let op = match if negated { cond.inverse() } else { cond } {
            Cond::Eq => jmp::JEQ,
            Cond::Ne => jmp::JNE,
            Cond::Ult => jmp::JLT,
            Cond::Ule => jmp::JLE,
            Cond::Ugt => jmp::JGT,
            Cond::Uge => jmp::JGE,
            Cond::Slt => jmp::JSLT,
            Cond::Sle => jmp::JSLE,
            Cond::Sgt => jmp::JSGT,
            Cond::Sge => jmp::JSGE,
        };
        Condition { op, wide, left, right, negated }
    }

    pub(super) fn jump(&mut self, condition: Condition) -> (Jump, Vec<Operand>) {
        let left = self.use_reg(condition.left);
        let (imm, right) = match condition.right {
            Right::Imm(imm) => (Some(imm), None),
            Right::Value(value) => (None, Some(self.use_reg(value))),
        };
        let jump = Jump { op: condition.op, wide: condition.wide, imm };
        (jump, [left].into_iter().chain(right).collect())
    }

    /// 1 when it holds, else 0.
    pub(super) fn truth(&mut self, condition: Condition, result: VReg) {
        let start = self.temp();
        let (jump, operands) = self.jump(condition);
        self.push(Mach::Imm(i64::from(!condition.negated)), &[Operand::reg_def(start)]);
        let mut all = vec![Operand::reg_use(start)];
        all.extend(operands);
        all.push(Operand::reg_reuse_def(result, 0));
        let imm = Some(i32::from(condition.negated));
        self.push(Mach::Select { cond: jump, imm }, &all);
    }
}

/// The jump for the opposite comparison, where there is one.
pub(in crate::codegen) fn inverse_jump(op: u8, machine: Machine) -> Option<u8> {
    Some(match op {
        jmp::JEQ => jmp::JNE,
        jmp::JNE => jmp::JEQ,
        _ if !machine.has_less_jumps() => return None,
        jmp::JGT => jmp::JLE,
        jmp::JLE => jmp::JGT,
        jmp::JGE => jmp::JLT,
        jmp::JLT => jmp::JGE,
        jmp::JSGT => jmp::JSLE,
        jmp::JSLE => jmp::JSGT,
        jmp::JSGE => jmp::JSLT,
        jmp::JSLT => jmp::JSGE,
        _ => return None,
    })
}
