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

/// What is known when a comparison holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Assumed<T, Truth> {
    /// Of the first operand.
    pub a: Value<T>,
    /// Of the second.
    pub b: Value<T>,
    /// It cannot hold.
    pub is_impossible: Truth,
}

/// What is known of two numbers when a comparison of them holds.
pub fn assume<T: Word>(comparison: Comparison, a: Value<T>, b: Value<T>) -> Assumed<T, T::Truth> {
    match comparison {
        Comparison::Equal => {
            let (value, is_impossible) = a.meet(b);
            Assumed { a: value, b: value, is_impossible }
        }
        Comparison::Different => {
            let ((first, empty), (second, also)) = (without(a, b), without(b, a));
            Assumed { a: first, b: second, is_impossible: empty | also }
        }
        Comparison::Less => {
            let below = Range::between(T::zero(), b.range.umax() - T::one());
            let above = Range::between(a.range.umin() + T::one(), T::ones());
            let none = b.range.umax().eq(T::zero()) | a.range.umin().eq(T::ones());
            within(a, b, below, above, none)
        }
        Comparison::NotGreater => {
            let below = Range::between(T::zero(), b.range.umax());
            let above = Range::between(a.range.umin(), T::ones());
            within(a, b, below, above, T::zero().lt(T::zero()))
        }
        Comparison::LessSigned => {
            let (least, greatest) = (T::sign(), !T::sign());
            let below = Range::between(least, b.range.smax() - T::one());
            let above = Range::between(a.range.smin() + T::one(), greatest);
            let none = b.range.smax().eq(least) | a.range.smin().eq(greatest);
            within(a, b, below, above, none)
        }
        Comparison::NotGreaterSigned => {
            let below = Range::between(T::sign(), b.range.smax());
            let above = Range::between(a.range.smin(), !T::sign());
            within(a, b, below, above, T::zero().lt(T::zero()))
        }
        Comparison::Common => {
            let none = (a.bits.max() & b.bits.max()).eq(T::zero());
            let (first, empty) = with_bit(a, b);
            let (second, also) = with_bit(b, a);
            Assumed { a: first, b: second, is_impossible: none | empty | also }
        }
        Comparison::NoneCommon => {
            let (first, empty) = without_bits(a, b);
            let (second, also) = without_bits(b, a);
            Assumed { a: first, b: second, is_impossible: empty | also }
        }
    }
}

fn within<T: Word>(
    a: Value<T>,
    b: Value<T>,
    below: Range<T>,
    above: Range<T>,
    none: T::Truth,
) -> Assumed<T, T::Truth> {
    let (a, empty) = a.meet(Value { range: below, ..Value::unknown() });
    let (b, also) = b.meet(Value { range: above, ..Value::unknown() });
    Assumed { a, b, is_impossible: none | empty | also }
}

/// What is known of `a` when it is not `b`: something if that is one number, the first or last that
/// `a` can be.
fn without<T: Word>(a: Value<T>, b: Value<T>) -> (Value<T>, T::Truth) {
    let (one, number) = (T::one(), b.range.start);
    let Range { start, len } = a.range;
    let is_first = start.eq(number);
    let is_last = a.range.end().eq(number);
    let shorter = Range {
        start: T::select(is_first, start + one, start),
        len: T::select(is_first | is_last, len - one, len),
    };
    let changes = b.is_exact() & !len.eq(T::zero());
    let range = Range::select(changes, shorter, a.range);
    let none = b.is_exact() & a.is_exact() & is_first;
    let (value, empty) = Value { range, ..a }.reduced();
    (value, none | empty)
}

/// What is known of `a` when it has a bit in common with `b`: that bit, if there is only one.
fn with_bit<T: Word>(a: Value<T>, b: Value<T>) -> (Value<T>, T::Truth) {
    let bits = b.bits.max();
    let is_one = (bits & (bits - T::one())).eq(T::zero()) & !bits.eq(T::zero());
    let set = Tnum { value: a.bits.value | bits, mask: a.bits.mask & !bits };
    let bits = Tnum::select(is_one, set, a.bits);
    let (value, empty) = Value { bits, ..a }.reduced();
    (value, empty)
}

/// What is known of `a` when it has no bit in common with `b`.
fn without_bits<T: Word>(a: Value<T>, b: Value<T>) -> (Value<T>, T::Truth) {
    let known = b.bits.value;
    let none = !(a.bits.value & known).eq(T::zero());
    let bits = Tnum { value: a.bits.value & !known, mask: a.bits.mask & !known };
    let (value, empty) = Value { bits, ..a }.reduced();
    (value, none | empty)
}
