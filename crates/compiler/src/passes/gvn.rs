//! Global value numbering over the dominator tree: an operation that was done on every way here is
//! not done again. Pure operations and helpers that answer the same all through a run; no loads.
//! Where a branch on `x == number` has led, `x` is the number.

use std::collections::HashMap;

use crate::ir::{Block, Cfg, Cond, Function, Inst, Op, Replacements, Term, Value};

/// Replaces repeated operations and known values; says whether there were any.
pub fn run(func: &mut Function) -> bool {
    let cfg = Cfg::new(func);
    let children = cfg.dominator_tree();
    let mut numbering = Numbering {
        replaced: Replacements::new(func),
        tests: vec![None; func.values as usize],
        is_number: vec![false; func.values as usize],
        known: HashMap::new(),
        added: Vec::new(),
        facts: Vec::new(),
        changed: false,
    };
    let mut work = vec![Step::Enter(cfg.rpo[0])];
    while let Some(step) = work.pop() {
        match step {
            Step::Leave(added, facts) => numbering.leave(added, facts),
            Step::Enter(block) => {
                work.push(Step::Leave(numbering.added.len(), numbering.facts.len()));
                work.extend(children[block.index()].iter().rev().map(|&child| Step::Enter(child)));
                if let [pred] = cfg.preds[block.index()][..] {
                    numbering.learn(func.term(pred), block);
                }
                numbering.block(func, block);
            }
        }
    }
    numbering.replaced.apply(func);
    numbering.changed
}

enum Step {
    Enter(Block),
    /// Forget all but the first so many operations and facts.
    Leave(usize, usize),
}

struct Numbering {
    replaced: Replacements,
    /// By value: the comparison that it is.
    tests: Vec<Option<(Cond, Value, Value)>>,
    /// By value.
    is_number: Vec<bool>,
    known: HashMap<Op, Value>,
    /// What each block on the path from the entry added to `known`.
    added: Vec<Op>,
    /// Values that are other values on this path.
    facts: Vec<(Value, Value)>,
    changed: bool,
}

impl Numbering {
    fn leave(&mut self, added: usize, facts: usize) {
        for op in self.added.drain(added..) {
            self.known.remove(&op);
        }
        self.facts.truncate(facts);
    }

    /// What a branch says where it has led to `block` and no other way does.
    fn learn(&mut self, term: &Term, block: Block) {
        let Term::Branch(test, then, otherwise) = term else { return };
        if then.block == otherwise.block {
            return;
        }
        let holds = then.block == block;
        let test = self.replaced.get(*test);
        let truth = match self.tests[test.index()] {
            Some((cond, a, b)) => {
                let is_equal = cond == if holds { Cond::Eq } else { Cond::Ne };
                if is_equal && self.is_number[b.index()] && !self.is_number[a.index()] {
                    self.facts.push((a, b));
                }
                Some(i64::from(holds))
            }
            None => (!holds).then_some(0),
        };
        if let Some(truth) = truth
            && let Some(&number) = self.known.get(&Op::Const(truth))
        {
            self.facts.push((test, number));
        }
    }

    fn current(&mut self, value: Value) -> Value {
        let value = self.replaced.get(value);
        match self.facts.iter().rev().find(|fact| fact.0 == value) {
            Some(&(_, number)) if number != value => {
                self.changed = true;
                number
            }
            _ => value,
        }
    }

    fn block(&mut self, func: &mut Function, block: Block) {
        let data = &mut func.blocks[block.index()];
        data.insts.retain_mut(|inst| self.keep(inst));
        if let Some(term) = &mut data.term {
            term.for_each_arg_mut(|value| *value = self.current(*value));
        }
    }

    /// Whether an operation is still needed.
    fn keep(&mut self, inst: &mut Inst) -> bool {
        inst.op.for_each_arg_mut(|value| *value = self.current(*value));
        let Some(result) = inst.result else { return true };
        match inst.op {
            Op::Compare(cond, a, b) => self.tests[result.index()] = Some((cond, a, b)),
            Op::Const(_) => self.is_number[result.index()] = true,
            _ => {}
        }
        if !inst.op.is_repeatable() {
            return true;
        }
        let key = key(&inst.op);
        if let Some(&earlier) = self.known.get(&key) {
            self.replaced.insert(result, earlier);
            self.changed = true;
            return false;
        }
        self.known.insert(key.clone(), result);
        self.added.push(key);
        true
    }
}

/// The operation as the table knows it: `a + b` and `b + a` are the same.
fn key(op: &Op) -> Op {
    match *op {
        Op::Binary(op, a, b) if op.is_commutative() => Op::Binary(op, a.min(b), a.max(b)),
        Op::Compare(cond, a, b) if a > b => Op::Compare(cond.swapped(), b, a),
        _ => op.clone(),
    }
}
