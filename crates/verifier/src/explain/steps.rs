//! How it comes to a refusal, in the fewest steps: where what is to blame came from, what was found out
//! about it, where it was lost; or where what is still held was taken.

use bombus_isa::{Op, Operand};

use super::class::{Class, Shape};
use super::finding::Finding;
use super::source::{self, Place};
use super::trace::{At, Event, What};
use super::{Case, Step};
use crate::state::{Base, State};

/// Steps that are shown at most.
const MAX_STEPS: usize = 8;

/// The steps, in the order in which they happen.
pub(super) fn steps(case: &Case<'_>, class: &Class, finding: &Finding) -> Vec<Step> {
    let mut steps = match class.shape {
        Shape::Leak => taken(case),
        Shape::Section | Shape::Sleep => opened(case),
        _ => Vec::new(),
    };
    if steps.is_empty() {
        steps = of_value(case, finding);
    } else if case.path.len() > 1 {
        let index = case.path.len() - 1;
        steps.extend(last_branch(case, steps.last().map_or(0, |(index, _)| *index), index));
    }
    steps.sort_by_key(|(index, _)| *index);
    let mut shown: Vec<Step> = Vec::new();
    for (index, text) in steps {
        let slot = case.path[index].slot;
        let step = Step { slot, place: source::place(case.program, slot), text };
        // What a loop does again says nothing new.
        if shown.iter().any(|other| other.slot == step.slot && other.text == step.text) {
            continue;
        }
        match shown.last_mut() {
            Some(last) if same_line(&last.place, &step.place) && last.text == step.text => {}
            _ => shown.push(step),
        }
    }
    if shown.len() > MAX_STEPS {
        // The origin, and what happened last.
        let from = shown.len() - (MAX_STEPS - 1);
        shown.drain(1..from);
    }
    shown
}

fn same_line(a: &Option<Place>, b: &Option<Place>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a.line, &a.file) == (b.line, &b.file),
        _ => false,
    }
}

/// What happened to what a register holds.
fn of_value(case: &Case<'_>, finding: &Finding) -> Vec<(usize, String)> {
    let step = |event: &Event| Some((event.index, text(case, finding, event)?));
    finding.events.iter().filter_map(step).collect()
}

fn text(case: &Case<'_>, finding: &Finding, event: &Event) -> Option<String> {
    let state = &case.path[event.index];
    let after = case.path.get(event.index + 1)?;
    let name = match event.thread {
        0 => finding.name.clone(),
        thread => case.origin_name(&finding.events, thread).unwrap_or_else(|| match event.at {
            At::Register(_, n) => format!("r{n}"),
            At::Slot(_, slot) => format!("what is at r10{}", -((slot as i64 + 1) * 8)),
        }),
    };
    let is = event.at.look(after);
    let held = is.map(|register| case.words(&register));
    Some(match event.what {
        What::Made => {
            let held = held?;
            match case.callee(state.slot) {
                Some(callee) => format!("{callee} gives {held}"),
                None => match case.op(state.slot)? {
                    Op::Load { base, .. } => {
                        let from = state.frame().regs[usize::from(base.0)];
                        format!("`{name}` is read from {}: {held}", from_where(case, &from))
                    }
                    _ => format!("`{name}` becomes {held}"),
                },
            }
        }
        What::Given => {
            let held = event.at.look(state)?;
            // The frame pointer, or nothing.
            if held.kind.is(Base::Stack) || held.kind.is(Base::NotInit) {
                return None;
            }
            let held = case.words(&held);
            format!("`{name}` is {held} at the start")
        }
        // What a pointer became by arithmetic counts, and what is followed beside it does.
        What::Changed => return None,
        What::Combined => format!("with what is added, it is {}", held?),
        What::Checked => {
            let is = is?;
            let (was, known) = (event.at.look(state)?, held?);
            let comparison = comparison(case, event.index)?;
            if was.kind.may_be_null() && !is.kind.may_be_null() {
                format!("`{comparison}`: on this path `{name}` is not null")
            } else {
                format!("`{comparison}`: on this path `{name}` is {known}")
            }
        }
        What::Lost => {
            let callee = case.callee(state.slot).unwrap_or_else(|| "this".into());
            let was = event.at.look(state)?;
            if was.kind.is_packet() {
                format!("{callee} may move the packet: pointers into it are no longer good")
            } else if was.kind.is_pointer() {
                format!("after {callee} the pointer is no longer good")
            } else {
                format!("{callee} leaves r1 to r5 undefined")
            }
        }
    })
}

fn from_where(case: &Case<'_>, from: &crate::state::Register) -> String {
    match from.kind.base {
        Base::Ctx => "the context".into(),
        Base::Stack => "the stack".into(),
        Base::Packet => "the packet".into(),
        Base::MapValue => format!("a value of `{}`", case.map_name(from)),
        _ => "memory".into(),
    }
}

/// The comparison at an instruction of the path, as the source has it, or as the instruction is.
fn comparison(case: &Case<'_>, index: usize) -> Option<String> {
    let state = &case.path[index];
    let Op::JumpIf { cond, dst, src, .. } = case.op(state.slot)? else { return None };
    let place = source::place(case.program, state.slot);
    if let Some(condition) = place.as_ref().and_then(Place::condition) {
        return Some(condition.to_owned());
    }
    let named = |n: u8| {
        let name = case.variable(index, At::Register(state.top(), n));
        name.map_or_else(|| format!("r{n}"), str::to_owned)
    };
    let right = match src {
        Operand::Imm(number) => number.to_string(),
        Operand::Reg(src) => named(src.0),
    };
    Some(format!("{} {} {right}", named(dst.0), cond.symbol()))
}

/// Where what was not given back was taken.
fn taken(case: &Case<'_>) -> Vec<(usize, String)> {
    let Some(last) = case.last() else { return Vec::new() };
    let at = super::finding::number_after(&case.rejection.message, "alloc_insn=");
    let held = last.references.iter().find(|held| at == Some(held.slot as i64));
    let Some(held) = held.or(last.references.last()) else { return Vec::new() };
    let Some(index) = case.path.iter().rposition(|state| state.slot == held.slot) else {
        return Vec::new();
    };
    let callee = case.callee(held.slot).unwrap_or_else(|| "this".into());
    vec![(index, format!("{callee} gives something that must be given back"))]
}

/// Where sections that are still open began.
fn opened(case: &Case<'_>) -> Vec<(usize, String)> {
    type Depth = fn(&State) -> u32;
    const SECTIONS: [(Depth, &str); 4] = [
        (|state| state.locks, "takes a lock"),
        (|state| state.rcu, "begins an RCU section"),
        (|state| state.preempt_off, "turns preemption off"),
        (|state| u32::from(state.irq_id != 0), "turns interrupts off"),
    ];
    let Some(last) = case.last() else { return Vec::new() };
    let mut steps = Vec::new();
    for (depth, what) in SECTIONS {
        if depth(last) == 0 {
            continue;
        }
        let closed = case.path.iter().rposition(|state| depth(state) == 0);
        let Some(index) = closed else { continue };
        let callee = case.callee(case.path[index].slot).unwrap_or_else(|| "this".into());
        steps.push((index, format!("{callee} {what}")));
    }
    steps
}

/// The last branch before an instruction, after another: where this path left those that do it right.
fn last_branch(case: &Case<'_>, after: usize, before: usize) -> Option<(usize, String)> {
    let is_branch =
        |index: &usize| matches!(case.op(case.path[*index].slot), Some(Op::JumpIf { .. }));
    let index = (after + 1..before).rev().find(is_branch)?;
    let comparison = comparison(case, index)?;
    let line = source::place(case.program, case.path.get(index + 1)?.slot).map(|place| place.line);
    let on = match line {
        Some(line) => format!("line {line}"),
        None => format!("instruction {}", case.path[index + 1].slot),
    };
    Some((index, format!("`{comparison}`: from here the path goes on to {on}")))
}
