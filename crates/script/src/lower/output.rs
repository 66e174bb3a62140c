//! Records for user space: reserved in the ring buffer, filled in place, sent.

use bombus_compiler::ir::{BinaryOp, Cond, LoadWidth, MapRef, Value};
use bombus_platform::Helper;

use super::function::{Address, Lower};
use crate::check::tree::{Expr, ExprKind, MapId};
use crate::plan::{Action, PrintfKind, Slot};
use crate::types::Type;

/// What `join` takes at most (bpftrace: 16 strings of 1024 bytes).
const JOIN_STRINGS: u32 = 16;

/// The first eight bytes of a record name its action.
const HEADER: u32 = 8;

/// A value that goes into a record.
enum Ready<'e> {
    /// Nothing was done yet, and it is safe to evaluate it inside the record.
    Later(&'e Expr),
    /// A number.
    Number(Value),
    /// Anything else, in memory.
    Memory(Address),
}

impl Lower<'_, '_> {
    /// Reserves a record, lets `fill` write it, and sends it. Nothing in `fill` may end the
    /// program.
    fn record(&mut self, action: Action, size: u32, fill: impl FnOnce(&mut Self, Value)) {
        let events = self.assembly.events();
        let shows_place = match action {
            Action::Printf { kind, .. } => kind != PrintfKind::Out,
            Action::Time { .. } => true,
            _ => false,
        };
        let action = self.assembly.action(action, shows_place.then_some(self.span));
        let map = self.b.map_addr(MapRef(events));
        let size = self.b.iconst(i64::from(size.next_multiple_of(8)));
        let flags = self.b.iconst(0);
        let record = self.b.call_helper(Helper::RingbufReserve, &[map, size, flags]);
        let there = self.b.compare_imm(Cond::Ne, record, 0);
        self.either(
            there,
            |lower| {
                let action = lower.b.iconst(action as i64);
                lower.b.store(8, action, record, 0);
                fill(lower, record);
                let flags = lower.b.iconst(0);
                lower.b.call_helper(Helper::RingbufSubmit, &[record, flags]);
            },
            |lower| lower.lost_record(),
        );
    }

    /// What must be evaluated before a record is reserved: whatever has effects or loops.
    fn ready<'e>(&mut self, expr: &'e Expr) -> Ready<'e> {
        if is_simple(expr) {
            return Ready::Later(expr);
        }
        if expr.is_scalar() {
            return Ready::Number(self.scalar(expr));
        }
        let to = self.temp(expr.ty.size());
        self.store(expr, to);
        Ready::Memory(to)
    }

    fn write(&mut self, value: &Ready<'_>, ty: &Type, to: Address) {
        match value {
            Ready::Number(number) => self.store_number(ty, *number, to),
            Ready::Memory(from) => self.copy(to, *from, ty.size()),
            Ready::Later(expr) => match &expr.kind {
                // Straight into the record; what stands behind the zero does not matter there.
                ExprKind::ReadStr { address, user, len } => {
                    if len.is_some() {
                        // With a length of 0 nothing is read.
                        let zero = self.b.iconst(0);
                        self.b.store(1, zero, to.0, to.1);
                    }
                    self.at(expr.span, |lower| {
                        lower.read_str(address, *user, len.as_deref(), ty.size(), to);
                    });
                }
                _ => self.store(expr, to),
            },
        }
    }

    pub(super) fn printf(&mut self, format: &str, args: &[Expr], kind: PrintfKind) {
        let mut end = HEADER;
        let mut slots = Vec::new();
        for arg in args {
            let ty = self.record_type(arg);
            let offset = end.next_multiple_of(ty.align());
            end = offset + ty.size();
            slots.push(Slot { offset, ty });
        }
        let ready: Vec<Ready<'_>> = args.iter().map(|arg| self.ready(arg)).collect();
        let action = Action::Printf { format: format.to_string(), args: slots.clone(), kind };
        self.record(action, end, |lower, record| {
            for ((arg, value), slot) in args.iter().zip(&ready).zip(&slots) {
                let to = (record, slot.offset as i32);
                match &arg.kind {
                    ExprKind::Str(text) => {
                        let index = lower.assembly.text(text);
                        let index = lower.b.iconst(i64::from(index));
                        lower.b.store(8, index, record, to.1);
                    }
                    _ => lower.write(value, &slot.ty, to),
                }
            }
        });
    }

    /// The type that an argument has in a record: fixed texts go by number.
    fn record_type(&self, arg: &Expr) -> Type {
        match arg.kind {
            ExprKind::Str(_) => Type::StringIndex,
            _ => arg.ty.clone(),
        }
    }

    pub(super) fn print_value(&mut self, value: &Expr) {
        let ty = value.ty.clone();
        let offset = HEADER.next_multiple_of(ty.align());
        let ready = self.ready(value);
        let action = Action::PrintValue { value: Slot { offset, ty: ty.clone() } };
        self.record(action, offset + ty.size(), |lower, record| {
            lower.write(&ready, &ty, (record, offset as i32));
        });
    }

    pub(super) fn print_map(&mut self, map: MapId, top: Option<&Expr>, div: Option<&Expr>) {
        let numbers = [top, div].map(|number| match number {
            Some(number) => self.scalar(number),
            None => self.b.iconst(0),
        });
        self.record(Action::PrintMap { map: map as u32 }, HEADER + 16, |lower, record| {
            lower.b.store(8, numbers[0], record, 8);
            lower.b.store(8, numbers[1], record, 16);
        });
    }

    pub(super) fn print_element(&mut self, map: MapId, key: &Expr) {
        let size = key.ty.size();
        let ready = self.ready(key);
        let action = Action::PrintElement { map: map as u32 };
        self.record(action, HEADER + size, |lower, record| {
            // The key is looked up, so it must be exact.
            match &ready {
                Ready::Later(key) => lower.store(key, (record, HEADER as i32)),
                _ => lower.write(&ready, &key.ty, (record, HEADER as i32)),
            }
        });
    }

    pub(super) fn clear_map(&mut self, map: MapId) {
        self.record(Action::Clear { map: map as u32 }, HEADER, |_, _| {});
    }

    pub(super) fn zero_map(&mut self, map: MapId) {
        self.record(Action::Zero { map: map as u32 }, HEADER, |_, _| {});
    }

    pub(super) fn time(&mut self, format: &str) {
        self.record(Action::Time { format: format.to_string() }, HEADER, |_, _| {});
    }

    pub(super) fn exit(&mut self, code: Option<&Expr>) {
        let code = match code {
            Some(code) => self.scalar(code),
            None => self.b.iconst(0),
        };
        self.record(Action::Exit, HEADER + 8, |lower, record| {
            lower.b.store(8, code, record, 8);
        });
        self.end_program(None);
    }

    /// The strings that a null-terminated array points to.
    pub(super) fn join(&mut self, array: &Expr, user: bool, separator: &str) {
        let array = self.scalar(array);
        let size = self.assembly.settings.max_strlen;
        let action = Action::Join { separator: separator.to_string(), max: JOIN_STRINGS, size };
        let bytes = HEADER + 8 + JOIN_STRINGS * size;
        let (read, read_str) = match user {
            true => (Helper::ProbeReadUser, Helper::ProbeReadUserStr),
            false => (Helper::ProbeReadKernel, Helper::ProbeReadKernelStr),
        };
        let pointer = self.temp(8);
        self.record(action, bytes, |lower, record| {
            let zero = lower.b.iconst(0);
            lower.b.store(8, zero, record, 8);
            lower.count_to(JOIN_STRINGS, |lower, at, done| {
                let offset = lower.b.binary_imm(BinaryOp::Shl, at, 3);
                let element = lower.b.binary(BinaryOp::Add, array, offset);
                lower.read_memory(read, pointer, 8, element);
                let string = lower.b.load(LoadWidth::U64, pointer.0, pointer.1);
                let more = lower.b.block(0);
                lower.b.branch(string, more, done);
                lower.b.switch_to(more);
                let start = lower.b.binary_imm(BinaryOp::Mul, at, i64::from(size));
                let to = lower.b.binary(BinaryOp::Add, record, start);
                lower.read_memory(read_str, (to, HEADER as i32 + 8), size, string);
                let count = lower.b.binary_imm(BinaryOp::Add, at, 1);
                lower.b.store(8, count, record, 8);
            });
        });
    }
}

/// Whether evaluating it inside a record is as good as before: it changes nothing, sends nothing,
/// and calls nothing back.
fn is_simple(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Update { .. }
        | ExprKind::Delete(..)
        | ExprKind::Len(_)
        | ExprKind::Block(..)
        | ExprKind::MapTotal(..) => false,
        kind => kind.operands().into_iter().all(is_simple),
    }
}
