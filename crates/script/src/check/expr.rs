//! Expressions.

use super::infer::{Guess, merge};
use super::tree::{Expr, ExprKind, VarId};
use super::{Checker, not_yet};
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast::{self, TypeOrExpr};
use crate::types::Type;

/// An expression with what is known of its type beyond the type itself.
#[derive(Clone, Debug)]
pub(super) struct Typed {
    pub(super) expr: Expr,
    /// See [`Guess::flexible`].
    pub(super) flexible: Vec<bool>,
    /// An integer literal, or a calculation with such.
    pub(super) literal: bool,
}

impl Typed {
    pub(super) fn new(span: Span, ty: Type, kind: ExprKind) -> Typed {
        let flexible = Guess::fixed(ty.clone()).flexible;
        Typed { expr: Expr { span, ty, kind }, flexible, literal: false }
    }

    /// A value whose type is (still) unknown, or which is wrong; messages about it have been given.
    pub(super) fn unknown(span: Span) -> Typed {
        Typed::new(span, Type::None, ExprKind::Int(0))
    }

    pub(super) fn guess(&self) -> Guess {
        Guess { ty: self.expr.ty.clone(), flexible: self.flexible.clone() }
    }

    pub(super) fn with_guess(span: Span, guess: &Guess, kind: ExprKind) -> Typed {
        let expr = Expr { span, ty: guess.ty.clone(), kind };
        Typed { expr, flexible: guess.flexible.clone(), literal: false }
    }

    /// An integer literal.
    pub(super) fn integer(span: Span, value: i128) -> Typed {
        let mut typed =
            Typed::with_guess(span, &Guess::literal(value), ExprKind::Int(value as i64));
        typed.literal = true;
        typed
    }

    /// The value of an integer literal.
    pub(super) fn literal_value(&self) -> Option<i128> {
        match (&self.expr.kind, &self.expr.ty) {
            (ExprKind::Int(value), Type::Int { signed, .. }) if self.literal => {
                Some(if *signed { i128::from(*value) } else { i128::from(*value as u64) })
            }
            _ => None,
        }
    }

    pub(super) fn is_unknown(&self) -> bool {
        self.expr.ty == Type::None
    }

    pub(super) fn is_int(&self) -> bool {
        matches!(self.expr.ty, Type::Int { .. } | Type::Bool)
    }

    pub(super) fn is_signed(&self) -> bool {
        matches!(self.expr.ty, Type::Int { signed: true, .. })
    }
}

/// An integer as an operand in a register.
pub(super) fn number(span: Span, value: i64) -> Expr {
    Expr { span, ty: Type::I64, kind: ExprKind::Int(value) }
}

impl Checker<'_> {
    /// Checks an expression.
    pub(super) fn expr(&mut self, expr: &ast::Expr) -> Typed {
        let span = expr.span;
        match &expr.kind {
            ast::ExprKind::Int(integer) => Typed::integer(span, i128::from(integer.value)),
            ast::ExprKind::Bool(value) => {
                Typed::new(span, Type::Bool, ExprKind::Int(i64::from(*value)))
            }
            ast::ExprKind::Str(bytes) => text(span, bytes.clone()),
            ast::ExprKind::Positional(number) => self.positional(*number, span),
            ast::ExprKind::PositionalCount => {
                Typed::integer(span, self.options.params.len() as i128)
            }
            ast::ExprKind::Var(name) => self.variable(name, span),
            ast::ExprKind::Map(name) => self.map_value(name, None, span),
            ast::ExprKind::MapElement { map, key } => self.map_value(&map.text, Some(key), span),
            ast::ExprKind::Ident(name) => self.call(name, span, &[], span),
            ast::ExprKind::Call { callee, args } => {
                self.call(&callee.text, callee.span, args, span)
            }
            ast::ExprKind::Field { base, field, .. } => self.field(base, field, span),
            ast::ExprKind::TupleField { base, index } => {
                let base = self.expr(base);
                self.part(base, u64::from(*index), span)
            }
            ast::ExprKind::Index { base, index } => self.index(base, index, span),
            ast::ExprKind::Cast { ty, operand } => self.cast(ty, operand, span),
            ast::ExprKind::Unary { op, operand } => self.unary(*op, operand, span),
            ast::ExprKind::Binary { op, left, right } => self.binary(*op, left, right, span),
            ast::ExprKind::Ternary { cond, then, otherwise } => match then {
                Some(then) => {
                    let cond = self.condition(cond);
                    let (then, otherwise) = (self.expr(then), self.expr(otherwise));
                    self.choice(cond, then, otherwise, span)
                }
                None => self.elvis(cond, otherwise, span),
            },
            ast::ExprKind::If { cond, then, otherwise } => {
                let cond = self.condition(cond);
                let then = self.block_value(then);
                match otherwise {
                    Some(otherwise) => {
                        let otherwise = self.expr(otherwise);
                        self.choice(cond, then, otherwise, span)
                    }
                    None => {
                        let (cond, then) = (Box::new(cond), Box::new(then.expr));
                        let kind = ExprKind::If { cond, then, otherwise: None };
                        Typed::new(span, Type::None, kind)
                    }
                }
            }
            ast::ExprKind::Block(block) => self.block_value(block),
            ast::ExprKind::Tuple(parts) => self.tuple(parts, span),
            ast::ExprKind::Sizeof(of) => {
                let size = match of {
                    TypeOrExpr::Type(ty) => self.type_ref(ty, false).map(|ty| ty.size()),
                    TypeOrExpr::Expr(expr) => {
                        let outer = std::mem::replace(&mut self.action.only_type, true);
                        let size = self.expr(expr).expr.ty.size();
                        self.action.only_type = outer;
                        Some(size)
                    }
                };
                Typed::integer(span, i128::from(size.unwrap_or(0)))
            }
            ast::ExprKind::Comptime(inner) => self.expr(inner),
            ast::ExprKind::Record(_) => self.unsupported(span, "records"),
            ast::ExprKind::Offsetof { .. } => self.unsupported(span, "offsetof"),
            ast::ExprKind::Typeinfo(_) => self.unsupported(span, "typeinfo"),
            ast::ExprKind::Type(_) => {
                self.error(span, "a type is no value");
                Typed::unknown(span)
            }
            ast::ExprKind::Error => Typed::unknown(span),
        }
    }

    /// Checks an expression whose value is used.
    pub(super) fn value(&mut self, expr: &ast::Expr) -> Typed {
        let typed = self.expr(expr);
        if typed.is_unknown() && gives_nothing(&typed.expr.kind) {
            self.error(expr.span, "this gives no value");
            return Typed::unknown(expr.span);
        }
        typed
    }

    /// An expression that says yes or no.
    pub(super) fn condition(&mut self, expr: &ast::Expr) -> Expr {
        let typed = self.value(expr);
        if !typed.is_unknown() && !typed.expr.is_scalar() {
            self.error(expr.span, format!("Invalid condition: {}", typed.expr.ty));
        }
        typed.expr
    }

    /// An integer or pointer as a 64-bit number.
    pub(super) fn integer(&mut self, expr: &ast::Expr, what: &str) -> Expr {
        let typed = self.value(expr);
        let wrong = !typed.is_unknown()
            && !matches!(typed.expr.ty, Type::Int { .. } | Type::Bool | Type::Pointer { .. });
        if wrong {
            let message = format!("{what} must be an integer ({} provided)", typed.expr.ty);
            self.error(expr.span, message);
        }
        typed.expr
    }

    /// A number that is known now.
    pub(super) fn constant(&mut self, expr: &ast::Expr, what: &str) -> Option<i64> {
        let typed = self.value(expr);
        let value = typed.literal_value().and_then(|value| i64::try_from(value).ok());
        if value.is_none() {
            self.error(expr.span, format!("{what} must be an integer literal"));
        }
        value
    }

    pub(super) fn unsupported(&mut self, span: Span, what: &str) -> Typed {
        self.diagnostics.push(not_yet(span, what));
        Typed::unknown(span)
    }

    /// A positional parameter: a number when it looks like one, otherwise a text.
    fn positional(&mut self, number: u32, span: Span) -> Typed {
        let given = (number as usize).checked_sub(1).and_then(|at| self.options.params.get(at));
        let Some(given) = given else {
            self.warn(span, format!("Positional parameter ${number} is empty or not provided."));
            return Typed::integer(span, 0);
        };
        match parse_integer(given) {
            Some(value) => Typed::integer(span, value),
            None => text(span, given.clone().into_bytes()),
        }
    }

    // Variables.

    /// The variable of this name that is in scope.
    pub(super) fn find_var(&self, name: &str) -> Option<VarId> {
        self.action.blocks.iter().rev().find_map(|block| block.get(name).copied())
    }

    pub(super) fn var_guess(&self, var: VarId) -> Option<Guess> {
        self.types.vars.get(&(self.action.index, var)).cloned()
    }

    pub(super) fn variable(&mut self, name: &str, span: Span) -> Typed {
        let Some(var) = self.find_var(name) else {
            let known: Vec<String> =
                self.action.blocks.iter().flat_map(|block| block.keys().cloned()).collect();
            let error =
                Diagnostic::error(span, format!("Undefined or undeclared variable: {name}"))
                    .did_you_mean(name, known.iter().map(String::as_str));
            self.diagnostics.push(error);
            return Typed::unknown(span);
        };
        self.action.vars[var].used = true;
        if !self.action.vars[var].assigned && !self.action.only_type {
            self.warn(span, format!("Variable used before it was assigned: {name}"));
        }
        match self.var_guess(var) {
            Some(guess) => Typed::with_guess(span, &guess, ExprKind::Var(var)),
            None => Typed::new(span, Type::None, ExprKind::Var(var)),
        }
    }

    /// Notes a variable's type. Returns the type to convert the value to.
    pub(super) fn assign_var(&mut self, var: VarId, found: Guess, span: Span) -> Option<Type> {
        let known = self.var_guess(var);
        let fixed = self.action.vars[var].fixed;
        let merged = match &known {
            None => Some(found.clone()),
            Some(known) => merge(known, &found),
        };
        let mismatch = |checker: &mut Self| {
            let name = checker.action.vars[var].name.clone();
            let known = known.as_ref().map_or(Type::None, |known| known.ty.clone());
            let message = format!(
                "Type mismatch for {name}: trying to assign value of type '{}' when variable \
                 already has a type '{known}'",
                found.ty
            );
            checker.error(span, message);
            None
        };
        let Some(merged) = merged else { return mismatch(self) };
        if fixed {
            return known.map(|known| known.ty);
        }
        if known.as_ref() != Some(&merged) {
            self.types.vars.insert((self.action.index, var), merged.clone());
            self.changed = true;
        }
        Some(merged.ty)
    }

    /// One of two values.
    fn choice(&mut self, cond: Expr, then: Typed, otherwise: Typed, span: Span) -> Typed {
        let nothing = |typed: &Typed| typed.is_unknown();
        let merged = match (nothing(&then), nothing(&otherwise)) {
            (true, true) => Some(Guess::fixed(Type::None)),
            (true, false) | (false, true)
                if gives_nothing(&then.expr.kind) || gives_nothing(&otherwise.expr.kind) =>
            {
                None
            }
            (true, false) => Some(otherwise.guess()),
            (false, true) => Some(then.guess()),
            (false, false) => merge(&then.guess(), &otherwise.guess()),
        };
        let Some(merged) = merged else {
            let message = format!(
                "Branches must return the same type: have '{}' and '{}'",
                then.expr.ty, otherwise.expr.ty
            );
            self.error(span, message);
            return Typed::unknown(span);
        };
        let mut branch = |typed: Typed| match typed.is_unknown() {
            true => Box::new(typed.expr),
            false => Box::new(self.fit(typed, &merged.ty)),
        };
        let (then, otherwise) = (branch(then), Some(branch(otherwise)));
        let kind = ExprKind::If { cond: Box::new(cond), then, otherwise };
        Typed::with_guess(span, &merged, kind)
    }

    /// `cond ?: otherwise`
    fn elvis(&mut self, cond: &ast::Expr, otherwise: &ast::Expr, span: Span) -> Typed {
        let cond = self.value(cond);
        let otherwise = self.value(otherwise);
        let var = self.hidden_var(&cond, span);
        let stored = Typed::with_guess(
            span,
            &cond.guess(),
            if cond.is_unknown() { ExprKind::Int(0) } else { ExprKind::Var(var) },
        );
        let test = stored.expr.clone();
        let value = self.choice(test, stored, otherwise, span);
        let guess = value.guess();
        let set = super::stmt::set_var(var, cond.expr);
        Typed::with_guess(span, &guess, ExprKind::Block(vec![set], Some(Box::new(value.expr))))
    }

    fn tuple(&mut self, parts: &[ast::Expr], span: Span) -> Typed {
        let parts: Vec<Typed> = parts.iter().map(|part| self.value(part)).collect();
        if parts.iter().any(Typed::is_unknown) {
            return Typed::unknown(span);
        }
        let ty = Type::Tuple(parts.iter().map(|part| part.expr.ty.clone()).collect());
        let flexible = parts.iter().flat_map(|part| part.flexible.clone()).collect();
        let kind = ExprKind::Tuple(parts.into_iter().map(|part| part.expr).collect());
        Typed { expr: Expr { span, ty, kind }, flexible, literal: false }
    }
}

/// A string literal.
pub(super) fn text(span: Span, bytes: Vec<u8>) -> Typed {
    // C's strings end at the first zero.
    let len = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let ty = Type::Str { size: len as u32 + 1 };
    Typed::new(span, ty, ExprKind::Str(bytes[..len].to_vec()))
}

/// Whether something is done for its effect only.
fn gives_nothing(kind: &ExprKind) -> bool {
    match kind {
        ExprKind::Printf { .. }
        | ExprKind::PrintMap { .. }
        | ExprKind::PrintElement { .. }
        | ExprKind::PrintValue(_)
        | ExprKind::ClearMap(_)
        | ExprKind::ZeroMap(_)
        | ExprKind::Time(_)
        | ExprKind::Join { .. }
        | ExprKind::Exit(_) => true,
        ExprKind::If { otherwise, .. } => {
            otherwise.as_ref().is_none_or(|otherwise| gives_nothing(&otherwise.kind))
        }
        ExprKind::Block(_, value) => value.as_ref().is_none_or(|value| gives_nothing(&value.kind)),
        _ => false,
    }
}

/// An integer as the command line gives it.
fn parse_integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let value = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None if digits.len() > 1 && digits.starts_with('0') => {
            u64::from_str_radix(digits, 8).ok()?
        }
        None => digits.parse().ok()?,
    };
    let value = if negative { -i128::from(value) } else { i128::from(value) };
    (value >= i128::from(i64::MIN)).then_some(value)
}
