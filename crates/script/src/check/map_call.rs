//! Functions of maps: aggregations, `delete`, `has_key`, `len`.

use super::Checker;
use super::convert::convert;
use super::expr::Typed;
use super::infer::ValueGuess;
use super::tree::{Expr, ExprKind};
use crate::diagnostic::Span;
use crate::plan::MapValue;
use crate::syntax::ast;
use crate::types::Type;

/// Buckets of an `lhist`, as many as bpftrace allows.
const MAX_LHIST_BUCKETS: i64 = 1000;

/// The functions that are assigned to maps.
pub(super) const AGGREGATIONS: [&str; 9] =
    ["count", "sum", "min", "max", "avg", "stats", "hist", "lhist", "tseries"];

impl Checker<'_> {
    /// The map that an argument names.
    pub(super) fn map_argument(&mut self, name: &str, arg: &ast::Expr) -> Option<usize> {
        let ast::ExprKind::Map(map) = &arg.kind else {
            self.error(arg.span, format!("{name}() expects a map argument"));
            return None;
        };
        let map = self.map_id(map);
        if self.types.maps[map].value.is_none() {
            let name = self.types.maps[map].name.clone();
            self.error(arg.span, format!("Undefined map: {name}"));
        }
        Some(map)
    }

    pub(super) fn has_key(&mut self, args: &[ast::Expr], span: Span) -> Typed {
        if !self.arity("has_key", args, 2..=2, span) {
            return Typed::unknown(span);
        }
        let Some(map) = self.map_argument("has_key", &args[0]) else {
            return Typed::unknown(span);
        };
        if self.types.maps[map].keyed == Some(false) {
            let message = "call to has_key() expects a map with explicit keys (non-scalar map)";
            self.error(span, message);
            return Typed::unknown(span);
        }
        let key = self.map_key(map, Some(&args[1]), args[1].span);
        match key {
            Some(key) => Typed::new(span, Type::Bool, ExprKind::HasKey(map, Box::new(key))),
            None => Typed::unknown(span),
        }
    }

    pub(super) fn delete(&mut self, args: &[ast::Expr], span: Span) -> Typed {
        if !self.arity("delete", args, 1..=2, span) {
            return Typed::unknown(span);
        }
        // The older form: `delete(@x[key])`.
        let (map, key) = match (&args[0].kind, args.get(1)) {
            (ast::ExprKind::MapElement { map, key }, None) => {
                let map = self.map_id(&map.text);
                (map, Some(&**key))
            }
            (_, key) => match self.map_argument("delete", &args[0]) {
                Some(map) => (map, key),
                None => return Typed::unknown(span),
            },
        };
        if key.is_none() && self.types.maps[map].keyed == Some(true) {
            let message = "call to delete() with a single argument expects a map without explicit \
                           keys (scalar map)";
            self.error(span, message);
            return Typed::unknown(span);
        }
        if key.is_some() && self.types.maps[map].keyed == Some(false) {
            let message = "call to delete() with two arguments expects a map with explicit keys \
                           (non-scalar map)";
            self.error(span, message);
            return Typed::unknown(span);
        }
        let checked = self.map_key(map, key, span).map(Box::new);
        if key.is_some() && checked.is_none() {
            return Typed::unknown(span);
        }
        Typed::new(span, Type::Bool, ExprKind::Delete(map, checked))
    }

    pub(super) fn len(&mut self, args: &[ast::Expr], span: Span) -> Typed {
        if !self.arity("len", args, 1..=1, span) {
            return Typed::unknown(span);
        }
        if !matches!(args[0].kind, ast::ExprKind::Map(_)) {
            self.error(args[0].span, "len() expects a map or stack to be provided");
            return Typed::unknown(span);
        }
        let Some(map) = self.map_argument("len", &args[0]) else { return Typed::unknown(span) };
        if self.types.maps[map].keyed == Some(false) {
            let message = "call to len() expects a map with explicit keys (non-scalar map)";
            self.error(span, message);
            return Typed::unknown(span);
        }
        if !self.env.features.for_each_map_elem {
            return self.unsupported(span, "len() on this kernel");
        }
        Typed::new(span, Type::I64, ExprKind::Len(map))
    }

    /// What a call like `sum(n)` makes of a map, and the value to feed it.
    pub(super) fn aggregate(&mut self, call: &ast::Expr) -> Option<(MapValue, Option<Expr>)> {
        let (name, args): (&str, &[ast::Expr]) = match &call.kind {
            ast::ExprKind::Call { callee, args } => (&callee.text, args),
            _ => ("count", &[]),
        };
        let span = call.span;
        let arity = match name {
            "count" => 0..=0,
            "hist" => 1..=2,
            "lhist" => 4..=4,
            "tseries" => {
                self.unsupported(span, "tseries");
                return None;
            }
            _ => 1..=1,
        };
        if !self.arity(name, args, arity, span) {
            return None;
        }
        let Some(first) = args.first() else { return Some((MapValue::Count, None)) };
        let typed = self.value(first);
        if typed.is_unknown() {
            return None;
        }
        let signed = match typed.expr.ty {
            Type::Int { signed, .. } => signed,
            Type::Bool | Type::Pointer { .. } => false,
            _ => {
                let message = format!(
                    "{name}() expects an integer or pointer type as first argument ({} provided)",
                    typed.expr.ty
                );
                self.error(first.span, message);
                return None;
            }
        };
        let value = Some(convert(typed.expr, &Type::Int { size: 8, signed }));
        let what = match name {
            "sum" => MapValue::Sum { signed },
            "min" => MapValue::Min { signed },
            "max" => MapValue::Max { signed },
            "avg" => MapValue::Avg { signed },
            "stats" => MapValue::Stats { signed },
            "hist" => {
                let bits = match args.get(1) {
                    Some(bits) => self.constant(bits, "hist: bits")?,
                    None => 0,
                };
                if !(0..=5).contains(&bits) {
                    self.error(span, format!("hist: bits {bits} must be 0..5"));
                    return None;
                }
                MapValue::Hist { bits: bits as u8 }
            }
            _ => self.lhist_bounds(args, span)?,
        };
        Some((what, value))
    }

    fn lhist_bounds(&mut self, args: &[ast::Expr], span: Span) -> Option<MapValue> {
        let min = self.constant(&args[1], "lhist() min")?;
        let max = self.constant(&args[2], "lhist() max")?;
        let step = self.constant(&args[3], "lhist() step")?;
        let problem = if step <= 0 {
            Some(format!("lhist() step must be >= 1 ({step} provided)"))
        } else if min >= max {
            Some(format!("lhist() min must be less than max (provided min {min} and max {max})"))
        } else if max.checked_sub(min).is_none_or(|range| range < step) {
            Some(format!("lhist() step is too large for the given range (provided step {step})"))
        } else if (max - min) / step > MAX_LHIST_BUCKETS {
            let buckets = (max - min) / step;
            Some(format!("lhist() too many buckets, must be <= 1000 (would need {buckets})"))
        } else {
            None
        };
        match problem {
            Some(problem) => {
                self.error(span, problem);
                None
            }
            None => Some(MapValue::LHist { min, max, step }),
        }
    }

    /// Whether a map holds an aggregation.
    pub(super) fn is_aggregate(&self, map: usize) -> bool {
        matches!(self.types.maps[map].value, Some(ValueGuess::Aggregate(_)))
    }
}

/// The aggregation that an expression calls.
pub(super) fn aggregation(expr: &ast::Expr) -> Option<&str> {
    let name = match &expr.kind {
        ast::ExprKind::Call { callee, .. } => &callee.text,
        ast::ExprKind::Ident(name) if name == "count" => name,
        _ => return None,
    };
    AGGREGATIONS.contains(&name.as_str()).then_some(name)
}
