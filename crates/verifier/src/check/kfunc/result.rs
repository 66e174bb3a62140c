//! What kernel functions return (`check_special_kfunc`, `kernel/bpf/verifier.c`).

use bombus_btf::{Type, TypeId};
use bombus_platform::kfunc::{KfuncFlags, SpecialKfunc as Special};

use super::KernelCall;
use super::kind::{is_number, is_plain};
use crate::check::signature::kind_name;
use crate::check::stack::Access;
use crate::state::{Base, DynptrKind, Flags, Kind, Object, Register, TypeRef};
use crate::walk::{Check, Next, Walk, refuse};

/// Bytes of an object that each CPU has at most (`BPF_GLOBAL_PERCPU_MA_MAX_SIZE`).
const MAX_PERCPU: u32 = 512;

impl Walk<'_> {
    /// What the call leaves in the registers.
    pub(super) fn finish_kernel_call(&mut self, call: KernelCall<'_>) -> Check<Next> {
        let before = self.state.frame().regs;
        self.clear_arguments();
        let btf = call.btf;
        let returned = btf.resolved(call.ret);
        let makes = [
            Special::ObjNew,
            Special::ObjNewImpl,
            Special::PercpuObjNew,
            Special::PercpuObjNewImpl,
            Special::RefcountAcquire,
            Special::RefcountAcquireImpl,
        ];
        let pointee = match returned {
            Some(Type::Ptr(to)) => Some(btf.resolve(to).unwrap_or(TypeId::VOID)),
            _ => None,
        };
        let is_struct =
            pointee.is_some_and(|to| matches!(btf.ty(to), Some(Type::Struct(_) | Type::Union(_))));
        if call.is(KfuncFlags::ACQUIRE) && !is_struct && !call.is_one_of(&makes) {
            refuse!(self, EINVAL, "acquire kernel function does not return PTR_TO_BTF_ID");
        }
        if is_number(btf, call.ret) {
            let precise = !self.allowed.bpf;
            let locks = call.is_one_of(&[Special::ResSpinLock, Special::ResSpinLockIrqsave]);
            self.state.regs()[0] = match locks {
                true => Register { precise, ..Register::constant(0) },
                false => self.unknown(),
            };
        } else if let Some(pointee) = pointee {
            self.pointer_result(&call, pointee, &before)?;
        }
        if self.changes_packet(&call) {
            self.forget_packets();
        }
        if call.is(KfuncFlags::ITER_NEXT)
            && let Some((frame, slot)) = call.iterator
        {
            self.advance(frame, slot)?;
        }
        if call.special == Some(Special::Throw) {
            return self.exit(true);
        }
        Ok(Next::After)
    }

    fn changes_packet(&self, call: &KernelCall<'_>) -> bool {
        call.special == Some(Special::XdpPullData)
    }

    fn pointer_result(
        &mut self,
        call: &KernelCall<'_>,
        pointee: TypeId,
        before: &[Register; crate::state::REGISTERS],
    ) -> Check {
        let btf = call.btf;
        let mut result = match self.special_result(call, pointee)? {
            Some(result) => result,
            None if pointee == TypeId::VOID && !call.is(KfuncFlags::ARENA_RET) => self.unknown(),
            None if pointee == TypeId::VOID => self.unknown(),
            None if !matches!(btf.ty(pointee), Some(Type::Struct(_) | Type::Union(_))) => {
                self.memory_result(call, pointee)?
            }
            None => {
                let from_rcu = call.iterator.is_some_and(|(frame, slot)| {
                    let held = self.state.frames[frame].stack[slot].register();
                    held.kind.flags.has(Flags::RCU)
                });
                let flags = if call.special == Some(Special::GetKmemCache) {
                    Flags::UNTRUSTED
                } else if call.is(KfuncFlags::RCU_PROTECTED)
                    || call.is(KfuncFlags::ITER_NEXT) && from_rcu
                {
                    Flags::RCU
                } else {
                    Flags::TRUSTED
                };
                let of = TypeRef { btf: call.number, id: pointee.0 };
                Register::pointer(Kind::new(Base::BtfId, flags), Object::Type(of))
            }
        };
        let _ = before;
        if self.returns_null(call) {
            result.kind.flags |= Flags::MAYBE_NULL;
            result.id = self.new_id();
        }
        if call.is(KfuncFlags::ACQUIRE) {
            result.id = self.acquire(0);
        } else if Self::gives_node(call, btf.name(pointee))
            && let Some(of) = result.object_type()
        {
            result.kind.flags |= self.non_owning_flags(of);
        }
        let has_lock = result.kind.is_allocated_object()
            && result.object_type().is_some_and(|of| self.record_of(of).has_lock());
        if has_lock && result.id == 0 {
            result.id = self.new_id();
        }
        self.state.regs()[0] = result;
        Ok(())
    }

    /// Whether it may give null (`is_kfunc_ret_null`).
    fn returns_null(&self, call: &KernelCall<'_>) -> bool {
        let counts = [Special::RefcountAcquire, Special::RefcountAcquireImpl];
        if call.is_one_of(&counts) && call.owns {
            return false;
        }
        call.is(KfuncFlags::RET_NULL)
    }

    fn memory_result(&mut self, call: &KernelCall<'_>, pointee: TypeId) -> Check<Register> {
        let (mut size, mut read_only) = (call.memory, call.read_only);
        if size.is_none() {
            size = call.btf.size_of(pointee);
            read_only = call.special != Some(Special::SessionCookie);
        }
        let Some(size) = size else {
            let name = call.name;
            let kind = call.btf.kind(pointee).map_or("UNKNOWN", kind_name);
            let of = call.btf.name(pointee);
            refuse!(
                self,
                EINVAL,
                "kernel function {name} returns pointer type {kind} {of} is not supported"
            );
        };
        let mut flags = if read_only { Flags::RDONLY } else { Flags::NONE };
        if call.is(KfuncFlags::RCU_PROTECTED) {
            flags |= Flags::RCU;
        }
        let register = Register::pointer(Kind::new(Base::Mem, flags), Object::Size(size));
        Ok(Register { parent_id: call.held, ..register })
    }

    fn special_result(
        &mut self,
        call: &KernelCall<'_>,
        pointee: TypeId,
    ) -> Check<Option<Register>> {
        let object = |of: TypeRef, flags: Flags| {
            Some(Register::pointer(Kind::new(Base::BtfId, flags), Object::Type(of)))
        };
        if Self::gives_node(call, call.btf.name(pointee))
            && let Some((of, offset)) = call.root.and_then(|root| root.kind.root())
        {
            return Ok(Some(self.node(of, offset, false)));
        }
        match call.special {
            Some(
                Special::ObjNew
                | Special::ObjNewImpl
                | Special::PercpuObjNew
                | Special::PercpuObjNewImpl,
            ) => self.new_object(call).map(Some),
            Some(Special::RefcountAcquire | Special::RefcountAcquireImpl) => {
                Ok(call.object.and_then(|of| object(of, Flags::ALLOC)))
            }
            Some(Special::CastToKernCtx) => {
                let of = bombus_platform::context_kernel_struct(self.prog_type())
                    .and_then(|name| self.types.kernel_struct(name));
                let Some(of) = of else { refuse!(self, EINVAL, "") };
                Ok(object(of, Flags::TRUSTED))
            }
            Some(Special::RdonlyCast) => {
                let id = call.constant.unwrap_or(0);
                let of = TypeRef { btf: call.number, id: id as u32 };
                if id == 0 {
                    let kind = Kind::new(Base::Mem, Flags::RDONLY | Flags::UNTRUSTED);
                    return Ok(Some(Register::pointer(kind, Object::Size(0))));
                }
                match self.types.get(of).filter(|_| id <= u32::MAX.into()) {
                    Some(Type::Struct(_)) => Ok(object(of, Flags::UNTRUSTED)),
                    None => {
                        refuse!(
                            self,
                            EINVAL,
                            "Unknown type ID {id} passed to kfunc bpf_rdonly_cast"
                        )
                    }
                    _ => refuse!(
                        self,
                        EINVAL,
                        "kfunc bpf_rdonly_cast type ID argument must be of a struct or void"
                    ),
                }
            }
            Some(Special::DynptrSlice | Special::DynptrSliceRdwr) => self.slice(call).map(Some),
            _ => Ok(None),
        }
    }

    /// A slice of what a dynptr is over.
    fn slice(&mut self, call: &KernelCall<'_>) -> Check<Register> {
        let Some(dynptr) = call.dynptr else { return Ok(self.unknown()) };
        let mut flags = match dynptr.object {
            Object::Dynptr(DynptrKind::Skb, _) => Flags::DYNPTR_SKB,
            Object::Dynptr(DynptrKind::Xdp, _) => Flags::DYNPTR_XDP,
            Object::Dynptr(DynptrKind::SkbMeta, _) => Flags::DYNPTR_SKB_META,
            Object::Dynptr(DynptrKind::File, _) => Flags::DYNPTR_FILE,
            Object::Dynptr(DynptrKind::Ringbuf, _) => Flags::DYNPTR_RINGBUF,
            _ => Flags::DYNPTR_LOCAL,
        };
        if call.special == Some(Special::DynptrSlice) {
            flags |= Flags::RDONLY;
        } else if !self.may_touch_packet(None, Access::Write) {
            refuse!(self, EINVAL, "the prog does not allow writes to packet data");
        }
        let size = call.constant.unwrap_or(0) as u32;
        let register = Register::pointer(Kind::new(Base::Mem, flags), Object::Size(size));
        Ok(Register { parent_id: dynptr.id, ..register })
    }

    /// An object that the program allocates.
    fn new_object(&mut self, call: &KernelCall<'_>) -> Check<Register> {
        let id = call.constant.unwrap_or(0);
        let Ok(id) = u32::try_from(id) else {
            refuse!(self, EINVAL, "local type ID argument must be in range [0, U32_MAX]");
        };
        let Some((number, btf)) = self.types.program() else {
            refuse!(self, EINVAL, "bpf_obj_new/bpf_percpu_obj_new requires prog BTF");
        };
        let size = match btf.ty(TypeId(id)) {
            Some(Type::Struct(composite) | Type::Union(composite)) => composite.size,
            _ => refuse!(
                self,
                EINVAL,
                "bpf_obj_new/bpf_percpu_obj_new type ID argument must be of a struct"
            ),
        };
        let of = TypeRef { btf: number, id };
        let mut flags = Flags::ALLOC;
        if call.is_one_of(&[Special::PercpuObjNew, Special::PercpuObjNewImpl]) {
            flags |= Flags::PERCPU;
            if size > MAX_PERCPU {
                refuse!(
                    self,
                    EINVAL,
                    "bpf_percpu_obj_new type size ({size}) is greater than {MAX_PERCPU}"
                );
            }
            if !is_plain(btf, TypeId(id), 0) {
                refuse!(
                    self,
                    EINVAL,
                    "bpf_percpu_obj_new type ID argument must be of a struct of scalars"
                );
            }
            if !self.record_of(of).fields.is_empty() {
                refuse!(
                    self,
                    EINVAL,
                    "bpf_percpu_obj_new type ID argument must not contain special fields"
                );
            }
        }
        Ok(Register::pointer(Kind::new(Base::BtfId, flags), Object::Type(of)))
    }
}
