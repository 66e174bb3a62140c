//! What each instruction needs, and what is known after it (`kernel/bpf/verifier.c`).

mod alu;
mod args;
mod branch;
mod buffer;
mod call;
mod context;
mod exit;
mod field;
mod helper;
mod helper_result;
mod immediate;
mod kfunc;
mod lock;
mod memory;
mod object;
mod pointer;
mod region;
mod resources;
mod signature;
mod speculation;
mod stack;

pub(crate) use signature::Argument;
