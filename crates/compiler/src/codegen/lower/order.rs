//! The order of blocks in the code.

use crate::ir::{Block, Cfg, Function, Target, Term};

/// A block to emit: one of the function's, or on an edge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    Block(Block),
    /// On the way from a branch: by its first target or by its second.
    Edge(Block, bool),
}

/// The blocks in the order of emission. A branch gets an edge block where its target takes
/// arguments or has other predecessors: only there can registers be moved.
pub(super) fn order(func: &Function, cfg: &Cfg) -> Vec<Origin> {
    let mut order = Vec::with_capacity(cfg.rpo.len() * 2);
    for (i, &block) in cfg.rpo.iter().enumerate() {
        order.push(Origin::Block(block));
        let Term::Branch(_, then, otherwise) = func.term(block) else { continue };
        let next = cfg.rpo.get(i + 1);
        let mut edges = Vec::new();
        for (target, is_then) in [(then, true), (otherwise, false)] {
            if needs_edge(cfg, target) {
                edges.push((next == Some(&target.block), Origin::Edge(block, is_then)));
            }
        }
        // What falls through to the next block comes last.
        edges.sort_by_key(|(falls_through, _)| *falls_through);
        order.extend(edges.into_iter().map(|(_, edge)| edge));
    }
    order
}

fn needs_edge(cfg: &Cfg, target: &Target) -> bool {
    !target.args.is_empty() || cfg.preds[target.block.index()].len() > 1
}
