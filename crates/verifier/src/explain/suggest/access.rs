//! Checks before accesses and ends: comparisons with null, with bounds, with the packet's end, and values
//! where there are none.

use bombus_isa::opcode::{alu, jmp};
use bombus_isa::{AluOp, Insn, Op, Operand, Reg, Size};
use bombus_platform::ProgType;

use super::{Candidate, Change, insert};
use crate::explain::Case;
use crate::explain::finding::{Finding, Limits, number_after};
use crate::explain::trace::{At, What};
use crate::state::{Base, Register};

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
pub(super) fn null_checks(
    case: &Case<'_>,
    finding: &Finding,
    slot: usize,
    reg: Reg,
) -> Vec<Candidate> {
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
pub(super) fn limits(case: &Case<'_>, finding: &Finding) -> Vec<Candidate> {
    let Some(Limits { min, max }) = finding.limits else { return Vec::new() };
    if max < min {
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
    let later = case
        .register(finding.register.unwrap_or(0))
        .map_or(0, |register| register.smin().wrapping_sub(number.smin()).wrapping_sub(base));
    let later = if later.abs() < 1 << 20 { later } else { 0 };
    let mut most = max.saturating_sub(base).saturating_sub(later);
    let mut least = min.saturating_sub(base).saturating_sub(later);
    let mut points = vec![(state.slot, reg, least, most)];
    // Back to where it was called something.
    let thread = combined.thread + 1;
    for event in finding.events.iter().filter(|event| event.thread == thread) {
        let state = &case.path[event.index];
        let At::Register(frame, n) = event.at else { break };
        match (event.what, case.op(state.slot)) {
            (What::Changed, Some(Op::Alu { op, src: Operand::Imm(by), .. })) => {
                let factor = match op {
                    AluOp::Lsh if (0..32).contains(&by) => 1_i64 << by,
                    AluOp::Mul if by > 0 => by.into(),
                    _ => break,
                };
                most = most.div_euclid(factor);
                least = least.saturating_neg().div_euclid(factor).saturating_neg();
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
            let (text, mut insns) = match i32::try_from(least) {
                Ok(least) if least > 0 => (
                    format!("add `if ({name} < {least} || {name} > {limit}) {out}`"),
                    vec![
                        Insn::jmp_imm(jmp::JLT, reg, least, 1),
                        Insn::jmp_imm(jmp::JLE, reg, limit, len),
                    ],
                ),
                _ => (
                    format!("add `if ((__u64){name} > {limit}) {out}`"),
                    vec![Insn::jmp_imm(jmp::JLE, reg, limit, len)],
                ),
            };
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
pub(super) fn packet_checks(
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
        finding
            .needs
            .as_deref()
            .and_then(|needs| needs.split_once(" <= "))
            .map_or_else(|| format!("{} + {reach}", finding.name), |(left, _)| left.to_owned()),
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
pub(super) fn initialisations(
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
            let said = number_after(&case.rejection.message, "size=")
                .or_else(|| number_after(&case.rejection.message, "size "));
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
pub(super) fn lengths(case: &Case<'_>, finding: &Finding, slot: usize, reg: Reg) -> Vec<Candidate> {
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
                vec![Insn::jmp_imm(jmp::JEQ, reg, 0, 1), Insn::jmp_imm(jmp::JLE, reg, limit, len)],
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
pub(super) fn results(finding: &Finding, slot: usize) -> Vec<Candidate> {
    let Some(Limits { min, max }) = finding.limits else {
        let zero = vec![Insn::mov_imm(Reg::R0, 0)];
        return vec![insert("return 0 here,".into(), slot, zero)];
    };
    let (Ok(min), Ok(max)) = (i32::try_from(min), i32::try_from(max)) else { return Vec::new() };
    let r0 = Reg::R0;
    let text = match min == max {
        true => {
            return vec![insert(format!("return {min} here,"), slot, vec![Insn::mov_imm(r0, min)])];
        }
        false => format!("return {min} where it is less than {min} or more than {max},"),
    };
    let insns = vec![
        Insn::jmp_imm(jmp::JSLT, r0, min, 1),
        Insn::jmp_imm(jmp::JSLE, r0, max, 1),
        Insn::mov_imm(r0, min),
    ];
    vec![insert(text, slot, insns)]
}
