//! What a program must give back: references, locks, sections (`release_reference`,
//! `check_resource_leak`, `kernel/bpf/verifier.c`), and dynptrs on the stack.

use bombus_platform::ProgType;

use crate::state::{
    Byte, DynptrKind, Flags, Object, Reference, ReferenceKind, Register, SLOT, Slot, Stack, place,
};
use crate::walk::{Check, Walk, refuse};

impl Walk<'_> {
    /// Takes a reference: its id (`acquire_reference`).
    pub(crate) fn acquire(&mut self, parent: u32) -> u32 {
        let reference = self.new_reference(parent);
        self.state.references.push(reference);
        reference.id
    }

    /// A reference that nothing holds yet.
    pub(crate) fn new_reference(&mut self, parent: u32) -> Reference {
        let kind = ReferenceKind::Object(parent);
        Reference { kind, id: self.new_id(), slot: self.slot }
    }

    /// What a register becomes that points to what is gone (`mark_reg_invalid`).
    pub(crate) fn invalid(&self) -> Register {
        match self.allowed.pointer_leaks {
            true => self.unknown(),
            false => Register { precise: !self.allowed.bpf, ..Register::NOT_INIT },
        }
    }

    /// Gives a reference back, and all that goes with it (`release_reference`).
    pub(crate) fn release(&mut self, id: u32) -> Check {
        self.drop_reference(id);
        let mut ids = vec![id];
        let mut done = Vec::new();
        let invalid = self.invalid();
        while let Some(id) = ids.pop() {
            if id == 0 || done.contains(&id) {
                continue;
            }
            done.push(id);
            let child = self.state.references.iter().find(
                |reference| matches!(reference.kind, ReferenceKind::Object(parent) if parent == id),
            );
            if let Some(child) = child {
                let (child, slot) = (child.id, child.slot);
                refuse!(
                    self,
                    EINVAL,
                    "Leaking reference id={child} alloc_insn={slot}. Release it first."
                );
            }
            for frame in &mut self.state.frames {
                let mut visit = |register: &mut Register| {
                    if register.id != id && register.parent_id != id {
                        return;
                    }
                    if register.parent_id == id && register.id != 0 {
                        ids.push(register.id);
                    }
                    *register = invalid;
                };
                frame.regs.iter_mut().for_each(&mut visit);
                for place in frame.stack.held() {
                    if frame.stack[place].is_spill() {
                        frame.stack.update(place, &mut visit);
                    }
                }
                forget_dynptrs(&mut frame.stack, id, &mut ids);
            }
        }
        Ok(())
    }

    /// A reference is no longer held; whether it was.
    pub(crate) fn drop_reference(&mut self, id: u32) -> bool {
        let is_it = |reference: &Reference| {
            matches!(reference.kind, ReferenceKind::Object(_)) && reference.id == id
        };
        let place = self.state.references.iter().position(is_it);
        place.map(|place| self.state.references.remove(place)).is_some()
    }

    /// Nothing may be held that must be given back (`check_resource_leak`).
    pub(crate) fn check_leaks(&mut self, throws: bool, locks_too: bool, what: &str) -> Check {
        if locks_too && self.state.locks > 0 {
            refuse!(self, EINVAL, "{what} cannot be used inside bpf_spin_lock-ed region");
        }
        self.check_references(throws, what)?;
        if locks_too && self.state.irq_id != 0 {
            refuse!(self, EINVAL, "{what} cannot be used inside bpf_local_irq_save-ed region");
        }
        if locks_too && self.state.rcu > 0 {
            refuse!(self, EINVAL, "{what} cannot be used inside bpf_rcu_read_lock-ed region");
        }
        if locks_too && self.state.preempt_off > 0 {
            refuse!(self, EINVAL, "{what} cannot be used inside bpf_preempt_disable-ed region");
        }
        Ok(())
    }

    fn check_references(&mut self, throws: bool, what: &str) -> Check {
        if !throws && self.state.top() > 0 {
            return Ok(());
        }
        let result = self.state.frame().regs[0];
        let mut message = String::new();
        for reference in &self.state.references {
            if !matches!(reference.kind, ReferenceKind::Object(_)) {
                continue;
            }
            // A structure of callbacks may return what it took.
            let is_returned =
                self.prog_type() == ProgType::StructOps && !throws && result.id == reference.id;
            if !is_returned {
                let (id, slot) = (reference.id, reference.slot);
                message += &format!("Unreleased reference id={id} alloc_insn={slot}\n");
            }
        }
        if !message.is_empty() {
            refuse!(self, EINVAL, "{message}{what} would lead to reference leak");
        }
        Ok(())
    }

    /// Pointers into packets are void (`clear_all_pkt_pointers`).
    pub(crate) fn forget_packets(&mut self) {
        let invalid = self.invalid();
        self.state.each_register(|register| {
            if register.kind.is_packet_any() || register.kind.is_packet_slice() {
                *register = invalid;
            }
        });
    }

    /// Pointers into lists and trees are void (`invalidate_non_owning_refs`).
    pub(crate) fn forget_non_owning(&mut self) {
        let invalid = self.invalid();
        self.state.each_register(|register| {
            if register.kind.is_non_owning() {
                *register = invalid;
            }
        });
    }

    /// An RCU section ends: what lived as long as it may be gone
    /// (`invalidate_rcu_protected_refs`).
    pub(crate) fn distrust_rcu(&mut self) {
        let distrust = |register: &mut Register| {
            if register.kind.flags.has(Flags::RCU) {
                let gone = Flags::RCU | Flags::MAYBE_NULL | Flags::NON_OWN_REF;
                register.kind.flags = register.kind.flags.without(gone) | Flags::UNTRUSTED;
            }
        };
        for frame in &mut self.state.frames {
            frame.regs.iter_mut().for_each(distrust);
            for place in frame.stack.held() {
                if matches!(frame.stack[place].lowest(), Byte::Spill | Byte::Iter) {
                    frame.stack.update(place, distrust);
                }
            }
        }
    }

    /// A slot of a dynptr is overwritten (`destroy_if_dynptr_stack_slot`).
    pub(crate) fn destroy_dynptr(&mut self, frame: usize, slot: usize) -> Check {
        let stack = &self.state.frames[frame].stack;
        let Some(held) = stack.get(slot).filter(|held| held.bytes[0] == Byte::Dynptr) else {
            return Ok(());
        };
        let slot = match held.register().object {
            Object::Dynptr(_, true) => slot,
            _ => slot + 1,
        };
        let Some(first) = stack.get(slot).map(|held| *held.register()) else { return Ok(()) };
        if is_referenced(first.object) && self.dynptrs_over(first.parent_id) <= 1 {
            refuse!(self, EINVAL, "cannot overwrite referenced dynptr");
        }
        self.release(first.id)?;
        self.touch_slot(slot);
        self.touch_slot(slot.saturating_sub(1));
        Ok(())
    }

    /// How many dynptrs go with something.
    fn dynptrs_over(&self, parent: u32) -> usize {
        let is_over = |slot: &&Slot| {
            slot.bytes[0] == Byte::Dynptr
                && matches!(slot.register().object, Object::Dynptr(_, true))
                && slot.register().parent_id == parent
        };
        self.state.frames.iter().map(|frame| frame.stack.iter().filter(is_over).count()).sum()
    }

    /// The slot of an object of so many slots that a stack pointer points to
    /// (`stack_slot_obj_get_spi`); `None`: the stack does not reach there yet.
    pub(crate) fn object_slot(
        &self,
        pointer: &Register,
        what: &str,
        slots: usize,
    ) -> Check<Option<usize>> {
        let Some(offset) = pointer.known().map(|offset| offset as i64) else {
            refuse!(self, EINVAL, "{what} has to be at a constant offset");
        };
        if offset >= 0 || offset % SLOT as i64 != 0 {
            refuse!(self, EINVAL, "cannot pass in {what} at an offset={offset}");
        }
        let (slot, _) = place(offset);
        if slot + 1 < slots {
            refuse!(self, EINVAL, "cannot pass in {what} at an offset={offset}");
        }
        let frame = &self.state.frames[pointer.frame().min(self.state.top())];
        Ok((slot < frame.stack.len()).then_some(slot))
    }

    /// A dynptr comes to be on the stack (`mark_stack_slots_dynptr`).
    pub(crate) fn make_dynptr(
        &mut self,
        pointer: &Register,
        kind: DynptrKind,
        parent: Option<u32>,
        source: u32,
    ) -> Check {
        let frame = pointer.frame().min(self.state.top());
        let Some(slot) = self.object_slot(pointer, "dynptr", 2)? else {
            refuse!(self, EINVAL, "dynptr has to be at a constant offset");
        };
        self.destroy_dynptr(frame, slot)?;
        self.destroy_dynptr(frame, slot - 1)?;
        let parent_id = match parent {
            // Of another dynptr: it goes with the same.
            Some(parent) => parent,
            None if matches!(kind, DynptrKind::Ringbuf | DynptrKind::File) => self.acquire(source),
            None => source,
        };
        let id = self.new_id();
        let stack = &mut self.state.frames[frame].stack;
        for (slot, first) in [(slot, true), (slot - 1, false)] {
            let object = Object::Dynptr(kind, first);
            let register =
                Register { id, parent_id, ..Register::pointer(crate::state::Base::Dynptr, object) };
            stack[slot] = Slot::of(Byte::Dynptr, register);
        }
        self.touch_slot(slot);
        self.touch_slot(slot - 1);
        Ok(())
    }

    /// The dynptr that a register is, or points to on the stack.
    pub(crate) fn dynptr(&self, pointer: &Register) -> Check<Option<Register>> {
        if pointer.kind.is(crate::state::Base::Dynptr) {
            return Ok(Some(*pointer));
        }
        let Some(slot) = self.object_slot(pointer, "dynptr", 2)? else { return Ok(None) };
        let stack = &self.state.frames[pointer.frame().min(self.state.top())].stack;
        let whole = [slot, slot - 1].iter().all(|slot| stack[*slot].bytes == [Byte::Dynptr; SLOT]);
        let first = *stack[slot].register();
        Ok(match first.object {
            Object::Dynptr(_, true) if whole => Some(first),
            _ => None,
        })
    }
}

/// Whether a dynptr holds something that must be given back (`dynptr_type_referenced`).
pub(crate) fn is_referenced(object: Object) -> bool {
    matches!(object, Object::Dynptr(DynptrKind::Ringbuf | DynptrKind::File, _))
}

/// Dynptrs on a stack that go with an id are void.
fn forget_dynptrs(stack: &mut Stack, id: u32, ids: &mut Vec<u32>) {
    for slot in stack.held() {
        let register = *stack[slot].register();
        if stack[slot].lowest() != Byte::Dynptr || (register.id != id && register.parent_id != id) {
            continue;
        }
        if register.parent_id == id && register.id != 0 {
            ids.push(register.id);
        }
        let other = match register.object {
            Object::Dynptr(_, true) => slot.saturating_sub(1),
            _ => (slot + 1).min(stack.len() - 1),
        };
        for slot in [slot, other] {
            stack[slot] = Slot::empty();
        }
    }
}
