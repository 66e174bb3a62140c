//! CFG clean-up: branches on numbers, jump threading, if-conversion of empty diamonds, merging of
//! blocks, one block a returned number, and removal of blocks that are not reached.

use std::collections::HashMap;

use crate::ir::{
    Block, BlockData, Cfg, Cond, Function, Inst, Op, Replacements, Target, Term, Value,
};

use super::eval;

/// Most block arguments that a diamond is turned into selects for.
const MAX_SELECTS: usize = 2;

/// Cleans up; says whether anything changed.
pub fn run(func: &mut Function) -> bool {
    let mut changed = share_returns(func);
    loop {
        let mut again = simplify_branches(func);
        again |= thread_jumps(func);
        again |= remove_unreachable(func);
        again |= merge_blocks(func);
        if !again {
            return changed;
        }
        changed = true;
    }
}

/// The numbers among the values.
fn numbers(func: &Function) -> Vec<Option<i64>> {
    let number = |def: &Option<&Op>| match def {
        Some(Op::Const(number)) => Some(*number),
        _ => None,
    };
    func.definitions().iter().map(number).collect()
}

/// Branches whose way is known, or whose ways are the same, become jumps.
fn simplify_branches(func: &mut Function) -> bool {
    let numbers = numbers(func);
    let mut changed = false;
    for i in 0..func.layout.len() {
        let block = func.layout[i];
        let Some(Term::Branch(test, then, otherwise)) = func.term_mut(block) else { continue };
        let test = *test;
        let target = match numbers[test.index()] {
            Some(0) => otherwise.clone(),
            Some(_) => then.clone(),
            None if then == otherwise => then.clone(),
            None => {
                changed |= select_arguments(func, block);
                continue;
            }
        };
        func.blocks[block.index()].term = Some(Term::Jump(target));
        changed = true;
    }
    changed
}

/// A branch to one block with different arguments becomes selects and a jump.
fn select_arguments(func: &mut Function, block: Block) -> bool {
    let Some(Term::Branch(test, then, otherwise)) = func.term_mut(block) else { return false };
    if then.block != otherwise.block {
        return false;
    }
    let different = then.args.iter().zip(&otherwise.args).filter(|(a, b)| a != b).count();
    if different > MAX_SELECTS {
        return false;
    }
    let (test, then, otherwise) = (*test, then.clone(), otherwise.clone());
    let line = func.blocks[block.index()].term_line;
    let mut args = Vec::with_capacity(then.args.len());
    for (&a, &b) in then.args.iter().zip(&otherwise.args) {
        if a == b {
            args.push(a);
            continue;
        }
        let result = func.new_value();
        let op = Op::Select(test, a, b);
        func.blocks[block.index()].insts.push(Inst { result: Some(result), op, line });
        args.push(result);
    }
    let target = Target { block: then.block, args };
    func.blocks[block.index()].term = Some(Term::Jump(target));
    true
}

/// What an empty block does with its parameters.
enum Passage {
    /// Goes on.
    Jump(Target),
    /// Goes on by a parameter (position): `cond number` or, without, not zero.
    Branch(usize, Option<(Cond, i64)>, Target, Target),
}

/// Ways through blocks that do nothing go directly to where those go.
fn thread_jumps(func: &mut Function) -> bool {
    let numbers = numbers(func);
    let escaping = blocks_with_values_used_elsewhere(func);
    let passages: Vec<Option<Passage>> = (0..func.blocks.len())
        .map(|i| if escaping[i] { None } else { passage(&func.blocks[i], &numbers) })
        .collect();
    let mut changed = false;
    for i in 0..func.layout.len() {
        let block = func.layout[i];
        let Some(mut term) = func.blocks[block.index()].term.take() else { continue };
        for target in term.targets_mut() {
            // A circle of empty blocks is an endless loop, which stays one.
            for _ in 0..func.layout.len() {
                let Some(passage) = &passages[target.block.index()] else { break };
                let params = &func.blocks[target.block.index()].params;
                let Some(next) = follow(passage, params, &target.args, &numbers) else { break };
                if next.block == target.block {
                    break;
                }
                *target = next;
                changed = true;
            }
        }
        func.blocks[block.index()].term = Some(term);
    }
    changed
}

fn passage(data: &BlockData, numbers: &[Option<i64>]) -> Option<Passage> {
    let param = |value: Value| data.params.iter().position(|&param| param == value);
    match (data.insts.iter().filter(|inst| !matches!(inst.op, Op::Const(_))).count(), &data.term) {
        (0, Some(Term::Jump(target))) if data.insts.is_empty() => {
            Some(Passage::Jump(target.clone()))
        }
        (0, Some(Term::Branch(test, then, otherwise))) if data.insts.is_empty() => {
            Some(Passage::Branch(param(*test)?, None, then.clone(), otherwise.clone()))
        }
        (1, Some(Term::Branch(test, then, otherwise))) => {
            let compare = data.insts.iter().find(|inst| inst.result == Some(*test))?;
            let Op::Compare(cond, a, b) = compare.op else { return None };
            let test = Some((cond, numbers[b.index()]?));
            let local: Vec<Value> = data.insts.iter().filter_map(|inst| inst.result).collect();
            if then.args.iter().chain(&otherwise.args).any(|arg| local.contains(arg)) {
                return None;
            }
            Some(Passage::Branch(param(a)?, test, then.clone(), otherwise.clone()))
        }
        _ => None,
    }
}

/// Where a way through an empty block ends up.
fn follow(
    passage: &Passage,
    params: &[Value],
    args: &[Value],
    numbers: &[Option<i64>],
) -> Option<Target> {
    let next = match passage {
        Passage::Jump(target) => target,
        Passage::Branch(param, test, then, otherwise) => {
            let number = numbers.get(args[*param].index()).copied().flatten()?;
            let (cond, with) = test.unwrap_or((Cond::Ne, 0));
            if eval::compare(cond, number, with) { then } else { otherwise }
        }
    };
    let substitute = |arg: &Value| match params.iter().position(|param| param == arg) {
        Some(i) => args[i],
        None => *arg,
    };
    Some(Target { block: next.block, args: next.args.iter().map(substitute).collect() })
}

/// By block: whether a value that it defines is used in another block, so that no way may go
/// round it.
fn blocks_with_values_used_elsewhere(func: &Function) -> Vec<bool> {
    let mut home = vec![Block(u32::MAX); func.values as usize];
    for &block in &func.layout {
        let data = &func.blocks[block.index()];
        let results = data.insts.iter().filter_map(|inst| inst.result);
        for value in data.params.iter().copied().chain(results) {
            home[value.index()] = block;
        }
    }
    let mut escaping = vec![false; func.blocks.len()];
    for &block in &func.layout {
        let mut used = |value: Value| {
            let home = home[value.index()];
            if home != block && home.0 != u32::MAX {
                escaping[home.index()] = true;
            }
        };
        for inst in &func.blocks[block.index()].insts {
            inst.op.for_each_arg(&mut used);
        }
        func.term(block).for_each_arg(&mut used);
    }
    escaping
}

fn remove_unreachable(func: &mut Function) -> bool {
    let cfg = Cfg::new(func);
    let before = func.layout.len();
    let blocks = &mut func.blocks;
    func.layout.retain(|&block| {
        let keep = cfg.is_reachable(block);
        if !keep {
            blocks[block.index()] = BlockData::default();
        }
        keep
    });
    func.layout.len() != before
}

/// A block with one predecessor that goes nowhere else becomes a part of it.
fn merge_blocks(func: &mut Function) -> bool {
    let cfg = Cfg::new(func);
    let mut replaced = Replacements::new(func);
    let mut gone = vec![false; func.blocks.len()];
    for &block in &cfg.rpo {
        if gone[block.index()] {
            continue;
        }
        while let Some(Term::Jump(target)) = &func.blocks[block.index()].term
            && cfg.preds[target.block.index()].len() == 1
            && target.block != block
        {
            let Target { block: next, args } = target.clone();
            let data = std::mem::take(&mut func.blocks[next.index()]);
            for (param, arg) in data.params.into_iter().zip(args) {
                replaced.insert(param, arg);
            }
            let into = &mut func.blocks[block.index()];
            into.insts.extend(data.insts);
            into.term = data.term;
            into.term_line = data.term_line;
            gone[next.index()] = true;
        }
    }
    if !gone.contains(&true) {
        return false;
    }
    func.layout.retain(|block| !gone[block.index()]);
    replaced.apply(func);
    true
}

/// Blocks that return the same number share one block that does.
fn share_returns(func: &mut Function) -> bool {
    let numbers = numbers(func);
    let mut by_number: HashMap<i64, Vec<Block>> = HashMap::new();
    let mut order = Vec::new();
    for &block in &func.layout {
        if let Term::Return(value) = func.term(block)
            && let Some(number) = numbers[value.index()]
        {
            let blocks = by_number.entry(number).or_insert_with(|| {
                order.push(number);
                Vec::new()
            });
            blocks.push(block);
        }
    }
    let mut changed = false;
    for number in order {
        let blocks = &by_number[&number];
        if blocks.len() < 2 {
            continue;
        }
        let result = func.new_value();
        let shared = Block(func.blocks.len() as u32);
        let line = func.blocks[blocks[0].index()].term_line;
        func.blocks.push(BlockData {
            params: Vec::new(),
            insts: vec![Inst { result: Some(result), op: Op::Const(number), line }],
            term: Some(Term::Return(result)),
            term_line: line,
        });
        func.layout.push(shared);
        for block in blocks {
            let target = Target { block: shared, args: Vec::new() };
            func.blocks[block.index()].term = Some(Term::Jump(target));
        }
        changed = true;
    }
    changed
}
