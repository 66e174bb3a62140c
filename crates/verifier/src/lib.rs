//! Proves programs safe, or explains why they are not.
//!
//! So far: what is known of a number, and what instructions and branches do to that knowledge
//! ([`domain`]). Every operator is sound: what it says of the result holds for each number that the
//! operands can be. That is proved of this very code, exhaustively for short words
//! (`tests/operators.rs`) and by a solver for whole ones (`cargo xtask prove`).
#![forbid(unsafe_code)]

pub mod domain;
