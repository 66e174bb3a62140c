//! One instruction slot, and constructors for every form.

use crate::opcode::{self, K, X, alu, class, jmp, mode, size};

/// A register, `r0` to `r10`. `r10` is the read-only frame pointer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Reg(pub u8);

impl Reg {
    /// Return value of calls and of the program.
    pub const R0: Reg = Reg(0);
    /// First argument; the context on entry.
    pub const R1: Reg = Reg(1);
    /// Second argument.
    pub const R2: Reg = Reg(2);
    /// Third argument.
    pub const R3: Reg = Reg(3);
    /// Fourth argument.
    pub const R4: Reg = Reg(4);
    /// Fifth argument.
    pub const R5: Reg = Reg(5);
    /// First callee-saved register.
    pub const R6: Reg = Reg(6);
    /// Callee-saved.
    pub const R7: Reg = Reg(7);
    /// Callee-saved.
    pub const R8: Reg = Reg(8);
    /// Last callee-saved register.
    pub const R9: Reg = Reg(9);
    /// The frame pointer.
    pub const FP: Reg = Reg(10);
}

/// Width of a memory access.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Size {
    /// 8 bits.
    B,
    /// 16 bits.
    H,
    /// 32 bits.
    W,
    /// 64 bits.
    Dw,
}

impl Size {
    /// The opcode bits.
    pub const fn bits(self) -> u8 {
        match self {
            Size::B => size::B,
            Size::H => size::H,
            Size::W => size::W,
            Size::Dw => size::DW,
        }
    }

    /// Width in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Size::B => 1,
            Size::H => 2,
            Size::W => 4,
            Size::Dw => 8,
        }
    }

    /// The size that bits 3 and 4 of a load's or store's opcode say.
    pub const fn from_bits(code: u8) -> Size {
        match code & size::DW {
            size::B => Size::B,
            size::H => Size::H,
            size::W => Size::W,
            _ => Size::Dw,
        }
    }

    /// The size of `n` bytes, if there is one.
    pub const fn from_bytes(n: usize) -> Option<Size> {
        match n {
            1 => Some(Size::B),
            2 => Some(Size::H),
            4 => Some(Size::W),
            8 => Some(Size::Dw),
            _ => None,
        }
    }
}

/// One 8-byte instruction slot (`struct bpf_insn`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Insn {
    /// Operation and class.
    pub code: u8,
    /// Destination register.
    pub dst: Reg,
    /// Source register, or a subtype for calls and `ld_imm64`.
    pub src: Reg,
    /// Signed offset: memory displacement, jump distance, or a modifier.
    pub off: i16,
    /// Signed immediate.
    pub imm: i32,
}

impl Insn {
    /// The slot as the kernel reads it on a little-endian machine.
    pub fn to_bytes(self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[0] = self.code;
        bytes[1] = (self.src.0 << 4) | (self.dst.0 & 0xf);
        bytes[2..4].copy_from_slice(&self.off.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.imm.to_le_bytes());
        bytes
    }

    /// The slot from its little-endian bytes. Every bit pattern is a slot, not every one is valid.
    pub fn from_bytes(bytes: [u8; 8]) -> Insn {
        Insn {
            code: bytes[0],
            dst: Reg(bytes[1] & 0xf),
            src: Reg(bytes[1] >> 4),
            off: i16::from_le_bytes([bytes[2], bytes[3]]),
            imm: i32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        }
    }

    const fn new(code: u8, dst: Reg, src: Reg, off: i16, imm: i32) -> Insn {
        Insn { code, dst, src, off, imm }
    }

    /// `dst op= src`, 64 bits. `op` is one of [`opcode::alu`].
    pub const fn alu64_reg(op: u8, dst: Reg, src: Reg) -> Insn {
        Insn::new(class::ALU64 | op | X, dst, src, 0, 0)
    }

    /// `dst op= imm`, 64 bits.
    pub const fn alu64_imm(op: u8, dst: Reg, imm: i32) -> Insn {
        Insn::new(class::ALU64 | op | K, dst, Reg(0), 0, imm)
    }

    /// `dst op= src`, low 32 bits; the upper half becomes zero.
    pub const fn alu32_reg(op: u8, dst: Reg, src: Reg) -> Insn {
        Insn::new(class::ALU | op | X, dst, src, 0, 0)
    }

    /// `dst op= imm`, low 32 bits; the upper half becomes zero.
    pub const fn alu32_imm(op: u8, dst: Reg, imm: i32) -> Insn {
        Insn::new(class::ALU | op | K, dst, Reg(0), 0, imm)
    }

    /// `dst = src`.
    pub const fn mov(dst: Reg, src: Reg) -> Insn {
        Insn::alu64_reg(alu::MOV, dst, src)
    }

    /// `dst = imm`, sign-extended to 64 bits.
    pub const fn mov_imm(dst: Reg, imm: i32) -> Insn {
        Insn::alu64_imm(alu::MOV, dst, imm)
    }

    /// `dst = *(size *)(src + off)`, zero-extended.
    pub const fn load(size: Size, dst: Reg, src: Reg, off: i16) -> Insn {
        Insn::new(class::LDX | mode::MEM | size.bits(), dst, src, off, 0)
    }

    /// `dst = *(signed size *)(src + off)` (ISA v4).
    pub const fn load_signed(size: Size, dst: Reg, src: Reg, off: i16) -> Insn {
        Insn::new(class::LDX | mode::MEMSX | size.bits(), dst, src, off, 0)
    }

    /// `*(size *)(dst + off) = src`.
    pub const fn store(size: Size, dst: Reg, off: i16, src: Reg) -> Insn {
        Insn::new(class::STX | mode::MEM | size.bits(), dst, src, off, 0)
    }

    /// `*(size *)(dst + off) = imm`.
    pub const fn store_imm(size: Size, dst: Reg, off: i16, imm: i32) -> Insn {
        Insn::new(class::ST | mode::MEM | size.bits(), dst, Reg(0), off, imm)
    }

    /// Atomic `*(size *)(dst + off) op= src`; `op` is one of [`opcode::atomic`].
    pub const fn atomic(size: Size, op: i32, dst: Reg, off: i16, src: Reg) -> Insn {
        Insn::new(class::STX | mode::ATOMIC | size.bits(), dst, src, off, op)
    }

    /// `goto +off`.
    pub const fn ja(off: i16) -> Insn {
        Insn::new(class::JMP | jmp::JA, Reg(0), Reg(0), off, 0)
    }

    /// `gotol +off`: a jump with a 32-bit distance (ISA v4).
    pub const fn ja_long(off: i32) -> Insn {
        Insn::new(class::JMP32 | jmp::JA, Reg(0), Reg(0), 0, off)
    }

    /// `if dst op src goto +off`, 64 bits; `op` is one of [`opcode::jmp`].
    pub const fn jmp_reg(op: u8, dst: Reg, src: Reg, off: i16) -> Insn {
        Insn::new(class::JMP | op | X, dst, src, off, 0)
    }

    /// `if dst op imm goto +off`, 64 bits.
    pub const fn jmp_imm(op: u8, dst: Reg, imm: i32, off: i16) -> Insn {
        Insn::new(class::JMP | op | K, dst, Reg(0), off, imm)
    }

    /// `if (u32)dst op (u32)src goto +off`.
    pub const fn jmp32_reg(op: u8, dst: Reg, src: Reg, off: i16) -> Insn {
        Insn::new(class::JMP32 | op | X, dst, src, off, 0)
    }

    /// `if (u32)dst op imm goto +off`.
    pub const fn jmp32_imm(op: u8, dst: Reg, imm: i32, off: i16) -> Insn {
        Insn::new(class::JMP32 | op | K, dst, Reg(0), off, imm)
    }

    /// Call of the helper function with this id.
    pub const fn call_helper(id: i32) -> Insn {
        Insn::new(class::JMP | jmp::CALL, Reg(0), Reg(opcode::call::HELPER), 0, id)
    }

    /// Call of a function of the same program, `distance` slots after the next one.
    pub const fn call_local(distance: i32) -> Insn {
        Insn::new(class::JMP | jmp::CALL, Reg(0), Reg(opcode::call::LOCAL), 0, distance)
    }

    /// End of the function; `r0` is its value.
    pub const fn exit() -> Insn {
        Insn::new(class::JMP | jmp::EXIT, Reg(0), Reg(0), 0, 0)
    }

    /// `ld_imm64`: two slots that load 64 bits; `pseudo` says what they are
    /// (0 for a plain number, or one of [`opcode::pseudo`]).
    pub const fn ld_imm64(dst: Reg, pseudo: u8, value: u64) -> [Insn; 2] {
        [
            Insn::new(class::LD | mode::IMM | size::DW, dst, Reg(pseudo), 0, value as u32 as i32),
            Insn::new(0, Reg(0), Reg(0), 0, (value >> 32) as u32 as i32),
        ]
    }

    /// The class bits.
    pub const fn class(self) -> u8 {
        self.code & 0x07
    }

    /// Whether this is the first slot of a two-slot `ld_imm64`.
    pub const fn is_wide(self) -> bool {
        self.code == class::LD | mode::IMM | size::DW
    }
}
