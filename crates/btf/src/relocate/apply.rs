//! The answers, patched into instructions.

use std::fmt;

use bombus_isa::opcode::{X, class, size};
use bombus_isa::{Insn, Reg, Size};

use super::{Resolution, Width};

/// A helper that there is none of: "bad relo" in hexadecimal spelling. The verifier's complaint
/// about it says `invalid func unknown#195896080`.
pub const POISON: i32 = 0x0bad_2310;

/// Why an instruction cannot take the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ApplyError {
    /// There is no such slot.
    OutOfRange,
    /// The instruction has nothing that could be patched.
    Unpatchable,
    /// The instruction does not hold what the compiler must have put there.
    Unexpected {
        /// What it holds.
        found: u64,
        /// What it should hold.
        expected: u64,
    },
    /// The offset of a load or store has 16 bits, and this does not fit.
    OffsetTooLarge(u64),
    /// The load or store is not as wide as the field.
    UnexpectedWidth {
        /// Bytes that it accesses.
        found: u32,
        /// Bytes of the field, by the program's types.
        expected: u32,
    },
    /// No load or store has this width in bytes.
    NoSuchWidth(u32),
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApplyError::OutOfRange => {
                write!(f, "the relocation is for an instruction that is not there")
            }
            ApplyError::Unpatchable => {
                write!(f, "the relocation is for an instruction that cannot take one")
            }
            ApplyError::Unexpected { found, expected } => write!(
                f,
                "the instruction has {found} where the relocation says that it has {expected}"
            ),
            ApplyError::OffsetTooLarge(offset) => {
                write!(
                    f,
                    "the field is {offset} bytes into the structure, further than a load can reach"
                )
            }
            ApplyError::UnexpectedWidth { found, expected } => {
                write!(f, "the instruction accesses {found} bytes of a field of {expected}")
            }
            ApplyError::NoSuchWidth(bytes) => {
                write!(f, "the field has {bytes} bytes here, which no load can read at once")
            }
        }
    }
}

impl std::error::Error for ApplyError {}

impl Resolution {
    /// Patches the instruction at `index`. What cannot be answered, and loads that cannot be made as
    /// wide as the field, become calls of [`POISON`].
    pub fn apply(&self, insns: &mut [Insn], index: usize) -> Result<(), ApplyError> {
        let insn = *insns.get(index).ok_or(ApplyError::OutOfRange)?;
        if self.poison.is_some() {
            return poison(insns, index);
        }
        match insn.class() {
            class::ALU | class::ALU64 => {
                if insn.code & X != 0 {
                    return Err(ApplyError::Unpatchable);
                }
                self.check(i64::from(insn.imm) as u64)?;
                insns[index].imm = self.value as i32;
            }
            class::LDX | class::ST | class::STX => {
                self.check(i64::from(insn.off) as u64)?;
                let offset = i16::try_from(self.value)
                    .map_err(|_| ApplyError::OffsetTooLarge(self.value))?;
                let code = match self.width {
                    Width::Same => insn.code,
                    Width::Impossible => return poison(insns, index),
                    Width::Changed { from, to } => {
                        let found = Size::from_bits(insn.code).bytes() as u32;
                        if found != from {
                            return Err(ApplyError::UnexpectedWidth { found, expected: from });
                        }
                        let to =
                            Size::from_bytes(to as usize).ok_or(ApplyError::NoSuchWidth(to))?;
                        (insn.code & !size::DW) | to.bits()
                    }
                };
                insns[index].off = offset;
                insns[index].code = code;
            }
            _ if insn.is_wide() => {
                let second = *insns.get(index + 1).ok_or(ApplyError::OutOfRange)?;
                let plain = Insn { imm: 0, ..second } == Insn::default();
                if !plain || insn.src != Reg(0) || insn.off != 0 {
                    return Err(ApplyError::Unpatchable);
                }
                self.check(u64::from(insn.imm as u32) | (u64::from(second.imm as u32) << 32))?;
                insns[index].imm = self.value as i32;
                insns[index + 1].imm = (self.value >> 32) as i32;
            }
            _ => return Err(ApplyError::Unpatchable),
        }
        Ok(())
    }

    fn check(&self, found: u64) -> Result<(), ApplyError> {
        if self.validate && found != self.original {
            return Err(ApplyError::Unexpected { found, expected: self.original });
        }
        Ok(())
    }
}

/// Makes an instruction one that the verifier refuses, both slots of a wide one.
fn poison(insns: &mut [Insn], index: usize) -> Result<(), ApplyError> {
    let slots = if insns[index].is_wide() { 2 } else { 1 };
    let slots = insns.get_mut(index..index + slots).ok_or(ApplyError::OutOfRange)?;
    slots.fill(Insn::call_helper(POISON));
    Ok(())
}
