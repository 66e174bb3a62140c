//! Global value numbering over the dominator tree: an operation that was done on every way here is
//! not done again. Pure operations and helpers that answer the same all through a run; no loads.

use std::collections::HashMap;

use crate::ir::{Block, Cfg, Function, Op, Replacements, Value};

/// Replaces repeated operations; says whether there were any.
pub fn run(func: &mut Function) -> bool {
    let cfg = Cfg::new(func);
    let children = cfg.dominator_tree();
    let mut replaced = Replacements::new(func);
    let mut known: HashMap<Op, Value> = HashMap::new();
    // What each block on the path from the entry added, to be forgotten when it is left.
    let mut added: Vec<Op> = Vec::new();
    let mut changed = false;
    let mut work = vec![Step::Enter(cfg.rpo[0])];
    while let Some(step) = work.pop() {
        match step {
            Step::Leave(keep) => added.drain(keep..).for_each(|op| {
                known.remove(&op);
            }),
            Step::Enter(block) => {
                work.push(Step::Leave(added.len()));
                work.extend(children[block.index()].iter().rev().map(|&child| Step::Enter(child)));
                let mut insts = std::mem::take(&mut func.blocks[block.index()].insts);
                let before = insts.len();
                insts.retain_mut(|inst| {
                    inst.op.for_each_arg_mut(|value| *value = replaced.get(*value));
                    let Some(result) = inst.result else { return true };
                    if !inst.op.is_repeatable() {
                        return true;
                    }
                    let key = key(&inst.op);
                    if let Some(&earlier) = known.get(&key) {
                        replaced.insert(result, earlier);
                        return false;
                    }
                    known.insert(key.clone(), result);
                    added.push(key);
                    true
                });
                changed |= insts.len() != before;
                func.blocks[block.index()].insts = insts;
            }
        }
    }
    replaced.apply(func);
    changed
}

enum Step {
    Enter(Block),
    /// Forget all but the first so many.
    Leave(usize),
}

/// The operation as the table knows it: `a + b` and `b + a` are the same.
fn key(op: &Op) -> Op {
    match *op {
        Op::Binary(op, a, b) if op.is_commutative() => Op::Binary(op, a.min(b), a.max(b)),
        Op::Compare(cond, a, b) if a > b => Op::Compare(cond.swapped(), b, a),
        _ => op.clone(),
    }
}
