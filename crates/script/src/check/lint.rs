//! Warnings for scripts that run, though perhaps not as meant: implicit conversions that may change
//! a number, signed divisions, code that is never reached, variables without a value. What is
//! warned of, and in which words, is as in bpftrace 0.27.

use super::Checker;
use super::convert::convert;
use super::expr::Typed;
use super::infer::Guess;
use super::tree::{Arith, Expr, ExprKind};
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast;
use crate::types::Type;

impl Checker<'_> {
    /// Makes a value one of another type, with a warning when that may change it.
    pub(super) fn fit(&mut self, value: Typed, to: &Type) -> Expr {
        self.warn_of_cast(&value, to);
        convert(value.expr, to)
    }

    /// Warns when a value is to become one of a type that does not hold all values of its own.
    pub(super) fn warn_of_cast(&mut self, value: &Typed, to: &Type) {
        if !value.is_unknown() && !value.literal {
            self.warn_of_parts(Some(&value.expr), &value.guess(), to, value.expr.span);
        }
    }

    /// As [`Self::warn_of_cast`], of the parts of a tuple each; `expr` is what is written there.
    fn warn_of_parts(&mut self, expr: Option<&Expr>, from: &Guess, to: &Type, span: Span) {
        match (&from.ty, to) {
            (Type::Int { .. }, Type::Int { .. }) => {
                let total = expr.is_some_and(|expr| matches!(expr.kind, ExprKind::MapTotal(..)));
                if !total && !fits(from, to) {
                    let message = format!(
                        "Expression of type: {} being cast to type: {to}. This may cause \
                         unexpected results. Use an explicit cast to suppress this warning.",
                        from.ty
                    );
                    self.warn(span, message);
                }
            }
            (Type::Tuple(parts), Type::Tuple(to)) => {
                let mut flexible = &from.flexible[..];
                for (at, (part, to)) in parts.iter().zip(to).enumerate() {
                    let mut guess = Guess::fixed(part.clone());
                    let own;
                    (own, flexible) = flexible.split_at(guess.flexible.len().min(flexible.len()));
                    guess.flexible = own.to_vec();
                    let expr = match expr.map(|expr| &expr.kind) {
                        Some(ExprKind::Tuple(parts)) => parts.get(at),
                        _ => None,
                    };
                    let span = expr.map_or(span, |expr| expr.span);
                    self.warn_of_parts(expr, &guess, to, span);
                }
            }
            _ => {}
        }
    }

    /// Division takes its operands for unsigned. Operands of one and the same type are taken for
    /// meant.
    pub(super) fn warn_of_signed(&mut self, op: Arith, left: &Guess, right: &Guess, span: Span) {
        let sign = match op {
            Arith::Div => '/',
            Arith::Rem => '%',
            _ => return,
        };
        let settled = |guess: &Guess, other: &Guess| match (&guess.ty, &other.ty) {
            (Type::Int { size, .. }, Type::Int { signed, .. })
                if guess.is_flexible() && !other.is_flexible() =>
            {
                Type::Int { size: *size, signed: *signed }
            }
            (ty, _) => ty.clone(),
        };
        let (left, right) = (settled(left, right), settled(right, left));
        let is_signed = |ty: &Type| matches!(ty, Type::Int { signed: true, .. });
        if left != right && (is_signed(&left) || is_signed(&right)) {
            let message = format!(
                "signed operands for '{sign}' can lead to undefined behavior (cast to unsigned to \
                 silence warning)"
            );
            self.warn(span, message);
        }
    }

    /// Warns of the first statement of a block that is never reached, or of its value.
    pub(super) fn warn_of_unreachable(&mut self, block: &ast::Block) {
        let Some(end) = block.stmts.iter().position(ends) else { return };
        if let Some(next) = block.stmts.get(end + 1) {
            self.warn(next.span, "Unreachable statement.");
        }
        if let Some(value) = &block.value {
            let message = "Unreachable expression; block type is implicitly none.";
            self.warn(value.span, message);
        }
    }

    /// Warns of values that are calculated by a statement and used by nobody.
    pub(super) fn warn_of_discarded(&mut self, written: &ast::Expr, found: &Expr, span: Span) {
        let is_step = matches!(&written.kind, ast::ExprKind::Unary { op, .. } if op.is_step());
        for (value, span) in discarded(found, span) {
            if value.ty != Type::None && !is_step {
                self.warn(span, "Return value discarded.");
            }
        }
    }

    /// `while` is on its way out.
    pub(super) fn warn_of_while(&mut self, span: Span) {
        let message = "While loops are deprecated and may be removed in the future.";
        self.diagnostics.push(Diagnostic::warning(span, message).help(
            "for loops support ranges (`for $x : $start..$end { ... }`), which the verifier more \
             easily proves to end",
        ));
    }
}

/// Whether an integer of one type is the same number in another.
fn fits(from: &Guess, to: &Type) -> bool {
    match (&from.ty, to) {
        (Type::Int { size: own, signed }, Type::Int { size, signed: wanted }) => {
            if signed == wanted || from.is_flexible() { own <= size } else { !signed && own < size }
        }
        _ => true,
    }
}

/// Whether nothing after this statement is reached.
fn ends(stmt: &ast::Stmt) -> bool {
    match &stmt.kind {
        ast::StmtKind::Break | ast::StmtKind::Continue | ast::StmtKind::Return(_) => true,
        ast::StmtKind::Expr(expr) => ends_expr(expr),
        ast::StmtKind::Unroll { body, .. } => ends_block(body),
        _ => false,
    }
}

fn ends_block(block: &ast::Block) -> bool {
    block.stmts.iter().any(ends) || block.value.as_deref().is_some_and(ends_expr)
}

fn ends_expr(expr: &ast::Expr) -> bool {
    match &expr.kind {
        ast::ExprKind::Call { callee, .. } => callee.text == "exit",
        ast::ExprKind::Ident(name) => name == "exit",
        ast::ExprKind::Block(block) => ends_block(block),
        ast::ExprKind::If { then, otherwise: Some(otherwise), .. } => {
            ends_block(then) && ends_expr(otherwise)
        }
        _ => false,
    }
}

/// The values that a statement gives: those of its branches, when it has any.
fn discarded(expr: &Expr, span: Span) -> Vec<(&Expr, Span)> {
    match &expr.kind {
        ExprKind::If { then, otherwise, .. } => [Some(then), otherwise.as_ref()]
            .into_iter()
            .flatten()
            .flat_map(|branch| discarded(branch, branch.span))
            .collect(),
        ExprKind::Block(_, value) => {
            value.iter().flat_map(|value| discarded(value, value.span)).collect()
        }
        _ => vec![(expr, span)],
    }
}
