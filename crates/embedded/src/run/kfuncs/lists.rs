//! Lists of objects (`struct bpf_list_head`, `struct bpf_list_node`). A head has the first and the
//! last node, a node the next, the one before, and the list that it is in; at the ends is the head.

use bombus_vm::TrapKind;

use super::{Context, failure};

const NEXT: u64 = 0;
const PREVIOUS: u64 = 8;
const OWNER: u64 = 16;

/// Nodes that a list may have when it is taken apart: more than there are objects.
const MOST: usize = 1 << 20;

impl Context<'_, '_, '_> {
    /// The list at argument 0. What is all zeros is empty, too.
    fn list(&mut self) -> Result<u64, TrapKind> {
        let head = self.arg(0);
        if self.word(head + NEXT)? == 0 {
            self.set_word(head + NEXT, head)?;
            self.set_word(head + PREVIOUS, head)?;
        }
        Ok(head)
    }

    /// Puts a node behind another of the list, or at its start.
    fn link(&mut self, head: u64, node: u64, previous: u64) -> Result<u64, TrapKind> {
        let foreign = previous != head && self.word(previous + OWNER)? != head;
        if foreign || self.word(node + OWNER)? != 0 {
            self.give_back(node)?;
            return Ok(failure(libc::EINVAL));
        }
        let next = self.word(previous + NEXT)?;
        self.set_word(node + NEXT, next)?;
        self.set_word(node + PREVIOUS, previous)?;
        self.set_word(next + PREVIOUS, node)?;
        self.set_word(previous + NEXT, node)?;
        self.set_word(node + OWNER, head)?;
        Ok(0)
    }

    /// Takes a node out of the list; null when it is not in it.
    fn unlink(&mut self, head: u64, node: u64) -> Result<u64, TrapKind> {
        if node == head || self.word(node + OWNER)? != head {
            return Ok(0);
        }
        let (next, previous) = (self.word(node + NEXT)?, self.word(node + PREVIOUS)?);
        self.set_word(previous + NEXT, next)?;
        self.set_word(next + PREVIOUS, previous)?;
        self.set_word(node + NEXT, node)?;
        self.set_word(node + PREVIOUS, node)?;
        self.set_word(node + OWNER, 0)?;
        Ok(node)
    }

    /// The node at an end of the list.
    fn end(&mut self, end: u64) -> Result<u64, TrapKind> {
        let head = self.list()?;
        let node = self.word(head + end)?;
        Ok(if node == head { 0 } else { node })
    }

    fn is_end(&mut self, end: u64) -> Result<u64, TrapKind> {
        let (head, node) = (self.list()?, self.arg(1));
        let is_in = self.word(node + OWNER)? == head;
        Ok((is_in && self.word(head + end)? == node).into())
    }
}

/// `list_push_front(head, node)`.
pub(super) fn push_front(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let head = context.list()?;
    context.link(head, context.arg(1), head)
}

/// `list_push_back(head, node)`.
pub(super) fn push_back(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let head = context.list()?;
    let last = context.word(head + PREVIOUS)?;
    context.link(head, context.arg(1), last)
}

/// `list_add(head, node, previous)`.
pub(super) fn add(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let head = context.list()?;
    context.link(head, context.arg(1), context.arg(2))
}

pub(super) fn pop_front(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let head = context.list()?;
    let first = context.word(head + NEXT)?;
    context.unlink(head, first)
}

pub(super) fn pop_back(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let head = context.list()?;
    let last = context.word(head + PREVIOUS)?;
    context.unlink(head, last)
}

/// `list_del(head, node)`.
pub(super) fn del(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let head = context.list()?;
    context.unlink(head, context.arg(1))
}

pub(super) fn front(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    context.end(NEXT)
}

pub(super) fn back(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    context.end(PREVIOUS)
}

/// `list_is_first(head, node)`.
pub(super) fn is_first(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    context.is_end(NEXT)
}

/// `list_is_last(head, node)`.
pub(super) fn is_last(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    context.is_end(PREVIOUS)
}

pub(super) fn empty(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    Ok((context.end(NEXT)? == 0).into())
}

/// Takes a list apart that is about to go.
pub(super) fn drain(
    context: &mut Context<'_, '_, '_>,
    head: u64,
    out: &mut Vec<u64>,
) -> Result<(), TrapKind> {
    let mut node = context.word(head + NEXT)?;
    for _ in 0..MOST {
        if node == 0 || node == head {
            break;
        }
        let next = context.word(node + NEXT)?;
        context.set_word(node + OWNER, 0)?;
        out.push(node);
        node = next;
    }
    context.set_word(head + NEXT, 0)?;
    context.set_word(head + PREVIOUS, 0)
}
