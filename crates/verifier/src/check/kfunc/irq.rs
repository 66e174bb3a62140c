//! Saved interrupt flags (`process_irq_flag`, `kernel/bpf/verifier.c`).

use bombus_platform::kfunc::SpecialKfunc as Special;

use super::KernelCall;
use crate::check::memory::At;
use crate::check::stack::Stored;
use crate::state::{Base, Byte, Object, Reference, ReferenceKind, Register, SLOT, Slot};
use crate::walk::{Check, Walk, refuse};

impl Walk<'_> {
    /// Saves or restores them.
    pub(super) fn use_irq_flag(
        &mut self,
        call: &KernelCall<'_>,
        register: &Register,
        n: u8,
    ) -> Check {
        let by_lock =
            call.is_one_of(&[Special::ResSpinLockIrqsave, Special::ResSpinUnlockIrqrestore]);
        let saves = call.is_one_of(&[Special::LocalIrqSave, Special::ResSpinLockIrqsave]);
        let slot = self.object_slot(register, "irq_flag", 1);
        let frame = register.frame().min(self.state.top());
        let held = |walk: &Self, slot: usize| walk.state.frames[frame].stack[slot].clone();
        if saves {
            let is_free = match &slot {
                Ok(None) => true,
                Ok(Some(slot)) => !held(self, *slot).bytes.contains(&Byte::IrqFlag),
                Err(_) => false,
            };
            if !is_free {
                let why = slot.err().map_or(String::new(), |rejection| rejection.message + "\n");
                refuse!(self, EINVAL, "{why}expected uninitialized irq flag as R{n}");
            }
            let at = At { pointer: register, n, off: 0, size: SLOT };
            self.store_to(at, Stored::Unknown, false)?;
            let Some(slot) = self.object_slot(register, "irq_flag", 1)? else { return Ok(()) };
            let id = self.new_id();
            let taken_at = self.slot;
            let kind = ReferenceKind::Irq;
            self.state.references.push(Reference { kind, id, slot: taken_at });
            self.state.irq_id = id;
            let flags = Register { id, ..Register::pointer(Base::Stack, Object::Irq(by_lock)) };
            self.state.frames[frame].stack[slot] = Slot::of(Byte::IrqFlag, flags);
            self.touch_slot(slot);
            return Ok(());
        }
        let found = match &slot {
            Ok(Some(slot)) => {
                let held = held(self, *slot);
                (held.register().id != 0 && held.bytes == [Byte::IrqFlag; SLOT])
                    .then_some((*slot, *held.register()))
            }
            _ => None,
        };
        let Some((slot, flags)) = found else {
            let why = slot.err().map_or(String::new(), |rejection| rejection.message + "\n");
            refuse!(self, EINVAL, "{why}expected an initialized irq flag as R{n}");
        };
        self.touch_slot(slot);
        let saved_by_lock = flags.object == Object::Irq(true);
        if saved_by_lock != by_lock {
            let name = |by_lock| if by_lock { "lock" } else { "native" };
            let (saved, restored) = (name(saved_by_lock), name(by_lock));
            refuse!(
                self,
                EINVAL,
                "irq flag acquired by {saved} kfuncs cannot be restored with {restored} kfuncs"
            );
        }
        self.restore_irq(flags.id)?;
        self.state.frames[frame].stack[slot] = Slot::empty();
        if self.may_sleep_here() {
            self.distrust_rcu();
        }
        Ok(())
    }

    fn restore_irq(&mut self, id: u32) -> Check {
        if id != self.state.irq_id {
            let expected = self.state.irq_id;
            let at = self.state.references.iter().find(|reference| reference.id == expected);
            let at = at.map_or(0, |reference| reference.slot);
            refuse!(
                self,
                EACCES,
                "cannot restore irq state out of order, expected id={expected} acquired at insn_idx={at}"
            );
        }
        self.state
            .references
            .retain(|reference| reference.kind != ReferenceKind::Irq || reference.id != id);
        let mut saved = self.state.references.iter().rev();
        self.state.irq_id = saved
            .find(|reference| reference.kind == ReferenceKind::Irq)
            .map_or(0, |reference| reference.id);
        Ok(())
    }
}
