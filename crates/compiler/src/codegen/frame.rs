//! The frame: which stack slots are live at the same time, and where each goes.
//!
//! Slots that are never live together share memory. A slot is live from its first access to its
//! last; memory that is completely written before anything reads it is not live before.

use crate::ir::{BinaryOp, Block, Cfg, Function, Op, StackSlot, Value};

/// What the slots of a function need.
#[derive(Clone, Debug)]
pub(super) struct Interference {
    /// By slot: whether anything refers to it.
    pub(super) used: Vec<bool>,
    /// By slot: the others that are live at the same time.
    conflicts: Vec<Vec<bool>>,
}

/// How an instruction touches a slot.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Touch {
    /// Only writes so many bytes at this place.
    Write(i64, i64),
    /// Anything else.
    Use,
}

/// What a block does with a slot.
#[derive(Clone, Copy, Default)]
struct Summary {
    first: Option<u32>,
    last: Option<u32>,
    /// Completely written before any use.
    kills: bool,
    exposed: bool,
}

impl Interference {
    pub(super) fn new(func: &Function) -> Interference {
        let slots = func.slots.len();
        let mut interference =
            Interference { used: vec![false; slots], conflicts: vec![vec![false; slots]; slots] };
        if slots == 0 {
            return interference;
        }
        let cfg = Cfg::new(func);
        let derived = Derived::new(func, &cfg);
        let mut summaries = vec![vec![Summary::default(); slots]; func.blocks.len()];
        for &block in &cfg.rpo {
            summarize(func, block, &derived, &mut summaries[block.index()]);
        }
        for &block in &cfg.rpo {
            for (slot, summary) in summaries[block.index()].iter().enumerate() {
                interference.used[slot] |= summary.first.is_some();
            }
        }
        for slot in 0..slots {
            interference.used[slot] |= derived.lost[slot];
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
        live_out: &[bool],
        reached_in: &[bool],
        lost: &[bool],
    ) {
        let mut ranges: Vec<(usize, u32, u32)> = Vec::new();
        for (slot, summary) in summaries.iter().enumerate() {
            if lost[slot] {
                ranges.push((slot, 0, end));
                continue;
            }
            let out = live_out[slot];
            let live_in = summary.exposed || (out && !summary.kills);
            let from = if live_in && reached_in[slot] { Some(0) } else { summary.first };
            let to = if out { Some(end) } else { summary.last };
            if let (Some(from), Some(to)) = (from, to) {
                ranges.push((slot, from, to));
            }
        }
        for (i, &(a, from_a, to_a)) in ranges.iter().enumerate() {
            for &(b, from_b, to_b) in &ranges[..i] {
                if from_a <= to_b && from_b <= to_a {
                    self.conflicts[a][b] = true;
                    self.conflicts[b][a] = true;
                }
            }
        }
    }

    /// Places the chosen slots, biggest first: by slot, the bytes before its start; and how many
    /// bytes all take.
    pub(super) fn place(&self, func: &Function, chosen: impl Fn(usize) -> bool) -> (Vec<u32>, u32) {
        let size = |slot: usize| func.slots[slot].size.next_multiple_of(8);
        let mut order: Vec<usize> =
            (0..func.slots.len()).filter(|&slot| self.used[slot] && chosen(slot)).collect();
        order.sort_by_key(|&slot| std::cmp::Reverse(size(slot)));
        let mut starts = vec![0; func.slots.len()];
        let mut total = 0;
        for (i, &slot) in order.iter().enumerate() {
            let mut taken: Vec<(u32, u32)> = order[..i]
                .iter()
                .filter(|&&other| self.conflicts[slot][other])
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
    /// By value.
    slot: Vec<Option<(StackSlot, Option<i64>)>>,
    /// By slot: whether an address goes where it cannot be followed.
    lost: Vec<bool>,
}

impl Derived {
    fn new(func: &Function, cfg: &Cfg) -> Derived {
        let mut derived =
            Derived { slot: vec![None; func.values as usize], lost: vec![false; func.slots.len()] };
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
                        } else if let Some((slot, _)) = derived.slot[b.index()] {
                            derived.slot[result.index()] = Some((slot, None));
                        }
                    }
                    Op::Select(_, a, b) => {
                        derived.lose(a);
                        derived.lose(b);
                    }
                    _ => {}
                }
            }
            func.term(block).for_each_arg(|value| derived.lose(value));
        }
        derived
    }

    fn lose(&mut self, value: Value) {
        if let Some((slot, _)) = self.slot[value.index()] {
            self.lost[slot.index()] = true;
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

fn summarize(func: &Function, block: Block, derived: &Derived, summaries: &mut [Summary]) {
    // Bytes written so far, as ranges in order, of slots that nothing used yet.
    let mut written: Vec<i64> = vec![0; summaries.len()];
    for (i, inst) in func.blocks[block.index()].insts.iter().enumerate() {
        derived.touches(&inst.op, |slot, touch| {
            let summary = &mut summaries[slot];
            summary.first.get_or_insert(i as u32 + 1);
            summary.last = Some(i as u32 + 1);
            if summary.kills || summary.exposed {
                return;
            }
            match touch {
                // Written from the start on, as expansion does.
                Touch::Write(start, end) if start <= written[slot] => {
                    written[slot] = written[slot].max(end);
                    summary.kills = written[slot] >= i64::from(func.slots[slot].size);
                }
                _ => summary.exposed = true,
            }
        });
    }
    for summary in summaries {
        // Partly written only: what is behind it may be read later.
        summary.exposed |= summary.first.is_some() && !summary.kills;
    }
}

fn backward(cfg: &Cfg, summaries: &[Vec<Summary>], slots: usize) -> Vec<Vec<bool>> {
    let mut live_out = vec![vec![false; slots]; summaries.len()];
    let mut changed = true;
    while changed {
        changed = false;
        for &block in cfg.rpo.iter().rev() {
            for slot in 0..slots {
                let summary = summaries[block.index()][slot];
                let live = summary.exposed || (live_out[block.index()][slot] && !summary.kills);
                if !live {
                    continue;
                }
                for pred in &cfg.preds[block.index()] {
                    changed |= !std::mem::replace(&mut live_out[pred.index()][slot], true);
                }
            }
        }
    }
    live_out
}

fn forward(cfg: &Cfg, summaries: &[Vec<Summary>], slots: usize) -> Vec<Vec<bool>> {
    let mut reached = vec![vec![false; slots]; summaries.len()];
    let mut changed = true;
    while changed {
        changed = false;
        for &block in &cfg.rpo {
            for slot in 0..slots {
                let before = cfg.preds[block.index()].iter().any(|pred| {
                    reached[pred.index()][slot] || summaries[pred.index()][slot].first.is_some()
                });
                changed |= before && !std::mem::replace(&mut reached[block.index()][slot], true);
            }
        }
    }
    reached
}
