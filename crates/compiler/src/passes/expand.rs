//! Writes out what the target has no instruction for: zeroing and copying of memory as stores and
//! loads of the widest allowed width, signed division, sign-extending loads.

use crate::Target;
use crate::ir::{BinaryOp, Function, Inst, Line, LoadWidth, Op, UnaryOp, Value};

/// Expands; says whether there was anything.
pub fn run(func: &mut Function, target: Target) -> bool {
    let mut changed = false;
    for i in 0..func.layout.len() {
        let block = func.layout[i];
        if !func.blocks[block.index()].insts.iter().any(|inst| needs_expansion(&inst.op, target)) {
            continue;
        }
        changed = true;
        let insts = std::mem::take(&mut func.blocks[block.index()].insts);
        let mut expansion =
            Expansion { func, out: Vec::with_capacity(insts.len() * 2), line: None };
        for inst in insts {
            expansion.line = inst.line;
            if needs_expansion(&inst.op, target) {
                expansion.inst(inst);
            } else {
                expansion.out.push(inst);
            }
        }
        let out = expansion.out;
        func.blocks[block.index()].insts = out;
    }
    changed
}

fn needs_expansion(op: &Op, target: Target) -> bool {
    match op {
        Op::Zero { .. } | Op::Copy { .. } => true,
        Op::Binary(BinaryOp::Sdiv | BinaryOp::Srem, ..) => !target.has_v4(),
        Op::Load { width, .. } => *width != width.unsigned() && !target.has_v4(),
        _ => false,
    }
}

struct Expansion<'a> {
    func: &'a mut Function,
    out: Vec<Inst>,
    line: Option<Line>,
}

impl Expansion<'_> {
    fn inst(&mut self, inst: Inst) {
        match inst.op {
            Op::Zero { base, offset, size } => self.zero(base, offset, size),
            Op::Copy { to, to_offset, from, from_offset, size, align } => {
                self.copy((to, to_offset), (from, from_offset), size, align);
            }
            Op::Binary(op, a, b) => {
                if let Some(result) = inst.result {
                    self.signed_division(op, a, b, result);
                }
            }
            Op::Load { width, base, offset } => {
                let op = Op::Load { width: width.unsigned(), base, offset };
                let loaded = self.define(op);
                let extension = match width {
                    LoadWidth::S8 => UnaryOp::Sext8,
                    LoadWidth::S16 => UnaryOp::Sext16,
                    _ => UnaryOp::Sext32,
                };
                self.push(inst.result, Op::Unary(extension, loaded));
            }
            _ => self.out.push(inst),
        }
    }

    fn push(&mut self, result: Option<Value>, op: Op) {
        self.out.push(Inst { result, op, line: self.line });
    }

    fn define(&mut self, op: Op) -> Value {
        let result = self.func.new_value();
        self.push(Some(result), op);
        result
    }

    fn binary(&mut self, op: BinaryOp, a: Value, b: Value) -> Value {
        self.define(Op::Binary(op, a, b))
    }

    /// Memory that the program may access directly starts at a multiple of 8: slots, map values and
    /// records all do. So the offset alone says the alignment.
    fn zero(&mut self, base: Value, offset: i32, size: u32) {
        let value = self.define(Op::Const(0));
        for (at, bytes) in chunks(&[offset], size, 8) {
            let offset = offset.wrapping_add(at as i32);
            self.push(None, Op::Store { bytes, value, base, offset });
        }
    }

    fn copy(&mut self, to: (Value, i32), from: (Value, i32), size: u32, align: u8) {
        for (at, bytes) in chunks(&[0], size, align) {
            let width = match bytes {
                1 => LoadWidth::U8,
                2 => LoadWidth::U16,
                4 => LoadWidth::U32,
                _ => LoadWidth::U64,
            };
            let at = at as i32;
            let value =
                self.define(Op::Load { width, base: from.0, offset: from.1.wrapping_add(at) });
            let offset = to.1.wrapping_add(at);
            self.push(None, Op::Store { bytes, value, base: to.0, offset });
        }
    }

    /// Divides absolute values and puts the sign back: `(x ^ s) - s` negates when `s` is -1 and
    /// does nothing when it is 0. By zero, the quotient is 0 and the remainder the dividend, as for
    /// the unsigned operations.
    fn signed_division(&mut self, op: BinaryOp, a: Value, b: Value, result: Value) {
        let sixty_three = self.define(Op::Const(63));
        let sign_a = self.binary(BinaryOp::Ashr, a, sixty_three);
        let sign_b = self.binary(BinaryOp::Ashr, b, sixty_three);
        let flipped_a = self.binary(BinaryOp::Xor, a, sign_a);
        let abs_a = self.binary(BinaryOp::Sub, flipped_a, sign_a);
        let flipped_b = self.binary(BinaryOp::Xor, b, sign_b);
        let abs_b = self.binary(BinaryOp::Sub, flipped_b, sign_b);
        let (unsigned, sign) = if op == BinaryOp::Sdiv {
            let sign = self.binary(BinaryOp::Xor, sign_a, sign_b);
            (self.binary(BinaryOp::Udiv, abs_a, abs_b), sign)
        } else {
            (self.binary(BinaryOp::Urem, abs_a, abs_b), sign_a)
        };
        let flipped = self.binary(BinaryOp::Xor, unsigned, sign);
        self.push(Some(result), Op::Binary(BinaryOp::Sub, flipped, sign));
    }
}

/// Cuts `size` bytes into aligned pieces of 8, 4, 2 and 1: (place, bytes).
fn chunks(offsets: &[i32], size: u32, align: u8) -> Vec<(u32, u8)> {
    let mut chunks = Vec::with_capacity(size as usize / usize::from(align) + 3);
    let mut at = 0;
    while at < size {
        let fits = |bytes: u8| {
            bytes <= align
                && u32::from(bytes) <= size - at
                && offsets.iter().all(|offset| {
                    i64::from(*offset).wrapping_add(i64::from(at)) % i64::from(bytes) == 0
                })
        };
        let bytes = [8, 4, 2].into_iter().find(|&bytes| fits(bytes)).unwrap_or(1);
        chunks.push((at, bytes));
        at += u32::from(bytes);
    }
    chunks
}
