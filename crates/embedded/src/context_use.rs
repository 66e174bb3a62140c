//! How much of its context a program looks at. What nobody looks at need not be fetched from the
//! traced process.

use bombus_isa::{AluOp, Op, Operand, Reg, Width};
use bombus_platform::{Helper, HelperInfo};

/// The whole context, as far as anybody can tell.
const ALL: usize = usize::MAX;

/// Registers that may hold the address of the context, a bit each.
type Registers = u16;

const fn bit(reg: Reg) -> Registers {
    1 << (reg.0 & 15)
}

/// How many bytes from the start of the context a program may read: all, as soon as the address
/// takes a way that is not followed here. `ops` has one entry a slot.
pub(crate) fn bytes_read(ops: &[Op]) -> usize {
    let mut seen: Vec<Option<Registers>> = vec![None; ops.len()];
    let mut work = vec![(0, bit(Reg::R1))];
    let mut bytes = 0;
    while let Some((pc, holders)) = work.pop() {
        let Some(known) = seen.get_mut(pc) else { continue };
        let merged = known.unwrap_or(0) | holders;
        if *known == Some(merged) {
            continue;
        }
        *known = Some(merged);
        let Some((read, after)) = step(ops[pc], merged) else { return ALL };
        bytes = bytes.max(read);
        let next = pc + ops[pc].slots();
        let jump = |off: i64| usize::try_from(pc as i64 + 1 + off).unwrap_or(ALL);
        match ops[pc] {
            Op::Exit => {}
            Op::Goto { off } => work.push((jump(off.into()), after)),
            Op::GotoLong { off } => work.push((jump(off.into()), after)),
            Op::JumpIf { off, .. } | Op::MayGoto { off } => {
                work.push((jump(off.into()), after));
                work.push((next, after));
            }
            _ => work.push((next, after)),
        }
    }
    bytes
}

/// What an instruction reads of the context, and who holds its address afterwards. `None`: the
/// address gets away.
fn step(op: Op, holders: Registers) -> Option<(usize, Registers)> {
    let holds = |reg: Reg| holders & bit(reg) != 0;
    let without = |reg: Reg| holders & !bit(reg);
    let read = |base: Reg, off: i16, len: usize| {
        let start = usize::try_from(off).ok().filter(|_| holds(base));
        start.map_or(0, |start| start + len)
    };
    Some(match op {
        Op::Alu { width: Width::W64, op: AluOp::Mov, dst, src: Operand::Reg(src) } => {
            (0, if holds(src) { holders | bit(dst) } else { without(dst) })
        }
        Op::Alu { op: AluOp::Mov, dst, src: Operand::Imm(_), .. } => (0, without(dst)),
        Op::Alu { dst, src: Operand::Reg(src), .. } if holds(dst) || holds(src) => return None,
        Op::Alu { dst, .. } | Op::Neg { dst, .. } | Op::End { dst, .. } if holds(dst) => {
            return None;
        }
        Op::MovSx { src, .. } if holds(src) => return None,
        Op::MovSx { dst, .. } | Op::LoadImm64 { dst, .. } => (0, without(dst)),
        Op::Load { size, dst, base, off, .. } | Op::LoadAcquire { size, dst, base, off } => {
            (read(base, off, size.bytes()), without(dst))
        }
        Op::Store { src: Operand::Reg(src), .. }
        | Op::Atomic { src, .. }
        | Op::StoreRelease { src, .. }
            if holds(src) =>
        {
            return None;
        }
        Op::Atomic { base, .. } if holds(base) => return None,
        Op::CallHelper { id } => {
            let helper = Helper::from_id(id).filter(|&helper| helper != Helper::TailCall)?;
            let args = [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5].into_iter();
            let mut given = args.zip(helper.args());
            if given.any(|(reg, kind)| holds(reg) && *kind != HelperInfo::Ctx) {
                return None;
            }
            (0, holders & !0b11_1111)
        }
        Op::CallLocal { .. } if holders & 0b11_1110 != 0 => return None,
        Op::CallLocal { .. } => (0, holders & !0b11_1111),
        Op::CallKfunc { .. } | Op::AddrSpaceCast { .. } | Op::LoadPacket { .. } => return None,
        _ => (0, holders),
    })
}

#[cfg(test)]
mod tests {
    use bombus_isa::{Insn, Size, opcode};

    use super::*;

    fn read(insns: &[Insn]) -> usize {
        let ops: Vec<Op> = insns.iter().map(|insn| insn.decode(None).unwrap()).collect();
        bytes_read(&ops)
    }

    #[test]
    fn follows_copies_and_stops_at_calls() {
        let by_copy = [
            Insn::mov(Reg::R6, Reg::R1),
            Insn::call_helper(Helper::GetCurrentPidTgid.id()),
            Insn::load(Size::Dw, Reg::R0, Reg::R6, 8),
            Insn::exit(),
        ];
        assert_eq!(read(&by_copy), 16);
        let other_pointer = [
            Insn::mov(Reg::R1, Reg::FP),
            Insn::load(Size::Dw, Reg::R0, Reg::R1, 400),
            Insn::exit(),
        ];
        assert_eq!(read(&other_pointer), 0);
    }

    #[test]
    fn joins_both_sides_of_a_branch() {
        let branch = [
            Insn::mov(Reg::R2, Reg::FP),
            Insn::jmp_imm(opcode::jmp::JEQ, Reg::FP, 0, 1),
            Insn::mov(Reg::R2, Reg::R1),
            Insn::load(Size::W, Reg::R0, Reg::R2, 16),
            Insn::exit(),
        ];
        assert_eq!(read(&branch), 20);
    }

    #[test]
    fn gives_up_where_the_address_gets_away() {
        let spilled = [Insn::store(Size::Dw, Reg::FP, -8, Reg::R1), Insn::exit()];
        assert_eq!(read(&spilled), ALL);
        let moved = [Insn::alu64_imm(opcode::alu::ADD, Reg::R1, 8), Insn::exit()];
        assert_eq!(read(&moved), ALL);
    }
}
