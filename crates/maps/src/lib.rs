//! The maps of eBPF in user space.
//!
//! Programs that run in this process as machine code hold pointers to values and use them from many
//! threads at once; interpreters that check every access name the same values by offsets. So the
//! memory of a map is one part of the address space (or one for each CPU), in which nothing ever
//! moves, and of which only what is used takes memory: see [`Map::values`].
//!
//! Types, flags, limits, checks and error numbers are those of the kernel (`kernel/bpf/*map*.c`,
//! `hashtab.c`, `lpm_trie.c`, `ringbuf.c`, `syscall.c`); `tests/oracle.rs` holds each operation
//! against the running one.
//!
//! * [`Map::lookup`], [`Map::update`], [`Map::delete`] and their kin are what helpers of programs
//!   do; [`raw`] has the same as functions for machine code to call.
//! * `Map::user_*` are the commands of `bpf(2)`.
//!
//! `unsafe` stands in the modules `words`, `region`, `pages`, `hash::elements`, `raw`, `ring_memory` and
//! `sync`.
#![deny(unsafe_op_in_unsafe_fn)]

mod array;
mod batch;
mod bias;
mod bloom;
mod def;
mod hash;
mod lock;
mod lpm;
mod map;
pub mod pages;
mod queue;
pub mod raw;
mod references;
mod region;
mod ring_memory;
pub mod ringbuf;
pub mod spin;
mod stacks;
mod sync;
mod threads;
mod update;
mod user;
mod words;

pub use array::ArrayLayout;
pub use batch::{Batch, Found};
pub use def::{MapDef, flag};
pub use hash::elements::Layout;
pub use map::{Map, Visited, Walk};
pub use ringbuf::{Ringbuf, UserRingbuf};
pub use update::{ANY, EXIST, LOCK, NOEXIST};
pub use words::Bytes;

/// An error number (`errno-base.h`).
pub type Errno = i32;

/// The kernel's own "not supported", which the C library has no name for (`include/linux/errno.h`).
pub const ENOTSUPP: Errno = 524;
