//! Proves programs safe, or explains why they are not, as Linux 7.3 does: with its verdicts, its error
//! numbers, and its log.
//!
//! [`code`] has what can be told of a program without following its paths. The walk follows all of
//! them (`walk`), with what is known of each register and stack slot (`state`), what each instruction
//! needs and does (`check`), and what is known of numbers ([`domain`]). Which helper, kernel function,
//! context field or map a program may use, `bombus_platform`'s tables say (`facts` asks them).
//!
//! Every operator of the domain is sound: what it says of the result holds for each number that the
//! operands can be. That is proved of this very code, exhaustively for short words
//! (`tests/operators.rs`) and by a solver for whole ones (`cargo xtask prove`).
#![forbid(unsafe_code)]

mod check;
pub mod code;
pub mod domain;
pub mod embedding;
mod entry;
pub mod explain;
mod facts;
mod fields;
mod log;
mod maps;
mod program;
mod proof;
mod state;
mod types;
mod verdict;
mod walk;

pub use entry::{verify, verify_with};
pub use program::{
    AttachTarget, F_ANY_ALIGNMENT, F_SLEEPABLE, F_STRICT_ALIGNMENT, F_TEST_REG_INVARIANTS,
    F_TEST_STATE_FREQ, F_XDP_DEV_BOUND_ONLY, F_XDP_HAS_FRAGS, Map, MapTypes, Options, Privileges,
    Program, Target,
};
pub use proof::{Known, Memory, Proof};
pub use verdict::{Rejection, Stats, Verdict};
