//! Which blocks are in loops, and how deep.

use super::flow::Flow;

/// What is known of a function's loops.
pub(super) struct Loops {
    /// How many loops each block is in; `None`: nothing leads there.
    pub(super) depth: Vec<Option<u32>>,
    /// Ways back: the block that they leave, the head that they lead to.
    pub(super) back: Vec<(usize, usize)>,
    /// The blocks that each is reached from.
    pub(super) predecessors: Vec<Vec<u32>>,
}

impl Loops {
    /// Looks for them.
    pub(super) fn of(flow: &Flow) -> Loops {
        let (depth, back) = (vec![None; flow.blocks.len()], Vec::new());
        let mut loops = Loops { depth, back, predecessors: flow.predecessors() };
        loops.walk(flow);
        loops.back.sort_by_key(|&(_, head)| head);
        let back = std::mem::take(&mut loops.back);
        // Nested loops may make this a product; a guess is enough for a function that has so many.
        let mut budget = 16 * flow.blocks.len();
        let mut heads = vec![usize::MAX; flow.blocks.len()];
        for tails in back.chunk_by(|(_, a), (_, b)| a == b) {
            loops.deepen(tails, &mut heads, &mut budget);
        }
        loops.back = back;
        loops
    }

    /// Depth first: what leads to a block that the walk is still in leads back.
    fn walk(&mut self, flow: &Flow) {
        let mut inside = vec![false; flow.blocks.len()];
        let mut path = vec![(0, flow.blocks[0].end.successors())];
        (self.depth[0], inside[0]) = (Some(0), true);
        while let Some((block, successors)) = path.last_mut() {
            let block = *block;
            match successors.next() {
                Some(to) if inside[to] => self.back.push((block, to)),
                Some(to) if self.depth[to].is_none() => {
                    (self.depth[to], inside[to]) = (Some(0), true);
                    path.push((to, flow.blocks[to].end.successors()));
                }
                Some(_) => {}
                None => {
                    inside[block] = false;
                    path.pop();
                }
            }
        }
    }

    /// All that leads to the tails without the head is in the loop. `heads`: the last loop that a block
    /// was found in.
    fn deepen(&mut self, tails: &[(usize, usize)], heads: &mut [usize], budget: &mut usize) {
        let head = tails[0].1;
        let mut open: Vec<usize> = tails.iter().map(|&(tail, _)| tail).collect();
        open.push(head);
        while let Some(block) = open.pop() {
            let Some(depth) = &mut self.depth[block] else { continue };
            if heads[block] == head || *budget == 0 {
                continue;
            }
            (heads[block], *budget) = (head, *budget - 1);
            *depth += 1;
            if block != head {
                open.extend(self.predecessors[block].iter().map(|&from| from as usize));
            }
        }
    }
}
