//! The frame: which stack slots are live at the same time, and where each goes.
//!
//! Slots that are never live together share memory. A slot is live from its first access to its
//! last; memory that is completely written before anything reads it is not live before.

use super::bitset::BitSet;
use crate::ir::{BinaryOp, Block, Cfg, Function, Op, StackSlot, Value};

/// What the slots of a function need.
#[derive(Clone, Debug)]
pub(super) struct Interference {
    /// The slots that anything refers to.
    pub(super) used: BitSet,
    /// By slot: the others that are live at the same time.
    conflicts: Vec<BitSet>,
}

/// How an instruction touches a slot.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Touch {
    /// Only writes so many bytes at this place.
    Write(i64, i64),
    /// Anything else.
    Use,
}

/// What a block does with a slot that it touches.
#[derive(Clone, Copy)]
struct Summary {
    slot: usize,
    /// Positions of the first and the last touch; the block's start is 0.
    first: u32,
    last: u32,
    /// Bytes from its start that were written before anything used it.
    written: i64,
    /// Completely written before any use.
    kills: bool,
    /// Used before it is completely written.
    exposed: bool,
}

impl Interference {
    pub(super) fn new(func: &Function) -> Interference {
        let slots = func.slots.len();
        let mut interference =
            Interference { used: BitSet::new(slots), conflicts: vec![BitSet::new(slots); slots] };
        if slots == 0 {
            return interference;
        }
        let cfg = Cfg::new(func);
        let derived = Derived::new(func, &cfg);
        let mut summaries = vec![Vec::new(); func.blocks.len()];
        for &block in &cfg.rpo {
            summaries[block.index()] = summarize(func, block, &derived);
        }
        interference.used.union(&derived.lost);
        for summary in summaries.iter().flatten() {
            interference.used.insert(summary.slot);
        }
        let live_out = backward(&cfg, &summaries, slots);
        let reached_in = forward(&cfg, &summaries, slots);
        for &block in &cfg.rpo {
            let end = func.blocks[block.index()].insts.len() as u32 + 1;
            interference.block(
                end,
                &summaries[block.index()],
                &live_out[block.index()],
                &reached_in[block.index()],
                &derived.lost,
            );
        }
        interference
    }

    fn block(
        &mut self,
        end: u32,
        summaries: &[Summary],
        live_out: &BitSet,
        reached_in: &BitSet,
        lost: &BitSet,
    ) {
        let mut ranges: Vec<(usize, u32, u32)> = lost.iter().map(|slot| (slot, 0, end)).collect();
        // Live all through.
        let mut through = live_out.clone();
        through.intersect(reached_in);
        through.subtract(lost);
        for summary in summaries {
            let slot = summary.slot;
            through.remove(slot);
            if lost.contains(slot) {
                continue;
            }
            let out = live_out.contains(slot);
            let live_in = summary.exposed || (out && !summary.kills);
            let from = if live_in && reached_in.contains(slot) { 0 } else { summary.first };
            ranges.push((slot, from, if out { end } else { summary.last }));
        }
        let touched = ranges.len();
        ranges.extend(through.iter().map(|slot| (slot, 0, end)));
        for (i, &(a, from_a, to_a)) in ranges.iter().enumerate() {
            for &(b, from_b, to_b) in &ranges[..i.min(touched)] {
                if from_a <= to_b && from_b <= to_a {
                    self.conflicts[a].insert(b);
                    self.conflicts[b].insert(a);
                }
            }
        }
    }

    /// Places the chosen slots, biggest first: by slot, the bytes before its start; and how many
    /// bytes all take.
    pub(super) fn place(&self, func: &Function, chosen: impl Fn(usize) -> bool) -> (Vec<u32>, u32) {
        let size = |slot: usize| func.slots[slot].size.next_multiple_of(8);
        let mut order: Vec<usize> = self.used.iter().filter(|&slot| chosen(slot)).collect();
        order.sort_by_key(|&slot| std::cmp::Reverse(size(slot)));
        let mut starts = vec![0; func.slots.len()];
        let mut total = 0;
        for (i, &slot) in order.iter().enumerate() {
            let mut taken: Vec<(u32, u32)> = order[..i]
                .iter()
                .filter(|&&other| self.conflicts[slot].contains(other))
                .map(|&other| (starts[other], starts[other] + size(other)))
                .collect();
            taken.sort_unstable();
            let mut start = 0;
            for (from, to) in taken {
                if start + size(slot) <= from {
                    break;
                }
                start = start.max(to);
            }
            starts[slot] = start;
            total = total.max(start + size(slot));
        }
        (starts, total)
    }
}

/// Which values are addresses in which slot.
struct Derived {
    /// By value: the slot, and the place in it when that is constant.
    slot: Vec<Option<(StackSlot, Option<i64>)>>,
    /// The slots with an address that goes where it cannot be followed.
    lost: BitSet,
}

impl Derived {
    fn new(func: &Function, cfg: &Cfg) -> Derived {
        let lost = BitSet::new(func.slots.len());
        let mut derived = Derived { slot: vec![None; func.values as usize], lost };
        let mut numbers = vec![None; func.values as usize];
        for &block in &cfg.rpo {
            for inst in &func.blocks[block.index()].insts {
                derived.lose_stored(&inst.op);
                let Some(result) = inst.result else { continue };
                match inst.op {
                    Op::Const(number) => numbers[result.index()] = Some(number),
                    Op::SlotAddr(slot) => derived.slot[result.index()] = Some((slot, Some(0))),
                    Op::Binary(op, a, b) => {
                        if let Some((slot, at)) = derived.slot[a.index()] {
                            let is_add = op == BinaryOp::Add;
                            let number = numbers[b.index()].filter(|_| is_add);
                            let at = at.zip(number).map(|(at, n)| i64::wrapping_add(at, n));
                            derived.slot[result.index()] = Some((slot, at));
                            derived.lose(b);
                        } else if let Some((slot, _)) = derived.slot[b.index()] {
                            derived.slot[result.index()] = Some((slot, None));
                        }
                    }
                    Op::Select(_, a, b) => {
                        derived.lose(a);
                        derived.lose(b);
                    }
                    Op::Unary(_, a) => derived.lose(a),
                    _ => {}
                }
            }
            func.term(block).for_each_arg(|value| derived.lose(value));
        }
        derived
    }

    fn lose(&mut self, value: Value) {
        if let Some((slot, _)) = self.slot[value.index()] {
            self.lost.insert(slot.index());
        }
    }

    fn lose_stored(&mut self, op: &Op) {
        if let Op::Store { value, .. } | Op::AtomicAdd { value, .. } = op {
            self.lose(*value);
        }
    }

    /// Calls `visit` with the slots that an operation touches.
    fn touches(&self, op: &Op, mut visit: impl FnMut(usize, Touch)) {
        if let Op::Store { bytes, base, offset, .. } = op
            && let Some((slot, Some(at))) = self.slot[base.index()]
        {
            let start = at.wrapping_add(i64::from(*offset));
            visit(slot.index(), Touch::Write(start, start.wrapping_add(i64::from(*bytes))));
            return;
        }
        // Making an address is no access.
        if matches!(op, Op::Binary(..)) {
            return;
        }
        op.for_each_arg(|value| {
            if let Some((slot, _)) = self.slot[value.index()] {
                visit(slot.index(), Touch::Use);
            }
        });
    }
}

fn summarize(func: &Function, block: Block, derived: &Derived) -> Vec<Summary> {
    let mut summaries: Vec<Summary> = Vec::new();
    for (i, inst) in func.blocks[block.index()].insts.iter().enumerate() {
        let now = i as u32 + 1;
        derived.touches(&inst.op, |slot, touch| {
            let at = summaries.iter().position(|summary| summary.slot == slot);
            let at = at.unwrap_or_else(|| {
                let (kills, exposed) = (false, false);
                let (first, last, written) = (now, now, 0);
                summaries.push(Summary { slot, first, last, written, kills, exposed });
                summaries.len() - 1
            });
            let summary = &mut summaries[at];
            summary.last = now;
            if summary.kills || summary.exposed {
                return;
            }
            match touch {
                // Written from the start on, as expansion does.
                Touch::Write(start, end) if start <= summary.written => {
                    summary.written = summary.written.max(end);
                    summary.kills = summary.written >= i64::from(func.slots[slot].size);
                }
                _ => summary.exposed = true,
            }
        });
    }
    for summary in &mut summaries {
        // Partly written only: what is behind it may be read later.
        summary.exposed |= !summary.kills;
    }
    summaries
}

/// By block: the slots that may be read after it before they are written anew.
fn backward(cfg: &Cfg, summaries: &[Vec<Summary>], slots: usize) -> Vec<BitSet> {
    let mut live_out = vec![BitSet::new(slots); summaries.len()];
    let mut changed = true;
    while changed {
        changed = false;
        for &block in cfg.rpo.iter().rev() {
            let mut live = live_out[block.index()].clone();
            let mut killed = BitSet::new(slots);
            for summary in &summaries[block.index()] {
                if summary.exposed {
                    live.insert(summary.slot);
                } else {
                    killed.insert(summary.slot);
                }
            }
            live.subtract(&killed);
            for pred in &cfg.preds[block.index()] {
                changed |= live_out[pred.index()].union(&live);
            }
        }
    }
    live_out
}

/// By block: the slots that may have been touched before it.
fn forward(cfg: &Cfg, summaries: &[Vec<Summary>], slots: usize) -> Vec<BitSet> {
    let mut reached = vec![BitSet::new(slots); summaries.len()];
    let mut changed = true;
    while changed {
        changed = false;
        for &block in &cfg.rpo {
            let mut after = reached[block.index()].clone();
            summaries[block.index()].iter().for_each(|summary| after.insert(summary.slot));
            for target in cfg.succs(block) {
                changed |= reached[target.index()].union(&after);
            }
        }
    }
    reached
}
