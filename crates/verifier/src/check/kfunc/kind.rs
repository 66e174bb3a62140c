//! What a kernel function's argument is, by its type and its name (`get_kfunc_arg_type`,
//! `kernel/bpf/verifier.c`).

use bombus_btf::{Btf, Param, Type, TypeId};
use bombus_platform::kfunc::{
    ArgumentSuffix as Suffix, KfuncFlags, SpecialKfunc as Special, argument_suffix,
};

use super::KernelCall;
use crate::check::signature::kind_name;
use crate::walk::{Check, Walk, refuse};

/// Structures within structures of plain numbers at most.
const MAX_NESTING: u32 = 3;

/// What an argument is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    /// The kernel gives it.
    Ignored,
    Number,
    Constant,
    /// Size of the memory before it; whether it is a constant.
    Size(bool),
    /// Size of the memory that is given; whether that is read-only.
    GivenSize(bool),
    Context,
    Allocated,
    Refcounted,
    Dynptr,
    Iterator,
    ListHead,
    ListNode,
    RbRoot,
    RbNode,
    String,
    ConstMap,
    Map,
    Workqueue,
    Timer,
    TaskWork,
    IrqFlag,
    ResSpinLock,
    Callback,
    Arena,
    /// Memory, whose size is the next argument.
    Memory,
    /// Memory of the size of its type.
    FixedMemory,
    /// An object of a structure.
    Object,
}

impl Walk<'_> {
    /// What an argument is, and whether it may be null.
    pub(super) fn wanted(&self, call: &KernelCall<'_>, index: usize) -> Check<(Wanted, bool)> {
        let btf = call.btf;
        let Some(param) = call.params.get(index) else { return Ok((Wanted::Ignored, false)) };
        let suffix = argument_suffix(param.name);
        let n = index + 1;
        let may_be_null = matches!(suffix, Some(Suffix::Nullable | Suffix::ArenaNullable));
        if suffix == Some(Suffix::Ignored) || is_program(btf, &param) {
            return Ok((Wanted::Ignored, false));
        }
        let to = match btf.resolved(param.ty) {
            Some(Type::Int(_) | Type::Enum(_) | Type::Enum64(_)) => {
                return Ok((number(suffix, param.name), false));
            }
            Some(Type::Ptr(to)) => to,
            other => {
                let kind = other.map_or("UNKNOWN", |other| kind_name(other.kind()));
                refuse!(self, EINVAL, "Unrecognized R{n} type {kind}");
            }
        };
        let target = btf.resolve(to).unwrap_or(TypeId::VOID);
        let name = btf.name(target);
        let is_iterator = call.is(KfuncFlags::ITER_NEW)
            || call.is(KfuncFlags::ITER_NEXT)
            || call.is(KfuncFlags::ITER_DESTROY);
        let casts = [Special::CastToKernCtx, Special::SessionIsReturn, Special::SessionCookie];
        let next_is_size = call
            .params
            .get(index + 1)
            .and_then(|next| argument_suffix(next.name).filter(|_| is_number(btf, next.ty)))
            .is_some_and(|suffix| matches!(suffix, Suffix::Size | Suffix::ConstSize));
        let wanted = if call.is_one_of(&casts) || self.is_kernel_context(btf, target) {
            Wanted::Context
        } else if suffix == Some(Suffix::Alloc) {
            Wanted::Allocated
        } else if suffix == Some(Suffix::RefcountedKptr) {
            Wanted::Refcounted
        } else if name == "bpf_dynptr" {
            Wanted::Dynptr
        } else if (is_iterator && index == 0) || suffix == Some(Suffix::Iter) {
            Wanted::Iterator
        } else if let Some(wanted) = by_name(name) {
            wanted
        } else if suffix == Some(Suffix::Str) {
            Wanted::String
        } else if suffix == Some(Suffix::ConstMap) {
            Wanted::ConstMap
        } else if suffix == Some(Suffix::Map) {
            Wanted::Map
        } else if suffix == Some(Suffix::IrqFlag) {
            Wanted::IrqFlag
        } else if matches!(btf.ty(target), Some(Type::FuncProto { .. })) {
            Wanted::Callback
        } else if self.is_arena_argument(call, index, suffix) {
            if self.arena().is_none() {
                refuse!(
                    self,
                    EINVAL,
                    "R{n} arena pointer requires a program with an associated arena"
                );
            }
            Wanted::Arena
        } else if next_is_size {
            if target != TypeId::VOID && !is_number(btf, target) && !is_plain(btf, target, 0) {
                let kind = btf.kind(target).map_or("UNKNOWN", kind_name);
                refuse!(
                    self,
                    EINVAL,
                    "R{n} pointer type {kind} {name} must point to void, scalar, or struct with scalar"
                );
            }
            Wanted::Memory
        } else if matches!(btf.ty(target), Some(Type::Struct(_))) {
            Wanted::Object
        } else {
            if !is_number(btf, target) && !is_plain(btf, target, 0) {
                let kind = btf.kind(target).map_or("UNKNOWN", kind_name);
                refuse!(
                    self,
                    EINVAL,
                    "R{n} pointer type {kind} {name} must point to scalar, or struct with scalar"
                );
            }
            Wanted::FixedMemory
        };
        Ok((wanted, may_be_null))
    }

    fn is_arena_argument(
        &self,
        call: &KernelCall<'_>,
        index: usize,
        suffix: Option<Suffix>,
    ) -> bool {
        matches!(suffix, Some(Suffix::Arena | Suffix::ArenaNullable))
            || index == 0 && call.is(KfuncFlags::ARENA_ARG1)
            || index == 1 && call.is(KfuncFlags::ARENA_ARG2)
    }
}

fn number(suffix: Option<Suffix>, name: &str) -> Wanted {
    match (suffix, name) {
        (Some(Suffix::Const), _) => Wanted::Constant,
        (Some(Suffix::ConstSize), _) => Wanted::Size(true),
        (Some(Suffix::Size), _) => Wanted::Size(false),
        (_, "rdonly_buf_size") => Wanted::GivenSize(true),
        (_, "rdwr_buf_size") => Wanted::GivenSize(false),
        _ => Wanted::Number,
    }
}

fn by_name(name: &str) -> Option<Wanted> {
    Some(match name {
        "bpf_list_head" => Wanted::ListHead,
        "bpf_list_node" => Wanted::ListNode,
        "bpf_rb_root" => Wanted::RbRoot,
        "bpf_rb_node" => Wanted::RbNode,
        "bpf_wq" => Wanted::Workqueue,
        "bpf_timer" => Wanted::Timer,
        "bpf_task_work" => Wanted::TaskWork,
        "bpf_res_spin_lock" => Wanted::ResSpinLock,
        _ => return None,
    })
}

/// Whether the kernel gives the program itself (`is_kfunc_arg_prog_aux`).
fn is_program(btf: &Btf, param: &Param<'_>) -> bool {
    let Some(Type::Ptr(to)) = btf.resolved(param.ty) else { return false };
    btf.resolve(to).is_some_and(|to| btf.name(to) == "bpf_prog_aux")
}

/// Whether a type is a number.
pub(super) fn is_number(btf: &Btf, ty: TypeId) -> bool {
    matches!(btf.resolved(ty), Some(Type::Int(_) | Type::Enum(_) | Type::Enum64(_)))
}

/// Whether a structure is of numbers alone (`btf_type_is_scalar_struct`).
pub(super) fn is_plain(btf: &Btf, ty: TypeId, depth: u32) -> bool {
    let Some(Type::Struct(composite)) = btf.resolved(ty) else { return false };
    composite.members.iter().all(|member| match btf.resolved(member.ty) {
        Some(Type::Struct(_)) => depth < MAX_NESTING && is_plain(btf, member.ty, depth + 1),
        Some(Type::Array { element, len, .. }) => len > 0 && is_number(btf, element),
        _ => is_number(btf, member.ty),
    })
}
