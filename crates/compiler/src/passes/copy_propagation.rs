//! Copy propagation: block parameters that always get the same value become that value.

use crate::ir::{Cfg, Function, Op, Replacements, Value};

/// Replaces them; says whether there were any.
pub fn run(func: &mut Function) -> bool {
    let mut changed = false;
    while round(func) {
        changed = true;
    }
    changed
}

/// What flows into a parameter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inflow {
    Nothing,
    /// One value.
    One(Value),
    /// Different values, all this number.
    Number(i64),
    Many,
}

fn round(func: &mut Function) -> bool {
    let cfg = Cfg::new(func);
    let defs = func.definitions();
    let number = |value: Value| match defs[value.index()] {
        Some(Op::Const(number)) => Some(*number),
        _ => None,
    };
    let mut replaced = Replacements::new(func);
    // Parameter (block, position) that becomes a value or a number.
    let mut found = Vec::new();
    let mut inflow: Vec<Vec<Inflow>> =
        func.blocks.iter().map(|data| vec![Inflow::Nothing; data.params.len()]).collect();
    for &block in &cfg.rpo {
        for target in func.term(block).targets() {
            let params = &func.blocks[target.block.index()].params;
            for (i, (&arg, &param)) in target.args.iter().zip(params).enumerate() {
                if arg == param {
                    continue;
                }
                let seen = &mut inflow[target.block.index()][i];
                *seen = match *seen {
                    Inflow::Nothing => Inflow::One(arg),
                    Inflow::One(one) if one == arg => *seen,
                    Inflow::One(one) if number(one).is_some() && number(one) == number(arg) => {
                        Inflow::Number(number(one).unwrap_or_default())
                    }
                    Inflow::Number(one) if number(arg) == Some(one) => *seen,
                    _ => Inflow::Many,
                };
            }
        }
    }
    for &block in cfg.rpo.iter().skip(1) {
        for (i, &inflow) in inflow[block.index()].iter().enumerate() {
            let param = func.blocks[block.index()].params[i];
            match inflow {
                // Its definition dominates every predecessor, thus the block.
                Inflow::One(value) if replaced.get(value) != param => {
                    found.push((block, i, None));
                    replaced.insert(param, value);
                }
                Inflow::Number(number) => found.push((block, i, Some(number))),
                _ => {}
            }
        }
    }
    if found.is_empty() {
        return false;
    }
    // From the last position to the first, so that positions stay right.
    for &(block, i, number) in found.iter().rev() {
        let param = func.blocks[block.index()].params.remove(i);
        for data in &mut func.blocks {
            for target in data.term.iter_mut().flat_map(|term| term.targets_mut()) {
                if target.block == block {
                    target.args.remove(i);
                }
            }
        }
        if let Some(number) = number {
            let inst = crate::ir::Inst { result: Some(param), op: Op::Const(number), line: None };
            func.blocks[block.index()].insts.insert(0, inst);
        }
    }
    replaced.apply(func);
    true
}
