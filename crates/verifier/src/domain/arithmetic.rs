//! Sums, products and what works bit by bit.

use super::{Range, Tnum, Value, Word};

impl<T: Word> Value<T> {
    /// `self + other`.
    pub fn plus(self, other: Value<T>) -> Value<T> {
        Value { bits: self.bits.plus(other.bits), range: self.range.plus(other.range) }
    }

    /// `self - other`.
    pub fn minus(self, other: Value<T>) -> Value<T> {
        Value { bits: self.bits.minus(other.bits), range: self.range.minus(other.range) }
    }

    /// `-self`.
    pub fn negated(self) -> Value<T> {
        Value::exact(T::zero()).minus(self)
    }

    /// `self * other`. Of the range something is said when no product can overflow.
    pub fn times(self, other: Value<T>) -> Value<T> {
        let half = T::of(1).shl(T::of(u64::from(T::BITS / 2)));
        let (a, b) = (self.range, other.range);
        let is_small = a.umax().lt(half) & b.umax().lt(half);
        let unsigned = Range::between(a.umin() * b.umin(), a.umax() * b.umax());
        let range = Range::select(is_small, unsigned, self.signed_products(other));
        Value { bits: self.bits.times(other.bits), range }
    }

    fn signed_products(self, other: Value<T>) -> Range<T> {
        let most = T::of(1).shl(T::of(u64::from(T::BITS / 2 - 1)));
        let is_small = |range: Range<T>| (-most).sle(range.smin()) & range.smax().slt(most);
        let (a, b) = (self.range, other.range);
        let products =
            [a.smin() * b.smin(), a.smin() * b.smax(), a.smax() * b.smin(), a.smax() * b.smax()];
        Range::select(is_small(a) & is_small(b), corners(products), Range::full())
    }

    /// `self & other`.
    pub fn and(self, other: Value<T>) -> Value<T> {
        let bits = self.bits.and(other.bits);
        let most = self.range.umax().min(other.range.umax());
        Value { bits, range: Range::between(bits.min(), most.min(bits.max())) }
    }

    /// `self | other`.
    pub fn or(self, other: Value<T>) -> Value<T> {
        let bits = self.bits.or(other.bits);
        let least = self.range.umin().max(other.range.umin());
        Value { bits, range: Range::between(least.max(bits.min()), bits.max()) }
    }

    /// `self ^ other`.
    pub fn xor(self, other: Value<T>) -> Value<T> {
        Value { bits: self.bits.xor(other.bits), range: Range::full() }
    }
}

/// From the least to the greatest of these, signed.
pub(super) fn corners<T: Word, const N: usize>(numbers: [T; N]) -> Range<T> {
    let mut least = numbers[0];
    let mut most = numbers[0];
    for &number in &numbers[1..] {
        least = least.smin(number);
        most = most.smax(number);
    }
    Range::between(least, most)
}

impl<T: Word> Tnum<T> {
    /// Whether all bits are known.
    pub fn is_exact(self) -> T::Truth {
        self.mask.eq(T::zero())
    }
}
