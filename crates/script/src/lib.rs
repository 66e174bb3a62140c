//! The tracing language: text to programs, and a plan for user space.
#![forbid(unsafe_code)]

pub mod diagnostic;
pub mod plan;
pub mod syntax;
pub mod types;
