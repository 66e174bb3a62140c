//! What is missing where a pointer and a number go beyond what is there.

use bombus_isa::{AluOp, Op, Operand};

use super::Case;
use super::finding::Finding;
use super::finding::{Limits, numbers_between};
use super::trace::{At, Event, What};
use crate::state::{Base, Register};

impl Finding {
    pub(super) fn bounds(&mut self, case: &Case<'_>, register: &Register) {
        let Some((off, size)) = Finding::access(case, self.register.unwrap_or(0)) else { return };
        let is_stack = register.kind.is(Base::Stack);
        let (low, high) = match (is_stack, case.memory(register)) {
            (true, _) => (-512, 0),
            (false, Some(memory)) => (0, memory),
            (false, None) => {
                self.proven = Some(format!("`{}` is {}", self.name, case.words(register)));
                return;
            }
        };
        let what = match register.kind.base {
            Base::Stack => "the stack".to_owned(),
            Base::MapValue => format!("the value of `{}`", case.map_name(register)),
            _ => "the memory".to_owned(),
        };
        let (first, last) =
            (register.smin().saturating_add(off), register.smax().saturating_add(off));
        let is_unlimited = register.known().is_none()
            && (register.smin() < -(1 << 30) || register.smax() > 1 << 30);
        self.message = match register.known() {
            Some(_) => format!("the access is outside of {what}"),
            None => format!("the access may be outside of {what}"),
        };
        self.limits =
            Some(Limits { min: low - off, max: high.saturating_sub(size).saturating_sub(off) });
        // In terms of the number that was added, where it is one with a name.
        if let Some(index) = self.index(case) {
            let Index { name, scale, added, min, max } = index;
            let base = added.saturating_add(off);
            let least = div_up(low.saturating_sub(base), scale);
            let most = high.saturating_sub(size).saturating_sub(base).div_euclid(scale);
            let known = numbers_between(min, max);
            self.proven = Some(format!("`{name}` is {known}"));
            let (needs, breaks) = match (min >= least, max <= most) {
                (true, _) => (format!("{name} <= {most}"), max),
                (false, true) => (format!("{name} >= {least}"), min),
                (false, false) => (format!("{least} <= {name} && {name} <= {most}"), max),
            };
            let at = base.saturating_add(breaks.saturating_mul(scale));
            self.needs = Some(needs);
            let end = at.saturating_add(size);
            self.witness = Some(match high {
                0 if size == 1 => format!("{name} = {breaks}: the byte at r10{at:+}"),
                0 => format!("{name} = {breaks}: {size} bytes at r10{at:+}"),
                _ if size == 1 => format!("{name} = {breaks}: byte {at} of {high}"),
                _ => format!("{name} = {breaks}: bytes {at} to {} of {high}", end - 1),
            });
            self.subject = Some(name);
            return;
        }
        let name = &self.name;
        let (needs, end) = match is_stack {
            true => (format!("-512 <= offset && offset + {size} <= 0"), 0),
            false => (format!("0 <= offset && offset + {size} <= {high}"), high),
        };
        self.needs = Some(needs);
        self.proven = Some(match is_unlimited {
            true => format!("`{name}` is {}: nothing limits its offset", case.words(register)),
            false => format!("the offset is {}", numbers_between(first, last)),
        });
        let breaks = if last.saturating_add(size) > end { last } else { first };
        self.witness = Some(format!("offset = {breaks}"));
    }

    /// The number that was added to the pointer, and what was made of it before.
    fn index(&self, case: &Case<'_>) -> Option<Index> {
        let combined: Vec<&Event> = self
            .events
            .iter()
            .filter(|event| event.what == What::Combined && event.thread == 0)
            .collect();
        let [combined] = combined[..] else { return None };
        let thread = combined.thread + 1;
        // The pointer's own constant offset is what it has without the number.
        let Some(Op::Alu { op: AluOp::Add, dst, src: Operand::Reg(src), .. }) =
            case.op(case.path[combined.index].slot)
        else {
            return None;
        };
        let state = &case.path[combined.index];
        let frame = state.frame();
        let (left, right) = (frame.regs[usize::from(dst.0)], frame.regs[usize::from(src.0)]);
        let (pointer, number, of) =
            if left.is_scalar() { (right, left, dst) } else { (left, right, src) };
        if pointer.is_scalar() || !number.is_scalar() {
            return None;
        }
        let mut added = pointer.known()? as i64;
        for event in &self.events {
            if event.thread == 0 && event.what == What::Changed && event.index > combined.index {
                match case.op(case.path[event.index].slot)? {
                    Op::Alu { op: AluOp::Add, src: Operand::Imm(by), .. } => {
                        added = added.saturating_add(by.into())
                    }
                    Op::Alu { op: AluOp::Sub, src: Operand::Imm(by), .. } => {
                        added = added.saturating_sub(by.into())
                    }
                    _ => return None,
                }
            }
        }
        // Back through multiplications, as long as these lose nothing.
        let (mut scale, mut at) = (1_i64, number);
        let mut name =
            case.variable(combined.index, At::Register(state.top(), of.0)).map(str::to_owned);
        for event in self.events.iter().filter(|event| event.thread == thread) {
            let state = &case.path[event.index];
            match (event.what, case.op(state.slot)) {
                (What::Changed, Some(Op::Alu { op, width, src: Operand::Imm(by), .. }))
                    if name.is_none() =>
                {
                    let factor = match op {
                        AluOp::Lsh if (0..32).contains(&by) => 1_i64 << by,
                        AluOp::Mul if by > 0 => by.into(),
                        _ => break,
                    };
                    let before = event.at.look(state)?;
                    let fits = before.smin() >= i64::MIN / factor / scale
                        && before.smax() <= i64::MAX / factor / scale;
                    if !fits || width == bombus_isa::Width::W32 {
                        break;
                    }
                    scale = scale.checked_mul(factor)?;
                    at = before;
                    name = case.variable(event.index, event.at).map(str::to_owned);
                }
                (What::Checked, _) => {}
                _ => break,
            }
        }
        let name = name.or_else(|| case.origin_name(&self.events, thread))?;
        Some(Index { name, scale, added, min: at.smin(), max: at.smax() })
    }
}

/// A number that was added to a pointer: `pointer + added + name * scale`.
struct Index {
    name: String,
    scale: i64,
    added: i64,
    min: i64,
    max: i64,
}

fn div_up(a: i64, b: i64) -> i64 {
    a.saturating_neg().div_euclid(b).saturating_neg()
}
