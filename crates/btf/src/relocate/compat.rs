//! When a type of the program and one of the target are taken for the same.

use crate::{Btf, Composite, Enumeration, Int, Kind, Type, TypeId, essential};

/// How many references are followed within one type, as libbpf does it.
const MAX_CHAIN: u32 = 32;
/// How deep prototypes and structures may nest, as libbpf has it.
const MAX_LEVEL: u32 = 32;
/// How many pairs of types are compared for one question. What a compiler makes takes a few hundred
/// at most; without a bound, a malicious blob takes forever.
const MAX_STEPS: u32 = 1 << 20;

/// The types nest or chain in a way that no compiler makes.
#[derive(Debug)]
pub(super) struct TooComplex;

/// Whether two kinds can stand for each other: the width of an enumeration does not matter.
pub(super) fn kinds(one: Kind, other: Kind) -> bool {
    let normal = |kind| if kind == Kind::Enum64 { Kind::Enum } else { kind };
    normal(one) == normal(other)
}

/// Compares types of two blobs.
pub(super) struct Comparison<'l, 't> {
    local: &'l Btf,
    target: &'t Btf,
    steps: u32,
}

/// A type without modifiers and typedefs; `None` is `void`.
pub(super) fn skip(btf: &Btf, id: TypeId) -> Result<(TypeId, Option<Type<'_>>), TooComplex> {
    let id = btf.resolve(id).ok_or(TooComplex)?;
    if id == TypeId::VOID {
        return Ok((id, None));
    }
    Ok((id, Some(btf.ty(id).ok_or(TooComplex)?)))
}

/// The kinds of two types, where `None` is `void`.
fn kinds_of(one: &Option<Type<'_>>, other: &Option<Type<'_>>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => kinds(one.kind(), other.kind()),
        _ => false,
    }
}

/// Integers that stand for bit fields, as compilers wrote them long ago, are never the same.
fn whole(one: &Int<'_>, other: &Int<'_>) -> bool {
    one.bit_offset == 0 && other.bit_offset == 0
}

impl<'l, 't> Comparison<'l, 't> {
    pub(super) fn new(local: &'l Btf, target: &'t Btf) -> Comparison<'l, 't> {
        Comparison { local, target, steps: 0 }
    }

    fn step(&mut self) -> Result<(), TooComplex> {
        self.steps += 1;
        if self.steps > MAX_STEPS { Err(TooComplex) } else { Ok(()) }
    }

    /// Whether a field of the one type can be taken for one of the other: modifiers and typedefs
    /// do not matter, nor the size and sign of integers, nor what pointers point to.
    pub(super) fn fields(&mut self, local: TypeId, target: TypeId) -> Result<bool, TooComplex> {
        let (mut local, mut target) = (local, target);
        loop {
            self.step()?;
            let (_, one) = skip(self.local, local)?;
            let (_, other) = skip(self.target, target)?;
            let (Some(one), Some(other)) = (one, other) else { return Ok(false) };
            return Ok(match (one, other) {
                (Type::Struct(_) | Type::Union(_), Type::Struct(_) | Type::Union(_))
                | (Type::Ptr(_), Type::Ptr(_))
                | (Type::Float(..), Type::Float(..)) => true,
                (Type::Int(one), Type::Int(other)) => whole(&one, &other),
                (Type::Fwd { name: one, .. }, Type::Fwd { name: other, .. }) => tags(one, other),
                (Type::Array { element: one, .. }, Type::Array { element: other, .. }) => {
                    (local, target) = (one, other);
                    continue;
                }
                (one, other) => match (one.enumeration(), other.enumeration()) {
                    (Some(one), Some(other)) => tags(one.name, other.name),
                    _ => false,
                },
            });
        }
    }

    /// Whether two types are the same for `type_exists` and its like: of the same kind, down through
    /// pointers, arrays and prototypes. Names were compared before.
    pub(super) fn types(&mut self, local: TypeId, target: TypeId) -> Result<bool, TooComplex> {
        let (one, other) = (self.local.kind(local), self.target.kind(target));
        match (one, other) {
            (Some(one), Some(other)) if !kinds(one, other) => Ok(false),
            _ => self.types_at(local, target, MAX_LEVEL),
        }
    }

    fn types_at(&mut self, local: TypeId, target: TypeId, level: u32) -> Result<bool, TooComplex> {
        let (mut local, mut target) = (local, target);
        for _ in 0..MAX_CHAIN {
            self.step()?;
            let (_, one) = skip(self.local, local)?;
            let (_, other) = skip(self.target, target)?;
            if !kinds_of(&one, &other) {
                return Ok(false);
            }
            match (one, other) {
                (Some(Type::Int(one)), Some(Type::Int(other))) => return Ok(whole(&one, &other)),
                (Some(Type::Ptr(one)), Some(Type::Ptr(other)))
                | (
                    Some(Type::Array { element: one, .. }),
                    Some(Type::Array { element: other, .. }),
                ) => (local, target) = (one, other),
                (
                    Some(Type::FuncProto { ret, params }),
                    Some(Type::FuncProto { ret: other_ret, params: others }),
                ) => {
                    if params.len() != others.len() {
                        return Ok(false);
                    }
                    for (one, other) in params.zip(others) {
                        let level = level.checked_sub(1).ok_or(TooComplex)?;
                        if !self.types_at(one.ty, other.ty, level)? {
                            return Ok(false);
                        }
                    }
                    (local, target) = (ret, other_ret);
                }
                (
                    None
                    | Some(
                        Type::Struct(_)
                        | Type::Union(_)
                        | Type::Enum(_)
                        | Type::Enum64(_)
                        | Type::Fwd { .. },
                    ),
                    _,
                ) => return Ok(true),
                _ => return Ok(false),
            }
        }
        Err(TooComplex)
    }

    /// Whether the target's type has everything that the program's has, member by member.
    pub(super) fn matches(&mut self, local: TypeId, target: TypeId) -> Result<bool, TooComplex> {
        self.matches_at(local, target, false, MAX_LEVEL)
    }

    fn matches_at(
        &mut self,
        local: TypeId,
        target: TypeId,
        behind_pointer: bool,
        level: u32,
    ) -> Result<bool, TooComplex> {
        if level == 0 {
            return Err(TooComplex);
        }
        let (mut local, mut target, mut behind_pointer) = (local, target, behind_pointer);
        for _ in 0..MAX_CHAIN {
            self.step()?;
            let (local_id, one) = skip(self.local, local)?;
            let (target_id, other) = skip(self.target, target)?;
            if !same_names(self.local.name(local_id), self.target.name(target_id)) {
                return Ok(false);
            }
            let (Some(one), Some(other)) = (one, other) else {
                return Ok(one.is_none() && other.is_none());
            };
            match (one, other) {
                (Type::Fwd { union, .. }, Type::Fwd { union: other, .. }) => {
                    return Ok(union == other);
                }
                (Type::Fwd { union: false, .. }, Type::Struct(_))
                | (Type::Fwd { union: true, .. }, Type::Union(_))
                | (Type::Struct(_), Type::Fwd { union: false, .. })
                | (Type::Union(_), Type::Fwd { union: true, .. }) => return Ok(behind_pointer),
                (Type::Struct(one), Type::Struct(other))
                | (Type::Union(one), Type::Union(other)) => {
                    return if behind_pointer {
                        Ok(true)
                    } else {
                        self.composites(&one, &other, level)
                    };
                }
                (Type::Int(one), Type::Int(other)) => {
                    return Ok(one.size == other.size && one.is_signed() == other.is_signed());
                }
                (Type::Ptr(one), Type::Ptr(other)) => {
                    behind_pointer = true;
                    (local, target) = (one, other);
                }
                (
                    Type::Array { element: one, len, .. },
                    Type::Array { element: other, len: other_len, .. },
                ) => {
                    if len != other_len {
                        return Ok(false);
                    }
                    (local, target) = (one, other);
                }
                (
                    Type::FuncProto { ret, params },
                    Type::FuncProto { ret: other_ret, params: others },
                ) => {
                    if params.len() != others.len() {
                        return Ok(false);
                    }
                    for (one, other) in params.zip(others) {
                        if !self.matches_at(one.ty, other.ty, behind_pointer, level - 1)? {
                            return Ok(false);
                        }
                    }
                    (local, target) = (ret, other_ret);
                }
                (one, other) => {
                    return match (one.enumeration(), other.enumeration()) {
                        (Some(one), Some(other)) => self.enumerations(&one, &other),
                        _ => Ok(false),
                    };
                }
            }
        }
        Err(TooComplex)
    }

    fn composites(
        &mut self,
        local: &Composite<'_>,
        target: &Composite<'_>,
        level: u32,
    ) -> Result<bool, TooComplex> {
        if local.members.len() > target.members.len() {
            return Ok(false);
        }
        for member in local.members {
            let mut matched = false;
            for other in target.members {
                self.step()?;
                if same_names(member.name, other.name)
                    && self.matches_at(member.ty, other.ty, false, level - 1)?
                {
                    matched = true;
                    break;
                }
            }
            if !matched {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn enumerations(
        &mut self,
        local: &Enumeration<'_>,
        target: &Enumeration<'_>,
    ) -> Result<bool, TooComplex> {
        if local.size != target.size || local.values.len() > target.values.len() {
            return Ok(false);
        }
        for value in local.values {
            let mut matched = false;
            for other in target.values {
                self.step()?;
                if same_names(value.name, other.name) {
                    matched = true;
                    break;
                }
            }
            if !matched {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Names of fields' types: an anonymous one agrees with any.
fn tags(one: &str, other: &str) -> bool {
    let (one, other) = (essential(one), essential(other));
    one.is_empty() || other.is_empty() || one == other
}

/// Names without their flavors.
fn same_names(one: &str, other: &str) -> bool {
    essential(one) == essential(other)
}
