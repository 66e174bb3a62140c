//! BPF type information: a builder for what the compiler emits.
#![forbid(unsafe_code)]
