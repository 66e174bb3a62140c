//! Programs and maps as plain data: no file descriptors, the same on every host.
//!
//! Metadata travels on the instruction: what a slot refers to, and which source line it came from.
//! What depends on the target kernel is described, not resolved: the loader does that.
#![forbid(unsafe_code)]

mod map;
mod object;
mod program;

pub use map::{MapRole, MapSpec, Slot};
pub use object::{Extern, ObjectSpec, Variable};
pub use program::{CoreRelocation, Function, ProgramSpec, Reference, SourceLine, SpecInsn};
