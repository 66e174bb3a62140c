//! The words that operators compute with.

use std::fmt::Debug;
use std::num::Wrapping;
use std::ops::{Add, BitAnd, BitOr, BitXor, Mul, Neg, Not, Sub};

/// A word of [`Word::BITS`] bits. Arithmetic wraps around.
pub trait Word:
    Copy
    + Debug
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + BitAnd<Output = Self>
    + BitOr<Output = Self>
    + BitXor<Output = Self>
    + Not<Output = Self>
    + Neg<Output = Self>
{
    /// Whether something holds.
    type Truth: Copy
        + Debug
        + BitAnd<Output = Self::Truth>
        + BitOr<Output = Self::Truth>
        + Not<Output = Self::Truth>;

    /// Its bits.
    const BITS: u32;

    /// The low bits of a number.
    fn of(number: u64) -> Self;
    /// Shifted left by `n`, less than [`Word::BITS`].
    fn shl(self, n: Self) -> Self;
    /// Shifted right by `n`, less than [`Word::BITS`]; zeroes come in.
    fn shr(self, n: Self) -> Self;
    /// Shifted right by `n`, less than [`Word::BITS`]; the sign comes in.
    fn sar(self, n: Self) -> Self;
    /// The unsigned quotient; anything when `divisor` is 0.
    fn quotient(self, divisor: Self) -> Self;
    /// The unsigned remainder; anything when `divisor` is 0.
    fn remainder(self, divisor: Self) -> Self;
    /// Whether it is less, unsigned.
    fn lt(self, other: Self) -> Self::Truth;
    /// Whether it is the same.
    fn eq(self, other: Self) -> Self::Truth;
    /// What is known of a truth at once; of a solver's nothing is. What is done where it is known must
    /// be what would come out without.
    fn decided(truth: Self::Truth) -> Option<bool> {
        let _ = truth;
        None
    }
    /// One of two words.
    fn select(condition: Self::Truth, yes: Self, no: Self) -> Self;

    /// All ones: the largest, unsigned.
    fn ones() -> Self {
        Self::of(u64::MAX)
    }

    /// The sign bit: the least, signed.
    fn sign() -> Self {
        Self::of(1 << (Self::BITS - 1))
    }

    /// Zero.
    fn zero() -> Self {
        Self::of(0)
    }

    /// One.
    fn one() -> Self {
        Self::of(1)
    }

    /// Whether it is not greater, unsigned.
    fn le(self, other: Self) -> Self::Truth {
        !other.lt(self)
    }

    /// Whether it is less, signed.
    fn slt(self, other: Self) -> Self::Truth {
        (self ^ Self::sign()).lt(other ^ Self::sign())
    }

    /// Whether it is not greater, signed.
    fn sle(self, other: Self) -> Self::Truth {
        !other.slt(self)
    }

    /// The lesser, unsigned.
    fn min(self, other: Self) -> Self {
        Self::select(self.lt(other), self, other)
    }

    /// The greater, unsigned.
    fn max(self, other: Self) -> Self {
        Self::select(self.lt(other), other, self)
    }

    /// The lesser, signed.
    fn smin(self, other: Self) -> Self {
        Self::select(self.slt(other), self, other)
    }

    /// The greater, signed.
    fn smax(self, other: Self) -> Self {
        Self::select(self.slt(other), other, self)
    }

    /// Its distance from zero, signed.
    fn magnitude(self) -> Self {
        Self::select(self.slt(Self::zero()), -self, self)
    }

    /// All bits below its highest set one, and that.
    fn smeared(self) -> Self {
        let mut word = self;
        let mut distance = 1;
        while distance < Self::BITS {
            word = word | word.shr(Self::of(distance.into()));
            distance *= 2;
        }
        word
    }
}

/// A word with halves.
pub trait Wide: Word {
    /// Half of it.
    type Half: Word<Truth = Self::Truth>;

    /// The low half.
    fn low(self) -> Self::Half;
    /// Zeroes above.
    fn zero_extended(half: Self::Half) -> Self;
    /// The sign above.
    fn sign_extended(half: Self::Half) -> Self;
}

macro_rules! machine_words {
    ($($word:ty, $signed:ty;)*) => {$(
        impl Word for Wrapping<$word> {
            type Truth = bool;
            const BITS: u32 = <$word>::BITS;

            fn of(number: u64) -> Self {
                Wrapping(number as $word)
            }
            fn shl(self, n: Self) -> Self {
                Wrapping(self.0.wrapping_shl(n.0 as u32))
            }
            fn shr(self, n: Self) -> Self {
                Wrapping(self.0.wrapping_shr(n.0 as u32))
            }
            fn sar(self, n: Self) -> Self {
                Wrapping((self.0 as $signed).wrapping_shr(n.0 as u32) as $word)
            }
            fn quotient(self, divisor: Self) -> Self {
                Wrapping(self.0.checked_div(divisor.0).unwrap_or(0))
            }
            fn remainder(self, divisor: Self) -> Self {
                Wrapping(self.0.checked_rem(divisor.0).unwrap_or(0))
            }
            fn lt(self, other: Self) -> bool {
                self.0 < other.0
            }
            fn eq(self, other: Self) -> bool {
                self.0 == other.0
            }
            fn select(condition: bool, yes: Self, no: Self) -> Self {
                if condition { yes } else { no }
            }
            fn decided(truth: bool) -> Option<bool> {
                Some(truth)
            }
            fn smeared(self) -> Self {
                // (All bits shifted by all their number would be none.)
                Wrapping(if self.0 == 0 { 0 } else { <$word>::MAX >> self.0.leading_zeros() })
            }
        }
    )*};
}

machine_words! {
    u64, i64;
    u32, i32;
}

impl Wide for Wrapping<u64> {
    type Half = Wrapping<u32>;

    fn low(self) -> Wrapping<u32> {
        Wrapping(self.0 as u32)
    }

    fn zero_extended(half: Wrapping<u32>) -> Self {
        Wrapping(half.0.into())
    }

    fn sign_extended(half: Wrapping<u32>) -> Self {
        Wrapping(i64::from(half.0 as i32) as u64)
    }
}
