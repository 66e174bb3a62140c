//! Stores and loads of registers around calls that a newer compiler knows not to need
//! (`mark_fastcall_patterns`, `kernel/bpf/verifier.c`): a compiler that knows `bpf_fastcall` keeps
//! values in registers over such a call, and saves them around it for kernels that do not know. The
//! kernel takes these stores and loads out, if nothing else uses their stack.

use bombus_isa::opcode::{class, mode, size};
use bombus_isa::{Insn, Op, Reg};

use super::calls::Calls;
use super::flow::Marks;
use super::{Function, Instruction};

/// The patterns in a program. The walk says what else uses their stack ([`Fastcalls::touch`]).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fastcalls {
    /// For each function: from which offset down its patterns' stack lies, and whether it has to be
    /// kept for calls that are not inlined.
    functions: Vec<(i16, bool)>,
    /// Slots of stores and loads of patterns, in order.
    members: Vec<u32>,
    /// Calls that can do without their pattern, with how many pairs these have, in order.
    calls: Vec<(u32, u8)>,
}

const STORE: u8 = class::STX | mode::MEM | size::DW;
const LOAD: u8 = class::LDX | mode::MEM | size::DW;
/// Bytes of a register on the stack.
const REGISTER: i16 = 8;
/// Registers that calls leave undefined: `r0` to `r5`.
const CALLER_SAVED: usize = 6;

impl Fastcalls {
    pub(super) fn find(
        insns: &[Insn],
        instructions: &[Instruction],
        functions: &[Function],
        marks: &[Marks],
        calls: &Calls,
    ) -> Fastcalls {
        let mut found = Fastcalls::default();
        for function in functions {
            let spills = insns[function.slots()].iter();
            let spills = spills.filter(|insn| insn.code == STORE && insn.dst == Reg::FP);
            let lowest = spills.map(|insn| insn.off).min().unwrap_or(0).min(0);
            found.functions.push((0, false));
            if lowest == 0 {
                continue;
            }
            for slot in function.slots() {
                if matches!(
                    instructions[slot],
                    Instruction::Op(Op::CallHelper { .. } | Op::CallKfunc { .. })
                ) {
                    found.match_call(insns, marks, calls, slot, lowest);
                }
            }
        }
        found.members.sort_unstable();
        found.members.dedup();
        found
    }

    /// Looks for pairs around a call: the innermost at the lowest offset of the function.
    fn match_call(
        &mut self,
        insns: &[Insn],
        marks: &[Marks],
        calls: &Calls,
        slot: usize,
        lowest: i16,
    ) {
        let Some(known) = calls.at(slot) else { return };
        let parameters = known.callee.arguments.len();
        let mut expected = (0x3f_u32 << 1 << parameters.min(31)) & 0x3f;
        if known.callee.is_void {
            expected |= 1;
        }
        let mut pairs = 0;
        let mut off = lowest;
        for distance in 1..=CALLER_SAVED {
            let (Some(before), after) = (slot.checked_sub(distance), slot + distance) else {
                break;
            };
            let is_target = |slot: usize| marks[slot].has(Marks::JUMP_TARGET);
            let Some(&load) = insns.get(after) else { break };
            let store = insns[before];
            let is_pair = store.code == STORE
                && load.code == LOAD
                && store.dst == Reg::FP
                && load.src == Reg::FP
                && store.src == load.dst
                && store.src.0 < 32
                && expected & 1 << store.src.0 != 0
                && (store.off, load.off) == (off, off);
            if is_target(before + 1) || is_target(after) || !is_pair {
                break;
            }
            expected &= !(1 << store.src.0);
            self.members.extend([before as u32, after as u32]);
            pairs += 1;
            off = off.wrapping_add(REGISTER);
        }
        if pairs == 0 {
            return;
        }
        if known.callee.fastcall {
            self.calls.push((slot as u32, pairs));
        }
        if let Some((stack, keep)) = self.functions.last_mut() {
            *keep |= !known.callee.fastcall;
            *stack = (*stack).min(off);
        }
    }

    /// Whether the slot is a store or load of a pattern.
    pub fn is_member(&self, slot: usize) -> bool {
        self.members.binary_search(&(slot as u32)).is_ok()
    }

    /// An access to the stack of a function of the program, by the instruction in `slot`, from `off`
    /// bytes from the frame pointer on. When that is in the patterns' stack and not by one of them,
    /// the function's patterns are kept (`check_fastcall_stack_contract`).
    pub fn touch(&mut self, function: usize, slots: std::ops::Range<usize>, slot: usize, off: i32) {
        let Some((stack, _)) = self.functions.get_mut(function) else { return };
        if i32::from(*stack) <= off || self.members.binary_search(&(slot as u32)).is_ok() {
            return;
        }
        *stack = i16::MIN;
        self.members.retain(|&member| !slots.contains(&(member as usize)));
        self.calls.retain(|(call, _)| !slots.contains(&(*call as usize)));
    }

    /// Takes the patterns out, after the walk: the stack that each function then needs, given what
    /// it used (`bpf_remove_fastcall_spills_fills`).
    pub fn remove(&self, functions: &[Function], depths: &mut [u16]) {
        for ((function, depth), &(stack, keep)) in functions.iter().zip(depths).zip(&self.functions)
        {
            let slots = function.slots();
            let has_calls = self.calls.iter().any(|(call, _)| slots.contains(&(*call as usize)));
            if has_calls && !keep {
                *depth = stack.unsigned_abs();
            }
        }
    }
}
