//! Comparing strings and other values in memory.

use bombus_compiler::ir::{BinaryOp, Block, Cond, LoadWidth, Value};

use super::function::{Address, Lower, access_size};
use crate::check::tree::{Expr, ExprKind};
use crate::types::Type;

impl Lower<'_, '_> {
    /// 1 when two values in memory are the same.
    pub(super) fn same_bytes(&mut self, left: &Expr, right: &Expr) -> Value {
        let (left, right) = match (&left.kind, &right.kind) {
            (ExprKind::Str(_), _) => (right, left),
            _ => (left, right),
        };
        if let ExprKind::Str(text) = &right.kind {
            return self.is_text(left, text);
        }
        let shorter = left.ty.size().min(right.ty.size());
        let (left_size, right_size) = (left.ty.size(), right.ty.size());
        let left = self.address(left);
        let right = self.address(right);
        let (differ, after) = (self.b.block(0), self.b.block(1));
        self.compare_memory(left, right, shorter, differ);
        // The longer one must end there as well.
        if left_size != right_size {
            let longer = if left_size > right_size { left } else { right };
            let next = self.b.load(LoadWidth::U8, longer.0, longer.1 + shorter as i32);
            let same = self.b.block(0);
            self.b.branch(next, differ, same);
            self.b.switch_to(same);
        }
        self.finish_comparison(differ, after)
    }

    /// 1 when a string is this text.
    fn is_text(&mut self, value: &Expr, text: &[u8]) -> Value {
        let size = value.ty.size() as usize;
        if text.len() >= size {
            self.effect(value);
            return self.b.iconst(0);
        }
        let from = self.address(value);
        let (differ, after) = (self.b.block(0), self.b.block(1));
        // The zero at the end belongs to it.
        let text: Vec<u8> = text.iter().copied().chain([0]).collect();
        let mut at = 0;
        while at < text.len() {
            let offset = from.1 + at as i32;
            let bytes = access_size(offset as u32, (text.len() - at) as u32) as usize;
            let mut word = [0; 8];
            word[..bytes].copy_from_slice(&text[at..at + bytes]);
            let ty = Type::Int { size: bytes as u8, signed: false };
            let found = self.load(&ty, (from.0, offset));
            let other = self.b.compare_imm(Cond::Ne, found, i64::from_le_bytes(word));
            let same = self.b.block(0);
            self.b.branch(other, differ, same);
            self.b.switch_to(same);
            at += bytes;
        }
        self.finish_comparison(differ, after)
    }

    /// Goes to `differ` unless so many bytes are the same.
    fn compare_memory(&mut self, left: Address, right: Address, size: u32, differ: Block) {
        let mut at = 0;
        // A long comparison is a loop over words.
        let words = size / 8;
        let aligned = (left.1 | right.1) % 8 == 0;
        if words > 8 && aligned {
            let (left, right) = (self.pointer(left), self.pointer(right));
            self.count_to(words, |lower, word, _| {
                let offset = lower.b.binary_imm(BinaryOp::Shl, word, 3);
                let left = lower.b.binary(BinaryOp::Add, left, offset);
                let right = lower.b.binary(BinaryOp::Add, right, offset);
                lower.compare_word(&Type::U64, (left, 0), (right, 0), differ);
            });
            at = words * 8;
        }
        while at < size {
            let bytes = access_size((left.1 | right.1) as u32 | at, size - at);
            let ty = Type::Int { size: bytes as u8, signed: false };
            let offset = at as i32;
            self.compare_word(&ty, (left.0, left.1 + offset), (right.0, right.1 + offset), differ);
            at += bytes;
        }
    }

    fn compare_word(&mut self, ty: &Type, left: Address, right: Address, differ: Block) {
        let (left, right) = (self.load(ty, left), self.load(ty, right));
        let other = self.b.compare(Cond::Ne, left, right);
        let same = self.b.block(0);
        self.b.branch(other, differ, same);
        self.b.switch_to(same);
    }

    /// 1 from here, 0 from `differ`.
    fn finish_comparison(&mut self, differ: Block, after: Block) -> Value {
        let one = self.b.iconst(1);
        self.b.jump(after, &[one]);
        self.b.switch_to(differ);
        let zero = self.b.iconst(0);
        self.b.jump(after, &[zero]);
        self.b.switch_to(after);
        self.b.param(after, 0)
    }

    /// 0 when the first `count` characters agree, or both end before; otherwise 1.
    pub(super) fn strncmp(&mut self, left: &Expr, right: &Expr, count: u32) -> Value {
        let (left_size, right_size) = (left.ty.size(), right.ty.size());
        let (left, right) = (self.own_address(left), self.own_address(right));
        let shorter = left_size.min(right_size);
        let rounds = count.min(shorter);
        let (differ, same, after) = (self.b.block(0), self.b.block(0), self.b.block(1));
        let (left, right) = (self.pointer(left), self.pointer(right));
        self.count_to(rounds, |lower, at, _| {
            let a = lower.b.binary(BinaryOp::Add, left, at);
            let b = lower.b.binary(BinaryOp::Add, right, at);
            let a = lower.b.load(LoadWidth::U8, a, 0);
            let b = lower.b.load(LoadWidth::U8, b, 0);
            let other = lower.b.compare(Cond::Ne, a, b);
            let (equal, more) = (lower.b.block(0), lower.b.block(0));
            lower.b.branch(other, differ, equal);
            lower.b.switch_to(equal);
            // Both strings end here.
            lower.b.branch(a, more, same);
            lower.b.switch_to(more);
        });
        // The shorter string's memory is used up without a zero: the longer one goes on unless it
        // ends here, too.
        if count > shorter && left_size != right_size {
            let longer = if left_size > right_size { left } else { right };
            let next = self.b.load(LoadWidth::U8, longer, shorter as i32);
            self.b.branch(next, differ, same);
        } else {
            self.b.jump(same, &[]);
        }
        for (block, value) in [(same, 0), (differ, 1)] {
            self.b.switch_to(block);
            let value = self.b.iconst(value);
            self.b.jump(after, &[value]);
        }
        self.b.switch_to(after);
        self.b.param(after, 0)
    }
}
