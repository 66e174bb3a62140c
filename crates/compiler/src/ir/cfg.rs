//! The control flow graph: successors, predecessors, order and dominators.

use super::{Block, Function, Target, Term};

impl Term {
    /// Where it may go.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        let (a, b) = match self {
            Term::Jump(target) => (Some(target), None),
            Term::Branch(_, then, otherwise) => (Some(then), Some(otherwise)),
            Term::Return(_) | Term::Unreachable => (None, None),
        };
        a.into_iter().chain(b)
    }

    /// Where it may go.
    pub fn targets_mut(&mut self) -> impl Iterator<Item = &mut Target> {
        let (a, b) = match self {
            Term::Jump(target) => (Some(target), None),
            Term::Branch(_, then, otherwise) => (Some(then), Some(otherwise)),
            Term::Return(_) | Term::Unreachable => (None, None),
        };
        a.into_iter().chain(b)
    }
}

/// Orders and relations of a function's reachable blocks.
#[derive(Clone, Debug)]
pub struct Cfg {
    /// Reachable blocks, each before its successors but for loops.
    pub rpo: Vec<Block>,
    /// By block: its position in `rpo`, or `u32::MAX` when it is not reachable.
    pub position: Vec<u32>,
    /// By block: the reachable blocks that go to it; twice when both ways of a branch do.
    pub preds: Vec<Vec<Block>>,
    succs: Vec<[Option<Block>; 2]>,
    /// By block: its immediate dominator; the entry's is itself.
    pub idom: Vec<Block>,
}

const NONE: u32 = u32::MAX;

impl Cfg {
    /// Of a function whose blocks all end.
    pub fn new(func: &Function) -> Cfg {
        let rpo = reverse_post_order(func);
        let mut position = vec![NONE; func.blocks.len()];
        let mut preds = vec![Vec::new(); func.blocks.len()];
        let mut succs = vec![[None; 2]; func.blocks.len()];
        for (i, &block) in rpo.iter().enumerate() {
            position[block.index()] = i as u32;
            succs[block.index()] = successors(func, block);
            for target in func.term(block).targets() {
                preds[target.block.index()].push(block);
            }
        }
        let idom = dominators(&rpo, &position, &preds);
        Cfg { rpo, position, preds, succs, idom }
    }

    /// Where a reachable block may go.
    pub fn succs(&self, block: Block) -> impl Iterator<Item = Block> {
        self.succs[block.index()].into_iter().flatten()
    }

    /// Whether the entry reaches the block.
    pub fn is_reachable(&self, block: Block) -> bool {
        self.position[block.index()] != NONE
    }

    /// Whether every way to `b` leads through `a`. Both reachable.
    pub fn dominates(&self, a: Block, b: Block) -> bool {
        let mut at = b;
        while self.position[at.index()] > self.position[a.index()] {
            at = self.idom[at.index()];
        }
        at == a
    }

    /// By block: the blocks that it immediately dominates, in reverse post order.
    pub fn dominator_tree(&self) -> Vec<Vec<Block>> {
        let mut children = vec![Vec::new(); self.preds.len()];
        for &block in &self.rpo[1..] {
            children[self.idom[block.index()].index()].push(block);
        }
        children
    }

    /// By block: where its dominance ends (Cytron et al. 1991).
    pub fn dominance_frontiers(&self) -> Vec<Vec<Block>> {
        let mut frontiers = vec![Vec::new(); self.preds.len()];
        for &block in &self.rpo {
            if self.preds[block.index()].len() < 2 {
                continue;
            }
            for &pred in &self.preds[block.index()] {
                let mut runner = pred;
                while runner != self.idom[block.index()] {
                    let frontier: &mut Vec<Block> = &mut frontiers[runner.index()];
                    if !frontier.contains(&block) {
                        frontier.push(block);
                    }
                    runner = self.idom[runner.index()];
                }
            }
        }
        frontiers
    }
}

/// Depth first without recursion: a script's nesting must not be able to overflow our stack.
/// The second way of a branch is visited first, so that the first comes right after the branch.
fn reverse_post_order(func: &Function) -> Vec<Block> {
    let mut seen = vec![false; func.blocks.len()];
    let mut order = Vec::with_capacity(func.blocks.len());
    let entry = func.layout[0];
    seen[entry.index()] = true;
    let mut stack = vec![(entry, successors(func, entry))];
    while let Some((block, left)) = stack.last_mut() {
        match left.iter_mut().rev().find_map(Option::take) {
            Some(next) if seen[next.index()] => {}
            Some(next) => {
                seen[next.index()] = true;
                stack.push((next, successors(func, next)));
            }
            None => {
                order.push(*block);
                stack.pop();
            }
        }
    }
    order.reverse();
    order
}

fn successors(func: &Function, block: Block) -> [Option<Block>; 2] {
    let mut targets = func.term(block).targets().map(|target| target.block);
    [targets.next(), targets.next()]
}

/// Cooper, Harvey and Kennedy, "A simple, fast dominance algorithm" (2001).
fn dominators(rpo: &[Block], position: &[u32], preds: &[Vec<Block>]) -> Vec<Block> {
    let mut idom = vec![NONE; rpo.len()];
    idom[0] = 0;
    let mut changed = true;
    while changed {
        changed = false;
        for (i, block) in rpo.iter().enumerate().skip(1) {
            let mut new = NONE;
            for pred in &preds[block.index()] {
                let mut a = position[pred.index()];
                if idom[a as usize] == NONE {
                    continue;
                }
                let mut b = new;
                if b == NONE {
                    b = a;
                }
                while a != b {
                    if a > b {
                        a = idom[a as usize];
                    } else {
                        b = idom[b as usize];
                    }
                }
                new = a;
            }
            if idom[i] != new {
                idom[i] = new;
                changed = true;
            }
        }
    }
    let mut by_block = vec![rpo[0]; preds.len()];
    for (i, block) in rpo.iter().enumerate() {
        by_block[block.index()] = rpo[idom[i] as usize];
    }
    by_block
}
