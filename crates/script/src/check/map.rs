//! Uses of maps: each is checked against what is known of the map, and may widen it.

use super::expr::Typed;
use super::infer::{Guess, ValueGuess, aggregate_name, merge, total_type, value_name};
use super::tree::{Expr, ExprKind, MapId};
use super::{Checker, MapGuess};
use crate::diagnostic::Span;
use crate::syntax::ast;
use crate::types::Type;

impl Checker<'_> {
    /// The map of this name; a new one when this is its first use.
    pub(super) fn map_id(&mut self, name: &str) -> MapId {
        if let Some(at) = self.types.maps.iter().position(|map| map.name == name) {
            return at;
        }
        let name = name.to_string();
        self.types.maps.push(MapGuess { name, keyed: None, key: None, value: None });
        self.changed = true;
        self.types.maps.len() - 1
    }

    /// Checks the key of a use of a map, and widens the map's own.
    pub(super) fn map_key(
        &mut self,
        map: MapId,
        key: Option<&ast::Expr>,
        span: Span,
    ) -> Option<Expr> {
        let typed = key.map(|key| self.value(key));
        self.typed_map_key(map, typed, span)
    }

    /// As [`Self::map_key`], of a key that was checked already.
    pub(super) fn typed_map_key(
        &mut self,
        map: MapId,
        key: Option<Typed>,
        span: Span,
    ) -> Option<Expr> {
        let name = self.types.maps[map].name.clone();
        match self.types.maps[map].keyed {
            None => {
                self.types.maps[map].keyed = Some(key.is_some());
                self.changed = true;
            }
            Some(keyed) if keyed != key.is_some() => {
                let (now, before) = if keyed {
                    (
                        "without an explicit key (scalar map)",
                        "with an explicit key (non-scalar map)",
                    )
                } else {
                    (
                        "with an explicit key (non-scalar map)",
                        "without an explicit key (scalar map)",
                    )
                };
                let message = format!("{name} used as a map {now}, previously used {before}");
                self.error(span, message);
                return None;
            }
            Some(_) => {}
        }
        let key = key?;
        if key.is_unknown() {
            return None;
        }
        if !can_be_key(&key.expr.ty) {
            self.error(span, format!("{} cannot be part of a map key", key.expr.ty));
            return None;
        }
        let found = key.guess();
        let merged = match &self.types.maps[map].key {
            None => Some(found.clone()),
            Some(known) => merge(known, &found),
        };
        let Some(merged) = merged else {
            let expected = self.types.maps[map].key.as_ref().map(|known| known.ty.to_string());
            self.error(
                span,
                format!(
                    "Argument mismatch for {name}: trying to access with arguments: '{}' when map \
                     expects arguments: '{}'",
                    found.ty,
                    expected.unwrap_or_default()
                ),
            );
            return None;
        };
        if self.types.maps[map].key.as_ref() != Some(&merged) {
            self.types.maps[map].key = Some(merged.clone());
            self.changed = true;
        }
        Some(self.fit(key, &merged.ty))
    }

    /// Reads a map, or an element of one.
    pub(super) fn map_value(&mut self, name: &str, key: Option<&ast::Expr>, span: Span) -> Typed {
        let map = self.map_id(name);
        let key = self.map_key(map, key, span);
        if self.types.maps[map].keyed == Some(true) && key.is_none() {
            return Typed::unknown(span);
        }
        let key = key.map(Box::new);
        match self.types.maps[map].value.clone() {
            None => {
                self.error(span, format!("Undefined map: {name}"));
                Typed::new(span, Type::None, ExprKind::MapGet(map, key))
            }
            Some(ValueGuess::Plain(guess)) => {
                Typed::with_guess(span, &guess, ExprKind::MapGet(map, key))
            }
            Some(ValueGuess::Aggregate(value)) => match total_type(&value) {
                Some(ty) => {
                    if !self.env.features.for_each_map_elem {
                        return self.unsupported(span, "reading an aggregation on this kernel");
                    }
                    Typed::new(span, ty, ExprKind::MapTotal(map, key))
                }
                None => {
                    let name = aggregate_name(&value);
                    let message = format!("a value of type {name} can only be printed");
                    self.error(span, message);
                    Typed::unknown(span)
                }
            },
        }
    }

    /// Notes what a map's values are. Returns the type to convert the value to.
    pub(super) fn assign_map(&mut self, map: MapId, found: ValueGuess, span: Span) -> Option<Type> {
        let known = self.types.maps[map].value.clone();
        let merged = match (&known, &found) {
            (None, _) => Some(found.clone()),
            (Some(ValueGuess::Plain(a)), ValueGuess::Plain(b)) => {
                merge(a, b).map(ValueGuess::Plain)
            }
            (Some(ValueGuess::Aggregate(a)), ValueGuess::Aggregate(b)) => {
                super::infer::merge_aggregates(a, b).map(ValueGuess::Aggregate)
            }
            _ => None,
        };
        let Some(merged) = merged else {
            let name = &self.types.maps[map].name;
            let message = format!(
                "Type mismatch for {name}: trying to assign value of type '{}' when map already \
                 has a type '{}'",
                value_name(&found),
                known.as_ref().map(value_name).unwrap_or_default()
            );
            self.error(span, message);
            return None;
        };
        let ty = match &merged {
            ValueGuess::Plain(guess) => guess.ty.clone(),
            ValueGuess::Aggregate(_) => Type::None,
        };
        if known.as_ref() != Some(&merged) {
            self.types.maps[map].value = Some(merged);
            self.changed = true;
        }
        Some(ty)
    }

    /// What is known of a map's plain values.
    pub(super) fn plain_guess(&mut self, map: MapId, span: Span) -> Option<Guess> {
        match self.types.maps[map].value.clone() {
            Some(ValueGuess::Plain(guess)) => Some(guess),
            Some(ValueGuess::Aggregate(value)) => {
                let name = self.types.maps[map].name.clone();
                let message = format!(
                    "Type mismatch for {name}: trying to assign value of type 'int64' when map \
                     already has a type '{}'",
                    aggregate_name(&value)
                );
                self.error(span, message);
                None
            }
            None => None,
        }
    }
}

fn can_be_key(ty: &Type) -> bool {
    match ty {
        Type::Int { .. }
        | Type::Bool
        | Type::Str { .. }
        | Type::Buf { .. }
        | Type::Pointer { .. }
        | Type::Username
        | Type::StringIndex
        | Type::Inet
        | Type::MacAddr
        | Type::Timestamp
        | Type::Symbol { .. } => true,
        Type::Tuple(parts) => !parts.is_empty() && parts.iter().all(can_be_key),
        Type::None
        | Type::Record(_)
        | Type::Array { .. }
        | Type::Struct(_)
        | Type::Stack { .. } => false,
    }
}
