//! Ends a path where all that can follow was proved safe already, and keeps states for it
//! (`bpf_is_state_visited`, `kernel/bpf/states.c`).

use bombus_isa::Op;

use super::compare::{Compare, Ids, Likeness, held_slots, iterators_moved, may_loop};
use super::history::{Links, Touch};
use super::keep::{Kept, LoopChain};
use super::{Check, Walk, refuse};
use crate::embedding::Pruning;
use crate::state::{Base, FP, IterState, Object, Register, State, StateRef, bits};

/// States kept for one place at most for the unprivileged (`BPF_COMPLEXITY_LIMIT_STATES`).
const MAX_STATES: usize = 64;
/// How often a loop's ways back are gone round until nothing changes (`MAX_BACKEDGE_ITERS`).
const MAX_ROUNDS: u32 = 64;

/// What the walk makes of a state that was kept at the same place.
enum Found {
    /// It covers what is known now; whether that is within a loop.
    Equal(bool),
    /// It does not.
    Other,
}

impl Walk<'_> {
    /// Whether all that can follow was proved safe already; else what is known may be kept.
    pub(super) fn is_visited(&mut self) -> Check<bool> {
        let slot = self.slot;
        let forced = self.test_state_freq
            || self.code.is_checkpoint(slot)
            // Histories stay short.
            || self.state.history.len() > 40;
        let jumps = self.jumps - self.kept_at.0;
        let walked = self.stats.processed - self.kept_at.1;
        let mut adds = forced || (jumps >= 2 && walked >= 8);
        self.clean();
        let bucket = self.keep.bucket(&self.state, slot);
        let mut seen = 0;
        let mut from_newest = 0;
        while let Some(at) = self.keep.listed_at(bucket, from_newest) {
            seen += 1;
            let is_here = self.keep.get(at).is_some_and(|kept| kept.state.slot == slot);
            if !is_here {
                from_newest += 1;
                continue;
            }
            match self.compare(at, forced, &mut adds)? {
                Found::Equal(in_loop) => {
                    self.accept(at, in_loop)?;
                    return Ok(true);
                }
                Found::Other => {}
            }
            if !self.count_miss(bucket, at, adds) {
                from_newest += 1;
            }
        }
        self.stats.max_states_per_insn = self.stats.max_states_per_insn.max(seen);
        if (!self.allowed.bpf && seen as usize > MAX_STATES) || !adds {
            return Ok(false);
        }
        self.keep_state(bucket);
        Ok(false)
    }

    /// Compares what is known with a state that was kept here.
    fn compare(&mut self, at: StateRef, forced: bool, adds: &mut bool) -> Check<Found> {
        let slot = self.slot;
        let compare = Compare {
            code: self.code,
            allows_uninit_stack: self.allowed.uninit_stack,
            explores_limits: self.explores_limits,
            last_id: self.last_id,
        };
        let Walk { keep, state, ids, .. } = self;
        let Some(kept) = keep.get(at) else { return Ok(Found::Other) };
        let old = &kept.state;
        if old.branches == 0 {
            let in_loop = keep.is_in_open_loop(kept);
            let is_within = in_loop || self.pruning == Pruning::Within;
            let likeness = if is_within { Likeness::Within } else { Likeness::Loose };
            return Ok(match compare.covers(old, state, likeness, ids, &kept.missed) {
                true => Found::Equal(in_loop),
                false => Found::Other,
            });
        }
        let covers =
            |likeness, ids: &mut Ids| compare.covers(old, state, likeness, ids, &kept.missed);
        let frame = old.frame();
        let is_other_entry =
            frame.in_async_callback && frame.async_entries != state.frame().async_entries;
        'loops: {
            if is_other_entry {
                break 'loops;
            }
            if self.notes[slot].is_iterator_next {
                // Iterators end at some time: what is the same from round to round is safe.
                if covers(Likeness::Within, ids) && is_active_iterator(state) {
                    return Ok(Found::Equal(true));
                }
                break 'loops;
            }
            if matches!(self.code.op(slot), Some(Op::MayGoto { .. }))
                && old.may_gotos != state.may_gotos
                && covers(Likeness::Within, ids)
            {
                return Ok(Found::Equal(true));
            }
            if self.code.calls_back(slot) {
                if covers(Likeness::Within, ids) {
                    return Ok(Found::Equal(true));
                }
                break 'loops;
            }
            if may_loop(old, state)
                && covers(Likeness::Exact, ids)
                && !iterators_moved(old, state)
                && old.may_gotos == state.may_gotos
                && old.callback_unrolls == state.callback_unrolls
            {
                let mut message = format!("infinite loop detected at insn {slot}");
                if self.log.tells() {
                    message += &self.two_states(at);
                }
                refuse!(self, EINVAL, "{message}");
            }
        }
        // Not every round of a loop is kept.
        let jumps = self.jumps - self.kept_at.0;
        let walked = self.stats.processed - self.kept_at.1;
        if !forced && jumps < 20 && walked < 100 {
            *adds = false;
        }
        Ok(Found::Other)
    }

    /// Ends the path at a state that covers it.
    fn accept(&mut self, at: StateRef, in_loop: bool) -> Check {
        if let Some(kept) = self.keep.get_mut(at) {
            kept.hits += 1;
        }
        if self.code.is_jump_point(self.slot) {
            self.note_jump(Touch::default(), Links::default());
        }
        self.propagate(at, None);
        if !in_loop {
            return Ok(());
        }
        // What the old state still learns, this one has to learn, too.
        let Some(kept) = self.keep.get(at) else { return Ok(()) };
        let Some(chain) = kept.chain.clone() else { return Ok(()) };
        let mut backedge = self.copy_state();
        backedge.equal = Some(at);
        backedge.slot = self.slot;
        if self.log.tells_all() {
            self.log.say(format_args!("SCC backedge {}\n", shown(&chain)));
        }
        self.keep.visits.entry(chain).or_default().backedges.push(backedge);
        self.keep.backedge_count += 1;
        self.keep.note_peak();
        Ok(())
    }

    /// A state that is seldom equal to others is not compared with any more; whether it went.
    fn count_miss(&mut self, bucket: usize, at: StateRef, adds: bool) -> bool {
        let forced = self.code.is_checkpoint(self.slot);
        let Some(kept) = self.keep.get_mut(at) else { return false };
        if adds {
            kept.misses += 1;
        }
        let patience = if forced && kept.state.branches > 0 { 64 } else { 3 };
        if kept.misses <= kept.hits * patience + patience {
            return false;
        }
        self.keep.drop_state(bucket, at);
        self.release_state(at);
        let rest = self.keep.get_mut(at).map(Kept::reduce);
        rest.into_iter().for_each(|rest| self.save(rest));
        true
    }

    /// Keeps what is known.
    fn keep_state(&mut self, bucket: usize) {
        self.stats.total_states += 1;
        self.kept_at = (self.jumps, self.stats.processed);
        if self.allowed.bpf {
            // What later instructions want precise they will say.
            for frame in &mut self.state.frames {
                let numbers = frame.regs.iter_mut().filter(|register| register.is_scalar());
                numbers.for_each(|number| number.precise = false);
                frame.stack.forget_precision();
            }
        }
        clear_lonely_ids(&mut self.state);
        let mut kept = self.copy_state();
        kept.slot = self.slot;
        for frame in &mut kept.frames {
            frame.held_slots = held_slots(frame, self.allowed.uninit_stack);
        }
        let chain = LoopChain::of(&kept, self.code);
        let depth = kept.depth + 1;
        let at = self.keep.add(bucket, kept, chain.clone());
        if let Some(chain) = chain {
            let tells = self.log.tells_all();
            let visit = self.keep.visits.entry(chain.clone()).or_default();
            if visit.entry.is_none() {
                visit.entry = Some(at);
                if tells {
                    self.log.say(format_args!("SCC enter {}\n", shown(&chain)));
                }
            }
        }
        self.state.parent = Some(at);
        self.state.first_slot = self.slot;
        self.state.depth = depth;
        self.state.history.clear();
        self.is_in_history = false;
    }

    /// When all paths from the state that entered a loop have ended, what is known at the ways back
    /// is complete, and is propagated until nothing changes (`maybe_exit_scc`).
    pub(super) fn leave_loop(&mut self, at: StateRef) -> Check {
        let Some(kept) = self.keep.get(at) else { return Ok(()) };
        let Some(chain) = kept.chain.clone() else { return Ok(()) };
        let Some(visit) = self.keep.visits.get_mut(&chain) else { return Ok(()) };
        if visit.entry != Some(at) {
            return Ok(());
        }
        visit.entry = None;
        let backedges = std::mem::take(&mut visit.backedges);
        self.keep.note_peak();
        self.keep.backedge_count -= backedges.len() as u32;
        if self.log.tells_all() {
            self.log.say(format_args!("SCC exit {}\n", shown(&chain)));
        }
        for _ in 0..MAX_ROUNDS {
            let mut changed = false;
            for backedge in &backedges {
                if let Some(equal) = backedge.equal {
                    changed |= self.propagate(equal, Some(backedge));
                }
            }
            if !changed {
                return Ok(());
            }
        }
        backedges.iter().for_each(|backedge| self.mark_all_precise(backedge));
        Ok(())
    }

    /// Forgets what nothing reads any more (`clean_verifier_state`).
    fn clean(&mut self) {
        let empty = Register { precise: !self.allowed.bpf, ..Register::NOT_INIT };
        let live_stack = self.code.live_stacks(&self.state);
        for number in 0..self.state.frames.len() {
            let slot = self.state.frame_slot(number);
            let live = self.code.live_registers(slot);
            let frame = &mut self.state.frames[number];
            for register in bits(u64::from(!live & ((1 << FP) - 1))) {
                let known = &mut frame.regs[register];
                if known.kind.base != Base::NotInit {
                    *known = empty;
                }
            }
            let live = live_stack.of(number);
            for place in frame.stack.held_but(live.whole()) {
                let (near, far) = live.halves(place);
                frame.stack.clean(place, near, far);
            }
        }
    }
}

/// Whether the iterator that the first argument points to can still give something.
fn is_active_iterator(state: &State) -> bool {
    let pointer = state.frame().regs[1];
    let Some(offset) = pointer.known().map(|offset| offset as i64).filter(|offset| *offset < 0)
    else {
        return false;
    };
    let (place, _) = crate::state::place(offset);
    let slot = state.frames.get(pointer.frame()).and_then(|frame| frame.stack.get(place));
    slot.is_some_and(|slot| matches!(slot.register().object, Object::Iter(_, IterState::Active, _)))
}

/// A number that no other has the id of needs none (`bpf_clear_singular_ids`).
fn clear_lonely_ids(state: &mut State) {
    let has_id = |register: &Register| register.is_scalar() && register.id != 0;
    let mut ids: Vec<u32> = Vec::new();
    for frame in &state.frames {
        let spills = frame.stack.spills().map(|(_, held)| held.register());
        let known = frame.regs.iter().chain(spills).filter(|register| has_id(register));
        ids.extend(known.map(Register::base_id));
    }
    if ids.is_empty() {
        return;
    }
    ids.sort_unstable();
    let is_lonely = |register: &Register| {
        let id = register.base_id();
        let first = ids.partition_point(|other| *other < id);
        has_id(register) && ids.get(first + 1) != Some(&id)
    };
    for frame in &mut state.frames {
        let lonely = frame.regs.iter_mut().filter(|register| is_lonely(register));
        lonely.for_each(Register::forget_id);
        for place in frame.stack.held() {
            let held = &frame.stack[place];
            if held.is_spill() && is_lonely(held.register()) {
                frame.stack[place].register_mut().forget_id();
            }
        }
    }
}

/// The calls and the loop, as the log shows them.
fn shown(chain: &LoopChain) -> String {
    let calls: String = chain.calls.iter().map(|call| format!("{call},")).collect();
    format!("({calls}{})", chain.component)
}
