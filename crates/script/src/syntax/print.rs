//! The tree as canonical source: what it prints parses to the same tree again. Comments are not
//! part of the tree and are lost.

use std::fmt::Write;

use super::ast::{
    AttachPoint, Block, CTextKind, ConfigValue, Expr, ExprKind, Function, Item, Iterable, Name,
    Probe, Program, Stmt, StmtKind, TypeOrExpr, TypeRef, TypeRefKind, UnaryOp,
};
use super::names;

/// The program as source.
pub fn print(program: &Program) -> String {
    let mut printer = Printer::default();
    printer.program(program);
    printer.text
}

/// Bytes as a string literal with its quotes.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => text.push_str("\\n"),
                '\t' => text.push_str("\\t"),
                '\r' => text.push_str("\\r"),
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\0'..'\x20' | '\x7f' => {
                    let _ = write!(text, "\\x{:02x}", u32::from(c));
                }
                _ => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text.push('"');
    text
}

/// How tightly an expression holds together, beyond [`super::ast::BinaryOp::precedence`].
mod level {
    /// Anything.
    pub(super) const ANY: u8 = 0;
    /// A binary operator or tighter.
    pub(super) const BINARY: u8 = 1;
    /// A prefix operator or tighter.
    pub(super) const PREFIX: u8 = 11;
    /// A postfix operator or tighter.
    pub(super) const POSTFIX: u8 = 12;
}

#[derive(Default)]
struct Printer {
    text: String,
    indent: usize,
}

impl Printer {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Starts a line.
    fn line(&mut self) {
        self.text.push('\n');
        self.text.extend(std::iter::repeat_n(' ', self.indent * 2));
    }

    fn list<T>(&mut self, items: &[T], mut each: impl FnMut(&mut Self, &T)) {
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.push(", ");
            }
            each(self, item);
        }
    }

    fn program(&mut self, program: &Program) {
        for text in &program.preamble {
            self.push(&text.text);
            self.push(if text.kind == CTextKind::Definition { ";\n" } else { "\n" });
        }
        if let Some(config) = &program.config {
            self.push("config = {");
            self.indent += 1;
            for entry in &config.entries {
                self.line();
                self.push(&entry.key.text);
                self.push(" = ");
                match &entry.value {
                    ConfigValue::Int(int) => self.push(&int.text),
                    ConfigValue::Bool(value) => self.push(if *value { "true" } else { "false" }),
                    ConfigValue::Str(value) => self.push(&escape(value)),
                    ConfigValue::Word(word) => self.push(word),
                }
                self.push(";");
            }
            self.indent -= 1;
            self.push("\n}\n");
        }
        for import in &program.imports {
            self.push("import ");
            self.push(&escape(&import.path));
            self.push(";\n");
        }
        for item in &program.items {
            if !self.text.is_empty() {
                self.push("\n");
            }
            self.item(item);
            self.push("\n");
        }
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Probe(probe) => self.probe(probe),
            Item::Macro(definition) => {
                self.push("macro ");
                self.push(&definition.name.text);
                self.push("(");
                self.list(&definition.params, |printer, param| printer.push(&param.text));
                self.push(")\n");
                self.block(&definition.body, true);
            }
            Item::Function(function) => self.function(function),
            Item::MapDecl(decl) => {
                let (name, kind, max) = (&decl.name.text, &decl.kind.text, &decl.max_entries.text);
                let _ = write!(self.text, "let {name} = {kind}({max});");
            }
        }
    }

    fn function(&mut self, function: &Function) {
        self.push("fn ");
        self.push(&function.name.text);
        self.push("(");
        self.list(&function.params, |printer, param| {
            printer.push(&param.name.text);
            printer.push(": ");
            printer.type_ref(&param.ty);
        });
        self.push("): ");
        self.type_ref(&function.returns);
        self.push("\n");
        self.block(&function.body, false);
    }

    fn probe(&mut self, probe: &Probe) {
        for (index, point) in probe.attach_points.iter().enumerate() {
            self.push(if index > 0 { ",\n" } else { "" });
            self.attach_point(point);
        }
        self.push("\n");
        if let Some(predicate) = &probe.predicate {
            let start = self.text.len();
            self.expr(predicate, level::ANY);
            // Otherwise `/` and `*` would begin a comment.
            let predicate = self.text.split_off(start);
            let (open, close) = if predicate.starts_with('*') { ("(", ")") } else { ("", "") };
            let _ = writeln!(self.text, "/{open}{predicate}{close}/");
        }
        self.block(&probe.body, false);
    }

    fn attach_point(&mut self, point: &AttachPoint) {
        if let Some(Name { text, .. }) = &point.name {
            self.push(text);
            self.push("=");
        }
        self.push(&point.provider.text);
        for part in &point.parts {
            self.push(":");
            if part.quoted {
                let text = part.text.replace('\\', "\\\\").replace('"', "\\\"");
                let _ = write!(self.text, "\"{text}\"");
            } else {
                self.push(&part.text);
            }
        }
    }

    /// A block; where it may have a value, a last statement must not be taken for one.
    fn block(&mut self, block: &Block, may_have_value: bool) {
        self.push("{");
        self.indent += 1;
        for (index, stmt) in block.stmts.iter().enumerate() {
            self.line();
            self.stmt(stmt);
            let is_last = index + 1 == block.stmts.len() && block.value.is_none();
            let has_block = match &stmt.kind {
                StmtKind::Expr(expr) => has_block(expr) && !(is_last && may_have_value),
                StmtKind::While { .. } | StmtKind::Unroll { .. } | StmtKind::For { .. } => true,
                _ => false,
            };
            if !has_block {
                self.push(";");
            }
        }
        if let Some(value) = &block.value {
            self.line();
            self.expr(value, level::ANY);
        }
        self.indent -= 1;
        self.line();
        self.push("}");
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Expr(expr) => self.expr(expr, level::ANY),
            StmtKind::Let { name, ty, value } => {
                self.push("let ");
                self.push(&name.text);
                if let Some(ty) = ty {
                    self.push(": ");
                    self.type_ref(ty);
                }
                if let Some(value) = value {
                    self.push(" = ");
                    self.expr(value, level::ANY);
                }
            }
            StmtKind::Assign { target, op, value } => {
                self.expr(target, level::ANY);
                let _ = write!(self.text, " {}= ", op.map_or("", |op| op.symbol()));
                self.expr(value, level::ANY);
            }
            StmtKind::Discard(value) => {
                self.push("_ = ");
                self.expr(value, level::ANY);
            }
            StmtKind::While { cond, body } => {
                self.push("while ");
                self.condition(cond);
                self.block(body, false);
            }
            StmtKind::Unroll { count, body } => {
                self.push("unroll ");
                self.condition(count);
                self.block(body, false);
            }
            StmtKind::For { var, iter, body } => {
                let _ = write!(self.text, "for {} : ", var.text);
                match iter {
                    Iterable::Map(map) => self.push(&map.text),
                    Iterable::Range { start, end } => {
                        self.expr(start, level::BINARY);
                        self.push("..");
                        self.expr(end, level::BINARY);
                    }
                }
                self.push(" ");
                self.block(body, false);
            }
            StmtKind::Break => self.push("break"),
            StmtKind::Continue => self.push("continue"),
            StmtKind::Return(value) => {
                self.push("return");
                if let Some(value) = value {
                    self.push(" ");
                    self.expr(value, level::ANY);
                }
            }
            StmtKind::Import(path) => {
                self.push("import ");
                self.push(&escape(path));
            }
            StmtKind::Error => self.push("<error>"),
        }
    }

    fn condition(&mut self, cond: &Expr) {
        self.push("(");
        self.expr(cond, level::ANY);
        self.push(") ");
    }

    /// An expression, in parentheses if it holds together less tightly than `min`.
    fn expr(&mut self, expr: &Expr, min: u8) {
        let parenthesized = level_of(expr) < min;
        if parenthesized {
            self.push("(");
        }
        self.bare_expr(expr);
        if parenthesized {
            self.push(")");
        }
    }

    /// An expression that must be in parentheses where `when` holds, whatever its level.
    fn expr_guarded(&mut self, expr: &Expr, min: u8, when: bool) {
        self.expr(expr, if when { u8::MAX } else { min });
    }

    fn bare_expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Int(int) => self.push(&int.text),
            ExprKind::Bool(value) => self.push(if *value { "true" } else { "false" }),
            ExprKind::Str(value) => self.push(&escape(value)),
            ExprKind::Positional(number) => {
                let _ = write!(self.text, "${number}");
            }
            ExprKind::PositionalCount => self.push("$#"),
            ExprKind::Var(name) | ExprKind::Map(name) | ExprKind::Ident(name) => self.push(name),
            ExprKind::MapElement { map, key } => {
                self.push(&map.text);
                self.push("[");
                match &key.kind {
                    ExprKind::Tuple(keys) if keys.len() > 1 => {
                        self.list(keys, |printer, key| printer.expr(key, level::ANY));
                    }
                    _ => self.expr(key, level::ANY),
                }
                self.push("]");
            }
            ExprKind::Call { callee, args } => {
                self.push(&callee.text);
                self.push("(");
                self.list(args, |printer, arg| printer.expr(arg, level::ANY));
                self.push(")");
            }
            ExprKind::Field { base, field, arrow } => {
                self.expr(base, level::POSTFIX);
                self.push(if *arrow { "->" } else { "." });
                self.push(&field.text);
            }
            ExprKind::TupleField { base, index } => {
                // `1.0` would be a fraction.
                let is_int = matches!(base.kind, ExprKind::Int(_));
                self.expr_guarded(base, level::POSTFIX, is_int);
                let _ = write!(self.text, ".{index}");
            }
            ExprKind::Index { base, index } => {
                // `@x[1]` would be the element of a map.
                let is_map = matches!(base.kind, ExprKind::Map(_));
                self.expr_guarded(base, level::POSTFIX, is_map);
                self.push("[");
                self.expr(index, level::ANY);
                self.push("]");
            }
            ExprKind::Cast { ty, operand } => {
                self.push("(");
                self.type_ref(ty);
                self.push(")");
                // `(name) - 1` might be a subtraction.
                let is_prefix =
                    matches!(operand.kind, ExprKind::Unary { op, .. } if !op.is_postfix());
                self.expr_guarded(operand, level::PREFIX, is_prefix);
            }
            ExprKind::Unary { op, operand } if op.is_postfix() => {
                self.expr(operand, level::POSTFIX);
                self.push(op.symbol());
            }
            ExprKind::Unary { op, operand } => {
                self.push(op.symbol());
                // `- -x` must not become `--x`.
                let merges = matches!(
                    operand.kind,
                    ExprKind::Unary { op: inner, .. }
                        if !inner.is_postfix() && inner.symbol().starts_with(op.symbol())
                );
                self.expr_guarded(operand, level::PREFIX, merges);
            }
            ExprKind::Binary { op, left, right } => {
                self.expr(left, op.precedence());
                let _ = write!(self.text, " {} ", op.symbol());
                self.expr(right, op.precedence() + 1);
            }
            ExprKind::Ternary { cond, then, otherwise } => {
                self.expr(cond, level::BINARY);
                match then {
                    Some(then) => {
                        self.push(" ? ");
                        self.expr(then, level::ANY);
                        self.push(" : ");
                    }
                    None => self.push(" ?: "),
                }
                self.expr(otherwise, level::ANY);
            }
            ExprKind::If { cond, then, otherwise } => {
                self.push("if ");
                self.condition(cond);
                self.block(then, true);
                if let Some(otherwise) = otherwise {
                    self.push(" else ");
                    self.expr(otherwise, level::ANY);
                }
            }
            ExprKind::Block(block) => self.block(block, true),
            ExprKind::Tuple(elements) => {
                self.push("(");
                self.list(elements, |printer, element| printer.expr(element, level::ANY));
                self.push(if elements.len() == 1 { ",)" } else { ")" });
            }
            ExprKind::Record(fields) => {
                self.push("(");
                self.list(fields, |printer, field| {
                    printer.push(&field.name.text);
                    printer.push(" = ");
                    printer.expr(&field.value, level::ANY);
                });
                self.push(")");
            }
            ExprKind::Sizeof(of) => {
                self.push("sizeof(");
                self.type_or_expr(of);
                self.push(")");
            }
            ExprKind::Typeinfo(of) => {
                self.push("typeinfo(");
                self.type_or_expr(of);
                self.push(")");
            }
            ExprKind::Offsetof { of, fields } => {
                self.push("offsetof(");
                self.type_or_expr(of);
                for (index, field) in fields.iter().enumerate() {
                    self.push(if index == 0 { ", " } else { "." });
                    self.push(&field.text);
                }
                self.push(")");
            }
            ExprKind::Comptime(inner) => {
                self.push("comptime ");
                self.expr(inner, level::PREFIX);
            }
            ExprKind::Type(ty) => self.type_ref(ty),
            ExprKind::Error => self.push("<error>"),
        }
    }

    fn type_or_expr(&mut self, of: &TypeOrExpr) {
        match of {
            TypeOrExpr::Type(ty) => self.type_ref(ty),
            TypeOrExpr::Expr(expr) => self.expr_guarded(expr, level::ANY, looks_like_type(expr)),
        }
    }

    fn type_ref(&mut self, ty: &TypeRef) {
        match &ty.kind {
            TypeRefKind::Named(name) => self.push(name),
            TypeRefKind::Struct(name) => {
                let _ = write!(self.text, "struct {name}");
            }
            TypeRefKind::Union(name) => {
                let _ = write!(self.text, "union {name}");
            }
            TypeRefKind::Enum(name) => {
                let _ = write!(self.text, "enum {name}");
            }
            TypeRefKind::Pointer(to) => {
                self.type_ref(to);
                self.push(if matches!(to.kind, TypeRefKind::Pointer(_)) { "*" } else { " *" });
            }
            TypeRefKind::Array { element, len } => {
                self.type_ref(element);
                let _ = write!(self.text, "[{}]", len.as_ref().map_or("", |len| &len.text));
            }
            TypeRefKind::Typeof(of) => {
                self.push("typeof(");
                self.type_or_expr(of);
                self.push(")");
            }
        }
    }
}

/// How tightly an expression holds together.
fn level_of(expr: &Expr) -> u8 {
    match &expr.kind {
        // As operands, blocks would end a statement that they begin.
        ExprKind::Ternary { .. } | ExprKind::If { .. } | ExprKind::Block(_) => level::ANY,
        ExprKind::Binary { op, .. } => op.precedence(),
        ExprKind::Unary { op: UnaryOp::PostIncrement | UnaryOp::PostDecrement, .. } => {
            level::POSTFIX
        }
        ExprKind::Unary { .. } | ExprKind::Cast { .. } | ExprKind::Comptime(_) => level::PREFIX,
        _ => level::POSTFIX,
    }
}

/// Whether it ends with a block, so that a statement of it needs no `;`.
fn has_block(expr: &Expr) -> bool {
    matches!(expr.kind, ExprKind::If { .. } | ExprKind::Block(_))
}

/// Whether a parser would take the expression, as printed, for a type.
fn looks_like_type(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Ident(name) => names::TYPES.contains(&name.as_str()),
        ExprKind::Index { base, .. } => {
            matches!(base.kind, ExprKind::Ident(_)) || looks_like_type(base)
        }
        _ => false,
    }
}
