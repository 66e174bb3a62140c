//! How far a type is.

use std::ops::{BitOr, BitOrAssign};

/// How far a type is: any of these at once, in a byte, since there are many types.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct State(u8);

impl State {
    /// Some other type refers to it.
    pub(super) const REFERENCED: State = State(1);
    /// What has to be declared before it is being found.
    pub(super) const BEING_ORDERED: State = State(1 << 1);
    /// It has its place in the queue, with all that it needs.
    pub(super) const ORDERED: State = State(1 << 2);
    /// It is being written.
    pub(super) const BEING_EMITTED: State = State(1 << 3);
    /// It was written, with all that it refers to.
    pub(super) const EMITTED: State = State(1 << 4);
    /// A declaration without definition was written.
    pub(super) const DECLARED: State = State(1 << 5);

    #[inline]
    pub(super) fn contains(self, state: State) -> bool {
        self.0 & state.0 == state.0
    }

    pub(super) fn without(self, state: State) -> State {
        State(self.0 & !state.0)
    }
}

impl BitOr for State {
    type Output = State;

    fn bitor(self, other: State) -> State {
        State(self.0 | other.0)
    }
}

impl BitOrAssign for State {
    fn bitor_assign(&mut self, other: State) {
        *self = *self | other;
    }
}
