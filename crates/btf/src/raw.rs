//! Types as `bpftool btf dump` prints them: one line each, then a line for each member.

use std::fmt::{self, Write};

use crate::{Btf, Enumeration, Int, Member, Type, TypeId};

/// Writes all types of the blob, without its base's, as `bpftool btf dump file FILE format raw`
/// does.
pub fn dump(btf: &Btf, out: &mut impl Write) -> fmt::Result {
    for id in btf.ids() {
        writeln!(out, "{}", btf.display(id))?;
    }
    Ok(())
}

impl Btf {
    /// A type as bpftool prints it, without the last line's end.
    pub fn display(&self, id: TypeId) -> impl fmt::Display {
        Line { btf: self, id }
    }
}

struct Line<'a> {
    btf: &'a Btf,
    id: TypeId,
}

/// A name as bpftool shows it.
pub(crate) fn shown(name: &str) -> &str {
    if name.is_empty() { "(anon)" } else { name }
}

/// What bpftool calls the encoding of an integer.
pub(crate) fn encoding(int: &Int<'_>) -> &'static str {
    match int.encoding {
        0 => "(none)",
        Int::SIGNED => "SIGNED",
        Int::CHAR => "CHAR",
        Int::BOOL => "BOOL",
        _ => "UNKN",
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (btf, id) = (self.btf, self.id);
        let Some(ty) = btf.ty(id) else {
            return match btf.kind(id) {
                Some(kind) => {
                    let name = shown(btf.name(id));
                    write!(f, "{id} {} '{name}' (malformed)", kind.name())
                }
                None => write!(f, "{id} (none)"),
            };
        };
        // The kernel has a hundred thousand of these lines: as few calls of the formatter as can be.
        f.write_char('[')?;
        number(f, id.0)?;
        f.write_str("] ")?;
        f.write_str(ty.kind().name())?;
        f.write_str(" '")?;
        f.write_str(shown(ty.name()))?;
        f.write_char('\'')?;
        match ty {
            Type::Int(int) => {
                field(f, " size=", int.size)?;
                field(f, " bits_offset=", int.bit_offset.into())?;
                field(f, " nr_bits=", int.bits.into())?;
                f.write_str(" encoding=")?;
                f.write_str(encoding(&int))
            }
            Type::Ptr(to)
            | Type::Typedef(_, to)
            | Type::Volatile(to)
            | Type::Const(to)
            | Type::Restrict(to)
            | Type::TypeTag(_, to) => field(f, " type_id=", to.0),
            Type::Array { element, index, len } => {
                field(f, " type_id=", element.0)?;
                field(f, " index_type_id=", index.0)?;
                field(f, " nr_elems=", len)
            }
            Type::Struct(composite) | Type::Union(composite) => {
                field(f, " size=", composite.size)?;
                field(f, " vlen=", composite.members.len() as u32)?;
                composite.members.iter().try_for_each(|member| self.member(f, &member))
            }
            Type::Enum(enumeration) => self.enumeration(f, &enumeration, "", ""),
            Type::Enum64(enumeration) => self.enumeration(f, &enumeration, "LL", "ULL"),
            Type::Fwd { union, .. } => {
                f.write_str(if union { " fwd_kind=union" } else { " fwd_kind=struct" })
            }
            Type::Func { proto, linkage, .. } => {
                field(f, " type_id=", proto.0)?;
                f.write_str(" linkage=")?;
                f.write_str(linkage.name())
            }
            Type::FuncProto { ret, params } => {
                field(f, " ret_type_id=", ret.0)?;
                field(f, " vlen=", params.len() as u32)?;
                for param in params {
                    f.write_str("\n\t'")?;
                    f.write_str(shown(param.name))?;
                    field(f, "' type_id=", param.ty.0)?;
                }
                Ok(())
            }
            Type::Var { ty, linkage, .. } => {
                field(f, " type_id=", ty.0)?;
                f.write_str(", linkage=")?;
                f.write_str(linkage.name())
            }
            Type::Datasec { size, vars, .. } => {
                field(f, " size=", size)?;
                field(f, " vlen=", vars.len() as u32)?;
                for var in vars {
                    field(f, "\n\ttype_id=", var.ty.0)?;
                    field(f, " offset=", var.offset)?;
                    field(f, " size=", var.size)?;
                    if let Some(kind) = btf.kind(var.ty) {
                        write!(f, " ({} '{}')", kind.name(), shown(btf.name(var.ty)))?;
                    }
                }
                Ok(())
            }
            Type::Float(_, size) => field(f, " size=", size),
            Type::DeclTag { ty, component, .. } => {
                field(f, " type_id=", ty.0)?;
                write!(f, " component_idx={}", component.unwrap_or(u32::MAX) as i32)
            }
        }
    }
}

impl Line<'_> {
    fn member(&self, f: &mut fmt::Formatter<'_>, member: &Member<'_>) -> fmt::Result {
        f.write_str("\n\t'")?;
        f.write_str(shown(member.name))?;
        field(f, "' type_id=", member.ty.0)?;
        field(f, " bits_offset=", member.bit_offset)?;
        if member.bit_size != 0 {
            field(f, " bitfield_size=", member.bit_size.into())?;
        }
        Ok(())
    }

    fn enumeration(
        &self,
        f: &mut fmt::Formatter<'_>,
        enumeration: &Enumeration<'_>,
        signed: &str,
        unsigned: &str,
    ) -> fmt::Result {
        f.write_str(" encoding=")?;
        f.write_str(if enumeration.signed { "SIGNED" } else { "UNSIGNED" })?;
        field(f, " size=", enumeration.size)?;
        field(f, " vlen=", enumeration.values.len() as u32)?;
        for value in enumeration.values {
            f.write_str("\n\t'")?;
            f.write_str(shown(value.name))?;
            match enumeration.signed {
                true => write!(f, "' val={}{signed}", value.value)?,
                false => write!(f, "' val={}{unsigned}", value.value as u64)?,
            }
        }
        Ok(())
    }
}

fn field(f: &mut fmt::Formatter<'_>, name: &str, value: u32) -> fmt::Result {
    f.write_str(name)?;
    number(f, value)
}

/// The digits of a number in decimal.
pub(crate) fn digits(number: u64, room: &mut [u8; 20]) -> &[u8] {
    let mut at = room.len();
    let mut rest = number;
    loop {
        at -= 1;
        room[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return &room[at..];
        }
    }
}

/// A number in decimal, without the formatter's options.
pub(crate) fn number(out: &mut (impl Write + ?Sized), value: u32) -> fmt::Result {
    out.write_str(str::from_utf8(digits(value.into(), &mut [0; 20])).unwrap_or_default())
}
