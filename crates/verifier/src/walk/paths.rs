//! What a path is told by: how much was walked, where it jumped; and paths that are still to be walked.

use super::history::{Jump, Links, Touch};
use super::{Check, Walk, refuse};
use super::{MAX_PENDING, MAX_SPARE, Pending};
use crate::state::{State, StateRef};

impl Walk<'_> {
    /// One instruction more in the function that is walked (`account_processed_insn`).
    pub(super) fn count_instruction(&mut self) {
        self.stats.processed += 1;
        let top = self.state.top();
        self.walked.resize(top + 1, 0);
        self.walked[top] += 1;
        self.functions[self.state.frames[top].function as usize].stats.own += 1;
    }

    /// Before the innermost function is left: its instructions are those of its caller, too
    /// (`account_processed_insns`).
    pub(crate) fn count_function(&mut self) {
        let top = self.state.top();
        self.count_frame(top);
        self.walked.truncate(top);
    }

    fn count_frame(&mut self, frame: usize) {
        let Some(count) = self.walked.get_mut(frame).map(std::mem::take) else { return };
        let function = self.state.frames[frame].function as usize;
        self.functions[function].stats.total += count;
        if let Some(caller) = frame.checked_sub(1) {
            self.walked[caller] += count;
        }
    }

    /// At the end of a path (`account_current_path`).
    pub(super) fn count_path(&mut self) {
        for frame in (0..self.walked.len().min(self.state.frames.len())).rev() {
            self.count_frame(frame);
        }
        self.walked.clear();
    }

    /// Takes note of an instruction for those who go back (`bpf_push_jmp_history`).
    pub(crate) fn note_jump(&mut self, touch: Touch, links: Links) {
        if self.is_in_history
            && let Some(jump) = self.state.history.last_mut()
        {
            jump.touch.stack = touch.stack.or(jump.touch.stack);
            jump.touch.dst_is_stack |= touch.dst_is_stack;
            jump.touch.src_is_stack |= touch.src_is_stack;
            if links.len() > 0 {
                jump.links = links;
            }
            return;
        }
        let (slot, previous) = (self.slot as u32, self.previous);
        self.state.history.push(Jump { slot, previous, touch, links });
        self.is_in_history = true;
    }

    /// What is known now, once more.
    pub(crate) fn copy_state(&mut self) -> State {
        self.state.clone_in(self.spare.pop())
    }

    /// A path to be walked later, from what is known now (`push_stack`): what it starts with.
    pub(crate) fn push_path(&mut self, slot: usize, speculative: bool) -> Check<&mut State> {
        let mut state = self.copy_state();
        state.speculative |= speculative;
        self.push_state(state, slot)?;
        let last = self.pending.len() - 1;
        Ok(&mut self.pending[last].state)
    }

    /// A path to be walked later, from what is known on another way from here.
    pub(crate) fn push_state(&mut self, mut state: State, slot: usize) -> Check {
        if self.pending.len() + 1 > MAX_PENDING {
            let count = self.pending.len() + 1;
            refuse!(self, E2BIG, "The sequence of {count} jumps is too complex.");
        }
        state.branches = 1;
        if let Some(parent) = state.parent.and_then(|parent| self.keep.get_mut(parent)) {
            parent.state.branches += 1;
        }
        self.queue(state, slot).map(|_| ())
    }

    /// A path to be walked later, from a state of its own.
    pub(crate) fn queue(&mut self, state: State, slot: usize) -> Check<&mut State> {
        if self.pending.len() + 1 > MAX_PENDING {
            let count = self.pending.len() + 1;
            refuse!(self, E2BIG, "The sequence of {count} jumps is too complex for async cb.");
        }
        let (previous, log) = (self.slot as i32, self.log.len());
        self.pending.push(Pending { state, slot, previous, log });
        if let Some(observer) = &mut self.observer {
            observer.parts();
        }
        let last = self.pending.len() - 1;
        Ok(&mut self.pending[last].state)
    }

    /// Lets a state go that is no longer compared with, when nothing comes from it any more.
    pub(crate) fn release_state(&mut self, at: StateRef) {
        if let Some(state) = self.keep.release(at) {
            self.save(state);
        }
    }

    /// Saves the memory of a state that is not needed any more.
    pub(super) fn save(&mut self, state: State) {
        if self.spare.len() < MAX_SPARE {
            self.spare.push(state);
        }
    }

    /// One path less goes on from the states that this one came from (`bpf_update_branch_counts`).
    pub(super) fn end_path(&mut self) -> Check {
        let mut parent = self.state.parent;
        while let Some(at) = parent {
            let Some(kept) = self.keep.get_mut(at) else { break };
            kept.state.branches = kept.state.branches.saturating_sub(1);
            if kept.state.branches != 0 {
                break;
            }
            let next = kept.state.parent;
            self.leave_loop(at)?;
            self.release_state(at);
            parent = next;
        }
        Ok(())
    }
}
