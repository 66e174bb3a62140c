//! From [`Op`] to slots, and the numbers of each operation.

use crate::opcode::{self, K, X, alu, atomic, class, jmp, mode, pseudo, size};
use crate::{AluOp, AtomicOp, Cond, Endian, Imm64, Insn, Op, Operand, Reg, Width};

/// A two-way table between an enum and opcode bits.
macro_rules! bits {
    ($type:ident { $($variant:ident = $bits:expr,)* }) => {
        impl $type {
            /// The opcode bits.
            pub const fn bits(self) -> u8 {
                match self { $($type::$variant => $bits,)* }
            }

            /// What these opcode bits say; the first of several.
            pub const fn from_bits(bits: u8) -> Option<$type> {
                $(if bits == $bits { return Some($type::$variant); })*
                None
            }

            /// Every one.
            pub const ALL: &[$type] = &[$($type::$variant,)*];
        }
    };
}

bits!(AluOp {
    Add = alu::ADD,
    Sub = alu::SUB,
    Mul = alu::MUL,
    Div = alu::DIV,
    Or = alu::OR,
    And = alu::AND,
    Lsh = alu::LSH,
    Rsh = alu::RSH,
    Mod = alu::MOD,
    Xor = alu::XOR,
    Mov = alu::MOV,
    Arsh = alu::ARSH,
    // The offset field tells these from the unsigned ones.
    Sdiv = alu::DIV,
    Smod = alu::MOD,
});

bits!(Cond {
    Eq = jmp::JEQ,
    Ne = jmp::JNE,
    Set = jmp::JSET,
    Gt = jmp::JGT,
    Ge = jmp::JGE,
    Lt = jmp::JLT,
    Le = jmp::JLE,
    Sgt = jmp::JSGT,
    Sge = jmp::JSGE,
    Slt = jmp::JSLT,
    Sle = jmp::JSLE,
});

impl AtomicOp {
    /// All of them.
    pub const ALL: &[AtomicOp] = &[
        AtomicOp::Add,
        AtomicOp::Or,
        AtomicOp::And,
        AtomicOp::Xor,
        AtomicOp::Xchg,
        AtomicOp::Cmpxchg,
    ];

    /// Operation and whether it fetches, from the immediate.
    pub(crate) const fn from_imm(imm: i32) -> Option<(AtomicOp, bool)> {
        let op = match imm & !atomic::FETCH {
            atomic::ADD => AtomicOp::Add,
            atomic::OR => AtomicOp::Or,
            atomic::AND => AtomicOp::And,
            atomic::XOR => AtomicOp::Xor,
            _ => match imm {
                atomic::XCHG => AtomicOp::Xchg,
                atomic::CMPXCHG => AtomicOp::Cmpxchg,
                _ => return None,
            },
        };
        Some((op, imm & atomic::FETCH != 0))
    }

    /// The immediate. Exchanges fetch whatever `fetch` says.
    const fn imm(self, fetch: bool) -> i32 {
        let op = match self {
            AtomicOp::Add => atomic::ADD,
            AtomicOp::Or => atomic::OR,
            AtomicOp::And => atomic::AND,
            AtomicOp::Xor => atomic::XOR,
            AtomicOp::Xchg => return atomic::XCHG,
            AtomicOp::Cmpxchg => return atomic::CMPXCHG,
        };
        if fetch { op | atomic::FETCH } else { op }
    }
}

impl Imm64 {
    /// Source field, immediate of the first and of the second slot.
    const fn fields(self) -> (u8, i32, i32) {
        match self {
            Imm64::Value(value) => (0, value as u32 as i32, (value >> 32) as u32 as i32),
            Imm64::MapFd(fd) => (pseudo::MAP_FD, fd, 0),
            Imm64::MapValue { fd, offset } => (pseudo::MAP_VALUE, fd, offset as i32),
            Imm64::BtfId { id, btf_fd } => (pseudo::BTF_ID, id, btf_fd),
            Imm64::Func(off) => (pseudo::FUNC, off, 0),
            Imm64::MapIdx(index) => (pseudo::MAP_IDX, index, 0),
            Imm64::MapIdxValue { index, offset } => (pseudo::MAP_IDX_VALUE, index, offset as i32),
        }
    }
}

impl Operand {
    /// Source bit, source field, immediate.
    const fn fields(self) -> (u8, Reg, i32) {
        match self {
            Operand::Reg(reg) => (X, reg, 0),
            Operand::Imm(imm) => (K, Reg(0), imm),
        }
    }
}

impl Op {
    /// The slots: one, or two for `ld_imm64`.
    pub const fn encode(self) -> (Insn, Option<Insn>) {
        if let Op::LoadImm64 { dst, imm } = self {
            let (src, low, high) = imm.fields();
            let code = class::LD | mode::IMM | size::DW;
            let first = Insn { code, dst, src: Reg(src), off: 0, imm: low };
            let second = Insn { code: 0, dst: Reg(0), src: Reg(0), off: 0, imm: high };
            return (first, Some(second));
        }
        (self.first_slot(), None)
    }

    const fn first_slot(self) -> Insn {
        const R0: Reg = Reg(0);
        let (code, dst, src, off, imm) = match self {
            Op::Alu { width, op, dst, src } => {
                let (source, src, imm) = src.fields();
                let off = matches!(op, AluOp::Sdiv | AluOp::Smod) as i16;
                (width.alu() | op.bits() | source, dst, src, off, imm)
            }
            Op::Neg { width, dst } => (width.alu() | alu::NEG, dst, R0, 0, 0),
            Op::MovSx { width, from, dst, src } => {
                (width.alu() | alu::MOV | X, dst, src, from.bytes() as i16 * 8, 0)
            }
            Op::End { order, size, dst } => {
                let code = match order {
                    Endian::Le => class::ALU | alu::END | K,
                    Endian::Be => class::ALU | alu::END | X,
                    Endian::Swap => class::ALU64 | alu::END | K,
                };
                (code, dst, R0, 0, size.bytes() as i32 * 8)
            }
            Op::AddrSpaceCast { dst, src, to } => {
                let imm = if to == 0 { 1 } else { 0x1_0000 };
                (class::ALU64 | alu::MOV | X, dst, src, opcode::ADDR_SPACE_CAST, imm)
            }
            Op::LoadImm64 { dst, .. } => (class::LD | mode::IMM | size::DW, dst, R0, 0, 0),
            Op::Load { size, signed, dst, base, off } => {
                let mode = if signed { mode::MEMSX } else { mode::MEM };
                (class::LDX | mode | size.bits(), dst, base, off, 0)
            }
            Op::LoadPacket { size, index, imm } => match index {
                Some(index) => (class::LD | mode::IND | size.bits(), R0, index, 0, imm),
                None => (class::LD | mode::ABS | size.bits(), R0, R0, 0, imm),
            },
            Op::Store { size, base, off, src } => match src {
                Operand::Reg(src) => (class::STX | mode::MEM | size.bits(), base, src, off, 0),
                Operand::Imm(imm) => (class::ST | mode::MEM | size.bits(), base, R0, off, imm),
            },
            Op::Atomic { size, op, fetch, base, off, src } => {
                (class::STX | mode::ATOMIC | size.bits(), base, src, off, op.imm(fetch))
            }
            Op::LoadAcquire { size, dst, base, off } => {
                (class::STX | mode::ATOMIC | size.bits(), dst, base, off, atomic::LOAD_ACQ)
            }
            Op::StoreRelease { size, base, off, src } => {
                (class::STX | mode::ATOMIC | size.bits(), base, src, off, atomic::STORE_REL)
            }
            Op::Goto { off } => (class::JMP | jmp::JA, R0, R0, off, 0),
            Op::GotoLong { off } => (class::JMP32 | jmp::JA, R0, R0, 0, off),
            Op::GotoRegister { dst } => (class::JMP | jmp::JA | X, dst, R0, 0, 0),
            Op::MayGoto { off } => (class::JMP | jmp::JCOND, R0, R0, off, 0),
            Op::JumpIf { width, cond, dst, src, off } => {
                let class = match width {
                    Width::W32 => class::JMP32,
                    Width::W64 => class::JMP,
                };
                let (source, src, imm) = src.fields();
                (class | cond.bits() | source, dst, src, off, imm)
            }
            Op::CallHelper { id } => (class::JMP | jmp::CALL, R0, Reg(opcode::call::HELPER), 0, id),
            Op::CallLocal { off } => (class::JMP | jmp::CALL, R0, Reg(opcode::call::LOCAL), 0, off),
            Op::CallKfunc { id, btf } => {
                (class::JMP | jmp::CALL, R0, Reg(opcode::call::KFUNC), btf, id)
            }
            Op::Exit => (class::JMP | jmp::EXIT, R0, R0, 0, 0),
        };
        Insn { code, dst, src, off, imm }
    }
}

impl Width {
    const fn alu(self) -> u8 {
        match self {
            Width::W32 => class::ALU,
            Width::W64 => class::ALU64,
        }
    }
}
