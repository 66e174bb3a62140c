//! Quotients and remainders. By zero, a quotient is zero and a remainder what was divided; the least
//! signed number divided by minus one is itself (RFC 9669 section 4.1).

use super::arithmetic::corners;
use super::{Range, Value, Word};

impl<T: Word> Value<T> {
    /// `self / by`, unsigned.
    pub fn divided(self, by: Value<T>) -> Value<T> {
        let (a, b) = (self.range, by.range);
        let may_be_zero = b.contains(T::zero());
        // By zero or one at least, which does not make it larger.
        let anyhow = Range::between(T::zero(), a.umax());
        let quotients = Range::between(a.umin().quotient(b.umax()), a.umax().quotient(b.umin()));
        let is_zero = b.umax().eq(T::zero());
        let quotients = Value::from_range(Range::select(may_be_zero, anyhow, quotients));
        Value::select(is_zero, Value::exact(T::zero()), quotients)
    }

    /// `self % by`, unsigned.
    pub fn modulo(self, by: Value<T>) -> Value<T> {
        let (a, b) = (self.range, by.range);
        let may_be_zero = b.contains(T::zero());
        let most = T::select(may_be_zero, a.umax(), a.umax().min(b.umax() - T::one()));
        let remainders = Value::from_range(Range::between(T::zero(), most));
        let is_less = a.umax().lt(b.umin());
        let is_zero = b.umax().eq(T::zero());
        Value::select(is_less | is_zero, self, remainders)
    }

    /// `self / by`, signed, rounded towards zero.
    pub fn divided_signed(self, by: Value<T>) -> Value<T> {
        let (a, b) = (self.range, by.range);
        let may_be_zero = b.contains(T::zero());
        let may_overflow = a.contains(T::sign()) & b.contains(T::ones());
        // Divisors of both signs: those next to zero give the largest quotients.
        let both_signs = b.smin().slt(T::zero()) & T::zero().slt(b.smax());
        let quotients = corners([
            signed_quotient(a.smin(), b.smin()),
            signed_quotient(a.smin(), b.smax()),
            signed_quotient(a.smax(), b.smin()),
            signed_quotient(a.smax(), b.smax()),
        ]);
        let most = a.smin().magnitude().max(a.smax().magnitude());
        let anyhow = Range::between(-most, most);
        let is_wide = may_be_zero | both_signs;
        let range = Range::select(is_wide, anyhow, quotients);
        // As `-most` to `most` that would be empty or everything.
        let is_all = may_overflow | (is_wide & most.eq(T::sign()));
        let quotients = Value::from_range(Range::select(is_all, Range::full(), range));
        let is_zero = by.is_exact() & b.start.eq(T::zero());
        let overflows =
            self.is_exact() & by.is_exact() & a.start.eq(T::sign()) & b.start.eq(T::ones());
        let quotient = T::select(is_zero, T::zero(), T::sign());
        Value::select(is_zero | overflows, Value::exact(quotient), quotients)
    }

    /// `self % by`, signed: of the sign of what is divided.
    pub fn modulo_signed(self, by: Value<T>) -> Value<T> {
        let (a, b) = (self.range, by.range);
        let may_be_zero = b.contains(T::zero());
        let divisor = b.smin().magnitude().max(b.smax().magnitude());
        let most = T::select(may_be_zero, !T::sign(), divisor - T::one());
        let least = T::select(may_be_zero, T::sign(), -most);
        let last = T::select(T::zero().slt(a.smax()), a.smax().smin(most), T::zero());
        let first = T::select(a.smin().slt(T::zero()), a.smin().smax(least), T::zero());
        let remainders = Value::from_range(Range::between(first, last));
        let is_zero = by.is_exact() & b.start.eq(T::zero());
        Value::select(is_zero, self, remainders)
    }

    /// Nothing is known but the range.
    fn from_range(range: Range<T>) -> Value<T> {
        Value { range, ..Value::unknown() }
    }
}

/// The quotient, rounded towards zero; anything when the divisor is 0.
fn signed_quotient<T: Word>(number: T, divisor: T) -> T {
    let quotient = number.magnitude().quotient(divisor.magnitude());
    let is_negative = (number ^ divisor).slt(T::zero());
    T::select(is_negative, -quotient, quotient)
}
