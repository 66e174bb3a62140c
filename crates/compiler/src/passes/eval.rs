//! What operations give for known operands (RFC 9669, sections 4.1 and 4.2).

use crate::ir::{BinaryOp, Cond, LoadWidth, UnaryOp};

/// One operand.
pub fn unary(op: UnaryOp, a: i64) -> i64 {
    match op {
        UnaryOp::Neg => a.wrapping_neg(),
        UnaryOp::Not => !a,
        UnaryOp::Zext8 => i64::from(a as u8),
        UnaryOp::Zext16 => i64::from(a as u16),
        UnaryOp::Zext32 => i64::from(a as u32),
        UnaryOp::Sext8 => i64::from(a as i8),
        UnaryOp::Sext16 => i64::from(a as i16),
        UnaryOp::Sext32 => i64::from(a as i32),
        UnaryOp::Bswap16 => i64::from((a as u16).swap_bytes()),
        UnaryOp::Bswap32 => i64::from((a as u32).swap_bytes()),
        UnaryOp::Bswap64 => a.swap_bytes(),
    }
}

/// Two operands.
pub fn binary(op: BinaryOp, a: i64, b: i64) -> i64 {
    let (ua, ub) = (a as u64, b as u64);
    match op {
        BinaryOp::Add => a.wrapping_add(b),
        BinaryOp::Sub => a.wrapping_sub(b),
        BinaryOp::Mul => a.wrapping_mul(b),
        BinaryOp::Udiv => ua.checked_div(ub).unwrap_or(0) as i64,
        BinaryOp::Sdiv if b == 0 => 0,
        BinaryOp::Sdiv => a.wrapping_div(b),
        BinaryOp::Urem => ua.checked_rem(ub).unwrap_or(ua) as i64,
        BinaryOp::Srem if b == 0 => a,
        BinaryOp::Srem => a.wrapping_rem(b),
        BinaryOp::And => a & b,
        BinaryOp::Or => a | b,
        BinaryOp::Xor => a ^ b,
        BinaryOp::Shl => a.wrapping_shl(b as u32),
        BinaryOp::Lshr => ua.wrapping_shr(b as u32) as i64,
        BinaryOp::Ashr => a.wrapping_shr(b as u32),
    }
}

/// Whether a comparison holds.
pub fn compare(cond: Cond, a: i64, b: i64) -> bool {
    let (ua, ub) = (a as u64, b as u64);
    match cond {
        Cond::Eq => a == b,
        Cond::Ne => a != b,
        Cond::Ult => ua < ub,
        Cond::Ule => ua <= ub,
        Cond::Ugt => ua > ub,
        Cond::Uge => ua >= ub,
        Cond::Slt => a < b,
        Cond::Sle => a <= b,
        Cond::Sgt => a > b,
        Cond::Sge => a >= b,
    }
}

impl Cond {
    /// What holds when this does not.
    pub const fn inverse(self) -> Cond {
        match self {
            Cond::Eq => Cond::Ne,
            Cond::Ne => Cond::Eq,
            Cond::Ult => Cond::Uge,
            Cond::Ule => Cond::Ugt,
            Cond::Ugt => Cond::Ule,
            Cond::Uge => Cond::Ult,
            Cond::Slt => Cond::Sge,
            Cond::Sle => Cond::Sgt,
            Cond::Sgt => Cond::Sle,
            Cond::Sge => Cond::Slt,
        }
    }

    /// The same with its operands exchanged.
    pub const fn swapped(self) -> Cond {
        match self {
            Cond::Eq | Cond::Ne => self,
            Cond::Ult => Cond::Ugt,
            Cond::Ule => Cond::Uge,
            Cond::Ugt => Cond::Ult,
            Cond::Uge => Cond::Ule,
            Cond::Slt => Cond::Sgt,
            Cond::Sle => Cond::Sge,
            Cond::Sgt => Cond::Slt,
            Cond::Sge => Cond::Sle,
        }
    }

    /// Whether it compares signed numbers.
    pub const fn is_signed(self) -> bool {
        matches!(self, Cond::Slt | Cond::Sle | Cond::Sgt | Cond::Sge)
    }
}

impl BinaryOp {
    /// Whether the operands may be exchanged.
    pub const fn is_commutative(self) -> bool {
        use BinaryOp::{Add, And, Mul, Or, Xor};
        matches!(self, Add | Mul | And | Or | Xor)
    }
}

/// The operation that turns a stored value into what a load of that width gives; `None`: itself.
pub fn extension(width: LoadWidth) -> Option<UnaryOp> {
    Some(match width {
        LoadWidth::U8 => UnaryOp::Zext8,
        LoadWidth::U16 => UnaryOp::Zext16,
        LoadWidth::U32 => UnaryOp::Zext32,
        LoadWidth::U64 => return None,
        LoadWidth::S8 => UnaryOp::Sext8,
        LoadWidth::S16 => UnaryOp::Sext16,
        LoadWidth::S32 => UnaryOp::Sext32,
    })
}
