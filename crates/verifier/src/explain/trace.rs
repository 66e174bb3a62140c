//! Back along the path from a register: where what it holds came from, and what was found out about it
//! on the way.

use bombus_isa::{AluOp, Op, Operand, Reg};

use super::{Case, Home, source};
use crate::state::{Base, Byte, FP, Register, State, place};

/// Events that are kept at most.
const MAX_EVENTS: usize = 40;

/// A register or a stack slot, of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum At {
    Register(usize, u8),
    Slot(usize, usize),
}

impl At {
    /// What is known of it in a state.
    pub(super) fn look(self, state: &State) -> Option<Register> {
        match self {
            At::Register(frame, n) => state.frames.get(frame)?.regs.get(usize::from(n)).copied(),
            At::Slot(frame, slot) => {
                let slot = state.frames.get(frame)?.stack.get(slot)?;
                slot.is_spill().then(|| *slot.register())
            }
        }
    }
}

/// What happened to a value that is followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    /// Here it came to be.
    Made,
    /// It was there when the function, or the program, began.
    Given,
    /// Arithmetic with a constant.
    Changed,
    /// Another value that is followed was added.
    Combined,
    /// A comparison told something of it.
    Checked,
    /// A call took away what was known of it.
    Lost,
}

/// Something that happened to a value that is followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    /// At which instruction of the path.
    pub index: usize,
    pub what: What,
    /// Where the value is after it.
    pub at: At,
    /// Which of the values that are followed: 0 is what was asked for; what was added to it comes
    /// after it.
    pub thread: usize,
}

/// Everything that happened to what a register holds before an instruction of the path, the last first.
pub(super) fn trace(case: &Case<'_>, index: usize, register: u8) -> Vec<Event> {
    let Some(state) = case.path.get(index) else { return Vec::new() };
    let mut tracing = Tracing { case, events: Vec::new(), followed: Vec::new(), threads: 1 };
    tracing.followed.push((At::Register(state.top(), register), 0));
    for index in (0..index).rev() {
        tracing.back(index);
        if tracing.followed.is_empty() || tracing.events.len() > MAX_EVENTS {
            return tracing.events;
        }
    }
    for (at, thread) in std::mem::take(&mut tracing.followed) {
        tracing.events.push(Event { index: 0, what: What::Given, at, thread });
    }
    tracing.events
}

struct Tracing<'c, 'a> {
    case: &'c Case<'a>,
    events: Vec<Event>,
    followed: Vec<(At, usize)>,
    threads: usize,
}

impl Tracing<'_, '_> {
    /// What the instruction with this number did to what is followed.
    fn back(&mut self, index: usize) {
        let (before, after) = (&self.case.path[index], &self.case.path[index + 1]);
        let Some(op) = self.case.op(before.slot) else { return };
        let (was, is) = (before.top(), after.top());
        let mut kept = Vec::new();
        for (at, thread) in std::mem::take(&mut self.followed) {
            let effect = self.effect(op, before, at);
            let mut event = |what| self.events.push(Event { index, what, at, thread });
            if is > was {
                // A function was entered.
                match at {
                    At::Register(frame, n @ 1..=5) if frame == is => {
                        let is_call = matches!(op, Op::CallLocal { .. });
                        if is_call {
                            kept.push((At::Register(was, n), thread));
                        } else {
                            event(What::Given);
                        }
                    }
                    At::Register(frame, _) | At::Slot(frame, _) if frame == is => {
                        event(What::Given);
                    }
                    _ => kept.push((at, thread)),
                }
                continue;
            }
            if is < was {
                // A function was left.
                match at {
                    At::Register(frame, 0) if frame == is => {
                        kept.push((At::Register(was, 0), thread));
                    }
                    At::Register(frame, 1..=5) if frame == is => event(What::Lost),
                    _ => kept.push((at, thread)),
                }
                continue;
            }
            match effect {
                Effect::None => {
                    let changed = match (at.look(before), at.look(after)) {
                        (Some(before), Some(after)) => {
                            before.kind != after.kind
                                || before.object != after.object
                                || before.value != after.value
                        }
                        _ => false,
                    };
                    if changed {
                        let is_check = matches!(op, Op::JumpIf { .. });
                        event(if is_check { What::Checked } else { What::Lost });
                    }
                    kept.push((at, thread));
                }
                Effect::Made => event(What::Made),
                Effect::Lost => event(What::Lost),
                Effect::Copied(from) => kept.push((from, thread)),
                Effect::Changed => {
                    event(What::Changed);
                    kept.push((at, thread));
                }
                Effect::Combined(with) => {
                    event(What::Combined);
                    // What it is called goes on with the pointer, whichever operand that is.
                    let is_number = |at: At| at.look(before).is_some_and(|held| held.is_scalar());
                    let swapped = is_number(at) && !is_number(with);
                    let (first, second) = if swapped { (with, at) } else { (at, with) };
                    kept.push((first, thread));
                    kept.push((second, self.threads));
                    self.threads += 1;
                }
            }
        }
        self.followed = kept;
    }

    /// What an instruction does to a place of the function that runs.
    fn effect(&self, op: Op, before: &State, at: At) -> Effect {
        let top = before.top();
        let register = |reg: Reg| At::Register(top, reg.0);
        let sets = |reg: Reg| at == register(reg);
        match op {
            Op::Alu { op: AluOp::Mov, dst, src, .. } if sets(dst) => match src {
                Operand::Reg(src) => Effect::Copied(register(src)),
                Operand::Imm(_) => Effect::Made,
            },
            Op::Alu { dst, src: Operand::Reg(src), .. } if sets(dst) && src != dst => {
                let known = register(src).look(before).is_some_and(|src| src.number().is_some());
                match known {
                    true => Effect::Changed,
                    false => Effect::Combined(register(src)),
                }
            }
            Op::Alu { dst, .. } | Op::Neg { dst, .. } | Op::End { dst, .. } if sets(dst) => {
                Effect::Changed
            }
            Op::MovSx { dst, src, .. } | Op::AddrSpaceCast { dst, src, .. } if sets(dst) => {
                Effect::Copied(register(src))
            }
            Op::LoadImm64 { dst, .. } | Op::LoadAcquire { dst, .. } if sets(dst) => Effect::Made,
            Op::Load { dst, base, off, .. } if sets(dst) => {
                let from = stack_slot(before, base, off).map(|(frame, slot)| At::Slot(frame, slot));
                match from.filter(|from| from.look(before).is_some()) {
                    Some(from) => Effect::Copied(from),
                    None => Effect::Made,
                }
            }
            Op::Store { base, off, src, .. } => match (stack_slot(before, base, off), src) {
                (Some((frame, slot)), Operand::Reg(src)) if at == At::Slot(frame, slot) => {
                    Effect::Copied(register(src))
                }
                (Some((frame, slot)), _) if at == At::Slot(frame, slot) => Effect::Made,
                _ => Effect::None,
            },
            Op::Atomic { fetch: true, src, .. } if sets(src) => Effect::Made,
            Op::CallHelper { .. } | Op::CallKfunc { .. } | Op::CallLocal { .. } => match at {
                At::Register(frame, 0) if frame == top => Effect::Made,
                At::Register(frame, 1..=5) if frame == top => Effect::Lost,
                _ => Effect::None,
            },
            _ => Effect::None,
        }
    }
}

enum Effect {
    None,
    Made,
    Lost,
    Changed,
    Copied(At),
    Combined(At),
}

/// The slot of the stack that an access with a constant offset is to.
pub(super) fn stack_slot(state: &State, base: Reg, off: i16) -> Option<(usize, usize)> {
    let pointer = state.frame().regs.get(usize::from(base.0))?;
    if !pointer.kind.is(Base::Stack) {
        return None;
    }
    let offset = (pointer.known()? as i64).checked_add(off.into())?;
    (-512..0).contains(&offset).then(|| (pointer.frame(), place(offset).0))
}

impl Case<'_> {
    /// What the source calls what is at a place before an instruction of the path.
    pub(super) fn variable(&self, index: usize, at: At) -> Option<&str> {
        let state = self.path.get(index)?;
        let (frame, wanted) = match at {
            At::Register(frame, n) if usize::from(n) != FP => (frame, Home::Register(n)),
            At::Slot(frame, slot) => (frame, Home::Stack(-((slot as i64 + 1) * 8))),
            _ => return None,
        };
        self.variable_at(state.frame_slot(frame), wanted)
    }

    /// What the source calls what is at home there in a slot.
    pub(super) fn variable_at(&self, slot: usize, home: Home) -> Option<&str> {
        let slot = slot as u32;
        let functions = self.program.functions;
        let function = functions.partition_point(|function| function.insn <= slot);
        let function = functions.get(function.checked_sub(1)?)?;
        let name = self.program.btf?.name(function.func);
        let at = slot - function.insn;
        let is_it = |variable: &&super::Variable| {
            variable.home == home
                && variable.function == name
                && (variable.start..variable.end).contains(&at)
        };
        let names = || self.variables.iter().filter(is_it).map(|variable| variable.name.as_str());
        // Of several, the one that the line has.
        let place = source::place(self.program, slot as usize);
        let in_line = place.and_then(|place| names().find(|name| place.has(name)));
        in_line.or_else(|| names().next())
    }

    /// What the source calls what a register holds before an instruction of the path: by what the
    /// debugger knows, by the assignment that it came from, or by its number.
    pub(super) fn name(&self, index: usize, n: u8, events: &[Event], thread: usize) -> String {
        let Some(state) = self.path.get(index) else { return format!("r{n}") };
        if let Some(name) = self.variable(index, At::Register(state.top(), n)) {
            return name.to_owned();
        }
        self.origin_name(events, thread).unwrap_or_else(|| format!("r{n}"))
    }

    /// What the source calls a value that is followed, by where it came from.
    pub(super) fn origin_name(&self, events: &[Event], thread: usize) -> Option<String> {
        let own = || events.iter().filter(|event| event.thread == thread);
        // Where it was still called something: arithmetic may have gone on in place.
        for event in own() {
            if matches!(event.what, What::Changed | What::Combined | What::Checked | What::Lost)
                && let Some(name) = self.variable(event.index, event.at)
            {
                return Some(name.to_owned());
            }
        }
        let made = own().find(|event| event.what == What::Made)?;
        let after = self.variable(made.index + 1, made.at);
        if let Some(name) = after {
            return Some(name.to_owned());
        }
        let place = source::place(self.program, self.path[made.index].slot)?;
        place.assigned().map(str::to_owned)
    }

    /// Bytes of the stack from an offset on that nothing was written to.
    pub(super) fn unwritten(&self, state: &State, frame: usize, from: i64, size: i64) -> Vec<i64> {
        let Some(frame) = state.frames.get(frame) else { return Vec::new() };
        let is_unwritten = |offset: &i64| {
            if !(-512..0).contains(offset) {
                return false;
            }
            let (slot, byte) = place(*offset);
            frame
                .stack
                .get(slot)
                .is_none_or(|slot| matches!(slot.bytes[byte], Byte::Invalid | Byte::Poison))
        };
        (from..from.saturating_add(size.clamp(0, 512))).filter(is_unwritten).collect()
    }
}
