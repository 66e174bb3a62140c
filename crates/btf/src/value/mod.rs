//! Values of maps and records of ring buffers, shown as their types say.

mod text;
mod write;

use std::fmt;

use crate::{Btf, TypeId};

/// How values are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// As C writes an initializer, on one line: `{.pid = 7, .comm = "bash"}`.
    C,
    /// JSON as `bpftool --json map dump` has it under `formatted`.
    Json,
    /// What `bpftool map dump` prints without `--json`: JSON, except that pointers, bit fields and
    /// characters have forms of their own. The number is how many levels in the text stands; each
    /// member is on a line of its own.
    Plain(usize),
    /// [`Style::Json`] with each member on a line of its own, this many levels in.
    PrettyJson(usize),
}

/// Why a value cannot be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ValueError {
    /// The writer refused.
    Write,
    /// The bytes end before the value does.
    Short {
        /// Bytes that the value needs at least.
        needed: usize,
        /// Bytes that there are.
        found: usize,
    },
    /// Nothing has such a type: `void`, functions, what is only declared.
    NoValue(TypeId),
    /// A value that is nested deeper, or has more empty parts, than any compiler makes.
    TooComplex(TypeId),
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueError::Write => write!(f, "the value cannot be written"),
            ValueError::Short { needed, found } => {
                write!(f, "the value has {found} bytes, and its type at least {needed}")
            }
            ValueError::NoValue(id) => write!(f, "there are no values of BTF type {id}"),
            ValueError::TooComplex(id) => write!(f, "BTF type {id} is nested too deep"),
        }
    }
}

impl std::error::Error for ValueError {}

impl From<fmt::Error> for ValueError {
    fn from(_: fmt::Error) -> ValueError {
        ValueError::Write
    }
}

/// Writes the value of type `ty` that `data` starts with.
pub fn write(
    btf: &Btf,
    ty: TypeId,
    data: &[u8],
    style: Style,
    out: &mut impl fmt::Write,
) -> Result<(), ValueError> {
    write::Printer::new(btf, data, style, out).value(ty, 0, 0)
}

/// The value as text.
pub fn to_string(btf: &Btf, ty: TypeId, data: &[u8], style: Style) -> Result<String, ValueError> {
    let mut text = String::new();
    write(btf, ty, data, style, &mut text)?;
    Ok(text)
}
