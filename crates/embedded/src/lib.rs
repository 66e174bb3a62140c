//! A kernel in user space behind [`bombus_kernel::Kernel`]: maps, helpers and programs of its own,
//! and hooks into the processes that the user may trace anyway.

pub mod hooks;
