//! Types as `bpftool --json btf dump` prints them.

use std::fmt::{self, Write};

use crate::raw::{encoding, shown};
use crate::{Btf, Enumeration, Type, TypeId};

/// Writes all types of the blob, without its base's, as one object:
/// `{"types":[{"id":1,"kind":"INT",...},...]}`.
pub fn dump(btf: &Btf, out: &mut impl Write) -> fmt::Result {
    dump_types(btf, btf.ids(), out)
}

/// Writes these types, in this order, as [`dump`] does.
pub fn dump_types(
    btf: &Btf,
    ids: impl IntoIterator<Item = TypeId>,
    out: &mut impl Write,
) -> fmt::Result {
    out.write_str("{\"types\":[")?;
    let mut first = true;
    for id in ids {
        if let Some(ty) = btf.ty(id) {
            if !first {
                out.write_char(',')?;
            }
            first = false;
            object(id, &ty, out)?;
        }
    }
    out.write_str("]}")
}

/// Writes a string with its quotes.
pub(crate) fn string(out: &mut impl Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c < ' ' || c == '"' || c == '\\') {
        out.write_str(&rest[..at])?;
        match rest.as_bytes()[at] {
            b'\n' => out.write_str("\\n")?,
            b'\t' => out.write_str("\\t")?,
            b'\r' => out.write_str("\\r")?,
            byte @ (b'"' | b'\\') => write!(out, "\\{}", char::from(byte))?,
            byte => write!(out, "\\u{byte:04x}")?,
        }
        rest = &rest[at + 1..];
    }
    out.write_str(rest)?;
    out.write_char('"')
}

fn object(id: TypeId, ty: &Type<'_>, out: &mut impl Write) -> fmt::Result {
    write!(out, "{{\"id\":{},\"kind\":\"{}\",\"name\":", id.0, ty.kind().name())?;
    string(out, shown(ty.name()))?;
    match ty {
        Type::Int(int) => write!(
            out,
            ",\"size\":{},\"bits_offset\":{},\"nr_bits\":{},\"encoding\":\"{}\"",
            int.size,
            int.bit_offset,
            int.bits,
            encoding(int)
        )?,
        Type::Ptr(to)
        | Type::Typedef(_, to)
        | Type::Volatile(to)
        | Type::Const(to)
        | Type::Restrict(to)
        | Type::TypeTag(_, to) => write!(out, ",\"type_id\":{}", to.0)?,
        Type::Array { element, index, len } => write!(
            out,
            ",\"type_id\":{},\"index_type_id\":{},\"nr_elems\":{len}",
            element.0, index.0
        )?,
        Type::Struct(composite) | Type::Union(composite) => {
            let members = composite.members;
            write!(out, ",\"size\":{},\"vlen\":{}", composite.size, members.len())?;
            list(out, "members", members, |out, member| {
                string(out, shown(member.name))?;
                write!(out, ",\"type_id\":{},\"bits_offset\":{}", member.ty.0, member.bit_offset)?;
                match member.bit_size {
                    0 => Ok(()),
                    size => write!(out, ",\"bitfield_size\":{size}"),
                }
            })?;
        }
        // bpftool takes values of 32 bits for signed on their way to 64.
        Type::Enum(enumeration) => values(enumeration, |value| value as i32 as u64, out)?,
        Type::Enum64(enumeration) => values(enumeration, |value| value as u64, out)?,
        Type::Fwd { union, .. } => {
            let kind = if *union { "union" } else { "struct" };
            write!(out, ",\"fwd_kind\":\"{kind}\"")?;
        }
        Type::Func { proto: ty, linkage, .. } | Type::Var { ty, linkage, .. } => {
            write!(out, ",\"type_id\":{},\"linkage\":\"{}\"", ty.0, linkage.name())?;
        }
        Type::FuncProto { ret, params } => {
            write!(out, ",\"ret_type_id\":{},\"vlen\":{}", ret.0, params.len())?;
            list(out, "params", *params, |out, param| {
                string(out, shown(param.name))?;
                write!(out, ",\"type_id\":{}", param.ty.0)
            })?;
        }
        Type::Datasec { size, vars, .. } => {
            write!(out, ",\"size\":{size},\"vlen\":{},\"vars\":[", vars.len())?;
            for (at, var) in vars.enumerate() {
                let comma = if at == 0 { "" } else { "," };
                write!(
                    out,
                    "{comma}{{\"type_id\":{},\"offset\":{},\"size\":{}}}",
                    var.ty.0, var.offset, var.size
                )?;
            }
            out.write_char(']')?;
        }
        Type::Float(_, size) => write!(out, ",\"size\":{size}")?,
        Type::DeclTag { ty, component, .. } => {
            let component = component.unwrap_or(u32::MAX) as i32;
            write!(out, ",\"type_id\":{},\"component_idx\":{component}", ty.0)?;
        }
    }
    out.write_char('}')
}

fn values(
    enumeration: &Enumeration<'_>,
    unsigned: fn(i64) -> u64,
    out: &mut impl Write,
) -> fmt::Result {
    let signed = enumeration.signed;
    let encoding = if signed { "SIGNED" } else { "UNSIGNED" };
    let (size, count) = (enumeration.size, enumeration.values.len());
    write!(out, ",\"encoding\":\"{encoding}\",\"size\":{size},\"vlen\":{count}")?;
    list(out, "values", enumeration.values, |out, value| {
        string(out, shown(value.name))?;
        match signed {
            true => write!(out, ",\"val\":{}", value.value),
            false => write!(out, ",\"val\":{}", unsigned(value.value)),
        }
    })
}

/// A list of objects that start with a name.
fn list<W: Write, E>(
    out: &mut W,
    name: &str,
    entries: impl Iterator<Item = E>,
    mut write_entry: impl FnMut(&mut W, E) -> fmt::Result,
) -> fmt::Result {
    write!(out, ",\"{name}\":[")?;
    for (at, entry) in entries.enumerate() {
        out.write_str(if at == 0 { "{\"name\":" } else { ",{\"name\":" })?;
        write_entry(out, entry)?;
        out.write_char('}')?;
    }
    out.write_char(']')
}
