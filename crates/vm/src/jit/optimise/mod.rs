//! The second tier: makes one instruction of several, before templates are chosen.
//!
//! Compilers for BPF have two-operand instructions and one addressing mode to work with; processors
//! have more. The passes here work on a function in place: registers stay where they are, every
//! slot keeps its number, what is no longer needed becomes [`Inst::Nop`]. In order:
//!
//! 1. [`slots`]: words of the stack that nothing points to become registers.
//! 2. [`choose`]: a jump over a move or a quick operation becomes a conditional move.
//! 3. [`fold`]: sums become addresses, copies are read through, rotations and swapped loads found.
//! 4. [`liveness`]: what nobody reads is taken out.
//! 5. [`coalesce`]: what is made only to be moved is made where it is wanted.
//! 6. [`sink`]: what only one way of a branch reads is made on that way.

mod choose;
mod coalesce;
mod fold;
mod inst;
mod liveness;
mod sink;
mod slots;

use std::ops::Range;

use bombus_isa::Op;

pub use inst::{Address, Inst, Test};
pub use sink::Sunk;
pub use slots::FIRST_EXTRA;

/// A function, optimised.
pub struct Optimised {
    /// An instruction a slot, from the function's first.
    pub insts: Vec<Inst>,
    /// For each slot, which registers somebody reads later, a bit each.
    pub live_after: Vec<u16>,
    /// What is to be made after branches, in the order of these.
    pub sunk: Vec<Sunk>,
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
    let sunk = sink::sink(&mut insts, &blocks, &mut live_after);
    Optimised { insts, live_after, sunk }
}
