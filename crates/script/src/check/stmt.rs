//! Statements and blocks.

use std::collections::HashMap;

use super::convert::convert;
use super::expr::Typed;
use super::infer::{Guess, ValueGuess, merge};
use super::map_call::aggregation;
use super::operator::arithmetic;
use super::tree::{Expr, ExprKind, Stmt, StmtKind, VarId};
use super::{Checker, Declared, not_yet};
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast;
use crate::types::Type;

/// As often as bpftrace unrolls.
const MAX_UNROLL: i64 = 100;

/// Copies of the innermost statement that nested unrolling may make.
const MAX_COPIES: i64 = 10_000;

/// `$x = value`
pub(super) fn set_var(var: VarId, value: Expr) -> Stmt {
    Stmt { span: value.span, kind: StmtKind::SetVar(var, value) }
}

impl Checker<'_> {
    /// The statements of a block, in a scope of their own.
    fn block(&mut self, block: &ast::Block) -> Vec<Stmt> {
        self.action.blocks.push(HashMap::new());
        self.warn_of_unreachable(block);
        let body = self.block_contents(block);
        self.action.blocks.pop();
        body
    }

    /// The statements of a block whose scope exists already. A value is a statement.
    pub(super) fn block_contents(&mut self, block: &ast::Block) -> Vec<Stmt> {
        let mut body: Vec<Stmt> = block.stmts.iter().flat_map(|stmt| self.stmt(stmt)).collect();
        if let Some(value) = &block.value {
            let typed = self.expr(value);
            self.warn_of_discarded(value, &typed.expr, value.span);
            body.push(Stmt { span: value.span, kind: StmtKind::Expr(typed.expr) });
        }
        body
    }

    /// A block as an expression.
    pub(super) fn block_value(&mut self, block: &ast::Block) -> Typed {
        self.action.blocks.push(HashMap::new());
        self.warn_of_unreachable(block);
        let body: Vec<Stmt> = block.stmts.iter().flat_map(|stmt| self.stmt(stmt)).collect();
        let value = block.value.as_ref().map(|value| self.expr(value));
        self.action.blocks.pop();
        match value {
            Some(value) => {
                let flexible = value.flexible.clone();
                let ty = value.expr.ty.clone();
                let kind = ExprKind::Block(body, Some(Box::new(value.expr)));
                Typed { expr: Expr { span: block.span, ty, kind }, flexible, literal: false }
            }
            None => Typed::new(block.span, Type::None, ExprKind::Block(body, None)),
        }
    }

    /// Declares a variable in the innermost block. It counts as assigned.
    fn declare(&mut self, name: &str, span: Span, fixed: bool) -> VarId {
        let var = self.action.vars.len();
        self.action.vars.push(Declared {
            name: name.to_string(),
            span,
            fixed,
            assigned: true,
            used: false,
            declaration: None,
        });
        if let Some(block) = self.action.blocks.last_mut() {
            block.insert(name.to_string(), var);
        }
        var
    }

    /// A variable without a name, of a value's type.
    pub(super) fn hidden_var(&mut self, value: &Typed, span: Span) -> VarId {
        let var = self.action.vars.len();
        self.action.vars.push(Declared {
            name: String::new(),
            span,
            fixed: false,
            assigned: true,
            used: true,
            declaration: None,
        });
        if !value.is_unknown() {
            self.assign_var(var, value.guess(), span);
        }
        var
    }

    fn stmt(&mut self, stmt: &ast::Stmt) -> Vec<Stmt> {
        let span = stmt.span;
        let kind = match &stmt.kind {
            ast::StmtKind::Expr(expr) => {
                let typed = self.expr(expr);
                self.warn_of_discarded(expr, &typed.expr, span);
                Some(StmtKind::Expr(typed.expr))
            }
            ast::StmtKind::Discard(expr) => Some(StmtKind::Expr(self.expr(expr).expr)),
            ast::StmtKind::Let { name, ty, value } => {
                return self.let_stmt(name, ty.as_ref(), value.as_ref(), span);
            }
            ast::StmtKind::Assign { target, op: None, value } => self.assign(target, value, span),
            ast::StmtKind::Assign { target, op: Some(op), value } => {
                let value = self.value(value);
                let typed = self.update(target, arithmetic(*op), value, false, false, span);
                Some(StmtKind::Expr(typed.expr))
            }
            ast::StmtKind::While { cond, body } => {
                self.warn_of_while(span);
                let cond = self.condition(cond);
                let body = self.loop_body(body);
                Some(StmtKind::While { cond, body })
            }
            ast::StmtKind::Unroll { count, body } => {
                let times = self.constant(count, "the count of unroll").unwrap_or(1);
                let outer = self.action.copies;
                self.action.copies = outer.saturating_mul(times.clamp(1, MAX_UNROLL));
                if self.action.copies > MAX_COPIES {
                    self.error(span, format!("more than {MAX_COPIES} copies of one statement"));
                    self.action.copies = outer;
                    return Vec::new();
                }
                let body = self.block(body);
                self.action.copies = outer;
                if times < 1 {
                    self.error(span, "unroll minimum value is 1");
                } else if times > MAX_UNROLL {
                    self.error(span, format!("unroll maximum value is {MAX_UNROLL}"));
                }
                let count = u32::try_from(times).unwrap_or(1);
                Some(StmtKind::Unroll { count, body })
            }
            ast::StmtKind::For { var, iter, body } => self.for_stmt(var, iter, body),
            ast::StmtKind::Break => self.in_loop("break", StmtKind::Break, span),
            ast::StmtKind::Continue => self.in_loop("continue", StmtKind::Continue, span),
            ast::StmtKind::Return(value) => {
                let value = value.as_ref().map(|value| self.integer(value, "a return value"));
                Some(StmtKind::Return(value))
            }
            ast::StmtKind::Import(_) => {
                self.diagnostics.push(not_yet(span, "imports"));
                None
            }
            ast::StmtKind::Error => None,
        };
        kind.map(|kind| Stmt { span, kind }).into_iter().collect()
    }

    fn in_loop(&mut self, name: &str, kind: StmtKind, span: Span) -> Option<StmtKind> {
        if self.action.loops == 0 {
            self.error(span, format!("'{name}' statement is not allowed in a probe"));
            return None;
        }
        Some(kind)
    }

    fn loop_body(&mut self, body: &ast::Block) -> Vec<Stmt> {
        self.action.loops += 1;
        let body = self.block(body);
        self.action.loops -= 1;
        body
    }

    fn let_stmt(
        &mut self,
        name: &ast::Name,
        ty: Option<&ast::TypeRef>,
        value: Option<&ast::Expr>,
        span: Span,
    ) -> Vec<Stmt> {
        if let Some(known) = self.find_var(&name.text) {
            let before = self.action.vars[known].span;
            let message = format!(
                "Variable {} was already declared. Variable shadowing is not allowed.",
                name.text
            );
            let error = Diagnostic::error(span, message);
            self.diagnostics.push(error.related(before, "This is the initial declaration."));
            return Vec::new();
        }
        let declared = ty.and_then(|ty| self.type_ref(ty, false));
        let value = value.map(|value| self.value(value));
        let var = self.declare(&name.text, name.span, declared.is_some());
        self.action.vars[var].assigned = value.is_some();
        self.action.vars[var].declaration = Some(span);
        if let Some(declared) = declared {
            let known =
                self.types.vars.insert((self.action.index, var), Guess::fixed(declared.clone()));
            self.changed |= known.is_none();
        }
        let kind = match value {
            None => Some(StmtKind::Clear(var)),
            Some(value) => self.assign_to_var(var, value, span),
        };
        kind.map(|kind| Stmt { span, kind }).into_iter().collect()
    }

    fn assign_to_var(&mut self, var: VarId, value: Typed, span: Span) -> Option<StmtKind> {
        if value.is_unknown() {
            return None;
        }
        if self.action.vars[var].fixed && !self.fits_declared(var, &value) {
            let known = self.var_guess(var).map_or(Type::None, |known| known.ty);
            let message = format!(
                "Type mismatch for {}: trying to assign value of type '{}' when variable already \
                 has a type '{known}'",
                self.action.vars[var].name, value.expr.ty
            );
            self.error(span, message);
            return None;
        }
        let ty = self.assign_var(var, value.guess(), span)?;
        Some(StmtKind::SetVar(var, self.fit(value, &ty)))
    }

    /// Whether a value can go to a variable of a type that was written down: a literal must fit.
    fn fits_declared(&self, var: VarId, value: &Typed) -> bool {
        let Some(declared) = self.var_guess(var) else { return true };
        match (&declared.ty, value.literal_value()) {
            (Type::Int { size, signed }, Some(literal)) => {
                let bits = u32::from(*size) * 8;
                let (least, most) = match signed {
                    true => (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1),
                    false => (0, (1i128 << bits) - 1),
                };
                (least..=most).contains(&literal)
            }
            (Type::Str { size }, None) => {
                !matches!(value.expr.ty, Type::Str { size: found } if found > *size)
            }
            _ => true,
        }
    }

    fn assign(&mut self, target: &ast::Expr, value: &ast::Expr, span: Span) -> Option<StmtKind> {
        let (map, key) = match &target.kind {
            ast::ExprKind::Var(name) => {
                if let Some(call) = aggregation(value) {
                    self.error(value.span, format!("{call}() must be assigned directly to a map"));
                    return None;
                }
                let value = self.value(value);
                let var = match self.find_var(name) {
                    Some(var) => var,
                    None => self.declare(name, target.span, false),
                };
                self.action.vars[var].assigned = true;
                return self.assign_to_var(var, value, span);
            }
            ast::ExprKind::Map(name) => (name, None),
            ast::ExprKind::MapElement { map, key } => (&map.text, Some(&**key)),
            // The parser has said so already.
            _ => return None,
        };
        let map = self.map_id(map);
        if aggregation(value).is_some() {
            let key = self.map_key(map, key, target.span);
            let call = value.span;
            let (found, value) = self.aggregate(value)?;
            self.assign_map(map, ValueGuess::Aggregate(found), span)?;
            return self.keyed(map, &key).then_some(StmtKind::Aggregate { map, key, value, call });
        }
        // As in bpftrace, the value comes before the key.
        let value_span = value.span;
        if let Some((function, from)) = self.aggregation_read(value) {
            let name = self.types.maps[map].name.clone();
            let argument = if function == "count" { "" } else { "retval" };
            self.diagnostics.push(
                Diagnostic::error(
                    span,
                    format!(
                        "Map value '{function}_t' cannot be assigned from one map to another. The \
                         function that returns this type must be called directly e.g. `{name} = \
                         {function}({argument});`."
                    ),
                )
                .help(format!(
                    "add a cast to integer if you want the value of the aggregate, e.g. `{name} = \
                     (int64){from};`"
                )),
            );
            return None;
        }
        let value = self.value(value);
        let key = self.map_key(map, key, target.span);
        if value.is_unknown() {
            return None;
        }
        if !can_be_stored(&value.expr.ty) {
            self.error(value_span, "Invalid expression for assignment");
            return None;
        }
        let ty = self.assign_map(map, ValueGuess::Plain(value.guess()), span)?;
        let value = self.fit(value, &ty);
        self.keyed(map, &key).then_some(StmtKind::SetMap { map, key, value })
    }

    /// Whether a map that has keys was given one; otherwise a message has been given.
    fn keyed(&self, map: usize, key: &Option<Expr>) -> bool {
        self.types.maps[map].keyed != Some(true) || key.is_some()
    }

    /// The aggregation that an expression reads as it is: its function, and the map's name.
    fn aggregation_read(&self, expr: &ast::Expr) -> Option<(&'static str, String)> {
        let name = match &expr.kind {
            ast::ExprKind::Map(name) => name,
            ast::ExprKind::MapElement { map, .. } => &map.text,
            _ => return None,
        };
        let map = self.types.maps.iter().find(|map| map.name == *name)?;
        match &map.value {
            Some(ValueGuess::Aggregate(value)) => {
                let ty = super::infer::aggregate_name(value);
                Some((ty.trim_end_matches("_t"), map.name.clone()))
            }
            _ => None,
        }
    }

    fn for_stmt(
        &mut self,
        var: &ast::Name,
        iter: &ast::Iterable,
        body: &ast::Block,
    ) -> Option<StmtKind> {
        if let Some(known) = self.find_var(&var.text) {
            let before = self.action.vars[known].span;
            let message = format!("Loop declaration shadows existing variable: {}", var.text);
            let error = Diagnostic::error(var.span, message);
            self.diagnostics.push(error.related(before, "This is the initial declaration."));
            return None;
        }
        self.action.blocks.push(HashMap::new());
        let kind = match iter {
            ast::Iterable::Range { start, end } => {
                let (start, end) = (self.value(start), self.value(end));
                self.for_range(var, start, end, body)
            }
            ast::Iterable::Map(name) => self.for_map(var, name, body),
        };
        self.action.blocks.pop();
        kind
    }

    fn for_range(
        &mut self,
        var: &ast::Name,
        start: Typed,
        end: Typed,
        body: &ast::Block,
    ) -> Option<StmtKind> {
        for bound in [&start, &end] {
            if !bound.is_unknown() && !matches!(bound.expr.ty, Type::Int { .. }) {
                let message = format!("Loop range requires an integer, found {}", bound.expr.ty);
                self.error(bound.expr.span, message);
            }
        }
        let guess = merge(&start.guess(), &end.guess());
        let first = self.hidden_var(&start, start.expr.span);
        let id = self.declare(&var.text, var.span, false);
        let ty = match guess {
            Some(guess) if !start.is_unknown() && !end.is_unknown() => {
                self.assign_var(id, guess, var.span)
            }
            _ => None,
        };
        // As in bpftrace, the bounds become the larger of their own two types first.
        if !start.is_unknown() && !end.is_unknown() && start.expr.ty != end.expr.ty {
            let start_larger = start.expr.ty.size() > end.expr.ty.size();
            let larger = if start_larger { &start } else { &end }.expr.ty.clone();
            self.warn_of_cast(&start, &larger);
            self.warn_of_cast(&end, &larger);
        }
        let body = self.loop_body(body);
        let ty = ty?;
        let (start, end) = (convert(start.expr, &ty), convert(end.expr, &ty));
        Some(StmtKind::ForRange { var: id, first, start, end, body })
    }

    fn for_map(
        &mut self,
        var: &ast::Name,
        name: &ast::Name,
        body: &ast::Block,
    ) -> Option<StmtKind> {
        let map = self.map_id(&name.text);
        if self.types.maps[map].keyed == Some(false) {
            let message = format!(
                "{} has no explicit keys (scalar map), and cannot be used for iteration",
                name.text
            );
            self.error(name.span, message);
            return None;
        }
        if !self.env.features.for_each_map_elem {
            self.diagnostics.push(not_yet(name.span, "loops over maps on this kernel"));
        }
        let known = &self.types.maps[map];
        let element = match (&known.key, &known.value) {
            (Some(key), Some(value)) => {
                let value = match value {
                    ValueGuess::Plain(guess) => Some(guess.clone()),
                    ValueGuess::Aggregate(value) => {
                        super::infer::total_type(value).map(Guess::fixed)
                    }
                };
                value.map(|value| Guess {
                    ty: Type::Tuple(vec![key.ty.clone(), value.ty]),
                    flexible: key.flexible.iter().chain(&value.flexible).copied().collect(),
                })
            }
            _ => {
                self.error(name.span, format!("Undefined map: {}", name.text));
                None
            }
        };
        if element.is_none() && self.is_aggregate(map) {
            self.diagnostics.push(not_yet(name.span, "loops over histograms and stats"));
        }
        let id = self.declare(&var.text, var.span, true);
        if let Some(element) = &element {
            // The element follows the map, whose types may still widen.
            let old = self.types.vars.insert((self.action.index, id), element.clone());
            self.changed |= old.as_ref() != Some(element);
        }
        let body = self.loop_body(body);
        element.map(|_| StmtKind::ForMap { var: id, map, body })
    }
}

fn can_be_stored(ty: &Type) -> bool {
    match ty {
        Type::None | Type::Array { .. } | Type::Struct(_) | Type::Record(_) => false,
        Type::Tuple(parts) => parts.iter().all(can_be_stored),
        _ => true,
    }
}
