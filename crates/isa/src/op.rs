//! Instructions as an enum: what a slot says once its bit fields are told apart.
//!
//! [`Op`] has exactly the valid encodings of RFC 9669 and of the kernel's extensions to it, so
//! that whoever executes or prints an instruction matches on it and needs no further checks of
//! the encoding. [`crate::Insn::decode`] makes it, [`Op::encode`] takes it apart again.

use crate::{Reg, Size};

/// The second operand: a register or the immediate.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Operand {
    /// A register.
    Reg(Reg),
    /// A constant; 64-bit operations sign-extend it.
    Imm(i32),
}

/// How much of a register an operation works on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Width {
    /// The low 32 bits. Arithmetic clears the upper half.
    W32,
    /// All 64 bits.
    W64,
}

/// Arithmetic with two operands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "the names are those of RFC 9669, table 4")]
pub enum AluOp {
    Add,
    Sub,
    Mul,
    /// Unsigned; division by zero gives zero.
    Div,
    /// Signed; division by zero gives zero.
    Sdiv,
    Or,
    And,
    /// The distance is taken modulo the width, as in all shifts.
    Lsh,
    /// Unsigned shift right.
    Rsh,
    /// Unsigned; modulo zero leaves the destination (its low half, at 32 bits).
    Mod,
    /// Signed, truncating; modulo zero as [`AluOp::Mod`].
    Smod,
    Xor,
    Mov,
    /// Signed shift right.
    Arsh,
}

/// Byte swaps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Endian {
    /// Host order to little endian, or back.
    Le,
    /// Host order to big endian, or back.
    Be,
    /// Always swap (ISA v4).
    Swap,
}

/// Conditions of jumps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cond {
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `&`: any common bit.
    Set,
    /// `>`, unsigned.
    Gt,
    /// `>=`, unsigned.
    Ge,
    /// `<`, unsigned.
    Lt,
    /// `<=`, unsigned.
    Le,
    /// `s>`, signed.
    Sgt,
    /// `s>=`, signed.
    Sge,
    /// `s<`, signed.
    Slt,
    /// `s<=`, signed.
    Sle,
}

/// Atomic read-modify-write operations.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AtomicOp {
    /// `+=`
    Add,
    /// `|=`
    Or,
    /// `&=`
    And,
    /// `^=`
    Xor,
    /// `src` and memory change places; always fetches.
    Xchg,
    /// Memory becomes `src` if it equals `r0`; `r0` becomes the old value. Always fetches.
    Cmpxchg,
}

/// What a `ld_imm64` loads (RFC 9669 section 5.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Imm64 {
    /// A number.
    Value(u64),
    /// Address of the map with this file descriptor.
    MapFd(i32),
    /// Address inside the only value of an array map.
    MapValue {
        /// File descriptor of the map.
        fd: i32,
        /// Bytes from the start of the value.
        offset: u32,
    },
    /// Address of a kernel variable.
    BtfId {
        /// Its BTF id.
        id: i32,
        /// File descriptor of its module's BTF; 0 for the kernel itself.
        btf_fd: i32,
    },
    /// Address of a function of the program, this many slots from the second slot of this very
    /// instruction.
    Func(i32),
    /// As [`Imm64::MapFd`], by index in the array of descriptors given at load.
    MapIdx(i32),
    /// As [`Imm64::MapValue`], by index.
    MapIdxValue {
        /// Index in the array of descriptors.
        index: i32,
        /// Bytes from the start of the value.
        offset: u32,
    },
}

/// One valid instruction. Jump distances count slots from the next instruction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Op {
    /// `dst op= src`.
    Alu {
        /// Which half.
        width: Width,
        /// The operation.
        op: AluOp,
        /// Left operand and result.
        dst: Reg,
        /// Right operand.
        src: Operand,
    },
    /// `dst = -dst`.
    Neg {
        /// Which half.
        width: Width,
        /// Operand and result.
        dst: Reg,
    },
    /// `dst = (signed from)src`: sign extension of a register (ISA v4).
    MovSx {
        /// Extend to this width.
        width: Width,
        /// Extend from this width; [`Size::W`] only to 64 bits, never [`Size::Dw`].
        from: Size,
        /// Result.
        dst: Reg,
        /// Operand.
        src: Reg,
    },
    /// `dst = be16 dst` and the like; clears what is above.
    End {
        /// Which swap.
        order: Endian,
        /// Width; never [`Size::B`].
        size: Size,
        /// Operand and result.
        dst: Reg,
    },
    /// `dst = addr_space_cast(src, to, from)`, for arenas (Linux 6.9).
    AddrSpaceCast {
        /// Result.
        dst: Reg,
        /// Operand.
        src: Reg,
        /// Address space of the result: 0 or 1; the operand's is the other.
        to: u16,
    },
    /// `dst = imm ll`, two slots.
    LoadImm64 {
        /// Result.
        dst: Reg,
        /// What to load.
        imm: Imm64,
    },
    /// `dst = *(size *)(base + off)`.
    Load {
        /// Width in memory.
        size: Size,
        /// Sign-extend (ISA v4; never with [`Size::Dw`]); else zero-extend.
        signed: bool,
        /// Result.
        dst: Reg,
        /// Address.
        base: Reg,
        /// Bytes added to the address.
        off: i16,
    },
    /// `r0 = *(size *)skb[index + imm]`: legacy packet access, big endian; the program ends with
    /// 0 when out of bounds.
    LoadPacket {
        /// Width in the packet; never [`Size::Dw`].
        size: Size,
        /// Added to `imm` when there.
        index: Option<Reg>,
        /// Bytes from the start of the packet.
        imm: i32,
    },
    /// `*(size *)(base + off) = src`.
    Store {
        /// Width in memory.
        size: Size,
        /// Address.
        base: Reg,
        /// Bytes added to the address.
        off: i16,
        /// Value.
        src: Operand,
    },
    /// `lock *(size *)(base + off) op= src`, with the old value in `src` (in `r0` for
    /// [`AtomicOp::Cmpxchg`]) if `fetch`.
    Atomic {
        /// [`Size::W`] or [`Size::Dw`].
        size: Size,
        /// The operation.
        op: AtomicOp,
        /// Whether the old value is given back.
        fetch: bool,
        /// Address.
        base: Reg,
        /// Bytes added to the address.
        off: i16,
        /// Operand.
        src: Reg,
    },
    /// `dst = load_acquire((size *)(base + off))`, zero-extended (Linux 6.15).
    LoadAcquire {
        /// Width in memory.
        size: Size,
        /// Result.
        dst: Reg,
        /// Address.
        base: Reg,
        /// Bytes added to the address.
        off: i16,
    },
    /// `store_release((size *)(base + off), src)` (Linux 6.15).
    StoreRelease {
        /// Width in memory.
        size: Size,
        /// Address.
        base: Reg,
        /// Bytes added to the address.
        off: i16,
        /// Value.
        src: Reg,
    },
    /// `goto`.
    Goto {
        /// Slots from the next instruction.
        off: i16,
    },
    /// `gotol` (ISA v4).
    GotoLong {
        /// Slots from the next instruction.
        off: i32,
    },
    /// `may_goto`: jumps when the loop budget is spent (Linux 6.9).
    MayGoto {
        /// Slots from the next instruction.
        off: i16,
    },
    /// `if dst cond src goto`.
    JumpIf {
        /// Which half is compared.
        width: Width,
        /// The comparison.
        cond: Cond,
        /// Left operand.
        dst: Reg,
        /// Right operand.
        src: Operand,
        /// Slots from the next instruction.
        off: i16,
    },
    /// Jump to the place that a register holds (`gotox`), which comes out of a table of them.
    GotoRegister {
        /// The place.
        dst: Reg,
    },
    /// Call of a helper function.
    CallHelper {
        /// Its number.
        id: i32,
    },
    /// Call of a function of the program.
    CallLocal {
        /// Slots from the next instruction.
        off: i32,
    },
    /// Call of a kernel function.
    CallKfunc {
        /// Its BTF id.
        id: i32,
        /// Index of its module's BTF in the array of descriptors; 0 for the kernel itself.
        btf: i16,
    },
    /// Return.
    Exit,
}

impl Op {
    /// How many slots it takes: 2 for `ld_imm64`, else 1.
    pub const fn slots(self) -> usize {
        match self {
            Op::LoadImm64 { .. } => 2,
            _ => 1,
        }
    }
}
