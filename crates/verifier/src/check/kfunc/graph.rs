//! Lists and trees of objects (`__process_kf_arg_ptr_to_graph_root`, `kernel/bpf/verifier.c`).

use bombus_platform::kfunc::SpecialKfunc as Special;

use super::KernelCall;
use super::kind::Wanted;
use crate::fields::{FieldKind, Record};
use crate::state::{Base, Flags, Kind, LockOwner, Object, ReferenceKind, Register, TypeRef};
use crate::walk::{Check, Walk, refuse};

impl Walk<'_> {
    /// Where a register points to that has to point to a field of this name.
    fn constant_offset(&self, register: &Register, n: u8, name: &str) -> Check<i64> {
        let Some(offset) = register.known() else {
            refuse!(
                self,
                EINVAL,
                "R{n} doesn't have constant offset. {name} has to be at the constant offset"
            );
        };
        Ok(offset as i64)
    }

    /// The special fields of what a pointer points to (`reg_btf_record`).
    fn record_behind(&self, register: &Register) -> Record {
        match (register.kind.is(Base::MapValue), register.map(), register.object_type()) {
            (true, Some(map), _) => self.maps.get(map).record.clone(),
            (_, _, Some(of)) if register.kind.is_allocated_object() => self.record_of(of),
            _ => Record::default(),
        }
    }

    /// The root of a list or tree.
    pub(super) fn check_root(
        &mut self,
        call: &mut KernelCall<'_>,
        register: &Register,
        n: u8,
        wanted: Wanted,
    ) -> Check {
        let is_object = register.kind == Kind::new(Base::BtfId, Flags::ALLOC);
        if !register.kind.is(Base::MapValue) && !is_object {
            refuse!(self, EINVAL, "R{n} expected pointer to map value or allocated object");
        }
        if is_object && !self.state.has_reference(register.id) {
            refuse!(self, EINVAL, "allocated object must be referenced");
        }
        let name = if wanted == Wanted::ListHead { "bpf_list_head" } else { "bpf_rb_root" };
        let offset = self.constant_offset(register, n, name)?;
        let record = self.record_behind(register);
        let Some(field) = record.at(offset).filter(|field| field.kind.name() == name) else {
            refuse!(self, EINVAL, "{name} not found at offset={offset}");
        };
        self.check_locked(register, &record, name)?;
        call.root = Some(field);
        Ok(())
    }

    /// The lock that is in the same value or object is held (`check_reg_allocation_locked`).
    fn check_locked(&self, register: &Register, record: &Record, name: &str) -> Check {
        let lock = record.find(|kind| kind == FieldKind::SpinLock);
        let at = lock.map_or(-22, |lock| i64::from(lock.offset));
        let owner = match (register.map(), register.object_type()) {
            (Some(map), _) if register.kind.is(Base::MapValue) => LockOwner::Map(map),
            (_, Some(of)) => LockOwner::Btf(of.btf),
            _ => return Ok(()),
        };
        let is_it =
            |kind: ReferenceKind| matches!(kind, ReferenceKind::Lock(_, held) if held == owner);
        let held = self
            .state
            .references
            .iter()
            .any(|reference| is_it(reference.kind) && reference.id == register.id);
        if held {
            return Ok(());
        }
        let why = match self.state.locks {
            0 => "",
            _ => "held lock and object are not in the same allocation\n",
        };
        refuse!(self, EINVAL, "{why}bpf_spin_lock at off={at} must be held for {name}");
    }

    /// A node of a list or tree.
    pub(super) fn check_node(
        &mut self,
        call: &mut KernelCall<'_>,
        register: &Register,
        n: u8,
        wanted: Wanted,
        may_not_own: bool,
    ) -> Check {
        let is_held = self.state.has_reference(register.id);
        let name = call.name;
        if wanted == Wanted::RbNode && !call.adds_to_tree() {
            if !register.kind.is_non_owning() && !is_held {
                refuse!(
                    self,
                    EINVAL,
                    "{name} can only take non-owning or refcounted bpf_rb_node pointer"
                );
            }
            if self.in_tree_callback() {
                refuse!(self, EINVAL, "{name} not allowed in rbtree cb");
            }
        } else if !(may_not_own && register.kind.is_non_owning() && !is_held) {
            if register.kind != Kind::new(Base::BtfId, Flags::ALLOC) {
                refuse!(self, EINVAL, "R{n} expected pointer to allocated object");
            }
            if !is_held {
                refuse!(self, EINVAL, "allocated object must be referenced");
            }
        }
        self.match_node(call, register, n, wanted)
    }

    fn match_node(
        &mut self,
        call: &mut KernelCall<'_>,
        register: &Register,
        n: u8,
        wanted: Wanted,
    ) -> Check {
        let (name, root_name) = match wanted {
            Wanted::ListNode => ("bpf_list_node", "bpf_list_head"),
            _ => ("bpf_rb_node", "bpf_rb_root"),
        };
        let offset = self.constant_offset(register, n, name)?;
        let record = self.record_behind(register);
        if record.at(offset).is_none_or(|field| field.kind.name() != name) {
            refuse!(self, EINVAL, "{name} not found at offset={offset}");
        }
        let Some((of, node)) = call.root.and_then(|root| root.kind.root()) else { return Ok(()) };
        let Some(given) = register.object_type() else { return Ok(()) };
        let wanted_name = self.types.name(of);
        if !self.is_type(given, 0, of, true, !register.kind.is_allocated()) {
            let given = self.types.name(given);
            refuse!(
                self,
                EINVAL,
                "operation on {root_name} expects arg#1 {name} at offset={node} in struct {wanted_name}, but arg is at offset={offset} in struct {given}"
            );
        }
        call.object = Some(given);
        if offset != i64::from(node) {
            refuse!(
                self,
                EINVAL,
                "arg#1 offset={offset}, but expected {name} at offset={node} in struct {wanted_name}"
            );
        }
        Ok(())
    }

    /// A pointer to a node, that a list or tree owns or not (`mark_reg_graph_node`).
    pub(super) fn node(&self, of: TypeRef, offset: u32, is_owned: bool) -> Register {
        let mut flags = Flags::ALLOC;
        if is_owned {
            flags |= self.non_owning_flags(of);
        }
        let object = Register::constant(offset.into());
        Register { kind: Kind::new(Base::BtfId, flags), object: Object::Type(of), ..object }
    }

    /// What is said of a pointer to what something else owns (`ref_set_non_owning`).
    pub(super) fn non_owning_flags(&self, of: TypeRef) -> Flags {
        let counted = self.record_of(of).has(|kind| kind == FieldKind::Refcount);
        Flags::NON_OWN_REF | if counted { Flags::RCU } else { Flags::NONE }
    }

    /// What was the program's is a list's or tree's now (`ref_convert_owning_non_owning`).
    pub(super) fn give_up_ownership(&mut self, id: u32) {
        self.drop_reference(id);
        let mut changes = Vec::new();
        self.state.each_register(|register| {
            if register.id == id
                && id != 0
                && let Some(of) = register.object_type()
            {
                changes.push(of);
            }
        });
        let flags = changes.first().map_or(Flags::NON_OWN_REF, |of| self.non_owning_flags(*of));
        self.state.each_register(|register| {
            if register.id == id && id != 0 {
                register.id = 0;
                register.kind.flags |= flags;
            }
        });
    }

    /// Whether what is given is a node.
    pub(super) fn gives_node(call: &KernelCall<'_>, name: &str) -> bool {
        call.root.is_some() && matches!(name, "bpf_list_node" | "bpf_rb_node")
            || call.special == Some(Special::RbtreeRoot)
    }
}
