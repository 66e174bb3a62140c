//! Numbers that change from round to round of a loop, and do not matter, become any number, so that
//! rounds become alike (`widen_imprecise_scalars`, `kernel/bpf/verifier.c`).

use super::Walk;
use crate::state::{Base, Register, State, StateRef};

impl Walk<'_> {
    /// The newest state on the path to the current one that was kept at a slot, in the same calls
    /// (`find_prev_entry`).
    pub(crate) fn previous_round(&self, slot: usize) -> Option<StateRef> {
        let calls = self.state.frames.iter().map(|frame| frame.callsite);
        self.previous_in(calls, self.state.depth, slot)
    }

    fn previous_in(
        &self,
        calls: impl Iterator<Item = i32> + Clone,
        depth: u32,
        slot: usize,
    ) -> Option<StateRef> {
        let bucket = self.keep.bucket(&self.state, slot);
        self.keep.listed(bucket).into_iter().find(|at| {
            self.keep.get(*at).is_some_and(|kept| {
                kept.state.slot == slot
                    && kept.state.branches != 0
                    && kept.calls().eq(calls.clone())
                    && kept.state.depth < depth
            })
        })
    }

    /// The same for the state that the current one came from.
    pub(crate) fn previous_round_of_parent(&self, slot: usize) -> Option<StateRef> {
        let parent = self.keep.get(self.state.parent?)?;
        self.previous_in(parent.calls(), parent.state.depth, slot)
    }

    /// Whether the state that the current one came from was kept at this very instruction.
    pub(crate) fn parent_is_here(&self) -> bool {
        let parent = self.state.parent.and_then(|parent| self.keep.get(parent));
        parent.is_some_and(|parent| {
            let calls = self.state.frames.iter().map(|frame| frame.callsite);
            parent.state.slot == self.slot && parent.calls().eq(calls)
        })
    }

    /// Numbers of `state` that are not as they were in an earlier round, and do not matter, become
    /// any number.
    pub(crate) fn widened(&self, old: Option<StateRef>, mut state: State) -> State {
        let Some(old) = old.and_then(|old| self.keep.get(old)) else { return state };
        let unknown = self.unknown();
        let widen = |was: &Register, is: &mut Register| {
            let same = was.kind == is.kind
                && was.object == is.object
                && was.value == is.value
                && was.delta == is.delta;
            if was.kind.is(Base::Scalar)
                && is.kind.is(Base::Scalar)
                && !was.precise
                && !is.precise
                && !same
            {
                *is = unknown;
            }
        };
        for (was, is) in old.state.frames.iter().zip(&mut state.frames) {
            was.regs.iter().zip(&mut is.regs).for_each(|(was, is)| widen(was, is));
            for (place, _) in was.stack.spills() {
                if is.stack.get(place).is_some_and(|is| is.is_spill()) {
                    let before = was.stack.register(place);
                    is.stack.update(place, |is| widen(&before, is));
                }
            }
        }
        state
    }
}
