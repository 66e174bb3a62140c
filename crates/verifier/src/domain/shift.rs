//! Shifts. The distance counts modulo the word's bits (RFC 9669 section 4.1).

use super::{Range, Tnum, Value, Word};

impl<T: Word> Value<T> {
    /// The distance of a shift: the least and the greatest.
    fn distances(self) -> (T, T) {
        let most = T::of(u64::from(T::BITS - 1));
        let is_in_bounds = self.range.umax().le(most);
        let exact = self.range.start & most;
        let least = T::select(is_in_bounds, self.range.umin(), T::zero());
        let greatest = T::select(is_in_bounds, self.range.umax(), most);
        let is_exact = self.is_exact();
        (T::select(is_exact, exact, least), T::select(is_exact, exact, greatest))
    }

    /// `self << by`.
    pub fn shifted_left(self, by: Value<T>) -> Value<T> {
        let (least, most) = by.distances();
        let is_exact = least.eq(most);
        let bits = Tnum::select(is_exact, self.bits.lsh(least), Tnum::unknown());
        let (umin, umax) = (self.range.umin(), self.range.umax());
        let (smin, smax) = (self.range.smin(), self.range.smax());
        let fits = umax.le(T::ones().shr(most));
        let unsigned = Range::between(umin.shl(least), umax.shl(most));
        // Nothing of the number is lost, nor its sign.
        let stays = |number: T| number.shl(least).sar(least).eq(number);
        let signed = Range::between(smin.shl(least), smax.shl(least));
        let fits_signed = is_exact & stays(smin) & stays(smax);
        let range = Range::select(fits_signed, signed, Range::full());
        Value { bits, range: Range::select(fits, unsigned, range) }
    }

    /// `self >> by`; zeroes come in.
    pub fn shifted_right(self, by: Value<T>) -> Value<T> {
        let (least, most) = by.distances();
        let bits = Tnum::select(least.eq(most), self.bits.rsh(least), Tnum::unknown());
        let (umin, umax) = (self.range.umin(), self.range.umax());
        Value { bits, range: Range::between(umin.shr(most), umax.shr(least)) }
    }

    /// `self >> by`; the sign comes in.
    pub fn shifted_right_signed(self, by: Value<T>) -> Value<T> {
        let (least, most) = by.distances();
        let bits = Tnum::select(least.eq(most), self.bits.arsh(least), Tnum::unknown());
        let (smin, smax) = (self.range.smin(), self.range.smax());
        let is_negative = |number: T| number.slt(T::zero());
        let first = T::select(is_negative(smin), smin.sar(least), smin.sar(most));
        let last = T::select(is_negative(smax), smax.sar(most), smax.sar(least));
        Value { bits, range: Range::between(first, last) }
    }

    /// The low `n` bits, of which the highest is the sign; `n` is between 1 and the word's bits.
    pub fn sign_extended_from(self, n: u32) -> Value<T> {
        let distance = T::of(u64::from(T::BITS - n));
        let bits = self.bits.lsh(distance).arsh(distance);
        let least = T::sign().sar(distance);
        let (smin, smax) = (self.range.smin(), self.range.smax());
        let fits = least.sle(smin) & smax.sle(!least);
        let range = Range::select(fits, self.range, Range::between(least, !least));
        Value { bits, range }.reduced().0
    }

    /// The low `n` bits; `n` is between 1 and the word's bits.
    pub fn zero_extended_from(self, n: u32) -> Value<T> {
        let mask = T::ones().shr(T::of(u64::from(T::BITS - n)));
        self.and(Value::exact(mask)).reduced().0
    }
}
