//! The walk over a function that was optimised: every slot once, the bodies of short loops several
//! times.

use std::ops::Range;

use bombus_isa::Op;

use super::HOMES;
use super::emit::Emitter;
use super::encode::Branch;
use super::frame::Frame;
use crate::jit::LinkError;
use crate::jit::optimise::{self, FIRST_EXTRA, Inst, Optimised, Sunk, Test};
use crate::program::Uses;

/// Loops begin at multiples of this, so that the processor fetches a short one at once.
const LOOP_ALIGN: usize = 32;
/// Instructions of a loop's body that stands there several times, in all and once.
const UNROLLED: usize = 32;
const UNROLLABLE: usize = 12;

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
        let insts = code.insts.iter().copied().chain(code.sunk.iter().map(|sunk| sunk.inst));
        self.frame = Frame::of(insts, &self.homes, environment && function.start == 0);
        self.open(function.start);
        for slot in 0..code.insts.len() {
            let pc = function.start + slot;
            if self.heads[pc / 64] & (1 << (pc % 64)) != 0 {
                self.asm.align(LOOP_ALIGN);
            }
            self.arrive(pc);
            if let Some(body) = self.unrollable(&code, function.start, slot) {
                self.unrolled(&code, function.start, body)?;
            } else {
                self.slot(&code, function.start, slot)?;
            }
        }
        self.cold_code();
        (self.homes, self.live) = (HOMES, u16::MAX);
        Ok(())
    }

    /// What is in a slot.
    pub(super) fn slot(
        &mut self,
        code: &Optimised,
        start: usize,
        slot: usize,
    ) -> Result<(), LinkError> {
        self.live = code.live_after[slot];
        match code.insts[slot] {
            Inst::Branch { test, off } => {
                let to = (slot as i64 + 1 + i64::from(off)) as usize;
                self.branch(code, start, slot, test, to, true);
                after(code, slot, false).for_each(|inst| self.detached(inst));
            }
            Inst::Op(op) => {
                self.single(op, start + slot)?;
            }
            inst => self.fused_instruction(inst),
        }
        Ok(())
    }

    /// Goes to the slot `to`, by way of what only that way needs.
    fn branch(
        &mut self,
        code: &Optimised,
        start: usize,
        slot: usize,
        test: Test,
        to: usize,
        taken: bool,
    ) {
        let cc = self.test(test);
        let needed: Vec<Inst> = after(code, slot, taken).collect();
        if to <= slot {
            // Nothing is moved to a way back.
            return self.jump(Branch::Jcc(cc), start + slot, to as i64 - slot as i64 - 1);
        }
        let at = self.asm.branch(Branch::Jcc(cc));
        if needed.is_empty() {
            self.branches.push((at, start + to));
        } else {
            self.detours.push((at, needed, start + to));
        }
    }

    /// An instruction away from its slot: nothing is known of what is read afterwards.
    pub(super) fn detached(&mut self, inst: Inst) {
        self.live = u16::MAX;
        match inst {
            // Only what computes is moved, and that always has code.
            Inst::Op(op) => drop(self.single(op, 0)),
            inst => self.fused_instruction(inst),
        }
    }

    /// The body of a short loop, if this slot is its end.
    fn unrollable(&self, code: &Optimised, start: usize, slot: usize) -> Option<Range<usize>> {
        let Inst::Branch { off, .. } = code.insts[slot] else { return None };
        let head = usize::try_from(slot as i64 + 1 + i64::from(off)).ok()?;
        if head >= slot {
            return None;
        }
        let body = head..slot;
        let mut count = 0;
        for at in body.clone() {
            let inst = code.insts[at];
            let inside = at > head && self.is_join(start + at);
            let simple = match inst {
                Inst::Branch { off, .. } => at as i64 + 1 + i64::from(off) > slot as i64,
                Inst::Op(op) => matches!(
                    op,
                    Op::Alu { .. } | Op::Neg { .. } | Op::MovSx { .. } | Op::End { .. }
                ),
                _ => true,
            };
            count += usize::from(inst != Inst::Nop);
            if inside || !simple || count > UNROLLABLE {
                return None;
            }
        }
        (!self.is_join(start + slot)).then_some(body)
    }

    /// A loop whose body stands there already: several times more, so that it jumps less often.
    fn unrolled(
        &mut self,
        code: &Optimised,
        start: usize,
        body: Range<usize>,
    ) -> Result<(), LinkError> {
        let end = body.end;
        let Inst::Branch { test, .. } = code.insts[end] else { return Ok(()) };
        let count = code.insts[body.clone()].iter().filter(|inst| **inst != Inst::Nop).count();
        let copies = (UNROLLED / (count + 1)).clamp(1, 4);
        for _ in 1..copies {
            let out = Test { negated: !test.negated, ..test };
            self.branch(code, start, end, out, end + 1, false);
            for slot in body.clone() {
                self.slot(code, start, slot)?;
            }
        }
        self.slot(code, start, end)
    }
}

/// What is to be made after a branch, on one way.
fn after(code: &Optimised, branch: usize, taken: bool) -> impl Iterator<Item = Inst> {
    let first = code.sunk.partition_point(|sunk| sunk.branch < branch);
    let these = code.sunk[first..].iter().take_while(move |sunk| sunk.branch == branch);
    these.filter(move |sunk| sunk.taken == taken).map(|sunk: &Sunk| sunk.inst)
}
