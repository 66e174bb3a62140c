//! The tree as indented text, one node a line, complete: two trees are the same, spans aside, when
//! their dumps are.

use std::fmt::{Display, Write};

use super::ast::{
    AttachPoint, Block, CTextKind, ConfigValue, Expr, ExprKind, Item, Iterable, Name, Program,
    Stmt, StmtKind, TypeOrExpr, TypeRef, TypeRefKind,
};
use super::print::escape;
use crate::diagnostic::Span;

/// The tree as text; with the byte range of every node when asked.
pub fn dump(program: &Program, spans: bool) -> String {
    let mut dump = Dump { text: String::new(), depth: 0, spans };
    dump.program(program);
    dump.text
}

struct Dump {
    text: String,
    depth: usize,
    spans: bool,
}

impl Dump {
    /// One line for a node.
    fn line(&mut self, span: Span, what: impl Display) {
        let indent = self.depth * 2;
        let _ = write!(self.text, "{:indent$}{what}", "");
        if self.spans {
            let _ = write!(self.text, " @{}..{}", span.start, span.end);
        }
        self.text.push('\n');
    }

    /// One line for a node, its children below.
    fn node(&mut self, span: Span, what: impl Display, children: impl FnOnce(&mut Self)) {
        self.line(span, what);
        self.depth += 1;
        children(self);
        self.depth -= 1;
    }

    fn program(&mut self, program: &Program) {
        for text in &program.preamble {
            let kind = match text.kind {
                CTextKind::Directive => "directive",
                CTextKind::Definition => "definition",
            };
            self.line(text.span, format_args!("{kind} {}", escape(text.text.as_bytes())));
        }
        if let Some(config) = &program.config {
            self.node(config.span, "config", |dump| {
                for entry in &config.entries {
                    let value = match &entry.value {
                        ConfigValue::Int(int) => int.text.clone(),
                        ConfigValue::Bool(value) => value.to_string(),
                        ConfigValue::Str(value) => escape(value),
                        ConfigValue::Word(word) => word.clone(),
                    };
                    let span = entry.key.span.to(entry.value_span);
                    dump.line(span, format_args!("{} = {value}", entry.key.text));
                }
            });
        }
        for import in &program.imports {
            self.line(import.span, format_args!("import {}", escape(&import.path)));
        }
        for item in &program.items {
            self.item(item);
        }
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Probe(probe) => self.node(probe.span, "probe", |dump| {
                for point in &probe.attach_points {
                    dump.attach_point(point);
                }
                if let Some(predicate) = &probe.predicate {
                    dump.node(predicate.span, "predicate", |dump| dump.expr(predicate));
                }
                dump.block(&probe.body);
            }),
            Item::Macro(definition) => {
                let params = names(&definition.params, ", ");
                let what = format!("macro {}({params})", definition.name.text);
                self.node(definition.span, what, |dump| dump.block(&definition.body));
            }
            Item::Function(function) => {
                let what = format_args!("function {}", function.name.text);
                self.node(function.span, what, |dump| {
                    for param in &function.params {
                        let span = param.name.span;
                        dump.node(span, &param.name.text, |dump| dump.type_ref(&param.ty));
                    }
                    dump.node(function.returns.span, "returns", |dump| {
                        dump.type_ref(&function.returns);
                    });
                    dump.block(&function.body);
                });
            }
            Item::MapDecl(decl) => {
                let (name, kind, max) = (&decl.name.text, &decl.kind.text, &decl.max_entries.text);
                self.line(decl.span, format_args!("map {name} = {kind}({max})"));
            }
        }
    }

    fn attach_point(&mut self, point: &AttachPoint) {
        let mut what = String::from("attach");
        if let Some(name) = &point.name {
            let _ = write!(what, " {}=", name.text);
        }
        let _ = write!(what, " {}", point.provider.text);
        for part in &point.parts {
            let quoted = if part.quoted { " quoted" } else { "" };
            let _ = write!(what, " :{quoted} {}", escape(part.text.as_bytes()));
        }
        self.line(point.span, what);
    }

    fn block(&mut self, block: &Block) {
        self.node(block.span, "block", |dump| {
            for stmt in &block.stmts {
                dump.stmt(stmt);
            }
            if let Some(value) = &block.value {
                dump.node(value.span, "value", |dump| dump.expr(value));
            }
        });
    }

    fn stmt(&mut self, stmt: &Stmt) {
        let span = stmt.span;
        match &stmt.kind {
            StmtKind::Expr(expr) => self.node(span, "do", |dump| dump.expr(expr)),
            StmtKind::Let { name, ty, value } => {
                self.node(span, format_args!("let {}", name.text), |dump| {
                    ty.iter().for_each(|ty| dump.type_ref(ty));
                    value.iter().for_each(|value| dump.expr(value));
                });
            }
            StmtKind::Assign { target, op, value } => {
                let what = format!("assign {}=", op.map_or("", |op| op.symbol()));
                self.node(span, what, |dump| {
                    dump.expr(target);
                    dump.expr(value);
                });
            }
            StmtKind::Discard(value) => self.node(span, "discard", |dump| dump.expr(value)),
            StmtKind::While { cond, body } => self.node(span, "while", |dump| {
                dump.expr(cond);
                dump.block(body);
            }),
            StmtKind::Unroll { count, body } => self.node(span, "unroll", |dump| {
                dump.expr(count);
                dump.block(body);
            }),
            StmtKind::For { var, iter, body } => {
                let over = match iter {
                    Iterable::Map(map) => &map.text,
                    Iterable::Range { .. } => "range",
                };
                self.node(span, format_args!("for {} : {over}", var.text), |dump| {
                    if let Iterable::Range { start, end } = iter {
                        dump.expr(start);
                        dump.expr(end);
                    }
                    dump.block(body);
                });
            }
            StmtKind::Break => self.line(span, "break"),
            StmtKind::Continue => self.line(span, "continue"),
            StmtKind::Return(value) => self.node(span, "return", |dump| {
                value.iter().for_each(|value| dump.expr(value));
            }),
            StmtKind::Import(path) => self.line(span, format_args!("import {}", escape(path))),
            StmtKind::Error => self.line(span, "error"),
        }
    }

    fn exprs<'a>(&mut self, exprs: impl IntoIterator<Item = &'a Expr>) {
        for expr in exprs {
            self.expr(expr);
        }
    }

    fn expr(&mut self, expr: &Expr) {
        let span = expr.span;
        match &expr.kind {
            ExprKind::Int(int) => self.line(span, format_args!("int {}", int.text)),
            ExprKind::Bool(value) => self.line(span, value),
            ExprKind::Str(value) => self.line(span, format_args!("str {}", escape(value))),
            ExprKind::Positional(number) => self.line(span, format_args!("positional {number}")),
            ExprKind::PositionalCount => self.line(span, "positional count"),
            ExprKind::Var(name) => self.line(span, format_args!("var {name}")),
            ExprKind::Map(name) => self.line(span, format_args!("map {name}")),
            ExprKind::MapElement { map, key } => {
                self.node(span, format_args!("element {}", map.text), |dump| dump.expr(key));
            }
            ExprKind::Ident(name) => self.line(span, format_args!("ident {name}")),
            ExprKind::Call { callee, args } => {
                self.node(span, format_args!("call {}", callee.text), |dump| dump.exprs(args));
            }
            ExprKind::Field { base, field, arrow } => {
                let dot = if *arrow { "->" } else { "." };
                self.node(span, format_args!("field {dot}{}", field.text), |dump| dump.expr(base));
            }
            ExprKind::TupleField { base, index } => {
                self.node(span, format_args!("element .{index}"), |dump| dump.expr(base));
            }
            ExprKind::Index { base, index } => {
                self.node(span, "index", |dump| dump.exprs([&**base, index]));
            }
            ExprKind::Cast { ty, operand } => self.node(span, "cast", |dump| {
                dump.type_ref(ty);
                dump.expr(operand);
            }),
            ExprKind::Unary { op, operand } => {
                let position = if op.is_postfix() { "postfix" } else { "prefix" };
                let what = format_args!("{position} {}", op.symbol());
                self.node(span, what, |dump| dump.expr(operand));
            }
            ExprKind::Binary { op, left, right } => {
                let what = format_args!("binary {}", op.symbol());
                self.node(span, what, |dump| dump.exprs([&**left, right]));
            }
            ExprKind::Ternary { cond, then, otherwise } => {
                let what = if then.is_some() { "ternary" } else { "ternary ?:" };
                self.node(span, what, |dump| {
                    dump.expr(cond);
                    dump.exprs(then.as_deref());
                    dump.expr(otherwise);
                });
            }
            ExprKind::If { cond, then, otherwise } => self.node(span, "if", |dump| {
                dump.expr(cond);
                dump.block(then);
                if let Some(otherwise) = otherwise {
                    dump.node(otherwise.span, "else", |dump| dump.expr(otherwise));
                }
            }),
            ExprKind::Block(block) => self.block(block),
            ExprKind::Tuple(elements) => self.node(span, "tuple", |dump| dump.exprs(elements)),
            ExprKind::Record(fields) => self.node(span, "record", |dump| {
                for field in fields {
                    dump.node(field.name.span, &field.name.text, |dump| dump.expr(&field.value));
                }
            }),
            ExprKind::Sizeof(of) => self.node(span, "sizeof", |dump| dump.type_or_expr(of)),
            ExprKind::Typeinfo(of) => self.node(span, "typeinfo", |dump| dump.type_or_expr(of)),
            ExprKind::Offsetof { of, fields } => {
                let what = format!("offsetof {}", names(fields, "."));
                self.node(span, what, |dump| dump.type_or_expr(of));
            }
            ExprKind::Comptime(inner) => self.node(span, "comptime", |dump| dump.expr(inner)),
            ExprKind::Type(ty) => self.type_ref(ty),
            ExprKind::Error => self.line(span, "error"),
        }
    }

    fn type_ref(&mut self, ty: &TypeRef) {
        let span = ty.span;
        match &ty.kind {
            TypeRefKind::Named(name) => self.line(span, format_args!("type {name}")),
            TypeRefKind::Struct(name) => self.line(span, format_args!("type struct {name}")),
            TypeRefKind::Union(name) => self.line(span, format_args!("type union {name}")),
            TypeRefKind::Enum(name) => self.line(span, format_args!("type enum {name}")),
            TypeRefKind::Pointer(to) => self.node(span, "type *", |dump| dump.type_ref(to)),
            TypeRefKind::Array { element, len } => {
                let len = len.as_ref().map_or("", |len| &len.text);
                let what = format_args!("type [{len}]");
                self.node(span, what, |dump| dump.type_ref(element));
            }
            TypeRefKind::Typeof(of) => self.node(span, "typeof", |dump| dump.type_or_expr(of)),
        }
    }

    fn type_or_expr(&mut self, of: &TypeOrExpr) {
        match of {
            TypeOrExpr::Type(ty) => self.type_ref(ty),
            TypeOrExpr::Expr(expr) => self.expr(expr),
        }
    }
}

fn names(names: &[Name], separator: &str) -> String {
    names.iter().map(|name| name.text.as_str()).collect::<Vec<_>>().join(separator)
}
