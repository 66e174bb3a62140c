//! Loops: the strongly connected components of the slots (`bpf_compute_scc`, `kernel/bpf/cfg.c`).

use super::flow::Marks;
use super::graph::{Blocks, Graph};

/// The number of each slot's component, 0 for what is in no loop, and how many numbers there are,
/// 0 among them. What calls back before it returns is in a loop by itself.
pub(super) fn components(graph: &Graph, blocks: &Blocks, marks: &[Marks]) -> (Vec<u32>, u32) {
    let mut search = Search {
        number: vec![0; blocks.len()],
        low: vec![0; blocks.len()],
        path: Vec::new(),
        stack: Vec::new(),
        numbers: 0,
        found: Found { of: vec![0; marks.len()], count: 1 },
    };
    for block in 0..blocks.len() {
        if search.number[block] == 0 {
            search.from(block, graph, blocks, marks);
        }
    }
    (search.found.of, search.found.count)
}

/// Tarjan's algorithm, with its recursion on a stack.
struct Search {
    /// In which order blocks were found, from 1.
    number: Vec<u32>,
    /// The least number that can be reached from a block among those that are in no component yet.
    low: Vec<u32>,
    /// Blocks that are in no component yet.
    path: Vec<u32>,
    /// Blocks whose successors are being followed, and how many have been.
    stack: Vec<(u32, u32)>,
    numbers: u32,
    found: Found,
}

struct Found {
    of: Vec<u32>,
    count: u32,
}

const IN_A_COMPONENT: u32 = u32::MAX;

impl Search {
    fn from(&mut self, root: usize, graph: &Graph, blocks: &Blocks, marks: &[Marks]) {
        self.enter(root);
        while let Some(top) = self.stack.last_mut() {
            let block = top.0 as usize;
            let next = blocks.successors(graph, block).nth(top.1 as usize);
            top.1 += 1;
            match next {
                Some(next) if self.number[next] == 0 => self.enter(next),
                Some(next) => self.low[block] = self.low[block].min(self.low[next]),
                None => {
                    self.stack.pop();
                    self.leave(block, graph, blocks, marks);
                }
            }
        }
    }

    fn enter(&mut self, block: usize) {
        self.numbers += 1;
        self.number[block] = self.numbers;
        self.low[block] = self.numbers;
        self.path.push(block as u32);
        self.stack.push((block as u32, 0));
    }

    fn leave(&mut self, block: usize, graph: &Graph, blocks: &Blocks, marks: &[Marks]) {
        if let Some(&(parent, _)) = self.stack.last() {
            let low = self.low[block];
            self.low[parent as usize] = self.low[parent as usize].min(low);
        }
        if self.low[block] < self.number[block] {
            return;
        }
        let is_loop = self.path.last() != Some(&(block as u32))
            || blocks.successors(graph, block).any(|next| next == block);
        while let Some(member) = self.path.pop() {
            self.low[member as usize] = IN_A_COMPONENT;
            if is_loop {
                let count = self.found.count;
                self.found.of[blocks.slots(member as usize)].fill(count);
            }
            if member as usize == block {
                break;
            }
        }
        if is_loop {
            self.found.count += 1;
            return;
        }
        // The kernel numbers slots as it comes back from them.
        for slot in blocks.slots(block).rev() {
            if marks[slot].has(Marks::CALLS_BACK) {
                self.found.of[slot] = self.found.count;
                self.found.count += 1;
            }
        }
    }
}
