//! Statements and loops.

use bombus_compiler::ir::{BinaryOp, Cond, LoadWidth, UnaryOp, Value};
use bombus_platform::Helper;

use super::capture::range_is_callback;
use super::expr::is_signed;
use super::function::{LoopExits, Lower, frame};
use crate::check::tree::{Expr, MapId, Stmt, StmtKind, VarId, is_scalar};
use crate::plan::MapValue;
use crate::types::Type;

impl Lower<'_, '_> {
    /// Lowers statements up to the first that ends the block.
    pub(super) fn stmts(&mut self, body: &[Stmt]) {
        for stmt in body {
            self.at(stmt.span, |lower| lower.stmt(stmt));
        }
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Expr(expr) => self.effect(expr),
            StmtKind::Clear(var) => {
                let size = self.var_size(*var);
                let to = self.var_address(*var);
                self.zero(to, size);
            }
            StmtKind::SetVar(var, value) => self.set_var(*var, value),
            StmtKind::SetMap { map, key, value } => self.set_map(*map, key.as_ref(), value),
            StmtKind::Aggregate { map, key, value, call } => {
                self.at(*call, |lower| lower.aggregate(*map, key.as_ref(), value.as_ref()));
            }
            StmtKind::While { cond, body } => self.while_loop(cond, body),
            StmtKind::Unroll { count, body } => self.unroll(*count, body),
            StmtKind::ForRange { var, first, start, end, body } => {
                if range_is_callback(start, end, self.assembly.env.features.bpf_loop) {
                    self.range_callback(*var, *first, start, end, body);
                } else {
                    self.range_loop(*var, start, end, body);
                }
            }
            StmtKind::ForMap { var, map, body } => self.map_loop(*var, *map, body),
            StmtKind::Break => self.leave(|exits| exits.done, 1),
            StmtKind::Continue => self.leave(|exits| exits.next, 0),
            StmtKind::Return(value) => {
                let value = value.as_ref().map(|value| self.scalar(value));
                self.end_program(value);
            }
        }
    }

    fn var_size(&self, var: VarId) -> u32 {
        let ty = &self.action.vars[var].ty;
        if is_scalar(ty) { 8 } else { ty.size() }
    }

    fn set_var(&mut self, var: VarId, value: &Expr) {
        if value.is_scalar() {
            let value = self.scalar(value);
            self.store_var(var, value);
            return;
        }
        // `$a = ($a.1, $a.0)` reads what it writes.
        let safe = !mentions(value, var);
        let to = self.var_address(var);
        if safe {
            self.store(value, to);
        } else {
            let temp = self.temp(value.ty.size());
            self.store(value, temp);
            self.copy(to, temp, value.ty.size());
        }
    }

    /// Leaves the body of the innermost loop. In the body of a callback that is a return.
    fn leave(&mut self, exit: impl FnOnce(&LoopExits) -> bombus_compiler::ir::Block, stop: i64) {
        match self.loops.last() {
            Some(exits) => {
                let to = exit(exits);
                self.b.jump(to, &[]);
            }
            None => {
                let stop = self.b.iconst(stop);
                self.b.ret(stop);
            }
        }
        let unreached = self.b.block(0);
        self.b.switch_to(unreached);
    }

    fn while_loop(&mut self, cond: &Expr, body: &[Stmt]) {
        let (head, inside, done) = (self.b.block(0), self.b.block(0), self.b.block(0));
        self.b.jump(head, &[]);
        self.b.switch_to(head);
        self.branch_on(cond, inside, done);
        self.b.switch_to(inside);
        self.loops.push(LoopExits { next: head, done });
        self.stmts(body);
        self.loops.pop();
        self.jump(head);
        self.b.switch_to(done);
    }

    fn unroll(&mut self, count: u32, body: &[Stmt]) {
        // `break` and `continue` belong to a loop around it, if there is one.
        for _ in 0..count {
            self.stmts(body);
        }
    }

    fn range_loop(&mut self, var: VarId, start: &Expr, end: &Expr, body: &[Stmt]) {
        let ty = self.action.vars[var].ty.clone();
        let (start, end) = (self.scalar(start), self.scalar(end));
        let head = self.b.block(1);
        let (inside, next, done) = (self.b.block(0), self.b.block(0), self.b.block(0));
        self.b.jump(head, &[start]);
        self.b.switch_to(head);
        let at = self.b.param(head, 0);
        let cond = if is_signed(&ty) { Cond::Slt } else { Cond::Ult };
        let more = self.b.compare(cond, at, end);
        self.b.branch(more, inside, done);
        self.b.switch_to(inside);
        self.store_var(var, at);
        self.loops.push(LoopExits { next, done });
        self.stmts(body);
        self.loops.pop();
        self.jump(next);
        self.b.switch_to(next);
        let following = self.b.binary_imm(BinaryOp::Add, at, 1);
        self.b.jump(head, &[following]);
        self.b.switch_to(done);
    }

    /// A loop by `bpf_loop`: the verifier looks at the body once.
    fn range_callback(
        &mut self,
        var: VarId,
        first: VarId,
        start: &Expr,
        end: &Expr,
        body: &[Stmt],
    ) {
        let ty = self.action.vars[var].ty.clone();
        let (start, end) = (self.scalar(start), self.scalar(end));
        self.store_var(first, start);
        let callback = self.callback("for_range", 2, |lower, args| {
            let first = lower.load_var(first);
            let index = lower.b.unary(UnaryOp::Zext32, args[0]);
            let at = lower.b.binary(BinaryOp::Add, first, index);
            lower.store_var(var, at);
            lower.stmts(body);
            let go_on = lower.b.iconst(0);
            lower.b.ret(go_on);
        });
        let cond = if is_signed(&ty) { Cond::Slt } else { Cond::Ult };
        let some = self.b.compare(cond, start, end);
        self.when(some, |lower| {
            let rounds = lower.b.binary(BinaryOp::Sub, end, start);
            let callback = lower.b.func_addr(callback);
            let frame = lower.shared_frame();
            let flags = lower.b.iconst(0);
            let result = lower.b.call_helper(Helper::Loop, &[rounds, callback, frame, flags]);
            lower.check_result(Helper::Loop, result);
        });
        self.end_if_ended();
    }

    /// A loop over a map by `bpf_for_each_map_elem`.
    fn map_loop(&mut self, var: VarId, map: MapId, body: &[Stmt]) {
        let element = self.action.vars[var].ty.clone();
        let callback = self.callback("for_map", 4, |lower, args| {
            let (key, value) = (args[1], args[2]);
            lower.store_element(var, map, &element, key, value);
            lower.stmts(body);
            let go_on = lower.b.iconst(0);
            lower.b.ret(go_on);
        });
        let map = self.map(map);
        let callback = self.b.func_addr(callback);
        let frame = self.shared_frame();
        let flags = self.b.iconst(0);
        let result = self.b.call_helper(Helper::ForEachMapElem, &[map, callback, frame, flags]);
        self.check_result(Helper::ForEachMapElem, result);
        self.end_if_ended();
    }

    /// Key and value of an element to the loop's variable.
    fn store_element(&mut self, var: VarId, map: MapId, element: &Type, key: Value, value: Value) {
        let Type::Tuple(parts) = element else { return };
        let [key_ty, value_ty] = parts.as_slice() else { return };
        let to = self.var_address(var);
        let offsets = element.offsets();
        self.zero_padding(element, to);
        let at = |part: usize| (to.0, to.1 + offsets[part] as i32);
        self.copy(at(0), (key, 0), key_ty.size());
        if matches!(self.assembly.script.maps[map].value, MapValue::Plain(_)) {
            self.copy(at(1), (value, 0), value_ty.size());
        } else {
            // The value at hand is this CPU's.
            let own = self.temp(key_ty.size());
            self.copy(own, (key, 0), key_ty.size());
            let total = self.total(map, Some(own));
            self.store_number(value_ty, total, at(1));
        }
    }

    /// After a loop with a callback: whether its body ended the program.
    fn end_if_ended(&mut self) {
        let frame = self.shared_frame();
        let ended = self.b.load(LoadWidth::U64, frame, frame::ENDED);
        let (end, go_on) = (self.b.block(0), self.b.block(0));
        self.b.branch(ended, end, go_on);
        self.b.switch_to(end);
        let value = self.b.iconst(i64::from(self.in_callback));
        self.b.ret(value);
        self.b.switch_to(go_on);
    }
}

/// Whether an expression mentions a variable.
fn mentions(expr: &Expr, var: VarId) -> bool {
    use crate::check::tree::ExprKind;
    match &expr.kind {
        ExprKind::Var(other) => *other == var,
        ExprKind::Block(..) => true,
        kind => kind.operands().into_iter().any(|operand| mentions(operand, var)),
    }
}
