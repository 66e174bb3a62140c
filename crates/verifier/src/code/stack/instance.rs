//! A function in one place of the call chain, and which slots of the stacks of all frames up to it
//! its instructions use (`struct func_instance`, `kernel/bpf/liveness.c`).

use std::fmt::Write;

use super::super::Function;
use super::super::graph::{Blocks, Graph};
use super::slots::{InFrame, StackSlots};

/// Nested calls at most, the entry counted (`MAX_CALL_FRAMES`).
pub(super) const MAX_FRAMES: usize = 16;

/// A function as it is called from one place, so many calls deep.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    /// The slot of the call; for depth 0 that of the function's start.
    pub(super) callsite: u32,
    /// Frames before its own.
    pub(super) depth: u8,
    /// The function's place.
    pub(super) function: u16,
    /// The function's first slot.
    start: u32,
    slots: u32,
    /// What is known of each frame's stack; nothing of those that it does not use.
    frames: [Option<Box<Frame>>; MAX_FRAMES],
}

/// For each slot of the function sets of slots of one frame's stack.
#[derive(Clone, Debug)]
struct Frame {
    /// That it may read.
    reads: Vec<StackSlots>,
    /// That it always overwrites.
    writes: Vec<StackSlots>,
    /// That may be read from there on.
    live: Vec<StackSlots>,
}

impl Instance {
    pub(super) fn new(callsite: usize, depth: u8, index: usize, function: &Function) -> Instance {
        Instance {
            callsite: callsite as u32,
            depth,
            function: index as u16,
            start: function.start,
            slots: function.end - function.start,
            frames: Default::default(),
        }
    }

    fn frame(&mut self, frame: u8) -> Option<&mut Frame> {
        let slots = self.slots as usize;
        let frame = self.frames.get_mut(usize::from(frame))?;
        Some(frame.get_or_insert_with(|| {
            let none = vec![StackSlots::NONE; slots];
            Box::new(Frame { reads: none.clone(), writes: none.clone(), live: none })
        }))
    }

    pub(super) fn read(&mut self, frame: u8, slot: usize, slots: StackSlots) {
        let at = slot.wrapping_sub(self.start as usize);
        if let Some(reads) = self.frame(frame).and_then(|frame| frame.reads.get_mut(at)) {
            *reads |= slots;
        }
    }

    pub(super) fn write(&mut self, frame: u8, slot: usize, slots: StackSlots) {
        if slots.is_empty() {
            return;
        }
        let at = slot.wrapping_sub(self.start as usize);
        if let Some(writes) = self.frame(frame).and_then(|frame| frame.writes.get_mut(at)) {
            *writes |= slots;
        }
    }

    /// The slots of a frame's stack that may be read from `slot` on in this function; `None` when
    /// it does not use that stack.
    pub(super) fn live(&self, frame: usize, slot: usize) -> Option<StackSlots> {
        let frame = self.frames.get(frame)?.as_deref()?;
        frame.live.get(slot.wrapping_sub(self.start as usize)).copied()
    }

    /// Another look at the same place, with other arguments: reads are those of either, what is
    /// overwritten must be so in both.
    pub(super) fn merge(&mut self, other: Instance) {
        let pairs = self.frames.iter_mut().zip(other.frames);
        for (frame, other) in pairs.take(usize::from(self.depth) + 1) {
            match (frame.as_deref_mut(), other) {
                (Some(frame), None) => frame.writes.fill(StackSlots::NONE),
                (None, Some(mut other)) => {
                    other.writes.fill(StackSlots::NONE);
                    *frame = Some(other);
                }
                (Some(frame), Some(other)) => {
                    for (reads, others) in frame.reads.iter_mut().zip(other.reads) {
                        *reads |= others;
                    }
                    for (writes, others) in frame.writes.iter_mut().zip(other.writes) {
                        *writes = *writes & others;
                    }
                }
                (None, None) => {}
            }
        }
    }

    /// Finds out what is live where, from what is read and written.
    pub(super) fn update(&mut self, graph: &Graph, blocks: &Blocks) {
        let (start, end) = (self.start as usize, (self.start + self.slots) as usize);
        let order = blocks.of_function(self.function.into());
        for frame in self.frames.iter_mut().flatten() {
            frame.update(start, end, order, graph, blocks);
        }
    }

    /// Forgets what only serves to find out what is live.
    pub(super) fn settle(&mut self) {
        for frame in self.frames.iter_mut().flatten() {
            frame.reads = Vec::new();
            frame.writes = Vec::new();
        }
    }

    /// What the instruction in `slot` reads and overwrites, as the log says it.
    pub(super) fn listed(&self, slot: usize) -> String {
        let at = slot.wrapping_sub(self.start as usize);
        let list = |name: &str, of: fn(&Frame) -> &[StackSlots]| {
            let mut text = String::new();
            for (number, frame) in self.frames.iter().enumerate().rev() {
                let slots = frame.as_deref().and_then(|frame| of(frame).get(at)).copied();
                let slots = slots.filter(|slots| !slots.is_empty());
                if let Some(slots) = slots {
                    let before = if text.is_empty() { name } else { "" };
                    let _ = write!(text, "{before} {}", InFrame(number, slots));
                }
            }
            text
        };
        list(" use:", |frame| &frame.reads) + &list(" def:", |frame| &frame.writes)
    }
}

impl Frame {
    fn update(&mut self, start: usize, end: usize, order: &[u32], graph: &Graph, blocks: &Blocks) {
        // What each block reads, and what passes through it.
        let effects: Vec<(StackSlots, StackSlots)> = order
            .iter()
            .map(|&block| {
                let slots = blocks.slots(block as usize).rev().map(|slot| slot - start);
                slots.fold((StackSlots::NONE, StackSlots::ALL), |(reads, passes), at| {
                    let kept = !self.writes[at];
                    (reads & kept | self.reads[at], passes & kept)
                })
            })
            .collect();
        // Only the entries of blocks' starts are used until nothing changes any more.
        let live = &mut self.live;
        let after = |live: &[StackSlots], block: usize| {
            blocks
                .successors(graph, block)
                .map(|next| blocks.start(next))
                .filter(|slot| (start..end).contains(slot))
                .fold(StackSlots::NONE, |all, slot| all | live[slot - start])
        };
        let mut changed = true;
        while changed {
            changed = false;
            for (&block, &(reads, passes)) in order.iter().zip(&effects) {
                let block = block as usize;
                let before = after(live, block) & passes | reads;
                let at = blocks.start(block) - start;
                changed |= before != live[at];
                live[at] = before;
            }
        }
        for &block in order {
            let block = block as usize;
            let mut now = after(live, block);
            for slot in blocks.slots(block).skip(1).rev() {
                now = now & !self.writes[slot - start] | self.reads[slot - start];
                live[slot - start] = now;
            }
        }
    }
}
