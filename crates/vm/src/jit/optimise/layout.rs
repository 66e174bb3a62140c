//! In which order blocks stand: what likely comes next comes next, after Pettis and Hansen, "Profile
//! guided code positioning" (PLDI 1990), with guesses for a profile: loops go on, and each level of
//! them runs often.

use super::flow::{End, Flow};
use super::loops::Loops;

/// A block in its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placed {
    /// Which.
    pub block: usize,
    /// It goes round to itself.
    pub is_loop: bool,
    /// Others than the block that stands before it lead here.
    pub is_join: bool,
}

/// How often a way is gone, of 16.
const LIKELY: u32 = 14;
const EVEN: u32 = 9;
/// Deeper loops are no hotter.
const DEEPEST: u32 = 6;

/// The order of all blocks that can be reached.
pub(super) fn layout(flow: &Flow, loops: &Loops) -> Vec<Placed> {
    let chains = Chains::of(flow, loops);
    let mut order = Vec::with_capacity(flow.blocks.len());
    for first in 0..flow.blocks.len() {
        if chains.before[first].is_some() || loops.depth[first].is_none() {
            continue;
        }
        let mut block = Some(first);
        while let Some(at) = block {
            let alone = matches!(loops.predecessors[at][..], [from] if chains.before[at] == Some(from as usize));
            let is_loop = flow.blocks[at].end.successors().any(|to| to == at);
            order.push(Placed { block: at, is_loop, is_join: !alone });
            block = chains.after[at];
        }
    }
    order
}

/// Blocks that stand one after the other.
struct Chains {
    before: Vec<Option<usize>>,
    after: Vec<Option<usize>>,
    /// For each block, one that stands nearer to the end of its chain's tree; a union-find.
    parent: Vec<usize>,
}

impl Chains {
    fn of(flow: &Flow, loops: &Loops) -> Chains {
        let count = flow.blocks.len();
        let (before, after) = (vec![None; count], vec![None; count]);
        let mut chains = Chains { before, after, parent: (0..count).collect() };
        let mut ways = ways(flow, loops);
        ways.sort_by_key(|&(weight, ..)| std::cmp::Reverse(weight));
        ways.into_iter().for_each(|(_, from, to)| chains.join(from, to));
        chains
    }

    /// Puts one right after the other, if there is room.
    fn join(&mut self, from: usize, to: usize) {
        if to == 0 || self.after[from].is_some() || self.before[to].is_some() {
            return;
        }
        let (a, b) = (self.root(from), self.root(to));
        if a != b {
            self.parent[a] = b;
            (self.after[from], self.before[to]) = (Some(to), Some(from));
        }
    }

    fn root(&mut self, mut block: usize) -> usize {
        while self.parent[block] != block {
            self.parent[block] = self.parent[self.parent[block]];
            block = self.parent[block];
        }
        block
    }
}

/// All ways between blocks, and how often each is gone.
fn ways(flow: &Flow, loops: &Loops) -> Vec<(u32, usize, usize)> {
    let mut ways = Vec::with_capacity(2 * flow.blocks.len());
    for (from, block) in flow.blocks.iter().enumerate() {
        let Some(depth) = loops.depth[from] else { continue };
        let weight = 8u32.pow(depth.min(DEEPEST));
        match block.end {
            End::Leave => {}
            End::Goto(to) => ways.push((16 * weight, from, to)),
            End::Branch { taken, next, .. } | End::MayGoto { taken, next } => {
                let of_16 = match loops.depth[taken].cmp(&loops.depth[next]) {
                    std::cmp::Ordering::Greater => 16 - LIKELY,
                    std::cmp::Ordering::Less => LIKELY,
                    // The compiler had its reasons.
                    std::cmp::Ordering::Equal => EVEN,
                };
                ways.push((of_16 * weight, from, next));
                ways.push(((16 - of_16) * weight, from, taken));
            }
        }
    }
    ways
}
