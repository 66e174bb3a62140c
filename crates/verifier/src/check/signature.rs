//! What the program's own types say of its functions' arguments (`btf_prepare_func_args`,
//! `kernel/bpf/btf.c`).

use bombus_btf::{Btf, Kind as TypeKind, Type, TypeId};
use bombus_platform::{ProgType, context_struct};

use crate::state::{Flags, TypeRef};
use crate::verdict::Rejection;
use crate::walk::errno::{EFAULT, EINVAL, EOPNOTSUPP};
use crate::walk::{Check, Walk};

/// Arguments in registers.
pub(crate) const REGISTER_ARGS: usize = 5;

/// What an argument of a function is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Argument {
    /// A number.
    Number,
    /// The context.
    Context,
    /// Memory of this size.
    Memory(u32, Flags),
    /// An object of the kernel's.
    Object(TypeRef, Flags),
    /// A dynptr.
    Dynptr,
    /// Memory of an arena.
    Arena,
}

/// The tags of an argument (`ARG_TAG_*`).
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Tags {
    ctx: bool,
    trusted: bool,
    untrusted: bool,
    nonnull: bool,
    nullable: bool,
    arena: bool,
}

impl Tags {
    /// Whether nothing is said but what `allowed` says.
    fn within(self, allowed: Tags) -> bool {
        (!self.ctx || allowed.ctx)
            && (!self.trusted || allowed.trusted)
            && (!self.untrusted || allowed.untrusted)
            && (!self.nonnull || allowed.nonnull)
            && (!self.nullable || allowed.nullable)
            && (!self.arena || allowed.arena)
    }
}

impl Walk<'_> {
    /// The types of a function: its BTF, itself, its prototype.
    fn function_type(&self, function: usize) -> Option<(u8, &Btf, TypeId, Type<'_>)> {
        let (number, btf) = self.types.program()?;
        let id = self.code.functions().get(function)?.func?;
        let Some(Type::Func { proto, .. }) = btf.ty(id) else { return None };
        Some((number, btf, id, btf.ty(proto)?))
    }

    /// Whether a function returns nothing (`subprog_returns_void`).
    pub(crate) fn returns_void(&self, function: usize) -> bool {
        match self.function_type(function) {
            Some((_, btf, _, Type::FuncProto { ret, .. })) => {
                btf.resolve(ret) == Some(TypeId::VOID)
            }
            _ => false,
        }
    }

    /// The arguments of a function. What is refused is refused whatever calls it, if it is global;
    /// else it is only known that its types say nothing (`EINVAL`).
    pub(crate) fn arguments(&self, function: usize) -> Check<Vec<Argument>> {
        let known = self.signatures[function].get_or_init(|| self.read_arguments(function));
        known.clone().map_err(|why| Rejection { slot: Some(self.slot), ..why })
    }

    fn read_arguments(&self, function: usize) -> Check<Vec<Argument>> {
        let is_global = self.code.functions()[function].is_global();
        let refuse = |errno: i32, message: String| Err(self.rejection(errno, message));
        let Some((number, btf, func, proto)) = self.function_type(function) else {
            return match is_global {
                false => refuse(EINVAL, String::new()),
                true => refuse(EFAULT, "Global functions need valid BTF".into()),
            };
        };
        let name = btf.name(func);
        let Type::FuncProto { ret, params } = proto else {
            return refuse(EFAULT, format!("Invalid type of function {name}()"));
        };
        let count = params.len();
        if count > 12 {
            return refuse(
                EFAULT,
                format!("kernel supports at most 12 parameters, function {name} has {count}"),
            );
        }
        if is_global && count > REGISTER_ARGS {
            return refuse(
                EINVAL,
                format!(
                    "global function {name} has {count} > {REGISTER_ARGS} args, stack args not supported"
                ),
            );
        }
        let returned = btf.resolved(ret);
        let is_arena = type_tags(btf, ret).arena && matches!(returned, Some(Type::Ptr(_)));
        let returns_number =
            matches!(returned, None | Some(Type::Int(_) | Type::Enum(_) | Type::Enum64(_)));
        if !(returns_number || function != 0 && is_arena) {
            let message = match is_global {
                true => format!(
                    "Global function {name}() return value not void or scalar. Only those are supported."
                ),
                false => String::new(),
            };
            return refuse(EOPNOTSUPP, message);
        }
        let mut arguments = Vec::with_capacity(count);
        for (index, param) in params.iter().enumerate() {
            let tags = self.argument_tags(btf, func, index, param.ty, is_global)?;
            arguments.push(self.argument((number, btf), name, index, param.ty, tags, is_global)?);
        }
        Ok(arguments)
    }

    fn argument_tags(
        &self,
        btf: &Btf,
        func: TypeId,
        index: usize,
        ty: TypeId,
        is_global: bool,
    ) -> Check<Tags> {
        let mut tags = type_tags(btf, ty);
        for (_, each) in btf.types() {
            let Type::DeclTag { tag, ty, component } = each else { continue };
            if ty != func || component != Some(index as u32) {
                continue;
            }
            let Some(tag) = tag.strip_prefix("arg:") else { continue };
            if !is_global {
                let message = format!("arg#{index} type tag is not supported in static functions");
                return Err(self.rejection(EOPNOTSUPP, message));
            }
            match tag {
                "ctx" => tags.ctx = true,
                "trusted" => tags.trusted = true,
                "untrusted" => tags.untrusted = true,
                "nonnull" => tags.nonnull = true,
                "nullable" => tags.nullable = true,
                "arena" => tags.arena = true,
                _ => {
                    let message = format!("arg#{index} has unsupported set of tags");
                    return Err(self.rejection(EOPNOTSUPP, message));
                }
            }
        }
        Ok(tags)
    }

    fn argument(
        &self,
        (_, btf): (u8, &Btf),
        function: &str,
        index: usize,
        ty: TypeId,
        tags: Tags,
        is_global: bool,
    ) -> Check<Argument> {
        let refuse = |errno: i32, message: String| Err(self.rejection(errno, message));
        let combination = || refuse(EINVAL, format!("arg#{index} has invalid combination of tags"));
        let only = Tags::default();
        let Some(Type::Ptr(to)) = btf.resolved(ty) else {
            if tags != Tags::default() {
                return refuse(
                    EINVAL,
                    format!("arg#{index} has pointer tag, but is not a pointer type"),
                );
            }
            return match btf.resolved(ty) {
                Some(Type::Int(_) | Type::Enum(_) | Type::Enum64(_)) => Ok(Argument::Number),
                _ if !is_global => refuse(EINVAL, String::new()),
                other => {
                    let kind = other.map_or("UNKNOWN", |other| kind_name(other.kind()));
                    let message =
                        format!("Arg#{index} type {kind} in {function}() is not supported yet.");
                    refuse(EINVAL, message)
                }
            };
        };
        if tags.ctx || self.is_context_type(btf, to) {
            return match tags.within(Tags { ctx: true, ..only }) {
                true => Ok(Argument::Context),
                false => combination(),
            };
        }
        let target = btf.resolve(to).unwrap_or(to);
        if btf.name(target) == "bpf_dynptr" {
            return match tags == only {
                true => Ok(Argument::Dynptr),
                false => combination(),
            };
        }
        if tags.trusted {
            if tags.nonnull {
                return combination();
            }
            let of = self.kernel_type_of(btf, target, index)?;
            let null = if tags.nullable { Flags::MAYBE_NULL } else { Flags::NONE };
            return Ok(Argument::Object(of, Flags::TRUSTED | null));
        }
        if tags.untrusted {
            if !tags.within(Tags { untrusted: true, ..only }) {
                return refuse(
                    EINVAL,
                    format!("arg#{index} untrusted cannot be combined with any other tags"),
                );
            }
            if let None | Some(Type::Int(_) | Type::Enum(_) | Type::Enum64(_) | Type::Float(..)) =
                btf.ty(target)
            {
                return Ok(Argument::Memory(0, Flags::RDONLY | Flags::UNTRUSTED));
            }
            let of = self.kernel_type_of(btf, target, index)?;
            return Ok(Argument::Object(of, Flags::UNTRUSTED));
        }
        if tags.arena {
            return match tags.within(Tags { arena: true, ..only }) {
                true => Ok(Argument::Arena),
                false => refuse(
                    EINVAL,
                    format!("arg#{index} arena cannot be combined with any other tags"),
                ),
            };
        }
        if !is_global {
            return refuse(EINVAL, String::new());
        }
        if tags.nullable {
            return combination();
        }
        let Some(size) = btf.size_of(to) else {
            let (kind, name) = (btf.kind(target).map_or("UNKNOWN", kind_name), btf.name(target));
            let message = format!(
                "arg#{index} reference type('{kind} {name}') size cannot be determined: -22"
            );
            return refuse(EINVAL, message);
        };
        let null = if tags.nonnull { Flags::NONE } else { Flags::MAYBE_NULL };
        Ok(Argument::Memory(size, null))
    }

    /// Whether a type is what such programs have for a context (`btf_is_prog_ctx_type`).
    fn is_context_type(&self, btf: &Btf, to: TypeId) -> bool {
        let prog_type = self.prog_type();
        if prog_type == ProgType::Kprobe {
            let mut id = to;
            for _ in 0..64 {
                id = match btf.ty(id) {
                    Some(Type::Typedef("bpf_user_pt_regs_t", _)) => return true,
                    Some(
                        Type::Typedef(_, of)
                        | Type::Const(of)
                        | Type::Volatile(of)
                        | Type::Restrict(of)
                        | Type::TypeTag(_, of),
                    ) => of,
                    _ => break,
                };
            }
        }
        let Some(Type::Struct(found)) = btf.resolved(to) else { return false };
        let Some(wanted) = context_struct(prog_type) else { return false };
        // The kernel's own types that stand behind what programs see.
        let behind = match wanted {
            "__sk_buff" => "sk_buff",
            "xdp_md" => "xdp_buff",
            _ => "",
        };
        let is_registers = prog_type == ProgType::Kprobe && found.name == "pt_regs";
        is_registers || !found.name.is_empty() && (found.name == wanted || found.name == behind)
    }

    /// The kernel's type of the name of one of the program's (`btf_get_ptr_to_btf_id`).
    fn kernel_type_of(&self, btf: &Btf, id: TypeId, index: usize) -> Check<TypeRef> {
        let full = btf.name(id);
        let name = full.split_once("___").map_or(full, |(name, _)| name);
        let kind = btf.kind(id).unwrap_or(TypeKind::Struct);
        let found = self.types.kernel().and_then(|(number, kernel)| {
            let of = |kind| kernel.find(kind, name);
            let found = match kind {
                TypeKind::Fwd => of(TypeKind::Struct).or_else(|| of(TypeKind::Union)),
                kind => of(kind),
            };
            found.map(|found| TypeRef { btf: number, id: found.0 })
        });
        found.ok_or_else(|| {
            let kind = kind_name(kind);
            let message = format!("arg#{index} reference type('{kind} {full}') has no matches");
            self.rejection(2, message)
        })
    }
}

/// What the tags of a type say (`btf_scan_type_tags`).
fn type_tags(btf: &Btf, ty: TypeId) -> Tags {
    let mut tags = Tags::default();
    let Some(Type::Ptr(to)) = btf.resolved(ty) else { return tags };
    let mut to = to;
    for _ in 0..64 {
        to = match btf.ty(to) {
            Some(Type::TypeTag("arena", of)) => {
                tags.arena = true;
                of
            }
            Some(
                Type::TypeTag(_, of)
                | Type::Const(of)
                | Type::Volatile(of)
                | Type::Restrict(of)
                | Type::Typedef(_, of),
            ) => of,
            _ => break,
        };
    }
    tags
}

/// The kernel's name of a kind (`btf_kind_str`).
pub(crate) fn kind_name(kind: TypeKind) -> &'static str {
    match kind {
        TypeKind::Int => "INT",
        TypeKind::Ptr => "PTR",
        TypeKind::Array => "ARRAY",
        TypeKind::Struct => "STRUCT",
        TypeKind::Union => "UNION",
        TypeKind::Enum => "ENUM",
        TypeKind::Fwd => "FWD",
        TypeKind::Typedef => "TYPEDEF",
        TypeKind::Volatile => "VOLATILE",
        TypeKind::Const => "CONST",
        TypeKind::Restrict => "RESTRICT",
        TypeKind::Func => "FUNC",
        TypeKind::FuncProto => "FUNC_PROTO",
        TypeKind::Var => "VAR",
        TypeKind::Datasec => "DATASEC",
        TypeKind::Float => "FLOAT",
        TypeKind::DeclTag => "DECL_TAG",
        TypeKind::TypeTag => "TYPE_TAG",
        TypeKind::Enum64 => "ENUM64",
    }
}
