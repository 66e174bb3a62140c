//! `count()`, `sum()`, `hist()` and the others. Every CPU has a value of its own, so plain loads
//! and stores are enough.

use bombus_compiler::ir::{BinaryOp, Cond, LoadWidth, MapRef, Value};

use super::bucket;
use super::function::Lower;
use super::map::better;
use super::maps::mark_offset;
use crate::check::tree::{Expr, MapId};
use crate::plan::{MapValue, hist_buckets};

impl Lower<'_, '_> {
    /// `@map[key] = count()` and so on.
    pub(super) fn aggregate(&mut self, map: MapId, key: Option<&Expr>, value: Option<&Expr>) {
        let kind = self.assembly.script.maps[map].value.clone();
        let number = value.map(|value| self.scalar(value));
        let number = match number {
            Some(number) => number,
            None => self.b.iconst(1),
        };
        if let MapValue::Hist { .. } | MapValue::LHist { .. } = kind {
            self.count_in_bucket(map, key, &kind, number);
            return;
        }
        let size = self.assembly.plan.object.maps[map].value_size;
        let place = match key {
            Some(key) => self.key(map, key),
            None => {
                let place = self.temp(4);
                self.b.zero(place.0, place.1, 4);
                place
            }
        };
        let found = self.lookup_at(map, place);
        let there = self.b.compare_imm(Cond::Ne, found, 0);
        let keyed = key.is_some();
        self.either(
            there,
            |lower| {
                lower.add_to(&kind, found, number);
                if !keyed && let Some(offset) = mark_offset(&kind) {
                    let one = lower.b.iconst(1);
                    lower.b.store(8, one, found, offset as i32);
                }
            },
            |lower| {
                // An array's element is always there.
                if keyed {
                    let first = lower.temp(size);
                    lower.start(&kind, first.0, number);
                    lower.put(map, place, first.0);
                }
            },
        );
    }

    /// Adds to a value that is there.
    fn add_to(&mut self, kind: &MapValue, at: Value, number: Value) {
        let add = |lower: &mut Self, offset: i32, number: Value| {
            let old = lower.b.load(LoadWidth::U64, at, offset);
            let new = lower.b.binary(BinaryOp::Add, old, number);
            lower.b.store(8, new, at, offset);
        };
        match kind {
            MapValue::Count | MapValue::Sum { .. } => add(self, 0, number),
            MapValue::Avg { .. } | MapValue::Stats { .. } => {
                add(self, 0, number);
                let one = self.b.iconst(1);
                add(self, 8, one);
            }
            MapValue::Min { signed } | MapValue::Max { signed } => {
                let largest = matches!(kind, MapValue::Max { .. });
                let set = self.b.load(LoadWidth::U64, at, 8);
                let (compare, take, done) = (self.b.block(0), self.b.block(0), self.b.block(0));
                self.b.branch(set, compare, take);
                self.b.switch_to(compare);
                let old = self.b.load(LoadWidth::U64, at, 0);
                let better = self.b.compare(better(largest, *signed), number, old);
                self.b.branch(better, take, done);
                self.b.switch_to(take);
                self.start(kind, at, number);
                self.b.jump(done, &[]);
                self.b.switch_to(done);
            }
            MapValue::Plain(_) | MapValue::Hist { .. } | MapValue::LHist { .. } => {}
        }
    }

    /// Writes the value that the first number gives.
    fn start(&mut self, kind: &MapValue, to: Value, number: Value) {
        self.b.store(8, number, to, 0);
        let has_count = matches!(
            kind,
            MapValue::Avg { .. }
                | MapValue::Stats { .. }
                | MapValue::Min { .. }
                | MapValue::Max { .. }
        );
        if has_count {
            let one = self.b.iconst(1);
            self.b.store(8, one, to, 8);
        }
    }

    /// Adds one to a bucket. A new element starts as a copy of zeroes, which live in a map.
    fn count_in_bucket(&mut self, map: MapId, key: Option<&Expr>, kind: &MapValue, number: Value) {
        let (bucket, buckets) = match kind {
            MapValue::LHist { min, max, step } => {
                (bucket::linear(&mut self.b, number, *min, *max, *step), (max - min) / step + 2)
            }
            MapValue::Hist { bits } => {
                (bucket::log2(&mut self.b, number, *bits), hist_buckets(*bits) as i64)
            }
            _ => return,
        };
        let place = match key {
            Some(key) => self.key(map, key),
            None => {
                let place = self.temp(4);
                self.b.zero(place.0, place.1, 4);
                place
            }
        };
        let (count, insert, done) = (self.b.block(1), self.b.block(0), self.b.block(0));
        let found = self.lookup_at(map, place);
        let there = self.b.compare_imm(Cond::Ne, found, 0);
        let known = self.b.block(0);
        self.b.branch(there, known, if key.is_some() { insert } else { done });
        if key.is_some() {
            self.b.switch_to(insert);
            let zeroes = self.assembly.zeroes(buckets as u32 * 8);
            let zeroes = self.b.map_value_addr(MapRef(zeroes), 0);
            self.put(map, place, zeroes);
            let again = self.lookup_at(map, place);
            let there = self.b.compare_imm(Cond::Ne, again, 0);
            let inserted = self.b.block(0);
            self.b.branch(there, inserted, done);
            self.b.switch_to(inserted);
            self.b.jump(count, &[again]);
        }
        self.b.switch_to(known);
        self.b.jump(count, &[found]);
        self.b.switch_to(count);
        let value = self.b.param(count, 0);
        let offset = self.b.binary_imm(BinaryOp::Shl, bucket, 3);
        let at = self.b.binary(BinaryOp::Add, value, offset);
        let old = self.b.load(LoadWidth::U64, at, 0);
        let new = self.b.binary_imm(BinaryOp::Add, old, 1);
        self.b.store(8, new, at, 0);
        self.b.jump(done, &[]);
        self.b.switch_to(done);
    }
}
