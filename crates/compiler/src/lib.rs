//! SSA intermediate representation and BPF back end.
//!
//! Front ends build [`ir::Function`]s with [`ir::Builder`]; `compile` (to come) turns a module of them into a
//! program.
#![forbid(unsafe_code)]

pub mod ir;
