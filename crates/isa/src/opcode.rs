//! Opcode fields and their values (RFC 9669 section 3; `include/uapi/linux/bpf.h`).

/// Instruction classes: the low three bits of the opcode.
pub mod class {
    /// Non-standard loads: `ld_imm64`, legacy packet access.
    pub const LD: u8 = 0x00;
    /// Load from memory into a register.
    pub const LDX: u8 = 0x01;
    /// Store an immediate to memory.
    pub const ST: u8 = 0x02;
    /// Store a register to memory, atomics.
    pub const STX: u8 = 0x03;
    /// 32-bit arithmetic.
    pub const ALU: u8 = 0x04;
    /// 64-bit jumps, call and exit.
    pub const JMP: u8 = 0x05;
    /// 32-bit jumps.
    pub const JMP32: u8 = 0x06;
    /// 64-bit arithmetic.
    pub const ALU64: u8 = 0x07;
}

/// The source bit: operand is the immediate.
pub const K: u8 = 0x00;
/// The source bit: operand is the source register.
pub const X: u8 = 0x08;

/// Arithmetic operations: the high four bits of `ALU` and `ALU64` opcodes.
pub mod alu {
    #![allow(missing_docs, reason = "the names are those of RFC 9669, table 3")]
    pub const ADD: u8 = 0x00;
    pub const SUB: u8 = 0x10;
    pub const MUL: u8 = 0x20;
    /// Unsigned; signed when the offset field is 1.
    pub const DIV: u8 = 0x30;
    pub const OR: u8 = 0x40;
    pub const AND: u8 = 0x50;
    pub const LSH: u8 = 0x60;
    pub const RSH: u8 = 0x70;
    pub const NEG: u8 = 0x80;
    /// Unsigned; signed when the offset field is 1.
    pub const MOD: u8 = 0x90;
    pub const XOR: u8 = 0xa0;
    /// Plain when the offset field is 0; sign-extending from 8, 16 or 32 bits otherwise.
    pub const MOV: u8 = 0xb0;
    pub const ARSH: u8 = 0xc0;
    /// Byte swaps. The immediate is the width.
    pub const END: u8 = 0xd0;
}

/// Offset of a 64-bit register move that makes it a cast between address spaces
/// (`BPF_ADDR_SPACE_CAST`, Linux 6.9; not in RFC 9669).
pub const ADDR_SPACE_CAST: i16 = 1;

/// Jump operations: the high four bits of `JMP` and `JMP32` opcodes.
pub mod jmp {
    #![allow(missing_docs, reason = "the names are those of RFC 9669, table 8")]
    pub const JA: u8 = 0x00;
    pub const JEQ: u8 = 0x10;
    pub const JGT: u8 = 0x20;
    pub const JGE: u8 = 0x30;
    pub const JSET: u8 = 0x40;
    pub const JNE: u8 = 0x50;
    pub const JSGT: u8 = 0x60;
    pub const JSGE: u8 = 0x70;
    pub const CALL: u8 = 0x80;
    pub const EXIT: u8 = 0x90;
    pub const JLT: u8 = 0xa0;
    pub const JLE: u8 = 0xb0;
    pub const JSLT: u8 = 0xc0;
    pub const JSLE: u8 = 0xd0;
    /// `may_goto` (Linux 6.9; not in RFC 9669).
    pub const JCOND: u8 = 0xe0;
}

/// Addressing modes: the high three bits of load and store opcodes.
pub mod mode {
    /// 64-bit immediate.
    pub const IMM: u8 = 0x00;
    /// Legacy packet access, absolute.
    pub const ABS: u8 = 0x20;
    /// Legacy packet access, indirect.
    pub const IND: u8 = 0x40;
    /// Register plus offset.
    pub const MEM: u8 = 0x60;
    /// Sign-extending load.
    pub const MEMSX: u8 = 0x80;
    /// Atomic operation; the immediate says which.
    pub const ATOMIC: u8 = 0xc0;
}

/// Access sizes: bits 3 and 4 of load and store opcodes.
pub mod size {
    /// 32 bits.
    pub const W: u8 = 0x00;
    /// 16 bits.
    pub const H: u8 = 0x08;
    /// 8 bits.
    pub const B: u8 = 0x10;
    /// 64 bits.
    pub const DW: u8 = 0x18;
}

/// Atomic operations, as the immediate of an atomic store.
pub mod atomic {
    /// The instruction writes the old value back to the source register.
    pub const FETCH: i32 = 0x01;
    /// Add.
    pub const ADD: i32 = 0x00;
    /// Or.
    pub const OR: i32 = 0x40;
    /// And.
    pub const AND: i32 = 0x50;
    /// Exclusive or.
    pub const XOR: i32 = 0xa0;
    /// Exchange; always fetches.
    pub const XCHG: i32 = 0xe1;
    /// Compare and exchange with `r0`; always fetches.
    pub const CMPXCHG: i32 = 0xf1;
    /// Load with acquire semantics (Linux 6.15).
    pub const LOAD_ACQ: i32 = 0x100;
    /// Store with release semantics (Linux 6.15).
    pub const STORE_REL: i32 = 0x110;
}

/// What the source register field of `ld_imm64` says the immediate is (RFC 9669 section 5.4).
pub mod pseudo {
    /// File descriptor of a map; loads its address.
    pub const MAP_FD: u8 = 1;
    /// File descriptor of a map and, in the second slot, an offset into its first value.
    pub const MAP_VALUE: u8 = 2;
    /// BTF id of a kernel variable.
    pub const BTF_ID: u8 = 3;
    /// Distance in slots to a function of the same program.
    pub const FUNC: u8 = 4;
    /// Index into the array of file descriptors given at load.
    pub const MAP_IDX: u8 = 5;
    /// As `MAP_VALUE`, by index.
    pub const MAP_IDX_VALUE: u8 = 6;
}

/// What the source register field of `call` says the immediate is.
pub mod call {
    /// Helper function id.
    pub const HELPER: u8 = 0;
    /// Distance in slots to a function of the same program.
    pub const LOCAL: u8 = 1;
    /// BTF id of a kernel function.
    pub const KFUNC: u8 = 2;
}
