//! BPF instructions as plain values: encode, decode, assemble, disassemble.
//!
//! [`Insn`] is one 8-byte slot exactly as the kernel has it (`struct bpf_insn`, RFC 9669
//! section 3). Wide instructions (`ld_imm64`) take two slots.
//! No I/O; no dependencies.
#![forbid(unsafe_code)]

mod asm;
mod decode;
mod disasm;
mod encode;
mod insn;
mod op;
pub mod opcode;
mod parse;
mod validate;

pub use asm::{AsmError, asm};
pub use decode::{DecodeError, ops};
pub use disasm::{Resolve, disasm};
pub use insn::{Insn, Reg, Size};
pub use op::{AluOp, AtomicOp, Cond, Endian, Imm64, Op, Operand, Width};
pub use validate::{InvalidInsn, validate};
