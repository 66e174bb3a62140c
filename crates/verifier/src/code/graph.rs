//! Where control can go: from slot to slot, and from block to block.

use bombus_isa::Op;

use super::functions::TAIL_CALL;
use super::{Function, Instruction};

/// Which slots may come after each slot (`bpf_insn_successors`, `kernel/bpf/liveness.c`). A call
/// goes on after it; what it calls is not its successor.
#[derive(Debug)]
pub(super) struct Graph {
    /// For each slot the place in `to` of its first successor; one more for the end.
    first: Vec<u32>,
    to: Vec<u32>,
}

impl Graph {
    /// `tables` has where the `gotox` of each function go.
    pub(super) fn new(
        instructions: &[Instruction],
        functions: &[Function],
        function_of: &[u16],
        tables: &[Vec<u32>],
    ) -> Graph {
        let mut first = Vec::with_capacity(instructions.len() + 1);
        let mut to = Vec::with_capacity(instructions.len() * 5 / 4);
        for (slot, instruction) in instructions.iter().enumerate() {
            first.push(to.len() as u32);
            let jump = |distance: i32| (slot as i32 + 1 + distance) as u32;
            let next = (slot + instruction.slots()) as u32;
            let function = usize::from(function_of[slot]);
            match *instruction {
                Instruction::Second | Instruction::Op(Op::Exit) => {}
                Instruction::GotoRegister { .. } => to.extend_from_slice(&tables[function]),
                Instruction::Op(Op::Goto { off }) => to.push(jump(off.into())),
                Instruction::Op(Op::GotoLong { off }) => to.push(jump(off)),
                Instruction::Op(Op::MayGoto { off } | Op::JumpIf { off, .. }) => {
                    to.extend([next, jump(off.into())]);
                }
                // These may leave the function.
                Instruction::Op(Op::CallHelper { id: TAIL_CALL } | Op::LoadPacket { .. }) => {
                    to.extend([next, functions[function].exit]);
                }
                _ => to.push(next),
            }
        }
        first.push(to.len() as u32);
        Graph { first, to }
    }

    /// The slots that may come after this one: what follows it first, then where it jumps.
    pub(super) fn successors(&self, slot: usize) -> &[u32] {
        &self.to[self.first[slot] as usize..self.first[slot + 1] as usize]
    }
}

/// Runs of slots that control enters at the first and leaves at the last alone.
#[derive(Debug)]
pub(super) struct Blocks {
    /// The first slot of each; one more for the end.
    starts: Vec<u32>,
    /// Which block each slot is in.
    of: Vec<u32>,
    /// The last instruction of each.
    last: Vec<u32>,
    /// Those that can be reached from their function's start, each after those that control goes
    /// to from it, as far as there is no loop; function by function.
    postorder: Vec<u32>,
    /// For each function its first place in `postorder`; one more for the end.
    of_function: Vec<u32>,
}

impl Blocks {
    pub(super) fn new(
        instructions: &[Instruction],
        functions: &[Function],
        graph: &Graph,
    ) -> Blocks {
        let len = instructions.len();
        let mut is_start = vec![false; len + 1];
        for function in functions {
            is_start[function.start as usize] = true;
        }
        for (slot, instruction) in instructions.iter().enumerate() {
            let next = slot + instruction.slots();
            let successors = graph.successors(slot);
            if *instruction != Instruction::Second && successors != [next as u32] {
                is_start[next] = true;
                for &to in successors {
                    is_start[to as usize] = true;
                }
            }
        }
        let mut starts = Vec::new();
        let mut of = vec![0; len];
        let mut last: Vec<u32> = Vec::new();
        for (slot, instruction) in instructions.iter().enumerate() {
            if is_start[slot] {
                starts.push(slot as u32);
                last.push(slot as u32);
            }
            of[slot] = starts.len() as u32 - 1;
            if *instruction != Instruction::Second
                && let Some(last) = last.last_mut()
            {
                *last = slot as u32;
            }
        }
        starts.push(len as u32);
        let mut blocks =
            Blocks { starts, of, last, postorder: Vec::new(), of_function: Vec::new() };
        blocks.sort(functions, graph);
        blocks
    }

    /// How many there are, those that cannot be reached among them.
    pub(super) fn len(&self) -> usize {
        self.last.len()
    }

    /// The first slot.
    pub(super) fn start(&self, block: usize) -> usize {
        self.starts[block] as usize
    }

    /// The slot of the last instruction.
    pub(super) fn last(&self, block: usize) -> usize {
        self.last[block] as usize
    }

    /// The slots.
    pub(super) fn slots(&self, block: usize) -> std::ops::Range<usize> {
        self.starts[block] as usize..self.starts[block + 1] as usize
    }

    /// The block that the slot is in.
    pub(super) fn of(&self, slot: usize) -> usize {
        self.of[slot] as usize
    }

    /// The blocks that may come after this one.
    pub(super) fn successors<'a>(
        &'a self,
        graph: &'a Graph,
        block: usize,
    ) -> impl DoubleEndedIterator<Item = usize> + 'a {
        graph.successors(self.last[block] as usize).iter().map(|&slot| self.of(slot as usize))
    }

    /// All that can be reached, each function's in postorder, the functions in theirs.
    pub(super) fn postorder(&self) -> &[u32] {
        &self.postorder
    }

    /// Those of a function.
    pub(super) fn of_function(&self, function: usize) -> &[u32] {
        let place = |function: usize| self.of_function[function] as usize;
        &self.postorder[place(function)..place(function + 1)]
    }

    /// `bpf_compute_postorder` (`kernel/bpf/cfg.c`): the order matters where results are joined in
    /// it, so ties are broken as there: what was found first is left last.
    fn sort(&mut self, functions: &[Function], graph: &Graph) {
        const FOUND: u8 = 1;
        const LEFT: u8 = 2;
        let mut state = vec![0_u8; self.len()];
        let mut stack = Vec::new();
        for function in functions {
            self.of_function.push(self.postorder.len() as u32);
            let start = self.of(function.start as usize);
            state[start] |= FOUND;
            stack.push(start);
            while let Some(&block) = stack.last() {
                if state[block] & LEFT != 0 {
                    self.postorder.push(block as u32);
                    stack.pop();
                    continue;
                }
                state[block] |= LEFT;
                for next in self.successors(graph, block) {
                    if state[next] == 0 {
                        state[next] = FOUND;
                        stack.push(next);
                    }
                }
            }
        }
        self.of_function.push(self.postorder.len() as u32);
    }
}
