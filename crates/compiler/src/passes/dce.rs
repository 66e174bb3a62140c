//! Dead code removal: operations and block parameters that nothing needs.

use crate::ir::{Function, Op, Term, Value};

/// Removes them; says whether there were any.
pub fn run(func: &mut Function) -> bool {
    let live = live_values(func);
    let mut changed = false;
    for i in 0..func.layout.len() {
        let block = func.layout[i];
        let kept = |value: Value| live[value.index()];
        let data = &mut func.blocks[block.index()];
        let before = data.insts.len();
        data.insts.retain(|inst| inst.result.is_none_or(kept) || !inst.op.is_removable());
        changed |= data.insts.len() != before;
        if let Some(mut term) = data.term.take() {
            for target in term.targets_mut() {
                let params = &func.blocks[target.block.index()].params;
                // The parameters are still whole: they go below. The entry is no target.
                let mut position = 0;
                target.args.retain(|_| {
                    position += 1;
                    live[params[position - 1].index()]
                });
            }
            func.blocks[block.index()].term = Some(term);
        }
    }
    for &block in func.layout.iter().skip(1) {
        let params = &mut func.blocks[block.index()].params;
        let before = params.len();
        params.retain(|param| live[param.index()]);
        changed |= params.len() != before;
    }
    changed
}

/// By value: whether something with an effect needs it.
fn live_values(func: &Function) -> Vec<bool> {
    let mut live = vec![false; func.values as usize];
    let mut work = Vec::new();
    let mut sources: Vec<Source<'_>> = vec![Source::None; func.values as usize];
    // By block parameter, the arguments that flow into it.
    let mut inflow: Vec<Vec<Value>> = Vec::new();
    for &block in &func.layout {
        for &param in &func.blocks[block.index()].params {
            sources[param.index()] = Source::Param(inflow.len());
            inflow.push(Vec::new());
        }
    }
    let mut root = |value: Value, work: &mut Vec<Value>| {
        if !std::mem::replace(&mut live[value.index()], true) {
            work.push(value);
        }
    };
    for &block in &func.layout {
        let data = &func.blocks[block.index()];
        for inst in &data.insts {
            if let Some(result) = inst.result {
                sources[result.index()] = Source::Op(&inst.op);
            }
            if inst.result.is_none() || !inst.op.is_removable() {
                inst.op.for_each_arg(|value| root(value, &mut work));
            }
        }
        let term = func.term(block);
        if let Term::Branch(value, ..) | Term::Return(value) = term {
            root(*value, &mut work);
        }
        for target in term.targets() {
            let params = &func.blocks[target.block.index()].params;
            for (param, &arg) in params.iter().zip(&target.args) {
                if let Source::Param(i) = sources[param.index()] {
                    inflow[i].push(arg);
                }
            }
        }
    }
    while let Some(value) = work.pop() {
        match sources[value.index()] {
            Source::None => {}
            Source::Op(op) => op.for_each_arg(|arg| root(arg, &mut work)),
            Source::Param(i) => inflow[i].iter().for_each(|&arg| root(arg, &mut work)),
        }
    }
    live
}

#[derive(Clone, Copy)]
enum Source<'a> {
    None,
    Op(&'a Op),
    Param(usize),
}
