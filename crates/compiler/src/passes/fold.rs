//! Constant folding and algebraic simplification, with what is known of a value's upper bits.
//!
//! Numbers go to the right; additions of numbers go into the offsets of accesses. Pointers are
//! never rearranged otherwise: the kernel follows `pointer + number` and little else.

use crate::ir::{
    BinaryOp, Block, Cfg, Cond, Function, Inst, Line, Op, Replacements, Term, UnaryOp, Value,
};

use super::eval;
use crate::ir::bits::{low_bits_of_op, zero_extension_bits};

/// Folds; says whether anything changed.
pub fn run(func: &mut Function) -> bool {
    let cfg = Cfg::new(func);
    let mut fold = Fold {
        defs: vec![None; func.values as usize],
        bits: vec![64; func.values as usize],
        replaced: Replacements::new(func),
        out: Vec::new(),
        line: None,
        changed: false,
    };
    for &block in &cfg.rpo {
        fold.block(func, block);
    }
    func.values = fold.defs.len() as u32;
    fold.replaced.apply(func);
    fold.changed
}

struct Fold {
    /// By value: its definition, when that is an operation without side effects.
    defs: Vec<Option<Op>>,
    /// By value: how many low bits may be set.
    bits: Vec<u8>,
    replaced: Replacements,
    /// The block's new instructions.
    out: Vec<Inst>,
    line: Option<Line>,
    changed: bool,
}

/// What an operation turns into.
enum Simpler {
    Op(Op),
    Value(Value),
}

impl Fold {
    fn block(&mut self, func: &mut Function, block: Block) {
        let insts = std::mem::take(&mut func.blocks[block.index()].insts);
        self.out = Vec::with_capacity(insts.len());
        for mut inst in insts {
            inst.op.for_each_arg_mut(|value| *value = self.replaced.get(*value));
            self.line = inst.line;
            self.inst(inst);
        }
        let data = &mut func.blocks[block.index()];
        if let Some(term) = &mut data.term {
            term.for_each_arg_mut(|value| *value = self.replaced.get(*value));
            self.term(term);
        }
        data.insts = std::mem::take(&mut self.out);
    }

    fn inst(&mut self, mut inst: Inst) {
        let Some(result) = inst.result else {
            self.address(&mut inst.op);
            self.stored(&mut inst.op);
            self.out.push(inst);
            return;
        };
        self.address(&mut inst.op);
        // Each step makes the operation simpler; the bound guards against rules in a circle.
        for _ in 0..8 {
            match self.simplify(&inst.op) {
                Some(Simpler::Value(value)) => {
                    self.replaced.insert(result, value);
                    self.changed = true;
                    return;
                }
                Some(Simpler::Op(op)) => {
                    inst.op = op;
                    self.changed = true;
                }
                None => break,
            }
        }
        self.define(result, &inst.op);
        self.out.push(inst);
    }

    fn define(&mut self, result: Value, op: &Op) {
        self.bits[result.index()] = low_bits_of_op(op, &self.bits, |value| self.number(value));
        if op.is_pure() || matches!(op, Op::Load { .. }) {
            self.defs[result.index()] = Some(op.clone());
        }
    }

    fn def(&self, value: Value) -> Option<&Op> {
        self.defs[value.index()].as_ref()
    }

    fn number(&self, value: Value) -> Option<i64> {
        match self.def(value) {
            Some(Op::Const(number)) => Some(*number),
            _ => None,
        }
    }

    /// A number as a value, defined here.
    fn constant(&mut self, number: i64) -> Value {
        let op = Op::Const(number);
        let result = Value(self.defs.len() as u32);
        self.defs.push(None);
        self.bits.push(64);
        self.define(result, &op);
        self.out.push(Inst { result: Some(result), op, line: self.line });
        result
    }

    fn with_number(&mut self, op: BinaryOp, a: Value, number: i64) -> Option<Simpler> {
        let b = self.constant(number);
        Some(Simpler::Op(Op::Binary(op, a, b)))
    }

    fn compare_with(&mut self, cond: Cond, a: Value, number: i64) -> Option<Simpler> {
        let b = self.constant(number);
        Some(Simpler::Op(Op::Compare(cond, a, b)))
    }

    /// `(x + number)` as the base of an access becomes `x` and an offset.
    fn address(&mut self, op: &mut Op) {
        let mut fold = |base: &mut Value, offset: &mut i32| {
            while let Some(Op::Binary(BinaryOp::Add, a, b)) = self.def(*base) {
                let Some(number) = self.number(*b) else { break };
                let Ok(sum) = i16::try_from(number.wrapping_add(i64::from(*offset))) else { break };
                *base = *a;
                *offset = i32::from(sum);
                self.changed = true;
            }
        };
        match op {
            Op::Load { base, offset, .. }
            | Op::Store { base, offset, .. }
            | Op::AtomicAdd { base, offset, .. }
            | Op::Zero { base, offset, .. } => fold(base, offset),
            Op::Copy { to, to_offset, from, from_offset, .. } => {
                fold(to, to_offset);
                fold(from, from_offset);
            }
            _ => {}
        }
    }

    /// A store of some low bits does not need the others extended.
    fn stored(&mut self, op: &mut Op) {
        let Op::Store { bytes, value, .. } = op else { return };
        let width = *bytes * 8;
        loop {
            let kept = match self.def(*value) {
                Some(Op::Unary(op, _)) => zero_extension_bits(*op).or(sign_extension_bits(*op)),
                _ => None,
            };
            match (kept, self.def(*value)) {
                (Some(kept), Some(Op::Unary(_, inner))) if kept >= width => {
                    *value = *inner;
                    self.changed = true;
                }
                _ => return,
            }
        }
    }

    fn term(&mut self, term: &mut Term) {
        let Term::Branch(test, then, otherwise) = term else { return };
        while let Some(&Op::Compare(cond @ (Cond::Eq | Cond::Ne), a, b)) = self.def(*test) {
            if self.number(b) != Some(0) || !(cond == Cond::Ne || self.is_bool(a)) {
                return;
            }
            *test = a;
            if cond == Cond::Eq {
                std::mem::swap(then, otherwise);
            }
            self.changed = true;
        }
    }

    fn is_bool(&self, value: Value) -> bool {
        self.bits[value.index()] <= 1
    }

    fn simplify(&mut self, op: &Op) -> Option<Simpler> {
        match *op {
            Op::Unary(op, a) => self.unary(op, a),
            Op::Binary(op, a, b) => self.binary(op, a, b),
            Op::Compare(cond, a, b) => self.compare(cond, a, b),
            Op::Select(test, a, b) => self.select(test, a, b),
            _ => None,
        }
    }

    fn unary(&mut self, op: UnaryOp, a: Value) -> Option<Simpler> {
        if let Some(number) = self.number(a) {
            return Some(Simpler::Op(Op::Const(eval::unary(op, number))));
        }
        if let Some(width) = zero_extension_bits(op)
            && self.bits[a.index()] <= width
        {
            return Some(Simpler::Value(a));
        }
        if let Some(width) = sign_extension_bits(op)
            && self.bits[a.index()] < width
        {
            return Some(Simpler::Value(a));
        }
        let Some(&Op::Unary(inner_op, inner)) = self.def(a) else { return None };
        if op == inner_op && matches!(op, UnaryOp::Neg | UnaryOp::Not | UnaryOp::Bswap64) {
            return Some(Simpler::Value(inner));
        }
        let outer = zero_extension_bits(op).or(sign_extension_bits(op))?;
        let kept = zero_extension_bits(inner_op).or(sign_extension_bits(inner_op))?;
        // The outer extension reads only bits that the inner one passed on.
        if outer <= kept {
            return Some(Simpler::Op(Op::Unary(op, inner)));
        }
        // A wider sign extension of a sign extension changes nothing.
        if sign_extension_bits(op).is_some() && sign_extension_bits(inner_op).is_some() {
            return Some(Simpler::Value(a));
        }
        None
    }

    fn binary(&mut self, op: BinaryOp, a: Value, b: Value) -> Option<Simpler> {
        match (self.number(a), self.number(b)) {
            (Some(x), Some(y)) => Some(Simpler::Op(Op::Const(eval::binary(op, x, y)))),
            (Some(_), None) if op.is_commutative() => Some(Simpler::Op(Op::Binary(op, b, a))),
            (Some(0), None) if op == BinaryOp::Sub => Some(Simpler::Op(Op::Unary(UnaryOp::Neg, b))),
            (Some(0), None) if !matches!(op, BinaryOp::Sub) => Some(Simpler::Op(Op::Const(0))),
            (None, Some(number)) => self.binary_number(op, a, number),
            _ if a == b => self.binary_same(op, a),
            _ => None,
        }
    }

    fn binary_same(&mut self, op: BinaryOp, a: Value) -> Option<Simpler> {
        match op {
            BinaryOp::Sub | BinaryOp::Xor => Some(Simpler::Op(Op::Const(0))),
            BinaryOp::And | BinaryOp::Or => Some(Simpler::Value(a)),
            _ => None,
        }
    }

    /// `a op number`, with `a` unknown.
    fn binary_number(&mut self, op: BinaryOp, a: Value, number: i64) -> Option<Simpler> {
        let value = |value| Some(Simpler::Value(value));
        let constant = |number| Some(Simpler::Op(Op::Const(number)));
        let unary = |op| Some(Simpler::Op(Op::Unary(op, a)));
        let unsigned = number as u64;
        match (op, number) {
            (BinaryOp::Add | BinaryOp::Sub | BinaryOp::Or | BinaryOp::Xor, 0) => value(a),
            (BinaryOp::Shl | BinaryOp::Lshr | BinaryOp::Ashr, shift) if shift & 63 == 0 => value(a),
            (BinaryOp::Sub, number) => self.with_number(BinaryOp::Add, a, number.wrapping_neg()),
            (BinaryOp::Mul | BinaryOp::And | BinaryOp::Udiv | BinaryOp::Sdiv, 0) => constant(0),
            (BinaryOp::Urem | BinaryOp::Srem, 0) => value(a),
            (BinaryOp::Mul | BinaryOp::Udiv | BinaryOp::Sdiv, 1) => value(a),
            (BinaryOp::Urem | BinaryOp::Srem, 1) => constant(0),
            (BinaryOp::Mul | BinaryOp::Sdiv, -1) => unary(UnaryOp::Neg),
            (BinaryOp::And, -1) => value(a),
            (BinaryOp::Or, -1) => constant(-1),
            (BinaryOp::Xor, -1) => unary(UnaryOp::Not),
            (BinaryOp::And, 0xff) => unary(UnaryOp::Zext8),
            (BinaryOp::And, 0xffff) => unary(UnaryOp::Zext16),
            (BinaryOp::And, 0xffff_ffff) => unary(UnaryOp::Zext32),
            (BinaryOp::Mul, _) if unsigned.is_power_of_two() => {
                self.with_number(BinaryOp::Shl, a, i64::from(unsigned.trailing_zeros()))
            }
            (BinaryOp::Udiv, _) if unsigned.is_power_of_two() => {
                self.with_number(BinaryOp::Lshr, a, i64::from(unsigned.trailing_zeros()))
            }
            (BinaryOp::Urem, _) if unsigned.is_power_of_two() => {
                self.with_number(BinaryOp::And, a, number.wrapping_sub(1))
            }
            (BinaryOp::Sdiv | BinaryOp::Srem, 2..) if self.bits[a.index()] < 64 => {
                let unsigned = if op == BinaryOp::Sdiv { BinaryOp::Udiv } else { BinaryOp::Urem };
                self.with_number(unsigned, a, number)
            }
            _ => self.binary_chain(op, a, number),
        }
    }

    /// `(x inner y) op number`.
    fn binary_chain(&mut self, op: BinaryOp, a: Value, number: i64) -> Option<Simpler> {
        let bits = self.bits[a.index()];
        if op == BinaryOp::And && bits < 64 {
            let mask = max_of(bits);
            if number & mask == mask {
                return Some(Simpler::Value(a));
            }
        }
        if op == BinaryOp::Lshr && number & 63 >= i64::from(bits) {
            return Some(Simpler::Op(Op::Const(0)));
        }
        let Some(&Op::Binary(inner_op, x, y)) = self.def(a) else { return None };
        let inner = self.number(y)?;
        match (inner_op, op) {
            (BinaryOp::Add, BinaryOp::Add) => {
                self.with_number(BinaryOp::Add, x, inner.wrapping_add(number))
            }
            (BinaryOp::And, BinaryOp::And) => self.with_number(op, x, inner & number),
            (BinaryOp::Or, BinaryOp::Or) => self.with_number(op, x, inner | number),
            (BinaryOp::Xor, BinaryOp::Xor) => self.with_number(op, x, inner ^ number),
            (BinaryOp::Mul, BinaryOp::Mul) => self.with_number(op, x, inner.wrapping_mul(number)),
            (BinaryOp::Shl, BinaryOp::Lshr | BinaryOp::Ashr) if inner & 63 == number & 63 => {
                let unary = match (op, number & 63) {
                    (BinaryOp::Lshr, 56) => UnaryOp::Zext8,
                    (BinaryOp::Lshr, 48) => UnaryOp::Zext16,
                    (BinaryOp::Lshr, 32) => UnaryOp::Zext32,
                    (BinaryOp::Ashr, 56) => UnaryOp::Sext8,
                    (BinaryOp::Ashr, 48) => UnaryOp::Sext16,
                    (BinaryOp::Ashr, 32) => UnaryOp::Sext32,
                    _ => return None,
                };
                Some(Simpler::Op(Op::Unary(unary, x)))
            }
            (BinaryOp::Shl, BinaryOp::Shl) | (BinaryOp::Lshr, BinaryOp::Lshr) => {
                let sum = (inner & 63) + (number & 63);
                if sum > 63 {
                    return Some(Simpler::Op(Op::Const(0)));
                }
                self.with_number(op, x, sum)
            }
            _ => None,
        }
    }

    fn compare(&mut self, cond: Cond, a: Value, b: Value) -> Option<Simpler> {
        let truth = |holds| Some(Simpler::Op(Op::Const(i64::from(holds))));
        if a == b {
            return truth(eval::compare(cond, 0, 0));
        }
        match (self.number(a), self.number(b)) {
            (Some(x), Some(y)) => truth(eval::compare(cond, x, y)),
            (Some(_), None) => Some(Simpler::Op(Op::Compare(cond.swapped(), b, a))),
            (None, Some(number)) => self.compare_number(cond, a, number),
            (None, None) => None,
        }
    }

    /// `a cond number`, with `a` unknown.
    fn compare_number(&mut self, cond: Cond, a: Value, number: i64) -> Option<Simpler> {
        if let Some(holds) = self.known_comparison(cond, a, number) {
            return Some(Simpler::Op(Op::Const(i64::from(holds))));
        }
        match (cond, number) {
            (Cond::Ult, 1) | (Cond::Ule, 0) => return self.compare_with(Cond::Eq, a, 0),
            (Cond::Uge, 1) | (Cond::Ugt, 0) => return self.compare_with(Cond::Ne, a, 0),
            _ => {}
        }
        let (Cond::Eq | Cond::Ne) = cond else { return None };
        // A test of a test.
        if self.is_bool(a) && matches!(number, 0 | 1) {
            let same = (cond == Cond::Ne) == (number == 0);
            if same {
                return Some(Simpler::Value(a));
            }
            if let Some(&Op::Compare(inner, x, y)) = self.def(a) {
                return Some(Simpler::Op(Op::Compare(inner.inverse(), x, y)));
            }
        }
        if let Some(&Op::Select(test, x, y)) = self.def(a)
            && let (Some(x), Some(y)) = (self.number(x), self.number(y))
        {
            let then = eval::compare(cond, x, number);
            let otherwise = eval::compare(cond, y, number);
            if then == otherwise {
                return Some(Simpler::Op(Op::Const(i64::from(then))));
            }
            return self.compare_with(if then { Cond::Ne } else { Cond::Eq }, test, 0);
        }
        None
    }

    /// Decided by how many bits `a` has at most.
    fn known_comparison(&self, cond: Cond, a: Value, number: i64) -> Option<bool> {
        let bits = self.bits[a.index()];
        if bits == 64 {
            return match (cond, number) {
                (Cond::Ult, 0) => Some(false),
                (Cond::Uge, 0) => Some(true),
                _ => None,
            };
        }
        let max = max_of(bits);
        // As signed numbers, `a` is in 0..=max; as unsigned numbers, so is `number` when negative
        // above all of them.
        let (below, above) = if cond.is_signed() {
            (number > max, number < 0)
        } else {
            (number as u64 > max as u64, false)
        };
        match cond {
            Cond::Eq if below || above => Some(false),
            Cond::Ne if below || above => Some(true),
            Cond::Ult | Cond::Ule | Cond::Slt | Cond::Sle if below => Some(true),
            Cond::Ugt | Cond::Uge | Cond::Sgt | Cond::Sge if below => Some(false),
            Cond::Slt | Cond::Sle if above => Some(false),
            Cond::Sgt | Cond::Sge if above => Some(true),
            Cond::Ult | Cond::Slt if number == 0 => Some(false),
            Cond::Uge | Cond::Sge if number == 0 => Some(true),
            Cond::Ule | Cond::Sle if number == max => Some(true),
            Cond::Ugt | Cond::Sgt if number == max => Some(false),
            _ => None,
        }
    }

    fn select(&mut self, test: Value, a: Value, b: Value) -> Option<Simpler> {
        if let Some(number) = self.number(test) {
            return Some(Simpler::Value(if number == 0 { b } else { a }));
        }
        if a == b {
            return Some(Simpler::Value(a));
        }
        match (self.number(a), self.number(b)) {
            (Some(x), Some(y)) if x == y => return Some(Simpler::Value(a)),
            (Some(1), Some(0)) if self.is_bool(test) => return Some(Simpler::Value(test)),
            (Some(1), Some(0)) => return self.compare_with(Cond::Ne, test, 0),
            (Some(0), Some(1)) => return self.compare_with(Cond::Eq, test, 0),
            _ => {}
        }
        if let Some(&Op::Compare(cond @ (Cond::Eq | Cond::Ne), x, y)) = self.def(test)
            && self.number(y) == Some(0)
            && (cond == Cond::Ne || self.is_bool(x))
        {
            let (a, b) = if cond == Cond::Ne { (a, b) } else { (b, a) };
            return Some(Simpler::Op(Op::Select(x, a, b)));
        }
        None
    }
}

/// The greatest number of so many bits, fewer than 64.
fn max_of(bits: u8) -> i64 {
    i64::MAX >> (63 - bits)
}

fn sign_extension_bits(op: UnaryOp) -> Option<u8> {
    match op {
        UnaryOp::Sext8 => Some(8),
        UnaryOp::Sext16 => Some(16),
        UnaryOp::Sext32 => Some(32),
        _ => None,
    }
}
