//! Which registers may still be read (`bpf_compute_live_registers`, `kernel/bpf/liveness.c`).

use bombus_isa::opcode::atomic;
use bombus_isa::{AluOp, AtomicOp, Insn, Op, Operand, Reg};

use super::Instruction;
use super::calls::Calls;
use super::graph::{Blocks, Graph};

const fn bit(reg: Reg) -> u16 {
    1 << reg.0
}

fn operand(operand: Operand) -> u16 {
    match operand {
        Operand::Reg(reg) => bit(reg),
        Operand::Imm(_) => 0,
    }
}

/// The registers that an instruction reads and those that it sets.
#[derive(Clone, Copy, Debug, Default)]
struct Effect {
    reads: u16,
    sets: u16,
}

/// For each slot the registers that may be read from there on before they are set: bit `n` is `rn`.
pub(super) fn live(
    instructions: &[Instruction],
    insns: &[Insn],
    calls: &Calls,
    graph: &Graph,
    blocks: &Blocks,
) -> Vec<u16> {
    let effects: Vec<Effect> = (0..instructions.len())
        .map(|slot| effect(instructions[slot], insns[slot], calls, slot))
        .collect();
    let of_block = |block: usize| {
        let slots = effects[blocks.slots(block)].iter().rev();
        slots.fold(Effect::default(), |after, this| Effect {
            reads: after.reads & !this.sets | this.reads,
            sets: after.sets | this.sets,
        })
    };
    let of_blocks: Vec<Effect> = (0..blocks.len()).map(of_block).collect();
    let mut at_start = vec![0_u16; blocks.len()];
    let at_end = |at_start: &[u16], block: usize| {
        blocks.successors(graph, block).fold(0, |live, next| live | at_start[next])
    };
    let mut changed = true;
    while changed {
        changed = false;
        for &block in blocks.postorder() {
            let block = block as usize;
            let Effect { reads, sets } = of_blocks[block];
            let live = at_end(&at_start, block) & !sets | reads;
            changed |= live != at_start[block];
            at_start[block] = live;
        }
    }
    let mut live = vec![0; instructions.len()];
    for &block in blocks.postorder() {
        let block = block as usize;
        let mut now = at_end(&at_start, block);
        for slot in blocks.slots(block).rev() {
            let Effect { reads, sets } = effects[slot];
            now = now & !sets | reads;
            live[slot] = now;
        }
    }
    live
}

/// The registers that calls leave undefined.
const CALLER_SAVED: u16 = 0x3f;
/// The registers of arguments.
const ARGUMENTS: u16 = 0x3e;
/// Register arguments at most.
const MAX_ARGUMENTS: usize = 5;

fn effect(instruction: Instruction, insn: Insn, calls: &Calls, slot: usize) -> Effect {
    let r0 = bit(Reg::R0);
    let op = match instruction {
        Instruction::Op(op) => op,
        Instruction::GotoRegister { dst } => return Effect { reads: bit(dst), sets: 0 },
        Instruction::LoadArgument { dst, .. } => {
            return Effect { reads: bit(insn.src), sets: bit(dst) };
        }
        Instruction::StoreArgument { src, .. } => {
            return Effect { reads: bit(insn.dst) | operand(src), sets: 0 };
        }
        Instruction::InvalidAtomic => {
            let fetches = insn.imm & atomic::FETCH != 0;
            let sets = if fetches { bit(insn.src) } else { 0 };
            return Effect { reads: bit(insn.dst) | bit(insn.src), sets };
        }
        Instruction::Second => return Effect::default(),
    };
    let (reads, sets) = match op {
        Op::Alu { op: AluOp::Mov, dst, src, .. } => (operand(src), bit(dst)),
        Op::Alu { dst, src, .. } => (bit(dst) | operand(src), bit(dst)),
        Op::Neg { dst, .. } | Op::End { dst, .. } => (bit(dst), bit(dst)),
        Op::MovSx { dst, src, .. } | Op::AddrSpaceCast { dst, src, .. } => (bit(src), bit(dst)),
        Op::GotoRegister { dst } => (bit(dst), 0),
        Op::LoadImm64 { dst, .. } => (0, bit(dst)),
        Op::Load { dst, base, .. } | Op::LoadAcquire { dst, base, .. } => (bit(base), bit(dst)),
        // The kernel takes it that these read everything.
        Op::LoadPacket { .. } => (u16::MAX, 0),
        Op::Store { base, src, .. } => (bit(base) | operand(src), 0),
        Op::StoreRelease { base, src, .. } => (bit(base) | bit(src), 0),
        Op::Atomic { op: AtomicOp::Cmpxchg, base, src, .. } => (r0 | bit(base) | bit(src), r0),
        Op::Atomic { base, src, fetch, .. } => {
            (bit(base) | bit(src), if fetch { bit(src) } else { 0 })
        }
        Op::JumpIf { dst, src, .. } => (bit(dst) | operand(src), 0),
        Op::CallLocal { .. } => (ARGUMENTS, CALLER_SAVED),
        Op::CallHelper { .. } | Op::CallKfunc { .. } => {
            let arguments = calls.at(slot).map_or(ARGUMENTS, |known| {
                (2 << known.callee.arguments.len().min(MAX_ARGUMENTS)) - 2
            });
            (arguments, CALLER_SAVED)
        }
        Op::Exit => (r0, 0),
        Op::Goto { .. } | Op::GotoLong { .. } | Op::MayGoto { .. } => (0, 0),
    };
    Effect { reads, sets }
}
