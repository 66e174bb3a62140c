//! What is known after a branch.

use bombus_isa::Cond;

use super::{Range, Tnum, Value, Word};

/// What two numbers are to each other on one side of a branch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Comparison {
    /// `a == b`
    Equal,
    /// `a != b`
    Different,
    /// `a < b`, unsigned
    Less,
    /// `a <= b`, unsigned
    NotGreater,
    /// `a < b`, signed
    LessSigned,
    /// `a <= b`, signed
    NotGreaterSigned,
    /// They have a bit in common.
    Common,
    /// They have no bit in common.
    NoneCommon,
}

impl Comparison {
    /// All of them.
    pub const ALL: [Comparison; 8] = [
        Comparison::Equal,
        Comparison::Different,
        Comparison::Less,
        Comparison::NotGreater,
        Comparison::LessSigned,
        Comparison::NotGreaterSigned,
        Comparison::Common,
        Comparison::NoneCommon,
    ];

    /// What holds when a jump on this condition is taken or not; with `true`: the operands change
    /// places.
    pub fn of(condition: Cond, taken: bool) -> (Comparison, bool) {
        use Comparison as C;
        match (condition, taken) {
            (Cond::Eq, true) | (Cond::Ne, false) => (C::Equal, false),
            (Cond::Ne, true) | (Cond::Eq, false) => (C::Different, false),
            (Cond::Set, true) => (C::Common, false),
            (Cond::Set, false) => (C::NoneCommon, false),
            (Cond::Lt, true) | (Cond::Ge, false) => (C::Less, false),
            (Cond::Le, true) | (Cond::Gt, false) => (C::NotGreater, false),
            (Cond::Gt, true) | (Cond::Le, false) => (C::Less, true),
            (Cond::Ge, true) | (Cond::Lt, false) => (C::NotGreater, true),
            (Cond::Slt, true) | (Cond::Sge, false) => (C::LessSigned, false),
            (Cond::Sle, true) | (Cond::Sgt, false) => (C::NotGreaterSigned, false),
            (Cond::Sgt, true) | (Cond::Sle, false) => (C::LessSigned, true),
            (Cond::Sge, true) | (Cond::Slt, false) => (C::NotGreaterSigned, true),
        }
    }

    /// Whether it holds of two numbers.
    pub fn holds<T: Word>(self, a: T, b: T) -> T::Truth {
        match self {
            Comparison::Equal => a.eq(b),
            Comparison::Different => !a.eq(b),
            Comparison::Less => a.lt(b),
            Comparison::NotGreater => a.le(b),
            Comparison::LessSigned => a.slt(b),
            Comparison::NotGreaterSigned => a.sle(b),
            Comparison::Common => !(a & b).eq(T::zero()),
            Comparison::NoneCommon => (a & b).eq(T::zero()),
        }
    }
}

/// What is known of two numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Assumed<T, Truth> {
    /// Of the first operand.
    pub a: Value<T>,
    /// Of the second.
    pub b: Value<T>,
    /// The comparison cannot hold.
    pub is_impossible: Truth,
}

/// What is known of two numbers when a comparison of them holds.
pub fn assume<T: Word>(comparison: Comparison, a: Value<T>, b: Value<T>) -> Assumed<T, T::Truth> {
    let implied = implied(comparison, a, b);
    let (first, empty) = a.meet(implied.a);
    let (second, also) = b.meet(implied.b);
    let is_impossible = implied.is_impossible | empty | also;
    Assumed { a: first, b: second, is_impossible }
}

/// What the comparison alone says of each, by what is known of the other.
pub fn implied<T: Word>(comparison: Comparison, a: Value<T>, b: Value<T>) -> Assumed<T, T::Truth> {
    let ranges = |below: Range<T>, above: Range<T>, is_impossible| {
        let within = |range| Value { range, ..Value::unknown() };
        Assumed { a: within(below), b: within(above), is_impossible }
    };
    let never = T::zero().lt(T::zero());
    match comparison {
        Comparison::Equal => Assumed { a: b, b: a, is_impossible: never },
        Comparison::Different => {
            let is_impossible = a.is_exact() & b.is_exact() & a.range.start.eq(b.range.start);
            Assumed { a: without(a, b), b: without(b, a), is_impossible }
        }
        Comparison::Less => {
            let (most, least) = (b.range.umax(), a.range.umin());
            let below = Range::between(T::zero(), most - T::one());
            let above = Range::between(least + T::one(), T::ones());
            ranges(below, above, most.eq(T::zero()) | least.eq(T::ones()))
        }
        Comparison::NotGreater => {
            let below = Range::between(T::zero(), b.range.umax());
            ranges(below, Range::between(a.range.umin(), T::ones()), never)
        }
        Comparison::LessSigned => {
            let (most, least) = (b.range.smax(), a.range.smin());
            let below = Range::between(T::sign(), most - T::one());
            let above = Range::between(least + T::one(), !T::sign());
            ranges(below, above, most.eq(T::sign()) | least.eq(!T::sign()))
        }
        Comparison::NotGreaterSigned => {
            let below = Range::between(T::sign(), b.range.smax());
            ranges(below, Range::between(a.range.smin(), !T::sign()), never)
        }
        Comparison::Common => {
            let is_impossible = (a.bits.max() & b.bits.max()).eq(T::zero());
            Assumed { a: with_bit(b), b: with_bit(a), is_impossible }
        }
        Comparison::NoneCommon => {
            let is_impossible = !(a.bits.value & b.bits.value).eq(T::zero());
            Assumed { a: without_bits(b), b: without_bits(a), is_impossible }
        }
    }
}

/// What is known of `a` when it is not `b`: something if that is one number, the first or last that
/// `a` can be.
fn without<T: Word>(a: Value<T>, b: Value<T>) -> Value<T> {
    let Range { start, len } = a.range;
    let distance = b.range.start - start;
    let changes = b.is_exact() & !len.eq(T::zero());
    let is_first = changes & distance.eq(T::zero());
    let is_last = changes & distance.eq(len);
    let start = start + T::select(is_first, T::one(), T::zero());
    let len = len - T::select(is_first | is_last, T::one(), T::zero());
    Value { range: Range { start, len }, ..Value::unknown() }
}

/// What is known of what has a bit in common with `other`: that bit, if there is only one.
fn with_bit<T: Word>(other: Value<T>) -> Value<T> {
    let bits = other.bits.max();
    let is_one = (bits & (bits - T::one())).eq(T::zero());
    let set = T::select(is_one, bits, T::zero());
    Value { bits: Tnum { value: set, mask: !set }, ..Value::unknown() }
}

/// What is known of what has no bit in common with `other`.
fn without_bits<T: Word>(other: Value<T>) -> Value<T> {
    let bits = Tnum { value: T::zero(), mask: !other.bits.value };
    Value { bits, ..Value::unknown() }
}
