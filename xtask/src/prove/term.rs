//! Words of which only a solver knows the value: an operation on them adds a definition to a script
//! in SMT-LIB's language of bit vectors.

use std::cell::RefCell;
use std::fmt;
use std::ops::{Add, BitAnd, BitOr, BitXor, Mul, Neg, Not, Sub};

use bombus_verifier::domain::{Wide, Word};

thread_local! {
    static SCRIPT: RefCell<Script> = RefCell::default();
}

#[derive(Default)]
struct Script {
    text: String,
    names: u32,
}

/// A word of `W` bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Term<const W: u32>(u32);

/// Whether something holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim(u32);

impl<const W: u32> fmt::Display for Term<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}", self.0)
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}", self.0)
    }
}

/// The script that `claim` makes, which has no solution when the claim always holds.
pub(super) fn refutation(claim: impl FnOnce() -> Claim) -> String {
    SCRIPT.take();
    let claim = claim();
    let script = SCRIPT.take().text;
    format!("(set-logic QF_BV)\n{script}(assert (not {claim}))\n(check-sat)\n")
}

fn name(line: impl FnOnce(u32) -> String) -> u32 {
    SCRIPT.with_borrow_mut(|script| {
        script.names += 1;
        let line = line(script.names);
        script.text.push_str(&line);
        script.text.push('\n');
        script.names
    })
}

fn word<const W: u32>(definition: fmt::Arguments<'_>) -> Term<W> {
    Term(name(|number| format!("(define-fun t{number} () (_ BitVec {W}) {definition})")))
}

fn claim(definition: fmt::Arguments<'_>) -> Claim {
    Claim(name(|number| format!("(define-fun t{number} () Bool {definition})")))
}

/// A word that can be anything.
pub(super) trait Variable: Word<Truth = Claim> {
    /// A new one.
    fn any() -> Self;
}

impl<const W: u32> Variable for Term<W> {
    fn any() -> Self {
        Term(name(|number| format!("(declare-const t{number} (_ BitVec {W}))")))
    }
}

macro_rules! operators {
    ($($operator:ident $method:ident $function:literal;)*) => {$(
        impl<const W: u32> $operator for Term<W> {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                word(format_args!("({} {self} {other})", $function))
            }
        }
    )*};
}

operators! {
    Add add "bvadd";
    Sub sub "bvsub";
    Mul mul "bvmul";
    BitAnd bitand "bvand";
    BitOr bitor "bvor";
    BitXor bitxor "bvxor";
}

impl<const W: u32> Not for Term<W> {
    type Output = Self;
    fn not(self) -> Self {
        word(format_args!("(bvnot {self})"))
    }
}

impl<const W: u32> Neg for Term<W> {
    type Output = Self;
    fn neg(self) -> Self {
        word(format_args!("(bvneg {self})"))
    }
}

impl BitAnd for Claim {
    type Output = Claim;
    fn bitand(self, other: Claim) -> Claim {
        claim(format_args!("(and {self} {other})"))
    }
}

impl BitOr for Claim {
    type Output = Claim;
    fn bitor(self, other: Claim) -> Claim {
        claim(format_args!("(or {self} {other})"))
    }
}

impl Not for Claim {
    type Output = Claim;
    fn not(self) -> Claim {
        claim(format_args!("(not {self})"))
    }
}

impl<const W: u32> Word for Term<W> {
    type Truth = Claim;
    const BITS: u32 = W;

    fn of(number: u64) -> Self {
        let number = number & (u64::MAX >> (64 - W));
        word(format_args!("(_ bv{number} {W})"))
    }
    fn shl(self, n: Self) -> Self {
        word(format_args!("(bvshl {self} {n})"))
    }
    fn shr(self, n: Self) -> Self {
        word(format_args!("(bvlshr {self} {n})"))
    }
    fn sar(self, n: Self) -> Self {
        word(format_args!("(bvashr {self} {n})"))
    }
    fn quotient(self, divisor: Self) -> Self {
        word(format_args!("(bvudiv {self} {divisor})"))
    }
    fn remainder(self, divisor: Self) -> Self {
        word(format_args!("(bvurem {self} {divisor})"))
    }
    fn lt(self, other: Self) -> Claim {
        claim(format_args!("(bvult {self} {other})"))
    }
    fn eq(self, other: Self) -> Claim {
        claim(format_args!("(= {self} {other})"))
    }
    fn select(condition: Claim, yes: Self, no: Self) -> Self {
        word(format_args!("(ite {condition} {yes} {no})"))
    }
}

macro_rules! halves {
    ($($whole:literal $half:literal;)*) => {$(
        impl Wide for Term<$whole> {
            type Half = Term<$half>;

            fn low(self) -> Term<$half> {
                word(format_args!("((_ extract {} 0) {self})", $half - 1))
            }
            fn zero_extended(half: Term<$half>) -> Self {
                word(format_args!("((_ zero_extend {}) {half})", $whole - $half))
            }
            fn sign_extended(half: Term<$half>) -> Self {
                word(format_args!("((_ sign_extend {}) {half})", $whole - $half))
            }
        }
    )*};
}

halves! {
    64 32;
    32 16;
    16 8;
    8 4;
}
