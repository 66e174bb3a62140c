//! Marks the numbers that decided something as precise, in all states that they came through
//! (`bpf_mark_chain_precision`, `kernel/bpf/backtrack.c`).

use std::fmt::Write;

use super::backtrack::{Concerns, Lost, Wanted};
use super::history::Jump;
use super::keep::Keep;
use super::report::KernelFunctions;
use super::{Check, Walk};
use crate::code::Code;
use crate::log::Log;
use crate::state::{FP, State, StateRef, bits};

impl Walk<'_> {
    /// The number in a register of the innermost frame decides something.
    pub(crate) fn mark_precise(&mut self, register: usize) -> Check {
        if !self.allowed.bpf {
            return Ok(());
        }
        let mut wanted = Wanted::new(self.state.top());
        wanted.want_register(self.state.top(), register);
        self.mark_wanted(wanted)
    }

    /// The numbers in stack slots of a frame decide something: a bit each.
    pub(crate) fn mark_slots_precise(&mut self, frame: usize, slots: u64) -> Check {
        if !self.allowed.bpf {
            return Ok(());
        }
        let mut wanted = Wanted::new(self.state.top());
        bits(slots).for_each(|slot| wanted.want_slot(frame, slot));
        self.mark_wanted(wanted)
    }

    /// Every number that a state came through is precise.
    pub(super) fn mark_all_precise(&mut self, start: &State) {
        let Walk { keep, code, concerns, log, kernel_functions: names, .. } = self;
        Path { code, concerns, keep, log, names }.mark_all(start);
    }

    fn mark_wanted(&mut self, wanted: Wanted) -> Check {
        let Walk { state, keep, code, concerns, log, kernel_functions: names, .. } = self;
        Path { code, concerns, keep, log, names }.mark(state, wanted);
        Ok(())
    }

    /// What decided something after `old` decides it after `state`, too (`propagate_precision`):
    /// whether anything changed.
    pub(super) fn propagate(&mut self, old: StateRef, state: Option<&State>) -> bool {
        if !self.allowed.bpf {
            return false;
        }
        let Walk { state: current, keep, code, concerns, log, kernel_functions: names, .. } = self;
        let state = state.unwrap_or(current);
        let mut wanted = Wanted::new(state.top());
        let Some(kept) = keep.get(old) else { return false };
        for frame in 0..kept.depth() {
            let (registers, slots) = kept.precise(frame);
            bits(registers.into()).for_each(|register| wanted.want_register(frame, register));
            bits(slots).for_each(|slot| wanted.want_slot(frame, slot));
        }
        if log.tells_all() {
            for frame in (0..kept.depth()).rev() {
                let registers = bits(wanted.registers(frame).into());
                let registers = registers.map(|register| format!("r{register}"));
                let slots = bits(wanted.slots(frame)).map(|slot| format!("fp{}", offset(slot)));
                let names: Vec<String> = registers.chain(slots).collect();
                if !names.is_empty() {
                    log.say(format_args!("frame {frame}: propagating {}\n", names.join(",")));
                }
            }
        }
        Path { code, concerns, keep, log, names }.mark(state, wanted)
    }
}

/// The offset of a slot from the frame pointer.
fn offset(slot: usize) -> i64 {
    -(slot as i64 + 1) * 8
}

struct Path<'p> {
    code: &'p Code,
    /// Of each instruction.
    concerns: &'p [Concerns],
    keep: &'p mut Keep,
    log: &'p mut Log,
    names: &'p KernelFunctions,
}

impl Path<'_> {
    /// Goes back from a state; whether a number became precise that was not.
    fn mark(&mut self, start: &State, mut wanted: Wanted) -> bool {
        if wanted.is_empty() {
            return false;
        }
        let mut changed = false;
        let mut at: Option<StateRef> = None;
        let mut slot = start.slot as i32;
        let mut next = -1;
        let mut skip_first = true;
        while let Some(state) =
            at.map_or(Some(start), |at| self.keep.get(at).map(|kept| &kept.state))
        {
            if self.log.tells_all() {
                let first = state.first_slot;
                let frame = wanted.frame;
                self.log.say(format_args!(
                    "mark_precise: frame{frame}: last_idx {slot} first_idx {first} subseq_idx {next} \n"
                ));
            }
            let parent = state.parent;
            if slot < 0 {
                // The entry of a function: of a global one its arguments may be wanted.
                return self.mark_entry(at, &wanted) || changed;
            }
            let first = state.first_slot as i32;
            let walked = self.follow(at, start, &mut wanted, slot, next, skip_first);
            skip_first = false;
            match walked {
                Err(Lost) => return self.mark_all(start) || changed,
                Ok(()) if wanted.is_empty() => return changed,
                Ok(()) => {}
            }
            let Some(parent) = parent else { break };
            changed |= self.mark_state(parent, &mut wanted);
            if wanted.is_empty() {
                return changed;
            }
            next = first;
            slot = self.keep.get(parent).map_or(-1, |kept| kept.state.last_slot);
            at = Some(parent);
        }
        if !wanted.is_empty() {
            changed |= self.mark_all(start);
        }
        changed
    }

    /// Goes back through the instructions between a state and the one before.
    fn follow(
        &mut self,
        at: Option<StateRef>,
        start: &State,
        wanted: &mut Wanted,
        last: i32,
        mut next: i32,
        skip_first: bool,
    ) -> Result<(), Lost> {
        let state = match at {
            Some(at) => &self.keep.get(at).ok_or(Lost)?.state,
            None => start,
        };
        let first = state.first_slot as i32;
        let tells = self.log.tells_all();
        let mut left = state.history.len();
        let mut slot = last;
        let mut skips = skip_first;
        if wanted.is_empty() {
            return Ok(());
        }
        loop {
            if !skips && !tells {
                // From one jump back to the one before, most have nothing to do with what is wanted.
                let jump = left.checked_sub(1).map(|last| state.history[last].slot as i32);
                let stop = jump.unwrap_or(first);
                let idle = |slot: i32| !wanted.is_met_by(self.concerns[slot as usize], None);
                while slot > stop && idle(slot) {
                    (next, slot) = (slot, slot - 1);
                }
            }
            if !std::mem::take(&mut skips) {
                let jump = left.checked_sub(1).map(|last| &state.history[last]);
                let jump = jump.filter(|jump| jump.slot as i32 == slot);
                if tells {
                    tell(self.log, self.code, self.names, wanted, slot);
                }
                if wanted.is_met_by(self.concerns[slot as usize], jump) {
                    wanted.before(self.code, slot as usize, next, jump)?;
                    if wanted.is_empty() {
                        return Ok(());
                    }
                }
            }
            next = slot;
            match previous(&state.history, &mut left, slot, first) {
                Some(before) if before >= 0 => slot = before,
                // The start was passed with something still wanted.
                Some(_) => return Err(Lost),
                None => return Ok(()),
            }
        }
    }

    /// What is wanted is precise in a state that is kept; what was so already, or is no number, is
    /// no longer wanted.
    fn mark_state(&mut self, at: StateRef, wanted: &mut Wanted) -> bool {
        let Some(kept) = self.keep.get_mut(at) else { return false };
        let mut changed = false;
        for number in (0..=wanted.frame.min(kept.depth() - 1)).rev() {
            for register in bits(wanted.registers(number).into()) {
                match kept.make_precise(number, register) {
                    true => changed = true,
                    false => wanted.drop_register(number, register),
                }
            }
            for slot in bits(wanted.slots(number)) {
                match kept.make_slot_precise(number, slot) {
                    true => changed = true,
                    false => wanted.drop_slot(number, slot),
                }
            }
            if self.log.tells_all() {
                let registers = list(wanted.registers(number).into(), |bit| format!("r{bit}"));
                let slots = list(wanted.slots(number), |bit| offset(bit).to_string());
                self.log.say(format_args!(
                    "mark_precise: frame{number}: parent state regs={registers} stack={slots}: \n"
                ));
            }
        }
        changed
    }

    /// The arguments of a global function are what its caller gives.
    fn mark_entry(&mut self, at: Option<StateRef>, wanted: &Wanted) -> bool {
        let Some(kept) = at.and_then(|at| self.keep.get_mut(at)) else { return false };
        let mut changed = false;
        for register in bits(wanted.registers(0).into()) {
            changed |= kept.make_precise(0, register.min(FP));
        }
        changed
    }

    /// Every number is precise, in all states before (`bpf_mark_all_scalars_precise`).
    fn mark_all(&mut self, start: &State) -> bool {
        if self.log.tells_all() {
            let frame = start.top();
            self.log.say(format_args!(
                "mark_precise: frame{frame}: falling back to forcing all scalars precise\n"
            ));
        }
        let mut changed = false;
        let mut parent = start.parent;
        while let Some(at) = parent {
            let Some(kept) = self.keep.get_mut(at) else { break };
            parent = kept.state.parent;
            let log = &mut *self.log;
            for number in 0..kept.depth() {
                for index in 0..FP {
                    if kept.make_precise(number, index) {
                        changed = true;
                        if log.tells_all() {
                            log.say(format_args!(
                                "force_precise: frame{number}: forcing r{index} to be precise\n"
                            ));
                        }
                    }
                }
                for index in kept.slots(number) {
                    if kept.make_slot_precise(number, index) {
                        changed = true;
                        if log.tells_all() {
                            let offset = offset(index);
                            log.say(format_args!(
                                "force_precise: frame{number}: forcing fp{offset} to be precise\n"
                            ));
                        }
                    }
                }
            }
        }
        changed
    }
}

fn list(set: u64, name: impl Fn(usize) -> String) -> String {
    bits(set).map(name).collect::<Vec<_>>().join(",")
}

fn tell(log: &mut Log, code: &Code, names: &KernelFunctions, wanted: &Wanted, slot: i32) {
    let frame = wanted.frame;
    let registers = list(wanted.registers(frame).into(), |bit| format!("r{bit}"));
    let slots = list(wanted.slots(frame), |bit| offset(bit).to_string());
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write!(text, "{}", super::report::Listed(code, slot as usize, names));
    log.say(format_args!(
        "mark_precise: frame{frame}: regs={registers} stack={slots} before {slot}: {text}\n"
    ));
}

/// The instruction that ran before the one at `slot`; `None` at the start of the state
/// (`get_prev_insn_idx`).
fn previous(history: &[Jump], left: &mut usize, slot: i32, first: i32) -> Option<i32> {
    if slot == first {
        if *left == 0 {
            return None;
        }
        if *left == 1 && history[0].slot as i32 == slot {
            return None;
        }
    }
    match left.checked_sub(1).map(|last| &history[last]) {
        Some(jump) if jump.slot as i32 == slot => {
            *left -= 1;
            Some(jump.previous)
        }
        _ => Some(slot - 1),
    }
}
