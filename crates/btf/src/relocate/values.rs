//! The answers: what a way through a type comes to.

use super::spec::{Spec, is_enumerator_based, is_type_based};
use super::{Candidate, CoreError, Missing, Resolution, Width};
use crate::{Btf, Int, RelocationKind, Type, TypeId};

/// What the program's types say, and what the target's say.
#[derive(Debug)]
pub(super) struct Values {
    original: u64,
    pub(super) value: u64,
    validate: bool,
    width: Width,
    poison: bool,
}

/// One answer.
struct Answer {
    value: u64,
    /// Size in bytes of what a load or store accesses, and its type.
    access: Option<(u32, TypeId)>,
    /// Whether the compiler must have come to the same.
    validate: bool,
}

impl Answer {
    fn of(value: u64) -> Answer {
        Answer { value, access: None, validate: true }
    }
}

impl Values {
    /// With what was found in the target, if anything was.
    pub(super) fn new(local: &Spec<'_>, target: Option<&Spec<'_>>) -> Result<Values, CoreError> {
        let original = answer(local)?;
        let found = target.map(answer).transpose()?;
        let mut values = Values {
            original: original.value,
            value: 0,
            validate: original.validate,
            width: Width::Same,
            poison: false,
        };
        let (Some(found), Some(target)) = (found, target) else {
            // That something is not there is an answer to some questions.
            values.poison = match local.kind {
                RelocationKind::FieldExists | RelocationKind::EnumValueExists => false,
                kind => !is_type_based(kind),
            };
            return Ok(values);
        };
        values.value = found.value;
        // Where one of them is a bit field, that counts as no access at all.
        let (from, original) = original.access.unwrap_or_default();
        let (to, new) = found.access.unwrap_or_default();
        if from != to {
            let adjustable = can_change_width(local.btf, original, target.btf, new);
            values.width = if adjustable { Width::Changed { from, to } } else { Width::Impossible };
        }
        Ok(values)
    }

    /// Whether two types of the target say the same.
    pub(super) fn agree(&self, other: &Values) -> bool {
        self.value == other.value && self.poison == other.poison
    }

    pub(super) fn resolution(&self, target: Option<Candidate>, missing: Missing) -> Resolution {
        Resolution {
            original: self.original,
            value: self.value,
            validate: self.validate,
            width: self.width,
            target,
            poison: self.poison.then_some(missing),
        }
    }
}

fn answer(spec: &Spec<'_>) -> Result<Answer, CoreError> {
    if is_type_based(spec.kind) {
        type_answer(spec)
    } else if is_enumerator_based(spec.kind) {
        enumerator_answer(spec)
    } else {
        field_answer(spec)
    }
}

fn impossible(spec: &Spec<'_>, why: &'static str) -> CoreError {
    CoreError::Impossible { what: spec.to_string(), why }
}

fn type_answer(spec: &Spec<'_>) -> Result<Answer, CoreError> {
    match spec.kind {
        // Numbers of types change when objects are linked.
        RelocationKind::TypeIdTarget => {
            Ok(Answer { value: spec.root.0.into(), access: None, validate: false })
        }
        RelocationKind::TypeSize => match spec.btf.size_of(spec.root) {
            Some(size) => Ok(Answer::of(size.into())),
            None => Err(impossible(spec, "the type has no size")),
        },
        _ => Ok(Answer::of(1)),
    }
}

fn enumerator_answer(spec: &Spec<'_>) -> Result<Answer, CoreError> {
    if spec.kind == RelocationKind::EnumValueExists {
        return Ok(Answer::of(1));
    }
    let malformed = || CoreError::Malformed { what: spec.to_string() };
    let accessor = spec.accessors.first().ok_or_else(malformed)?;
    let ty = spec.btf.ty(accessor.ty);
    let enumeration = ty.and_then(|ty| ty.enumeration()).ok_or_else(malformed)?;
    let value = enumeration.values.get(accessor.index as usize).ok_or_else(malformed)?.value;
    Ok(Answer::of(match ty {
        // Values of 32 bits are taken for signed, whatever the enumeration says.
        Some(Type::Enum(_)) => i64::from(value as i32) as u64,
        _ => value as u64,
    }))
}

fn field_answer(spec: &Spec<'_>) -> Result<Answer, CoreError> {
    let btf = spec.btf;
    if spec.kind == RelocationKind::FieldExists {
        return Ok(Answer::of(1));
    }
    let malformed = || CoreError::Malformed { what: spec.to_string() };
    let sized = |id| btf.size_of(id).ok_or_else(malformed);
    let last = spec.accessors.last().ok_or_else(malformed)?;
    if last.name.is_none() {
        return match spec.kind {
            RelocationKind::FieldByteOffset => Ok(Answer {
                value: (spec.bit_offset / 8).into(),
                access: Some((sized(innermost(btf, last.ty))?, last.ty)),
                validate: true,
            }),
            RelocationKind::FieldByteSize => Ok(Answer::of(sized(last.ty)?.into())),
            _ => Err(impossible(spec, "this cannot be asked of an element of an array")),
        };
    }
    let members = btf.ty(last.ty).and_then(|ty| ty.members()).ok_or_else(malformed)?;
    let member = members.get(last.index as usize).ok_or_else(malformed)?;
    let field = btf.resolve(member.ty).ok_or_else(malformed)?;
    let bit_offset = spec.bit_offset;
    let is_bit_field = member.bit_size != 0;
    let (byte_offset, byte_size, bit_size) = if is_bit_field {
        let bit_size = u32::from(member.bit_size);
        let (offset, size) = container(btf, field, bit_offset, bit_size)
            .ok_or_else(|| impossible(spec, "the bit field cannot be read with 64 bits"))?;
        (offset, size, bit_size)
    } else {
        let size = sized(field)?;
        (bit_offset / 8, size, size.wrapping_mul(8))
    };
    // Compilers and libbpf may disagree about how to read a bit field.
    let answer = |value| Answer { value, access: None, validate: !is_bit_field };
    Ok(match spec.kind {
        RelocationKind::FieldByteOffset if is_bit_field => answer(byte_offset.into()),
        RelocationKind::FieldByteOffset => Answer {
            access: Some((sized(innermost(btf, field))?, field)),
            ..answer(byte_offset.into())
        },
        RelocationKind::FieldByteSize => answer(byte_size.into()),
        RelocationKind::FieldSigned => Answer::of(is_signed(btf, field).into()),
        RelocationKind::FieldLshift => {
            let used = bit_offset.wrapping_add(bit_size).wrapping_sub(byte_offset.wrapping_mul(8));
            answer(64_u32.wrapping_sub(used).into())
        }
        _ => Answer::of(64_u32.wrapping_sub(bit_size).into()),
    })
}

/// Offset and size in bytes of the smallest integer that holds a bit field, from that of its type
/// on.
fn container(btf: &Btf, field: TypeId, bit_offset: u32, bit_size: u32) -> Option<(u32, u32)> {
    // What its type has in the place of a size.
    let mut size = btf.record(field)?.size_or_type;
    loop {
        let offset = (bit_offset / 8).checked_div(size)? * size;
        let end = u64::from(bit_offset) + u64::from(bit_size);
        if end <= (u64::from(offset) + u64::from(size)) * 8 {
            return Some((offset, size));
        }
        if size >= 8 {
            return None;
        }
        size *= 2;
    }
}

/// The type of an array's elements, down through all dimensions; other types themselves. What a
/// load or store accesses is one element.
fn innermost(btf: &Btf, id: TypeId) -> TypeId {
    let mut id = id;
    for _ in 0..64 {
        match btf.resolve(id).and_then(|id| Some((id, btf.ty(id)?))) {
            Some((_, Type::Array { element, .. })) => id = element,
            Some((resolved, _)) => return resolved,
            None => return id,
        }
    }
    id
}

fn is_signed(btf: &Btf, field: TypeId) -> bool {
    match btf.ty(field) {
        Some(Type::Int(int)) => int.is_signed(),
        Some(Type::Enum(enumeration) | Type::Enum64(enumeration)) => enumeration.signed,
        _ => false,
    }
}

/// Whether a load of the one size can become one of the other: what the kernel zero-extends.
fn can_change_width(local: &Btf, original: TypeId, target: &Btf, new: TypeId) -> bool {
    match (local.ty(original), target.ty(new)) {
        (Some(Type::Ptr(_)), Some(Type::Ptr(_))) => true,
        (Some(Type::Int(one)), Some(Type::Int(other))) => {
            one.encoding != Int::SIGNED && other.encoding != Int::SIGNED
        }
        _ => false,
    }
}
