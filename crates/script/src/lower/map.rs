//! Reading and writing maps.
//!
//! A map without keys is an array of one element, whose value the program addresses directly; a
//! mark behind the value says that it was assigned.

use bombus_compiler::ir::{BinaryOp, Cond, LoadWidth, MapRef, Value};
use bombus_platform::Helper;

use super::expr::is_constant;
use super::function::{Address, Lower};
use super::maps::mark_offset;
use crate::check::tree::{Arith, Expr, MapId};
use crate::plan::MapValue;
use crate::types::Type;

/// `BPF_ANY`.
const ANY: i64 = 0;

impl Lower<'_, '_> {
    /// The key, in memory, of the map's own key type.
    pub(super) fn key(&mut self, map: MapId, key: &Expr) -> Address {
        let size = match &self.assembly.script.maps[map].key {
            Some(ty) => ty.size(),
            None => key.ty.size(),
        };
        let to = self.temp(size);
        self.store(key, to);
        to
    }

    /// Address of an element's value, or null.
    pub(super) fn lookup(&mut self, map: MapId, key: &Expr) -> Value {
        let key = self.key(map, key);
        self.lookup_at(map, key)
    }

    pub(super) fn lookup_at(&mut self, map: MapId, key: Address) -> Value {
        let map = self.map(map);
        let key = self.pointer(key);
        self.b.call_helper(Helper::MapLookupElem, &[map, key])
    }

    /// Stores an element, and tells when that failed: most often the map is full.
    pub(super) fn put(&mut self, map: MapId, key: Address, value: Value) {
        let map = self.map(map);
        let key = self.pointer(key);
        let flags = self.b.iconst(ANY);
        let result = self.b.call_helper(Helper::MapUpdateElem, &[map, key, value, flags]);
        self.check_result(Helper::MapUpdateElem, result);
    }

    /// Address in the value of a map without keys.
    fn only_value(&mut self, map: MapId) -> Address {
        (self.b.map_value_addr(MapRef(map as u32), 0), 0)
    }

    fn plain_type(&self, map: MapId) -> Type {
        match &self.assembly.script.maps[map].value {
            MapValue::Plain(ty) => ty.clone(),
            _ => Type::I64,
        }
    }

    /// Marks a map without keys as assigned.
    fn mark(&mut self, map: MapId, value: Address) {
        let kind = &self.assembly.script.maps[map].value;
        let Some(offset) = mark_offset(kind) else { return };
        let one = self.b.iconst(1);
        self.b.store(8, one, value.0, offset as i32);
    }

    /// A number in a map; 0 when there is none.
    pub(super) fn map_number(&mut self, map: MapId, key: Option<&Expr>, ty: &Type) -> Value {
        let Some(key) = key else {
            let from = self.only_value(map);
            return self.load(ty, from);
        };
        let found = self.lookup(map, key);
        let there = self.b.compare_imm(Cond::Ne, found, 0);
        self.pick(there, |lower| lower.load(ty, (found, 0)), |lower| lower.b.iconst(0))
    }

    /// Copies a value out of a map; zeroes when there is none.
    pub(super) fn map_memory(&mut self, map: MapId, key: Option<&Expr>, ty: &Type, to: Address) {
        let size = ty.size();
        let Some(key) = key else {
            let from = self.only_value(map);
            self.copy(to, from, size);
            return;
        };
        let found = self.lookup(map, key);
        let there = self.b.compare_imm(Cond::Ne, found, 0);
        self.either(there, |lower| lower.copy(to, (found, 0), size), |lower| lower.zero(to, size));
    }

    /// `@map[key] = value`
    pub(super) fn set_map(&mut self, map: MapId, key: Option<&Expr>, value: &Expr) {
        let size = value.ty.size();
        let Some(key) = key else {
            let to = if value.is_scalar() {
                let number = self.scalar(value);
                let to = self.only_value(map);
                self.store_number(&value.ty, number, to);
                to
            } else {
                // The value may come from the map itself.
                let from = self.address(value);
                let to = self.only_value(map);
                self.copy(to, from, size);
                to
            };
            self.mark(map, to);
            return;
        };
        let from = if value.is_scalar() {
            let to = self.temp(size);
            self.store(value, to);
            to
        } else {
            self.address(value)
        };
        let from = match value.kind {
            // Helpers do not read map values out of the context.
            crate::check::tree::ExprKind::Field(_) if !value.is_scalar() => {
                let to = self.temp(size);
                self.copy(to, from, size);
                to
            }
            _ => from,
        };
        let key = self.key(map, key);
        let from = self.pointer(from);
        self.put(map, key, from);
    }

    /// `@map[key] = @map[key] op value`
    pub(super) fn update_map(
        &mut self,
        map: MapId,
        key: Option<&Expr>,
        op: Arith,
        value: &Expr,
        want_old: bool,
    ) -> Value {
        let ty = self.plain_type(map);
        let checked = !is_constant(value);
        let value = self.scalar(value);
        let Some(key) = key else {
            let place = self.only_value(map);
            let old = self.load(&ty, place);
            let new = self.updated(op, &ty, old, value, checked);
            self.store_number(&ty, new, place);
            self.mark(map, place);
            return if want_old { old } else { new };
        };
        let key = self.key(map, key);
        let found = self.lookup_at(map, key);
        let there = self.b.compare_imm(Cond::Ne, found, 0);
        self.pick(
            there,
            |lower| {
                let old = lower.load(&ty, (found, 0));
                let new = lower.updated(op, &ty, old, value, checked);
                lower.store_number(&ty, new, (found, 0));
                if want_old { old } else { new }
            },
            |lower| {
                let old = lower.b.iconst(0);
                let new = lower.updated(op, &ty, old, value, checked);
                let memory = lower.temp(8);
                lower.store_number(&ty, new, memory);
                lower.put(map, key, memory.0);
                if want_old { old } else { new }
            },
        )
    }

    /// 1 when there was such an element and it is gone now.
    pub(super) fn delete(&mut self, map: MapId, key: Option<&Expr>) -> Value {
        if let Some(key) = key {
            let key = self.key(map, key);
            let map = self.map(map);
            let key = self.pointer(key);
            let failed = self.b.call_helper(Helper::MapDeleteElem, &[map, key]);
            return self.b.compare_imm(Cond::Eq, failed, 0);
        }
        let spec = &self.assembly.plan.object.maps[map];
        let (size, per_cpu) = (spec.value_size, spec.map_type.is_per_cpu());
        if per_cpu {
            // Each CPU has a value; this one's is within reach.
            self.for_each_cpu(map, None, |lower, value| lower.zero((value, 0), size));
            return self.b.iconst(1);
        }
        let place = self.only_value(map);
        let mark = mark_offset(&self.assembly.script.maps[map].value).unwrap_or(0);
        let was = self.b.load(LoadWidth::U64, place.0, mark as i32);
        let was = self.b.compare_imm(Cond::Ne, was, 0);
        self.zero(place, size);
        was
    }

    /// How many elements there are.
    pub(super) fn len(&mut self, map: MapId) -> Value {
        let callback = self.leaf("count_element", 4, |lower, _| {
            let go_on = lower.b.iconst(0);
            lower.b.ret(go_on);
        });
        let map = self.map(map);
        let callback = self.b.func_addr(callback);
        let nothing = self.b.iconst(0);
        self.b.call_helper(Helper::ForEachMapElem, &[map, callback, nothing, nothing])
    }

    /// Runs `build` with the address of each CPU's value, where there is one.
    fn for_each_cpu(
        &mut self,
        map: MapId,
        key: Option<Address>,
        build: impl FnOnce(&mut Self, Value),
    ) {
        let key = match key {
            Some(key) => key,
            None => {
                let key = self.temp(4);
                self.b.zero(key.0, key.1, 4);
                key
            }
        };
        let cpus = self.assembly.env.features.possible_cpus;
        self.count_to(cpus, |lower, cpu, done| {
            let map = lower.map(map);
            let key = lower.pointer(key);
            let found = lower.b.call_helper(Helper::MapLookupPercpuElem, &[map, key, cpu]);
            let there = lower.b.compare_imm(Cond::Ne, found, 0);
            // Where one CPU has no value, none has.
            let some = lower.b.block(0);
            lower.b.branch(there, some, done);
            lower.b.switch_to(some);
            build(lower, found);
        });
    }

    /// An aggregation over all CPUs, as one number; 0 when there is no such element.
    pub(super) fn total(&mut self, map: MapId, key: Option<Address>) -> Value {
        let value = self.assembly.script.maps[map].value.clone();
        let result = self.temp(8);
        let count = self.temp(8);
        let zero = self.b.iconst(0);
        self.b.store(8, zero, result.0, result.1);
        self.b.store(8, zero, count.0, count.1);
        self.for_each_cpu(map, key, |lower, found| {
            let own = lower.b.load(LoadWidth::U64, found, 0);
            let so_far = lower.b.load(LoadWidth::U64, result.0, result.1);
            match value {
                MapValue::Min { signed } | MapValue::Max { signed } => {
                    let set = lower.b.load(LoadWidth::U64, found, 8);
                    lower.when(set, |lower| {
                        let largest = matches!(value, MapValue::Max { .. });
                        let seen = lower.b.load(LoadWidth::U64, count.0, count.1);
                        let better = lower.b.compare(better(largest, signed), own, so_far);
                        let first = lower.b.compare_imm(Cond::Eq, seen, 0);
                        let take = lower.b.binary(BinaryOp::Or, better, first);
                        let best = lower.b.select(take, own, so_far);
                        lower.b.store(8, best, result.0, result.1);
                        let one = lower.b.iconst(1);
                        lower.b.store(8, one, count.0, count.1);
                    });
                }
                _ => {
                    let sum = lower.b.binary(BinaryOp::Add, so_far, own);
                    lower.b.store(8, sum, result.0, result.1);
                    if matches!(value, MapValue::Avg { .. }) {
                        let own = lower.b.load(LoadWidth::U64, found, 8);
                        let so_far = lower.b.load(LoadWidth::U64, count.0, count.1);
                        let sum = lower.b.binary(BinaryOp::Add, so_far, own);
                        lower.b.store(8, sum, count.0, count.1);
                    }
                }
            }
        });
        let total = self.b.load(LoadWidth::U64, result.0, result.1);
        match value {
            MapValue::Avg { signed } => {
                let count = self.b.load(LoadWidth::U64, count.0, count.1);
                let op = if signed { BinaryOp::Sdiv } else { BinaryOp::Udiv };
                self.b.binary(op, total, count)
            }
            _ => total,
        }
    }
}

/// The comparison that says that a value replaces the best so far.
pub(super) fn better(largest: bool, signed: bool) -> Cond {
    match (largest, signed) {
        (true, true) => Cond::Sgt,
        (true, false) => Cond::Ugt,
        (false, true) => Cond::Slt,
        (false, false) => Cond::Ult,
    }
}
