//! What the instruction under a breakpoint does elsewhere: it runs out of line, followed by a jump
//! back, so that a hit costs one stop and other threads never see the breakpoint removed.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind};

/// Room for one instruction and what takes it back.
pub(super) const SLOT: u64 = 32;
/// The longest instruction.
pub(super) const MAX_LENGTH: usize = 15;

/// How a task goes on from a breakpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Displaced {
    /// The instruction has no effect: after it.
    Skip {
        /// Its length.
        length: u64,
    },
    /// It runs out of line, see [`Displaced::relocate`].
    OutOfLine {
        /// What it is.
        instruction: Instruction,
        /// Its code.
        bytes: [u8; MAX_LENGTH],
        /// Where in the code a displacement is, for memory relative to the instruction.
        displacement: Option<usize>,
        /// Where in the code an immediate or branch displacement is.
        immediate: usize,
    },
}

impl Displaced {
    /// Looks at the instruction at address `at`. `None`: there is none, or one that cannot run
    /// elsewhere.
    pub(super) fn decode(code: &[u8], at: u64) -> Option<Displaced> {
        let mut decoder = Decoder::with_ip(64, code, at, DecoderOptions::NONE);
        let instruction = decoder.decode();
        if instruction.is_invalid() || instruction.len() > MAX_LENGTH {
            return None;
        }
        let length = instruction.len() as u64;
        match instruction.mnemonic() {
            Mnemonic::Nop | Mnemonic::Endbr64 => return Some(Displaced::Skip { length }),
            // Somebody else's breakpoint; short jumps that have no long form.
            Mnemonic::Int3 | Mnemonic::Int | Mnemonic::Int1 => return None,
            Mnemonic::Loop | Mnemonic::Loope | Mnemonic::Loopne => return None,
            Mnemonic::Jrcxz | Mnemonic::Jecxz | Mnemonic::Jcxz => return None,
            Mnemonic::Xbegin => return None,
            _ => {}
        }
        let mut bytes = [0; MAX_LENGTH];
        bytes[..instruction.len()].copy_from_slice(&code[..instruction.len()]);
        let offsets = decoder.get_constant_offsets(&instruction);
        let relative = instruction.is_ip_rel_memory_operand();
        Some(Displaced::OutOfLine {
            instruction,
            bytes,
            displacement: relative.then(|| offsets.displacement_offset()),
            immediate: offsets.immediate_offset(),
        })
    }

    /// The code for address `slot`. `None`: too far from where the instruction belongs.
    pub(super) fn relocate(&self, slot: u64) -> Option<Vec<u8>> {
        let Displaced::OutOfLine { instruction, bytes, displacement, immediate } = self else {
            return Some(vec![]);
        };
        let mut code = Vec::with_capacity(SLOT as usize);
        let near = instruction.op0_kind() == OpKind::NearBranch64;
        match instruction.mnemonic() {
            Mnemonic::Jmp if near => {
                jump(&mut code, slot, instruction.near_branch_target())?;
                return Some(code);
            }
            Mnemonic::Call if near => {
                // The return address has to be the true one: lea -8(%rsp),%rsp; two movl; a jump.
                // None of them changes flags.
                let back = instruction.next_ip();
                code.extend([0x48, 0x8d, 0x64, 0x24, 0xf8]);
                code.extend([0xc7, 0x04, 0x24]);
                code.extend((back as u32).to_le_bytes());
                code.extend([0xc7, 0x44, 0x24, 0x04]);
                code.extend(((back >> 32) as u32).to_le_bytes());
                jump(&mut code, slot, instruction.near_branch_target())?;
                return Some(code);
            }
            // Jcc: the low half of its opcode is the condition, in the long form (0f 80) as well.
            _ if near => {
                let opcode = bytes[immediate.checked_sub(1)?];
                code.extend([0x0f, 0x80 | (opcode & 0xf)]);
                relative(&mut code, slot, instruction.near_branch_target())?;
            }
            _ => {
                code.extend(&bytes[..instruction.len()]);
                if let &Some(at) = displacement {
                    let target = instruction.ip_rel_memory_address();
                    let after = slot.wrapping_add(instruction.len() as u64);
                    let moved = distance(after, target)?;
                    code[at..at + 4].copy_from_slice(&moved.to_le_bytes());
                }
            }
        }
        jump(&mut code, slot, instruction.next_ip())?;
        Some(code)
    }
}

/// `jmp rel32`.
fn jump(code: &mut Vec<u8>, slot: u64, target: u64) -> Option<()> {
    code.push(0xe9);
    relative(code, slot, target)
}

fn relative(code: &mut Vec<u8>, slot: u64, target: u64) -> Option<()> {
    let after = slot.wrapping_add(code.len() as u64 + 4);
    code.extend(distance(after, target)?.to_le_bytes());
    Some(())
}

fn distance(from: u64, to: u64) -> Option<i32> {
    i32::try_from(to.wrapping_sub(from) as i64).ok()
}

#[cfg(test)]
mod tests {
    use iced_x86::Code;

    use super::*;

    const AT: u64 = 0x7f00_0000_1000;
    const SLOT_AT: u64 = 0x7eff_f000_0040;

    /// Decodes what was relocated.
    fn relocated(code: &[u8]) -> Vec<Instruction> {
        let mut padded = code.to_vec();
        padded.resize(MAX_LENGTH, 0x90);
        let displaced = Displaced::decode(&padded, AT).unwrap();
        let bytes = displaced.relocate(SLOT_AT).unwrap();
        assert!(bytes.len() as u64 <= SLOT);
        Decoder::with_ip(64, &bytes, SLOT_AT, DecoderOptions::NONE).iter().collect()
    }

    #[test]
    fn nothing_to_do() {
        assert_eq!(
            Displaced::decode(&[0xf3, 0x0f, 0x1e, 0xfa], AT),
            Some(Displaced::Skip { length: 4 })
        );
        assert_eq!(Displaced::decode(&[0x90, 0xcc], AT), Some(Displaced::Skip { length: 1 }));
        assert_eq!(Displaced::decode(&[0xcc], AT), None);
        assert_eq!(Displaced::decode(&[0xe3, 0x10], AT), None);
        assert_eq!(Displaced::decode(&[0x48], AT), None);
    }

    #[test]
    fn plain_instructions_are_copied() {
        for (code, mnemonic) in [
            (&[0x55][..], Mnemonic::Push),
            (&[0x48, 0x83, 0xec, 0x18], Mnemonic::Sub),
            (&[0x48, 0x89, 0xe5], Mnemonic::Mov),
        ] {
            let found = relocated(code);
            assert_eq!(found[0].mnemonic(), mnemonic);
            assert_eq!(found[1].near_branch_target(), AT + code.len() as u64);
        }
        assert_eq!(relocated(&[0xc3])[0].mnemonic(), Mnemonic::Ret);
    }

    #[test]
    fn addresses_relative_to_the_instruction_stay_the_same() {
        // cmpb $0,0x1234(%rip): the displacement is not the last part.
        let found = relocated(&[0x80, 0x3d, 0x34, 0x12, 0, 0, 0]);
        assert_eq!(found[0].code(), Code::Cmp_rm8_imm8);
        assert_eq!(found[0].ip_rel_memory_address(), AT + 7 + 0x1234);
        assert_eq!(found[1].near_branch_target(), AT + 7);
    }

    #[test]
    fn branches_keep_their_targets() {
        let found = relocated(&[0x74, 0x10]);
        assert_eq!(found[0].mnemonic(), Mnemonic::Je);
        assert_eq!(found[0].near_branch_target(), AT + 0x12);
        assert_eq!(found[1].near_branch_target(), AT + 2);
        let found = relocated(&[0x7f, 0xf0]);
        assert_eq!(found[0].mnemonic(), Mnemonic::Jg);
        let found = relocated(&[0xeb, 0xfe]);
        assert_eq!(found[0].near_branch_target(), AT);
        let found = relocated(&[0xe8, 0, 1, 0, 0]);
        assert_eq!(found[3].near_branch_target(), AT + 5 + 0x100);
        assert_eq!(found[1].immediate32(), (AT + 5) as u32);
        assert_eq!(found[2].immediate32(), ((AT + 5) >> 32) as u32);
    }

    #[test]
    fn too_far_is_refused() {
        let displaced = Displaced::decode(&[0x55], AT).unwrap();
        assert_eq!(displaced.relocate(0x5555_0000_0000), None);
    }
}
