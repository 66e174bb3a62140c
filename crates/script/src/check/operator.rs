//! Operators, and the rules of signs (bpftrace 0.27, language manual, "Arithmetic Operators").

use super::convert::convert;
use super::expr::Typed;
use super::infer::{Guess, ValueGuess, merge};
use super::tree::{Arith, Comparison, Expr, ExprKind, Place, Unary, is_scalar};
use super::{Checker, Context};
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast::{self, BinaryOp, UnaryOp};
use crate::types::Type;

impl Checker<'_> {
    pub(super) fn cast(&mut self, ty: &ast::TypeRef, operand: &ast::Expr, span: Span) -> Typed {
        let user = matches!(self.context(), Context::User { .. });
        let target = self.type_ref(ty, user);
        let operand = self.value(operand);
        let Some(mut target) = target else { return Typed::unknown(span) };
        if operand.is_unknown() {
            return Typed::new(span, target, operand.expr.kind);
        }
        if let (Type::Pointer { user, .. }, Type::Pointer { user: known, .. }) =
            (&mut target, &operand.expr.ty)
        {
            *user = *known;
        }
        let scalar = |ty: &Type| matches!(ty, Type::Int { .. } | Type::Bool | Type::Pointer { .. });
        let possible = (scalar(&target) && is_scalar(&operand.expr.ty))
            || (matches!(target, Type::Str { .. }) && matches!(operand.expr.ty, Type::Str { .. }));
        if !possible {
            let message = format!("Cannot cast from \"{}\" to \"{target}\"", operand.expr.ty);
            self.error(span, message);
            return Typed::unknown(span);
        }
        if operand.expr.ty == target {
            let message = format!("Unnecessary cast: expression is already of type {target}");
            self.warn(span, message);
        }
        let mut expr = convert(operand.expr, &target);
        expr.span = span;
        let flexible = Guess::fixed(target).flexible;
        Typed { expr, flexible, literal: false }
    }

    pub(super) fn unary(&mut self, op: UnaryOp, operand: &ast::Expr, span: Span) -> Typed {
        if op.is_step() {
            return self.step(op, operand, span);
        }
        if op == UnaryOp::AddressOf {
            return self.unsupported(span, "the address-of operator");
        }
        let value = self.value(operand);
        if value.is_unknown() {
            return Typed::unknown(span);
        }
        let wrong = |checker: &mut Self, ty: &Type| {
            let message = format!(
                "The {} operator can not be used on expressions of type '{ty}'",
                op.symbol()
            );
            checker.error(span, message);
            Typed::unknown(span)
        };
        match (op, &value.expr.ty) {
            (UnaryOp::Deref, Type::Pointer { to, user }) => {
                let (to, user) = ((**to).clone(), *user);
                self.read(value.expr, &to, user, span)
            }
            (UnaryOp::Deref, Type::Int { .. }) => {
                let user = matches!(self.context(), Context::User { .. });
                self.read(value.expr, &Type::U64, user, span)
            }
            (UnaryOp::Not, ty) if is_scalar(ty) => {
                let kind = match value.literal_value() {
                    Some(number) => ExprKind::Int(i64::from(number == 0)),
                    None => ExprKind::Unary(Unary::Not, Box::new(value.expr)),
                };
                Typed::new(span, Type::Bool, kind)
            }
            (UnaryOp::Neg | UnaryOp::BitNot, Type::Int { signed, .. }) => {
                let signed = *signed && !(op == UnaryOp::BitNot && value.guess().is_flexible());
                if let Some(number) = value.literal_value() {
                    return match op {
                        UnaryOp::Neg if number <= -i128::from(i64::MIN) => {
                            Typed::integer(span, -number)
                        }
                        UnaryOp::Neg => self.overflow(span),
                        _ => Typed::new(span, Type::U64, ExprKind::Int(!(number as i64))),
                    };
                }
                // As in bpftrace: calculated in the operand's own width, then extended.
                let op = if op == UnaryOp::Neg { Unary::Neg } else { Unary::BitNot };
                let ty = Type::Int { size: 8, signed };
                Typed::new(span, ty, ExprKind::Unary(op, Box::new(value.expr)))
            }
            (_, ty) => wrong(self, &ty.clone()),
        }
    }

    fn overflow(&mut self, span: Span) -> Typed {
        self.error(span, "unable to fold literals due to overflow or underflow");
        Typed::unknown(span)
    }

    /// `x++` and its like.
    fn step(&mut self, op: UnaryOp, operand: &ast::Expr, span: Span) -> Typed {
        let down = matches!(op, UnaryOp::PreDecrement | UnaryOp::PostDecrement);
        let arith = if down { Arith::Sub } else { Arith::Add };
        if !operand.is_place() {
            let message =
                format!("The {} operator must be applied to a map or variable", op.symbol());
            self.error(span, message);
            return Typed::unknown(span);
        }
        let one = Typed::integer(span, 1);
        self.update(operand, arith, one, op.is_postfix(), true, span)
    }

    /// `place = place op value`. A step makes what did not exist yet unsigned.
    pub(super) fn update(
        &mut self,
        target: &ast::Expr,
        op: Arith,
        value: Typed,
        old: bool,
        step: bool,
        span: Span,
    ) -> Typed {
        let (place, known) = match &target.kind {
            ast::ExprKind::Var(name) => {
                let known = self.variable(name, target.span);
                let ExprKind::Var(var) = known.expr.kind else { return Typed::unknown(span) };
                self.action.vars[var].assigned |= !step;
                (Place::Var(var), self.var_guess(var))
            }
            ast::ExprKind::Map(name) => {
                let map = self.map_id(name);
                self.map_key(map, None, target.span);
                (Place::Map(map, None), self.plain_guess(map, span))
            }
            ast::ExprKind::MapElement { map, key } => {
                let map = self.map_id(&map.text);
                let key = self.map_key(map, Some(key), target.span);
                let Some(key) = key else { return Typed::unknown(span) };
                (Place::Map(map, Some(Box::new(key))), self.plain_guess(map, span))
            }
            _ => return Typed::unknown(span),
        };
        if value.is_unknown() {
            return Typed::unknown(span);
        }
        let is_number = |ty: &Type| matches!(ty, Type::Int { .. } | Type::Bool);
        let pointer = match known.as_ref().map(|known| &known.ty) {
            Some(Type::Pointer { to, .. }) if matches!(op, Arith::Add | Arith::Sub) => {
                Some(to.clone())
            }
            Some(ty) if !is_number(ty) => {
                return self.bad_operands(op, &ty.clone(), &value.expr.ty, span);
            }
            _ => None,
        };
        if !is_number(&value.expr.ty) {
            let left = known.map_or(Type::None, |known| known.ty);
            return self.bad_operands(op, &left, &value.expr.ty, span);
        }
        if let Some(to) = pointer {
            let known = known.unwrap_or_else(|| Guess::fixed(Type::U64));
            let base = Expr { span, ty: known.ty.clone(), kind: ExprKind::Int(0) };
            let sum = self.pointer_sum(base, value.expr, &to, op, span);
            let ExprKind::Arith(_, _, bytes) = sum.kind else { return Typed::unknown(span) };
            let kind = ExprKind::Update { place, op, value: bytes, old };
            return Typed::new(span, known.ty, kind);
        }
        let signed = op == Arith::Sub
            || match &known {
                None if step => false,
                None => value.is_signed(),
                Some(guess) => {
                    let left = Typed::with_guess(span, guess, ExprKind::Int(0));
                    if step { left.is_signed() } else { both_signs(&left, &value) }
                }
            };
        if let Some(left) = &known {
            self.warn_of_signed(op, left, &value.guess(), span);
        }
        let result = Guess::fixed(Type::Int { size: 8, signed });
        let ty = match &place {
            Place::Var(var) => self.assign_var(*var, result, span),
            Place::Map(map, _) => self.assign_map(*map, ValueGuess::Plain(result), span),
        };
        let Some(ty) = ty else { return Typed::unknown(span) };
        let operand = self.fit(value, &Type::Int { size: 8, signed });
        let kind = ExprKind::Update { place, op, value: Box::new(operand), old };
        Typed::new(span, ty, kind)
    }

    fn bad_operands(&mut self, op: Arith, left: &Type, right: &Type, span: Span) -> Typed {
        let symbol = arith_symbol(op);
        let message = format!(
            "The {symbol} operator can not be used on expressions of types {left}, {right}"
        );
        self.error(span, message);
        Typed::unknown(span)
    }

    pub(super) fn binary(
        &mut self,
        op: BinaryOp,
        left: &ast::Expr,
        right: &ast::Expr,
        span: Span,
    ) -> Typed {
        if matches!(op, BinaryOp::LogicalAnd | BinaryOp::LogicalOr) {
            let (left, right) = (self.condition(left), self.condition(right));
            let (left, right) = (Box::new(left), Box::new(right));
            let kind = match op {
                BinaryOp::LogicalAnd => ExprKind::And(left, right),
                _ => ExprKind::Or(left, right),
            };
            return Typed::new(span, Type::Bool, kind);
        }
        let (left, right) = (self.value(left), self.value(right));
        if left.is_unknown() || right.is_unknown() {
            // A map that is assigned further down: its type comes with a later round.
            let known = if left.is_unknown() { &right } else { &left };
            let ty = match &known.expr.ty {
                _ if op.is_comparison() => Type::Bool,
                Type::Int { signed, .. } => Type::Int { size: 8, signed: *signed },
                _ => Type::None,
            };
            return Typed::new(span, ty, ExprKind::Int(0));
        }
        match comparison(op) {
            Some(comparison) => self.compare(comparison, op, left, right, span),
            None => self.arithmetic(arithmetic(op), left, right, span),
        }
    }

    fn compare(
        &mut self,
        comparison: Comparison,
        op: BinaryOp,
        left: Typed,
        right: Typed,
        span: Span,
    ) -> Typed {
        if let (Some(a), Some(b)) = (left.literal_value(), right.literal_value()) {
            let holds = match comparison {
                Comparison::Eq => a == b,
                Comparison::Ne => a != b,
                Comparison::Lt => a < b,
                Comparison::Le => a <= b,
                Comparison::Gt => a > b,
                Comparison::Ge => a >= b,
            };
            return Typed::new(span, Type::Bool, ExprKind::Int(i64::from(holds)));
        }
        let (a, b) = (left.expr.ty.clone(), right.expr.ty.clone());
        let pointer = |ty: &Type| matches!(ty, Type::Pointer { .. });
        if pointer(&a) || pointer(&b) {
            if is_scalar(&a) && is_scalar(&b) {
                let (left, right) = (Box::new(left.expr), Box::new(right.expr));
                let left = Box::new(convert(*left, &Type::U64));
                let right = Box::new(convert(*right, &Type::U64));
                return Typed::new(span, Type::Bool, ExprKind::Compare(comparison, left, right));
            }
        } else if left.is_int() && right.is_int() {
            let as_int = |typed: &Typed| match typed.expr.ty {
                Type::Bool => Guess::fixed(Type::Int { size: 1, signed: false }),
                _ => typed.guess(),
            };
            let common = merge(&as_int(&left), &as_int(&right)).map_or(Type::I64, |guess| guess.ty);
            let total = |typed: &Typed| matches!(typed.expr.kind, ExprKind::MapTotal(..));
            if !total(&left) && !total(&right) {
                self.warn_of_cast(&left, &common);
                self.warn_of_cast(&right, &common);
            }
            // The operands are 64 bits wide as they are, so only the sign matters.
            let signed = matches!(common, Type::Int { signed: true, .. });
            let common = Type::Int { size: 8, signed };
            let left = Box::new(convert(left.expr, &common));
            let right = Box::new(convert(right.expr, &common));
            return Typed::new(span, Type::Bool, ExprKind::Compare(comparison, left, right));
        } else if let Some(common) = merge(&left.guess(), &right.guess()) {
            let negate = comparison == Comparison::Ne;
            if !negate && comparison != Comparison::Eq {
                let message = format!(
                    "The {} operator can not be used on expressions of types {a}, {b}",
                    op.symbol()
                );
                self.error(span, message);
                return Typed::unknown(span);
            }
            if let (ExprKind::Str(a), ExprKind::Str(b)) = (&left.expr.kind, &right.expr.kind) {
                let holds = (a == b) != negate;
                return Typed::new(span, Type::Bool, ExprKind::Int(i64::from(holds)));
            }
            let is_string = matches!(common.ty, Type::Str { .. });
            let operand = |typed: Typed| match is_string {
                // Strings of different sizes compare as they are.
                true => Box::new(typed.expr),
                false => Box::new(convert(typed.expr, &common.ty)),
            };
            let (left, right) = (operand(left), operand(right));
            let kind = if is_scalar(&common.ty) {
                ExprKind::Compare(comparison, left, right)
            } else {
                ExprKind::SameBytes { negate, left, right }
            };
            return Typed::new(span, Type::Bool, kind);
        }
        self.diagnostics.push(
            Diagnostic::error(
                span,
                format!("Type mismatch for '{}': comparing {a} with {b}", op.symbol()),
            )
            .related(left.expr.span, format!("left ({a})"))
            .related(right.expr.span, format!("right ({b})")),
        );
        Typed::unknown(span)
    }

    fn arithmetic(&mut self, op: Arith, left: Typed, right: Typed, span: Span) -> Typed {
        if let (Some(a), Some(b)) = (left.literal_value(), right.literal_value()) {
            return match fold(op, a, b) {
                Some(value) => Typed::integer(span, value),
                None => self.overflow(span),
            };
        }
        let (a, b) = (left.expr.ty.clone(), right.expr.ty.clone());
        match (&a, &b) {
            (Type::Pointer { to, .. }, Type::Int { .. } | Type::Bool)
                if matches!(op, Arith::Add | Arith::Sub) =>
            {
                let sum = self.pointer_sum(left.expr, right.expr, to, op, span);
                Typed::new(span, a, sum.kind)
            }
            (Type::Int { .. }, Type::Pointer { to, .. }) if op == Arith::Add => {
                let sum = self.pointer_sum(right.expr, left.expr, to, op, span);
                Typed::new(span, b, sum.kind)
            }
            _ if left.is_int() && right.is_int() => {
                let signed = op == Arith::Sub || both_signs(&left, &right);
                self.warn_of_signed(op, &left.guess(), &right.guess(), span);
                let is_bits = matches!(op, Arith::And | Arith::Or | Arith::Xor);
                let ty = match (&a, &b) {
                    (Type::Bool, Type::Bool) if is_bits => Type::Bool,
                    _ => Type::Int { size: 8, signed },
                };
                let wide = Type::Int { size: 8, signed };
                let left = Box::new(self.fit(left, &wide));
                let right = Box::new(self.fit(right, &wide));
                Typed::new(span, ty, ExprKind::Arith(op, left, right))
            }
            _ => self.bad_operands(op, &a, &b, span),
        }
    }
}

/// Whether an operation on two integers is signed: when one of them is, unless that is a literal
/// that can as well be unsigned.
fn both_signs(left: &Typed, right: &Typed) -> bool {
    match (left.guess().is_flexible(), right.guess().is_flexible()) {
        (true, false) => right.is_signed(),
        (false, true) => left.is_signed(),
        _ => left.is_signed() || right.is_signed(),
    }
}

fn comparison(op: BinaryOp) -> Option<Comparison> {
    match op {
        BinaryOp::Eq => Some(Comparison::Eq),
        BinaryOp::Ne => Some(Comparison::Ne),
        BinaryOp::Lt => Some(Comparison::Lt),
        BinaryOp::Le => Some(Comparison::Le),
        BinaryOp::Gt => Some(Comparison::Gt),
        BinaryOp::Ge => Some(Comparison::Ge),
        _ => None,
    }
}

/// The arithmetic of an operator that neither compares nor is logical.
pub(super) fn arithmetic(op: BinaryOp) -> Arith {
    match op {
        BinaryOp::Sub => Arith::Sub,
        BinaryOp::Mul => Arith::Mul,
        BinaryOp::Div => Arith::Div,
        BinaryOp::Rem => Arith::Rem,
        BinaryOp::BitAnd => Arith::And,
        BinaryOp::BitOr => Arith::Or,
        BinaryOp::BitXor => Arith::Xor,
        BinaryOp::Shl => Arith::Shl,
        BinaryOp::Shr => Arith::Shr,
        _ => Arith::Add,
    }
}

fn arith_symbol(op: Arith) -> &'static str {
    match op {
        Arith::Add => "+",
        Arith::Sub => "-",
        Arith::Mul => "*",
        Arith::Div => "/",
        Arith::Rem => "%",
        Arith::And => "&",
        Arith::Or => "|",
        Arith::Xor => "^",
        Arith::Shl => "<<",
        Arith::Shr => ">>",
    }
}

/// Calculates with literals; `None` when the result fits no integer.
fn fold(op: Arith, a: i128, b: i128) -> Option<i128> {
    let value = match op {
        Arith::Add => a + b,
        Arith::Sub => a - b,
        Arith::Mul => a.checked_mul(b)?,
        Arith::Div => a.checked_div(b)?,
        Arith::Rem => a.checked_rem(b)?,
        Arith::And => a & b,
        Arith::Or => a | b,
        Arith::Xor => a ^ b,
        Arith::Shl => i128::from((a as u64).checked_shl(u32::try_from(b).ok()?)?),
        Arith::Shr => i128::from((a as u64).checked_shr(u32::try_from(b).ok()?)?),
    };
    (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&value).then_some(value)
}
