//! Expressions.

use super::infer::{Guess, ValueGuess, aggregate_name, merge, total_type, value_name};
use super::tree::{
    Arith, Comparison, Expr, ExprKind, FieldAccess, FieldPlace, MapId, Place, Unary, VarId,
    is_scalar,
};
use super::tree::{Context, Event};
use super::{Checker, MapGuess, not_yet};
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast::{self, BinaryOp, TypeOrExpr, UnaryOp};
use crate::types::Type;
use bombus_kernel::AttachPoint;
use bombus_kernel::catalog::Field;

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

    fn with_guess(span: Span, guess: &Guess, kind: ExprKind) -> Typed {
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

    fn is_int(&self) -> bool {
        matches!(self.expr.ty, Type::Int { .. } | Type::Bool)
    }

    fn is_signed(&self) -> bool {
        matches!(self.expr.ty, Type::Int { signed: true, .. })
    }
}

/// An integer as an operand in a register.
pub(super) fn number(span: Span, value: i64) -> Expr {
    Expr { span, ty: Type::I64, kind: ExprKind::Int(value) }
}

impl<'a> Checker<'a> {
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
                    TypeOrExpr::Expr(expr) => Some(self.expr(expr).expr.ty.size()),
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

    fn variable(&mut self, name: &str, span: Span) -> Typed {
        let Some(var) = self.find_var(name) else {
            let known: Vec<String> =
                self.action.blocks.iter().flat_map(|block| block.keys().cloned()).collect();
            let error =
                Diagnostic::error(span, format!("Undefined or undeclared variable: {name}"))
                    .did_you_mean(name, known.iter().map(String::as_str));
            self.diagnostics.push(error);
            return Typed::unknown(span);
        };
        match self.var_guess(var) {
            Some(guess) => Typed::with_guess(span, &guess, ExprKind::Var(var)),
            None => Typed::new(span, Type::None, ExprKind::Var(var)),
        }
    }

    // Maps.

    /// The map of this name; a new one when this is its first use.
    pub(super) fn map_id(&mut self, name: &str) -> MapId {
        if let Some(at) = self.types.maps.iter().position(|map| map.name == name) {
            return at;
        }
        let name = name.to_string();
        self.types.maps.push(MapGuess { name, keyed: None, key: None, value: None });
        self.changed = true;
        self.types.maps.len() - 1
    }

    /// Checks the key of a use of a map, and widens the map's own.
    pub(super) fn map_key(
        &mut self,
        map: MapId,
        key: Option<&ast::Expr>,
        span: Span,
    ) -> Option<Expr> {
        let typed = key.map(|key| self.value(key));
        self.typed_map_key(map, typed, span)
    }

    /// As [`Self::map_key`], of a key that was checked already.
    pub(super) fn typed_map_key(
        &mut self,
        map: MapId,
        key: Option<Typed>,
        span: Span,
    ) -> Option<Expr> {
        let name = self.types.maps[map].name.clone();
        match self.types.maps[map].keyed {
            None => {
                self.types.maps[map].keyed = Some(key.is_some());
                self.changed = true;
            }
            Some(keyed) if keyed != key.is_some() => {
                let (now, before) = if keyed {
                    (
                        "without an explicit key (scalar map)",
                        "with an explicit key (non-scalar map)",
                    )
                } else {
                    (
                        "with an explicit key (non-scalar map)",
                        "without an explicit key (scalar map)",
                    )
                };
                let message = format!("{name} used as a map {now}, previously used {before}");
                self.error(span, message);
                return None;
            }
            Some(_) => {}
        }
        let key = key?;
        if key.is_unknown() {
            return None;
        }
        if !can_be_key(&key.expr.ty) {
            self.error(span, format!("{} cannot be part of a map key", key.expr.ty));
            return None;
        }
        let found = key.guess();
        let merged = match &self.types.maps[map].key {
            None => Some(found.clone()),
            Some(known) => merge(known, &found),
        };
        let Some(merged) = merged else {
            let expected = self.types.maps[map].key.as_ref().map(|known| known.ty.to_string());
            self.error(
                span,
                format!(
                    "Argument mismatch for {name}: trying to access with arguments: '{}' when map \
                     expects arguments: '{}'",
                    found.ty,
                    expected.unwrap_or_default()
                ),
            );
            return None;
        };
        if self.types.maps[map].key.as_ref() != Some(&merged) {
            self.types.maps[map].key = Some(merged.clone());
            self.changed = true;
        }
        Some(convert(key.expr, &merged.ty))
    }

    /// Reads a map, or an element of one.
    fn map_value(&mut self, name: &str, key: Option<&ast::Expr>, span: Span) -> Typed {
        let map = self.map_id(name);
        let key = self.map_key(map, key, span);
        if self.types.maps[map].keyed == Some(true) && key.is_none() {
            return Typed::unknown(span);
        }
        let key = key.map(Box::new);
        match self.types.maps[map].value.clone() {
            None => {
                self.error(span, format!("Undefined map: {name}"));
                Typed::new(span, Type::None, ExprKind::MapGet(map, key))
            }
            Some(ValueGuess::Plain(guess)) => {
                Typed::with_guess(span, &guess, ExprKind::MapGet(map, key))
            }
            Some(ValueGuess::Aggregate(value)) => match total_type(&value) {
                Some(ty) => {
                    if !self.env.features.for_each_map_elem {
                        return self.unsupported(span, "reading an aggregation on this kernel");
                    }
                    Typed::new(span, ty, ExprKind::MapTotal(map, key))
                }
                None => {
                    let name = aggregate_name(&value);
                    let message = format!("a value of type {name} can only be printed");
                    self.error(span, message);
                    Typed::unknown(span)
                }
            },
        }
    }

    /// Notes what a map's values are. Returns the type to convert the value to.
    pub(super) fn assign_map(&mut self, map: MapId, found: ValueGuess, span: Span) -> Option<Type> {
        let known = self.types.maps[map].value.clone();
        let merged = match (&known, &found) {
            (None, _) => Some(found.clone()),
            (Some(ValueGuess::Plain(a)), ValueGuess::Plain(b)) => {
                merge(a, b).map(ValueGuess::Plain)
            }
            (Some(ValueGuess::Aggregate(a)), ValueGuess::Aggregate(b)) => {
                super::infer::merge_aggregates(a, b).map(ValueGuess::Aggregate)
            }
            _ => None,
        };
        let Some(merged) = merged else {
            let name = &self.types.maps[map].name;
            let message = format!(
                "Type mismatch for {name}: trying to assign value of type '{}' when map already \
                 has a type '{}'",
                value_name(&found),
                known.as_ref().map(value_name).unwrap_or_default()
            );
            self.error(span, message);
            return None;
        };
        let ty = match &merged {
            ValueGuess::Plain(guess) => guess.ty.clone(),
            ValueGuess::Aggregate(_) => Type::None,
        };
        if known.as_ref() != Some(&merged) {
            self.types.maps[map].value = Some(merged);
            self.changed = true;
        }
        Some(ty)
    }

    // Fields and elements.

    fn field(&mut self, base: &ast::Expr, field: &ast::Name, span: Span) -> Typed {
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

    fn part(&mut self, base: Typed, index: u64, span: Span) -> Typed {
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

    fn index(&mut self, base: &ast::Expr, index: &ast::Expr, span: Span) -> Typed {
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
    fn read(&mut self, address: Expr, to: &Type, user: bool, span: Span) -> Typed {
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

    fn pointer_sum(
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

    // Operators.

    fn cast(&mut self, ty: &ast::TypeRef, operand: &ast::Expr, span: Span) -> Typed {
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
        let mut expr = convert(operand.expr, &target);
        expr.span = span;
        let flexible = Guess::fixed(target).flexible;
        Typed { expr, flexible, literal: false }
    }

    fn unary(&mut self, op: UnaryOp, operand: &ast::Expr, span: Span) -> Typed {
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
        let result = Guess::fixed(Type::Int { size: 8, signed });
        let ty = match &place {
            Place::Var(var) => self.assign_var(*var, result, span),
            Place::Map(map, _) => self.assign_map(*map, ValueGuess::Plain(result), span),
        };
        let Some(ty) = ty else { return Typed::unknown(span) };
        let operand = convert(value.expr, &Type::Int { size: 8, signed });
        let kind = ExprKind::Update { place, op, value: Box::new(operand), old };
        Typed::new(span, ty, kind)
    }

    /// What is known of a map's plain values.
    fn plain_guess(&mut self, map: MapId, span: Span) -> Option<Guess> {
        match self.types.maps[map].value.clone() {
            Some(ValueGuess::Plain(guess)) => Some(guess),
            Some(ValueGuess::Aggregate(value)) => {
                let name = self.types.maps[map].name.clone();
                let message = format!(
                    "Type mismatch for {name}: trying to assign value of type 'int64' when map \
                     already has a type '{}'",
                    aggregate_name(&value)
                );
                self.error(span, message);
                None
            }
            None => None,
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

    fn bad_operands(&mut self, op: Arith, left: &Type, right: &Type, span: Span) -> Typed {
        let symbol = arith_symbol(op);
        let message = format!(
            "The {symbol} operator can not be used on expressions of types {left}, {right}"
        );
        self.error(span, message);
        Typed::unknown(span)
    }

    fn binary(&mut self, op: BinaryOp, left: &ast::Expr, right: &ast::Expr, span: Span) -> Typed {
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
                let is_bits = matches!(op, Arith::And | Arith::Or | Arith::Xor);
                let ty = match (&a, &b) {
                    (Type::Bool, Type::Bool) if is_bits => Type::Bool,
                    _ => Type::Int { size: 8, signed },
                };
                let wide = Type::Int { size: 8, signed };
                let left = Box::new(convert(left.expr, &wide));
                let right = Box::new(convert(right.expr, &wide));
                Typed::new(span, ty, ExprKind::Arith(op, left, right))
            }
            _ => self.bad_operands(op, &a, &b, span),
        }
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
        let branch = |typed: Typed| match typed.is_unknown() {
            true => Box::new(typed.expr),
            false => Box::new(convert(typed.expr, &merged.ty)),
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

/// Whether an operation on two integers is signed: when one of them is, unless that is a literal
/// that can as well be unsigned.
fn both_signs(left: &Typed, right: &Typed) -> bool {
    match (left.guess().is_flexible(), right.guess().is_flexible()) {
        (true, false) => right.is_signed(),
        (false, true) => left.is_signed(),
        _ => left.is_signed() || right.is_signed(),
    }
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

fn can_be_key(ty: &Type) -> bool {
    match ty {
        Type::Int { .. }
        | Type::Bool
        | Type::Str { .. }
        | Type::Buf { .. }
        | Type::Pointer { .. }
        | Type::Username
        | Type::StringIndex
        | Type::Inet
        | Type::MacAddr
        | Type::Symbol { .. } => true,
        Type::Tuple(parts) => !parts.is_empty() && parts.iter().all(can_be_key),
        Type::None
        | Type::Record(_)
        | Type::Array { .. }
        | Type::Struct(_)
        | Type::Timestamp
        | Type::Stack { .. } => false,
    }
}

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
