//! Changes that would help. Each is made on the code and verified; only one with which the program comes
//! past what was refused is suggested.

use bombus_isa::opcode::{alu, jmp};
use bombus_isa::{AluOp, Insn, Op, Operand, Reg, Size};
use bombus_platform::{HELPER_NAMES, Helper, ProgType};

use super::class::{Class, Shape};
use super::edit::Edited;
use super::finding::{Finding, Limits};
use super::source;
use super::trace::What;
use super::{Case, Suggestion};
use crate::fields::FieldKind;
use crate::program::{F_SLEEPABLE, Program};
use crate::state::{Base, Register, State};
use crate::verdict::Verdict;
use crate::walk::errno::E2BIG;

/// Candidates that are verified at most.
const MAX_TRIES: usize = 24;
/// Instructions that are walked for them at most, together, over what the refusal took.
const MAX_WALKED: u64 = 2_000_000;

/// A change to be tried.
struct Candidate {
    /// What it is, in source terms.
    text: String,
    change: Change,
}

enum Change {
    /// Instructions before this slot.
    Insert(usize, Vec<Insn>),
    /// Instructions before the second slot, where a function's start keeps something for them.
    Keep(usize, Insn, usize, Vec<Insn>),
    /// Instructions where a jump goes on to a slot.
    Between(usize, usize, Vec<Insn>),
    /// Another licence.
    Licence,
    /// The program may sleep.
    Sleepable,
}

/// A change that helps.
pub(super) fn suggestion(case: &Case<'_>, class: &Class, finding: &Finding) -> Option<Suggestion> {
    let candidates = candidates(case, class, finding);
    let mut best: Option<Suggestion> = None;
    let tries = (MAX_WALKED / u64::from(case.processed).max(1)).clamp(2, MAX_TRIES as u64);
    for candidate in candidates.into_iter().take(tries as usize) {
        let Some(found) = tried(case, candidate, class) else { continue };
        if found.accepted {
            return Some(found);
        }
        best = best.or(Some(found));
    }
    best
}

/// Verifies a change: what becomes of it when the program comes past what was refused.
fn tried(case: &Case<'_>, candidate: Candidate, class: &Class) -> Option<Suggestion> {
    let program = case.program;
    let (verdict, inserted): (Verdict, Option<(usize, &[Insn])>) = match &candidate.change {
        Change::Insert(at, new) => {
            let edited = Edited::insert(program, *at, new)?;
            (case.verify(&edited.program(program)), Some((*at, new)))
        }
        Change::Keep(start, keep, at, new) => {
            let edited = Edited::insert(program, *at, new)?;
            let with_check = edited.program(program);
            let edited = Edited::insert(&with_check, *start, &[*keep])?;
            (case.verify(&edited.program(program)), Some((*at, new)))
        }
        Change::Between(jump, to, new) => {
            let edited = Edited::insert_between(program, *jump, *to, new)?;
            (case.verify(&edited.program(program)), Some((*to, new)))
        }
        Change::Licence => {
            (case.verify(&Program { gpl_compatible: true, ..program.clone() }), None)
        }
        Change::Sleepable => {
            let flags = program.flags | F_SLEEPABLE;
            (case.verify(&Program { flags, ..program.clone() }), None)
        }
    };
    let then = match &verdict.result {
        Ok(()) => None,
        Err(next) => {
            let (Change::Insert(..) | Change::Licence | Change::Sleepable) = candidate.change else {
                return None;
            };
            if next.errno == E2BIG {
                return None;
            }
            // Refused at the same place, or in what was put in: it does not help.
            let slot = next.slot?;
            let count = inserted.map_or(0, |(_, new)| new.len());
            let at = inserted.map_or(0, |(at, _)| at);
            if (at..at + count).contains(&slot) {
                return None;
            }
            let old = if slot >= at + count { slot - count } else { slot };
            let same_class = super::class::of(&next.message).id == class.id;
            // It must not be refused before that, or because of what was put in.
            let is_consequence = matches!(class.shape, Shape::Leak | Shape::Section) && !same_class;
            if Some(old) == case.rejection.slot
                || verdict.stats.processed < case.path.len() as u32
                || is_consequence
            {
                return None;
            }
            Some(next.message.lines().next().unwrap_or_default().to_owned())
        }
    };
    let place = inserted.and_then(|(at, _)| source::place(program, at));
    let inserted = inserted.map(|(at, new)| (at, listed(case, new)));
    Some(Suggestion { text: candidate.text, place, inserted, accepted: then.is_none(), then })
}

/// Instructions as text.
fn listed(case: &Case<'_>, insns: &[Insn]) -> Vec<String> {
    let text = |insn: &Insn| {
        insn.decode(None).map_or_else(|_| String::new(), |op| op.display(case).to_string())
    };
    insns.iter().map(text).collect()
}

fn candidates(case: &Case<'_>, class: &Class, finding: &Finding) -> Vec<Candidate> {
    let Some(slot) = case.rejection.slot else { return Vec::new() };
    // Tables of places in the code are not mended.
    let has_tables =
        case.program.maps.iter().any(|map| map.map_type == bombus_platform::MapType::InsnArray);
    match class.shape {
        Shape::Licence => {
            let text = "declare the licence: `char _license[] SEC(\"license\") = \"GPL\";`";
            return vec![Candidate { text: text.into(), change: Change::Licence }];
        }
        Shape::Sleep if case.program.flags & F_SLEEPABLE == 0 => {
            let text = "make the program sleepable, by the `.s` of its section's name";
            return vec![Candidate { text: text.into(), change: Change::Sleepable }];
        }
        _ if has_tables => return Vec::new(),
        _ => {}
    }
    let Some(n) = finding.register else {
        return match class.shape {
            Shape::Leak => releases(case, finding),
            Shape::Section => closings(case, slot),
            _ => Vec::new(),
        };
    };
    let Some(register) = case.register(n) else { return Vec::new() };
    let reg = Reg(n);
    match class.shape {
        Shape::Null => null_checks(case, finding, slot, reg),
        Shape::Bounds => limits(case, finding),
        Shape::Packet => packet_checks(case, finding, slot, reg, &register),
        Shape::StackRead => initialisations(case, finding, slot, &register),
        Shape::Length => lengths(case, finding, slot, reg),
        Shape::Result => results(finding, slot),
        Shape::Unset if n <= 9 => {
            let text = match case.op(slot) {
                Some(Op::Exit) => "return a value, 0 say,".to_owned(),
                _ => format!("set `{}`, to 0 say,", finding.name),
            };
            vec![insert(text, slot, vec![Insn::mov_imm(reg, 0)])]
        }
        _ => Vec::new(),
    }
}

fn insert(text: String, at: usize, insns: Vec<Insn>) -> Candidate {
    Candidate { text, change: Change::Insert(at, insns) }
}

/// Ways out of a function, if a condition is not met; the results of a program that are tried, the
/// program type's own first.
fn ways_out(case: &Case<'_>) -> Vec<(String, Vec<Insn>)> {
    let own = match case.program.prog_type {
        ProgType::Xdp => 2,
        _ => 0,
    };
    let mut results = vec![own, 0, 1];
    results.dedup();
    let way = |result: i32| {
        let name = match (case.program.prog_type, result) {
            (ProgType::Xdp, 2) => "XDP_PASS".to_owned(),
            (ProgType::Xdp, 1) => "XDP_DROP".to_owned(),
            (ProgType::Xdp, 0) => "XDP_ABORTED".to_owned(),
            _ => result.to_string(),
        };
        (format!("return {name};"), vec![Insn::mov_imm(Reg::R0, result), Insn::exit()])
    };
    results.into_iter().map(way).collect()
}

/// The slot after an instruction, when the instruction may be left out.
fn skip(case: &Case<'_>, slot: usize) -> Option<Insn> {
    match case.op(slot)? {
        Op::Load { dst, .. } => Some(Insn::mov_imm(dst, 0)),
        _ => None,
    }
}

/// `if (v == NULL) return`.
fn null_checks(case: &Case<'_>, finding: &Finding, slot: usize, reg: Reg) -> Vec<Candidate> {
    let name = &finding.name;
    let mut all = Vec::new();
    for (out, exit) in ways_out(case) {
        let mut insns = vec![Insn::jmp_imm(jmp::JNE, reg, 0, exit.len() as i16)];
        insns.extend(exit);
        all.push(insert(format!("add `if (!{name}) {out}`"), slot, insns));
    }
    // Only the access is left out.
    let new: Vec<Insn> = match skip(case, slot) {
        Some(instead) => {
            vec![Insn::jmp_imm(jmp::JNE, reg, 0, 2), instead, Insn::ja(1)]
        }
        None => vec![Insn::jmp_imm(jmp::JEQ, reg, 0, 1)],
    };
    all.push(insert(format!("do this only `if ({name})`,"), slot, new));
    all
}

/// `if (i > LIMIT) return`, where the number is still itself, or before it is added.
fn limits(case: &Case<'_>, finding: &Finding) -> Vec<Candidate> {
    let Some(Limits { min, max }) = finding.limits else { return Vec::new() };
    if max < min || min > 0 && max < 0 {
        return Vec::new();
    }
    let mut all = Vec::new();
    let combined = finding.events.iter().find(|e| e.what == What::Combined && e.thread == 0);
    let Some(combined) = combined else { return all };
    let state = &case.path[combined.index];
    let Some(Op::Alu { op: AluOp::Add, dst, src: Operand::Reg(src), .. }) = case.op(state.slot)
    else {
        return all;
    };
    let regs = &state.frame().regs;
    let (left, right) = (regs[usize::from(dst.0)], regs[usize::from(src.0)]);
    let (pointer, number, reg) =
        if left.is_scalar() { (right, left, dst) } else { (left, right, src) };
    let Some(base) = pointer.known().map(|known| known as i64) else { return all };
    if !number.is_scalar() {
        return all;
    }
    // What was added after it counts, too.
    let later = case.register(finding.register.unwrap_or(0)).map_or(0, |register| {
        register.smin().wrapping_sub(number.smin()).wrapping_sub(base)
    });
    let later = if later.abs() < 1 << 20 { later } else { 0 };
    let mut most = max.saturating_sub(base).saturating_sub(later);
    let mut least = min.saturating_sub(base).saturating_sub(later);
    let mut points = vec![(state.slot, reg, least, most)];
    // Back to where it was called something.
    let thread = combined.thread + 1;
    for event in finding.events.iter().filter(|event| event.thread == thread) {
        let state = &case.path[event.index];
        let super::trace::At::Register(frame, n) = event.at else { break };
        match (event.what, case.op(state.slot)) {
            (What::Changed, Some(Op::Alu { op, src: Operand::Imm(by), .. })) => {
                let factor = match op {
                    AluOp::Lsh if (0..32).contains(&by) => 1_i64 << by,
                    AluOp::Mul if by > 0 => by.into(),
                    _ => break,
                };
                most = most.div_euclid(factor);
                least = least.div_euclid(factor);
                if frame == state.top() {
                    points.push((state.slot, Reg(n), least, most));
                }
            }
            (What::Checked, _) => {}
            _ => break,
        }
    }
    let name = case.origin_name(&finding.events, thread);
    for (at, reg, least, most) in points.into_iter().rev() {
        let Ok(limit) = i32::try_from(most) else { continue };
        let unscaled = all.is_empty();
        let name = name.clone().filter(|_| unscaled).unwrap_or_else(|| format!("r{}", reg.0));
        for (out, exit) in ways_out(case) {
            let len = exit.len() as i16;
            let text = format!("add `if ((__u64){name} > {limit}) {out}`");
            let mut insns = vec![Insn::jmp_imm(jmp::JLE, reg, limit, len)];
            insns.extend(exit);
            all.push(insert(text, at, insns));
        }
        if limit < 0 {
            continue;
        }
        if least <= 0 && (limit as u32 + 1).is_power_of_two() {
            let mask = Insn::alu64_imm(alu::AND, reg, limit);
            all.push(insert(format!("add `{name} &= {limit};`"), at, vec![mask]));
        }
    }
    all
}

/// `if (data + N > data_end) return`.
fn packet_checks(
    case: &Case<'_>,
    finding: &Finding,
    slot: usize,
    reg: Reg,
    pointer: &Register,
) -> Vec<Candidate> {
    let (Some(state), Some(code)) = (case.last(), &case.code) else { return Vec::new() };
    let Some((off, size)) = access(case, slot) else { return Vec::new() };
    let Ok(reach) = i32::try_from(off + size) else { return Vec::new() };
    if reach <= 0 || pointer.kind.base != Base::Packet {
        return Vec::new();
    }
    let regs = &state.frame().regs;
    let dead = |n: &u8| code.live_registers(slot) & 1 << n == 0 && Reg(*n) != reg;
    let field = match case.program.prog_type {
        ProgType::Xdp => 4,
        ProgType::SchedCls | ProgType::SchedAct | ProgType::CgroupSkb => 80,
        _ => return Vec::new(),
    };
    // The packet's end: in a register, or to be read out of the context.
    let is_end = |n: &u8| regs[usize::from(*n)].kind.is(Base::PacketEnd);
    let is_context = |n: &u8| {
        let register = regs[usize::from(*n)];
        register.kind.is(Base::Ctx) && register.known() == Some(0)
    };
    let context = (0..10).find(is_context);
    let mut keep = None;
    let (end, insns) = match ((0..10).find(is_end), context, (0..10).find(dead)) {
        (Some(end), ..) => (end, Vec::new()),
        (None, Some(context), Some(free)) => {
            (free, vec![Insn::load(Size::W, Reg(free), Reg(context), field)])
        }
        _ => {
            // The context is kept, from the start on, in a register that nothing else uses.
            let function = code.function_of(slot);
            let slots = code.functions()[function].slots();
            let uses = |n: u8| {
                let mut insns = slots.clone().filter_map(|slot| case.program.insns.get(slot));
                insns.any(|insn| insn.dst.0 == n || insn.src.0 == n)
            };
            let Some(free) = (6..10).find(|n| !uses(*n)) else { return Vec::new() };
            if function != 0 {
                return Vec::new();
            }
            keep = Some(Insn::mov(Reg(free), Reg(1)));
            (free, vec![Insn::load(Size::W, Reg(free), Reg(free), field)])
        }
    };
    let change = |new: Vec<Insn>| match keep {
        None => Change::Insert(slot, new),
        Some(keep) => Change::Keep(0, keep, slot, new),
    };
    let check = format!(
        "if ({} > {}) ",
        finding.needs.as_deref().and_then(|needs| needs.split_once(" <= ")).map_or_else(
            || format!("{} + {reach}", finding.name),
            |(left, _)| left.to_owned()
        ),
        finding
            .needs
            .as_deref()
            .and_then(|needs| needs.split_once(" <= "))
            .map_or("data_end", |(_, right)| right)
    );
    let back = Insn::alu64_imm(alu::SUB, reg, reach);
    let mut all = Vec::new();
    for (out, exit) in ways_out(case) {
        let mut insns = insns.clone();
        insns.push(Insn::alu64_imm(alu::ADD, reg, reach));
        insns.push(Insn::jmp_reg(jmp::JLE, reg, Reg(end), exit.len() as i16));
        insns.extend(exit);
        insns.push(back);
        let text = format!("add `{check}{out}`");
        all.push(Candidate { text, change: change(insns) });
    }
    if let Some(instead) = skip(case, slot) {
        let mut insns = insns.clone();
        insns.push(Insn::alu64_imm(alu::ADD, reg, reach));
        insns.push(Insn::jmp_reg(jmp::JLE, reg, Reg(end), 2));
        insns.push(instead);
        insns.push(Insn::ja(2));
        insns.push(back);
        let text = format!("do this only unless `{}`,", check.trim());
        all.push(Candidate { text, change: change(insns) });
    }
    all
}

fn access(case: &Case<'_>, slot: usize) -> Option<(i64, i64)> {
    match case.op(slot)? {
        Op::Load { size, off, .. } | Op::Store { size, off, .. } => {
            Some((off.into(), size.bytes() as i64))
        }
        _ => None,
    }
}

/// `= {}`.
fn initialisations(
    case: &Case<'_>,
    finding: &Finding,
    slot: usize,
    pointer: &Register,
) -> Vec<Candidate> {
    let Some(state) = case.last() else { return Vec::new() };
    if !pointer.kind.is(Base::Stack) || pointer.frame() != state.top() {
        return Vec::new();
    }
    let Some(known) = pointer.known().map(|known| known as i64) else { return Vec::new() };
    let (off, size) = match access(case, slot) {
        Some(access) => access,
        None => {
            let said = super::finding::number_after(&case.rejection.message, "size=")
                .or_else(|| super::finding::number_after(&case.rejection.message, "size "));
            (0, said.unwrap_or(0))
        }
    };
    let unwritten = case.unwritten(state, state.top(), known + off, size);
    if unwritten.is_empty() || unwritten.len() > 256 {
        return Vec::new();
    }
    let mut insns = Vec::new();
    let mut at = 0;
    while let Some(&from) = unwritten.get(at) {
        let run = unwritten[at..].iter().zip(from..).take_while(|(a, b)| **a == *b).count() as i64;
        let fits = |bytes: &i64| from % bytes == 0 && *bytes <= run;
        let bytes = [8, 4, 2, 1].into_iter().find(fits).unwrap_or(1);
        let Some(size) = Size::from_bytes(bytes as usize) else { break };
        insns.push(Insn::store_imm(size, Reg::FP, from as i16, 0));
        at += bytes as usize;
    }
    let name = &finding.name;
    vec![insert(format!("initialise `{name}` where it is declared, by `= {{}}`,"), slot, insns)]
}

/// `if (size > MAX) return`, or a mask.
fn lengths(case: &Case<'_>, finding: &Finding, slot: usize, reg: Reg) -> Vec<Candidate> {
    let Some(Limits { min, max }) = finding.limits else { return Vec::new() };
    let (name, limit) = (&finding.name, i32::try_from(max).unwrap_or(0x7fff_ffff));
    let mut all = Vec::new();
    for (out, exit) in ways_out(case) {
        let len = exit.len() as i16;
        let (text, mut insns) = match min {
            0 => (
                format!("add `if ((__u64){name} > {limit}) {out}`"),
                vec![Insn::jmp_imm(jmp::JLE, reg, limit, len)],
            ),
            _ => (
                format!("add `if (!{name} || (__u64){name} > {limit}) {out}`"),
                vec![
                    Insn::jmp_imm(jmp::JEQ, reg, 0, 1),
                    Insn::jmp_imm(jmp::JLE, reg, limit, len),
                ],
            ),
        };
        insns.extend(exit);
        all.push(insert(text, slot, insns));
    }
    let mask = (limit as u32 + 1).checked_next_power_of_two().unwrap_or(0);
    let mask = if mask == limit as u32 + 1 { limit } else { (mask / 2) as i32 - 1 };
    if min == 0 && mask > 0 {
        let and = vec![Insn::alu64_imm(alu::AND, reg, mask)];
        all.push(insert(format!("add `{name} &= {mask};`"), slot, and));
    }
    all
}

/// Another result where it is not one of those that are allowed.
fn results(finding: &Finding, slot: usize) -> Vec<Candidate> {
    let Some(Limits { min, max }) = finding.limits else {
        let zero = vec![Insn::mov_imm(Reg::R0, 0)];
        return vec![insert("return 0 here,".into(), slot, zero)];
    };
    let (Ok(min), Ok(max)) = (i32::try_from(min), i32::try_from(max)) else { return Vec::new() };
    let r0 = Reg::R0;
    let text = match min == max {
        true => return vec![insert(format!("return {min} here,"), slot, vec![Insn::mov_imm(r0, min)])],
        false => format!("return {min} where it is less than {min} or more than {max},"),
    };
    let insns = vec![
        Insn::jmp_imm(jmp::JSLT, r0, min, 1),
        Insn::jmp_imm(jmp::JSLE, r0, max, 1),
        Insn::mov_imm(r0, min),
    ];
    vec![insert(text, slot, insns)]
}

/// A release before the end; or where the path left those that do it right, or as soon as nothing
/// uses it any more.
fn releases(case: &Case<'_>, finding: &Finding) -> Vec<Candidate> {
    let Some(state) = case.last() else { return Vec::new() };
    let at = super::finding::number_after(&case.rejection.message, "alloc_insn=");
    let held = state.references.iter().find(|held| at == Some(held.slot as i64));
    let Some(held) = held.or(state.references.last()) else { return Vec::new() };
    let Some((name, call)) = release_of(case, held.slot) else { return Vec::new() };
    let mut all = Vec::new();
    for (index, state) in case.path.iter().enumerate().rev().take(200) {
        if state.slot == held.slot || all.len() >= MAX_TRIES {
            break;
        }
        let is_it = |register: &Register| register.id == held.id && register.kind.is_pointer();
        let frame = state.frame();
        let spilled = frame.stack.iter().position(|slot| slot.is_spill() && is_it(&slot.register));
        let (take, pointer) = match (holder(case, index, is_it), spilled) {
            (Some((n, pointer)), _) => (Insn::mov(Reg(1), Reg(n)), pointer),
            (None, Some(slot)) => {
                let offset = -((slot as i64 + 1) * 8);
                let load = Insn::load(Size::Dw, Reg(1), Reg::FP, offset as i16);
                (load, frame.stack[slot].register)
            }
            (None, None) => continue,
        };
        let may_be_null = pointer.kind.may_be_null();
        let mut release = vec![take];
        if may_be_null {
            release.push(Insn::jmp_imm(jmp::JEQ, Reg(1), 0, call.len() as i16));
        }
        release.extend(&call);
        let what = &finding.name;
        let check = if may_be_null { format!("if ({what}) ") } else { String::new() };
        all.extend(at_step(case, index, release, format!("add `{check}{name}({what});`")));
    }
    all
}

/// A register that holds something before an instruction of the path. What nothing reads any more is
/// forgotten by the walk, but it is still there until something else is stored in the register.
fn holder(
    case: &Case<'_>,
    index: usize,
    is_it: impl Fn(&Register) -> bool,
) -> Option<(u8, Register)> {
    let frame = case.path[index].top();
    (0..10).find_map(|n| {
        let states = case.path[..=index].iter().rev().take(50);
        let looks = states.take_while(|state| state.top() == frame);
        let mut looks = looks.map(|state| state.frame().regs[usize::from(n)]);
        let held = looks.find(|register| !register.kind.is(Base::NotInit))?;
        is_it(&held).then_some((n, held))
    })
}

/// A call before an instruction of the path, or where the path came to it by a jump: the registers
/// that it would spoil must not be needed, but for a result that is a constant.
fn at_step(case: &Case<'_>, index: usize, mut call: Vec<Insn>, text: String) -> Vec<Candidate> {
    let state = &case.path[index];
    let live = case.code.as_ref().map_or(0x3f, |code| code.live_registers(state.slot));
    let result = state.frame().regs[0].number().and_then(|r| i32::try_from(r as i64).ok());
    if live & 0x3e != 0 || live & 1 != 0 && result.is_none() {
        return Vec::new();
    }
    if let (true, Some(result)) = (live & 1 != 0, result) {
        call.push(Insn::mov_imm(Reg::R0, result));
    }
    let before = index.checked_sub(1).map(|before| case.path[before].slot);
    let jump = before.filter(|slot| matches!(case.op(*slot), Some(Op::JumpIf { .. })));
    let between = jump.map(|jump| Candidate {
        text: text.clone(),
        change: Change::Between(jump, state.slot, call.clone()),
    });
    [Some(insert(text, state.slot, call)), between].into_iter().flatten().collect()
}

/// What takes something, by how its name begins, and what gives it back.
const PAIRS: &[(&str, &str)] = &[
    ("bpf_ringbuf_reserve", "bpf_ringbuf_discard"),
    ("bpf_sk_lookup_", "bpf_sk_release"),
    ("bpf_skc_lookup_", "bpf_sk_release"),
    ("bpf_task_", "bpf_task_release"),
    ("bpf_cgroup_", "bpf_cgroup_release"),
    ("bpf_cpumask_", "bpf_cpumask_release"),
    ("bpf_obj_new", "bpf_obj_drop_impl"),
    ("bpf_skb_ct_", "bpf_ct_release"),
    ("bpf_xdp_ct_", "bpf_ct_release"),
];

/// How what a call took is given back: what it is called, and the call with `r1` set.
fn release_of(case: &Case<'_>, slot: usize) -> Option<(String, Vec<Insn>)> {
    let callee = case.callee(slot)?;
    let (_, release) = PAIRS.iter().find(|(taken, _)| callee.starts_with(taken))?;
    let call = match case.op(slot)? {
        Op::CallHelper { .. } => {
            let plain = release.strip_prefix("bpf_")?;
            let id = HELPER_NAMES.iter().position(|name| *name == plain)?;
            Insn::call_helper(id as i32)
        }
        _ => kfunc(case, release)?,
    };
    // These take flags, or a pointer to what is nothing here.
    let takes_two = ["bpf_ringbuf_discard", "bpf_obj_drop_impl"].contains(release);
    let more = takes_two.then(|| Insn::mov_imm(Reg(2), 0));
    Some(((*release).to_owned(), more.into_iter().chain([call]).collect()))
}

/// A call of a function of the kernel's.
fn kfunc(case: &Case<'_>, name: &str) -> Option<Insn> {
    let id = case.target.btf?.find(bombus_btf::Kind::Func, name)?;
    let op = Op::CallKfunc { id: i32::try_from(id.0).ok()?, btf: 0 };
    Some(op.encode().0)
}

/// The end of sections that are open where the program ends.
fn closings(case: &Case<'_>, slot: usize) -> Vec<Candidate> {
    let Some(state) = case.last() else { return Vec::new() };
    if case.op(slot) != Some(Op::Exit) {
        return Vec::new();
    }
    let mut all = Vec::new();
    let sections: [(fn(&State) -> bool, &str); 2] = [
        (|state| state.rcu > 0, "bpf_rcu_read_unlock"),
        (|state| state.preempt_off > 0, "bpf_preempt_enable"),
    ];
    for (is_open, name) in sections {
        let Some(call) = kfunc(case, name).filter(|_| is_open(state)) else { continue };
        let open = case.path.iter().enumerate().rev().take_while(|(_, state)| is_open(state));
        for (index, _) in open.take(50) {
            all.extend(at_step(case, index, vec![call], format!("add `{name}();`")));
        }
    }
    let Some((id, _)) = state.lock.filter(|_| state.locks > 0) else { return all };
    let open = case.path.iter().enumerate().rev().take_while(|(_, state)| state.locks > 0);
    for (index, _) in open.take(50) {
        let is_it = |register: &Register| register.kind.is(Base::MapValue) && register.id == id;
        let Some((n, pointer)) = holder(case, index, is_it) else { continue };
        let offset = pointer.known().unwrap_or(0) as i64;
        let lock = case.lock_offset(&pointer).unwrap_or(0);
        let by = i32::try_from(lock.wrapping_sub(offset)).unwrap_or(0);
        let mut insns = vec![Insn::mov(Reg(1), Reg(n))];
        if by != 0 {
            insns.push(Insn::alu64_imm(alu::ADD, Reg(1), by));
        }
        insns.push(Insn::call_helper(Helper::SpinUnlock.id()));
        all.extend(at_step(case, index, insns, "release the lock, by bpf_spin_unlock(),".into()));
    }
    all
}

impl Case<'_> {
    /// Where the lock is in the value that a register points to.
    fn lock_offset(&self, register: &Register) -> Option<i64> {
        let map = self.maps.get(register.map()?);
        let lock = map.record.find(|kind| kind == FieldKind::SpinLock)?;
        Some(lock.offset.into())
    }
}
