//! What goes wrong while a program runs: counted, for user space to tell.
//!
//! A failure must not make the path longer on which all is well, nor need room that may be missing.
//! So each has a counter in a map's value, at an address that the program knows.

use bombus_compiler::ir::{Cond, MapRef, UnaryOp, Value};
use bombus_platform::{Helper, MapType};
use bombus_spec::MapSpec;

use super::function::Lower;
use super::{Assembly, place};
use crate::diagnostic::Span;
use crate::plan::{FAILURE_BYTES, Failure, FailureKind, Failures};

impl Assembly<'_> {
    /// The counter of a failure: the map and the offset in its value.
    fn failure(&mut self, what: FailureKind, span: Option<Span>) -> (u32, u32) {
        let failure = Failure { what, place: span.map(|span| place(self.source, span)) };
        let mut failures = self.plan.failures.take().unwrap_or_else(|| {
            let map = self.add_map(MapSpec {
                name: "failures".to_string(),
                map_type: MapType::Array,
                key_size: 4,
                value_size: 0,
                max_entries: 1,
                ..MapSpec::default()
            });
            Failures { map, counted: Vec::new() }
        });
        let known = failures.counted.iter().position(|known| *known == failure);
        let at = known.unwrap_or_else(|| {
            failures.counted.push(failure);
            self.plan.object.maps[failures.map as usize].value_size += FAILURE_BYTES;
            failures.counted.len() - 1
        });
        let map = failures.map;
        self.plan.failures = Some(failures);
        (map, at as u32 * FAILURE_BYTES)
    }
}

impl Lower<'_, '_> {
    /// Counts a record that found no room.
    pub(super) fn lost_record(&mut self) {
        self.count_failure(FailureKind::LostRecord, None, None);
    }

    /// Counts a failure of the script, here.
    pub(super) fn runtime_error(&mut self, message: &str) {
        let what = FailureKind::Runtime { message: message.to_string() };
        self.count_failure(what, Some(self.span), None);
    }

    /// Counts a failure of a helper, here, if its result is an error.
    pub(super) fn check_result(&mut self, helper: Helper, result: Value) {
        let result = match self.assembly.env.features.long_map_results() {
            true => result,
            false => self.b.unary(UnaryOp::Sext32, result),
        };
        let failed = self.b.compare_imm(Cond::Slt, result, 0);
        self.when(failed, |lower| {
            lower.count_failure(FailureKind::Helper { helper }, Some(lower.span), Some(result));
        });
    }

    fn count_failure(&mut self, what: FailureKind, span: Option<Span>, result: Option<Value>) {
        let (map, offset) = self.assembly.failure(what, span);
        let counter = self.b.map_value_addr(MapRef(map), offset);
        // Who sees the count sees the result, too.
        if let Some(result) = result {
            self.b.store(8, result, counter, 8);
        }
        let one = self.b.iconst(1);
        self.b.atomic_add(8, one, counter, 0);
    }
}
