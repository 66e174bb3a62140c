//! What leads to a refusal: the instructions of the path, and what was known before each.
//!
//! The walk goes the same way each time. So a first walk notes of each instruction only which one came
//! before it, and a second keeps what was known before those that turned out to matter.

use crate::state::State;
use crate::walk::{Observer, Walk};

/// Instructions of a path that are kept at most: the last ones.
const MAX_PATH: usize = 1500;
/// No instruction.
const NONE: u32 = u32::MAX;

/// Which instruction came before which.
#[derive(Default)]
pub(super) struct Trail {
    /// The one before each instruction that was looked at.
    before: Vec<u32>,
    /// The last one.
    at: Option<u32>,
    /// Where paths left that wait to be walked.
    parted: Vec<Option<u32>>,
}

impl Trail {
    /// The numbers of the instructions that lead to the last one, in the order of walking.
    pub(super) fn path(&self) -> Vec<u32> {
        let next = |at: &u32| Some(self.before[*at as usize]).filter(|at| *at != NONE);
        let mut path: Vec<u32> = std::iter::successors(self.at, next).take(MAX_PATH).collect();
        path.reverse();
        path
    }
}

impl Observer for Trail {
    fn starts(&mut self) {
        self.at = None;
        self.parted.clear();
    }

    fn before(&mut self, _: &Walk<'_>) {
        self.before.push(self.at.unwrap_or(NONE));
        self.at = Some(self.before.len() as u32 - 1);
    }

    fn parts(&mut self) {
        self.parted.push(self.at);
    }

    fn turns_back(&mut self) {
        self.at = self.parted.pop().flatten();
    }
}

/// What was known before the instructions with these numbers.
pub(super) struct Snapshots<'p> {
    wanted: &'p [u32],
    count: u32,
    states: Vec<State>,
}

impl<'p> Snapshots<'p> {
    pub(super) fn of(wanted: &'p [u32]) -> Snapshots<'p> {
        Snapshots { wanted, count: 0, states: Vec::new() }
    }

    pub(super) fn finish(self) -> Vec<State> {
        self.states
    }
}

impl Observer for Snapshots<'_> {
    fn before(&mut self, walk: &Walk<'_>) {
        if self.wanted.get(self.states.len()) == Some(&self.count) {
            let history = Vec::new();
            self.states.push(State { history, slot: walk.slot, ..walk.state.clone() });
        }
        self.count += 1;
    }
}
