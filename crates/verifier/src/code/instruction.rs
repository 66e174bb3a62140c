//! What a slot says, and whether it may say so (`check_and_resolve_insns`, `check_insn_fields` of
//! `kernel/bpf/verifier.c`).

use bombus_isa::opcode::{self, X, alu, class, jmp, mode, pseudo, size};
use bombus_isa::{Insn, Op, Operand, Reg};

use crate::Rejection;

/// The register by whose address arguments from the sixth on are passed (`BPF_REG_PARAMS`).
const PARAMETERS: Reg = Reg(11);

/// What a slot says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Instruction {
    /// An instruction of RFC 9669 or of the kernel's extensions to it.
    Op(Op),
    /// Jump to one of the places of a jump table (`gotox`).
    GotoRegister {
        /// Holds the place.
        dst: Reg,
    },
    /// Store of an argument from the sixth on for the next call.
    StoreArgument {
        /// Which: -8 is the sixth, -16 the seventh; a multiple of 8 below 0.
        off: i16,
        /// Value.
        src: Operand,
    },
    /// Load of an argument of this function, from the sixth on.
    LoadArgument {
        /// Result.
        dst: Reg,
        /// Which: 8 is the sixth, 16 the seventh; a multiple of 8 above 0.
        off: i16,
    },
    /// An atomic operation that is none, or not of this width. The kernel refuses it when a path
    /// gets there.
    InvalidAtomic,
    /// The second half of a `ld_imm64`.
    Second,
}

impl Instruction {
    /// The plain instruction.
    pub const fn op(self) -> Option<Op> {
        match self {
            Instruction::Op(op) => Some(op),
            _ => None,
        }
    }

    /// Slots to the instruction after it.
    pub const fn slots(self) -> usize {
        match self {
            Instruction::Op(op) => op.slots(),
            _ => 1,
        }
    }
}

/// Tells what a slot says that RFC 9669 does not have, or the kernel's words against it. `ld_imm64`
/// is only refused for its form; what it names is not looked at.
pub(super) fn decode(insns: &[Insn], slot: usize) -> Result<Instruction, Rejection> {
    let next = insns.get(slot + 1).copied();
    decode_special(insns[slot], next).map_err(|message| Rejection::invalid(slot, message))
}

/// What RFC 9669 does not have, or the kernel is less strict about.
fn decode_special(insn: Insn, next: Option<Insn>) -> Result<Instruction, String> {
    let argument = argument(insn);
    for reg in [insn.dst, insn.src] {
        if reg > Reg::FP && !(argument.is_some() && reg == PARAMETERS) {
            return Err(format!("R{} is invalid", reg.0));
        }
    }
    if insn.code == class::LD | mode::IMM | size::DW {
        return wide(insn, next).map(Instruction::Op).map_err(str::to_owned);
    }
    if !is_known(insn.code) {
        return Err(format!("unknown opcode {:02x}", insn.code));
    }
    check_fields(insn)?;
    if let Some(argument) = argument {
        return Ok(argument);
    }
    match (insn.code & 7, insn.code & 0xf0) {
        (class::JMP, jmp::JA) if insn.code & X != 0 => {
            Ok(Instruction::GotoRegister { dst: insn.dst })
        }
        (class::JMP, jmp::EXIT) => Ok(Instruction::Op(Op::Exit)),
        (class::STX, _) => Ok(Instruction::InvalidAtomic),
        _ => Err(format!("unknown opcode {:02x}", insn.code)),
    }
}

/// An access to an argument that is passed in memory (`is_stack_arg_ldx` and its kin,
/// `include/linux/filter.h`).
fn argument(insn: Insn) -> Option<Instruction> {
    let Insn { code, dst, src, off, imm } = insn;
    if off % 8 != 0 || code & !7 != mode::MEM | size::DW {
        return None;
    }
    match code & 7 {
        class::LDX if src == PARAMETERS && off > 0 => Some(Instruction::LoadArgument { dst, off }),
        class::STX if dst == PARAMETERS && off < 0 => {
            Some(Instruction::StoreArgument { off, src: Operand::Reg(src) })
        }
        class::ST if dst == PARAMETERS && off < 0 => {
            Some(Instruction::StoreArgument { off, src: Operand::Imm(imm) })
        }
        _ => None,
    }
}

/// A `ld_imm64` that the decoder refused.
fn wide(insn: Insn, next: Option<Insn>) -> Result<Op, &'static str> {
    let high = match next {
        Some(Insn { code: 0, dst: Reg(0), src: Reg(0), off: 0, imm }) => imm,
        _ => return Err("invalid bpf_ld_imm64 insn"),
    };
    if insn.off != 0 {
        return Err("BPF_LD_IMM64 uses reserved fields");
    }
    // The kernel does not look at the upper half of a function's distance.
    let high = if insn.src.0 == pseudo::FUNC { 0 } else { high };
    insn.decode(Some(Insn { imm: high, ..Insn::default() }))
        .map_err(|_| "unrecognized bpf_ld_imm64 insn")
}

/// Whether there is an instruction with this opcode (`bpf_opcode_in_insntable`,
/// `kernel/bpf/core.c`).
fn is_known(code: u8) -> bool {
    let (operation, access) = (code & 0xf0, code & 0xe0);
    let register = code & X != 0;
    match code & 7 {
        class::ALU => operation <= alu::END && (operation != alu::NEG || !register),
        class::ALU64 => {
            operation <= alu::END && !(matches!(operation, alu::NEG | alu::END) && register)
        }
        class::JMP => match operation {
            jmp::CALL | jmp::EXIT | jmp::JCOND => !register,
            _ => operation <= jmp::JSLE,
        },
        class::JMP32 => match operation {
            jmp::JA => !register,
            jmp::CALL | jmp::EXIT => false,
            _ => operation <= jmp::JSLE,
        },
        class::LD => {
            let wide = code & size::DW == size::DW;
            matches!(access, mode::ABS | mode::IND) && !wide || access == mode::IMM && wide
        }
        class::LDX => access == mode::MEM || access == mode::MEMSX && code & size::DW != size::DW,
        class::ST => access == mode::MEM,
        _ => matches!(access, mode::MEM | mode::ATOMIC),
    }
}

/// Whether the fields that the instruction does not use are zero, and those that choose between
/// variants name one.
fn check_fields(insn: Insn) -> Result<(), String> {
    let Insn { code, dst, src, off, imm } = insn;
    let register = code & X != 0;
    let (no_dst, no_src) = (dst.0 == 0, src.0 == 0);
    let fields = |ok: bool, what: &str| match ok {
        true => Ok(()),
        false => Err(format!("{what} uses reserved fields")),
    };
    match code & 7 {
        class @ (class::ALU | class::ALU64) => match code & 0xf0 {
            alu::NEG => fields(no_src && off == 0 && imm == 0, "BPF_NEG"),
            alu::END => fields(no_src && off == 0 && matches!(imm, 16 | 32 | 64), "BPF_END"),
            alu::MOV if !register => fields(no_src && off == 0, "BPF_MOV"),
            alu::MOV if class == class::ALU64 && off == opcode::ADDR_SPACE_CAST => match imm {
                1 | 0x1_0000 => Ok(()),
                _ => Err("addr_space_cast insn can only convert between address space 1 and 0"
                    .to_owned()),
            },
            alu::MOV => {
                let from = matches!(off, 0 | 8 | 16) || off == 32 && class == class::ALU64;
                fields(from && imm == 0, "BPF_MOV")
            }
            operation => {
                let signed = off == 1 && matches!(operation, alu::DIV | alu::MOD);
                let operand = if register { imm == 0 } else { no_src };
                fields(operand && (off == 0 || signed), "BPF_ALU")
            }
        },
        class @ (class::JMP | class::JMP32) => match code & 0xf0 {
            jmp::CALL => {
                let kernel = src.0 == opcode::call::KFUNC;
                let known = no_src || src.0 == opcode::call::LOCAL || kernel;
                fields(no_dst && known && (kernel || off == 0), "BPF_CALL")
            }
            jmp::JA if register => fields(no_src && imm == 0 && off == 0, "BPF_JA|BPF_X"),
            jmp::JA => {
                let other = if class == class::JMP { imm == 0 } else { off == 0 };
                fields(no_src && no_dst && other, "BPF_JA")
            }
            jmp::EXIT => fields(imm == 0 && no_src && no_dst, "BPF_EXIT"),
            jmp::JCOND => match no_src && no_dst && imm == 0 {
                true => Ok(()),
                false => Err(format!("invalid may_goto imm {imm}")),
            },
            _ => fields(if register { imm == 0 } else { no_src }, "BPF_JMP/JMP32"),
        },
        class::LD => {
            let indirect = code & 0xe0 == mode::IND;
            fields(no_dst && off == 0 && (indirect || no_src), "BPF_LD_[ABS|IND]")
        }
        class::LDX => fields(imm == 0, "BPF_LDX"),
        class::ST => fields(no_src, "BPF_ST"),
        _ => fields(code & 0xe0 == mode::ATOMIC || imm == 0, "BPF_STX"),
    }
}
