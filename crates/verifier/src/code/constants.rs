//! Registers that hold the same constant on all paths, and branches that these decide
//! (`kernel/bpf/const_fold.c`).

use std::num::Wrapping;

use bombus_isa::{AluOp, Imm64, Insn, Op, Operand, Reg, Size, Width};
use bombus_platform::MapType;

use super::graph::{Blocks, Graph};
use super::resolve::map_of;
use super::{Function, Instruction};
use crate::Program;
use crate::domain::Comparison;

/// What a register holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Constant {
    /// Not the same on all paths.
    #[default]
    Unknown,
    /// A number.
    Number(u64),
    /// A map, by its place in [`Program::maps`].
    Map(u32),
    /// An address in a map's value.
    MapValue { map: u32, offset: u64 },
    /// A function of the program, by its place.
    Function(u16),
}

impl Constant {
    /// A number of at most 32 bits: the kernel keeps no others.
    pub(super) fn number(self) -> Option<u32> {
        match self {
            Constant::Number(value) => u32::try_from(value).ok(),
            _ => None,
        }
    }
}

const REGISTERS: usize = 11;

type State = [Constant; REGISTERS];

/// The constants in `r1` to `r5` at each call.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    /// For each slot the place in `held`, from 1; 0: there is no call.
    places: Vec<u32>,
    held: Vec<[Constant; 5]>,
}

impl Arguments {
    /// What the argument at this place, from 0, is at the call in this slot.
    pub(super) fn at(&self, slot: usize, argument: usize) -> Constant {
        let place = self.places.get(slot).and_then(|place| (*place as usize).checked_sub(1));
        place.and_then(|place| self.held[place].get(argument)).copied().unwrap_or_default()
    }

    fn set(&mut self, slot: usize, state: &State) {
        let [_, r1, r2, r3, r4, r5, ..] = *state;
        let held = [r1, r2, r3, r4, r5];
        match self.places[slot] {
            0 => {
                self.held.push(held);
                self.places[slot] = self.held.len() as u32;
            }
            place => self.held[place as usize - 1] = held,
        }
    }
}

/// Finds the constants, and makes branches that they decide unconditional. Says whether there were
/// any.
pub(super) fn fold(
    program: &Program<'_>,
    functions: &[Function],
    function_of: &[u16],
    graph: &Graph,
    blocks: &Blocks,
    instructions: &mut [Instruction],
    insns: &mut [Insn],
) -> (Arguments, bool) {
    let mut entry: Vec<Option<State>> = vec![None; blocks.len()];
    for function in functions {
        entry[blocks.of(function.start as usize)] = Some(State::default());
    }
    let folder = Folder { program, function_of };
    let mut arguments = Arguments { places: vec![0; instructions.len()], held: Vec::new() };
    // For each block whether the branch at its end is taken. What the last look at a block said
    // holds: it is looked at again when less is known at its start.
    let mut taken = vec![None; blocks.len()];
    let mut dirty = vec![true; blocks.len()];
    let mut again = true;
    while again {
        again = false;
        for &block in blocks.postorder().iter().rev() {
            let block = block as usize;
            if !std::mem::take(&mut dirty[block]) {
                continue;
            }
            let mut state = entry[block].unwrap_or_default();
            for slot in blocks.slots(block) {
                let instruction = instructions[slot];
                match instruction {
                    Instruction::Op(Op::JumpIf { .. }) => {
                        taken[block] = decide(&state, instruction);
                    }
                    Instruction::Op(Op::CallHelper { .. } | Op::CallKfunc { .. }) => {
                        arguments.set(slot, &state);
                        folder.step(&mut state, instruction, slot, insns);
                    }
                    _ => folder.step(&mut state, instruction, slot, insns),
                }
            }
            for next in blocks.successors(graph, block) {
                if join(&mut entry[next], &state) {
                    dirty[next] = true;
                    again = true;
                }
            }
        }
    }
    let mut folded = false;
    for (block, taken) in taken.into_iter().enumerate() {
        let slot = blocks.last(block);
        if let (Some(taken), Instruction::Op(Op::JumpIf { off, .. })) = (taken, instructions[slot])
        {
            let off = if taken { off } else { 0 };
            instructions[slot] = Instruction::Op(Op::Goto { off });
            insns[slot] = Insn::ja(off);
            folded = true;
        }
    }
    (arguments, folded)
}

/// What two paths agree on; whether that is less than one knew.
fn join(entry: &mut Option<State>, state: &State) -> bool {
    let Some(entry) = entry else {
        *entry = Some(*state);
        return true;
    };
    let mut changed = false;
    for (known, new) in entry.iter_mut().zip(state) {
        if *known != Constant::Unknown && known != new {
            *known = Constant::Unknown;
            changed = true;
        }
    }
    changed
}

struct Folder<'a> {
    program: &'a Program<'a>,
    function_of: &'a [u16],
}

impl Folder<'_> {
    fn step(&self, state: &mut State, instruction: Instruction, slot: usize, insns: &[Insn]) {
        let op = match instruction {
            Instruction::Op(op) => op,
            Instruction::LoadArgument { dst, .. } => return set(state, dst, Constant::Unknown),
            Instruction::InvalidAtomic => {
                if insns[slot].imm & bombus_isa::opcode::atomic::FETCH != 0 {
                    set(state, insns[slot].src, Constant::Unknown);
                }
                return;
            }
            _ => return,
        };
        match op {
            Op::Alu { width, op, dst, src } => {
                let right = match src {
                    Operand::Reg(reg) => held(state, reg),
                    Operand::Imm(value) => Constant::Number(i64::from(value) as u64),
                };
                let by_register = matches!(src, Operand::Reg(_));
                let value = arithmetic(op, held(state, dst), right, by_register);
                set(state, dst, narrow(value, width));
            }
            Op::MovSx { width, from, dst, src } => {
                let value = match (held(state, src), from) {
                    (Constant::Number(value), Size::B) => Constant::Number(value as i8 as u64),
                    (Constant::Number(value), Size::H) => Constant::Number(value as i16 as u64),
                    (Constant::Number(value), Size::W) => Constant::Number(value as i32 as u64),
                    _ => Constant::Unknown,
                };
                set(state, dst, narrow(value, width));
            }
            Op::LoadImm64 { dst, imm } => set(state, dst, self.named(slot, imm)),
            Op::Load { size, signed, dst, base, off } => {
                let value = match held(state, base) {
                    Constant::MapValue { map, offset } => self.read(map, offset, off, size, signed),
                    _ => None,
                };
                set(state, dst, value.map_or(Constant::Unknown, Constant::Number));
            }
            Op::Neg { dst, .. }
            | Op::End { dst, .. }
            | Op::AddrSpaceCast { dst, .. }
            | Op::LoadAcquire { dst, .. }
            | Op::Atomic { op: bombus_isa::AtomicOp::Xchg, src: dst, .. } => {
                set(state, dst, Constant::Unknown);
            }
            Op::Atomic { op: bombus_isa::AtomicOp::Cmpxchg, .. } => {
                set(state, Reg::R0, Constant::Unknown);
            }
            Op::Atomic { fetch: true, src, .. } => set(state, src, Constant::Unknown),
            Op::LoadPacket { .. }
            | Op::CallHelper { .. }
            | Op::CallLocal { .. }
            | Op::CallKfunc { .. } => state[..6].fill(Constant::Unknown),
            _ => {}
        }
    }

    fn named(&self, slot: usize, imm: Imm64) -> Constant {
        match (imm, map_of(imm)) {
            (Imm64::Value(value), _) => Constant::Number(value),
            (Imm64::Func(off), _) => {
                let to = (slot as i32 + 1 + off) as usize;
                Constant::Function(self.function_of[to])
            }
            (_, Some((map, None))) => Constant::Map(map as u32),
            (_, Some((map, Some(offset)))) => {
                Constant::MapValue { map: map as u32, offset: offset.into() }
            }
            _ => Constant::Unknown,
        }
    }

    /// What nobody can change any more in a map's only value.
    fn read(&self, map: u32, at: u64, off: i16, size: Size, signed: bool) -> Option<u64> {
        let map = self.program.maps.get(map as usize)?;
        if map.map_type != MapType::Array {
            return None;
        }
        let at = usize::try_from((at as i32).wrapping_add(off.into())).ok()?;
        let bytes = map.constant.as_deref()?.get(at..)?.get(..size.bytes())?;
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        let value = u64::from_le_bytes(word);
        Some(match (signed, size) {
            (true, Size::B) => value as i8 as u64,
            (true, Size::H) => value as i16 as u64,
            (true, Size::W) => value as i32 as u64,
            _ => value,
        })
    }
}

fn set(state: &mut State, reg: Reg, value: Constant) {
    if let Some(held) = state.get_mut(usize::from(reg.0)) {
        *held = value;
    }
}

fn held(state: &State, reg: Reg) -> Constant {
    state.get(usize::from(reg.0)).copied().unwrap_or_default()
}

fn arithmetic(op: AluOp, left: Constant, right: Constant, by_register: bool) -> Constant {
    use Constant::{MapValue, Number, Unknown};
    match (op, left, right) {
        (AluOp::Mov, _, right) => right,
        (AluOp::And, Number(0), _) | (AluOp::And, _, Number(0)) => Number(0),
        (AluOp::And, Number(left), Number(right)) => Number(left & right),
        (AluOp::Add, Number(left), Number(right)) if !by_register => {
            Number(left.wrapping_add(right))
        }
        (AluOp::Sub, Number(left), Number(right)) if !by_register => {
            Number(left.wrapping_sub(right))
        }
        (AluOp::Add, MapValue { map, offset }, Number(right)) if !by_register => {
            MapValue { map, offset: offset.wrapping_add(right) }
        }
        (AluOp::Sub, MapValue { map, offset }, Number(right)) if !by_register => {
            MapValue { map, offset: offset.wrapping_sub(right) }
        }
        _ => Unknown,
    }
}

/// What is left in 32 bits.
fn narrow(value: Constant, width: Width) -> Constant {
    match (width, value) {
        (Width::W64, value) => value,
        (Width::W32, Constant::Number(value)) => Constant::Number(value as u32 as u64),
        (Width::W32, _) => Constant::Unknown,
    }
}

/// Whether a branch is taken, if the constants decide.
fn decide(state: &State, instruction: Instruction) -> Option<bool> {
    let Instruction::Op(Op::JumpIf { width, cond, dst, src, .. }) = instruction else {
        return None;
    };
    let left = u64::from(held(state, dst).number()?);
    let right = match src {
        Operand::Imm(value) => i64::from(value) as u64,
        Operand::Reg(reg) => held(state, reg).number()?.into(),
    };
    let (comparison, is_swapped) = Comparison::of(cond, true);
    let (left, right) = if is_swapped { (right, left) } else { (left, right) };
    Some(match width {
        Width::W64 => comparison.holds(Wrapping(left), Wrapping(right)),
        Width::W32 => comparison.holds(Wrapping(left as u32), Wrapping(right as u32)),
    })
}
