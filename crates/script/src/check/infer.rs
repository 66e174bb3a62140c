//! Types as far as they are known, and how two of them become one (bpftrace 0.27, language manual,
//! "Data Types": a variable or map takes the smallest type that holds everything assigned to it).

use crate::plan::MapValue;
use crate::types::Type;

/// A type, and for each integer in it whether its sign is still open, as that of a literal that is
/// not negative.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Guess {
    pub(super) ty: Type,
    /// One entry for each integer, from left to right.
    pub(super) flexible: Vec<bool>,
}

impl Guess {
    /// A type with nothing open.
    pub(super) fn fixed(ty: Type) -> Guess {
        let flexible = vec![false; integers(&ty)];
        Guess { ty, flexible }
    }

    /// The type of an integer literal: the smallest signed one, or `uint64` when it is too large
    /// for any.
    pub(super) fn literal(value: i128) -> Guess {
        let signed = |size| Type::Int { size, signed: true };
        let ty = match value {
            _ if i8::try_from(value).is_ok() => signed(1),
            _ if i16::try_from(value).is_ok() => signed(2),
            _ if i32::try_from(value).is_ok() => signed(4),
            _ if i64::try_from(value).is_ok() => signed(8),
            _ => return Guess::fixed(Type::U64),
        };
        Guess { ty, flexible: vec![value >= 0] }
    }

    /// Whether it is an integer with an open sign.
    pub(super) fn is_flexible(&self) -> bool {
        matches!(self.ty, Type::Int { .. }) && self.flexible == [true]
    }
}

/// How many integers a type has.
fn integers(ty: &Type) -> usize {
    match ty {
        Type::Int { .. } => 1,
        Type::Tuple(parts) => parts.iter().map(integers).sum(),
        Type::Record(parts) => parts.iter().map(|(_, ty)| integers(ty)).sum(),
        _ => 0,
    }
}

/// The type that holds values of both, if there is one.
pub(super) fn merge(a: &Guess, b: &Guess) -> Option<Guess> {
    let mut flexible = Vec::new();
    let (mut left, mut right) = (a.flexible.iter().copied(), b.flexible.iter().copied());
    let ty = merge_types(&a.ty, &b.ty, &mut left, &mut right, &mut flexible)?;
    Some(Guess { ty, flexible })
}

fn merge_types(
    a: &Type,
    b: &Type,
    left: &mut dyn Iterator<Item = bool>,
    right: &mut dyn Iterator<Item = bool>,
    flexible: &mut Vec<bool>,
) -> Option<Type> {
    match (a, b) {
        (Type::Int { size: a, signed: s }, Type::Int { size: b, signed: t }) => {
            let open = (left.next() == Some(true), right.next() == Some(true));
            let (ty, still_open) = merge_integers((*a, *s, open.0), (*b, *t, open.1));
            flexible.push(still_open);
            Some(ty)
        }
        (Type::Str { size: a }, Type::Str { size: b }) => Some(Type::Str { size: *a.max(b) }),
        (Type::Buf { size: a }, Type::Buf { size: b }) => Some(Type::Buf { size: *a.max(b) }),
        (Type::Pointer { .. }, Type::Pointer { .. }) => Some(a.clone()),
        (Type::Tuple(a), Type::Tuple(b)) if a.len() == b.len() => {
            let parts = a.iter().zip(b).map(|(a, b)| merge_types(a, b, left, right, flexible));
            Some(Type::Tuple(parts.collect::<Option<_>>()?))
        }
        _ => (a == b).then(|| a.clone()),
    }
}

/// Size, sign and openness of two integers to those of one that holds both. Where no integer does,
/// `int64`.
fn merge_integers(a: (u8, bool, bool), b: (u8, bool, bool)) -> (Type, bool) {
    let size = a.0.max(b.0);
    let open = a.2 && b.2;
    let int = |size, signed| Type::Int { size, signed };
    if a.1 == b.1 {
        return (int(size, a.1), open);
    }
    if a.2 || b.2 {
        let signed = (!a.2 && a.1) || (!b.2 && b.1);
        return (int(size, signed), open);
    }
    let (signed, unsigned) = if a.1 { (a.0, b.0) } else { (b.0, a.0) };
    let size = if signed > unsigned { signed } else { (size * 2).min(8) };
    (int(size, true), false)
}

/// What is known of a map's values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum ValueGuess {
    Plain(Guess),
    Aggregate(MapValue),
}

impl ValueGuess {
    /// Whether it is what `stats()` makes.
    pub(super) fn is_stats(&self) -> bool {
        matches!(self, ValueGuess::Aggregate(MapValue::Stats { .. }))
    }
}

/// The name that messages use for a map's value.
pub(super) fn value_name(value: &ValueGuess) -> String {
    match value {
        ValueGuess::Plain(guess) => guess.ty.to_string(),
        ValueGuess::Aggregate(value) => aggregate_name(value).to_string(),
    }
}

/// bpftrace's name of an aggregation's type.
pub(super) fn aggregate_name(value: &MapValue) -> &'static str {
    match value {
        MapValue::Plain(_) => "plain",
        MapValue::Count => "count_t",
        MapValue::Sum { .. } => "sum_t",
        MapValue::Min { .. } => "min_t",
        MapValue::Max { .. } => "max_t",
        MapValue::Avg { .. } => "avg_t",
        MapValue::Stats { .. } => "stats_t",
        MapValue::Hist { .. } => "hist_t",
        MapValue::LHist { .. } => "lhist_t",
    }
}

/// Two uses of one aggregation: signed once any use is. `None` when they are different functions
/// or differ in their parameters.
pub(super) fn merge_aggregates(a: &MapValue, b: &MapValue) -> Option<MapValue> {
    Some(match (a, b) {
        (MapValue::Sum { signed: a }, MapValue::Sum { signed: b }) => {
            MapValue::Sum { signed: *a || *b }
        }
        (MapValue::Min { signed: a }, MapValue::Min { signed: b }) => {
            MapValue::Min { signed: *a || *b }
        }
        (MapValue::Max { signed: a }, MapValue::Max { signed: b }) => {
            MapValue::Max { signed: *a || *b }
        }
        (MapValue::Avg { signed: a }, MapValue::Avg { signed: b }) => {
            MapValue::Avg { signed: *a || *b }
        }
        (MapValue::Stats { signed: a }, MapValue::Stats { signed: b }) => {
            MapValue::Stats { signed: *a || *b }
        }
        _ if a == b => a.clone(),
        _ => return None,
    })
}

/// Whether an aggregation's value can be read as one number, and of which type.
pub(super) fn total_type(value: &MapValue) -> Option<Type> {
    match value {
        MapValue::Count => Some(Type::U64),
        MapValue::Sum { signed }
        | MapValue::Min { signed }
        | MapValue::Max { signed }
        | MapValue::Avg { signed } => Some(Type::Int { size: 8, signed: *signed }),
        MapValue::Plain(_)
        | MapValue::Stats { .. }
        | MapValue::Hist { .. }
        | MapValue::LHist { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(size: u8, signed: bool) -> Guess {
        Guess::fixed(Type::Int { size, signed })
    }

    /// Pairs and results as bpftrace 0.27.1 infers them.
    #[test]
    fn integers_merge_as_in_bpftrace() {
        let merged = |a: &Guess, b: &Guess| merge(a, b).unwrap().ty.to_string();
        assert_eq!(merged(&Guess::literal(1), &Guess::literal(-1000)), "int16");
        assert_eq!(merged(&Guess::literal(1), &int(8, false)), "uint64");
        assert_eq!(merged(&int(4, false), &Guess::literal(-1)), "int64");
        assert_eq!(merged(&int(4, false), &Guess::literal(1)), "uint32");
        assert_eq!(merged(&int(8, false), &int(8, true)), "int64");
        assert_eq!(merged(&int(1, false), &int(4, true)), "int32");
        assert_eq!(Guess::literal(1 << 63).ty, Type::U64);
        assert_eq!(Guess::literal(0xffff_ffff).ty, Type::I64);
    }

    #[test]
    fn tuples_merge_part_by_part() {
        let key = |first: Guess, size| Guess {
            ty: Type::Tuple(vec![first.ty, Type::Str { size }]),
            flexible: first.flexible,
        };
        let merged = merge(&key(Guess::literal(1), 2), &key(int(4, false), 16)).unwrap();
        assert_eq!(merged.ty.to_string(), "(uint32,string[16])");
        assert_eq!(merge(&key(Guess::literal(1), 2), &int(4, false)), None);
    }
}
