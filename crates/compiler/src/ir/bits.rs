//! How many low bits of a value may be set: which values are known to be zero-extended numbers,
//! and thus no pointers.

use bombus_platform::Helper;

use super::{BinaryOp, LoadWidth, Op, UnaryOp, Value};

/// Bits that a zero extension keeps.
pub fn zero_extension_bits(op: UnaryOp) -> Option<u8> {
    match op {
        UnaryOp::Zext8 => Some(8),
        UnaryOp::Zext16 => Some(16),
        UnaryOp::Zext32 => Some(32),
        _ => None,
    }
}

/// How many low bits the result may have, given those of the operands (`bits`, by value).
pub fn low_bits_of_op(op: &Op, bits: &[u8], number: impl Fn(Value) -> Option<i64>) -> u8 {
    let of = |value: Value| bits[value.index()];
    match op {
        Op::Const(number) => 64 - number.leading_zeros() as u8,
        Op::Unary(op, a) => match op {
            UnaryOp::Bswap16 => 16,
            UnaryOp::Bswap32 => 32,
            // The sign bit is known to be clear.
            UnaryOp::Sext8 if of(*a) < 8 => of(*a),
            UnaryOp::Sext16 if of(*a) < 16 => of(*a),
            UnaryOp::Sext32 if of(*a) < 32 => of(*a),
            _ => zero_extension_bits(*op).map_or(64, |width| width.min(of(*a))),
        },
        Op::Binary(op, a, b) => match op {
            BinaryOp::And => of(*a).min(of(*b)),
            BinaryOp::Or | BinaryOp::Xor => of(*a).max(of(*b)),
            BinaryOp::Add => (of(*a).max(of(*b)) + 1).min(64),
            BinaryOp::Mul => of(*a).saturating_add(of(*b)).min(64),
            BinaryOp::Udiv | BinaryOp::Urem => of(*a),
            BinaryOp::Lshr => match number(*b) {
                Some(shift) => of(*a).saturating_sub((shift & 63) as u8),
                None => of(*a),
            },
            BinaryOp::Shl => match number(*b) {
                Some(shift) => of(*a).saturating_add((shift & 63) as u8).min(64),
                None => 64,
            },
            BinaryOp::Ashr if of(*a) < 64 => of(*a),
            _ => 64,
        },
        Op::Compare(..) => 1,
        Op::Select(_, a, b) => of(*a).max(of(*b)),
        Op::Load { width, .. } => match width {
            LoadWidth::U8 => 8,
            LoadWidth::U16 => 16,
            LoadWidth::U32 => 32,
            _ => 64,
        },
        Op::CallHelper(Helper::GetPrandomU32 | Helper::GetSmpProcessorId, _) => 32,
        _ => 64,
    }
}
