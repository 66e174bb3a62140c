//! Fields of records, parts of tuples, elements of arrays, and what pointers point to.

use bombus_kernel::AttachPoint;
use bombus_kernel::catalog::Field;

use super::convert::convert;
use super::expr::{Typed, number};
use super::infer::Guess;
use super::tree::{Arith, Context, Event, Expr, ExprKind, FieldAccess, FieldPlace};
use super::{Checker, not_yet};
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast::{self, UnaryOp};
use crate::types::Type;

impl Checker<'_> {
    pub(super) fn field(&mut self, base: &ast::Expr, field: &ast::Name, span: Span) -> Typed {
        let is_args = match &base.kind {
            ast::ExprKind::Ident(name) => name == "args",
            ast::ExprKind::Call { callee, args } => callee.text == "args" && args.is_empty(),
            ast::ExprKind::Unary { op: UnaryOp::Deref, operand } => {
                matches!(&operand.kind, ast::ExprKind::Ident(name) if name == "args")
            }
            _ => false,
        };
        if !is_args {
            let base = self.value(base);
            if base.is_unknown() {
                return base;
            }
            return self.unsupported(span, "fields of structures");
        }
        let Some(group) = self.action.group else { return Typed::unknown(span) };
        match group.context {
            Context::Tracepoint => {}
            Context::RawTracepoint => {
                return self
                    .unsupported(span, "args of rawtracepoint probes (arg0 and so on work)");
            }
            Context::User { .. } => {
                return self.unsupported(span, "args of user functions (arg0 and so on work)");
            }
            Context::None | Context::Timer => {
                self.error(
                    base.span,
                    format!(
                        "The args builtin can only be used with tracepoint, rawtracepoint, \
                         fentry/fexit, and uprobe probes ({} used here)",
                        if group.context == Context::None { "special" } else { "interval" }
                    ),
                );
                return Typed::unknown(span);
            }
        }
        let found = group.fields.iter().find(|(name, _)| *name == field.text);
        let Some((_, Some(found))) = found else {
            self.unknown_field(group, field);
            return Typed::unknown(span);
        };
        let user = matches!(
            &group.targets[0].event,
            Event::Attach(AttachPoint::Tracepoint { category, .. }) if category == "syscalls"
        );
        match field_type(found, user) {
            Some((ty, access)) => {
                let place = FieldPlace { offset: found.offset, access };
                Typed::new(span, ty, ExprKind::Field(place))
            }
            None => self.unsupported(span, &format!("fields of type {}", found.c_type)),
        }
    }

    fn unknown_field(&mut self, group: &super::Group<'_>, field: &ast::Name) {
        let event = group.targets[0].name.clone();
        let message = format!(
            "Struct/union of type 'struct {event}_args' does not contain a field named '{}'",
            field.text
        );
        let fields: Vec<&str> = group
            .format
            .iter()
            .flat_map(|format| &format.fields)
            .map(|field| field.name.as_str())
            .collect();
        let mut error = Diagnostic::error(field.span, message)
            .label("no such field")
            .did_you_mean(&field.text, fields.iter().copied());
        error = match fields.as_slice() {
            [] => error.note(format!("{event} has no fields")),
            fields => error.note(format!("{event} has: {}", fields.join(", "))),
        };
        self.diagnostics.push(error);
    }

    pub(super) fn part(&mut self, base: Typed, index: u64, span: Span) -> Typed {
        if base.is_unknown() {
            return Typed::unknown(span);
        }
        let Type::Tuple(parts) = &base.expr.ty else {
            let message =
                format!("Can not access index '{index}' on expression of type '{}'", base.expr.ty);
            self.error(span, message);
            return Typed::unknown(span);
        };
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(ty) = parts.get(at) else {
            let count = parts.len();
            let message = format!("Invalid tuple index: {index}. Found {count} elements in tuple.");
            self.error(span, message);
            return Typed::unknown(span);
        };
        let before: usize =
            parts[..at].iter().map(|part| Guess::fixed(part.clone()).flexible.len()).sum();
        let count = Guess::fixed(ty.clone()).flexible.len();
        let flexible = base.flexible[before..before + count].to_vec();
        let ty = ty.clone();
        let expr = Expr { span, ty, kind: ExprKind::Part(Box::new(base.expr), at) };
        Typed { expr, flexible, literal: false }
    }

    pub(super) fn index(&mut self, base: &ast::Expr, index: &ast::Expr, span: Span) -> Typed {
        let base = self.value(base);
        let index_value = self.value(index);
        if base.is_unknown() || index_value.is_unknown() {
            return Typed::unknown(span);
        }
        let literal = index_value.literal_value().and_then(|value| u64::try_from(value).ok());
        match (base.expr.ty.clone(), literal) {
            (Type::Tuple(_), Some(index)) => self.part(base, index, span),
            (Type::Str { size }, Some(at)) => {
                if at >= u64::from(size) {
                    let message =
                        format!("the index {at} is out of bounds for array of size {size}");
                    self.error(span, message);
                }
                let ty = Type::Int { size: 1, signed: true };
                Typed::new(span, ty, ExprKind::CharAt(Box::new(base.expr), at as u32))
            }
            (Type::Array { element, len }, Some(at)) => {
                if at >= u64::from(len) {
                    let message =
                        format!("the index {at} is out of bounds for array of size {len}");
                    self.error(span, message);
                    return Typed::unknown(span);
                }
                let ExprKind::Field(place) = &base.expr.kind else {
                    return self.unsupported(span, "array elements here");
                };
                let offset = place.offset + element.size() * at as u32;
                let place = FieldPlace { offset, access: FieldAccess::Number };
                Typed::new(span, *element, ExprKind::Field(place))
            }
            (Type::Pointer { to, user }, _) => {
                let sum = self.pointer_sum(base.expr, index_value.expr, &to, Arith::Add, span);
                self.read(sum, &to, user, span)
            }
            (Type::Array { .. } | Type::Str { .. } | Type::Tuple(_), None) => {
                self.unsupported(span, "an index that is not a literal")
            }
            (ty, _) => {
                let message = format!(
                    "The array index operator [] can only be used on arrays and pointers, found {ty}."
                );
                self.error(span, message);
                Typed::unknown(span)
            }
        }
    }

    /// Reads a number through a pointer.
    pub(super) fn read(&mut self, address: Expr, to: &Type, user: bool, span: Span) -> Typed {
        match to {
            Type::Int { .. } | Type::Bool | Type::Pointer { .. } => {
                let kind = ExprKind::Read { address: Box::new(address), user };
                Typed::new(span, to.clone(), kind)
            }
            Type::None => {
                self.error(span, "Can not dereference a void pointer. Cast it first.");
                Typed::unknown(span)
            }
            _ => self.unsupported(span, "values behind pointers to structures"),
        }
    }

    pub(super) fn pointer_sum(
        &mut self,
        pointer: Expr,
        count: Expr,
        to: &Type,
        op: Arith,
        span: Span,
    ) -> Expr {
        let ty = pointer.ty.clone();
        let scale = match to {
            Type::None => 1,
            Type::Struct(_) => {
                self.diagnostics.push(not_yet(span, "arithmetic on pointers to structures"));
                1
            }
            to => i64::from(to.size()),
        };
        let count = convert(count, &Type::I64);
        let bytes = match (scale, &count.kind) {
            (1, _) => count,
            (_, ExprKind::Int(count)) => number(span, count.wrapping_mul(scale)),
            _ => {
                let scale = Box::new(number(span, scale));
                let kind = ExprKind::Arith(Arith::Mul, Box::new(count), scale);
                Expr { span, ty: Type::I64, kind }
            }
        };
        Expr { span, ty, kind: ExprKind::Arith(op, Box::new(pointer), Box::new(bytes)) }
    }
}

/// How a field of a tracepoint is read, and as what.
fn field_type(field: &Field, user: bool) -> Option<(Type, FieldAccess)> {
    let c_type = field.c_type.trim();
    let c_type = c_type.strip_prefix("const ").unwrap_or(c_type);
    let char_type = Type::Int { size: 1, signed: false };
    if let Some(element) = c_type.strip_prefix("__data_loc ") {
        let is_text = element.trim_end_matches("[]").trim() == "char";
        let ty = Type::Pointer { to: Box::new(char_type), user: false };
        return is_text.then_some((ty, FieldAccess::DataLoc));
    }
    if c_type.starts_with("__rel_loc") {
        return None;
    }
    if let Some(len) = field.array {
        if c_type == "char" {
            return Some((Type::Str { size: len }, FieldAccess::Bytes));
        }
        let size = field.size.checked_div(len)?;
        let element = number_type(size, field.signed)?;
        return Some((Type::Array { element: Box::new(element), len }, FieldAccess::Bytes));
    }
    if let Some(to) = c_type.strip_suffix('*') {
        let to = to.trim().trim_end_matches("const").trim();
        let to = match to.strip_prefix("struct ") {
            Some(name) => Type::Struct(name.to_string()),
            None if to == "char" => char_type,
            None => super::typeref::integer(to).unwrap_or(Type::None),
        };
        if field.size != 8 {
            return None;
        }
        return Some((Type::Pointer { to: Box::new(to), user }, FieldAccess::Number));
    }
    if c_type == "bool" && field.size == 1 {
        return Some((Type::Bool, FieldAccess::Number));
    }
    Some((number_type(field.size, field.signed)?, FieldAccess::Number))
}

fn number_type(size: u32, signed: bool) -> Option<Type> {
    matches!(size, 1 | 2 | 4 | 8).then_some(Type::Int { size: size as u8, signed })
}
