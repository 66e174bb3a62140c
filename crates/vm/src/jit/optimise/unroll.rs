//! Short loops go round several times before they jump back.
//!
//! A copy of a block does what the block does, wherever it stands, so any way round may be copied. When
//! the number of rounds is known, and a multiple of the copies, only the last of them asks whether
//! that was all.

use bombus_isa::{AluOp, Cond, Op, Operand, Reg, Width};

use super::flow::{Block, End, Flow, Step};
use super::inst::{Address, Inst, bit};
use super::loops::Loops;

/// Instructions of a loop's body, once and all copies together.
const BODY: usize = 12;
const UNROLLED: usize = 32;
/// Copies where the rounds are counted, and where they are not.
const COUNTED: usize = 8;
const ASKING: usize = 4;

/// Unrolls what can be. Whether there are more blocks now.
pub(super) fn unroll(flow: &mut Flow, loops: &Loops) -> bool {
    let (count, predecessors) = (flow.blocks.len(), &loops.predecessors);
    let mut done = vec![false; count];
    for &(tail, head) in &loops.back {
        let Some(round) = round(flow, predecessors, tail, head) else { continue };
        if round.iter().any(|&block| std::mem::replace(&mut done[block], true)) {
            continue;
        }
        let size: usize = round.iter().map(|&block| flow.blocks[block].steps.len() + 1).sum();
        let counter = Counter::of(flow, &round);
        let rounds = counter.and_then(|counter| counter.rounds(flow, predecessors, tail, head));
        let copies = rounds.and_then(|rounds| {
            let fits = |copies: &u64| rounds % copies == 0 && *copies as usize * size <= UNROLLED;
            (2..=COUNTED as u64).rev().find(fits)
        });
        match (copies, counter) {
            (Some(copies), Some(counter)) if round.len() == 1 => {
                let block = &mut flow.blocks[tail];
                block.steps = counter.merged(&block.steps, copies as usize);
            }
            (Some(copies), _) => copy(flow, &round, copies as usize, false),
            (None, _) => copy(flow, &round, (UNROLLED / size).clamp(1, ASKING), true),
        }
        if copies.is_some() && copies == rounds {
            // That was all.
            let last = if round.len() == 1 { tail } else { flow.blocks.len() - 1 };
            let end = &mut flow.blocks[last].end;
            let out = end.successors().find(|&to| to != head);
            *end = out.map_or(*end, End::Goto);
        }
    }
    flow.blocks.len() != count
}

/// The blocks from the head to the tail, if that is the only way, and a short one.
fn round(flow: &Flow, predecessors: &[Vec<u32>], tail: usize, head: usize) -> Option<Vec<usize>> {
    let (mut round, mut size) = (vec![tail], 0);
    loop {
        let block = round[round.len() - 1];
        let Block { steps, end } = &flow.blocks[block];
        size += steps.len();
        let simple = steps.iter().all(|step| is_simple(step.inst));
        if !simple || size > BODY || matches!(end, End::MayGoto { .. }) {
            return None;
        }
        if block == head {
            break;
        }
        let &[from] = &predecessors[block][..] else { return None };
        round.push(from as usize);
    }
    round.reverse();
    Some(round)
}

/// Whether it takes no longer than going round does.
fn is_simple(inst: Inst) -> bool {
    match inst {
        Inst::Op(op) => {
            matches!(op, Op::Alu { .. } | Op::Neg { .. } | Op::MovSx { .. } | Op::End { .. })
        }
        _ => true,
    }
}

/// Copies the blocks; the copies ask whether to go on, or know.
fn copy(flow: &mut Flow, round: &[usize], copies: usize, asking: bool) {
    let (head, mut last) = (round[0], round[round.len() - 1]);
    let blocks: Vec<Block> = round.iter().map(|&block| flow.blocks[block].clone()).collect();
    for _ in 1..copies {
        let first = flow.blocks.len();
        for (at, block) in blocks.iter().enumerate() {
            let mut block = block.clone();
            if let Some(&next) = round.get(at + 1) {
                block.end.redirect(next, first + at + 1);
            }
            flow.blocks.push(block);
        }
        if asking {
            flow.blocks[last].end.redirect(head, first);
        } else {
            flow.blocks[last].end = End::Goto(first);
        }
        last = flow.blocks.len() - 1;
    }
}

/// A register that grows by the same every round until it reaches a bound.
#[derive(Clone, Copy)]
struct Counter {
    reg: Reg,
    step: i64,
    /// What is compared is so much greater than the register was at the start of the round.
    ahead: i64,
    /// The loop goes on until it is this, or while it is less.
    bound: i64,
    exact: bool,
}

impl Counter {
    /// What the end of the last block asks for.
    fn of(flow: &Flow, round: &[usize]) -> Option<Counter> {
        let (head, tail) = (round[0], round[round.len() - 1]);
        let End::Branch { test, taken, .. } = flow.blocks[tail].end else { return None };
        let Operand::Imm(bound @ 0..) = test.b else { return None };
        let goes_on = test.negated != (taken == head);
        let (bound, exact) = match (test.cond, goes_on) {
            (Cond::Ne, true) | (Cond::Eq, false) => (bound.into(), true),
            (Cond::Lt | Cond::Slt, true) | (Cond::Ge | Cond::Sge, false) => (bound.into(), false),
            (Cond::Le | Cond::Sle, true) | (Cond::Gt | Cond::Sgt, false) => {
                (i64::from(bound) + 1, false)
            }
            _ => return None,
        };
        // What registers hold: what one held at the start, and so much more.
        let mut sums: [Option<(Reg, i64)>; 16] =
            std::array::from_fn(|reg| Some((Reg(reg as u8), 0)));
        for step in round.iter().flat_map(|&block| &flow.blocks[block].steps) {
            let sum = growth(step.inst).and_then(|(_, src, more)| {
                let (of, sum) = sums[usize::from(src.0)]?;
                Some((of, sum + i64::from(more)))
            });
            let defs = step.inst.defs();
            (0..16).filter(|reg| defs & (1 << reg) != 0).for_each(|reg| sums[reg] = sum);
        }
        let (reg, ahead) = sums[usize::from(test.a.0)]?;
        let (of, step) = sums[usize::from(reg.0)]?;
        (of == reg && step > 0).then_some(Counter { reg, step, ahead, bound, exact })
    }

    /// How many rounds there are from outside to outside.
    fn rounds(
        self,
        flow: &Flow,
        predecessors: &[Vec<u32>],
        tail: usize,
        head: usize,
    ) -> Option<u64> {
        let mut entries = predecessors[head].iter().filter(|&&from| from as usize != tail);
        let mut block = *entries.next()? as usize;
        if entries.next().is_some() || head == 0 {
            return None;
        }
        // The first value.
        let start = loop {
            let steps = &flow.blocks[block].steps;
            if let Some(step) = steps.iter().rfind(|step| step.inst.defs() & bit(self.reg) != 0) {
                let Inst::Op(Op::Alu { op: AluOp::Mov, src: Operand::Imm(start @ 0..), .. }) =
                    step.inst
                else {
                    return None;
                };
                break i64::from(start);
            }
            let &[before] = &predecessors[block][..] else { return None };
            if before as usize == block || block == 0 {
                return None;
            }
            block = before as usize;
        };
        let first = start + self.ahead;
        let way = self.bound - first;
        let in_reach = |value: i64| (0..=i64::from(i32::MAX)).contains(&value);
        let steps = match way {
            _ if !in_reach(first) || !in_reach(self.bound + self.step) => return None,
            way if self.exact && (way < 0 || way % self.step != 0) => return None,
            way => (way.max(0) as u64).div_ceil(self.step as u64),
        };
        let rounds = steps + 1;
        in_reach(rounds as i64 * self.step).then_some(rounds)
    }

    /// Some rounds of a loop of one block as one.
    fn merged(self, steps: &[Step], copies: usize) -> Vec<Step> {
        let is_step = |step: &Step| {
            growth(step.inst).is_some_and(|(dst, src, _)| (dst, src) == (self.reg, self.reg))
        };
        let changes = steps.iter().filter(|step| step.inst.defs() & bit(self.reg) != 0).count();
        let only = changes == 1 && steps.iter().any(is_step);
        let mut merged: Vec<Step> = Vec::with_capacity(copies * steps.len());
        // What the register will have grown by; until then addresses have it.
        let mut owed = 0i32;
        let grown = |by| {
            Inst::Op(Op::Alu {
                width: Width::W64,
                op: AluOp::Add,
                dst: self.reg,
                src: Operand::Imm(by),
            })
        };
        for step in (0..copies).flat_map(|_| steps) {
            if only && is_step(step) {
                owed += self.step as i32;
                continue;
            }
            match ahead(step.inst, self.reg, owed) {
                Some(inst) => merged.push(Step { inst, ..*step }),
                None => {
                    merged.push(Step { inst: grown(owed), ..*step });
                    owed = 0;
                    merged.push(*step);
                }
            }
        }
        if let (Some(&last), true) = (steps.last(), owed != 0) {
            merged.push(Step { inst: grown(owed), ..last });
        }
        without_dead(merged)
    }
}

/// `dst = src + constant`.
fn growth(inst: Inst) -> Option<(Reg, Reg, i32)> {
    match inst {
        Inst::Lea { dst, address: Address { base, index: None, disp } } => Some((dst, base, disp)),
        Inst::Op(Op::Alu { width: Width::W64, op: AluOp::Mov, dst, src: Operand::Reg(src) }) => {
            Some((dst, src, 0))
        }
        Inst::Op(Op::Alu { width: Width::W64, op: AluOp::Add, dst, src: Operand::Imm(imm) }) => {
            Some((dst, dst, imm))
        }
        _ => None,
    }
}

/// What does with a register as it is what this does with it when it is greater by `owed`.
fn ahead(mut inst: Inst, reg: Reg, owed: i32) -> Option<Inst> {
    if inst.uses() & bit(reg) == 0 || owed == 0 {
        return Some(inst);
    }
    match inst {
        Inst::Op(Op::Alu { width: Width::W64, op: AluOp::Mov, dst, .. }) => {
            let address = Address { base: reg, index: None, disp: owed };
            return Some(Inst::Lea { dst, address });
        }
        Inst::Store { src: Operand::Reg(src), .. } if src == reg => return None,
        Inst::AluLoaded { dst, .. } if dst == reg => return None,
        _ => {}
    }
    let address = inst.address_mut()?;
    let by = |is_it: bool, scale: u8| if is_it { i64::from(owed) << scale } else { 0 };
    let index = address.index.map_or(0, |(index, scale)| by(index == reg, scale));
    let sum = i64::from(address.disp) + by(address.base == reg, 0) + index;
    address.disp = i32::try_from(sum).ok()?;
    Some(inst)
}

/// The same without what later rounds make anew.
fn without_dead(mut steps: Vec<Step>) -> Vec<Step> {
    let Some(mut live) = steps.last().map(|step| step.live) else { return steps };
    for step in steps.iter_mut().rev() {
        step.live = live;
        if step.inst.is_pure() && step.inst.defs() & live == 0 {
            step.inst = Inst::Nop;
        } else {
            live = live & !step.inst.defs() | step.inst.uses();
        }
    }
    steps.retain(|step| step.inst != Inst::Nop);
    steps
}
