//! The arguments of kernel functions (`check_kfunc_args`, `kernel/bpf/verifier.c`).

use bombus_btf::{Btf, Type, TypeId};
use bombus_platform::context_struct;
use bombus_platform::kfunc::{
    ArgumentSuffix as Suffix, KfuncFlags, SpecialKfunc as Special, argument_suffix,
};

use super::KernelCall;
use super::kind::{Wanted, is_plain};
use crate::check::signature::kind_name;
use crate::check::stack::Access;
use crate::fields::FieldKind;
use crate::state::{Base, DynptrKind, Flags, Kind, LockKind, Object, Register, TypeRef};
use crate::walk::{Check, Walk, refuse};

impl Walk<'_> {
    /// Every argument.
    pub(super) fn check_kernel_arguments(&mut self, call: &mut KernelCall<'_>) -> Check {
        for index in 0..call.params.len().min(5) {
            let (wanted, may_be_null) = self.wanted(call, index)?;
            if wanted != Wanted::Ignored {
                self.check_kernel_argument(call, index, wanted, may_be_null)?;
            }
        }
        Ok(())
    }

    fn check_kernel_argument(
        &mut self,
        call: &mut KernelCall<'_>,
        index: usize,
        wanted: Wanted,
        may_be_null: bool,
    ) -> Check {
        let n = index as u8 + 1;
        let register = self.state.frame().regs[usize::from(n)];
        let is_pointer = !matches!(
            wanted,
            Wanted::Number | Wanted::Constant | Wanted::Size(_) | Wanted::GivenSize(_)
        );
        let null = register.is_null() || register.kind.may_be_null();
        if is_pointer && null && !may_be_null {
            refuse!(self, EACCES, "Possibly NULL pointer passed to trusted R{n}");
        }
        let releases = call.is(KfuncFlags::RELEASE) && n == 1;
        if releases
            && wanted != Wanted::Dynptr
            && !self.state.has_reference(register.id)
            && !register.is_null()
        {
            let name = call.name;
            refuse!(
                self,
                EINVAL,
                "release kfunc {name} expects referenced PTR_TO_BTF_ID passed to R{n}"
            );
        }
        if self.state.has_reference(register.id) {
            call.held = register.id;
        }
        if register.is_null() && may_be_null {
            return self.mark_precise(n.into());
        }
        self.check_kernel_offset(&register, n, wanted, releases)?;
        self.use_kernel_argument(call, index, wanted, &register)
    }

    fn check_kernel_offset(
        &self,
        register: &Register,
        n: u8,
        wanted: Wanted,
        releases: bool,
    ) -> Check {
        let on_stack = wanted == Wanted::Dynptr && register.kind.is(Base::Stack);
        if releases && !on_stack && register.known() != Some(0) {
            refuse!(
                self,
                EINVAL,
                "R{n} must have zero offset when passed to release func or trusted arg to kfunc"
            );
        }
        if releases && on_stack {
            return Ok(());
        }
        // Of what is counted the start is passed.
        if wanted == Wanted::Refcounted && register.kind.base == Base::BtfId {
            return self.check_fixed(register, n, false);
        }
        self.check_argument_offset(register, n, wanted == Wanted::Context)
    }

    fn use_kernel_argument(
        &mut self,
        call: &mut KernelCall<'_>,
        index: usize,
        wanted: Wanted,
        register: &Register,
    ) -> Check {
        let n = index as u8 + 1;
        let kind = register.kind;
        let is_value = kind.is(Base::MapValue);
        let is_number = register.is_scalar();
        let pointee = self.pointee_of(call, index);
        match wanted {
            Wanted::Ignored => Ok(()),
            Wanted::Number | Wanted::Constant | Wanted::GivenSize(_) if !is_number => {
                refuse!(self, EINVAL, "R{n} is not a scalar")
            }
            Wanted::Number => Ok(()),
            Wanted::Constant => self.take_constant(call, register, n),
            Wanted::GivenSize(read_only) => {
                let Some(size) = register.known() else {
                    refuse!(self, EINVAL, "R{n} is not a const");
                };
                let Ok(size) = u32::try_from(size) else {
                    refuse!(self, EINVAL, "R{n} allocation size exceeds u32 max");
                };
                self.mark_precise(n.into())?;
                call.memory = Some(size);
                call.read_only |= read_only;
                Ok(())
            }
            Wanted::Size(is_constant) => self.check_kernel_size(call, register, n, is_constant),
            Wanted::Context => {
                if !kind.is(Base::Ctx) {
                    refuse!(self, EINVAL, "R{n} expected pointer to ctx, but got {kind}");
                }
                Ok(())
            }
            Wanted::Arena => {
                if !kind.is(Base::Arena) && !is_number {
                    refuse!(self, EINVAL, "R{n} is not a pointer to arena or scalar");
                }
                Ok(())
            }
            Wanted::Allocated => self.check_allocated(call, register, n),
            Wanted::Dynptr => self.check_kernel_dynptr(call, index, register),
            Wanted::Iterator => self.check_iterator(call, register, n, pointee),
            Wanted::ListHead | Wanted::RbRoot => self.check_root(call, register, n, wanted),
            Wanted::ListNode | Wanted::RbNode => {
                let suffix = call.params.get(index).and_then(|param| argument_suffix(param.name));
                let may_not_own = suffix == Some(Suffix::NonOwningAllowed);
                self.check_node(call, register, n, wanted, may_not_own)
            }
            Wanted::ConstMap => {
                if !kind.is(Base::MapPtr) {
                    refuse!(self, EINVAL, "pointer in R{n} isn't map pointer");
                }
                call.map = self.check_map_argument(call.map, register, n)?;
                Ok(())
            }
            Wanted::Map | Wanted::Object => self.check_kernel_object(call, register, n, pointee),
            Wanted::Memory => Ok(()),
            Wanted::FixedMemory => self.check_fixed_memory(call, register, n, pointee),
            Wanted::Callback => {
                let Object::Function(function) = register.object else {
                    refuse!(self, EINVAL, "R{n} expected pointer to func");
                };
                call.function = Some(function);
                Ok(())
            }
            Wanted::Refcounted => self.check_refcounted(call, register, n),
            Wanted::String => {
                if !is_value {
                    refuse!(self, EINVAL, "R{n} doesn't point to a const string");
                }
                self.check_constant_string(register, n)
            }
            Wanted::Workqueue | Wanted::Timer | Wanted::TaskWork => {
                if !is_value {
                    refuse!(self, EINVAL, "R{n} doesn't point to a map value");
                }
                let (field, name) = match wanted {
                    Wanted::Workqueue => (FieldKind::Workqueue, "bpf_wq"),
                    Wanted::Timer => (FieldKind::Timer, "bpf_timer"),
                    _ => (FieldKind::TaskWork, "bpf_task_work"),
                };
                call.map = Some(self.check_map_field(register, n, |kind| kind == field, name)?);
                Ok(())
            }
            Wanted::IrqFlag => {
                if !kind.is(Base::Stack) {
                    refuse!(self, EINVAL, "R{n} doesn't point to an irq flag on stack");
                }
                self.use_irq_flag(call, register, n)
            }
            Wanted::ResSpinLock => {
                if self.in_tree_callback() {
                    refuse!(self, EACCES, "can't res_spin_{{lock,unlock}} in rbtree cb");
                }
                let is_object = kind == Kind::new(Base::BtfId, Flags::ALLOC);
                if !is_value && !is_object {
                    refuse!(self, EINVAL, "R{n} doesn't point to map value or allocated object");
                }
                let takes = call.is_one_of(&[Special::ResSpinLock, Special::ResSpinLockIrqsave]);
                let saves = call
                    .is_one_of(&[Special::ResSpinLockIrqsave, Special::ResSpinUnlockIrqrestore]);
                let kind = if saves { LockKind::ResilientIrq } else { LockKind::Resilient };
                self.use_lock(register, n, takes, kind)
            }
        }
    }

    /// What an argument points to, without modifiers.
    fn pointee_of(&self, call: &KernelCall<'_>, index: usize) -> TypeId {
        let Some(param) = call.params.get(index) else { return TypeId::VOID };
        match call.btf.resolved(param.ty) {
            Some(Type::Ptr(to)) => call.btf.resolve(to).unwrap_or(TypeId::VOID),
            _ => TypeId::VOID,
        }
    }

    /// Whether a type is what such programs have for a context, in the kernel's own BTF.
    pub(super) fn is_kernel_context(&self, btf: &Btf, target: TypeId) -> bool {
        let Some(Type::Struct(found)) = btf.ty(target) else { return false };
        let Some(wanted) = context_struct(self.prog_type()) else { return false };
        let behind = match wanted {
            "__sk_buff" => "sk_buff",
            "xdp_md" => "xdp_buff",
            "bpf_user_pt_regs_t" => "pt_regs",
            _ => "",
        };
        !found.name.is_empty() && (found.name == wanted || found.name == behind)
    }

    fn take_constant(&mut self, call: &mut KernelCall<'_>, register: &Register, n: u8) -> Check {
        let Some(number) = register.known() else {
            refuse!(self, EINVAL, "R{n} must be a known constant");
        };
        self.mark_precise(n.into())?;
        call.constant = Some(number);
        Ok(())
    }

    fn check_kernel_size(
        &mut self,
        call: &mut KernelCall<'_>,
        register: &Register,
        n: u8,
        is_constant: bool,
    ) -> Check {
        if is_constant {
            self.take_constant(call, register, n)?;
        }
        if !register.is_scalar() {
            refuse!(self, EINVAL, "R{n} is not a scalar");
        }
        let memory = self.state.frame().regs[usize::from(n) - 1];
        if memory.is_null() {
            return Ok(());
        }
        let both = self
            .check_sized(&memory, register, n, Access::Read, true, None)
            .and_then(|()| self.check_sized(&memory, register, n, Access::Write, true, None));
        both.map_err(|mut rejection| {
            let before = n - 1;
            rejection.message +=
                &format!("\nR{before} and R{n} memory, len pair leads to invalid memory access");
            rejection
        })
    }

    fn check_allocated(&self, call: &mut KernelCall<'_>, register: &Register, n: u8) -> Check {
        let of = |flags: Flags| Kind::new(Base::BtfId, flags);
        if register.kind == of(Flags::ALLOC) {
            if !call.drops() {
                refuse!(self, EINVAL, "R{n} expected for bpf_obj_drop()");
            }
        } else if register.kind == of(Flags::ALLOC | Flags::PERCPU) {
            if !call.drops_percpu() {
                refuse!(self, EINVAL, "R{n} expected for bpf_percpu_obj_drop()");
            }
        } else {
            refuse!(self, EINVAL, "R{n} expected pointer to allocated object");
        }
        if !self.state.has_reference(register.id) {
            refuse!(self, EINVAL, "allocated object must be referenced");
        }
        call.object = register.object_type();
        Ok(())
    }

    fn check_kernel_dynptr(
        &mut self,
        call: &mut KernelCall<'_>,
        index: usize,
        register: &Register,
    ) -> Check {
        let n = index as u8 + 1;
        let suffix = call.params.get(index).and_then(|param| argument_suffix(param.name));
        let made = match call.special {
            Some(Special::DynptrFromSkb) => Some(DynptrKind::Skb),
            Some(Special::DynptrFromXdp) => Some(DynptrKind::Xdp),
            Some(Special::DynptrFromSkbMeta) => Some(DynptrKind::SkbMeta),
            Some(Special::DynptrFromFile) => Some(DynptrKind::File),
            Some(Special::DynptrClone) => match call.dynptr.map(|dynptr| dynptr.object) {
                Some(Object::Dynptr(kind, _)) => Some(kind),
                _ => None,
            },
            _ => None,
        };
        if suffix == Some(Suffix::Uninit) {
            let parent = call.dynptr.map(|dynptr| dynptr.parent_id);
            let kind = made.unwrap_or(DynptrKind::Local);
            return self.build_dynptr(register, n, kind, parent, call.held);
        }
        let discards = call.special == Some(Special::DynptrFileDiscard);
        let wanted = discards.then_some(DynptrKind::File);
        call.dynptr = Some(self.use_dynptr(register, n, wanted, discards)?);
        Ok(())
    }

    /// A pointer to an object of the kernel's.
    fn check_kernel_object(
        &mut self,
        call: &mut KernelCall<'_>,
        register: &Register,
        n: u8,
        wanted: TypeId,
    ) -> Check {
        let btf = call.btf;
        let suffix = argument_suffix(call.params.get(usize::from(n) - 1).map_or("", |p| p.name));
        let mut needed = TypeRef { btf: call.number, id: wanted.0 };
        if suffix == Some(Suffix::Map)
            && let Some(map) = self.types.kernel_struct("bpf_map")
        {
            needed = map;
        }
        let known = match register.kind.base {
            Base::Socket => self.types.kernel_struct("sock"),
            Base::SockCommon => self.types.kernel_struct("sock_common"),
            Base::TcpSock => self.types.kernel_struct("tcp_sock"),
            Base::MapPtr => self.types.kernel_struct("bpf_map"),
            Base::BtfId => register.object_type(),
            _ => None,
        };
        let Some(given) = known else {
            if is_plain(btf, wanted, 0) {
                return self.check_fixed_memory(call, register, n, wanted);
            }
            let (kind, of) = (register.kind, btf.kind(wanted).map_or("UNKNOWN", kind_name));
            let name = btf.name(wanted);
            let or = match name {
                "sock" => " or sock",
                "sock_common" => " or sock_common",
                "tcp_sock" => " or tcp_sock",
                "bpf_map" => " or map_ptr",
                _ => "",
            };
            refuse!(self, EINVAL, "R{n} is {kind} expected {of} {name}{or}");
        };
        if !self.is_trusted(register) || register.kind.is_unsafe() {
            if !call.is(KfuncFlags::RCU) {
                refuse!(self, EINVAL, "R{n} must be referenced or trusted");
            }
            if !register.kind.flags.has(Flags::RCU) {
                refuse!(self, EINVAL, "R{n} must be a rcu pointer");
            }
        }
        self.match_kernel_object(call, register, n, given, needed)
    }

    fn match_kernel_object(
        &self,
        call: &KernelCall<'_>,
        register: &Register,
        n: u8,
        given: TypeRef,
        needed: TypeRef,
    ) -> Check {
        let (given_name, wanted_name) = (self.types.name(given), self.types.name(needed));
        let releases = call.is(KfuncFlags::RELEASE) && self.state.has_reference(register.id);
        let strict = releases || is_alias(given_name, wanted_name);
        let given = self.types.resolved(given).map_or(given, |(given, _)| given);
        let offset = register.known().unwrap_or(0) as i64;
        let flexible = !register.kind.is_allocated();
        // What programs see of a type of the kernel (`btf_is_projection_of`).
        let is_projection =
            matches!((wanted_name, given_name), ("__sk_buff", "sk_buff") | ("xdp_md", "xdp_buff"));
        if is_projection || self.is_type(given, offset, needed, strict, flexible) {
            return Ok(());
        }
        let kind =
            |of: TypeRef| self.types.get(of).map_or("UNKNOWN", |found| kind_name(found.kind()));
        let (of, is) = (kind(needed), kind(given));
        let name = call.name;
        refuse!(
            self,
            EINVAL,
            "kernel function {name} R{n} expected pointer to {of} {wanted_name} but R{n} has a pointer to {is} {given_name}"
        );
    }

    fn check_fixed_memory(
        &mut self,
        call: &KernelCall<'_>,
        register: &Register,
        n: u8,
        wanted: TypeId,
    ) -> Check {
        let Some(size) = call.btf.size_of(wanted) else {
            let kind = call.btf.kind(wanted).map_or("UNKNOWN", kind_name);
            let name = call.btf.name(wanted);
            refuse!(
                self,
                EINVAL,
                "R{n} reference type('{kind} {name}') size cannot be determined: -22"
            );
        };
        self.check_whole(register, n, size, true)
    }

    fn check_refcounted(&self, call: &mut KernelCall<'_>, register: &Register, n: u8) -> Check {
        if !register.kind.is_allocated_object() {
            refuse!(self, EINVAL, "R{n} is neither owning or non-owning ref");
        }
        let Some(of) = register.object_type() else { return Ok(()) };
        call.owns = !register.kind.is_non_owning() && self.state.has_reference(register.id);
        if !self.record_of(of).has(|kind| kind == FieldKind::Refcount) {
            refuse!(self, EINVAL, "R{n} doesn't point to a type with bpf_refcount field");
        }
        call.object = Some(of);
        Ok(())
    }
}

/// Types that are the same but may not be taken for each other (`btf_type_ids_nocast_alias`).
fn is_alias(given: &str, wanted: &str) -> bool {
    const SUFFIX: &str = "___init";
    (given.ends_with(SUFFIX) || wanted.ends_with(SUFFIX))
        && given.trim_end_matches(SUFFIX) == wanted.trim_end_matches(SUFFIX)
}
