//! Structural checks: what must hold before the first instruction runs (`check_subprogs` and
//! `check_cfg`, `kernel/bpf/verifier.c`). Everything else is checked when it happens.

use bombus_isa::{Imm64, Insn, Op, Reg};

use crate::InvalidProgram;
use crate::names::{Arena, Names};

/// Instructions that a program may have (`BPF_COMPLEXITY_LIMIT_INSNS`, `include/linux/bpf.h`).
const MAX_INSNS: usize = 1_000_000;

fn fault<T>(pc: usize, reason: impl Into<String>) -> Result<T, InvalidProgram> {
    Err(InvalidProgram { pc, reason: reason.into() })
}

/// A call of this helper, which nobody has, stands where an instruction is that must not be reached.
const NO_HELPER: i32 = i32::MIN;

/// Decodes every slot. Second slots of `ld_imm64` become copies of the first. What names something
/// outside of the program is named as it will be at run time.
pub(crate) fn decode(
    insns: &[Insn],
    names: &mut dyn Names,
) -> Result<(Vec<Op>, Option<Arena>), InvalidProgram> {
    if insns.is_empty() || insns.len() > MAX_INSNS {
        return fault(0, format!("a program has 1 to {MAX_INSNS} instructions"));
    }
    let mut ops = Vec::with_capacity(insns.len());
    while ops.len() < insns.len() {
        let pc = ops.len();
        let op = match insns[pc].decode(insns.get(pc + 1).copied()) {
            Ok(op) => op,
            Err(error) => return fault(pc, error.to_string()),
        };
        let Insn { dst, src, .. } = insns[pc];
        let writes_frame = (dst == Reg::FP || src == Reg::FP) && written(op) == Some(Reg::FP);
        let op = match op {
            _ if writes_frame && names.is_proved() => Op::CallHelper { id: NO_HELPER },
            _ if writes_frame => return fault(pc, "frame pointer is read only"),
            Op::CallKfunc { id, btf } => match names.kfunc(id, btf) {
                Some(id) => Op::CallHelper { id },
                None => return fault(pc, "calling kernel function is not supported"),
            },
            Op::AddrSpaceCast { .. } if names.arena().is_none() => {
                return fault(pc, "arenas are not supported");
            }
            Op::LoadImm64 { dst, imm: imm @ (Imm64::Value(_) | Imm64::Func(_)) } => {
                Op::LoadImm64 { dst, imm }
            }
            Op::LoadImm64 { dst, imm } => match names.immediate(imm) {
                Some(value) => Op::LoadImm64 { dst, imm: Imm64::Value(value) },
                None => {
                    return fault(pc, format!("{imm:?} names nothing that this program can use"));
                }
            },
            op => op,
        };
        ops.extend(std::iter::repeat_n(op, op.slots()));
    }
    Ok((ops, names.arena()))
}

/// The register that an instruction writes, apart from calls.
fn written(op: Op) -> Option<Reg> {
    match op {
        Op::Alu { dst, .. }
        | Op::Neg { dst, .. }
        | Op::MovSx { dst, .. }
        | Op::AddrSpaceCast { dst, .. }
        | Op::End { dst, .. }
        | Op::LoadImm64 { dst, .. }
        | Op::Load { dst, .. }
        | Op::LoadAcquire { dst, .. } => Some(dst),
        Op::Atomic { fetch: true, src, .. } => Some(src),
        _ => None,
    }
}

/// How far an instruction may jump, without calls.
fn jump(op: Op) -> Option<i64> {
    match op {
        Op::Goto { off } | Op::MayGoto { off } | Op::JumpIf { off, .. } => Some(off.into()),
        Op::GotoLong { off } => Some(off.into()),
        _ => None,
    }
}

/// Checks the shape of the program; gives the entries of its functions, sorted.
pub(crate) fn check(ops: &[Op]) -> Result<Vec<u32>, InvalidProgram> {
    let second_slots = second_slots(ops);
    let target = |pc: usize, distance: i64| -> Result<usize, InvalidProgram> {
        let to = pc as i64 + 1 + distance;
        match usize::try_from(to) {
            Ok(to) if to >= ops.len() => fault(pc, format!("jump out of range to {to}")),
            Ok(to) if second_slots[to] => {
                fault(pc, format!("jump into the middle of ldimm64 insn {}", to - 1))
            }
            Ok(to) => Ok(to),
            Err(_) => fault(pc, format!("jump out of range to {to}")),
        }
    };
    let first_slots = || ops.iter().copied().enumerate().filter(|&(pc, _)| !second_slots[pc]);

    let mut entries = vec![0];
    for (pc, op) in first_slots() {
        match op {
            Op::CallLocal { off } => entries.push(target(pc, off.into())? as u32),
            Op::LoadImm64 { imm: Imm64::Func(off), .. } => {
                entries.push(target(pc, off.into())? as u32);
            }
            _ => {}
        }
    }
    entries.sort_unstable();
    entries.dedup();

    for (index, &entry) in entries.iter().enumerate() {
        let end = entries.get(index + 1).map_or(ops.len(), |&next| next as usize);
        match ops[end - 1] {
            Op::Exit | Op::Goto { .. } | Op::GotoLong { .. } | Op::GotoRegister { .. } => {}
            _ => return fault(end - 1, "last insn is not an exit or jmp"),
        }
        let function = entry as usize..end;
        for pc in function.clone().filter(|&pc| !second_slots[pc]) {
            let Some(distance) = jump(ops[pc]) else { continue };
            let to = target(pc, distance)?;
            if !function.contains(&to) {
                return fault(pc, format!("jump out of range from insn {pc} to {to}"));
            }
        }
    }
    Ok(entries)
}

/// Where `gotox` may go: to every instruction.
pub(crate) fn places(ops: &[Op]) -> Box<[bool]> {
    let jumps = ops.iter().any(|op| matches!(op, Op::GotoRegister { .. }));
    if jumps { second_slots(ops).into_iter().map(|second| !second).collect() } else { [].into() }
}

fn second_slots(ops: &[Op]) -> Vec<bool> {
    let mut second = vec![false; ops.len()];
    for pc in 1..ops.len() {
        second[pc] = matches!(ops[pc - 1], Op::LoadImm64 { .. }) && !second[pc - 1];
    }
    second
}
