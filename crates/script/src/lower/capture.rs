//! Which variables the callbacks of loops share with the rest of the program.
//!
//! The kernel runs the body of some loops as a function of its own (`bpf_for_each_map_elem`,
//! `bpf_loop`). A variable that is used in more than one function lives in a frame whose address
//! every callback is given.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::tree::{Action, Builtin, Expr, ExprKind, Place, Stmt, StmtKind, VarId};

/// Rounds up to which a loop over a fixed range is written out as a loop in the program itself,
/// which the verifier then follows round by round.
const MAX_INLINE_ROUNDS: i64 = 64;

/// The variables that are shared.
#[derive(Default, Debug)]
pub(super) struct Captures {
    offsets: BTreeMap<VarId, i32>,
    callbacks: usize,
    /// Whether `probe` or `func` is asked for.
    pub(super) identity: bool,
}

impl Captures {
    /// Finds them. `bpf_loop`: whether the kernel has that helper.
    pub(super) fn of(action: &Action, bpf_loop: bool) -> Captures {
        let mut search = Search { bpf_loop, ..Search::default() };
        action.predicate.iter().for_each(|predicate| search.expr(predicate));
        search.block(&action.body);
        let shared = search.users.iter().filter(|(_, functions)| functions.len() > 1);
        let offsets = shared.enumerate().map(|(at, (&var, _))| (var, at as i32 * 8)).collect();
        Captures { offsets, callbacks: search.callbacks, identity: search.identity }
    }

    /// Where a variable stands among the shared ones; `None` when it is not shared.
    pub(super) fn offset(&self, var: VarId) -> Option<i32> {
        self.offsets.get(&var).copied()
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<(VarId, i32)> {
        self.offsets.iter().map(|(&var, &offset)| (var, offset)).collect()
    }

    /// Bytes of all of them.
    pub(super) fn size(&self) -> u32 {
        self.offsets.len() as u32 * 8
    }

    /// Whether there is any callback.
    pub(super) fn has_callbacks(&self) -> bool {
        self.callbacks > 0
    }
}

/// Whether the body of a loop over this range becomes a callback.
pub(super) fn range_is_callback(start: &Expr, end: &Expr, bpf_loop: bool) -> bool {
    let short = match (&start.kind, &end.kind) {
        (ExprKind::Int(start), ExprKind::Int(end)) => {
            end.saturating_sub(*start) <= MAX_INLINE_ROUNDS
        }
        _ => false,
    };
    bpf_loop && !short
}

#[derive(Default)]
struct Search {
    bpf_loop: bool,
    identity: bool,
    /// The functions, by number, that use a variable.
    users: BTreeMap<VarId, BTreeSet<usize>>,
    callbacks: usize,
    current: usize,
}

impl Search {
    fn uses(&mut self, var: VarId) {
        self.users.entry(var).or_default().insert(self.current);
    }

    /// What `visit` sees is a function of its own.
    fn callback(&mut self, visit: impl FnOnce(&mut Self)) {
        self.callbacks += 1;
        let outer = std::mem::replace(&mut self.current, self.callbacks);
        visit(self);
        self.current = outer;
    }

    fn block(&mut self, body: &[Stmt]) {
        for stmt in body {
            self.stmt(stmt);
        }
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Expr(value) => self.expr(value),
            StmtKind::Clear(var) => self.uses(*var),
            StmtKind::SetVar(var, value) => {
                self.uses(*var);
                self.expr(value);
            }
            StmtKind::SetMap { key, value, .. } => {
                key.iter().for_each(|key| self.expr(key));
                self.expr(value);
            }
            StmtKind::Aggregate { key, value, .. } => {
                key.iter().chain(value).for_each(|part| self.expr(part));
            }
            StmtKind::While { cond, body } => {
                self.expr(cond);
                self.block(body);
            }
            StmtKind::Unroll { body, .. } => self.block(body),
            StmtKind::ForRange { var, first, start, end, body } => {
                self.expr(start);
                self.expr(end);
                if range_is_callback(start, end, self.bpf_loop) {
                    self.uses(*first);
                    self.callback(|search| {
                        search.uses(*first);
                        search.uses(*var);
                        search.block(body);
                    });
                } else {
                    self.uses(*var);
                    self.block(body);
                }
            }
            StmtKind::ForMap { var, body, .. } => self.callback(|search| {
                search.uses(*var);
                search.block(body);
            }),
            StmtKind::Return(value) => value.iter().for_each(|value| self.expr(value)),
            StmtKind::Break | StmtKind::Continue => {}
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Var(var) => self.uses(*var),
            ExprKind::Builtin(Builtin::Probe | Builtin::Func) => self.identity = true,
            ExprKind::Update { place, value, .. } => {
                match place {
                    Place::Var(var) => self.uses(*var),
                    Place::Map(_, key) => key.iter().for_each(|key| self.expr(key)),
                }
                self.expr(value);
            }
            ExprKind::Block(body, value) => {
                self.block(body);
                value.iter().for_each(|value| self.expr(value));
            }
            kind => kind.operands().into_iter().for_each(|operand| self.expr(operand)),
        }
    }
}
