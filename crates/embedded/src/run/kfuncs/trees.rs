//! Ordered trees of objects (`struct bpf_rb_root`, `struct bpf_rb_node`). A root has the topmost node,
//! a node the one above it, its right and its left child, and the tree that it is in.
//!
//! The kernel's are red-black trees. These are treaps: a node is above those whose number, made of
//! the address, is smaller. Programs see the order, and a depth that is logarithmic, and no more.

use bombus_vm::TrapKind;

use super::{Context, failure};

const PARENT: u64 = 0;
const RIGHT: u64 = 8;
const LEFT: u64 = 16;
const OWNER: u64 = 24;

/// Steps that a walk may take: more than there are objects.
const MOST: usize = 1 << 20;

/// Which of two nodes is above.
fn weight(node: u64) -> u64 {
    let mixed = (node ^ node >> 29).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 32
}

const fn other(side: u64) -> u64 {
    if side == LEFT { RIGHT } else { LEFT }
}

impl Context<'_, '_, '_> {
    fn no_tree(&self) -> TrapKind {
        self.bad_argument(0, "is no tree")
    }

    /// Where the pointer to a node is, whose parent is known.
    fn link_to(&mut self, root: u64, parent: u64, node: u64) -> Result<u64, TrapKind> {
        match parent {
            0 => Ok(root),
            parent if self.word(parent + LEFT)? == node => Ok(parent + LEFT),
            parent => Ok(parent + RIGHT),
        }
    }

    /// Puts a node in the place of its parent, which becomes its child.
    fn rotate_up(&mut self, root: u64, node: u64) -> Result<(), TrapKind> {
        let parent = self.word(node + PARENT)?;
        let above = self.word(parent + PARENT)?;
        let side = if self.word(parent + LEFT)? == node { LEFT } else { RIGHT };
        let link = self.link_to(root, above, parent)?;
        let between = self.word(node + other(side))?;
        self.set_word(parent + side, between)?;
        if between != 0 {
            self.set_word(between + PARENT, parent)?;
        }
        self.set_word(node + other(side), parent)?;
        self.set_word(parent + PARENT, node)?;
        self.set_word(node + PARENT, above)?;
        self.set_word(link, node)
    }

    /// That argument 1 is in the tree that argument 0 is.
    fn is_in_tree(&mut self) -> Result<bool, TrapKind> {
        let (root, node) = (self.arg(0), self.arg(1));
        Ok(self.word(node + OWNER)? == root)
    }
}

/// `rbtree_add(root, node, less)`.
pub(super) fn add(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (root, node, less) = (context.arg(0), context.arg(1), context.arg(2));
    if context.word(node + OWNER)? != 0 {
        context.give_back(node)?;
        return Ok(failure(libc::EINVAL));
    }
    let (mut parent, mut link) = (0, root);
    for _ in 0..MOST {
        let below = context.word(link)?;
        if below == 0 {
            break;
        }
        parent = below;
        let program = context.call.program;
        let before = context.vm.callback(program, less, &[node, parent], context.run)? as u8 != 0;
        link = parent + if before { LEFT } else { RIGHT };
    }
    if context.word(link)? != 0 {
        return Err(context.no_tree());
    }
    context.set_word(node + PARENT, parent)?;
    context.set_word(node + LEFT, 0)?;
    context.set_word(node + RIGHT, 0)?;
    context.set_word(link, node)?;
    context.set_word(node + OWNER, root)?;
    for _ in 0..MOST {
        let parent = context.word(node + PARENT)?;
        if parent == 0 || weight(parent) >= weight(node) {
            break;
        }
        context.rotate_up(root, node)?;
    }
    Ok(0)
}

/// `rbtree_remove(root, node)`: null when it is not in it.
pub(super) fn remove(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (root, node) = (context.arg(0), context.arg(1));
    if !context.is_in_tree()? {
        return Ok(0);
    }
    for _ in 0..MOST {
        let (left, right) = (context.word(node + LEFT)?, context.word(node + RIGHT)?);
        match (left, right) {
            (0, child) | (child, 0) => {
                let parent = context.word(node + PARENT)?;
                let link = context.link_to(root, parent, node)?;
                context.set_word(link, child)?;
                if child != 0 {
                    context.set_word(child + PARENT, parent)?;
                }
                for word in [PARENT, LEFT, RIGHT, OWNER] {
                    context.set_word(node + word, 0)?;
                }
                return Ok(node);
            }
            _ => {
                let above = if weight(left) >= weight(right) { left } else { right };
                context.rotate_up(root, above)?;
            }
        }
    }
    Err(context.no_tree())
}

/// `rbtree_first(root)`.
pub(super) fn first(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let mut node = context.word(context.arg(0))?;
    for _ in 0..MOST {
        let left = if node == 0 { 0 } else { context.word(node + LEFT)? };
        if left == 0 {
            return Ok(node);
        }
        node = left;
    }
    Err(context.no_tree())
}

/// `rbtree_root(root)`.
pub(super) fn root(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    context.word(context.arg(0))
}

/// `rbtree_left(root, node)`.
pub(super) fn left(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    if context.is_in_tree()? { context.word(context.arg(1) + LEFT) } else { Ok(0) }
}

/// `rbtree_right(root, node)`.
pub(super) fn right(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    if context.is_in_tree()? { context.word(context.arg(1) + RIGHT) } else { Ok(0) }
}

/// Takes a tree apart that is about to go.
pub(super) fn drain(
    context: &mut Context<'_, '_, '_>,
    root: u64,
    out: &mut Vec<u64>,
) -> Result<(), TrapKind> {
    let start = out.len();
    let mut open = vec![context.word(root)?];
    while let Some(node) = open.pop() {
        if node == 0 || out.len() - start >= MOST {
            continue;
        }
        open.push(context.word(node + LEFT)?);
        open.push(context.word(node + RIGHT)?);
        context.set_word(node + OWNER, 0)?;
        out.push(node);
    }
    context.set_word(root, 0)?;
    context.set_word(root + 8, 0)
}
