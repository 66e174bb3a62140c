//! Whether a state is covered by one that was proved safe (`states_equal`, `kernel/bpf/states.c`).

use std::cell::Cell;

use crate::code::Code;
use crate::state::{
    ADD_CONST, Base, Byte, Frame, Object, REGISTERS, ReferenceKind, Register, SLOT, Slot, Stack,
    State, bits,
};

/// How alike states must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Likeness {
    /// Numbers that are not precise may be any.
    Loose,
    /// In everything.
    Exact,
    /// All numbers must be within those of the old state.
    Within,
}

/// Which ids of the new state stand for those of the old one (`struct bpf_idmap`).
#[derive(Debug, Default)]
pub(crate) struct Ids {
    pairs: Vec<(u32, u32)>,
    next_fresh: u32,
}

/// Pairs at most: as many as there are registers, in all frames.
const MAX_PAIRS: usize = (REGISTERS + 64 + 7) * crate::state::MAX_FRAMES;

impl Ids {
    fn reset(&mut self, last_id: u32) {
        self.pairs.clear();
        self.next_fresh = last_id;
    }

    /// Each old id stands for one new id, and each new one for one old.
    fn match_ids(&mut self, old: u32, new: u32) -> bool {
        if (old == 0) != (new == 0) {
            return false;
        }
        if old == 0 {
            return true;
        }
        for (was, is) in &self.pairs {
            if *was == old {
                return *is == new;
            }
            if *is == new {
                return false;
            }
        }
        if self.pairs.len() >= MAX_PAIRS {
            return false;
        }
        self.pairs.push((old, new));
        true
    }

    /// A number that stood for itself in the old state may be tied to another in the new one.
    fn match_scalar_ids(&mut self, old: u32, new: u32) -> bool {
        if old == 0 {
            return true;
        }
        let new = match new {
            0 => {
                self.next_fresh += 1;
                self.next_fresh
            }
            new => new,
        };
        self.match_ids(old, new)
            && (old & ADD_CONST == 0 || self.match_ids(old & !ADD_CONST, new & !ADD_CONST))
    }
}

/// Where a state did not cover another: a frame, and a register or a slot of its stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// A register.
    Register(u8, u8),
    /// A slot.
    Slot(u8, u8),
}

/// Compares states.
#[derive(Debug)]
pub(crate) struct Compare<'a> {
    /// The program.
    pub code: &'a Code,
    /// Whether what was not stored may be read.
    pub allows_uninit_stack: bool,
    /// Numbers must be the same (`explore_alu_limits`).
    pub explores_limits: bool,
    /// The last id that was given.
    pub last_id: u32,
}

impl Compare<'_> {
    /// Whether all that can happen from `new` on can happen from `old` on. What `old` did not cover
    /// of the state before, `missed`, is looked at first: most likely it does not this time, either.
    pub(crate) fn covers(
        &self,
        old: &State,
        new: &State,
        likeness: Likeness,
        ids: &mut Ids,
        missed: &Cell<Option<Place>>,
    ) -> bool {
        if old.frames.len() != new.frames.len() {
            return false;
        }
        ids.reset(self.last_id);
        if let Some(place) = missed.get() {
            if !self.place_covers(old, new, place, likeness, ids) {
                return false;
            }
            ids.reset(self.last_id);
        }
        if (old.speculative && !new.speculative) || old.sleepable != new.sleepable {
            return false;
        }
        if !references_match(old, new, ids) {
            return false;
        }
        old.frames.iter().zip(&new.frames).enumerate().all(|(number, (was, is))| {
            let live = self.code.live_registers(old.frame_slot(number));
            if was.callsite != is.callsite || was.callback_depth > is.callback_depth {
                return false;
            }
            let miss = match self.missed_register(was, is, live, likeness, ids) {
                Some(register) => Place::Register(number as u8, register as u8),
                None => match self.missed_slot(was, is, likeness, ids) {
                    Some(slot) => Place::Slot(number as u8, slot as u8),
                    None => return true,
                },
            };
            missed.set(Some(miss));
            false
        })
    }

    /// Whether one register or slot covers the other by itself.
    fn place_covers(
        &self,
        old: &State,
        new: &State,
        place: Place,
        likeness: Likeness,
        ids: &mut Ids,
    ) -> bool {
        match place {
            Place::Register(frame, register) => {
                let (frame, register) = (usize::from(frame), usize::from(register));
                let (was, is) = (&old.frames[frame].regs, &new.frames[frame].regs);
                self.register_covers(&was[register], &is[register], likeness, ids)
            }
            Place::Slot(frame, slot) => {
                let (frame, slot) = (usize::from(frame), usize::from(slot));
                let (was, is) = (&old.frames[frame].stack, &new.frames[frame].stack);
                self.slot_covers(was, is, slot, likeness, ids)
            }
        }
    }

    /// The first register that is live and not covered.
    fn missed_register(
        &self,
        old: &Frame,
        new: &Frame,
        live: u16,
        likeness: Likeness,
        ids: &mut Ids,
    ) -> Option<usize> {
        bits(live.into()).take_while(|register| *register < REGISTERS).find(|&register| {
            !self.register_covers(&old.regs[register], &new.regs[register], likeness, ids)
        })
    }

    fn register_covers(
        &self,
        old: &Register,
        new: &Register,
        likeness: Likeness,
        ids: &mut Ids,
    ) -> bool {
        self.known_covers(old, old.precise, new, likeness, ids)
    }

    /// The same of registers or what was spilled: whether the old number is precise is said beside it.
    fn known_covers(
        &self,
        old: &Register,
        precise: bool,
        new: &Register,
        likeness: Likeness,
        ids: &mut Ids,
    ) -> bool {
        if likeness == Likeness::Exact {
            return is_same(old, new, ids);
        }
        if old.kind.is(Base::NotInit) {
            return true;
        }
        if old.kind != new.kind {
            return false;
        }
        let pointers = |ids: &mut Ids| {
            old.object == new.object
                && old.delta == new.delta
                && old.covers(new)
                && ids.match_ids(old.id, new.id)
                && ids.match_ids(old.parent_id, new.parent_id)
                && ids.match_ids(old.map_uid, new.map_uid)
        };
        match old.kind.base {
            Base::Scalar => {
                if self.explores_limits {
                    return is_same_value(old, new) && ids.match_scalar_ids(old.id, new.id);
                }
                if !precise && likeness == Likeness::Loose {
                    return true;
                }
                if old.id != 0 && (old.id & ADD_CONST) != (new.id & ADD_CONST) {
                    return false;
                }
                if old.id & ADD_CONST != 0 && old.delta != new.delta {
                    return false;
                }
                ids.match_scalar_ids(old.id, new.id) && old.covers(new)
            }
            Base::MapKey | Base::MapValue | Base::Mem | Base::Buf | Base::TpBuffer => pointers(ids),
            Base::Packet | Base::PacketMeta => {
                let (was, is) = (old.range(), new.range());
                let reaches = if was < 0 || is < 0 { was == is } else { was <= is };
                reaches
                    && ids.match_ids(old.id, new.id)
                    && (old.id == 0 || old.value.range.start == new.value.range.start)
                    && old.covers(new)
            }
            Base::Arena => true,
            Base::Insn => old.object == new.object && old.delta == new.delta && old.covers(new),
            _ => is_same(old, new, ids),
        }
    }

    /// The register that a slot's bytes from `byte` on hold, when they hold a number.
    fn number_at<'s>(&self, slot: &'s Slot, byte: usize) -> Option<&'s Register> {
        if slot.bytes[byte] == Byte::Spill && slot.register().is_scalar() {
            return Some(slot.register());
        }
        let is_any =
            |held: &Byte| *held == Byte::Misc || (held.is_empty() && self.allows_uninit_stack);
        slot.bytes[byte..].iter().all(is_any).then_some(&Register::UNKNOWN)
    }

    /// The first slot that is not covered.
    fn missed_slot(
        &self,
        old: &Frame,
        new: &Frame,
        likeness: Likeness,
        ids: &mut Ids,
    ) -> Option<usize> {
        let mut misses =
            |place: &usize| !self.slot_covers(&old.stack, &new.stack, *place, likeness, ids);
        match likeness {
            Likeness::Exact => (0..old.stack.len()).find(&mut misses),
            _ => bits(old.held_slots).find(&mut misses),
        }
    }

    fn slot_covers(
        &self,
        old: &Stack,
        new: &Stack,
        place: usize,
        likeness: Likeness,
        ids: &mut Ids,
    ) -> bool {
        let precise = old.is_precise(place);
        let (old, new) = (&old[place], new.get(place));
        // Most slots hold the same all through.
        if likeness != Likeness::Exact
            && let Some(new) = new
            && (old.whole(), new.whole()) == (Some(Byte::Spill), Some(Byte::Spill))
        {
            return self.known_covers(old.register(), precise, new.register(), likeness, ids);
        }
        let mut byte = 0;
        while byte < SLOT {
            let was = old.bytes[byte];
            if likeness == Likeness::Exact {
                let same = |a: Byte, b: Byte| a == b || (a.is_empty() && b.is_empty());
                let Some(new) = new else { return false };
                if !same(was, new.bytes[byte]) {
                    return false;
                }
            }
            if was.is_empty() || (self.allows_uninit_stack && was == Byte::Misc) {
                byte += 1;
                continue;
            }
            let Some(new) = new else { return false };
            if byte == 0 || byte == 4 {
                let was = self.number_at(old, byte);
                let is = self.number_at(new, byte);
                if let (Some(was), Some(is)) = (was, is) {
                    if !self.known_covers(was, precise, is, likeness, ids) {
                        return false;
                    }
                    byte = SLOT;
                    continue;
                }
            }
            if was == Byte::Misc && new.bytes[byte] == Byte::Zero {
                byte += 1;
                continue;
            }
            if was != new.bytes[byte] {
                return false;
            }
            if byte == SLOT - 1 && !self.objects_cover(old, precise, new, likeness, ids) {
                return false;
            }
            byte += 1;
        }
        true
    }

    /// What stands in a whole slot.
    fn objects_cover(
        &self,
        old: &Slot,
        precise: bool,
        new: &Slot,
        likeness: Likeness,
        ids: &mut Ids,
    ) -> bool {
        let (was, is) = (old.register(), new.register());
        match old.lowest() {
            Byte::Spill => self.known_covers(was, precise, is, likeness, ids),
            Byte::Dynptr => {
                was.object == is.object
                    && ids.match_ids(was.id, is.id)
                    && ids.match_ids(was.parent_id, is.parent_id)
            }
            Byte::Iter => {
                let same = match (was.object, is.object) {
                    (Object::Iter(old_type, old_state, _), Object::Iter(of, state, _)) => {
                        old_type == of && old_state == state
                    }
                    _ => false,
                };
                was.kind == is.kind && same && ids.match_ids(was.id, is.id)
            }
            Byte::IrqFlag => ids.match_ids(was.id, is.id) && was.object == is.object,
            _ => true,
        }
    }
}

/// The slots of a frame that do not cover just any other, a bit each.
pub(super) fn held_slots(frame: &Frame, allows_uninit_stack: bool) -> u64 {
    let is_held = |slot: &Slot| match slot.whole() {
        Some(byte) => !(byte.is_empty() || allows_uninit_stack && byte == Byte::Misc),
        None => true,
    };
    let slots = frame.stack.held();
    slots.fold(0, |held, place| held | u64::from(is_held(&frame.stack[place])) << place)
}

/// Numbers alike in all but their ids.
fn is_same_value(old: &Register, new: &Register) -> bool {
    old.kind == new.kind
        && old.object == new.object
        && old.value == new.value
        && old.delta == new.delta
}

/// Alike in everything (`regs_exact`).
fn is_same(old: &Register, new: &Register, ids: &mut Ids) -> bool {
    is_same_value(old, new)
        && ids.match_ids(old.id, new.id)
        && ids.match_ids(old.parent_id, new.parent_id)
        && ids.match_ids(old.map_uid, new.map_uid)
}

fn references_match(old: &State, new: &State, ids: &mut Ids) -> bool {
    if old.references.len() != new.references.len()
        || old.locks != new.locks
        || old.preempt_off != new.preempt_off
        || old.rcu != new.rcu
        || !ids.match_ids(old.irq_id, new.irq_id)
    {
        return false;
    }
    let lock = |state: &State| state.lock.map_or((0, None), |(id, owner)| (id, Some(owner)));
    let ((was, old_owner), (is, owner)) = (lock(old), lock(new));
    if !ids.match_ids(was, is) || old_owner != owner {
        return false;
    }
    old.references.iter().zip(&new.references).all(|(was, is)| {
        ids.match_ids(was.id, is.id)
            && match (was.kind, is.kind) {
                (ReferenceKind::Object(was), ReferenceKind::Object(is)) => ids.match_ids(was, is),
                (was, is) => was == is,
            }
    })
}

/// Whether the innermost frames have the very same registers, so that it may be a loop that does
/// not end (`states_maybe_looping`).
pub(crate) fn may_loop(old: &State, new: &State) -> bool {
    let same = |was: &Register, is: &Register| Register { precise: is.precise, ..*was } == *is;
    old.frames.len() == new.frames.len()
        && old.frame().regs.iter().zip(&new.frame().regs).all(|(was, is)| same(was, is))
}

/// Whether an iterator was advanced more often in one than in the other
/// (`iter_active_depths_differ`).
pub(crate) fn iterators_moved(old: &State, new: &State) -> bool {
    old.frames.iter().enumerate().any(|(frame, was)| {
        was.stack.iter().enumerate().any(|(place, slot)| {
            let Object::Iter(_, crate::state::IterState::Active, depth) = slot.register().object
            else {
                return false;
            };
            let now = new.frames[frame].stack.get(place).map(|slot| slot.register().object);
            slot.bytes[0] == Byte::Iter
                && !matches!(now, Some(Object::Iter(_, _, other)) if other == depth)
        })
    })
}
