//! Expressions: numbers in registers, everything else in memory.

use bombus_compiler::ir::{BinaryOp, Block, Cond, LoadWidth, UnaryOp, Value};
use bombus_platform::Helper;

use super::function::{Address, Lower};
use crate::check::tree::{
    Arith, Builtin, Comparison, Expr, ExprKind, FieldAccess, Place, Unary, is_scalar,
};
use crate::types::Type;

impl Lower<'_, '_> {
    /// Evaluates for the effect.
    pub(super) fn effect(&mut self, expr: &Expr) {
        self.at(expr.span, |lower| match &expr.kind {
            ExprKind::Printf { format, args, kind } => lower.printf(format, args, *kind),
            ExprKind::PrintMap { map, top, div } => {
                lower.print_map(*map, top.as_deref(), div.as_deref());
            }
            ExprKind::PrintElement { map, key } => lower.print_element(*map, key),
            ExprKind::PrintValue(value) => lower.print_value(value),
            ExprKind::ClearMap(map) => lower.clear_map(*map),
            ExprKind::ZeroMap(map) => lower.zero_map(*map),
            ExprKind::Time(format) => lower.time(format),
            ExprKind::Join { array, user, separator } => lower.join(array, *user, separator),
            ExprKind::Exit(code) => lower.exit(code.as_deref()),
            ExprKind::If { cond, then, otherwise } => {
                let (yes, no, after) = (lower.b.block(0), lower.b.block(0), lower.b.block(0));
                let no_target = if otherwise.is_some() { no } else { after };
                lower.branch_on(cond, yes, no_target);
                lower.b.switch_to(yes);
                lower.effect(then);
                lower.jump(after);
                if let Some(otherwise) = otherwise {
                    lower.b.switch_to(no);
                    lower.effect(otherwise);
                    lower.jump(after);
                }
                lower.b.switch_to(after);
            }
            ExprKind::Block(body, value) => {
                lower.stmts(body);
                if let Some(value) = value {
                    lower.effect(value);
                }
            }
            ExprKind::Update { place, op, value, .. } => {
                lower.update(place, *op, value, false);
            }
            ExprKind::Delete(map, key) => {
                lower.delete(*map, key.as_deref());
            }
            _ if expr.is_scalar() => {
                lower.scalar(expr);
            }
            ExprKind::Tuple(parts) => parts.iter().for_each(|part| lower.effect(part)),
            // Reading memory and dropping it does nothing, but what is inside may.
            kind => kind.operands().into_iter().for_each(|operand| lower.effect(operand)),
        });
    }

    /// The value of a number, extended from its own width.
    pub(super) fn scalar(&mut self, expr: &Expr) -> Value {
        self.at(expr.span, |lower| lower.scalar_here(expr))
    }

    fn scalar_here(&mut self, expr: &Expr) -> Value {
        match &expr.kind {
            ExprKind::Int(value) => self.b.iconst(*value),
            ExprKind::Builtin(builtin) => self.builtin(*builtin),
            ExprKind::Field(place) => self.field_number(place, &expr.ty),
            ExprKind::Var(var) => self.load_var(*var),
            ExprKind::MapGet(map, key) => self.map_number(*map, key.as_deref(), &expr.ty),
            ExprKind::MapTotal(map, key) => match key {
                Some(key) => {
                    let key = self.key(*map, key);
                    self.total(*map, Some(key))
                }
                None => self.total(*map, None),
            },
            ExprKind::Unary(op, operand) => {
                let value = self.scalar(operand);
                let op = match op {
                    Unary::Not => return self.b.compare_imm(Cond::Eq, value, 0),
                    Unary::BitNot => UnaryOp::Not,
                    Unary::Neg => UnaryOp::Neg,
                };
                let value = self.b.unary(op, value);
                self.narrow(value, &expr.ty, &operand.ty)
            }
            ExprKind::Arith(op, left, right) => {
                let signed = is_signed(&expr.ty);
                let left = self.scalar(left);
                let right = self.scalar(right);
                self.arith(*op, signed, left, right)
            }
            ExprKind::Compare(op, left, right) => {
                let cond = condition(*op, is_signed(&left.ty));
                let left = self.scalar(left);
                let right = self.scalar(right);
                self.b.compare(cond, left, right)
            }
            ExprKind::SameBytes { negate, left, right } => {
                let same = self.same_bytes(left, right);
                match negate {
                    true => self.b.compare_imm(Cond::Eq, same, 0),
                    false => same,
                }
            }
            ExprKind::Strncmp(left, right, count) => self.strncmp(left, right, *count),
            ExprKind::And(..) | ExprKind::Or(..) => {
                let (yes, no, after) = (self.b.block(0), self.b.block(0), self.b.block(1));
                self.branch_on(expr, yes, no);
                for (block, value) in [(yes, 1), (no, 0)] {
                    self.b.switch_to(block);
                    let value = self.b.iconst(value);
                    self.b.jump(after, &[value]);
                }
                self.b.switch_to(after);
                self.b.param(after, 0)
            }
            ExprKind::If { cond, then, otherwise } => {
                let (yes, no, after) = (self.b.block(0), self.b.block(0), self.b.block(1));
                self.branch_on(cond, yes, no);
                self.b.switch_to(yes);
                let value = self.scalar(then);
                self.jump_with(after, value);
                self.b.switch_to(no);
                let value = match otherwise {
                    Some(otherwise) => self.scalar(otherwise),
                    None => self.b.iconst(0),
                };
                self.jump_with(after, value);
                self.b.switch_to(after);
                self.b.param(after, 0)
            }
            ExprKind::Block(body, value) => {
                self.stmts(body);
                match value {
                    Some(value) => self.scalar(value),
                    None => self.b.iconst(0),
                }
            }
            ExprKind::Convert(operand) => {
                let value = self.scalar(operand);
                self.narrow(value, &operand.ty, &expr.ty)
            }
            ExprKind::Part(base, at) => {
                let address = self.part_address(base, *at);
                self.load(&expr.ty, address)
            }
            ExprKind::CharAt(base, at) => {
                let (base, offset) = self.address(base);
                self.b.load(LoadWidth::S8, base, offset + *at as i32)
            }
            ExprKind::Update { place, op, value, old } => self.update(place, *op, value, *old),
            ExprKind::Read { address, user } => {
                let address = self.scalar(address);
                self.read_number(&expr.ty, address, *user)
            }
            ExprKind::HasKey(map, key) => {
                let found = self.lookup(*map, key);
                self.b.compare_imm(Cond::Ne, found, 0)
            }
            ExprKind::Delete(map, key) => self.delete(*map, key.as_deref()),
            ExprKind::Len(map) => self.len(*map),
            // The rest is no number.
            _ => {
                self.effect(expr);
                self.b.iconst(0)
            }
        }
    }

    /// Goes to one of two blocks.
    pub(super) fn branch_on(&mut self, cond: &Expr, yes: Block, no: Block) {
        self.at(cond.span, |lower| match &cond.kind {
            ExprKind::And(left, right) => {
                let both = lower.b.block(0);
                lower.branch_on(left, both, no);
                lower.b.switch_to(both);
                lower.branch_on(right, yes, no);
            }
            ExprKind::Or(left, right) => {
                let neither = lower.b.block(0);
                lower.branch_on(left, yes, neither);
                lower.b.switch_to(neither);
                lower.branch_on(right, yes, no);
            }
            ExprKind::Unary(Unary::Not, operand) => lower.branch_on(operand, no, yes),
            _ => {
                let test = lower.scalar(cond);
                lower.b.branch(test, yes, no);
            }
        });
    }

    fn arith(&mut self, op: Arith, signed: bool, left: Value, right: Value) -> Value {
        let op = match (op, signed) {
            (Arith::Add, _) => BinaryOp::Add,
            (Arith::Sub, _) => BinaryOp::Sub,
            (Arith::Mul, _) => BinaryOp::Mul,
            (Arith::Div, false) => BinaryOp::Udiv,
            (Arith::Div, true) => BinaryOp::Sdiv,
            (Arith::Rem, false) => BinaryOp::Urem,
            (Arith::Rem, true) => BinaryOp::Srem,
            (Arith::And, _) => BinaryOp::And,
            (Arith::Or, _) => BinaryOp::Or,
            (Arith::Xor, _) => BinaryOp::Xor,
            (Arith::Shl, _) => BinaryOp::Shl,
            // As in bpftrace, also of signed numbers.
            (Arith::Shr, _) => BinaryOp::Lshr,
        };
        self.b.binary(op, left, right)
    }

    /// `place = place op value`: gives what the place holds after, or held before.
    fn update(&mut self, place: &Place, op: Arith, value: &Expr, want_old: bool) -> Value {
        match place {
            Place::Var(var) => {
                let ty = self.action.vars[*var].ty.clone();
                let value = self.scalar(value);
                let old = self.load_var(*var);
                let new = self.updated(op, &ty, old, value);
                self.store_var(*var, new);
                if want_old { old } else { new }
            }
            Place::Map(map, key) => self.update_map(*map, key.as_deref(), op, value, want_old),
        }
    }

    /// The result of an update, as a place of this type holds it.
    pub(super) fn updated(&mut self, op: Arith, ty: &Type, old: Value, value: Value) -> Value {
        let signed = is_signed(ty);
        let wide = Type::Int { size: 8, signed };
        let new = self.arith(op, signed, old, value);
        self.narrow(new, &wide, ty)
    }

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
    fn own_address(&mut self, expr: &Expr) -> Address {
        let from = self.address(expr);
        if !matches!(expr.kind, ExprKind::Field(_)) {
            return from;
        }
        let to = self.temp(expr.ty.size());
        self.copy(to, from, expr.ty.size());
        to
    }

    fn part_address(&mut self, base: &Expr, at: usize) -> Address {
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
        let mut at = 0usize;
        while at < text.len() {
            let aligned = 1usize << (to.1 as usize + at | 8).trailing_zeros().min(3);
            let room = size as usize - at;
            let mut bytes = aligned;
            while bytes > room {
                bytes /= 2;
            }
            let mut word = [0; 8];
            for (to, from) in word[..bytes].iter_mut().zip(&text[at..]) {
                *to = *from;
            }
            let value = self.b.iconst(i64::from_le_bytes(word));
            self.b.store(bytes as u8, value, to.0, to.1 + at as i32);
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

    /// 1 when two values in memory are the same.
    fn same_bytes(&mut self, left: &Expr, right: &Expr) -> Value {
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
        let mut at = 0usize;
        while at < text.len() {
            let mut bytes = 1usize << (from.1 as usize + at | 8).trailing_zeros().min(3);
            while bytes > text.len() - at {
                bytes /= 2;
            }
            let mut word = [0; 8];
            word[..bytes].copy_from_slice(&text[at..at + bytes]);
            let ty = Type::Int { size: bytes as u8, signed: false };
            let found = self.load(&ty, (from.0, from.1 + at as i32));
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
            let place = (left.1 | right.1) as u32 | at | 8;
            let mut bytes = 1 << place.trailing_zeros().min(3);
            while bytes > size - at {
                bytes /= 2;
            }
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
    fn strncmp(&mut self, left: &Expr, right: &Expr, count: u32) -> Value {
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

/// Whether numbers of this type are signed.
pub(super) fn is_signed(ty: &Type) -> bool {
    matches!(ty, Type::Int { signed: true, .. })
}

fn condition(op: Comparison, signed: bool) -> Cond {
    match (op, signed) {
        (Comparison::Eq, _) => Cond::Eq,
        (Comparison::Ne, _) => Cond::Ne,
        (Comparison::Lt, false) => Cond::Ult,
        (Comparison::Le, false) => Cond::Ule,
        (Comparison::Gt, false) => Cond::Ugt,
        (Comparison::Ge, false) => Cond::Uge,
        (Comparison::Lt, true) => Cond::Slt,
        (Comparison::Le, true) => Cond::Sle,
        (Comparison::Gt, true) => Cond::Sgt,
        (Comparison::Ge, true) => Cond::Sge,
    }
}
