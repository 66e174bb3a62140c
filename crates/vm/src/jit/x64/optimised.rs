//! The walk over a function that was optimised, block by block.

use std::ops::Range;

use super::HOMES;
use super::emit::{Emitter, Known};
use super::encode::{Branch, Cc};
use super::frame::Frame;
use crate::jit::LinkError;
use crate::jit::optimise::{self, Block, End, FIRST_EXTRA, Inst, Step};
use crate::program::Uses;

/// Loops begin at multiples of this, so that the processor fetches a short one at once.
const LOOP_ALIGN: usize = 32;

/// Where the blocks of a function are.
struct Places {
    /// Offsets of those that are there already.
    offsets: Vec<Option<usize>>,
    /// Branches to others.
    open: Vec<(usize, usize)>,
}

impl Emitter<'_> {
    /// A function by way of the optimiser.
    pub(super) fn optimised(
        &mut self,
        function: Range<usize>,
        uses: Uses,
        environment: bool,
    ) -> Result<(), LinkError> {
        let ops = self.program.ops();
        let free = Frame::free_registers(uses, environment);
        let code = optimise::optimise(ops, function.clone(), free.len());
        for (home, free) in self.homes[usize::from(FIRST_EXTRA)..].iter_mut().zip(free) {
            *home = free;
        }
        self.frame = Frame::of(code.insts(), &self.homes, environment && function.start == 0);
        self.open(function.start);
        let blocks = &code.flow.blocks;
        let mut places = Places { offsets: vec![None; blocks.len()], open: Vec::new() };
        for (index, placed) in code.order.iter().enumerate() {
            if placed.is_loop {
                self.asm.align(LOOP_ALIGN);
            }
            places.offsets[placed.block] = Some(self.asm.len());
            if placed.is_join {
                self.known = Known::default();
            }
            let Block { steps, end } = &blocks[placed.block];
            self.steps(steps, function.start)?;
            let next = code.order.get(index + 1).map(|placed| placed.block);
            self.end(*end, next, &mut places);
        }
        for (at, block) in places.open {
            // Every block that something leads to is there.
            let Some(offset) = places.offsets[block] else { continue };
            self.asm.patch(at, offset);
        }
        self.cold_code();
        (self.homes, self.live) = (HOMES, u16::MAX);
        Ok(())
    }

    /// What a block does. `start`: the function's first slot.
    pub(super) fn steps(&mut self, steps: &[Step], start: usize) -> Result<(), LinkError> {
        for step in steps {
            self.live = step.live;
            match step.inst {
                Inst::Op(op) => drop(self.single(op, start + step.slot)?),
                inst => self.fused_instruction(inst),
            }
        }
        Ok(())
    }

    /// Goes on, with `next` without a jump.
    fn end(&mut self, end: End, next: Option<usize>, places: &mut Places) {
        let (branch, taken, other) = match end {
            End::Leave => return,
            End::Goto(to) => return self.go(Branch::Jmp, to, next, places),
            End::Branch { test, taken, next: other } => {
                (Branch::Jcc(self.test(test)), taken, other)
            }
            End::MayGoto { taken, next } => {
                Frame::pay_for_loop(&mut self.asm);
                (Branch::Jcc(Cc::B), taken, next)
            }
        };
        match branch {
            Branch::Jcc(cc) if next == Some(taken) => {
                self.go(Branch::Jcc(cc.negated()), other, None, places);
            }
            // The way back is the likely one.
            Branch::Jcc(cc) if places.offsets[other].is_some() && next != Some(other) => {
                self.go(Branch::Jcc(cc.negated()), other, None, places);
                self.go(Branch::Jmp, taken, next, places);
            }
            branch => {
                self.go(branch, taken, None, places);
                self.go(Branch::Jmp, other, next, places);
            }
        }
    }

    /// Goes to a block, unless it is `next` anyway.
    fn go(&mut self, branch: Branch, to: usize, next: Option<usize>, places: &mut Places) {
        match places.offsets[to] {
            _ if next == Some(to) => {}
            Some(offset) => self.asm.branch_to(branch, offset),
            None => {
                let at = self.asm.branch(branch);
                places.open.push((at, to));
            }
        }
    }
}
