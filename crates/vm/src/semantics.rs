//! What instructions compute: pure functions on 64-bit numbers (RFC 9669, sections 4 and 5).
//!
//! This is the only place that knows. Engines and analyses call it, with constant operations where
//! speed matters, so that they cannot disagree.

use bombus_isa::{AluOp, AtomicOp, Cond, Endian, Size, Width};

/// `a op b`. Immediates come sign-extended to 64 bits.
///
/// Division by zero gives 0 and the remainder of a division by zero is the dividend; shifts look at
/// the low 5 or 6 bits of the distance only.
#[inline(always)]
pub const fn alu(op: AluOp, width: Width, a: u64, b: u64) -> u64 {
    match width {
        Width::W64 => alu64(op, a, b),
        Width::W32 => alu32(op, a as u32, b as u32) as u64,
    }
}

#[inline(always)]
const fn alu64(op: AluOp, a: u64, b: u64) -> u64 {
    match op {
        AluOp::Add => a.wrapping_add(b),
        AluOp::Sub => a.wrapping_sub(b),
        AluOp::Mul => a.wrapping_mul(b),
        AluOp::Div if b == 0 => 0,
        AluOp::Div => a / b,
        AluOp::Sdiv if b == 0 => 0,
        AluOp::Sdiv => (a as i64).wrapping_div(b as i64) as u64,
        AluOp::Or => a | b,
        AluOp::And => a & b,
        AluOp::Lsh => a << (b & 63),
        AluOp::Rsh => a >> (b & 63),
        AluOp::Mod if b == 0 => a,
        AluOp::Mod => a % b,
        AluOp::Smod if b == 0 => a,
        AluOp::Smod => (a as i64).wrapping_rem(b as i64) as u64,
        AluOp::Xor => a ^ b,
        AluOp::Mov => b,
        AluOp::Arsh => ((a as i64) >> (b & 63)) as u64,
    }
}

#[inline(always)]
const fn alu32(op: AluOp, a: u32, b: u32) -> u32 {
    match op {
        AluOp::Add => a.wrapping_add(b),
        AluOp::Sub => a.wrapping_sub(b),
        AluOp::Mul => a.wrapping_mul(b),
        AluOp::Div if b == 0 => 0,
        AluOp::Div => a / b,
        AluOp::Sdiv if b == 0 => 0,
        AluOp::Sdiv => (a as i32).wrapping_div(b as i32) as u32,
        AluOp::Or => a | b,
        AluOp::And => a & b,
        AluOp::Lsh => a << (b & 31),
        AluOp::Rsh => a >> (b & 31),
        AluOp::Mod if b == 0 => a,
        AluOp::Mod => a % b,
        AluOp::Smod if b == 0 => a,
        AluOp::Smod => (a as i32).wrapping_rem(b as i32) as u32,
        AluOp::Xor => a ^ b,
        AluOp::Mov => b,
        AluOp::Arsh => ((a as i32) >> (b & 31)) as u32,
    }
}

/// `-a`.
#[inline(always)]
pub const fn neg(width: Width, a: u64) -> u64 {
    match width {
        Width::W64 => a.wrapping_neg(),
        Width::W32 => (a as u32).wrapping_neg() as u64,
    }
}

/// The low `from` of `a`, sign-extended to `width`.
#[inline(always)]
pub const fn movsx(width: Width, from: Size, a: u64) -> u64 {
    match width {
        Width::W64 => sign_extend(from, a),
        Width::W32 => sign_extend(from, a) as u32 as u64,
    }
}

/// Byte order of the low `size` bytes; the rest becomes zero. The guest is little-endian, so
/// [`Endian::Le`] only truncates.
#[inline(always)]
pub const fn endian(order: Endian, size: Size, a: u64) -> u64 {
    let swap = !matches!(order, Endian::Le);
    match size {
        Size::B => a as u8 as u64,
        Size::H if swap => (a as u16).swap_bytes() as u64,
        Size::H => a as u16 as u64,
        Size::W if swap => (a as u32).swap_bytes() as u64,
        Size::W => a as u32 as u64,
        Size::Dw if swap => a.swap_bytes(),
        Size::Dw => a,
    }
}

/// Where a legacy packet load looks: a number of 32 bits, whatever the index register holds.
#[inline(always)]
pub const fn packet_offset(index: u64, imm: i32) -> i32 {
    (index as i32).wrapping_add(imm)
}

/// The low `size` of `a`, sign-extended to 64 bits.
#[inline(always)]
pub const fn sign_extend(size: Size, a: u64) -> u64 {
    match size {
        Size::B => a as i8 as u64,
        Size::H => a as i16 as u64,
        Size::W => a as i32 as u64,
        Size::Dw => a,
    }
}

/// Whether `a cond b`. Immediates come sign-extended to 64 bits.
#[inline(always)]
pub const fn compare(cond: Cond, width: Width, a: u64, b: u64) -> bool {
    let (a, b) = match width {
        Width::W64 => (a, b),
        // Sign extension keeps the unsigned order of 32-bit numbers, too.
        Width::W32 => (a as i32 as u64, b as i32 as u64),
    };
    match cond {
        Cond::Eq => a == b,
        Cond::Ne => a != b,
        Cond::Set => a & b != 0,
        Cond::Gt => a > b,
        Cond::Ge => a >= b,
        Cond::Lt => a < b,
        Cond::Le => a <= b,
        Cond::Sgt => a as i64 > b as i64,
        Cond::Sge => a as i64 >= b as i64,
        Cond::Slt => (a as i64) < b as i64,
        Cond::Sle => a as i64 <= b as i64,
    }
}

/// What memory that held `old` holds after a read-modify-write operation. `expected` is `r0`. Upper
/// bits of `operand` and `expected` do not count when the access is narrower than they are.
#[inline(always)]
pub const fn atomic(op: AtomicOp, size: Size, old: u64, operand: u64, expected: u64) -> u64 {
    let mask = match size {
        Size::B => u8::MAX as u64,
        Size::H => u16::MAX as u64,
        Size::W => u32::MAX as u64,
        Size::Dw => u64::MAX,
    };
    let new = match op {
        AtomicOp::Add => old.wrapping_add(operand),
        AtomicOp::Or => old | operand,
        AtomicOp::And => old & operand,
        AtomicOp::Xor => old ^ operand,
        AtomicOp::Xchg => operand,
        AtomicOp::Cmpxchg if old == expected & mask => operand,
        AtomicOp::Cmpxchg => old,
    };
    new & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sign_extended_32_bit_comparison_keeps_the_unsigned_order() {
        for a in [0u32, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
            for b in [0u32, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
                let (x, y) = (0xdead_0000_0000_0000 | u64::from(a), u64::from(b));
                assert_eq!(compare(Cond::Gt, Width::W32, x, y), a > b);
                assert_eq!(compare(Cond::Slt, Width::W32, x, y), (a as i32) < b as i32);
                assert_eq!(compare(Cond::Set, Width::W32, x, y), a & b != 0);
            }
        }
    }

    #[test]
    fn division_has_no_trap() {
        let min = i64::MIN as u64;
        assert_eq!(alu(AluOp::Sdiv, Width::W64, min, u64::MAX), min);
        assert_eq!(alu(AluOp::Smod, Width::W64, min, u64::MAX), 0);
        assert_eq!(alu(AluOp::Sdiv, Width::W32, 0x8000_0000, u64::MAX), 0x8000_0000);
        assert_eq!(alu(AluOp::Smod, Width::W32, 0xffff_ffff_0000_0007, 0), 7);
        assert_eq!(alu(AluOp::Mod, Width::W64, 0xffff_ffff_0000_0007, 0), 0xffff_ffff_0000_0007);
        assert_eq!(alu(AluOp::Smod, Width::W64, -13i64 as u64, 3), -1i64 as u64);
    }
}
