//! Locks (`process_spin_lock`, `kernel/bpf/verifier.c`).

use crate::fields::{FieldKind, Record};
use crate::state::{Base, LockKind, LockOwner, Reference, ReferenceKind, Register};
use crate::walk::{Check, Walk, refuse};

impl Walk<'_> {
    /// Takes or gives back a lock that a register points to.
    pub(crate) fn use_lock(
        &mut self,
        register: &Register,
        n: u8,
        takes: bool,
        kind: LockKind,
    ) -> Check {
        let name = if kind == LockKind::Spin { "bpf_spin" } else { "bpf_res_spin" };
        let Some(offset) = register.known().map(|offset| offset as i64) else {
            refuse!(
                self,
                EINVAL,
                "R{n} doesn't have constant offset. {name}_lock has to be at the constant offset"
            );
        };
        let (owner, record, what) = self.lock_owner(register, name)?;
        let wanted = match kind {
            LockKind::Spin => FieldKind::SpinLock,
            _ => FieldKind::ResSpinLock,
        };
        let Some(field) = record.find(|kind| kind == wanted) else {
            refuse!(self, EINVAL, "{what} has no valid {name}_lock");
        };
        if i64::from(field.offset) != offset {
            let at = field.offset;
            refuse!(
                self,
                EINVAL,
                "off {offset} doesn't point to 'struct {name}_lock' that is at {at}"
            );
        }
        match takes {
            true => self.take_lock(register.id, owner, kind),
            false => self.give_lock(register.id, owner, kind, name),
        }
    }

    fn lock_owner(&self, register: &Register, name: &str) -> Check<(LockOwner, Record, String)> {
        if let (true, Some(map)) = (register.kind.is(Base::MapValue), register.map()) {
            let entry = self.maps.get(map);
            let map_name = entry.shown_name();
            if entry.types.is_none() {
                refuse!(
                    self,
                    EINVAL,
                    "map '{map_name}' has to have BTF in order to use {name}_lock"
                );
            }
            let what = format!("map '{map_name}'");
            return Ok((LockOwner::Map(map), entry.record.clone(), what));
        }
        let Some(of) = register.object_type() else {
            refuse!(self, EINVAL, "local 'kptr' has no valid {name}_lock");
        };
        Ok((LockOwner::Btf(of.btf), self.record_of(of), "local 'kptr'".into()))
    }

    fn take_lock(&mut self, id: u32, owner: LockOwner, kind: LockKind) -> Check {
        let held = |walk: &Self, is_it: &dyn Fn(&Reference, LockKind, LockOwner) -> bool| {
            walk.state.references.iter().any(|reference| match reference.kind {
                ReferenceKind::Lock(kind, owner) => is_it(reference, kind, owner),
                _ => false,
            })
        };
        if kind == LockKind::Spin {
            if held(self, &|_, kind, _| kind == LockKind::Spin) {
                refuse!(self, EINVAL, "Locking two bpf_spin_locks are not allowed");
            }
        } else if held(self, &|reference, kind, of| {
            kind != LockKind::Spin && reference.id == id && of == owner
        }) {
            refuse!(self, EINVAL, "Acquiring the same lock again, AA deadlock detected");
        }
        let slot = self.slot;
        let kind = ReferenceKind::Lock(kind, owner);
        self.state.references.push(Reference { kind, id, slot });
        self.state.locks += 1;
        self.state.lock = Some((id, owner));
        Ok(())
    }

    fn give_lock(&mut self, id: u32, owner: LockOwner, kind: LockKind, name: &str) -> Check {
        if self.state.locks == 0 {
            refuse!(self, EINVAL, "{name}_unlock without taking a lock");
        }
        let wanted = ReferenceKind::Lock(kind, owner);
        let place = self
            .state
            .references
            .iter()
            .position(|reference| reference.kind == wanted && reference.id == id);
        let Some(place) = place else {
            refuse!(self, EINVAL, "{name}_unlock of different lock");
        };
        if self.state.lock != Some((id, owner)) {
            refuse!(self, EINVAL, "{name}_unlock cannot be out of order");
        }
        self.state.references.remove(place);
        self.state.locks -= 1;
        self.state.lock = self.state.references[..place].iter().rev().find_map(|reference| {
            match reference.kind {
                ReferenceKind::Lock(_, owner) => Some((reference.id, owner)),
                _ => None,
            }
        });
        self.forget_non_owning();
        if self.may_sleep_here() {
            self.distrust_rcu();
        }
        Ok(())
    }
}
