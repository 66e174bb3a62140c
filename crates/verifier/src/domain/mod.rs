//! What is known of a number: which bits ([`Tnum`]), in which range ([`Range`]), at 64 bits and at 32
//! ([`Scalar`]).
//!
//! The operators are written once, for any [`Word`]: machine words when programs are verified, short
//! words for exhaustive tests, terms of a solver for proofs. So they decide by [`Word::select`] and
//! never by `if` on what they compute.

mod arithmetic;
mod branch;
mod division;
mod range;
mod scalar;
mod shift;
mod tnum;
mod value;
mod word;

pub use branch::{Assumed, Comparison, assume, implied};
pub use range::Range;
pub use scalar::Scalar;
pub use tnum::Tnum;
pub use value::{Value, alu, computed};
pub use word::{Wide, Word};
