//! Sizes and alignments.

use std::collections::HashMap;

use crate::btf::{Record, View};
use crate::{Btf, Kind, Type, TypeId};

/// Bytes of a pointer on the machines that BPF runs on.
pub(crate) const POINTER_SIZE: u32 = 8;
/// How many references are followed from one type to the next; what goes on for longer is taken
/// for a circle.
const MAX_CHAIN: usize = 64;
/// How deep structures stand inside structures.
const MAX_NESTING: u32 = 128;

impl Btf {
    /// The type without modifiers and typedefs; [`TypeId::VOID`] when nothing is left. `None` when
    /// there is no such type, or a circle.
    pub fn resolve(&self, id: TypeId) -> Option<TypeId> {
        let mut id = id;
        for _ in 0..MAX_CHAIN {
            if id == TypeId::VOID {
                return Some(id);
            }
            let record = self.record(id)?;
            if record.kind != Kind::Typedef && !record.kind.is_modifier() {
                return Some(id);
            }
            id = TypeId(record.size_or_type);
        }
        None
    }

    /// The type that [`Btf::resolve`] finds, decoded; `None` also for `void`.
    pub fn resolved(&self, id: TypeId) -> Option<Type<'_>> {
        self.ty(self.resolve(id)?)
    }

    /// How many bytes a value of the type takes; `None` when it has no size (`void`, functions,
    /// structures that are only declared) or more than 32 bits can say.
    pub fn size_of(&self, id: TypeId) -> Option<u32> {
        let mut id = id;
        let mut elements = 1_u32;
        for _ in 0..MAX_CHAIN {
            let record = self.record(id)?;
            let size = match record.kind {
                Kind::Int
                | Kind::Struct
                | Kind::Union
                | Kind::Enum
                | Kind::Enum64
                | Kind::Datasec
                | Kind::Float => record.size_or_type,
                Kind::Ptr => POINTER_SIZE,
                Kind::Array => {
                    elements = elements.checked_mul(record.word(2))?;
                    id = TypeId(record.word(0));
                    continue;
                }
                Kind::Typedef | Kind::Var | Kind::DeclTag => {
                    id = TypeId(record.size_or_type);
                    continue;
                }
                kind if kind.is_modifier() => {
                    id = TypeId(record.size_or_type);
                    continue;
                }
                _ => return None,
            };
            return elements.checked_mul(size);
        }
        None
    }

    /// The alignment of a value of the type, in bytes: 1 for a packed structure. `None` when it has
    /// none.
    pub fn align_of(&self, id: TypeId) -> Option<u32> {
        Alignments::new(self).of(id)
    }
}

/// Finds alignments, each once.
pub(crate) struct Alignments<'a> {
    types: View<'a>,
    /// Of structures and unions; `None` while it is being found.
    known: HashMap<TypeId, Option<u32>>,
}

impl<'a> Alignments<'a> {
    pub(crate) fn new(btf: &'a Btf) -> Alignments<'a> {
        Alignments { types: btf.view(), known: HashMap::new() }
    }

    pub(crate) fn of(&mut self, id: TypeId) -> Option<u32> {
        self.nested(id, 0)
    }

    fn nested(&mut self, id: TypeId, depth: u32) -> Option<u32> {
        let mut id = id;
        for _ in 0..MAX_CHAIN {
            let record = self.types.record(id)?;
            id = match record.kind {
                Kind::Int | Kind::Enum | Kind::Enum64 | Kind::Float => {
                    return Some(record.size_or_type.min(POINTER_SIZE)).filter(|&align| align != 0);
                }
                Kind::Ptr => return Some(POINTER_SIZE),
                Kind::Array => TypeId(record.word(0)),
                Kind::Typedef => TypeId(record.size_or_type),
                kind if kind.is_modifier() => TypeId(record.size_or_type),
                Kind::Struct | Kind::Union => return self.composite(id, &record, depth),
                _ => return None,
            };
        }
        None
    }

    fn composite(&mut self, id: TypeId, record: &Record<'a>, depth: u32) -> Option<u32> {
        if let Some(known) = self.known.get(&id) {
            return *known;
        }
        if depth == MAX_NESTING {
            return None;
        }
        self.known.insert(id, None);
        let mut largest = 1;
        let mut packed = false;
        for (ty, bit_offset, bit_size) in record.members() {
            let align = self.nested(ty, depth + 1)?;
            largest = largest.max(align);
            packed |= bit_size == 0 && !is_aligned(bit_offset, align);
        }
        // A size that is no multiple of the alignment is a packed structure's, too.
        packed |= !record.size_or_type.is_multiple_of(largest);
        let align = if packed { 1 } else { largest };
        self.known.insert(id, Some(align));
        Some(align)
    }

    /// Whether a member of a structure is not where its alignment puts it, or the structure's size
    /// is no multiple of the largest alignment.
    pub(crate) fn is_packed(&mut self, id: TypeId) -> bool {
        let Some(record) = self.types.record(id) else { return false };
        let mut largest = 1;
        for (ty, bit_offset, bit_size) in record.members() {
            let align = self.of(ty).unwrap_or(1);
            if bit_size == 0 && !is_aligned(bit_offset, align) {
                return true;
            }
            largest = largest.max(align);
        }
        !record.size_or_type.is_multiple_of(largest)
    }
}

fn is_aligned(bit_offset: u32, align: u32) -> bool {
    u64::from(bit_offset).is_multiple_of(8 * u64::from(align))
}
