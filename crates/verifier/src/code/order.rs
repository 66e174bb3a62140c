//! The order of functions, each after those that it calls (`sort_subprogs_topo`,
//! `kernel/bpf/verifier.c`). That there is one means that there is no recursion.

use bombus_isa::{Imm64, Op};

use super::graph::Blocks;
use super::{Function, Instruction};
use crate::Rejection;

/// A use of another function.
struct Use {
    slot: usize,
    function: usize,
    is_call: bool,
}

/// Places of the functions, each after those that it calls or refers to. Only what can be reached
/// counts.
pub(super) fn sort(
    instructions: &[Instruction],
    functions: &[Function],
    function_of: &[u16],
    blocks: &Blocks,
) -> Result<Vec<u16>, Rejection> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let uses: Vec<Vec<Use>> = (0..functions.len())
        .map(|function| uses(instructions, function_of, blocks, function))
        .collect();
    let mut state = vec![State::New; functions.len()];
    let mut order = Vec::with_capacity(functions.len());
    let mut stack = Vec::new();
    for root in 0..functions.len() {
        if state[root] == State::New {
            state[root] = State::Open;
            stack.push((root, 0));
        }
        while let Some(top) = stack.last_mut() {
            let (function, place) = *top;
            top.1 += 1;
            let Some(used) = uses[function].get(place) else {
                state[function] = State::Done;
                order.push(function as u16);
                stack.pop();
                continue;
            };
            match state[used.function] {
                State::New => {
                    state[used.function] = State::Open;
                    stack.push((used.function, 0));
                }
                State::Open if used.is_call => {
                    let name = |function: usize| &functions[function].name;
                    let message = format!(
                        "recursive call from {}() to {}()",
                        name(function),
                        name(used.function)
                    );
                    return Err(Rejection::invalid(used.slot, message));
                }
                _ => {}
            }
        }
    }
    Ok(order)
}

/// The uses in a function, in the postorder of its slots.
fn uses(
    instructions: &[Instruction],
    function_of: &[u16],
    blocks: &Blocks,
    function: usize,
) -> Vec<Use> {
    let slots =
        blocks.of_function(function).iter().flat_map(|&block| blocks.slots(block as usize).rev());
    let used = |slot: usize| {
        let (off, is_call) = match instructions[slot] {
            Instruction::Op(Op::CallLocal { off }) => (off, true),
            Instruction::Op(Op::LoadImm64 { imm: Imm64::Func(off), .. }) => (off, false),
            _ => return None,
        };
        let to = (slot as i32 + 1 + off) as usize;
        Some(Use { slot, function: function_of[to].into(), is_call })
    };
    slots.filter_map(used).collect()
}
