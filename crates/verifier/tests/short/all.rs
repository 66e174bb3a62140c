//! All that can be said of words of a few bits.

use std::collections::HashSet;

use bombus_isa::AluOp;
use bombus_verifier::domain::{Range, Scalar, Tnum, Value, Word};

use super::Short;

type W4 = Short<4>;

pub(crate) const OPS: [AluOp; 14] = [
    AluOp::Add,
    AluOp::Sub,
    AluOp::Mul,
    AluOp::Div,
    AluOp::Sdiv,
    AluOp::Or,
    AluOp::And,
    AluOp::Lsh,
    AluOp::Rsh,
    AluOp::Mod,
    AluOp::Smod,
    AluOp::Xor,
    AluOp::Mov,
    AluOp::Arsh,
];

pub(crate) fn words<const W: u32>() -> impl Iterator<Item = Short<W>> {
    (0..1 << W).map(Short::of)
}

pub(crate) fn tnums<const W: u32>() -> Vec<Tnum<Short<W>>> {
    let pairs = words().flat_map(|mask| words().map(move |value| Tnum { value, mask }));
    pairs.filter(|tnum| (tnum.value & tnum.mask).0 == 0).collect()
}

pub(crate) fn ranges<const W: u32>() -> Vec<Range<Short<W>>> {
    words().flat_map(|start| words().map(move |len| Range { start, len })).collect()
}

/// Every value that says all that can be said of what it can be, once.
pub(crate) fn values<const W: u32>() -> Vec<Value<Short<W>>> {
    let mut seen = HashSet::new();
    let mut values = Vec::new();
    for bits in tnums() {
        for range in ranges() {
            let (value, empty) = Value { bits, range }.reduced();
            let members = members(value);
            // What is empty need not be found out to be so.
            if !empty && !members.is_empty() && seen.insert((members, value.range.len.0)) {
                values.push(value);
            }
        }
    }
    values
}

pub(crate) fn members<const W: u32>(value: Value<Short<W>>) -> Vec<u64> {
    words::<W>().filter(|&word| value.contains(word)).map(|word| word.0).collect()
}

pub(crate) fn pairs<T: Copy>(list: &[T]) -> impl Iterator<Item = (T, T)> {
    list.iter().flat_map(|&a| list.iter().map(move |&b| (a, b)))
}

/// Every scalar of four bits, whose low half has two.
pub(crate) fn scalars() -> Vec<(Scalar<W4>, Vec<u64>)> {
    let mut seen = HashSet::new();
    let mut scalars = Vec::new();
    for Value { bits, range } in values::<4>() {
        for low in ranges::<2>() {
            let given = Scalar { bits, range, low };
            let before: Vec<u64> =
                words::<4>().filter(|&word| given.contains(word)).map(|word| word.0).collect();
            let (scalar, empty) = given.reduced();
            for &x in &before {
                assert!(!empty && scalar.contains(W4::of(x)), "{x} of {given:?}: {scalar:?}");
            }
            if !before.is_empty() && seen.insert(before.clone()) {
                scalars.push((scalar, before));
            }
        }
    }
    scalars
}
