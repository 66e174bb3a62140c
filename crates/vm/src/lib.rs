//! Engines that run BPF in user space.
//!
//! In the *checked interpreter* ([`Execution`]) every memory access, every register read and every
//! helper pointer is checked when it happens, so no program, verified or not, can harm the process
//! that runs it. Programs see guest addresses ([`address`]), never pointers of the host, which is
//! why it needs no `unsafe`.
//!
//! The fast engines ([`native`]) run programs that have been proved safe, and check nothing.
//!
//! What an instruction means stands in [`semantics`] alone, as pure functions on numbers.
#![deny(unsafe_code)]

pub mod address;
pub mod bare;
mod execution;
pub mod fast;
mod host;
mod interpreter;
pub mod jit;
mod names;
pub mod native;
mod program;
pub mod semantics;
mod series;
mod trap;
mod validate;

pub use execution::{Context, Execution, Stack};
pub use host::{Call, Host, Nothing, Return, Step};
pub use jit::guarded::{Block, Guests, Known, Layout, Lookup, Proven, Tables, View};
pub use names::{Arena, Names};
pub use program::{InvalidProgram, Program};
pub use series::Series;
pub use trap::{Trap, TrapKind};

/// Frames that may be open at once, callbacks included: those of one program (`MAX_CALL_FRAMES`,
/// `include/linux/bpf_verifier.h`), and one more for each tail call that one of its functions makes.
pub const MAX_FRAMES: usize = 16 + bombus_platform::MAX_TAIL_CALLS as usize;

/// Iterations that `may_goto` allows (`BPF_MAX_LOOPS`, `include/linux/bpf.h`).
pub(crate) const MAX_LOOPS: u32 = 8 * 1024 * 1024;

/// Instructions that a run may take unless it is told otherwise.
pub const DEFAULT_FUEL: u64 = 10_000_000;
