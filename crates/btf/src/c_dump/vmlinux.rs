//! All types as one header in an order that stays the same from build to build: `vmlinux.h` as
//! bpftool 7.8 writes it (`sort_btf_c` and `dump_btf_kfuncs` of its `btf.c`).

use std::fmt::Write;

use super::{Declarations, END, Result, START};
use crate::{Btf, Kind, Type, TypeId};

/// Types refer to others no deeper than this, unless they are malformed.
const DEPTH: u32 = 64;

/// What marks a function that programs may call, and one whose calls are cheap.
const KFUNC: &str = "bpf_kfunc";
const FASTCALL: &str = "bpf_fastcall";

/// What declarations of functions of the kernel need.
const MACROS: &str = "\
#ifndef __ksym
#define __ksym __attribute__((section(\".ksyms\")))
#endif

#ifndef __weak
#define __weak __attribute__((weak))
#endif

#ifndef __bpf_fastcall
#if __has_attribute(bpf_fastcall)
#define __bpf_fastcall __attribute__((bpf_fastcall))
#else
#define __bpf_fastcall
#endif
#endif

";

/// Writes a header with all types, in the order of [`sorted`] or of the blob, and with the kernel's
/// functions for programs.
pub fn vmlinux(btf: &Btf, in_order: bool, out: &mut impl Write) -> Result {
    let ids = if in_order { sorted(btf) } else { (1..btf.next_id().0).map(TypeId).collect() };
    write(btf, ids, true, out)
}

/// Writes the same header with these types, and what they depend on, alone.
pub fn vmlinux_of(
    btf: &Btf,
    ids: impl IntoIterator<Item = TypeId>,
    out: &mut impl Write,
) -> Result {
    write(btf, ids, false, out)
}

fn write(
    btf: &Btf,
    ids: impl IntoIterator<Item = TypeId>,
    functions: bool,
    out: &mut impl Write,
) -> Result {
    out.write_str(START)?;
    out.write_str(MACROS)?;
    let mut declarations = Declarations::new(btf);
    for id in ids {
        declarations.declare(id, out)?;
    }
    if functions {
        kfuncs(btf, &mut declarations, out)?;
    }
    out.write_str(END)?;
    Ok(())
}

/// The functions that are marked as such, by name.
fn kfuncs(btf: &Btf, declarations: &mut Declarations<'_>, out: &mut impl Write) -> Result {
    let (mut functions, mut cheap) = (Vec::new(), Vec::new());
    for id in (1..btf.next_id().0).map(TypeId) {
        if btf.kind(id) != Some(Kind::DeclTag) {
            continue;
        }
        let Some(Type::DeclTag { tag: name, ty, component: None }) = btf.ty(id) else { continue };
        let Some(Type::Func { name: function, proto, .. }) = btf.ty(ty) else { continue };
        if name.starts_with(KFUNC) {
            functions.push((function, proto, ty));
        }
        if name.starts_with(FASTCALL) {
            cheap.push(ty);
        }
    }
    functions.sort_by_key(|&(name, ..)| name);
    out.write_str("\n/* BPF kfuncs */\n#ifndef BPF_NO_KFUNC_PROTOTYPES\n")?;
    // Structures without name stay as they are.
    declarations.inline_anonymous = false;
    for (name, proto, id) in functions {
        declarations.write("extern ");
        if cheap.contains(&id) {
            declarations.write("__bpf_fastcall ");
        }
        declarations.declarator(proto, name.as_bytes(), 0, 0)?;
        declarations.write(" __weak __ksym;\n");
        declarations.hand_on(out)?;
    }
    out.write_str("#endif\n\n")?;
    Ok(())
}

/// By what types are sorted, in this order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key<'a> {
    rank: u32,
    /// The name that is at the end of what refers to others.
    name: &'a str,
    own_name: &'a str,
    /// Tells types apart that have the same names.
    hash: u64,
    id: TypeId,
}

/// All types, in an order that does not depend on how the kernel was linked: enumerations first,
/// then numbers, structures, functions, each by name.
pub fn sorted(btf: &Btf) -> Vec<TypeId> {
    let key = |id: TypeId| Key {
        rank: rank(btf, id, false, DEPTH),
        name: sort_name(btf, id, false, DEPTH),
        own_name: btf.name(id),
        hash: hash(btf, id, true, DEPTH),
        id,
    };
    let mut keys: Vec<Key<'_>> = (1..btf.next_id().0).map(|id| key(TypeId(id))).collect();
    keys.sort_unstable();
    keys.into_iter().map(|key| key.id).collect()
}

/// What this type adds something to.
fn referred(ty: &Type<'_>) -> Option<TypeId> {
    match *ty {
        Type::Ptr(to)
        | Type::Typedef(_, to)
        | Type::Volatile(to)
        | Type::Const(to)
        | Type::Restrict(to)
        | Type::TypeTag(_, to)
        | Type::DeclTag { ty: to, .. } => Some(to),
        _ => None,
    }
}

fn rank(btf: &Btf, id: TypeId, named: bool, depth: u32) -> u32 {
    const LAST: u32 = 10;
    let (Some(ty), Some(depth)) = (btf.ty(id), depth.checked_sub(1)) else { return LAST };
    let named = named || !btf.name(id).is_empty();
    match ty {
        Type::Enum(_) | Type::Enum64(_) => named.into(),
        Type::Int(_) | Type::Float(..) => 2,
        _ if !named => LAST,
        Type::Struct(_) | Type::Union(_) => 3,
        Type::FuncProto { .. } => 4,
        Type::Array { element, .. } => rank(btf, element, named, depth),
        ty => referred(&ty).map_or(LAST, |to| rank(btf, to, named, depth)),
    }
}

fn sort_name(btf: &Btf, id: TypeId, from_other: bool, depth: u32) -> &str {
    let (Some(ty), Some(depth)) = (btf.ty(id), depth.checked_sub(1)) else { return "" };
    match ty {
        // One without name has that of its first constant.
        Type::Enum(of) | Type::Enum64(of) if of.name.is_empty() && !from_other => {
            of.values.iter().next().map_or("", |first| first.name)
        }
        Type::Array { element, .. } => sort_name(btf, element, true, depth),
        ty => match referred(&ty) {
            Some(to) => sort_name(btf, to, true, depth),
            None => btf.name(id),
        },
    }
}

fn mix(hash: u64, value: u64) -> u64 {
    hash.wrapping_mul(31).wrapping_add(value)
}

fn mix_name(hash: u64, name: &str) -> u64 {
    if name.is_empty() {
        return hash;
    }
    // Bytes are signed where bpftool runs.
    let of_name = name.bytes().fold(0, |hash, byte| mix(hash, byte as i8 as i64 as u64));
    mix(hash, of_name)
}

fn hash(btf: &Btf, id: TypeId, members: bool, depth: u32) -> u64 {
    let start = mix_name(0, btf.name(id));
    let (Some(ty), Some(depth)) = (btf.ty(id), depth.checked_sub(1)) else { return start };
    match ty {
        Type::Enum(of) | Type::Enum64(of) => {
            of.values.iter().fold(start, |hash, value| mix_name(hash, value.name))
        }
        Type::Struct(of) | Type::Union(of) if members => {
            of.members.iter().fold(start, |so_far, member| {
                mix(mix_name(so_far, member.name), hash(btf, member.ty, false, depth))
            })
        }
        Type::Array { element, len, .. } => {
            mix(mix(start, len.into()), hash(btf, element, members, depth))
        }
        ty => match referred(&ty) {
            Some(to) => mix(start, hash(btf, to, members, depth)),
            None => start,
        },
    }
}
