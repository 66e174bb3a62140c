//! A function as a graph: basic blocks, and where each goes on.

use std::ops::Range;

use bombus_isa::Op;

use super::inst::{Inst, Test};
use super::sink::Sunk;
use crate::program::target;

/// An instruction, and what surrounds it.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// What is done.
    pub inst: Inst,
    /// Which registers somebody reads later, a bit each; perhaps some more.
    pub live: u16,
    /// The slot that it comes from.
    pub slot: usize,
}

/// Where a block goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Nowhere: its last step leaves the function.
    Leave,
    /// In this block.
    Goto(usize),
    /// In one of two.
    Branch {
        /// The question.
        test: Test,
        /// Where, if the answer is yes.
        taken: usize,
        /// Where, if not.
        next: usize,
    },
    /// The same, by the budget of `may_goto`.
    MayGoto {
        /// Where, when it is spent.
        taken: usize,
        /// Where, if not.
        next: usize,
    },
}

impl End {
    /// As an instruction, if it is more than going on.
    pub fn inst(self) -> Option<Inst> {
        match self {
            End::Leave | End::Goto(_) => None,
            End::Branch { test, .. } => Some(Inst::Branch { test, off: 0 }),
            End::MayGoto { .. } => Some(Inst::Op(Op::MayGoto { off: 0 })),
        }
    }

    /// The blocks that may come next.
    pub(super) fn successors(self) -> impl Iterator<Item = usize> {
        let (first, second) = match self {
            End::Leave => (None, None),
            End::Goto(to) => (Some(to), None),
            End::Branch { taken, next, .. } | End::MayGoto { taken, next } => {
                (Some(next), Some(taken))
            }
        };
        first.into_iter().chain(second)
    }

    /// Goes to another block instead of this one.
    pub(super) fn redirect(&mut self, from: usize, to: usize) {
        let (first, second) = match self {
            End::Leave => return,
            End::Goto(first) => (first, None),
            End::Branch { taken, next, .. } | End::MayGoto { taken, next } => (taken, Some(next)),
        };
        for target in std::iter::once(first).chain(second) {
            if *target == from {
                *target = to;
            }
        }
    }
}

/// A basic block.
#[derive(Clone, Debug)]
pub struct Block {
    /// What it does.
    pub steps: Vec<Step>,
    /// Where it goes on.
    pub end: End,
}

/// A function's blocks; the first is its entry.
#[derive(Clone, Debug)]
pub struct Flow {
    /// All of them.
    pub blocks: Vec<Block>,
}

impl Flow {
    /// The graph of a function in slots, with what is done on one way out of a branch in blocks on
    /// these ways.
    pub(super) fn new(
        insts: &[Inst],
        blocks: &[Range<usize>],
        live_after: &[u16],
        sunk: &[Sunk],
    ) -> Flow {
        let index = |slot: usize| match blocks.binary_search_by_key(&slot, |block| block.start) {
            Ok(index) | Err(index) => index,
        };
        let mut flow = Flow { blocks: Vec::with_capacity(blocks.len() + sunk.len()) };
        for range in blocks {
            let last = range.end - 1;
            let to = |distance: i64| index(target(last, distance));
            let next = index(range.end);
            let (end, ends) = match insts[last] {
                Inst::Branch { test, off } => {
                    (End::Branch { test, taken: to(off.into()), next }, true)
                }
                Inst::Op(Op::MayGoto { off }) => {
                    (End::MayGoto { taken: to(off.into()), next }, true)
                }
                Inst::Op(Op::Goto { off }) => (End::Goto(to(off.into())), true),
                Inst::Op(Op::GotoLong { off }) => (End::Goto(to(off.into())), true),
                Inst::Op(Op::Exit) => (End::Leave, false),
                _ => (End::Goto(next), false),
            };
            let end = match end {
                End::Branch { taken, next, .. } if taken == next => End::Goto(next),
                end => end,
            };
            let slots = range.start..range.end - usize::from(ends);
            let steps = slots.filter(|&slot| insts[slot] != Inst::Nop);
            let steps = steps.map(|slot| Step { inst: insts[slot], live: live_after[slot], slot });
            flow.blocks.push(Block { steps: steps.collect(), end });
        }
        for branch in sunk.chunk_by(|a, b| a.branch == b.branch) {
            let from = index(branch[0].branch + 1) - 1;
            flow.put_between(branch, true, from);
            flow.put_between(branch, false, from);
        }
        flow.leave_at_once();
        flow
    }

    /// Leaves where a block would only go where nothing is done but leave.
    fn leave_at_once(&mut self) {
        for at in 0..self.blocks.len() {
            if let End::Goto(to) = self.blocks[at].end
                && let [leave] = self.blocks[to].steps[..]
                && self.blocks[to].end == End::Leave
            {
                self.blocks[at].steps.push(leave);
                self.blocks[at].end = End::Leave;
            }
        }
    }

    /// Puts what is done on one way out of a block there.
    fn put_between(&mut self, sunk: &[Sunk], on_taken: bool, from: usize) {
        let these = sunk.iter().filter(|sunk| sunk.taken == on_taken);
        // Nothing is known of who reads what there.
        let step = |sunk: &Sunk| Step { inst: sunk.inst, live: u16::MAX, slot: sunk.branch };
        let steps: Vec<Step> = these.map(step).collect();
        let between = self.blocks.len();
        let End::Branch { taken, next, .. } = &mut self.blocks[from].end else { return };
        if steps.is_empty() {
            return;
        }
        let to = std::mem::replace(if on_taken { taken } else { next }, between);
        self.blocks.push(Block { steps, end: End::Goto(to) });
    }

    /// The blocks that each is reached from.
    pub(super) fn predecessors(&self) -> Vec<Vec<u32>> {
        let mut predecessors = vec![Vec::new(); self.blocks.len()];
        for (from, block) in self.blocks.iter().enumerate() {
            for to in block.end.successors() {
                predecessors[to].push(from as u32);
            }
        }
        predecessors
    }
}
