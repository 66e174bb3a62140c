//! From slots to [`Op`], refusing every encoding that is not valid.
//!
//! RFC 9669 section 3: unused fields are zero. Where the kernel takes more than the RFC
//! (`may_goto`, `addr_space_cast`, load-acquire), its rule is followed; see `do_check` and
//! `check_alu_op` in `kernel/bpf/verifier.c` and `bpf_opcode_in_insntable` in `kernel/bpf/core.c`.

use std::fmt;

use crate::opcode::{self, X, alu, atomic, class, jmp, mode, pseudo};
use crate::{AluOp, AtomicOp, Cond, Endian, Imm64, Insn, Op, Operand, Reg, Size, Width};

/// Why a slot is not a valid instruction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DecodeError {
    /// No instruction has this opcode.
    UnknownOpcode(u8),
    /// There are the registers `r0` to `r10` only.
    InvalidRegister(Reg),
    /// A field that this instruction does not use is not zero.
    ReservedField,
    /// The offset or immediate names no variant of this instruction.
    UnknownVariant(i32),
    /// The source field names no kind of `ld_imm64` or of call.
    UnknownPseudo(u8),
    /// The second slot of a `ld_imm64` is missing, or is not empty but for its immediate.
    IncompleteWide,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::UnknownOpcode(code) => write!(f, "unknown opcode {code:02x}"),
            DecodeError::InvalidRegister(reg) => write!(f, "R{} is invalid", reg.0),
            DecodeError::ReservedField => write!(f, "a reserved field is not zero"),
            DecodeError::UnknownVariant(value) => write!(f, "unknown variant {value:#x}"),
            DecodeError::UnknownPseudo(src) => write!(f, "unknown kind {src} of operand"),
            DecodeError::IncompleteWide => write!(f, "invalid second half of ld_imm64"),
        }
    }
}

impl std::error::Error for DecodeError {}

type Result<T> = std::result::Result<T, DecodeError>;

/// The instructions of a program, each with its slot. After an invalid slot it goes on with the
/// next one.
pub fn ops(insns: &[Insn]) -> impl Iterator<Item = (usize, Result<Op>)> + '_ {
    let mut slot = 0;
    std::iter::from_fn(move || {
        let at = slot;
        let op = insns.get(at)?.decode(insns.get(at + 1).copied());
        slot += op.map_or(1, Op::slots);
        Some((at, op))
    })
}

impl Insn {
    /// The instruction that starts in this slot; `next` is the slot after it, which only
    /// `ld_imm64` looks at.
    pub fn decode(self, next: Option<Insn>) -> Result<Op> {
        match self.class() {
            class::ALU => self.alu(Width::W32),
            class::ALU64 => self.alu(Width::W64),
            class::JMP => self.jump(Width::W64),
            class::JMP32 => self.jump(Width::W32),
            class::LD => self.ld(next),
            class::LDX => self.ldx(),
            class::ST => self.st(),
            _ => self.stx(),
        }
    }

    fn unknown<T>(self) -> Result<T> {
        Err(DecodeError::UnknownOpcode(self.code))
    }

    fn dst(self) -> Result<Reg> {
        register(self.dst)
    }

    fn src(self) -> Result<Reg> {
        register(self.src)
    }

    fn size(self) -> Size {
        Size::from_bits(self.code)
    }

    fn no_dst(self) -> Result<()> {
        reserved(self.dst.0 == 0)
    }

    fn no_src(self) -> Result<()> {
        reserved(self.src.0 == 0)
    }

    fn no_off(self) -> Result<()> {
        reserved(self.off == 0)
    }

    fn no_imm(self) -> Result<()> {
        reserved(self.imm == 0)
    }

    /// The operand that the source bit selects; the other one must be zero.
    fn operand(self) -> Result<Operand> {
        if self.code & X != 0 {
            self.no_imm()?;
            self.src().map(Operand::Reg)
        } else {
            self.no_src()?;
            Ok(Operand::Imm(self.imm))
        }
    }

    fn alu(self, width: Width) -> Result<Op> {
        let dst = self.dst()?;
        let code = self.code & 0xf0;
        match code {
            alu::NEG if self.code & X == 0 => {
                self.no_src()?;
                self.no_off()?;
                self.no_imm()?;
                return Ok(Op::Neg { width, dst });
            }
            alu::END => return self.end(width, dst),
            alu::MOV if self.code & X != 0 && self.off != 0 => return self.mov_variant(width, dst),
            _ => {}
        }
        let op = match (code, self.off) {
            (alu::DIV, 1) => AluOp::Sdiv,
            (alu::MOD, 1) => AluOp::Smod,
            (alu::DIV | alu::MOD, off) if off != 0 => {
                return Err(DecodeError::UnknownVariant(off.into()));
            }
            _ => match AluOp::from_bits(code) {
                Some(op) => {
                    self.no_off()?;
                    op
                }
                None => return self.unknown(),
            },
        };
        Ok(Op::Alu { width, op, dst, src: self.operand()? })
    }

    fn end(self, width: Width, dst: Reg) -> Result<Op> {
        let order = match (width, self.code & X) {
            (Width::W32, 0) => Endian::Le,
            (Width::W32, _) => Endian::Be,
            (Width::W64, 0) => Endian::Swap,
            (Width::W64, _) => return self.unknown(),
        };
        let size = match self.imm {
            16 => Size::H,
            32 => Size::W,
            64 => Size::Dw,
            other => return Err(DecodeError::UnknownVariant(other)),
        };
        self.no_src()?;
        self.no_off()?;
        Ok(Op::End { order, size, dst })
    }

    /// The moves between registers that the offset makes something else.
    fn mov_variant(self, width: Width, dst: Reg) -> Result<Op> {
        let src = self.src()?;
        let from = match (self.off, width) {
            (8, _) => Size::B,
            (16, _) => Size::H,
            (32, Width::W64) => Size::W,
            (opcode::ADDR_SPACE_CAST, Width::W64) => {
                // The kernel knows the address spaces 0 and 1: to << 16 | from.
                return match self.imm {
                    1 => Ok(Op::AddrSpaceCast { dst, src, to: 0 }),
                    0x1_0000 => Ok(Op::AddrSpaceCast { dst, src, to: 1 }),
                    other => Err(DecodeError::UnknownVariant(other)),
                };
            }
            (other, _) => return Err(DecodeError::UnknownVariant(other.into())),
        };
        self.no_imm()?;
        Ok(Op::MovSx { width, from, dst, src })
    }

    fn jump(self, width: Width) -> Result<Op> {
        let code = self.code & 0xf0;
        if let Some(cond) = Cond::from_bits(code) {
            let dst = self.dst()?;
            return Ok(Op::JumpIf { width, cond, dst, src: self.operand()?, off: self.off });
        }
        if (code, width) == (jmp::JA, Width::W64) && self.code & X != 0 {
            let dst = self.dst()?;
            self.no_src()?;
            self.no_off()?;
            self.no_imm()?;
            return Ok(Op::GotoRegister { dst });
        }
        if self.code & X != 0 {
            return self.unknown();
        }
        self.no_dst()?;
        match (code, width) {
            (jmp::JA, Width::W64) => {
                self.no_src()?;
                self.no_imm()?;
                Ok(Op::Goto { off: self.off })
            }
            (jmp::JA, Width::W32) => {
                self.no_src()?;
                self.no_off()?;
                Ok(Op::GotoLong { off: self.imm })
            }
            (jmp::JCOND, Width::W64) => {
                if self.src.0 != 0 {
                    return Err(DecodeError::UnknownPseudo(self.src.0));
                }
                self.no_imm()?;
                Ok(Op::MayGoto { off: self.off })
            }
            (jmp::CALL, Width::W64) => self.call(),
            (jmp::EXIT, Width::W64) => {
                self.no_src()?;
                self.no_off()?;
                self.no_imm()?;
                Ok(Op::Exit)
            }
            _ => self.unknown(),
        }
    }

    fn call(self) -> Result<Op> {
        match self.src.0 {
            opcode::call::HELPER => {
                self.no_off()?;
                Ok(Op::CallHelper { id: self.imm })
            }
            opcode::call::LOCAL => {
                self.no_off()?;
                Ok(Op::CallLocal { off: self.imm })
            }
            opcode::call::KFUNC => Ok(Op::CallKfunc { id: self.imm, btf: self.off }),
            other => Err(DecodeError::UnknownPseudo(other)),
        }
    }

    fn ld(self, next: Option<Insn>) -> Result<Op> {
        let size = self.size();
        let index = match self.code & 0xe0 {
            mode::IMM if size == Size::Dw => return self.wide(next),
            mode::ABS if size != Size::Dw => {
                self.no_src()?;
                None
            }
            mode::IND if size != Size::Dw => Some(self.src()?),
            _ => return self.unknown(),
        };
        self.no_dst()?;
        self.no_off()?;
        Ok(Op::LoadPacket { size, index, imm: self.imm })
    }

    fn wide(self, next: Option<Insn>) -> Result<Op> {
        let dst = self.dst()?;
        self.no_off()?;
        let high = match next {
            Some(Insn { code: 0, dst: Reg(0), src: Reg(0), off: 0, imm }) => imm,
            _ => return Err(DecodeError::IncompleteWide),
        };
        let offset = high as u32;
        let imm = match self.src.0 {
            0 => Imm64::Value(u64::from(self.imm as u32) | u64::from(offset) << 32),
            pseudo::MAP_VALUE => Imm64::MapValue { fd: self.imm, offset },
            pseudo::MAP_IDX_VALUE => Imm64::MapIdxValue { index: self.imm, offset },
            pseudo::BTF_ID => Imm64::BtfId { id: self.imm, btf_fd: high },
            pseudo::MAP_FD | pseudo::FUNC | pseudo::MAP_IDX if high != 0 => {
                return Err(DecodeError::ReservedField);
            }
            pseudo::MAP_FD => Imm64::MapFd(self.imm),
            pseudo::FUNC => Imm64::Func(self.imm),
            pseudo::MAP_IDX => Imm64::MapIdx(self.imm),
            other => return Err(DecodeError::UnknownPseudo(other)),
        };
        Ok(Op::LoadImm64 { dst, imm })
    }

    fn ldx(self) -> Result<Op> {
        let size = self.size();
        let signed = match self.code & 0xe0 {
            mode::MEM => false,
            mode::MEMSX if size != Size::Dw => true,
            _ => return self.unknown(),
        };
        self.no_imm()?;
        Ok(Op::Load { size, signed, dst: self.dst()?, base: self.src()?, off: self.off })
    }

    fn st(self) -> Result<Op> {
        if self.code & 0xe0 != mode::MEM {
            return self.unknown();
        }
        self.no_src()?;
        let (size, src) = (self.size(), Operand::Imm(self.imm));
        Ok(Op::Store { size, base: self.dst()?, off: self.off, src })
    }

    fn stx(self) -> Result<Op> {
        let (size, dst, src, off) = (self.size(), self.dst()?, self.src()?, self.off);
        match self.code & 0xe0 {
            mode::MEM => {
                self.no_imm()?;
                return Ok(Op::Store { size, base: dst, off, src: Operand::Reg(src) });
            }
            mode::ATOMIC => {}
            _ => return self.unknown(),
        }
        match self.imm {
            atomic::LOAD_ACQ => return Ok(Op::LoadAcquire { size, dst, base: src, off }),
            atomic::STORE_REL => return Ok(Op::StoreRelease { size, base: dst, off, src }),
            _ => {}
        }
        if !matches!(size, Size::W | Size::Dw) {
            return self.unknown();
        }
        let (op, fetch) =
            AtomicOp::from_imm(self.imm).ok_or(DecodeError::UnknownVariant(self.imm))?;
        Ok(Op::Atomic { size, op, fetch, base: dst, off, src })
    }
}

fn register(reg: Reg) -> Result<Reg> {
    if reg <= Reg::FP { Ok(reg) } else { Err(DecodeError::InvalidRegister(reg)) }
}

fn reserved(zero: bool) -> Result<()> {
    if zero { Ok(()) } else { Err(DecodeError::ReservedField) }
}
