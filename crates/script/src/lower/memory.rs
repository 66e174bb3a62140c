//! Values that are no numbers: writing them to memory, and finding where they lie.

use bombus_compiler::ir::{Cond, Value};
use bombus_platform::Helper;

use super::function::{Address, Lower, access_size};
use crate::check::tree::{Builtin, Expr, ExprKind, FieldAccess, is_scalar};
use crate::types::Type;

impl Lower<'_, '_> {
    /// Writes a value to memory; every byte of its type is defined afterwards, and strings are
    /// filled up with zeroes.
    pub(super) fn store(&mut self, expr: &Expr, to: Address) {
        self.at(expr.span, |lower| lower.store_here(expr, to));
    }

    fn store_here(&mut self, expr: &Expr, to: Address) {
        if expr.is_scalar() {
            let value = self.scalar(expr);
            self.store_number(&expr.ty, value, to);
            return;
        }
        let size = expr.ty.size();
        match &expr.kind {
            ExprKind::Str(bytes) => self.store_text(bytes, size, to),
            ExprKind::Builtin(Builtin::Comm) => {
                let to = self.pointer(to);
                if !self.assembly.env.features.pads_comm() {
                    self.b.zero(to, 0, size);
                }
                let size = self.b.iconst(i64::from(size));
                self.b.call_helper(Helper::GetCurrentComm, &[to, size]);
            }
            ExprKind::MapGet(map, key) => self.map_memory(*map, key.as_deref(), &expr.ty, to),
            ExprKind::If { cond, then, otherwise } => {
                let (yes, no, after) = (self.b.block(0), self.b.block(0), self.b.block(0));
                self.branch_on(cond, yes, no);
                self.b.switch_to(yes);
                self.store(then, to);
                self.jump(after);
                self.b.switch_to(no);
                if let Some(otherwise) = otherwise {
                    self.store(otherwise, to);
                }
                self.jump(after);
                self.b.switch_to(after);
            }
            ExprKind::Block(body, value) => {
                self.stmts(body);
                if let Some(value) = value {
                    self.store(value, to);
                }
            }
            ExprKind::Tuple(parts) => {
                self.zero_padding(&expr.ty, to);
                for (part, offset) in parts.iter().zip(expr.ty.offsets()) {
                    self.store(part, (to.0, to.1 + offset as i32));
                }
            }
            ExprKind::Convert(operand) => match (&operand.ty, &expr.ty) {
                (Type::Str { size: own }, Type::Str { .. }) if *own <= size => {
                    let (own, rest) = (*own, size - *own);
                    self.store(operand, to);
                    self.zero((to.0, to.1 + own as i32), rest);
                }
                _ => {
                    let from = self.address(operand);
                    self.convert(&operand.ty, from, &expr.ty, to);
                }
            },
            ExprKind::ReadStr { address, user, len } => {
                self.zero(to, size);
                self.read_str(address, *user, len.as_deref(), size, to);
            }
            ExprKind::ReadBuf { address, user, len } => {
                let address = self.scalar(address);
                let data = (to.0, to.1 + 4);
                let limit = size - 4;
                self.zero(data, limit);
                let len = self.limited(len.as_deref(), limit);
                self.b.store(4, len, to.0, to.1);
                let helper = if *user { Helper::ProbeReadUser } else { Helper::ProbeReadKernel };
                let data = self.pointer(data);
                self.b.call_helper(helper, &[data, len, address]);
            }
            ExprKind::Bytes(operand) => {
                let count = size - 4;
                let from = self.address(operand);
                let len = self.b.iconst(i64::from(count));
                self.b.store(4, len, to.0, to.1);
                self.copy((to.0, to.1 + 4), from, count);
            }
            ExprKind::Inet { family, address } => {
                let family = self.scalar(family);
                self.b.store(8, family, to.0, to.1);
                let bytes = address.ty.size().min(16);
                if is_scalar(&address.ty) {
                    let value = self.scalar(address);
                    self.b.store(8, value, to.0, to.1 + 8);
                    self.b.zero(to.0, to.1 + 16, 8);
                } else {
                    let from = self.address(address);
                    self.copy((to.0, to.1 + 8), from, bytes);
                    self.b.zero(to.0, to.1 + 8 + bytes as i32, 16 - bytes);
                }
            }
            ExprKind::Timestamp(format, nanoseconds) => {
                let format = self.assembly.string_index(*format);
                let format = self.b.iconst(i64::from(format));
                self.b.store(8, format, to.0, to.1);
                let nanoseconds = self.scalar(nanoseconds);
                self.b.store(8, nanoseconds, to.0, to.1 + 8);
            }
            _ => {
                let from = self.address(expr);
                self.copy(to, from, size);
            }
        }
    }

    /// Where a value that is no number lies in memory; a copy when it lies nowhere yet.
    pub(super) fn address(&mut self, expr: &Expr) -> Address {
        match &expr.kind {
            ExprKind::Var(var) => self.var_address(*var),
            ExprKind::Part(base, at) => self.part_address(base, *at),
            ExprKind::Field(place) if place.access == FieldAccess::Bytes => {
                self.field_address(place)
            }
            // What takes no memory is never looked at.
            _ if expr.ty.size() == 0 => self.temp(8),
            _ => {
                let to = self.temp(expr.ty.size());
                self.store(expr, to);
                to
            }
        }
    }

    /// As [`Self::address`], but in memory where the program may go to any place.
    pub(super) fn own_address(&mut self, expr: &Expr) -> Address {
        let from = self.address(expr);
        if !matches!(expr.kind, ExprKind::Field(_)) {
            return from;
        }
        let to = self.temp(expr.ty.size());
        self.copy(to, from, expr.ty.size());
        to
    }

    pub(super) fn part_address(&mut self, base: &Expr, at: usize) -> Address {
        let offset = base.ty.offsets().get(at).copied().unwrap_or(0);
        let (base, start) = self.address(base);
        (base, start + offset as i32)
    }

    /// Copies a value, as one of another type.
    fn convert(&mut self, from_ty: &Type, from: Address, to_ty: &Type, to: Address) {
        match (from_ty, to_ty) {
            (Type::Str { size: own }, Type::Str { size }) => {
                let shared = *own.min(size);
                self.copy(to, from, shared);
                if own < size {
                    self.zero((to.0, to.1 + shared as i32), size - shared);
                } else if own > size {
                    let zero = self.b.iconst(0);
                    self.b.store(1, zero, to.0, to.1 + shared as i32 - 1);
                }
            }
            (Type::Tuple(own), Type::Tuple(parts)) => {
                self.zero_padding(to_ty, to);
                let offsets = from_ty.offsets().into_iter().zip(to_ty.offsets());
                for ((own, part), (a, b)) in own.iter().zip(parts).zip(offsets) {
                    let (a, b) = ((from.0, from.1 + a as i32), (to.0, to.1 + b as i32));
                    self.convert(own, a, part, b);
                }
            }
            _ if is_scalar(from_ty) && is_scalar(to_ty) => {
                let value = self.load(from_ty, from);
                let value = self.narrow(value, from_ty, to_ty);
                self.store_number(to_ty, value, to);
            }
            _ => {
                let shared = from_ty.size().min(to_ty.size());
                self.copy(to, from, shared);
                let rest = to_ty.size() - shared;
                self.zero((to.0, to.1 + shared as i32), rest);
            }
        }
    }

    /// Zeroes what lies between the parts of a tuple.
    pub(super) fn zero_padding(&mut self, ty: &Type, to: Address) {
        let Type::Tuple(parts) = ty else { return };
        let mut end = 0;
        let holes = parts.iter().zip(ty.offsets()).map(|(part, start)| (part.size(), start));
        for (size, start) in holes.chain([(0, ty.size())]) {
            self.b.zero(to.0, to.1 + end as i32, start - end);
            end = start + size;
        }
    }

    /// Text as constants, filled up with zeroes.
    fn store_text(&mut self, text: &[u8], size: u32, to: Address) {
        let text = &text[..text.len().min(size.saturating_sub(1) as usize)];
        let mut at = 0;
        while at < text.len() {
            let offset = to.1 + at as i32;
            let bytes = access_size(offset as u32, size - at as u32) as usize;
            let mut word = [0; 8];
            for (to, from) in word[..bytes].iter_mut().zip(&text[at..]) {
                *to = *from;
            }
            let value = self.b.iconst(i64::from_le_bytes(word));
            self.b.store(bytes as u8, value, to.0, offset);
            at += bytes;
        }
        self.zero((to.0, to.1 + at as i32), size - at as u32);
    }

    /// Reads a string of the traced program or the kernel; it ends with a zero, and what follows
    /// stays as it was. When it cannot be read it is empty.
    pub(super) fn read_str(
        &mut self,
        address: &Expr,
        user: bool,
        len: Option<&Expr>,
        size: u32,
        to: Address,
    ) {
        let address = self.scalar(address);
        let len = self.limited(len, size);
        let helper = if user { Helper::ProbeReadUserStr } else { Helper::ProbeReadKernelStr };
        let to = self.pointer(to);
        self.b.call_helper(helper, &[to, len, address]);
    }

    /// A length of at most `limit`; `limit` itself when none is given.
    fn limited(&mut self, len: Option<&Expr>, limit: u32) -> Value {
        let limit = i64::from(limit);
        let Some(len) = len else { return self.b.iconst(limit) };
        let len = self.scalar(len);
        let over = self.b.compare_imm(Cond::Ugt, len, limit);
        let limit = self.b.iconst(limit);
        self.b.select(over, limit, len)
    }
}
