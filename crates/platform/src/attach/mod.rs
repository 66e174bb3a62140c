//! What programs may attach to.

pub mod lsm;
