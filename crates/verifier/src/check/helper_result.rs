//! What calls of helpers leave behind (`check_helper_call`, `do_refine_retval_range`,
//! `kernel/bpf/verifier.c`).

use std::num::Wrapping;

use bombus_platform::proto::{ProtoFlags, RetKind};
use bombus_platform::{AttachType, Helper, MapType, ProgType};

use super::args::Call;
use super::helper::{flags_of, helper_name};
use crate::domain::{Range, Scalar};
use crate::fields::FieldKind;
use crate::state::{Base, Flags, Kind, Object, Register};
use crate::walk::{Check, Next, Walk, refuse};

/// The greatest error number (`MAX_ERRNO`).
pub(super) const MAX_ERRNO: i64 = 4095;
/// CPUs that the kernel may have at most, for what helpers say of them (`nr_cpu_ids`).
const CPUS: u64 = 8192;

impl Walk<'_> {
    /// What the call leaves in the registers.
    pub(super) fn finish_call(&mut self, call: Call) -> Check<Next> {
        let proto = call.proto;
        self.clear_arguments();
        let mut result = self.call_result(&call)?;
        if result.kind.may_be_null() && result.id == 0 {
            result.id = self.new_id();
        }
        if proto.has(ProtoFlags::CASTS) && self.state.has_reference(call.held) {
            // Null, and still held; or the same thing by another name.
            let path = self.push_path(self.slot + 1, false)?;
            path.regs()[0] = Register::constant(0);
            result.set_not_null();
            result.id = call.held;
        } else if proto.acquires(call.map.map(|(map, _)| self.maps.get(map).map_type)) {
            result.id = self.acquire(0);
        }
        if proto.name() == "dynptr_data" {
            result.parent_id = call.dynptr.map_or(0, |dynptr| dynptr.id);
        }
        self.refine(&call, &mut result);
        self.state.regs()[0] = result;
        self.check_map_compatibility(&call)?;
        self.check_callers(&call)?;
        if call.id == Helper::TailCall.id() {
            return self.finish_tail_call();
        }
        if call.changes_packet {
            self.forget_packets();
        }
        Ok(Next::After)
    }

    /// A tail call that is not made falls through; one in a function that is made returns to its
    /// caller.
    fn finish_tail_call(&mut self) -> Check<Next> {
        if self.state.top() == 0 {
            return Ok(Next::After);
        }
        if self.state.frame().in_callback {
            refuse!(self, EINVAL, "cannot tail call within callback");
        }
        self.push_path(self.slot + 1, false)?;
        self.forget_packets();
        self.state.regs()[0] = self.unknown();
        let to = self.leave_function()?;
        self.forget_packets();
        Ok(Next::At(to))
    }

    /// What a helper returns.
    fn call_result(&mut self, call: &Call) -> Check<Register> {
        let proto = call.proto;
        let flags = flags_of(proto.ret.flags);
        let pointer =
            |base: Base, object: Object| Register::pointer(Kind::new(base, flags), object);
        Ok(match proto.ret.kind {
            RetKind::Integer => self.unknown(),
            RetKind::Void => Register::NOT_INIT,
            RetKind::MapValue => return self.looked_up(call, flags),
            RetKind::Socket => pointer(Base::Socket, Object::None),
            RetKind::TcpSock => pointer(Base::TcpSock, Object::None),
            RetKind::SockCommon => pointer(Base::SockCommon, Object::None),
            RetKind::Mem => pointer(Base::Mem, Object::Size(call.memory.unwrap_or(0))),
            RetKind::MemOrBtfId => return self.percpu_result(call, flags),
            RetKind::BtfId(name) => {
                let Some(of) = self.types.kernel_struct(name) else {
                    let (id, name) = (call.id, helper_name(call.id));
                    refuse!(self, EINVAL, "invalid return type 8 of func {name}#{id}");
                };
                pointer(Base::BtfId, Object::Type(of))
            }
            RetKind::Kptr => {
                let Some(field) = call.field else { return Ok(self.unknown()) };
                let Some(of) = field.kind.pointee() else { return Ok(self.unknown()) };
                let mut register = pointer(Base::BtfId, Object::Type(of));
                if !self.types.is_kernel(of.btf) {
                    register.kind.flags |= Flags::ALLOC;
                    if matches!(field.kind, FieldKind::KptrPercpu(_)) {
                        register.kind.flags |= Flags::PERCPU;
                    }
                }
                register
            }
        })
    }

    /// An element of a map.
    fn looked_up(&mut self, call: &Call, flags: Flags) -> Check<Register> {
        let Some((map, uid)) = call.map else { return Ok(self.unknown()) };
        let mut flags = flags;
        let entry = self.maps.get(map);
        let (map_type, inner, has_lock) = (entry.map_type, entry.inner, entry.record.has_lock());
        let in_range = call.key.is_some_and(|key| key < u64::from(entry.max_entries));
        if call.id == Helper::MapLookupElem.id() && entry.has_every_key() && in_range {
            flags = flags.without(Flags::MAYBE_NULL);
        }
        let kind = Kind::new(Base::MapValue, flags);
        let mut register = Register { map_uid: uid, ..Register::pointer(kind, Object::Map(map)) };
        if flags.has(Flags::MAYBE_NULL) || has_lock {
            register.id = self.new_id();
        }
        let become_kind = |base: Base| Kind::new(base, flags & Flags::MAYBE_NULL);
        match (inner, map_type) {
            (Some(inner), _) => {
                register.kind = become_kind(Base::MapPtr);
                register.object = Object::Map(inner);
                register.map_uid = register.id;
            }
            (None, MapType::Xskmap) => {
                register.kind = become_kind(Base::XdpSock);
                (register.object, register.map_uid) = (Object::None, 0);
            }
            (None, MapType::Sockmap | MapType::Sockhash) => {
                register.kind = become_kind(Base::Socket);
                (register.object, register.map_uid) = (Object::None, 0);
            }
            _ => {}
        }
        Ok(register)
    }

    /// What a variable is that each CPU has.
    fn percpu_result(&mut self, call: &Call, flags: Flags) -> Check<Register> {
        let Some(of) = call.percpu else { return Ok(self.unknown()) };
        let Some((of, ty)) = self.types.resolved(of) else { return Ok(self.unknown()) };
        if let bombus_btf::Type::Struct(_) | bombus_btf::Type::Union(_) = ty {
            let flags = match call.returns_allocated {
                true => Flags::ALLOC | Flags::RCU,
                false => flags.without(Flags::RDONLY),
            };
            return Ok(Register::pointer(Kind::new(Base::BtfId, flags), Object::Type(of)));
        }
        let Some(size) = self.types.size(of) else {
            let name = self.types.name(of);
            refuse!(self, EINVAL, "unable to resolve the size of type '{name}': -22");
        };
        Ok(Register::pointer(Kind::new(Base::Mem, flags), Object::Size(size)))
    }

    /// What is known of numbers that helpers return (`do_refine_retval_range`).
    fn refine(&self, call: &Call, result: &mut Register) {
        let whole = |min: i64, max: i64| {
            let range = Range::between(Wrapping(min as u64), Wrapping(max as u64));
            let low = Range::between(Wrapping(min as u32), Wrapping(max as u32));
            Scalar { range, low, ..Scalar::unknown() }.reduced().0
        };
        match call.proto.name() {
            "get_stack"
            | "get_task_stack"
            | "probe_read_str"
            | "probe_read_kernel_str"
            | "probe_read_user_str" => {
                result.value = whole(-MAX_ERRNO, call.most as i64);
            }
            "get_smp_processor_id" => result.value = whole(0, CPUS as i64 - 1),
            "get_retval" => {
                let (prog_type, attach_type) = (self.prog_type(), self.program.attach_type);
                if prog_type == ProgType::CgroupSockopt
                    && attach_type == AttachType::CgroupGetsockopt
                {
                    return;
                }
                let range = match prog_type == ProgType::Lsm && attach_type == AttachType::LsmCgroup
                {
                    true if self.attach_result().is_void => return,
                    true => self.hook_range(),
                    false => None,
                };
                let (min, max) =
                    range.map_or((-MAX_ERRNO, 0), |range| (range.min.into(), range.max.into()));
                result.value = whole(min, max);
            }
            _ => {}
        }
    }
}
