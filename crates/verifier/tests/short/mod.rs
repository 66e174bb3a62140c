//! Words of a few bits.

pub(crate) mod all;

use std::ops::{Add, BitAnd, BitOr, BitXor, Mul, Neg, Not, Sub};

use bombus_verifier::domain::{Wide, Word};

/// A word of `W` bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Short<const W: u32>(pub(crate) u64);

impl<const W: u32> Short<W> {
    pub(crate) fn signed(self) -> i64 {
        (self.0 << (64 - W)) as i64 >> (64 - W)
    }
}

macro_rules! operators {
    ($($operator:ident $method:ident $machine:ident;)*) => {$(
        impl<const W: u32> $operator for Short<W> {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                Short::of(self.0.$machine(other.0))
            }
        }
    )*};
}

operators! {
    Add add wrapping_add;
    Sub sub wrapping_sub;
    Mul mul wrapping_mul;
    BitAnd bitand bitand;
    BitOr bitor bitor;
    BitXor bitxor bitxor;
}

impl<const W: u32> Not for Short<W> {
    type Output = Self;
    fn not(self) -> Self {
        Short::of(!self.0)
    }
}

impl<const W: u32> Neg for Short<W> {
    type Output = Self;
    fn neg(self) -> Self {
        Short::of(self.0.wrapping_neg())
    }
}

impl<const W: u32> Word for Short<W> {
    type Truth = bool;
    const BITS: u32 = W;

    fn of(number: u64) -> Self {
        Short(number & ((1 << W) - 1))
    }
    fn decided(truth: bool) -> Option<bool> {
        Some(truth)
    }
    fn shl(self, n: Self) -> Self {
        Short::of(self.0 << n.0)
    }
    fn shr(self, n: Self) -> Self {
        Short::of(self.0 >> n.0)
    }
    fn sar(self, n: Self) -> Self {
        Short::of((self.signed() >> n.0) as u64)
    }
    fn quotient(self, divisor: Self) -> Self {
        Short::of(self.0.checked_div(divisor.0).unwrap_or(0))
    }
    fn remainder(self, divisor: Self) -> Self {
        Short::of(self.0.checked_rem(divisor.0).unwrap_or(0))
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
}

impl Wide for Short<4> {
    type Half = Short<2>;

    fn low(self) -> Short<2> {
        Short::of(self.0)
    }
    fn zero_extended(half: Short<2>) -> Self {
        Short(half.0)
    }
    fn sign_extended(half: Short<2>) -> Self {
        Short::of(half.signed() as u64)
    }
}
