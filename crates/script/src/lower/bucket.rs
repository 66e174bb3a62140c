//! Which bucket of a histogram a number falls into.
//!
//! A verifier walks every path, and a bucket is part of an address, so that no path covers another:
//! each branch here multiplies all that follows. So there are as few as can be. What a verifier must
//! see as well is that no bucket lies past the last one.

use bombus_compiler::ir::{BinaryOp, Builder, Cond, Value};

/// The bucket of a logarithmic histogram: 0 for negative numbers, one for each number below
/// `2^bits`, then `2^bits` for each power of two, told apart by the bits that follow the
/// highest one.
///
/// With `power` the place of the highest bit above those `bits`, all are at
/// `(power << bits) + (number >> power) + 1`. The place is found without branches.
pub(super) fn log2(b: &mut Builder, number: Value, bits: u8) -> Value {
    let bits = i64::from(bits);
    let scaled = b.binary_imm(BinaryOp::Lshr, number, bits);
    let scaled = b.binary_imm(BinaryOp::Or, scaled, 1);
    let power = highest_bit(b, scaled, number, bits);
    let top = b.binary(BinaryOp::Lshr, number, power);
    let top = b.binary_imm(BinaryOp::And, top, (2 << bits) - 1);
    let base = b.binary_imm(BinaryOp::Shl, power, bits);
    let bucket = b.binary(BinaryOp::Add, base, top);
    let bucket = b.binary_imm(BinaryOp::Add, bucket, 1);
    let negative = b.binary_imm(BinaryOp::Lshr, number, 63);
    let unless_negative = b.binary_imm(BinaryOp::Sub, negative, 1);
    b.binary(BinaryOp::And, bucket, unless_negative)
}

/// The place of the highest bit of `scaled`, which is `number >> bits` and not 0; at most
/// `63 - bits`, as a verifier sees, for any number.
fn highest_bit(b: &mut Builder, scaled: Value, number: Value, bits: i64) -> Value {
    // Shift out a low part where there is something above it. Of the 63 - bits places at most 32
    // are left by the first step, then half of them by each.
    let first = 32 - bits;
    let above = exceeds(b, number, 0xffff_ffff);
    let mut place = b.binary_imm(BinaryOp::Mul, above, first);
    let mut rest = b.binary(BinaryOp::Lshr, scaled, place);
    for (half, log) in [(16, 4), (8, 3), (4, 2)] {
        let above = exceeds(b, rest, (1 << half) - 1);
        let shift = b.binary_imm(BinaryOp::Shl, above, log);
        rest = b.binary(BinaryOp::Lshr, rest, shift);
        place = b.binary(BinaryOp::Add, place, shift);
    }
    // Four places: a table of two bits a number.
    let table = b.iconst(0xffff_aa50);
    let entry = b.binary_imm(BinaryOp::Shl, rest, 1);
    let last = b.binary(BinaryOp::Lshr, table, entry);
    let last = b.binary_imm(BinaryOp::And, last, 3);
    b.binary(BinaryOp::Add, place, last)
}

/// 1 when the number, which is not negative, exceeds the limit, else 0: the sign of the difference.
fn exceeds(b: &mut Builder, number: Value, limit: i64) -> Value {
    let limit = b.iconst(limit);
    let difference = b.binary(BinaryOp::Sub, limit, number);
    b.binary_imm(BinaryOp::Lshr, difference, 63)
}

/// The bucket of a linear histogram: 0 below `min`, the last from `max` on.
pub(super) fn linear(b: &mut Builder, number: Value, min: i64, max: i64, step: i64) -> Value {
    let (inside, after) = (b.block(0), b.block(1));
    let below = b.block(0);
    let is_below = b.compare_imm(Cond::Slt, number, min);
    b.branch(is_below, below, inside);
    b.switch_to(below);
    let zero = b.iconst(0);
    b.jump(after, &[zero]);
    b.switch_to(inside);
    let min_value = b.iconst(min);
    let distance = b.binary(BinaryOp::Sub, number, min_value);
    let steps = b.binary_imm(BinaryOp::Udiv, distance, step);
    let most = (max - min) / step;
    let is_above = b.compare_imm(Cond::Ugt, steps, most);
    let most = b.iconst(most);
    let steps = b.select(is_above, most, steps);
    let bucket = b.binary_imm(BinaryOp::Add, steps, 1);
    b.jump(after, &[bucket]);
    b.switch_to(after);
    b.param(after, 0)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use bombus_compiler::ir::{LoadWidth, Module};
    use bombus_compiler::{Target, compile};
    use bombus_vm::{Context, Execution, Program, Stack};
    use proptest::prelude::*;

    /// Bucket of the number in the context, as a program.
    fn program(isa: u8, bucket: impl FnOnce(&mut Builder, Value) -> Value) -> Rc<Program> {
        let mut b = Builder::new("bucket", 1);
        let context = b.arg(0);
        let number = b.load(LoadWidth::U64, context, 0);
        let bucket = bucket(&mut b, number);
        b.ret(bucket);
        let module = Module { functions: vec![b.finish()], ..Module::default() };
        let compiled = compile(&module, &Target { isa }, &mut Vec::new()).expect("it compiles");
        let insns: Vec<_> = compiled.insns.iter().map(|slot| slot.insn).collect();
        Program::new(&insns, 0, &mut |_| None).expect("a program")
    }

    fn run(program: &Rc<Program>, number: i64) -> u64 {
        let mut stack = Stack::default();
        let context = number.to_le_bytes();
        let mut execution = Execution::new(&mut stack, Context::ReadOnly(&context));
        execution.run(program, &mut bombus_vm::Nothing).expect("it runs")
    }

    fn expected_log2(number: i64, bits: u8) -> u64 {
        let Ok(number) = u64::try_from(number) else { return 0 };
        if number < 1 << bits {
            return number + 1;
        }
        let power = number.ilog2() - u32::from(bits);
        let following = (number >> power) & ((1 << bits) - 1);
        ((u64::from(power) + 1) << bits) + following + 1
    }

    fn expected_linear(number: i64, min: i64, max: i64, step: i64) -> u64 {
        if number < min {
            0
        } else if number > max {
            1 + (max - min) as u64 / step as u64
        } else {
            1 + (number - min) as u64 / step as u64
        }
    }

    /// What lies around powers of two, with two bits set, and their negatives.
    fn edges() -> impl Iterator<Item = i64> {
        let powers = || (0..64).map(|place| 1_i64 << place);
        let numbers =
            powers().flat_map(move |high| powers().map(move |low| high.wrapping_add(low)));
        numbers.chain(powers()).flat_map(|number| {
            [number.wrapping_sub(1), number, number.wrapping_add(1), number.wrapping_neg(), !number]
        })
    }

    #[test]
    fn edges_fall_into_their_buckets() {
        for bits in 0..=5 {
            for isa in [1, 3, 4] {
                let program = program(isa, |b, number| log2(b, number, bits));
                for number in edges() {
                    let expected = expected_log2(number, bits);
                    assert_eq!(run(&program, number), expected, "{number:#x}, {bits} bits");
                }
            }
        }
        for (min, max, step) in LINEAR {
            let program = program(3, |b, number| linear(b, number, min, max, step));
            for number in edges() {
                let expected = expected_linear(number, min, max, step);
                assert_eq!(run(&program, number), expected, "{number} in {min}..{max} by {step}");
            }
        }
    }

    const LINEAR: [(i64, i64, i64); 5] =
        [(0, 10, 2), (-5, 4, 1), (100, 1_000_000, 7), (i64::MIN, -1, 1 << 60), (0, i64::MAX, 3)];

    proptest! {
        #[test]
        fn numbers_fall_into_their_buckets(number: i64, shift in 0..64, bits in 0..=5_u8) {
            let number = number >> shift;
            let program = program(3, |b, number| log2(b, number, bits));
            prop_assert_eq!(run(&program, number), expected_log2(number, bits));
            for (min, max, step) in LINEAR {
                let program = self::program(3, |b, number| linear(b, number, min, max, step));
                prop_assert_eq!(run(&program, number), expected_linear(number, min, max, step));
            }
        }
    }
}
