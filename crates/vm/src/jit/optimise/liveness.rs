//! Basic blocks, and which registers somebody will read.

use std::ops::Range;

use bombus_isa::Reg;

use super::inst::{Inst, bit};
use crate::program::target;

/// The basic blocks of a function, in order.
pub(super) fn blocks(insts: &[Inst]) -> Vec<Range<usize>> {
    let mut leaders = vec![false; insts.len() + 1];
    leaders[0] = true;
    for (slot, inst) in insts.iter().enumerate() {
        if let Some(distance) = inst.jump() {
            leaders[target(slot, distance)] = true;
            leaders[slot + 1] = true;
        } else if inst.is_end() {
            leaders[slot + 1] = true;
        }
    }
    leaders[insts.len()] = true;
    let starts: Vec<usize> =
        leaders.iter().enumerate().filter_map(|(slot, leads)| leads.then_some(slot)).collect();
    starts.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

/// Which registers are live at the start of each block.
pub(super) fn live_in(insts: &[Inst], blocks: &[Range<usize>]) -> Vec<u16> {
    // What each block reads before it writes, and what it writes.
    let effects: Vec<(u16, u16)> = blocks
        .iter()
        .map(|block| {
            insts[block.clone()].iter().rev().fold((0, 0), |(uses, defs), inst| {
                ((uses & !inst.defs()) | inst.uses(), defs | inst.defs())
            })
        })
        .collect();
    let mut live = vec![0; blocks.len()];
    loop {
        let mut changed = false;
        for index in (0..blocks.len()).rev() {
            let (uses, defs) = effects[index];
            let now = uses | (live_out(insts, blocks, &live, index) & !defs);
            changed |= now != live[index];
            live[index] = now;
        }
        if !changed {
            return live;
        }
    }
}

fn live_out(insts: &[Inst], blocks: &[Range<usize>], live: &[u16], index: usize) -> u16 {
    let last = blocks[index].end - 1;
    let jump = insts[last].jump().map_or(0, |distance| {
        let to = target(last, distance);
        let found = blocks.binary_search_by_key(&to, |block| block.start);
        found.map_or(u16::MAX, |block| live[block])
    });
    let next = if insts[last].is_end() { 0 } else { live.get(index + 1).copied().unwrap_or(0) };
    jump | next
}

/// Takes out what nobody needs; gives for each slot what is live after it.
pub(super) fn remove_dead(insts: &mut [Inst], blocks: &[Range<usize>]) -> Vec<u16> {
    let mut live_after = vec![0; insts.len()];
    // What is taken out may have been all that another needed, in another block.
    loop {
        let live = live_in(insts, blocks);
        let mut changed = false;
        for (index, block) in blocks.iter().enumerate() {
            let mut now = live_out(insts, blocks, &live, index) | bit(Reg::FP);
            for slot in block.clone().rev() {
                live_after[slot] = now;
                let inst = insts[slot];
                if inst != Inst::Nop && inst.is_pure() && inst.defs() & now == 0 {
                    insts[slot] = Inst::Nop;
                    changed = true;
                } else {
                    now = (now & !inst.defs()) | inst.uses();
                }
            }
        }
        if !changed {
            return live_after;
        }
    }
}
