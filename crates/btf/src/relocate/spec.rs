//! The way from a type to a field or enumerator, in the program's types and in the target's.

use std::fmt;

use super::compat::{Comparison, TooComplex, skip};
use super::error::type_text;
use super::{CoreError, Relocation};
use crate::{Btf, Members, RelocationKind, Type, TypeId, essential};

/// Steps of a way, anonymous structures included; as many as libbpf takes.
const MAX_STEPS: usize = 64;
/// How many members are looked at for one field. A structure of the kernel has some hundreds;
/// without a bound, a malicious blob takes forever.
const MAX_MEMBERS: u32 = 1 << 20;

/// One turn of the way that means something in C: a named field, an element, an enumerator.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accessor<'a> {
    /// The structure that has the field, the type of the element, the enumeration.
    pub(super) ty: TypeId,
    /// Place of the member, element or enumerator.
    pub(super) index: u32,
    /// Name of the field or enumerator; `None` for an element.
    pub(super) name: Option<&'a str>,
}

/// A way in one blob.
#[derive(Clone, Debug)]
pub(super) struct Spec<'a> {
    pub(super) btf: &'a Btf,
    pub(super) root: TypeId,
    pub(super) kind: RelocationKind,
    /// Empty for questions about whole types.
    pub(super) accessors: Vec<Accessor<'a>>,
    /// Steps so far, anonymous structures included.
    steps: usize,
    /// Bits from the start of the root type.
    pub(super) bit_offset: u32,
}

/// How far a type of the target agrees; what agrees further is greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Unmatched {
    /// The type itself is of another shape.
    Type,
    /// It has no such enumerator.
    Enumerator,
    /// There is no such element at this turn.
    Element(usize),
    /// There is no such field at this turn.
    Field(usize),
    /// The field at this turn has another type.
    FieldType(usize),
}

/// Whether the question is about a whole type.
pub(super) fn is_type_based(kind: RelocationKind) -> bool {
    use RelocationKind::{TypeExists, TypeIdLocal, TypeIdTarget, TypeMatches, TypeSize};
    matches!(kind, TypeIdLocal | TypeIdTarget | TypeExists | TypeMatches | TypeSize)
}

/// Whether the question is about an enumerator.
pub(super) fn is_enumerator_based(kind: RelocationKind) -> bool {
    matches!(kind, RelocationKind::EnumValueExists | RelocationKind::EnumValue)
}

impl<'a> Spec<'a> {
    /// The way that a relocation describes in the program's own types.
    pub(super) fn parse(btf: &'a Btf, relocation: &Relocation) -> Result<Spec<'a>, CoreError> {
        let Relocation { type_id: root, kind, ref access, .. } = *relocation;
        let wrong = |why| CoreError::Access { id: root, access: access.clone(), why };
        if btf.kind(root).is_none() {
            return Err(wrong("there is no such type"));
        }
        let mut spec = Spec { btf, root, kind, accessors: Vec::new(), steps: 0, bit_offset: 0 };
        if is_type_based(kind) {
            return if access == "0" { Ok(spec) } else { Err(wrong("a type has no parts")) };
        }
        let mut path = Vec::new();
        for number in access.split(':') {
            if path.len() == MAX_STEPS {
                return Err(wrong("it is too long"));
            }
            let digits = number.bytes().all(|byte| byte.is_ascii_digit());
            let number = number.parse::<i32>().ok().filter(|_| digits);
            path.push(number.ok_or_else(|| wrong("it is not numbers with colons between"))? as u32);
        }
        let (id, ty) = skip(btf, root).map_err(|_| wrong("the type refers to nothing"))?;
        let (&first, rest) = path.split_first().ok_or_else(|| wrong("it is empty"))?;
        spec.steps = path.len();
        if is_enumerator_based(kind) {
            let enumeration = ty.and_then(|ty| ty.enumeration());
            let value = enumeration
                .filter(|_| rest.is_empty())
                .and_then(|enumeration| enumeration.values.get(first as usize))
                .ok_or_else(|| wrong("there is no such enumerator"))?;
            spec.accessors.push(Accessor { ty: id, index: first, name: Some(value.name) });
            return Ok(spec);
        }
        spec.accessors.push(Accessor { ty: id, index: first, name: None });
        let size = btf.size_of(id).ok_or_else(|| wrong("the type has no size"))?;
        spec.bit_offset = bits(first, size);
        let mut id = id;
        for &step in rest {
            let (container, ty) = skip(btf, id).map_err(|_| wrong("a type refers to nothing"))?;
            id = match ty {
                Some(Type::Struct(composite) | Type::Union(composite)) => {
                    let member = composite.members.get(step as usize);
                    let member = member.ok_or_else(|| wrong("there is no such member"))?;
                    spec.bit_offset = spec.bit_offset.wrapping_add(member.bit_offset);
                    if !member.name.is_empty() {
                        let name = Some(member.name);
                        spec.accessors.push(Accessor { ty: container, index: step, name });
                    }
                    member.ty
                }
                Some(Type::Array { element, len, .. }) => {
                    let (element, _) =
                        skip(btf, element).map_err(|_| wrong("a type refers to nothing"))?;
                    if step >= len && !spec.ends_in_flexible_array(len) {
                        return Err(wrong("there is no such element"));
                    }
                    spec.accessors.push(Accessor { ty: element, index: step, name: None });
                    let size = btf.size_of(element);
                    let size = size.ok_or_else(|| wrong("an element has no size"))?;
                    spec.bit_offset = spec.bit_offset.wrapping_add(bits(step, size));
                    element
                }
                _ => return Err(wrong("it leads into something that has no parts")),
            };
        }
        Ok(spec)
    }

    /// Whether an array of `len` elements that the way has come to is the flexible one at the end of
    /// a structure.
    fn ends_in_flexible_array(&self, len: u32) -> bool {
        let Some(Accessor { ty, index, name: Some(_) }) = self.accessors.last() else {
            return false;
        };
        let members = self.btf.ty(*ty).and_then(|ty| ty.members());
        len == 0 && members.is_some_and(|members| *index as usize + 1 == members.len())
    }

    /// The same way in a type of the target.
    pub(super) fn find_in<'t>(
        &self,
        btf: &'t Btf,
        root: TypeId,
    ) -> Result<Result<Spec<'t>, Unmatched>, CoreError> {
        self.find(btf, root).map_err(|_| CoreError::Malformed { what: self.to_string() })
    }

    fn find<'t>(
        &self,
        btf: &'t Btf,
        root: TypeId,
    ) -> Result<Result<Spec<'t>, Unmatched>, TooComplex> {
        let mut comparison = Comparison::new(self.btf, btf);
        let mut spec =
            Spec { btf, root, kind: self.kind, accessors: Vec::new(), steps: 0, bit_offset: 0 };
        if is_type_based(self.kind) {
            let same = match self.kind {
                RelocationKind::TypeMatches => comparison.matches(self.root, root)?,
                _ => comparison.types(self.root, root)?,
            };
            return Ok(if same { Ok(spec) } else { Err(Unmatched::Type) });
        }
        if is_enumerator_based(self.kind) {
            return self.find_enumerator(spec);
        }
        let mut id = root;
        for (at, local) in self.accessors.iter().enumerate() {
            let (resolved, ty) = skip(btf, id)?;
            if local.name.is_some() {
                let mut search = FieldSearch { local: self, accessor: local, members: 0 };
                id = match search.find(&mut comparison, &mut spec, resolved)? {
                    Found::Yes(ty) => ty,
                    Found::No => return Ok(Err(Unmatched::Field(at))),
                    Found::OtherType => return Ok(Err(Unmatched::FieldType(at))),
                };
                continue;
            }
            id = resolved;
            // The first index is that of the pointer into the root types themselves.
            if at > 0 {
                let Some(Type::Array { element, len, .. }) = ty else {
                    return Ok(Err(Unmatched::Element(at)));
                };
                if local.index >= len && !spec.ends_in_flexible_array(len) {
                    return Ok(Err(Unmatched::Element(at)));
                }
                id = skip(btf, element)?.0;
            }
            if spec.steps == MAX_STEPS {
                return Err(TooComplex);
            }
            spec.accessors.push(Accessor { ty: id, index: local.index, name: None });
            spec.steps += 1;
            let size = btf.size_of(id).ok_or(TooComplex)?;
            spec.bit_offset = spec.bit_offset.wrapping_add(bits(local.index, size));
        }
        Ok(Ok(spec))
    }

    fn find_enumerator<'t>(
        &self,
        mut spec: Spec<'t>,
    ) -> Result<Result<Spec<'t>, Unmatched>, TooComplex> {
        let (id, ty) = skip(spec.btf, spec.root)?;
        let Some(enumeration) = ty.and_then(|ty| ty.enumeration()) else {
            return Ok(Err(Unmatched::Type));
        };
        let name = self.accessors.first().and_then(|accessor| accessor.name).unwrap_or_default();
        let same = |other: &str| essential(other) == essential(name);
        let mut values = enumeration.values.enumerate();
        let Some((index, value)) = values.find(|(_, value)| same(value.name)) else {
            return Ok(Err(Unmatched::Enumerator));
        };
        spec.accessors.push(Accessor { ty: id, index: index as u32, name: Some(value.name) });
        Ok(Ok(spec))
    }

    /// The way up to this turn, as C writes it: `a.b[3].c`.
    pub(super) fn path_to(&self, last: usize) -> String {
        let mut text = String::new();
        for (at, accessor) in self.accessors.iter().take(last + 1).enumerate() {
            match accessor.name {
                Some(name) if text.is_empty() => text.push_str(name),
                Some(name) => text.extend([".", name]),
                None if at > 0 || accessor.index > 0 => {
                    text.push_str(&format!("[{}]", accessor.index));
                }
                None => {}
            }
        }
        text
    }
}

impl fmt::Display for Spec<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path_to(self.accessors.len());
        let what = if is_enumerator_based(self.kind) { "enumerator" } else { "field" };
        match path.as_str() {
            "" => write!(f, "{} of {}", self.kind.name(), type_text(self)),
            path => write!(f, "{} of {what} `{path}` of {}", self.kind.name(), type_text(self)),
        }
    }
}

/// Bits before the element of this index.
fn bits(index: u32, size: u32) -> u32 {
    index.wrapping_mul(size).wrapping_mul(8)
}

/// The search for a field by its name, through anonymous structures and unions.
struct FieldSearch<'s, 'l> {
    local: &'s Spec<'l>,
    accessor: &'s Accessor<'l>,
    /// Members looked at so far.
    members: u32,
}

enum Found {
    /// The field's type.
    Yes(TypeId),
    No,
    OtherType,
}

impl FieldSearch<'_, '_> {
    /// Looks into the type `id`, and adds to `spec` the steps that lead to the field.
    fn find<'t>(
        &mut self,
        comparison: &mut Comparison<'_, 't>,
        spec: &mut Spec<'t>,
        id: TypeId,
    ) -> Result<Found, TooComplex> {
        let btf = spec.btf;
        let (id, ty) = skip(btf, id)?;
        let Some(members) = ty.and_then(|ty| ty.members()) else { return Ok(Found::No) };
        for (index, member) in members.enumerate() {
            self.members += 1;
            if spec.steps == MAX_STEPS || self.members > MAX_MEMBERS {
                return Err(TooComplex);
            }
            if member.name.is_empty() {
                let before = (spec.bit_offset, spec.steps);
                spec.bit_offset = spec.bit_offset.wrapping_add(member.bit_offset);
                spec.steps += 1;
                match self.find(comparison, spec, member.ty)? {
                    Found::No => (spec.bit_offset, spec.steps) = before,
                    found => return Ok(found),
                }
            } else if Some(member.name) == self.accessor.name {
                if !comparison.fields(self.local_member()?, member.ty)? {
                    return Ok(Found::OtherType);
                }
                spec.bit_offset = spec.bit_offset.wrapping_add(member.bit_offset);
                spec.steps += 1;
                let name = Some(member.name);
                spec.accessors.push(Accessor { ty: id, index: index as u32, name });
                return Ok(Found::Yes(member.ty));
            }
        }
        Ok(Found::No)
    }

    /// The field's type in the program's own types.
    fn local_member(&self) -> Result<TypeId, TooComplex> {
        let members: Option<Members<'_>> =
            self.local.btf.ty(self.accessor.ty).and_then(|ty| ty.members());
        let member = members.and_then(|members| members.get(self.accessor.index as usize));
        member.map(|member| member.ty).ok_or(TooComplex)
    }
}
