//! All types as one header in an order that stays the same from build to build: `vmlinux.h` as
//! bpftool 7.8 writes it (`sort_btf_c` and `dump_btf_kfuncs` of its `btf.c`).

use std::cmp::Ordering;
use std::fmt::Write;

use super::{Declarations, END, Name, Result, START};
use crate::btf::View;
use crate::record::Record;
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
    declarations.declare_all(ids, out)?;
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
        declarations.text.push("extern ");
        if cheap.contains(&id) {
            declarations.text.push("__bpf_fastcall ");
        }
        declarations.declarator(proto, Name::Text(name.as_bytes()), 0, 0)?;
        declarations.text.push(" __weak __ksym;\n");
        declarations.hand_on_when_full(out)?;
    }
    declarations.text.push("#endif\n\n");
    declarations.text.hand_on(out)
}

/// What comes last in the order.
const LAST: u32 = 10;

/// Types are sorted by the first bytes of this, then by the rest of the names. What has the same
/// names is told apart by [`hash`], which takes longer than the rest of it.
#[derive(Clone, Copy)]
struct Key {
    /// The rank, and the first bytes of the name.
    start: u64,
    /// Where the name is that stands at the end of what refers to others, and the type's own.
    name: u32,
    own_name: u32,
    id: TypeId,
}

impl Key {
    /// Of the bytes of `start`.
    const NAME_LEN: usize = 7;

    fn new(types: View<'_>, id: TypeId) -> Key {
        let name = sort_name(types, id);
        let mut start = [0; 1 + Key::NAME_LEN];
        let text = types.name(name);
        let len = text.len().min(Key::NAME_LEN);
        start[1..=len].copy_from_slice(&text[..len]);
        start[0] = rank(types, id, false, DEPTH) as u8;
        let own_name = types.record(id).map_or(0, |record| record.name);
        Key { start: u64::from_be_bytes(start), name, own_name, id }
    }

    fn cmp(&self, other: &Key, types: View<'_>) -> Ordering {
        let by_name = |one, other| match one == other {
            true => Ordering::Equal,
            false => types.name(one).cmp(types.name(other)),
        };
        self.start.cmp(&other.start).then_with(|| match self.start as u8 {
            // All of both names.
            0 => by_name(self.own_name, other.own_name),
            _ => {
                by_name(self.name, other.name).then_with(|| by_name(self.own_name, other.own_name))
            }
        })
    }
}

/// All types that something is declared for, in an order that does not depend on how the kernel was
/// linked: enumerations first, then numbers, structures, functions, each by name.
fn sorted(btf: &Btf) -> Vec<TypeId> {
    let types = btf.view();
    let ids = (1..btf.next_id().0).map(TypeId).filter(|&id| declares(types, id));
    let mut keys: Vec<Key> = ids.map(|id| Key::new(types, id)).collect();
    keys.sort_by(|one, other| one.cmp(other, types));
    for namesakes in keys.chunk_by_mut(|one, other| one.cmp(other, types).is_eq()) {
        if namesakes.len() > 1 {
            namesakes.sort_by_cached_key(|key| hash(types, key.id, true, DEPTH));
        }
    }
    keys.into_iter().map(|key| key.id).collect()
}

/// Whether something is declared because of this type: functions and variables are not, and what
/// adds to a type of its own name comes after that.
fn declares(types: View<'_>, id: TypeId) -> bool {
    let Some(kind) = types.kind(id) else { return false };
    match kind {
        Kind::Func | Kind::Var | Kind::Datasec | Kind::DeclTag => false,
        Kind::Ptr | Kind::Volatile | Kind::Const | Kind::Restrict | Kind::Array => {
            let mut id = id;
            for _ in 0..DEPTH {
                let Some(record) = types.record(id) else { return true };
                match referred(&record) {
                    Some(to) => id = to,
                    None => return !is_early(&record),
                }
            }
            true
        }
        _ => true,
    }
}

/// Whether this is sorted before all that adds to it.
fn is_early(record: &Record<'_>) -> bool {
    match record.kind {
        Kind::Int | Kind::Float | Kind::Enum | Kind::Enum64 => true,
        Kind::Struct | Kind::Union => record.name != 0,
        _ => false,
    }
}

/// What this type adds something to.
fn referred(record: &Record<'_>) -> Option<TypeId> {
    match record.kind {
        Kind::Array => Some(TypeId(record.word(0))),
        Kind::Ptr | Kind::Typedef | Kind::TypeTag | Kind::DeclTag => {
            Some(TypeId(record.size_or_type))
        }
        kind if kind.is_modifier() => Some(TypeId(record.size_or_type)),
        _ => None,
    }
}

fn rank(types: View<'_>, id: TypeId, named: bool, depth: u32) -> u32 {
    let (Some(record), Some(depth)) = (types.record(id), depth.checked_sub(1)) else { return LAST };
    let named = named || record.name != 0;
    match record.kind {
        Kind::Enum | Kind::Enum64 => named.into(),
        Kind::Int | Kind::Float => 2,
        _ if !named => LAST,
        Kind::Struct | Kind::Union => 3,
        Kind::FuncProto => 4,
        _ => referred(&record).map_or(LAST, |to| rank(types, to, named, depth)),
    }
}

/// The offset of the name that a type is sorted by.
fn sort_name(types: View<'_>, id: TypeId) -> u32 {
    let mut at = id;
    for _ in 0..DEPTH {
        let Some(record) = types.record(at) else { return 0 };
        match referred(&record) {
            Some(to) => at = to,
            None => {
                let is_enum = matches!(record.kind, Kind::Enum | Kind::Enum64);
                // One without name has that of its first constant.
                let first = is_enum && record.name == 0 && record.count > 0 && at == id;
                return if first { record.entry_name(0) } else { record.name };
            }
        }
    }
    0
}

fn mix(hash: u64, value: u64) -> u64 {
    hash.wrapping_mul(31).wrapping_add(value)
}

fn mix_name(hash: u64, name: &[u8]) -> u64 {
    if name.is_empty() {
        return hash;
    }
    // Bytes are signed where bpftool runs.
    let of_name = name.iter().fold(0, |hash, &byte| mix(hash, byte as i8 as i64 as u64));
    mix(hash, of_name)
}

fn hash(types: View<'_>, id: TypeId, members: bool, depth: u32) -> u64 {
    let Some(record) = types.record(id) else { return 0 };
    let start = mix_name(0, types.name(record.name));
    let Some(depth) = depth.checked_sub(1) else { return start };
    let names = (0..record.count.into()).map(|index| types.name(record.entry_name(index)));
    match record.kind {
        Kind::Enum | Kind::Enum64 => names.fold(start, mix_name),
        Kind::Struct | Kind::Union if members => {
            names.zip(record.members()).fold(start, |so_far, (name, (ty, ..))| {
                mix(mix_name(so_far, name), hash(types, ty, false, depth))
            })
        }
        kind => {
            let start = match kind {
                Kind::Array => mix(start, record.word(2).into()),
                _ => start,
            };
            match referred(&record) {
                Some(to) => mix(start, hash(types, to, members, depth)),
                None => start,
            }
        }
    }
}
