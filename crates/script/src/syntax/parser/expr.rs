//! Operators: ternary, binary by precedence, prefix, postfix.

use super::{Parsed, Parser};
use crate::diagnostic::Diagnostic;
use crate::syntax::ast::{BinaryOp, Expr, ExprKind, UnaryOp};
use crate::syntax::lexer::Token;

impl Parser<'_> {
    /// Any expression.
    pub(super) fn expr(&mut self) -> Parsed<Expr> {
        self.nested(|parser| {
            let start = parser.current.span.start;
            let first = parser.unary()?;
            parser.ternary_from(start, first)
        })
    }

    /// The rest of an expression that starts with this operand; it began at `start`, perhaps with a
    /// parenthesis.
    pub(super) fn expr_from(&mut self, start: u32, first: Expr) -> Parsed<Expr> {
        self.nested(|parser| {
            parser.wrap()?;
            let first = parser.postfix(start, first)?;
            parser.ternary_from(start, first)
        })
    }

    /// `cond ? then : otherwise`, `cond ?: otherwise`
    fn ternary_from(&mut self, start: u32, first: Expr) -> Parsed<Expr> {
        let cond = self.binary_from(start, first, 0)?;
        if !self.eat("?") {
            return Ok(cond);
        }
        self.wrap()?;
        let then = if self.at(":") { None } else { Some(Box::new(self.expr()?)) };
        self.expect(":")?;
        let (cond, otherwise) = (Box::new(cond), Box::new(self.expr()?));
        let kind = ExprKind::Ternary { cond, then, otherwise };
        Ok(Expr { id: self.id(), span: self.since(start), kind })
    }

    /// An expression of operators that bind at least as tightly as this.
    pub(super) fn binary(&mut self, min_precedence: u8) -> Parsed<Expr> {
        self.nested(|parser| {
            let start = parser.current.span.start;
            let first = parser.unary()?;
            parser.binary_from(start, first, min_precedence)
        })
    }

    fn binary_from(&mut self, start: u32, first: Expr, min_precedence: u8) -> Parsed<Expr> {
        let mut left = first;
        while let Some(op) = self.binary_op().filter(|op| op.precedence() >= min_precedence) {
            self.bump();
            self.wrap()?;
            let right = Box::new(self.binary(op.precedence() + 1)?);
            let kind = ExprKind::Binary { op, left: Box::new(left), right };
            left = Expr { id: self.id(), span: self.since(start), kind };
        }
        Ok(left)
    }

    /// The binary operator that comes next. A `/` before a `{` closes a predicate.
    fn binary_op(&self) -> Option<BinaryOp> {
        let Token::Punct(punct) = self.current.token else { return None };
        if punct == "/" && matches!(self.peek_second().token, Token::Punct("{") | Token::End) {
            return None;
        }
        BinaryOp::from_symbol(punct)
    }

    /// An operand with its prefix and postfix operators.
    pub(super) fn unary(&mut self) -> Parsed<Expr> {
        let op = match self.current.token {
            Token::Punct("!") => UnaryOp::Not,
            Token::Punct("~") => UnaryOp::BitNot,
            Token::Punct("-") => UnaryOp::Neg,
            Token::Punct("*") => UnaryOp::Deref,
            Token::Punct("&") => UnaryOp::AddressOf,
            Token::Punct("++") => UnaryOp::PreIncrement,
            Token::Punct("--") => UnaryOp::PreDecrement,
            _ => {
                let start = self.current.span.start;
                let primary = self.primary()?;
                return self.postfix(start, primary);
            }
        };
        self.nested(|parser| {
            let operator = parser.bump().span;
            let operand = Box::new(parser.unary()?);
            parser.check_operand(op, &operand);
            let span = parser.since(operator.start);
            Ok(Expr { id: parser.id(), span, kind: ExprKind::Unary { op, operand } })
        })
    }

    /// Reports operands that an operator cannot have whatever their type.
    fn check_operand(&mut self, op: UnaryOp, operand: &Expr) {
        let diagnostic = match (op, &operand.kind) {
            (UnaryOp::AddressOf, ExprKind::Var(_) | ExprKind::Map(_)) => return,
            (UnaryOp::AddressOf, _) => {
                Diagnostic::error(operand.span, "`&` takes a variable or a map")
            }
            _ if op.is_step() && !operand.is_place() => Diagnostic::error(
                operand.span,
                format!("`{}` takes a variable, a map or a map element", op.symbol()),
            ),
            _ => return,
        };
        self.report(diagnostic);
    }

    /// `.field`, `->field`, `.0`, `[index]`, `++`, `--` after an operand.
    fn postfix(&mut self, start: u32, first: Expr) -> Parsed<Expr> {
        let mut expr = first;
        loop {
            let Token::Punct(punct) = self.current.token else { return Ok(expr) };
            if !matches!(punct, "." | "->" | "[" | "++" | "--") {
                return Ok(expr);
            }
            self.wrap()?;
            let kind = match punct {
                "." | "->" => self.field(expr)?,
                "[" => {
                    let open = self.bump().span;
                    let index = Box::new(self.expr()?);
                    if !self.eat("]") {
                        return self.fail_closing("]", open);
                    }
                    ExprKind::Index { base: Box::new(expr), index }
                }
                _ => {
                    self.bump();
                    let op = match punct {
                        "++" => UnaryOp::PostIncrement,
                        _ => UnaryOp::PostDecrement,
                    };
                    self.check_operand(op, &expr);
                    ExprKind::Unary { op, operand: Box::new(expr) }
                }
            };
            expr = Expr { id: self.id(), span: self.since(start), kind };
        }
    }

    /// The field after `.` or `->`.
    fn field(&mut self, base: Expr) -> Parsed<ExprKind> {
        let arrow = self.bump().token == Token::Punct("->");
        let base = Box::new(base);
        match self.current.token {
            Token::Ident => {
                let field = self.expect_name("")?;
                Ok(ExprKind::Field { base, field, arrow })
            }
            Token::Int if !arrow => {
                let span = self.current.span;
                let adjacent = self.text.as_bytes().get(base.span.end as usize) == Some(&b'.');
                if matches!(base.kind, ExprKind::Int(_)) && adjacent {
                    return self.fail_with(
                        Diagnostic::error(base.span.to(span), "there are no fractions")
                            .help("count in smaller units"),
                    );
                }
                match u32::try_from(self.integer().value) {
                    Ok(index) => Ok(ExprKind::TupleField { base, index }),
                    Err(_) => {
                        self.fail_with(Diagnostic::error(span, "no tuple has as many elements"))
                    }
                }
            }
            _ => self.fail("the name of a field"),
        }
    }
}
