//! Conversions that the script does not write.

use super::tree::{Expr, ExprKind};
use crate::types::Type;

/// Makes a value one of another type that it can become.
pub(super) fn convert(expr: Expr, to: &Type) -> Expr {
    if expr.ty == *to {
        return expr;
    }
    let span = expr.span;
    match (expr.kind, to) {
        (ExprKind::Int(value), Type::Int { size, signed }) => {
            let kind = ExprKind::Int(truncate(value, *size, *signed));
            Expr { span, ty: to.clone(), kind }
        }
        (ExprKind::Int(value), Type::Pointer { .. }) => {
            Expr { span, ty: to.clone(), kind: ExprKind::Int(value) }
        }
        (ExprKind::Str(bytes), Type::Str { .. }) => {
            Expr { span, ty: to.clone(), kind: ExprKind::Str(bytes) }
        }
        (ExprKind::Tuple(parts), Type::Tuple(types)) => {
            let parts = parts.into_iter().zip(types).map(|(part, ty)| convert(part, ty));
            Expr { span, ty: to.clone(), kind: ExprKind::Tuple(parts.collect()) }
        }
        (kind, _) => {
            let operand = Box::new(Expr { span, ty: expr.ty, kind });
            Expr { span, ty: to.clone(), kind: ExprKind::Convert(operand) }
        }
    }
}

/// The low bytes of a number, extended again.
fn truncate(value: i64, size: u8, signed: bool) -> i64 {
    let unused = 64 - u32::from(size) * 8;
    match signed {
        true => value << unused >> unused,
        false => ((value as u64) << unused >> unused) as i64,
    }
}
