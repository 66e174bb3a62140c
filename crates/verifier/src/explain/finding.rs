//! What is missing: the fact as an inequality, what is known instead, and numbers that break it.

use bombus_isa::{Op, Operand};

use super::class::{Class, Shape};
use super::trace::{Event, What, trace};
use super::words::numbers;
use super::{Case, Home, source};
use crate::state::{Base, Flags, MAX_OFFSET, Object, Register};

/// What was found out about a refusal.
#[derive(Default)]
pub(super) struct Finding {
    /// The register that is to blame.
    pub register: Option<u8>,
    /// What the source calls it.
    pub name: String,
    /// What of the source it is about.
    pub subject: Option<String>,
    /// A more particular class, by what happened.
    pub class: Option<&'static Class>,
    /// What happened to what it holds.
    pub events: Vec<Event>,
    /// What is wrong, in a line.
    pub message: String,
    pub needs: Option<String>,
    pub proven: Option<String>,
    pub witness: Option<String>,
    /// A number that must be in a range for the access to be right.
    pub limits: Option<Limits>,
}

/// Between which numbers something must be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub min: i64,
    pub max: i64,
}

impl Finding {
    pub(super) fn of(case: &Case<'_>, class: &'static Class) -> Finding {
        let mut finding = Finding { message: class.title.to_owned(), ..Finding::default() };
        let Some(state) = case.last() else { return finding };
        let index = case.path.len() - 1;
        let slot = state.slot;
        finding.register = case.to_blame(slot, class.shape);
        if let Some(n) = finding.register {
            finding.events = trace(case, index, n);
            finding.name = case.name(index, n, &finding.events, 0);
            if finding.name.starts_with('r')
                && finding.name[1..].parse::<u8>().is_ok()
                && let Some(place) = source::place(case.program, slot)
                && let Some(name) = place.pointer()
                && matches!(case.op(slot), Some(Op::Load { .. } | Op::Store { .. }))
            {
                finding.name = name.to_owned();
            }
        }
        let register = finding.register.and_then(|n| case.register(n));
        match (class.shape, register) {
            (Shape::Null, Some(register)) => finding.null(case, &register),
            (Shape::Bounds, Some(register)) => finding.bounds(case, &register),
            (Shape::Packet, Some(register)) => finding.packet(case, &register),
            (Shape::StackRead, _) => finding.stack_read(case, slot),
            (Shape::Length, Some(register)) => finding.length(case, &register),
            (Shape::Offset, Some(register)) => finding.offset(case, &register),
            (Shape::Result, Some(register)) => finding.result(case, &register),
            (Shape::Leak, _) => finding.leak(case),
            (Shape::Section, _) => {
                finding.needs = Some("the section is closed on every path".into())
            }
            (Shape::Unset, _) => finding.unset(case, slot),
            (Shape::NoPointer, Some(register)) => finding.no_pointer(case, &register),
            (Shape::Operand, Some(register)) if register.is_scalar() && finding.lost(case) => {
                finding.no_pointer(case, &register);
            }
            (Shape::Operand, Some(register)) => {
                let expected = case.rejection.message.split_once("expected=");
                finding.needs = expected.map(|(_, kinds)| {
                    let kinds = kinds.lines().next().unwrap_or_default();
                    format!("`{}` is one of {kinds}", finding.name)
                });
                finding.proven = Some(format!("`{}` is {}", finding.name, case.words(&register)));
            }
            _ => {}
        }
        finding
    }

    fn null(&mut self, case: &Case<'_>, register: &Register) {
        let name = &self.name;
        self.message = format!("`{name}` may be null here");
        self.needs = Some(format!("{name} != NULL"));
        self.proven = Some(format!("`{name}` is {}", case.words(register)));
        let because = match register.kind.base {
            Base::MapValue => format!(" (`{}` has no such element)", case.map_name(register)),
            _ if register.kind.flags.has(Flags::RINGBUF) => " (there is no room)".to_owned(),
            _ => String::new(),
        };
        self.witness = Some(format!("{name} = NULL{because}"));
    }

    /// The access goes from `pointer + off` on for so many bytes.
    pub(super) fn access(case: &Case<'_>, n: u8) -> Option<(i64, i64)> {
        match case.op(case.rejection.slot?)? {
            Op::Load { size, off, .. }
            | Op::LoadAcquire { size, off, .. }
            | Op::Store { size, off, .. }
            | Op::StoreRelease { size, off, .. }
            | Op::Atomic { size, off, .. } => Some((off.into(), size.bytes() as i64)),
            Op::CallHelper { .. } | Op::CallKfunc { .. } => {
                // Its length is what is passed next, or stands in the kernel's words.
                let message = &case.rejection.message;
                let said = number_after(message, "size=").or(number_after(message, "size "));
                let next = case.register(n + 1).filter(Register::is_scalar);
                let length = next.map(|next| next.umax().min(1 << 30) as i64);
                Some((0, said.or(length)?))
            }
            _ => None,
        }
    }

    fn packet(&mut self, case: &Case<'_>, register: &Register) {
        let Some((off, size)) = Finding::access(case, self.register.unwrap_or(0)) else { return };
        let known = register.known().map(|known| known as i64);
        let start = known.unwrap_or_else(|| register.umax().min(0xffff) as i64).saturating_add(off);
        let end = start.saturating_add(size);
        let range = i64::from(register.range().max(0));
        let (data, limit) = match register.kind.base {
            Base::PacketMeta => ("data_meta", "data"),
            _ => ("data", "data_end"),
        };
        let data = self.start_name(case, data);
        let limit = self.end_name(case).unwrap_or_else(|| limit.to_owned());
        self.message = match (range, register.range() < 0) {
            (_, true) => "the access begins at or behind the packet's end".to_owned(),
            (0, _) => "nothing has shown that the packet is long enough".to_owned(),
            _ => format!("only {range} bytes of the packet are known to be there"),
        };
        match known {
            Some(_) => {
                self.needs = Some(format!("{data} + {end} <= {limit}"));
                self.proven = Some(match range {
                    0 => format!("nothing of `{limit}`"),
                    _ => format!("{data} + {range} <= {limit}"),
                });
                self.witness = Some(format!(
                    "a packet of {range} bytes: the access is to bytes {start} to {}",
                    end - 1
                ));
                self.limits = Some(Limits { min: 0, max: end });
            }
            None => {
                let name = &self.name;
                self.needs = Some(format!("{name} + {} <= {limit}", off + size));
                self.proven = Some(format!("`{name}` is {}", case.words(register)));
                self.witness =
                    Some(format!("a packet that ends at `{name}`: {size} bytes are missing"));
            }
        }
    }

    /// What the source calls the packet's start.
    fn start_name(&self, case: &Case<'_>, otherwise: &str) -> String {
        let made = self.events.iter().find(|event| event.what == What::Made && event.thread == 0);
        let Some(made) = made else { return otherwise.to_owned() };
        let place = source::place(case.program, case.path[made.index].slot);
        let after = case.variable(made.index + 1, made.at).map(str::to_owned);
        place
            .and_then(|place| place.assigned().map(str::to_owned))
            .or(after)
            .unwrap_or_else(|| otherwise.to_owned())
    }

    /// What the source calls the packet's end.
    fn end_name(&self, case: &Case<'_>) -> Option<String> {
        let path = &case.path;
        let made = path.windows(2).find_map(|pair| {
            let Op::Load { dst, .. } = case.op(pair[0].slot)? else { return None };
            let register = pair[1].frame().regs[usize::from(dst.0)];
            register.kind.is(Base::PacketEnd).then_some((pair, dst))
        })?;
        let (pair, dst) = made;
        let place = source::place(case.program, pair[0].slot);
        let assigned = place.and_then(|place| place.assigned().map(str::to_owned));
        assigned
            .or_else(|| case.variable_at(pair[1].slot, Home::Register(dst.0)).map(str::to_owned))
    }

    fn stack_read(&mut self, case: &Case<'_>, slot: usize) {
        let Some(state) = case.last() else { return };
        let pointer = self.register.and_then(|n| case.register(n));
        let Some(pointer) = pointer.filter(|pointer| pointer.kind.is(Base::Stack)) else { return };
        let Some((off, size)) = Finding::access(case, self.register.unwrap_or(0)) else { return };
        let Some(known) = pointer.known().map(|known| known as i64) else { return };
        let start = known.saturating_add(off);
        let unwritten = case.unwritten(state, pointer.frame(), start, size);
        let of = state.frame_slot(pointer.frame());
        let name = (0..8).find_map(|back| case.variable_at(of, Home::Stack(start - back)));
        let name = name.map(str::to_owned).or_else(|| {
            let place = source::place(case.program, slot)?;
            let at = place.text.rfind('&')?;
            let rest = &place.text[at + 1..];
            let end = rest.bytes().position(|byte| !byte.is_ascii_alphanumeric() && byte != b'_');
            Some(rest[..end.unwrap_or(rest.len())].to_owned()).filter(|name| !name.is_empty())
        });
        self.name = name.unwrap_or_else(|| format!("fp{start:+}"));
        self.message = format!("`{}` is read before it is written", self.name);
        self.needs = Some(format!("all {size} bytes of `{}` are written on every path", self.name));
        self.proven = match (unwritten.first(), unwritten.last()) {
            (Some(first), Some(last)) if unwritten.len() as i64 != size => Some(format!(
                "{} of {size} bytes are not: from byte {} to {}",
                unwritten.len(),
                first - start,
                last - start
            )),
            (Some(_), _) => Some("none of them was".into()),
            _ => None,
        };
    }

    fn length(&mut self, case: &Case<'_>, register: &Register) {
        let n = self.register.unwrap_or(0);
        let name = self.name.clone();
        let memory = n.checked_sub(1).and_then(|n| case.register(n));
        let room = memory.and_then(|memory| match memory.kind.base {
            Base::Stack => memory.known().map(|offset| -(offset as i64)),
            Base::Packet => Some(i64::from(memory.range()) - memory.known()? as i64),
            _ => case.memory(&memory).map(|size| size - memory.smax()),
        });
        let zero = case.rejection.message.contains("zero");
        let least = if zero { 1 } else { 0 };
        let most = room.filter(|room| *room > 0);
        self.limits = Some(Limits { min: least, max: most.unwrap_or(i64::MAX) });
        self.needs = Some(match most {
            Some(most) => format!("{least} <= {name} && {name} <= {most}"),
            None => format!("{name} >= {least}"),
        });
        self.proven = Some(format!("`{name}` is {}", numbers(register)));
        let breaks = match most {
            _ if zero => 0,
            _ if register.smin() < 0 => register.smin(),
            Some(_) => register.smax(),
            None => register.smin(),
        };
        self.message = format!("`{name}` may be {breaks}, as a length");
        self.witness = Some(format!("{name} = {breaks}"));
    }

    fn offset(&mut self, case: &Case<'_>, register: &Register) {
        let name = self.name.clone();
        let Some(Op::Alu { dst, src, .. }) = case.rejection.slot.and_then(|slot| case.op(slot))
        else {
            return;
        };
        let pointer = match src {
            Operand::Reg(src) if Some(dst.0) == self.register => case.register(src.0),
            _ => case.register(dst.0),
        };
        let room = pointer.and_then(|pointer| case.memory(&pointer)).filter(|room| *room > 0);
        let most = room.map_or(MAX_OFFSET, |room| room) - 1;
        self.limits = Some(Limits { min: 0, max: most });
        self.proven = Some(format!("`{name}` is {}", numbers(register)));
        self.needs = Some(format!("0 <= {name} && {name} <= {most}"));
        let breaks = if register.smin() < 0 { register.smin() } else { register.smax() };
        self.message = format!("`{name}` may be {breaks} where it is added to a pointer");
        self.witness = Some(format!("{name} = {breaks}"));
    }

    fn result(&mut self, case: &Case<'_>, register: &Register) {
        let message = &case.rejection.message;
        let range = message.rsplit_once('[').and_then(|(_, rest)| {
            let (min, max) = rest.split_once(']')?.0.split_once(", ")?;
            Some((min.parse::<i64>().ok()?, max.parse::<i64>().ok()?))
        });
        let Some((min, max)) = range else {
            self.needs = Some("the result is a number".into());
            self.proven = Some(format!("it is {}", case.words(register)));
            return;
        };
        self.limits = Some(Limits { min, max });
        self.message = match min == max {
            true => format!("the result must be {min}"),
            false => format!("the result must be from {min} to {max}"),
        };
        self.needs = Some(match min == max {
            true => format!("result == {min}"),
            false => format!("{min} <= result && result <= {max}"),
        });
        self.proven = Some(format!("it is {}", case.words(register)));
        if register.is_scalar() {
            let breaks = match (register.smax() > max, register.smin() < min) {
                (true, _) => Some(register.smax().min(max.saturating_add(1)).max(register.smin())),
                (_, true) => Some(register.smin()),
                _ => None,
            };
            self.witness = breaks.map(|number| format!("result = {number}"));
        }
    }

    fn leak(&mut self, case: &Case<'_>) {
        let Some(state) = case.last() else { return };
        let message = &case.rejection.message;
        let at = number_after(message, "alloc_insn=").map(|at| at as usize);
        let reference = state.references.iter().find(|reference| Some(reference.slot) == at);
        let reference = reference.or(state.references.last());
        let Some(reference) = reference else { return };
        let what = case.callee(reference.slot);
        let place = source::place(case.program, reference.slot);
        let assigned = place.and_then(|place| place.assigned().map(str::to_owned));
        let held = (0..10).find(|&n| case.register(n).is_some_and(|r| r.id == reference.id));
        let named = held.and_then(|n| case.variable_at(state.slot, Home::Register(n)));
        self.name = assigned.or(named.map(str::to_owned)).unwrap_or_else(|| "it".into());
        self.message = match what {
            Some(what) => format!("what {what} gave is not given back on this path"),
            None => "what the program holds is not given back on this path".to_owned(),
        };
        self.needs = Some(format!("`{}` is released, or passed on, before the end", self.name));
    }

    fn unset(&mut self, case: &Case<'_>, slot: usize) {
        let Some(n) = self.register else { return };
        let is_end = matches!(case.op(slot), Some(Op::Exit));
        let is_lost = self.events.first().is_some_and(|event| event.what == What::Lost);
        self.message = match (is_end, is_lost) {
            (true, _) => "there is no result on this path".to_owned(),
            (false, true) => format!("`r{n}` is gone after the call"),
            (false, false) => format!("`{}` is not set on this path", self.name),
        };
        self.needs = Some(match is_end {
            true => "every path returns a value".into(),
            false => format!("`{}` is set before it is read", self.name),
        });
    }

    /// Where a pointer was lost.
    fn lost_at<'s>(&'s self, case: &Case<'_>) -> Option<&'s Event> {
        let was_pointer = |event: &&Event| {
            event.what == What::Lost
                && event.at.look(&case.path[event.index]).is_some_and(|old| old.kind.is_pointer())
        };
        self.events.iter().find(was_pointer)
    }

    fn lost(&self, case: &Case<'_>) -> bool {
        self.lost_at(case).is_some()
    }

    fn no_pointer(&mut self, case: &Case<'_>, register: &Register) {
        let name = self.name.clone();
        let lost = self.lost_at(case).map(|event| (event.index, event.at));
        self.message = match lost {
            Some((index, at)) => {
                let before = &case.path[index];
                let is_packet = at.look(before).is_some_and(|old| old.kind.is_packet());
                let id = if is_packet { "packet-moved" } else { "use-after-release" };
                self.class = super::class::by_id(id);
                let callee = case.callee(before.slot);
                let callee = callee.unwrap_or_else(|| "what happened since".into());
                format!("`{name}` is no longer a pointer after {callee}")
            }
            None => format!("`{name}` is a number to the verifier, not a pointer"),
        };
        let name = &name;
        self.needs = Some(format!("`{name}` is a pointer to memory that is known"));
        self.proven = Some(format!("`{name}` is {}", numbers(register)));
    }
}

pub(super) fn numbers_between(min: i64, max: i64) -> String {
    match (min, max) {
        (i64::MIN, i64::MAX) => "any number".into(),
        (0, 0xffff_ffff) => "any 32-bit number".into(),
        (i64::MIN, max) => format!("{max} or less"),
        (min, i64::MAX) => format!("{min} or more"),
        (min, max) if min == max => min.to_string(),
        (min, max) => format!("{min} to {max}"),
    }
}

/// The number that stands after some words.
pub(super) fn number_after(text: &str, words: &str) -> Option<i64> {
    let rest = &text[text.find(words)? + words.len()..];
    let end = rest.bytes().position(|byte| !byte.is_ascii_digit() && byte != b'-');
    rest[..end.unwrap_or(rest.len())].parse().ok()
}

impl Case<'_> {
    /// The register that a refusal is about.
    fn to_blame(&self, slot: usize, shape: Shape) -> Option<u8> {
        if shape == Shape::Leak || shape == Shape::Section || shape == Shape::Program {
            return None;
        }
        let named = register_in(&self.rejection.message);
        let state = self.last()?;
        let by_instruction = match self.op(slot)? {
            Op::Load { base, .. }
            | Op::LoadAcquire { base, .. }
            | Op::Store { base, .. }
            | Op::StoreRelease { base, .. }
            | Op::Atomic { base, .. } => Some(base.0),
            Op::Alu { dst, src: Operand::Reg(src), .. } if shape == Shape::Offset => {
                let is_number = |reg: &bombus_isa::Reg| {
                    state.frame().regs.get(usize::from(reg.0)).is_some_and(Register::is_scalar)
                };
                return [src, dst].iter().find(|reg| is_number(reg)).map(|reg| reg.0);
            }
            Op::Alu { dst, .. } | Op::JumpIf { dst, .. } => Some(dst.0),
            Op::Exit => Some(0),
            Op::CallHelper { .. } | Op::CallKfunc { .. } => {
                let is_stack = |n: &u8| {
                    let register = state.frame().regs[usize::from(*n)];
                    register.kind.is(Base::Stack) && matches!(register.object, Object::Frame(_))
                };
                (1..=5).find(is_stack).filter(|_| shape == Shape::StackRead)
            }
            _ => None,
        };
        named.or(by_instruction).filter(|n| *n <= 10)
    }
}

/// The register that a message names first: `R7 ...`.
fn register_in(message: &str) -> Option<u8> {
    let bytes = message.as_bytes();
    let is_register = |at: &usize| {
        let starts = at.checked_sub(1).is_none_or(|before| !bytes[before].is_ascii_alphanumeric());
        starts && bytes[*at] == b'R' && bytes.get(at + 1).is_some_and(u8::is_ascii_digit)
    };
    let at = (0..bytes.len()).find(is_register)?;
    let rest = &message[at + 1..];
    let end = rest.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}
