//! Engines that run the same module: the IR as it stands, the code on the checked interpreter, the
//! code in the running kernel. What one computes, all must compute.

#![allow(dead_code, reason = "each test uses its part")]

pub(crate) mod interpreter;
pub(crate) mod kernel;
pub(crate) mod vm;

/// What a run gives: the returned value and the context afterwards.
pub(crate) type Outcome = (u64, Vec<u8>);

/// The memory of a test program's maps: arrays of one element each, by their value sizes.
pub(crate) type MapSizes = Vec<u32>;
