//! The tracing language: text to programs, and a plan for user space.
//!
//! [`syntax`] reads the text, `check` finds out what it means, `lower` builds the programs and the
//! [`plan::Plan`]; [`compile`](compile::compile) is all of it.
#![forbid(unsafe_code)]

mod check;
pub mod compile;
mod describe;
pub mod diagnostic;
mod lower;
pub mod plan;
pub mod render;
pub mod syntax;
pub mod types;

pub use compile::{Compilation, Env, LICENSES, MissingProbes, Options, Overrides, compile};
pub use describe::describe;
