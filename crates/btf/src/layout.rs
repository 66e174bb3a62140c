//! Sizes and alignments.

use crate::btf::View;
use crate::record::Record;
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
        size_of(self.view(), id)
    }

    /// The alignment of a value of the type, in bytes: 1 for a packed structure. `None` when it has
    /// none.
    pub fn align_of(&self, id: TypeId) -> Option<u32> {
        Alignments::new(self).of(id)
    }
}

/// [`Btf::size_of`] for those who ask often.
pub(crate) fn size_of(types: View<'_>, id: TypeId) -> Option<u32> {
    let mut id = id;
    let mut elements = 1_u32;
    for _ in 0..MAX_CHAIN {
        let record = types.record(id)?;
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

/// An alignment that was not looked for yet.
const UNKNOWN: u8 = 0;
/// There is none, or the type contains itself and is being looked at.
const NONE: u8 = u8::MAX;

/// Finds alignments, each once.
pub(crate) struct Alignments<'a> {
    types: View<'a>,
    /// By the types' numbers.
    known: Vec<u8>,
}

impl<'a> Alignments<'a> {
    pub(crate) fn new(btf: &'a Btf) -> Alignments<'a> {
        Alignments { types: btf.view(), known: vec![UNKNOWN; btf.next_id().0 as usize] }
    }

    pub(crate) fn of(&mut self, id: TypeId) -> Option<u32> {
        self.nested(id, 0)
    }

    fn nested(&mut self, id: TypeId, depth: u32) -> Option<u32> {
        match *self.known.get(id.0 as usize)? {
            UNKNOWN if depth == MAX_NESTING => return None,
            UNKNOWN => {}
            NONE => return None,
            known => return Some(known.into()),
        }
        self.known[id.0 as usize] = NONE;
        let align = self.find(id, depth)?;
        // At most that of a pointer.
        self.known[id.0 as usize] = align as u8;
        Some(align)
    }

    fn find(&mut self, id: TypeId, depth: u32) -> Option<u32> {
        let record = self.types.record(id)?;
        match record.kind {
            Kind::Int | Kind::Enum | Kind::Enum64 | Kind::Float => {
                Some(record.size_or_type.min(POINTER_SIZE)).filter(|&align| align != 0)
            }
            Kind::Ptr => Some(POINTER_SIZE),
            Kind::Array => self.nested(TypeId(record.word(0)), depth + 1),
            Kind::Typedef => self.nested(TypeId(record.size_or_type), depth + 1),
            kind if kind.is_modifier() => self.nested(TypeId(record.size_or_type), depth + 1),
            Kind::Struct | Kind::Union => self.composite(&record, depth),
            _ => None,
        }
    }

    fn composite(&mut self, record: &Record<'a>, depth: u32) -> Option<u32> {
        let members = self.members(record, depth);
        members.complete.then_some(if members.packed { 1 } else { members.align })
    }

    fn members(&mut self, record: &Record<'a>, depth: u32) -> MemberAlignment {
        let mut of = MemberAlignment { align: 1, packed: false, complete: true };
        for (ty, bit_offset, bit_size) in record.members() {
            let align = self.nested(ty, depth + 1);
            of.complete &= align.is_some();
            let align = align.unwrap_or(1);
            of.align = of.align.max(align);
            of.packed |= bit_size == 0 && !is_aligned(bit_offset, align);
        }
        // A size that is no multiple of the alignment is a packed structure's, too.
        of.packed |= !record.size_or_type.is_multiple_of(of.align);
        of
    }

    /// Whether a member of a structure is not where its alignment puts it, or the structure's size
    /// is no multiple of the largest alignment.
    pub(crate) fn is_packed(&mut self, id: TypeId) -> bool {
        self.types.record(id).is_some_and(|record| self.members(&record, 0).packed)
    }
}

/// What the members of a structure or union say about its alignment.
struct MemberAlignment {
    /// The largest.
    align: u32,
    packed: bool,
    /// Whether all members have one.
    complete: bool,
}

fn is_aligned(bit_offset: u32, align: u32) -> bool {
    u64::from(bit_offset).is_multiple_of(8 * u64::from(align))
}
