//! What is known of a register that holds a number: as a whole, and of its low half.

use bombus_isa::{AluOp, Width};

use super::value::holds;
use super::{Comparison, Range, Tnum, Value, Wide, Word, alu, assume};

/// What is known of a number and of its low half, which instructions can work on alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scalar<T: Wide> {
    /// Which bits.
    pub bits: Tnum<T>,
    /// In which range.
    pub range: Range<T>,
    /// In which range the low half is.
    pub low: Range<T::Half>,
}

impl<T: Wide> Scalar<T> {
    /// This number.
    pub fn exact(number: T) -> Scalar<T> {
        let (bits, range) = (Tnum::exact(number), Range::exact(number));
        Scalar { bits, range, low: Range::exact(number.low()) }
    }

    /// Any number.
    pub fn unknown() -> Scalar<T> {
        Scalar { bits: Tnum::unknown(), range: Range::full(), low: Range::full() }
    }

    /// Whether it can be this number.
    pub fn contains(self, number: T) -> T::Truth {
        self.whole().contains(number) & self.low.contains(number.low())
    }

    /// What is known of the whole number.
    pub fn whole(self) -> Value<T> {
        Value { bits: self.bits, range: self.range }
    }

    /// What is known of its low half.
    pub fn half(self) -> Value<T::Half> {
        Value { bits: low_bits(self.bits), range: self.low }
    }

    /// A number of which this is known as a whole, and this of its low half; and whether that is a
    /// contradiction.
    pub fn of(whole: Value<T>, half: Value<T::Half>) -> (Scalar<T>, T::Truth) {
        let (scalar, empty) = Scalar::united(whole, half);
        let (scalar, also) = scalar.reduced();
        (scalar, empty | also)
    }

    /// The same, without what the parts say of each other.
    fn united(whole: Value<T>, half: Value<T::Half>) -> (Scalar<T>, T::Truth) {
        let ones = T::zero_extended(T::Half::ones());
        let known = Tnum {
            value: T::zero_extended(half.bits.value),
            mask: T::zero_extended(half.bits.mask) | !ones,
        };
        let (bits, empty) = whole.bits.meet(known);
        (Scalar { bits, range: whole.range, low: half.range }, empty)
    }

    /// Itself, with this known of it as a whole, and whether that is a contradiction.
    fn with_whole(self, whole: Value<T>) -> (Scalar<T>, T::Truth) {
        match holds::<T>(self.whole().is_same(whole)) {
            true => (self, T::zero().eq(T::one())),
            false => Scalar::of(whole, self.half()),
        }
    }

    /// Itself, with this known of its low half, and whether that is a contradiction.
    fn with_half(self, half: Value<T::Half>) -> (Scalar<T>, T::Truth) {
        match holds::<T::Half>(self.half().is_same(half)) {
            true => (self, T::zero().eq(T::one())),
            false => Scalar::of(self.whole(), half),
        }
    }

    /// The low half alone, with zeroes above.
    pub fn zero_extended(half: Value<T::Half>) -> Scalar<T> {
        Scalar::extended(half).reduced().0
    }

    /// The same, without what the parts say of each other.
    pub fn extended(half: Value<T::Half>) -> Scalar<T> {
        let bits = Tnum {
            value: T::zero_extended(half.bits.value),
            mask: T::zero_extended(half.bits.mask),
        };
        let (first, last) = (half.range.umin(), half.range.umax());
        let range = Range::between(T::zero_extended(first), T::zero_extended(last));
        Scalar { bits, range, low: half.range }
    }

    /// With what its parts say of each other, and whether they contradict each other.
    pub fn reduced(self) -> (Scalar<T>, T::Truth) {
        if holds::<T>(self.whole().is_tight()) && holds::<T::Half>(self.half().is_tight()) {
            return (self, T::zero().eq(T::one()));
        }
        if holds::<T>(self.bits.is_exact()) {
            let number = self.bits.value;
            return (Scalar::exact(number), !self.contains(number));
        }
        let (mut scalar, mut empty) = self.reduced_once();
        // What the halves tell each other can tell more.
        let mut before = self;
        for _ in 0..2 {
            if holds::<T>(scalar.is_same(before)) {
                break;
            }
            before = scalar;
            let (next, also) = scalar.reduced_once();
            (scalar, empty) = (next, empty | also);
        }
        (scalar.settled(), empty)
    }

    /// The number itself where its range has but one with such bits (`__update_reg64_bounds`).
    pub fn settled(self) -> Scalar<T> {
        if holds::<T>(self.whole().has_both_ends()) {
            return self;
        }
        let (number, is_one) = self.bits.only_between(self.range.umin(), self.range.umax());
        let one = Scalar::exact(number);
        Scalar {
            bits: Tnum::select(is_one, one.bits, self.bits),
            range: Range::select(is_one, one.range, self.range),
            low: Range::select(is_one, one.low, self.low),
        }
    }

    /// Whether the same is known.
    fn is_same(self, other: Scalar<T>) -> T::Truth {
        let low = self.low.start.eq(other.low.start) & self.low.len.eq(other.low.len);
        self.whole().is_same(other.whole()) & low
    }

    fn reduced_once(self) -> (Scalar<T>, T::Truth) {
        let (whole, empty) = self.whole().reduced();
        let (low, also) = self.low.meet(whole.range.low_halves());
        let (half, too) = Value { bits: low_bits(whole.bits), range: low }.reduced();
        let ones = T::zero_extended(T::Half::ones());
        let bits = Tnum {
            value: (whole.bits.value & !ones) | T::zero_extended(half.bits.value),
            mask: (whole.bits.mask & !ones) | T::zero_extended(half.bits.mask),
        };
        let (range, gone) = whole.range.with_low_half(half.range);
        (Scalar { bits, range, low: half.range }, empty | also | too | gone)
    }

    /// What holds of either.
    pub fn join(self, other: Scalar<T>) -> Scalar<T> {
        let whole = self.whole().join(other.whole());
        Scalar { bits: whole.bits, range: whole.range, low: self.low.join(other.low) }
    }

    /// What `self op other` can be, where `self` is what is in the destination.
    pub fn alu(self, op: AluOp, width: Width, other: Scalar<T>) -> Scalar<T> {
        if width == Width::W32 {
            return Scalar::zero_extended(alu(op, self.half(), other.half()));
        }
        let whole = alu(op, self.whole(), other.whole());
        if holds::<T>(whole.bits.is_exact()) {
            return Scalar::exact(whole.bits.value);
        }
        // The low half of the result depends on the low halves alone.
        let half = match op {
            AluOp::Add | AluOp::Sub | AluOp::Mul | AluOp::And | AluOp::Or | AluOp::Xor => {
                alu(op, self.half(), other.half())
            }
            AluOp::Mov => other.half(),
            _ => Value::unknown(),
        };
        Scalar::of(whole, half).0
    }

    /// `-self`.
    pub fn negated(self, width: Width) -> Scalar<T> {
        match width {
            Width::W32 => Scalar::zero_extended(self.half().negated().reduced().0),
            Width::W64 => Scalar::of(self.whole().negated(), self.half().negated()).0,
        }
    }

    /// The low `n` bits, of which the highest is the sign, as `movsx` and `ldsx` give them.
    pub fn sign_extended_from(self, n: u32, width: Width) -> Scalar<T> {
        match width {
            Width::W32 => Scalar::zero_extended(self.half().sign_extended_from(n)),
            Width::W64 => {
                let half = match n <= T::Half::BITS {
                    true => self.half().sign_extended_from(n),
                    false => self.half(),
                };
                Scalar::of(self.whole().sign_extended_from(n), half).0
            }
        }
    }

    /// What is known of two numbers when a comparison of them, or of their low halves, holds; and
    /// whether it cannot.
    pub fn assume(
        comparison: Comparison,
        width: Width,
        a: Scalar<T>,
        b: Scalar<T>,
    ) -> (Scalar<T>, Scalar<T>, T::Truth) {
        let ((a, empty), (b, also), none) = match width {
            Width::W64 => {
                let assumed = assume(comparison, a.whole(), b.whole());
                (a.with_whole(assumed.a), b.with_whole(assumed.b), assumed.is_impossible)
            }
            Width::W32 => {
                let assumed = assume(comparison, a.half(), b.half());
                (a.with_half(assumed.a), b.with_half(assumed.b), assumed.is_impossible)
            }
        };
        (a, b, none | empty | also)
    }
}

fn low_bits<T: Wide>(bits: Tnum<T>) -> Tnum<T::Half> {
    Tnum { value: bits.value.low(), mask: bits.mask.low() }
}

impl<T: Wide> Range<T> {
    /// The low halves of its numbers.
    pub fn low_halves(self) -> Range<T::Half> {
        let is_short = self.len.le(T::zero_extended(T::Half::ones()));
        let len = T::Half::select(is_short, self.len.low(), T::Half::ones());
        Range { start: self.start.low(), len }
    }

    /// From the first of its numbers to the last whose low half is in `low`, and whether there is
    /// none.
    pub fn with_low_half(self, low: Range<T::Half>) -> (Range<T>, T::Truth) {
        let first = self.start.low();
        let forth = T::Half::select(low.contains(first), T::Half::zero(), low.start - first);
        let forth = T::zero_extended(forth);
        let last = self.end().low();
        let back = T::Half::select(low.contains(last), T::Half::zero(), last - low.end());
        let back = T::zero_extended(back);
        let none = self.len.lt(forth) | (self.len - forth).lt(back);
        let forth = T::select(none, T::zero(), forth);
        let back = T::select(none, T::zero(), back);
        (Range { start: self.start + forth, len: self.len - forth - back }, none)
    }
}
