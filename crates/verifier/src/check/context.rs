//! The program's context (`check_ctx_access`, `kernel/bpf/verifier.c`; `btf_ctx_access`,
//! `kernel/bpf/btf.c`).

use std::num::Wrapping;

use bombus_btf::{Btf, Kind as TypeKind, Type, TypeId};
use bombus_platform::attach::arguments_are_trusted;
use bombus_platform::{
    AttachType, ContextUse, ContextValue, FunctionReturn, ProgType, context_access,
    context_is_rewritten,
};

use super::memory::At;
use super::object::pointee;
use super::signature::kind_name;
use super::stack::Access;
use crate::AttachTarget;
use crate::domain::{Range, Scalar};
use crate::state::{Base, Flags, Kind, Object, Register, ReturnRange, State, TypeRef};
use crate::walk::{Check, Walk, refuse};

/// What the function that a program attaches to returns.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Returned {
    /// Nothing.
    pub is_void: bool,
    /// A pointer to this structure.
    pub structure: Option<TypeRef>,
}

/// What is read from a context.
pub(crate) enum FromContext {
    /// A number.
    Number,
    /// The number that the function returned.
    Result(ReturnRange),
    /// A pointer.
    Pointer(Register),
}

impl Walk<'_> {
    /// Whether pointers to the context may be moved by what is not known (`is_var_ctx_off_allowed`).
    pub(crate) fn context_may_move(&self) -> bool {
        self.prog_type() == ProgType::Syscall
    }

    /// A load from the context.
    pub(super) fn load_context(&mut self, at: At<'_>, dst: Option<usize>, signed: bool) -> Check {
        let read = self.check_context(at, Access::Read, signed)?;
        let Some(dst) = dst else { return Ok(()) };
        let mut result = match read {
            FromContext::Number => self.unknown(),
            FromContext::Result(range) => {
                let limit = |min: i32, max: i32| {
                    let whole = Range::between(
                        Wrapping(i64::from(min) as u64),
                        Wrapping(i64::from(max) as u64),
                    );
                    let low = Range::between(Wrapping(min as u32), Wrapping(max as u32));
                    Scalar { range: whole, low, ..Scalar::unknown() }.reduced().0
                };
                Register { value: limit(range.min, range.max), ..self.unknown() }
            }
            FromContext::Pointer(register) => register,
        };
        if result.kind.may_be_null() && result.id == 0 {
            result.id = self.new_id();
        }
        self.state.regs()[dst] = result;
        Ok(())
    }

    /// Whether an access to the context may be done, and what it reads.
    pub(super) fn check_context(
        &mut self,
        at: At<'_>,
        access: Access,
        signed: bool,
    ) -> Check<FromContext> {
        let At { pointer, n, off, size } = at;
        let prog_type = self.prog_type();
        if self.context_may_move() {
            self.check_region(pointer, n, off, size as i64, u16::MAX.into(), false)?;
        } else {
            self.check_fixed(pointer, n, !context_is_rewritten(prog_type))?;
        }
        let off = off.wrapping_add(pointer.umax() as i64);
        let refused = || format!("invalid bpf_context access off={off} size={size}");
        let asked = ContextUse {
            offset: i32::try_from(off).unwrap_or(-1),
            size: size as u32,
            is_write: access == Access::Write,
            is_sign_extended: signed,
        };
        let caller = crate::facts::caller(self.program, self.options);
        let Some(found) = context_access(&caller, asked) else {
            refuse!(self, EACCES, "{}", refused());
        };
        let plain =
            |base: Base, object: Object| Ok(FromContext::Pointer(Register::pointer(base, object)));
        let or_null = |base: Base| {
            let kind = Kind::new(base, Flags::MAYBE_NULL);
            Ok(FromContext::Pointer(Register::pointer(kind, Object::None)))
        };
        match found.value {
            ContextValue::Scalar => Ok(FromContext::Number),
            ContextValue::Packet => plain(Base::Packet, Object::Range(0)),
            ContextValue::PacketMeta => plain(Base::PacketMeta, Object::Range(0)),
            ContextValue::PacketEnd => plain(Base::PacketEnd, Object::None),
            ContextValue::FlowKeys => plain(Base::FlowKeys, Object::None),
            ContextValue::Socket => plain(Base::Socket, Object::None),
            ContextValue::TpBuffer => plain(Base::TpBuffer, Object::None),
            ContextValue::SocketOrNull => or_null(Base::Socket),
            ContextValue::SockCommonOrNull => or_null(Base::SockCommon),
            ContextValue::TrustedBtfId(name) => {
                let Some(of) = self.types.kernel_struct(name) else {
                    refuse!(self, EACCES, "{}", refused());
                };
                let kind = Kind::new(Base::BtfId, Flags::TRUSTED);
                Ok(FromContext::Pointer(Register::pointer(kind, Object::Type(of))))
            }
            ContextValue::ByBtf => match self.argument_of_hook(off, size) {
                Ok(read) => Ok(read),
                Err(why) => {
                    let why = if why.is_empty() { why } else { why + "\n" };
                    refuse!(self, EACCES, "{why}{}", refused());
                }
            },
        }
    }

    /// The prototype of what the program attaches to, its BTF and its name.
    pub(crate) fn hook(&self) -> Option<Hook<'_>> {
        let (btf, id, member) = match self.program.attach_to {
            AttachTarget::Nothing => return None,
            AttachTarget::Kernel { btf, id, member } => (btf, id, member),
            AttachTarget::Program { btf, id, .. } => (btf, id, 0),
        };
        let is_struct_ops = self.program.prog_type == ProgType::StructOps;
        let (name, proto) = match btf.ty(id)? {
            Type::Func { name, proto, .. } => (name, Some(proto)),
            // A tracepoint: `typedef void (*btf_trace_NAME)(void *, ...)`.
            Type::Typedef(name, to) => {
                let Some(Type::Ptr(proto)) = btf.ty(to) else { return None };
                (name.strip_prefix("btf_trace_").unwrap_or(name), Some(proto))
            }
            Type::Struct(composite) if is_struct_ops => {
                let member = composite.members.get(member as usize)?;
                let Some(Type::Ptr(proto)) = btf.resolved(member.ty) else { return None };
                (member.name, Some(proto))
            }
            _ => return None,
        };
        Some(Hook { btf, name, proto: proto.and_then(|proto| btf.resolve(proto)) })
    }

    /// The name of an argument of what the program attaches to. Those of a structure's function say
    /// what it may be where the kernel has a function in its place while there is none: `STRUCTURE__MEMBER`
    /// (`prepare_arg_info`, `kernel/bpf/bpf_struct_ops.c`).
    fn argument_name(&self, hook: &Hook<'_>, index: usize) -> Option<String> {
        let mut proto = hook.proto;
        if let (ProgType::StructOps, AttachTarget::Kernel { btf, id, .. }) =
            (self.program.prog_type, self.program.attach_to)
        {
            let stub = format!("{}__{}", btf.name(id), hook.name);
            if let Some(Type::Func { proto: found, .. }) =
                btf.find(TypeKind::Func, &stub).and_then(|stub| btf.ty(stub))
            {
                proto = Some(found);
            }
        }
        let Some(Type::FuncProto { params, .. }) = hook.btf.ty(proto?) else { return None };
        params.iter().nth(index).map(|param| param.name.to_owned())
    }

    /// An argument of the function that the program attaches to; why it is none.
    fn argument_of_hook(&mut self, off: i64, size: usize) -> Result<FromContext, String> {
        let Some(hook) = self.hook() else { return Ok(FromContext::Number) };
        let (btf, name) = (hook.btf, hook.name);
        if off % 8 != 0 {
            return Err(format!("func '{name}' offset {off} is not multiple of 8"));
        }
        let Some(Type::FuncProto { ret, params }) = hook.proto.and_then(|proto| btf.ty(proto))
        else {
            return Ok(FromContext::Number);
        };
        let attach_type = self.program.attach_type;
        let prog_type = self.program.prog_type;
        // Tracepoints have the data of who traces before their arguments.
        let is_tracepoint = attach_type == AttachType::TraceRawTp
            && matches!(prog_type, ProgType::Tracing | ProgType::RawTracepoint);
        let hidden = usize::from(is_tracepoint);
        let params: Vec<_> = params.iter().skip(hidden).collect();
        let index = argument_index(btf, &params, off);
        let missing = || format!("func '{name}' doesn't have {}-th argument", index + 1);
        let ty = match params.get(index) {
            Some(param) => param.ty,
            None if index > params.len() => return Err(missing()),
            None => match attach_type {
                AttachType::LsmMac if prog_type == ProgType::Lsm => {
                    return Ok(match self.hook_range() {
                        Some(range) => FromContext::Result(range),
                        None => FromContext::Number,
                    });
                }
                AttachType::LsmCgroup | AttachType::TraceFexit | AttachType::TraceFsession => ret,
                AttachType::ModifyReturn => match btf.resolved(ret) {
                    Some(Type::Int(_) | Type::Enum(_) | Type::Enum64(_)) => ret,
                    other => {
                        let kind = other.map_or("UNKNOWN", |other| kind_name(other.kind()));
                        return Err(format!("ret type {kind} not allowed for fmod_ret"));
                    }
                },
                _ => return Err(missing()),
            },
        };
        let Some(resolved) = btf.resolved(ty) else { return self.odd_argument(&hook, index, ty) };
        let to = match resolved {
            Type::Int(_) | Type::Enum(_) | Type::Enum64(_) | Type::Struct(_) | Type::Union(_) => {
                return Ok(FromContext::Number);
            }
            Type::Ptr(to) => to,
            _ => return self.odd_argument(&hook, index, ty),
        };
        if size != 8 {
            return Err(format!("func '{name}' size {size} must be 8"));
        }
        let param_name = self.argument_name(&hook, index + hidden).unwrap_or_default();
        let special = crate::facts::hook_argument(self.program, name, index, &param_name);
        if let Some(crate::facts::Special::Buffer(flags)) = special {
            let kind = Kind::new(Base::Buf, flags);
            return Ok(FromContext::Pointer(Register::pointer(kind, Object::None)));
        }
        if let Some(crate::facts::Special::Object(of, flags)) = special {
            let Some(of) = self.types.kernel_struct(of) else {
                return Err(format!("invalid btf_id for context argument offset {off}"));
            };
            let kind = Kind::new(Base::BtfId, flags);
            return Ok(FromContext::Pointer(Register::pointer(kind, Object::Type(of))));
        }
        let target = btf.resolve(to).and_then(|to| btf.ty(to));
        if !matches!(target, Some(Type::Struct(_) | Type::Union(_))) {
            return Ok(FromContext::Number);
        }
        let Some((to, tags)) = pointee(btf, to) else {
            return Err(format!("func '{name}' arg{index} type PTR has multiple type tags"));
        };
        let mut flags = tags;
        if self.arguments_are_trusted() {
            flags |= Flags::TRUSTED;
        }
        if param_name.ends_with("__nullable") {
            flags |= Flags::MAYBE_NULL;
        }
        let (id, number) = (to.0, self.number_of(btf));
        match special {
            Some(crate::facts::Special::Flags(more)) => flags |= more,
            Some(crate::facts::Special::MayBeError) => return Ok(FromContext::Number),
            _ => {}
        }
        let mut of = TypeRef { btf: number, id };
        if let AttachTarget::Program { prog_type, .. } = self.program.attach_to {
            // The other program's context: as the kernel has it.
            let Some(kernel) = bombus_platform::context_kernel_struct(prog_type)
                .and_then(|name| self.types.kernel_struct(name))
            else {
                return Err(String::new());
            };
            of = kernel;
        }
        let kind = Kind::new(Base::BtfId, flags);
        let mut register = Register::pointer(kind, Object::Type(of));
        if param_name.ends_with("__ref") {
            register.id = self.hook_reference(index);
            if register.id != 0 && !self.state.has_reference(register.id) {
                return Err(String::new());
            }
        }
        Ok(FromContext::Pointer(register))
    }

    fn odd_argument(
        &self,
        hook: &Hook<'_>,
        index: usize,
        ty: TypeId,
    ) -> Result<FromContext, String> {
        let (name, btf) = (hook.name, hook.btf);
        let id = btf.resolve(ty).unwrap_or(ty);
        let (of, kind) = (btf.name(id), btf.kind(id).map_or("UNKNOWN", kind_name));
        Err(format!(
            "func '{name}' arg{index} '{of}' has type {kind}. Only pointer access is allowed"
        ))
    }

    /// The number of a BTF among those that are known.
    fn number_of(&self, btf: &Btf) -> u8 {
        (0..u8::MAX)
            .find(|number| self.types.btf(*number).is_some_and(|each| std::ptr::eq(each, btf)))
            .unwrap_or(0)
    }

    /// Whether the arguments of what a program attaches to are living objects
    /// (`prog_args_trusted`).
    fn arguments_are_trusted(&self) -> bool {
        arguments_are_trusted(&crate::facts::caller(self.program, self.options))
    }

    /// What the function that the program attaches to returns.
    pub(crate) fn attach_result(&self) -> Returned {
        let Some(hook) = self.hook() else { return Returned::default() };
        let Some(Type::FuncProto { ret, .. }) = hook.proto.and_then(|proto| hook.btf.ty(proto))
        else {
            return Returned::default();
        };
        if hook.btf.resolve(ret) == Some(TypeId::VOID) {
            return Returned { is_void: true, structure: None };
        }
        let Some(Type::Ptr(to)) = hook.btf.resolved(ret) else { return Returned::default() };
        let structure = hook.btf.resolve(to).filter(|to| *to != TypeId::VOID);
        let btf = self.number_of(hook.btf);
        Returned { is_void: false, structure: structure.map(|to| TypeRef { btf, id: to.0 }) }
    }

    /// The id of what an argument holds that must be given back; 0: nothing.
    fn hook_reference(&self, index: usize) -> u32 {
        self.argument_references.get(index).copied().unwrap_or(0)
    }

    /// What the arguments of a structure's function hold from the start that must be given back.
    pub(crate) fn acquire_arguments(&mut self, state: &mut State) -> Check {
        let Some(hook) = self.hook() else { return Ok(()) };
        let names = (0..).map_while(|index| self.argument_name(&hook, index));
        let held: Vec<bool> = names.map(|name| name.ends_with("__ref")).collect();
        let makes_tail_calls = self.code.functions().iter().any(|each| each.has_tail_call);
        if held.contains(&true) && makes_tail_calls {
            refuse!(self, EINVAL, "program with __ref argument cannot tail call");
        }
        let mut ids = Vec::with_capacity(held.len());
        for held in held {
            let reference = held.then(|| self.new_reference(0));
            ids.push(reference.map_or(0, |reference| reference.id));
            state.references.extend(reference);
        }
        self.argument_references = ids;
        Ok(())
    }

    /// The numbers that the security hook that the program attaches to may return.
    pub(crate) fn hook_range(&self) -> Option<ReturnRange> {
        Some(crate::facts::hook_range(self.program))
    }

    /// The numbers that the program may return; `None`: any.
    pub(crate) fn result_range(&self) -> Result<Option<ReturnRange>, crate::facts::NotRead> {
        let returned = self.attach_result();
        let returns = match (returned.is_void, returned.structure) {
            (true, _) => FunctionReturn::Void,
            (_, Some(_)) => FunctionReturn::Pointer,
            _ if self.hook().is_some() => FunctionReturn::Number,
            _ => FunctionReturn::Unknown,
        };
        crate::facts::result_rule(self.program, self.options, returns)
    }

    /// Whether the program is called by a trampoline (`bpf_prog_has_trampoline`).
    pub(crate) fn has_trampoline(&self) -> bool {
        matches!(
            self.program.attach_type,
            AttachType::TraceFentry
                | AttachType::TraceFexit
                | AttachType::ModifyReturn
                | AttachType::TraceFsession
        )
    }
}

/// What a program attaches to.
#[derive(Clone, Copy)]
pub(crate) struct Hook<'a> {
    /// Its BTF.
    pub btf: &'a Btf,
    /// Its name.
    pub name: &'a str,
    /// Its prototype.
    pub proto: Option<TypeId>,
}

/// Which argument stands at an offset: structures take several words (`btf_ctx_arg_idx`).
fn argument_index(btf: &Btf, params: &[bombus_btf::Param<'_>], off: i64) -> usize {
    let mut end = 0;
    for (index, param) in params.iter().enumerate() {
        let size = btf.size_of(param.ty).unwrap_or(8);
        end += i64::from(size.next_multiple_of(8).max(8));
        if off < end {
            return index;
        }
    }
    // After the arguments stands what is returned.
    if off < end + 8 { params.len() } else { params.len() + 1 }
}
