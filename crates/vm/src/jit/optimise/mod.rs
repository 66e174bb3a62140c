//! The second tier: makes one instruction of several, before templates are chosen.
//!
//! Compilers for BPF have two-operand instructions and one addressing mode to work with; processors
//! have more. The first passes work on a function in place: registers stay where they are, every
//! slot keeps its number, what is no longer needed becomes [`Inst::Nop`]. In order:
//!
//! 1. [`slots`]: words of the stack that nothing points to become registers.
//! 2. [`choose`]: a jump over a move or a quick operation becomes a conditional move.
//! 3. [`fold`]: sums become addresses, copies are read through, rotations and swapped loads found.
//! 4. [`liveness`]: what nobody reads is taken out.
//! 5. [`coalesce`]: what is made only to be moved is made where it is wanted.
//! 6. [`operands`]: loads become operands, shifts parts of addresses.
//! 7. [`sink`]: what only one way of a branch reads is made on that way.
//!
//! Then the function becomes a graph ([`flow`]), in which
//!
//! 8. [`unroll`]: short loops go round several times before they jump back;
//! 9. [`layout`]: what likely comes next stands next.

mod choose;
mod coalesce;
mod flow;
mod fold;
mod inst;
mod layout;
mod liveness;
mod loops;
mod operands;
mod sink;
mod slots;
mod unroll;

use std::ops::Range;

use bombus_isa::Op;

pub(crate) use choose::{asks_again, chosen, skips_one};
pub use flow::{Block, End, Flow, Step};
pub use inst::{Address, Inst, Test};
pub use layout::Placed;
use loops::Loops;
pub use slots::FIRST_EXTRA;

/// A function, optimised.
pub struct Optimised {
    /// What it does.
    pub flow: Flow,
    /// In which order its blocks stand: all that can be reached, the entry first.
    pub order: Vec<Placed>,
}

impl Optimised {
    /// All instructions, those at the ends of blocks among them.
    pub fn insts(&self) -> impl Iterator<Item = Inst> {
        let blocks = self.order.iter().map(|placed| &self.flow.blocks[placed.block]);
        blocks.flat_map(|block| block.steps.iter().map(|step| step.inst).chain(block.end.inst()))
    }
}

/// Optimises the function in these slots. `extra` is how many registers the target has beside those
/// of the program that outlive calls; they are numbered from [`FIRST_EXTRA`].
pub fn optimise(ops: &[Op], function: Range<usize>, extra: usize) -> Optimised {
    let start = function.start;
    let mut insts: Vec<Inst> = ops[function].iter().map(|&op| Inst::Op(op)).collect();
    // Second slots of wide instructions hold a copy of the first.
    let mut slot = 0;
    while slot < insts.len() {
        let slots = ops[start + slot].slots();
        if slots == 2 {
            insts[slot + 1] = Inst::Nop;
        }
        slot += slots;
    }
    slots::promote(&mut insts, extra);
    choose::choose(&mut insts);
    let blocks = liveness::blocks(&insts);
    fold::fold(&mut insts, &blocks);
    let mut live_after = liveness::remove_dead(&mut insts, &blocks);
    if coalesce::coalesce(&mut insts, &blocks, &live_after) {
        live_after = liveness::remove_dead(&mut insts, &blocks);
    }
    operands::operands(&mut insts, &blocks, &mut live_after);
    let sunk = sink::sink(&mut insts, &blocks, &mut live_after);
    let mut flow = Flow::new(&insts, &blocks, &live_after, &sunk);
    let mut loops = Loops::of(&flow);
    if unroll::unroll(&mut flow, &loops) {
        loops = Loops::of(&flow);
    }
    let order = layout::layout(&flow, &loops);
    Optimised { flow, order }
}
