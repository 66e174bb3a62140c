//! Passes over the IR, one idea a module. Each takes a function that keeps the rules of
//! [`crate::ir::verify`] and leaves one that does.

pub mod cfg_cleanup;
pub mod copy_propagation;
pub mod dce;
pub mod dead_stores;
pub mod eval;
pub mod expand;
pub mod fold;
pub mod gvn;
pub mod promote;

use crate::Target;
use crate::ir::{Function, Module};

/// How often the scalar passes run at most: each round opens new chances, with quickly falling
/// returns.
const ROUNDS: usize = 4;

/// Runs all passes in order.
pub fn optimize(module: &mut Module, target: Target) {
    for func in &mut module.functions {
        cfg_cleanup::run(func);
        fold::run(func);
        promote::run(func);
        scalar(func);
        dead_stores::run(func);
        expand::run(func, target);
        dead_stores::run(func);
        scalar(func);
    }
}

/// Until nothing changes, but not forever.
fn scalar(func: &mut Function) {
    for _ in 0..ROUNDS {
        let mut changed = copy_propagation::run(func);
        changed |= fold::run(func);
        changed |= gvn::run(func);
        changed |= cfg_cleanup::run(func);
        changed |= dce::run(func);
        if !changed {
            break;
        }
    }
}

/// A pass by name, for tests and tools that look at one alone.
pub fn by_name(name: &str) -> Option<fn(&mut Function, Target) -> bool> {
    Some(match name {
        "cfg_cleanup" => |func, _| cfg_cleanup::run(func),
        "copy_propagation" => |func, _| copy_propagation::run(func),
        "dce" => |func, _| dce::run(func),
        "dead_stores" => |func, _| dead_stores::run(func),
        "expand" => expand::run,
        "fold" => |func, _| fold::run(func),
        "gvn" => |func, _| gvn::run(func),
        "promote" => |func, _| promote::run(func),
        _ => return None,
    })
}
