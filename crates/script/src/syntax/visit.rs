//! Walking over a tree: override what is of interest, call the `walk_` function to go further down.

use super::ast::{
    AttachPoint, Block, Expr, ExprKind, Function, Item, Iterable, Macro, MapDecl, Probe, Program,
    Stmt, StmtKind, TypeOrExpr, TypeRef, TypeRefKind,
};

/// Is shown every node, in the order of the script. The methods' defaults go on to the children.
pub trait Visitor: Sized {
    /// A probe.
    fn probe(&mut self, probe: &Probe) {
        walk_probe(self, probe);
    }
    /// An attach point.
    fn attach_point(&mut self, _point: &AttachPoint) {}
    /// A macro.
    fn macro_definition(&mut self, definition: &Macro) {
        self.block(&definition.body);
    }
    /// A function.
    fn function(&mut self, function: &Function) {
        walk_function(self, function);
    }
    /// A map declaration.
    fn map_decl(&mut self, _decl: &MapDecl) {}
    /// A block.
    fn block(&mut self, block: &Block) {
        walk_block(self, block);
    }
    /// A statement.
    fn stmt(&mut self, stmt: &Stmt) {
        walk_stmt(self, stmt);
    }
    /// An expression.
    fn expr(&mut self, expr: &Expr) {
        walk_expr(self, expr);
    }
    /// A type.
    fn type_ref(&mut self, ty: &TypeRef) {
        walk_type_ref(self, ty);
    }
}

/// Everything in the program.
pub fn walk_program(visitor: &mut impl Visitor, program: &Program) {
    for item in &program.items {
        match item {
            Item::Probe(probe) => visitor.probe(probe),
            Item::Macro(definition) => visitor.macro_definition(definition),
            Item::Function(function) => visitor.function(function),
            Item::MapDecl(decl) => visitor.map_decl(decl),
        }
    }
}

/// The parts of a probe.
pub fn walk_probe(visitor: &mut impl Visitor, probe: &Probe) {
    for point in &probe.attach_points {
        visitor.attach_point(point);
    }
    if let Some(predicate) = &probe.predicate {
        visitor.expr(predicate);
    }
    visitor.block(&probe.body);
}

/// The parts of a function.
pub fn walk_function(visitor: &mut impl Visitor, function: &Function) {
    for param in &function.params {
        visitor.type_ref(&param.ty);
    }
    visitor.type_ref(&function.returns);
    visitor.block(&function.body);
}

/// The statements of a block, and its value.
pub fn walk_block(visitor: &mut impl Visitor, block: &Block) {
    for stmt in &block.stmts {
        visitor.stmt(stmt);
    }
    if let Some(value) = &block.value {
        visitor.expr(value);
    }
}

/// The parts of a statement.
pub fn walk_stmt(visitor: &mut impl Visitor, stmt: &Stmt) {
    match &stmt.kind {
        StmtKind::Expr(expr) | StmtKind::Discard(expr) | StmtKind::Return(Some(expr)) => {
            visitor.expr(expr);
        }
        StmtKind::Let { name: _, ty, value } => {
            if let Some(ty) = ty {
                visitor.type_ref(ty);
            }
            if let Some(value) = value {
                visitor.expr(value);
            }
        }
        StmtKind::Assign { target, op: _, value } => {
            visitor.expr(target);
            visitor.expr(value);
        }
        StmtKind::While { cond: head, body } | StmtKind::Unroll { count: head, body } => {
            visitor.expr(head);
            visitor.block(body);
        }
        StmtKind::For { var: _, iter, body } => {
            if let Iterable::Range { start, end } = iter {
                visitor.expr(start);
                visitor.expr(end);
            }
            visitor.block(body);
        }
        StmtKind::Break
        | StmtKind::Continue
        | StmtKind::Return(None)
        | StmtKind::Import(_)
        | StmtKind::Error => {}
    }
}

/// The parts of an expression.
pub fn walk_expr(visitor: &mut impl Visitor, expr: &Expr) {
    match &expr.kind {
        ExprKind::MapElement { map: _, key } => visitor.expr(key),
        ExprKind::Call { callee: _, args } => args.iter().for_each(|arg| visitor.expr(arg)),
        ExprKind::Field { base: inner, .. }
        | ExprKind::TupleField { base: inner, .. }
        | ExprKind::Unary { operand: inner, .. }
        | ExprKind::Comptime(inner) => visitor.expr(inner),
        ExprKind::Index { base, index } => {
            visitor.expr(base);
            visitor.expr(index);
        }
        ExprKind::Cast { ty, operand } => {
            visitor.type_ref(ty);
            visitor.expr(operand);
        }
        ExprKind::Binary { op: _, left, right } => {
            visitor.expr(left);
            visitor.expr(right);
        }
        ExprKind::Ternary { cond, then, otherwise } => {
            visitor.expr(cond);
            if let Some(then) = then {
                visitor.expr(then);
            }
            visitor.expr(otherwise);
        }
        ExprKind::If { cond, then, otherwise } => {
            visitor.expr(cond);
            visitor.block(then);
            if let Some(otherwise) = otherwise {
                visitor.expr(otherwise);
            }
        }
        ExprKind::Block(block) => visitor.block(block),
        ExprKind::Tuple(elements) => elements.iter().for_each(|element| visitor.expr(element)),
        ExprKind::Record(fields) => fields.iter().for_each(|field| visitor.expr(&field.value)),
        ExprKind::Sizeof(of) | ExprKind::Typeinfo(of) | ExprKind::Offsetof { of, fields: _ } => {
            walk_type_or_expr(visitor, of);
        }
        ExprKind::Type(ty) => visitor.type_ref(ty),
        ExprKind::Int(_)
        | ExprKind::Bool(_)
        | ExprKind::Str(_)
        | ExprKind::Positional(_)
        | ExprKind::PositionalCount
        | ExprKind::Var(_)
        | ExprKind::Map(_)
        | ExprKind::Ident(_)
        | ExprKind::Error => {}
    }
}

/// The parts of a type.
pub fn walk_type_ref(visitor: &mut impl Visitor, ty: &TypeRef) {
    match &ty.kind {
        TypeRefKind::Pointer(inner) | TypeRefKind::Array { element: inner, .. } => {
            visitor.type_ref(inner);
        }
        TypeRefKind::Typeof(of) => walk_type_or_expr(visitor, of),
        TypeRefKind::Named(_)
        | TypeRefKind::Struct(_)
        | TypeRefKind::Union(_)
        | TypeRefKind::Enum(_) => {}
    }
}

fn walk_type_or_expr(visitor: &mut impl Visitor, of: &TypeOrExpr) {
    match of {
        TypeOrExpr::Type(ty) => visitor.type_ref(ty),
        TypeOrExpr::Expr(expr) => visitor.expr(expr),
    }
}
