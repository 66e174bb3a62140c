//! Types as written: names of integers, `string[N]`, pointers.

use super::{Checker, not_yet};
use crate::syntax::ast::{TypeOrExpr, TypeRef, TypeRefKind};
use crate::types::Type;

/// Bytes of the longest string or buffer.
pub(super) const MAX_TEXT: u32 = 64 * 1024;

/// Names of integers: the language's own, the kernel's and C's (on x86-64).
const INTEGERS: [(&str, u8, bool); 34] = [
    ("int8", 1, true),
    ("int16", 2, true),
    ("int32", 4, true),
    ("int64", 8, true),
    ("uint8", 1, false),
    ("uint16", 2, false),
    ("uint32", 4, false),
    ("uint64", 8, false),
    ("int8_t", 1, true),
    ("int16_t", 2, true),
    ("int32_t", 4, true),
    ("int64_t", 8, true),
    ("uint8_t", 1, false),
    ("uint16_t", 2, false),
    ("uint32_t", 4, false),
    ("uint64_t", 8, false),
    ("u8", 1, false),
    ("u16", 2, false),
    ("u32", 4, false),
    ("u64", 8, false),
    ("s8", 1, true),
    ("s16", 2, true),
    ("s32", 4, true),
    ("s64", 8, true),
    ("char", 1, true),
    ("short", 2, true),
    ("int", 4, true),
    ("long", 8, true),
    ("unsigned", 4, false),
    ("size_t", 8, false),
    ("ssize_t", 8, true),
    ("pid_t", 4, true),
    ("uid_t", 4, false),
    ("gid_t", 4, false),
];

/// The integer type of this name.
pub(super) fn integer(name: &str) -> Option<Type> {
    let row = INTEGERS.iter().find(|row| row.0 == name)?;
    Some(Type::Int { size: row.1, signed: row.2 })
}

impl Checker<'_> {
    /// The type that was written; `None` after a message.
    pub(super) fn type_ref(&mut self, written: &TypeRef, user: bool) -> Option<Type> {
        match &written.kind {
            TypeRefKind::Named(name) => match name.as_str() {
                "bool" => Some(Type::Bool),
                "void" => Some(Type::None),
                "string" => Some(Type::Str { size: self.settings.max_strlen }),
                "buffer" => Some(Type::Buf { size: self.settings.max_strlen }),
                "inet" => Some(Type::Inet),
                "username" => Some(Type::Username),
                "timestamp" => Some(Type::Timestamp),
                _ => match integer(name) {
                    Some(ty) => Some(ty),
                    None => {
                        let error = crate::diagnostic::Diagnostic::error(
                            written.span,
                            format!("Cannot resolve unknown type \"{name}\""),
                        );
                        let names = INTEGERS.iter().map(|row| row.0);
                        self.diagnostics.push(error.did_you_mean(name, names));
                        None
                    }
                },
            },
            TypeRefKind::Struct(name) => Some(Type::Struct(name.clone())),
            TypeRefKind::Pointer(to) => {
                let to = Box::new(self.type_ref(to, user)?);
                Some(Type::Pointer { to, user })
            }
            TypeRefKind::Array { element, len } => {
                let sized = match &element.kind {
                    TypeRefKind::Named(name) => name.as_str(),
                    _ => "",
                };
                let size = len.as_ref().and_then(|len| u32::try_from(len.value).ok());
                match (sized, size) {
                    ("string" | "buffer", Some(size)) if size == 0 || size > MAX_TEXT => {
                        let message = format!("a {sized} has between 1 and {MAX_TEXT} bytes");
                        self.error(written.span, message);
                        None
                    }
                    ("string", Some(size)) => Some(Type::Str { size }),
                    ("buffer", Some(size)) => Some(Type::Buf { size }),
                    _ => {
                        self.diagnostics.push(not_yet(written.span, "array types"));
                        None
                    }
                }
            }
            TypeRefKind::Typeof(of) => match &**of {
                TypeOrExpr::Type(inner) => self.type_ref(inner, user),
                TypeOrExpr::Expr(expr) => Some(self.expr(expr).expr.ty),
            },
            TypeRefKind::Union(_) => {
                self.diagnostics.push(not_yet(written.span, "unions"));
                None
            }
            TypeRefKind::Enum(_) => {
                self.diagnostics.push(not_yet(written.span, "enums"));
                None
            }
        }
    }
}
