//! Iterators on the stack (`process_iter_arg`, `kernel/bpf/verifier.c`).

use bombus_btf::{Type, TypeId};
use bombus_platform::AttachType;
use bombus_platform::ProgType;
use bombus_platform::kfunc::{KfuncFlags, SpecialKfunc as Special};

use super::KernelCall;
use crate::check::memory::At;
use crate::check::stack::Stored;
use crate::state::{Base, Byte, Flags, IterState, Kind, Object, Register, SLOT, Slot, TypeRef};
use crate::walk::errno::EINVAL;
use crate::walk::{Check, Walk, refuse};

impl Walk<'_> {
    /// An iterator that is made, advanced or ended.
    pub(super) fn check_iterator(
        &mut self,
        call: &mut KernelCall<'_>,
        register: &Register,
        n: u8,
        pointee: TypeId,
    ) -> Check {
        if call.special == Some(Special::IterCssTaskNew) && !self.may_iterate_tasks() {
            refuse!(
                self,
                EINVAL,
                "css_task_iter is only allowed in bpf_lsm, bpf_iter and sleepable progs"
            );
        }
        if !register.kind.is(Base::Stack) {
            refuse!(self, EINVAL, "R{n} expected pointer to an iterator on stack");
        }
        let name = call.btf.name(pointee);
        let size = match call.btf.ty(pointee) {
            Some(Type::Struct(composite)) => composite.size,
            _ => 0,
        };
        let Some(short) = name.strip_prefix("bpf_iter_").filter(|_| size > 0) else {
            refuse!(self, EINVAL, "expected valid iter pointer as R{n}");
        };
        let of = TypeRef { btf: call.number, id: pointee.0 };
        let slots = size as usize / SLOT;
        let frame = register.frame().min(self.state.top());
        if call.is(KfuncFlags::ITER_NEW) {
            return self.make_iterator(call, register, n, of, slots, short);
        }
        let slot = match self.object_slot(register, "iter", slots) {
            Ok(slot) => slot,
            Err(rejection) => {
                let why = rejection.message;
                refuse!(self, EINVAL, "{why}\nexpected an initialized iter_{short} as R{n}");
            }
        };
        let found = slot.filter(|slot| self.is_iterator(frame, *slot, of, slots));
        let Some(slot) = found else {
            refuse!(self, EINVAL, "expected an initialized iter_{short} as R{n}");
        };
        let held = *self.state.frames[frame].stack[slot].register();
        if held.kind.flags.has(Flags::UNTRUSTED) {
            let name = call.name;
            return Err(self.rejection(71, format!("expected an RCU CS when using {name}")));
        }
        (0..slots).for_each(|index| self.touch_slot(slot - index));
        call.iterator = Some((frame, slot));
        if self.state.has_reference(held.id) {
            call.held = held.id;
        }
        if call.is(KfuncFlags::ITER_DESTROY) {
            for index in 0..slots {
                self.state.frames[frame].stack[slot - index] = Slot::empty();
            }
            self.release(held.id)?;
        }
        Ok(())
    }

    fn make_iterator(
        &mut self,
        call: &KernelCall<'_>,
        register: &Register,
        n: u8,
        of: TypeRef,
        slots: usize,
        short: &str,
    ) -> Check {
        let frame = register.frame().min(self.state.top());
        let busy = |walk: &Self, slot: usize| {
            (0..slots).any(|index| {
                walk.state.frames[frame].stack[slot - index].bytes.contains(&Byte::Iter)
            })
        };
        let why = match self.object_slot(register, "iter", slots) {
            Ok(None) => None,
            Ok(Some(slot)) => busy(self, slot).then(String::new),
            Err(rejection) => Some(rejection.message + "\n"),
        };
        if let Some(why) = why {
            refuse!(self, EINVAL, "{why}expected uninitialized iter_{short} as R{n}");
        }
        for index in 0..slots {
            let at = At { pointer: register, n, off: (index * SLOT) as i64, size: SLOT };
            self.store_to(at, Stored::Unknown, false)?;
        }
        let Some(slot) = self.object_slot(register, "iter", slots)? else {
            return Err(self.rejection(EINVAL, String::new()));
        };
        let id = self.acquire(0);
        let mut flags = Flags::NONE;
        if call.is(KfuncFlags::RCU_PROTECTED) {
            flags = if self.may_sleep_here() { Flags::UNTRUSTED } else { Flags::RCU };
        }
        for index in 0..slots {
            let object = Object::Iter(of, IterState::Active, 0);
            let held = Register::pointer(Kind::new(Base::Stack, flags), object);
            let held = Register { id: if index == 0 { id } else { 0 }, ..held };
            self.state.frames[frame].stack[slot - index] = Slot::of(Byte::Iter, held);
            self.touch_slot(slot - index);
        }
        Ok(())
    }

    /// Whether an iterator of a type starts in a slot.
    fn is_iterator(&self, frame: usize, slot: usize, of: TypeRef, slots: usize) -> bool {
        (0..slots).all(|index| {
            let Some(place) = slot.checked_sub(index) else { return false };
            let held = &self.state.frames[frame].stack[place];
            let is_first = index == 0;
            is_first == (held.register().id != 0)
                && matches!(held.register().object, Object::Iter(is, ..) if is == of)
                && held.bytes == [Byte::Iter; SLOT]
        })
    }

    /// Whether the tasks of a group may be gone through (`check_css_task_iter_allowlist`).
    fn may_iterate_tasks(&self) -> bool {
        match self.prog_type() {
            ProgType::Lsm => true,
            ProgType::Tracing if self.program.attach_type == AttachType::TraceIter => true,
            _ => self.state.sleepable,
        }
    }

    /// Once more, or no more (`process_iter_next_call`).
    pub(super) fn advance(&mut self, frame: usize, slot: usize) -> Check {
        let held = *self.state.frames[frame].stack[slot].register();
        let Object::Iter(of, how_far, depth) = held.object else { return Ok(()) };
        if how_far == IterState::Active {
            if !self.parent_is_here() {
                refuse!(self, EFAULT, "bad parent state for iter next call");
            }
            let previous = self.previous_round_of_parent(self.slot);
            let mut queued = self.copy_state();
            queued.frames[frame].stack[slot].register_mut().object =
                Object::Iter(of, IterState::Active, depth + 1);
            let mut queued = self.widened(previous, queued);
            queued.regs()[0].set_not_null();
            self.push_state(queued, self.slot + 1)?;
        }
        self.state.frames[frame].stack[slot].register_mut().object =
            Object::Iter(of, IterState::Drained, depth);
        let precise = !self.allowed.bpf;
        self.state.regs()[0] = Register { precise, ..Register::constant(0) };
        Ok(())
    }
}
