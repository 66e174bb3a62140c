//! What threads synchronise by, in one place: `tests/interleavings.rs` compiles the modules that use
//! it with those of a model checker instead.

pub(crate) use std::hint::spin_loop;
pub(crate) use std::sync::atomic::{AtomicU32, Ordering, fence};
pub(crate) use std::thread::yield_now;
