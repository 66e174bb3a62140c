//! Tristate numbers: each bit is zero, one or unknown (`kernel/bpf/tnum.c`; Vishwanathan et al.,
//! "Sound, Precise, and Fast Abstract Interpretation with Tristate Numbers", CGO 2022).

use super::Word;
use super::value::holds;

/// A number of which some bits are known. Bits that are unknown are zero in `value`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tnum<T> {
    /// The bits that are known to be one.
    pub value: T,
    /// The bits that are unknown.
    pub mask: T,
}

impl<T: Word> Tnum<T> {
    /// This number.
    pub fn exact(value: T) -> Tnum<T> {
        Tnum { value, mask: T::zero() }
    }

    /// Any number.
    pub fn unknown() -> Tnum<T> {
        Tnum { value: T::zero(), mask: T::ones() }
    }

    /// The bits that all numbers from `min` to `max` (unsigned) have in common.
    pub fn of_unsigned(min: T, max: T) -> Tnum<T> {
        let mask = (min ^ max).smeared();
        Tnum { value: min & !mask, mask }
    }

    /// Whether it can be this number.
    pub fn contains(self, number: T) -> T::Truth {
        (number & !self.mask).eq(self.value)
    }

    /// The least that it can be, unsigned.
    pub fn min(self) -> T {
        self.value
    }

    /// The greatest that it can be, unsigned.
    pub fn max(self) -> T {
        self.value | self.mask
    }

    /// The least and the greatest that it can be, signed.
    pub fn signed_limits(self) -> (T, T) {
        let (sign, rest) = (self.mask & T::sign(), self.mask & !T::sign());
        (self.value | sign, self.value | rest)
    }

    /// The least that it can be from this number on, unsigned, and whether there is none
    /// (`tnum_step`, but for what `number` itself is).
    pub fn at_least(self, number: T) -> (T, T::Truth) {
        let differ = (number ^ self.value) & !self.mask;
        // From the highest known bit that `number` has otherwise, downwards.
        let below = differ.smeared();
        let highest = below & !(below.shr(T::one()));
        let is_less = !(highest & number).eq(T::zero());
        let lower = (number & !below) | (self.value & below);
        // A bit above has to be set: the lowest that can be.
        let can = self.mask & !number & !below;
        let bit = can & -can;
        let rest = bit - T::one();
        let higher = (number & !rest) | bit | (self.value & rest);
        (T::select(is_less, higher, lower), is_less & can.eq(T::zero()))
    }

    /// The first that it can be from `first` up to `last`, unsigned, and whether that is the only one
    /// there.
    pub fn only_between(self, first: T, last: T) -> (T, T::Truth) {
        let (number, none) = self.at_least(first);
        let (second, no_second) = self.at_least(number + T::one());
        let is_last = no_second | number.eq(T::ones()) | last.lt(second);
        (number, !none & number.le(last) & is_last)
    }

    /// One of two.
    pub fn select(condition: T::Truth, yes: Tnum<T>, no: Tnum<T>) -> Tnum<T> {
        Tnum {
            value: T::select(condition, yes.value, no.value),
            mask: T::select(condition, yes.mask, no.mask),
        }
    }

    /// `self + other`.
    pub fn plus(self, other: Tnum<T>) -> Tnum<T> {
        let value = self.value + other.value;
        let most = value + (self.mask + other.mask);
        // Where carries can make a difference.
        let mask = (most ^ value) | self.mask | other.mask;
        Tnum { value: value & !mask, mask }
    }

    /// `self - other`.
    pub fn minus(self, other: Tnum<T>) -> Tnum<T> {
        let value = self.value - other.value;
        let mask = ((value + self.mask) ^ (value - other.mask)) | self.mask | other.mask;
        Tnum { value: value & !mask, mask }
    }

    /// `self & other`.
    pub fn and(self, other: Tnum<T>) -> Tnum<T> {
        let value = self.value & other.value;
        Tnum { value, mask: self.max() & other.max() & !value }
    }

    /// `self | other`.
    pub fn or(self, other: Tnum<T>) -> Tnum<T> {
        let value = self.value | other.value;
        Tnum { value, mask: (self.mask | other.mask) & !value }
    }

    /// `self ^ other`.
    pub fn xor(self, other: Tnum<T>) -> Tnum<T> {
        let mask = self.mask | other.mask;
        Tnum { value: (self.value ^ other.value) & !mask, mask }
    }

    /// `self * other`: a sum over the bits of `self`.
    pub fn times(self, other: Tnum<T>) -> Tnum<T> {
        if holds::<T>(self.is_exact() & other.is_exact()) {
            return Tnum::exact(self.value * other.value);
        }
        let mut sum = Tnum::exact(T::zero());
        for place in 0..T::BITS {
            if holds::<T>((self.max() & T::one().shl(T::of(place.into()))).eq(T::zero())) {
                continue;
            }
            sum = self.plus_product(T::of(place.into()), other, sum);
        }
        sum
    }

    /// `sum`, and if the bit of `self` at this place is set, `other` shifted there.
    pub fn plus_product(self, place: T, other: Tnum<T>, sum: Tnum<T>) -> Tnum<T> {
        let bit = T::one().shl(place);
        let with = sum.plus(other.lsh(place));
        let is_one = !(self.value & bit).eq(T::zero());
        let is_unknown = !(self.mask & bit).eq(T::zero());
        Tnum::select(is_one, with, Tnum::select(is_unknown, sum.join(with), sum))
    }

    /// Shifted left by `n`, less than the word's bits.
    pub fn lsh(self, n: T) -> Tnum<T> {
        Tnum { value: self.value.shl(n), mask: self.mask.shl(n) }
    }

    /// Shifted right by `n`, less than the word's bits; zeroes come in.
    pub fn rsh(self, n: T) -> Tnum<T> {
        Tnum { value: self.value.shr(n), mask: self.mask.shr(n) }
    }

    /// Shifted right by `n`, less than the word's bits; the sign comes in, known or not.
    pub fn arsh(self, n: T) -> Tnum<T> {
        Tnum { value: self.value.sar(n), mask: self.mask.sar(n) }
    }

    /// What both say, and whether they contradict each other.
    pub fn meet(self, other: Tnum<T>) -> (Tnum<T>, T::Truth) {
        let mask = self.mask & other.mask;
        let value = (self.value | other.value) & !mask;
        let differ = (self.value ^ other.value) & !self.mask & !other.mask;
        (Tnum { value, mask }, !differ.eq(T::zero()))
    }

    /// What holds of either.
    pub fn join(self, other: Tnum<T>) -> Tnum<T> {
        let mask = (self.value ^ other.value) | self.mask | other.mask;
        Tnum { value: self.value & !mask, mask }
    }
}
