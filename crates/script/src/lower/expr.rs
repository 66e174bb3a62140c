//! Expressions that are numbers, which live in registers, and those that do something.

use bombus_compiler::ir::{BinaryOp, Block, Cond, LoadWidth, UnaryOp, Value};

use super::function::Lower;
use crate::check::tree::{Arith, Comparison, Expr, ExprKind, Place, Unary};
use crate::types::Type;

/// What is said, and done, about a division by zero: as in bpftrace.
const DIVISION_BY_ZERO: &str = "Divide or modulo by 0 detected. This can lead to unexpected \
                                results. 1 is being used as the result.";

impl Lower<'_, '_> {
    /// Evaluates for the effect.
    pub(super) fn effect(&mut self, expr: &Expr) {
        self.at(expr.span, |lower| match &expr.kind {
            ExprKind::Printf { format, args, kind } => lower.printf(format, args, *kind),
            ExprKind::PrintMap { map, top, div } => {
                lower.print_map(*map, top.as_deref(), div.as_deref());
            }
            ExprKind::PrintElement { map, key } => lower.print_element(*map, key),
            ExprKind::PrintValue(value) => lower.print_value(value),
            ExprKind::ClearMap(map) => lower.clear_map(*map),
            ExprKind::ZeroMap(map) => lower.zero_map(*map),
            ExprKind::Time(format) => lower.time(format),
            ExprKind::Join { array, user, separator } => lower.join(array, *user, separator),
            ExprKind::Exit(code) => lower.exit(code.as_deref()),
            ExprKind::If { cond, then, otherwise } => {
                let (yes, no, after) = (lower.b.block(0), lower.b.block(0), lower.b.block(0));
                let no_target = if otherwise.is_some() { no } else { after };
                lower.branch_on(cond, yes, no_target);
                lower.b.switch_to(yes);
                lower.effect(then);
                lower.jump(after);
                if let Some(otherwise) = otherwise {
                    lower.b.switch_to(no);
                    lower.effect(otherwise);
                    lower.jump(after);
                }
                lower.b.switch_to(after);
            }
            ExprKind::Block(body, value) => {
                lower.stmts(body);
                if let Some(value) = value {
                    lower.effect(value);
                }
            }
            ExprKind::Update { place, op, value, .. } => {
                lower.update(place, *op, value, false);
            }
            ExprKind::Delete(map, key) => {
                lower.delete(*map, key.as_deref());
            }
            _ if expr.is_scalar() => {
                lower.scalar(expr);
            }
            ExprKind::Tuple(parts) => parts.iter().for_each(|part| lower.effect(part)),
            // Reading memory and dropping it does nothing, but what is inside may.
            kind => kind.operands().into_iter().for_each(|operand| lower.effect(operand)),
        });
    }

    /// The value of a number, extended from its own width.
    pub(super) fn scalar(&mut self, expr: &Expr) -> Value {
        self.at(expr.span, |lower| lower.scalar_here(expr))
    }

    fn scalar_here(&mut self, expr: &Expr) -> Value {
        match &expr.kind {
            ExprKind::Int(value) => self.b.iconst(*value),
            ExprKind::Builtin(builtin) => self.builtin(*builtin),
            ExprKind::Field(place) => self.field_number(place, &expr.ty),
            ExprKind::Var(var) => self.load_var(*var),
            ExprKind::MapGet(map, key) => self.map_number(*map, key.as_deref(), &expr.ty),
            ExprKind::MapTotal(map, key) => match key {
                Some(key) => {
                    let key = self.key(*map, key);
                    self.total(*map, Some(key))
                }
                None => self.total(*map, None),
            },
            ExprKind::Unary(op, operand) => {
                let value = self.scalar(operand);
                let op = match op {
                    Unary::Not => return self.b.compare_imm(Cond::Eq, value, 0),
                    Unary::BitNot => UnaryOp::Not,
                    Unary::Neg => UnaryOp::Neg,
                };
                let value = self.b.unary(op, value);
                self.narrow(value, &expr.ty, &operand.ty)
            }
            ExprKind::Arith(op, left, right) => {
                let checked = !is_constant(right);
                let left = self.scalar(left);
                let right = self.scalar(right);
                self.arith(*op, left, right, checked)
            }
            ExprKind::Compare(op, left, right) => {
                let cond = condition(*op, is_signed(&left.ty));
                let left = self.scalar(left);
                let right = self.scalar(right);
                self.b.compare(cond, left, right)
            }
            ExprKind::SameBytes { negate, left, right } => {
                let same = self.same_bytes(left, right);
                match negate {
                    true => self.b.compare_imm(Cond::Eq, same, 0),
                    false => same,
                }
            }
            ExprKind::Strncmp(left, right, count) => self.strncmp(left, right, *count),
            ExprKind::And(..) | ExprKind::Or(..) => {
                let (yes, no, after) = (self.b.block(0), self.b.block(0), self.b.block(1));
                self.branch_on(expr, yes, no);
                for (block, value) in [(yes, 1), (no, 0)] {
                    self.b.switch_to(block);
                    let value = self.b.iconst(value);
                    self.b.jump(after, &[value]);
                }
                self.b.switch_to(after);
                self.b.param(after, 0)
            }
            ExprKind::If { cond, then, otherwise } => {
                let (yes, no, after) = (self.b.block(0), self.b.block(0), self.b.block(1));
                self.branch_on(cond, yes, no);
                self.b.switch_to(yes);
                let value = self.scalar(then);
                self.jump_with(after, value);
                self.b.switch_to(no);
                let value = match otherwise {
                    Some(otherwise) => self.scalar(otherwise),
                    None => self.b.iconst(0),
                };
                self.jump_with(after, value);
                self.b.switch_to(after);
                self.b.param(after, 0)
            }
            ExprKind::Block(body, value) => {
                self.stmts(body);
                match value {
                    Some(value) => self.scalar(value),
                    None => self.b.iconst(0),
                }
            }
            ExprKind::Convert(operand) => {
                let value = self.scalar(operand);
                self.narrow(value, &operand.ty, &expr.ty)
            }
            ExprKind::Part(base, at) => {
                let address = self.part_address(base, *at);
                self.load(&expr.ty, address)
            }
            ExprKind::CharAt(base, at) => {
                let (base, offset) = self.address(base);
                self.b.load(LoadWidth::S8, base, offset + *at as i32)
            }
            ExprKind::Update { place, op, value, old } => self.update(place, *op, value, *old),
            ExprKind::Read { address, user } => {
                let address = self.scalar(address);
                self.read_number(&expr.ty, address, *user)
            }
            ExprKind::HasKey(map, key) => {
                let found = self.lookup(*map, key);
                self.b.compare_imm(Cond::Ne, found, 0)
            }
            ExprKind::Delete(map, key) => self.delete(*map, key.as_deref()),
            ExprKind::Len(map) => self.len(*map),
            // The rest is no number.
            _ => {
                self.effect(expr);
                self.b.iconst(0)
            }
        }
    }

    /// Goes to one of two blocks.
    pub(super) fn branch_on(&mut self, cond: &Expr, yes: Block, no: Block) {
        self.at(cond.span, |lower| match &cond.kind {
            ExprKind::And(left, right) => {
                let both = lower.b.block(0);
                lower.branch_on(left, both, no);
                lower.b.switch_to(both);
                lower.branch_on(right, yes, no);
            }
            ExprKind::Or(left, right) => {
                let neither = lower.b.block(0);
                lower.branch_on(left, yes, neither);
                lower.b.switch_to(neither);
                lower.branch_on(right, yes, no);
            }
            ExprKind::Unary(Unary::Not, operand) => lower.branch_on(operand, no, yes),
            _ => {
                let test = lower.scalar(cond);
                lower.b.branch(test, yes, no);
            }
        });
    }

    /// `checked`: the divisor may be zero.
    fn arith(&mut self, op: Arith, left: Value, right: Value, checked: bool) -> Value {
        if checked && matches!(op, Arith::Div | Arith::Rem) {
            let possible = self.b.compare_imm(Cond::Ne, right, 0);
            return self.pick(
                possible,
                |lower| lower.arith(op, left, right, false),
                |lower| {
                    lower.runtime_error(DIVISION_BY_ZERO);
                    lower.b.iconst(1)
                },
            );
        }
        let op = match op {
            Arith::Add => BinaryOp::Add,
            Arith::Sub => BinaryOp::Sub,
            Arith::Mul => BinaryOp::Mul,
            // As in bpftrace, division and shifts to the right take every number for unsigned;
            // the checker warns of signed ones.
            Arith::Div => BinaryOp::Udiv,
            Arith::Rem => BinaryOp::Urem,
            Arith::And => BinaryOp::And,
            Arith::Or => BinaryOp::Or,
            Arith::Xor => BinaryOp::Xor,
            Arith::Shl => BinaryOp::Shl,
            Arith::Shr => BinaryOp::Lshr,
        };
        self.b.binary(op, left, right)
    }

    /// `place = place op value`: gives what the place holds after, or held before.
    fn update(&mut self, place: &Place, op: Arith, value: &Expr, want_old: bool) -> Value {
        match place {
            Place::Var(var) => {
                let ty = self.action.vars[*var].ty.clone();
                let checked = !is_constant(value);
                let right = self.scalar(value);
                let old = self.load_var(*var);
                let new = self.updated(op, &ty, old, right, checked);
                self.store_var(*var, new);
                if want_old { old } else { new }
            }
            Place::Map(map, key) => self.update_map(*map, key.as_deref(), op, value, want_old),
        }
    }

    /// The result of an update, as a place of this type holds it.
    /// `checked`: what it divides by may be zero.
    pub(super) fn updated(
        &mut self,
        op: Arith,
        ty: &Type,
        old: Value,
        value: Value,
        checked: bool,
    ) -> Value {
        let signed = is_signed(ty);
        let wide = Type::Int { size: 8, signed };
        let new = self.arith(op, old, value, checked);
        self.narrow(new, &wide, ty)
    }
}

/// Whether it is a number that is known now, and not zero.
pub(super) fn is_constant(expr: &Expr) -> bool {
    matches!(expr.kind, ExprKind::Int(value) if value != 0)
}

/// Whether numbers of this type are signed.
pub(super) fn is_signed(ty: &Type) -> bool {
    matches!(ty, Type::Int { signed: true, .. })
}

fn condition(op: Comparison, signed: bool) -> Cond {
    match (op, signed) {
        (Comparison::Eq, _) => Cond::Eq,
        (Comparison::Ne, _) => Cond::Ne,
        (Comparison::Lt, false) => Cond::Ult,
        (Comparison::Le, false) => Cond::Ule,
        (Comparison::Gt, false) => Cond::Ugt,
        (Comparison::Ge, false) => Cond::Uge,
        (Comparison::Lt, true) => Cond::Slt,
        (Comparison::Le, true) => Cond::Sle,
        (Comparison::Gt, true) => Cond::Sgt,
        (Comparison::Ge, true) => Cond::Sge,
    }
}
