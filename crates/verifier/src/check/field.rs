//! Fields of values that helpers are given, and dynptrs (`process_timer_func`, `process_kptr_func`,
//! `process_dynptr_func`, `kernel/bpf/verifier.c`).

use super::memory::At;
use super::stack::Stored;
use crate::fields::{Field, FieldKind};
use crate::state::{Base, DynptrKind, MapRef, Object, Register, SLOT};
use crate::walk::{Check, Walk, refuse};

impl Walk<'_> {
    /// Where a pointer is kept (`process_kptr_func`).
    pub(super) fn kept_field(&self, register: &Register, n: u8) -> Check<Field> {
        let record = if register.kind.is_allocated_object() {
            register.object_type().map(|of| self.record_of(of)).unwrap_or_default()
        } else {
            let Some(map) = register.map() else { refuse!(self, EINVAL, "R{n} has no valid kptr") };
            let map = self.maps.get(map);
            if map.types.is_none() {
                let name = map.shown_name();
                refuse!(self, EINVAL, "map '{name}' has to have BTF in order to use bpf_kptr_xchg");
            }
            map.record.clone()
        };
        let Some(offset) = register.known().map(|offset| offset as i64) else {
            refuse!(
                self,
                EINVAL,
                "R{n} doesn't have constant offset. kptr has to be at the constant offset"
            );
        };
        let is_kept = |kind: FieldKind| {
            matches!(
                kind,
                FieldKind::KptrUnref(_) | FieldKind::KptrRef(_) | FieldKind::KptrPercpu(_)
            )
        };
        if !record.has(is_kept) {
            refuse!(self, EINVAL, "R{n} has no valid kptr");
        }
        let Some(field) = record.at(offset).filter(|field| is_kept(field.kind)) else {
            refuse!(self, EACCES, "off={offset} doesn't point to kptr");
        };
        if matches!(field.kind, FieldKind::KptrUnref(_)) {
            refuse!(self, EACCES, "off={offset} kptr isn't referenced kptr");
        }
        Ok(field)
    }

    /// A special field that a pointer into a map's value points to (`check_map_field_pointer`): the
    /// map.
    pub(crate) fn check_map_field(
        &self,
        register: &Register,
        n: u8,
        is_it: impl Fn(FieldKind) -> bool,
        name: &str,
    ) -> Check<(MapRef, u32)> {
        let Some(offset) = register.known().map(|offset| offset as i64) else {
            refuse!(
                self,
                EINVAL,
                "R{n} doesn't have constant offset. {name} has to be at the constant offset"
            );
        };
        let Some(map) = register.map() else { refuse!(self, EINVAL, "R{n} has no valid {name}") };
        let entry = self.maps.get(map);
        let map_name = entry.shown_name();
        if entry.types.is_none() {
            refuse!(self, EINVAL, "map '{map_name}' has to have BTF in order to use {name}");
        }
        let Some(field) = entry.record.find(is_it) else {
            refuse!(self, EINVAL, "map '{map_name}' has no valid {name}");
        };
        if i64::from(field.offset) != offset {
            let at = field.offset;
            refuse!(self, EINVAL, "off {offset} doesn't point to 'struct {name}' that is at {at}");
        }
        Ok((map, register.map_uid))
    }

    /// A dynptr comes to be where an argument points to.
    pub(crate) fn build_dynptr(
        &mut self,
        register: &Register,
        n: u8,
        kind: DynptrKind,
        parent: Option<u32>,
        source: u32,
    ) -> Check {
        self.check_dynptr_pointer(register, n)?;
        let fits = !register.kind.is(Base::Dynptr);
        if !fits {
            refuse!(self, EINVAL, "Dynptr has to be an uninitialized dynptr");
        }
        if let Err(mut rejection) = self.object_slot(register, "dynptr", 2) {
            rejection.message += "\nDynptr has to be an uninitialized dynptr";
            return Err(rejection);
        }
        for off in [0, 8] {
            let at = At { pointer: register, n, off, size: SLOT };
            self.store_to(at, Stored::Unknown, false)?;
        }
        self.make_dynptr(register, kind, parent, source)
    }

    fn check_dynptr_pointer(&self, register: &Register, n: u8) -> Check {
        if !register.kind.is(Base::Stack) && !register.kind.is(Base::Dynptr) {
            refuse!(self, EINVAL, "R{n} expected pointer to stack or const struct bpf_dynptr");
        }
        Ok(())
    }

    /// A dynptr that an argument points to, of a kind when that matters (`process_dynptr_func`).
    pub(crate) fn use_dynptr(
        &mut self,
        register: &Register,
        n: u8,
        wanted: Option<DynptrKind>,
        releases: bool,
    ) -> Check<Register> {
        self.check_dynptr_pointer(register, n)?;
        if register.kind.is(Base::Dynptr) && releases {
            refuse!(self, EINVAL, "CONST_PTR_TO_DYNPTR cannot be released");
        }
        let found = match self.dynptr(register) {
            Ok(found) => found,
            Err(mut rejection) => {
                rejection.message += &format!("\nExpected an initialized dynptr as R{n}");
                return Err(rejection);
            }
        };
        let Some(dynptr) = found else {
            refuse!(self, EINVAL, "Expected an initialized dynptr as R{n}");
        };
        if let (Some(wanted), Object::Dynptr(kind, _)) = (wanted, dynptr.object)
            && wanted != kind
        {
            let wanted = crate::log::dynptr_name(wanted);
            refuse!(self, EINVAL, "Expected a dynptr of type {wanted} as R{n}");
        }
        Ok(dynptr)
    }
}
