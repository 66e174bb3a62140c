//! The states that are kept, to end a path where an equal state was seen before
//! (`kernel/bpf/states.c`).

use std::cell::Cell;
use std::collections::BTreeMap;

use super::compare::Place;
use super::outline::Outline;
use crate::code::Code;
use crate::state::{State, StateRef};

/// A state that is kept.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The state; without frames when there is an outline.
    pub state: State,
    /// What is left of its frames when it is no longer compared with.
    pub(super) outline: Vec<Outline>,
    /// The loop that it is in.
    pub chain: Option<LoopChain>,
    /// Where it did not cover the last that was compared with it.
    pub missed: Cell<Option<Place>>,
    /// How many times another was equal to it.
    pub hits: u32,
    /// How many times another was not.
    pub misses: u32,
    /// It is no longer compared with, and goes when nothing came from it any more.
    pub is_dropped: bool,
}

/// The calls that lead into a loop, and which loop (`struct bpf_scc_callchain`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct LoopChain {
    /// The slots of the calls.
    pub calls: Vec<u32>,
    /// The strongly connected component.
    pub component: u32,
}

impl LoopChain {
    /// Of a state, when it is in a loop (`compute_scc_callchain`).
    pub(crate) fn of(state: &State, code: &Code) -> Option<LoopChain> {
        let mut calls = Vec::new();
        for frame in 0..state.frames.len() {
            let slot = state.frame_slot(frame);
            match code.component(slot) {
                0 => calls.push(slot as u32),
                component => return Some(LoopChain { calls, component }),
            }
        }
        None
    }
}

/// What goes on in a loop (`struct bpf_scc_visit`).
#[derive(Debug, Default)]
pub(crate) struct Visit {
    /// The first state in it on the path.
    pub entry: Option<StateRef>,
    /// States that lead back into it.
    pub backedges: Vec<State>,
}

/// All that is kept.
#[derive(Debug)]
pub(crate) struct Keep {
    states: Vec<Option<Box<Kept>>>,
    free: Vec<u32>,
    /// By where they are, and where they were called from: places, the newest last.
    explored: Vec<Vec<StateRef>>,
    /// Loops that are being walked.
    pub visits: BTreeMap<LoopChain, Visit>,
    /// States that others are compared with.
    pub explored_count: u32,
    /// States that are not compared with any more, and stand still.
    pub dropped_count: u32,
    /// States that lead back into loops.
    pub backedge_count: u32,
    /// The most there was of these at once.
    pub peak: u32,
}

impl Keep {
    /// Nothing, for a program of so many slots.
    pub(crate) fn new(slots: usize) -> Keep {
        Keep {
            states: Vec::new(),
            free: Vec::new(),
            explored: vec![Vec::new(); slots.max(1)],
            visits: BTreeMap::new(),
            explored_count: 0,
            dropped_count: 0,
            backedge_count: 0,
            peak: 0,
        }
    }

    /// Forgets every state.
    pub(crate) fn clear(&mut self) {
        self.states.clear();
        self.free.clear();
        self.explored.iter_mut().for_each(Vec::clear);
        self.visits.clear();
        (self.explored_count, self.dropped_count, self.backedge_count) = (0, 0, 0);
    }

    /// A state.
    pub(crate) fn get(&self, state: StateRef) -> Option<&Kept> {
        self.states.get(state.0 as usize)?.as_deref()
    }

    /// A state.
    pub(crate) fn get_mut(&mut self, state: StateRef) -> Option<&mut Kept> {
        self.states.get_mut(state.0 as usize)?.as_deref_mut()
    }

    /// Where states at a place are listed (`bpf_explored_state`).
    pub(crate) fn bucket(&self, state: &State, slot: usize) -> usize {
        let callsite = state.frame().callsite as u32;
        (slot as u32 ^ callsite) as usize % self.explored.len()
    }

    /// The states of a list, the newest first.
    pub(crate) fn listed(&self, bucket: usize) -> Vec<StateRef> {
        self.explored[bucket].iter().rev().copied().collect()
    }

    /// The state at a place of a list, counted from the newest.
    pub(crate) fn listed_at(&self, bucket: usize, from_newest: usize) -> Option<StateRef> {
        let list = &self.explored[bucket];
        list.len().checked_sub(from_newest + 1).map(|place| list[place])
    }

    /// Keeps a state.
    pub(crate) fn add(
        &mut self,
        bucket: usize,
        state: State,
        chain: Option<LoopChain>,
    ) -> StateRef {
        let kept = Box::new(Kept {
            state,
            outline: Vec::new(),
            chain,
            missed: Cell::new(None),
            hits: 0,
            misses: 0,
            is_dropped: false,
        });
        let place = match self.free.pop() {
            Some(place) => {
                self.states[place as usize] = Some(kept);
                StateRef(place)
            }
            None => {
                self.states.push(Some(kept));
                StateRef(self.states.len() as u32 - 1)
            }
        };
        self.explored[bucket].push(place);
        self.explored_count += 1;
        self.note_peak();
        place
    }

    /// No longer compares with a state.
    pub(crate) fn drop_state(&mut self, bucket: usize, state: StateRef) {
        self.explored[bucket].retain(|each| *each != state);
        if let Some(kept) = self.get_mut(state) {
            kept.is_dropped = true;
            self.dropped_count += 1;
            self.explored_count -= 1;
        }
    }

    /// Lets a state go that is dropped, and that nothing comes from any more
    /// (`maybe_free_verifier_state`).
    pub(crate) fn release(&mut self, state: StateRef) -> Option<State> {
        let kept = self.get(state)?;
        if !kept.is_dropped || kept.state.branches != 0 || self.is_in_open_loop(kept) {
            return None;
        }
        let kept = self.states[state.0 as usize].take()?;
        self.free.push(state.0);
        self.dropped_count -= 1;
        Some(kept.state)
    }

    /// Whether a state is in a loop of which not all ways back are known
    /// (`incomplete_read_marks`).
    pub(crate) fn is_in_open_loop(&self, kept: &Kept) -> bool {
        if self.backedge_count == 0 {
            return false;
        }
        let visit = kept.chain.as_ref().and_then(|chain| self.visits.get(chain));
        visit.is_some_and(|visit| !visit.backedges.is_empty())
    }

    /// Takes note of how much there is.
    pub(crate) fn note_peak(&mut self) {
        let now = self.explored_count + self.dropped_count + self.backedge_count;
        self.peak = self.peak.max(now);
    }
}
