//! Where each type of a blob starts.

use crate::btf::ParseError;
use crate::record::u32_at;
use crate::{Kind, TypeId};

/// How long the records of a kind are.
#[derive(Clone, Copy)]
struct Shape {
    known: bool,
    /// Bytes with the header, without members.
    once: u32,
    /// Bytes of each member.
    each: u32,
}

/// By the number of the kind.
const SHAPES: [Shape; 32] = {
    let mut shapes = [Shape { known: false, once: 12, each: 0 }; 32];
    let mut number = 0;
    while number < shapes.len() {
        if let Some(kind) = Kind::from_number(number as u8) {
            let once = kind.extra_bytes(0);
            let each = kind.extra_bytes(1) - once;
            shapes[number] = Shape { known: true, once: 12 + once as u32, each: each as u32 };
        }
        number += 1;
    }
    shapes
};

/// The kinds, as a bit each, whose records are a header and nothing else.
const HEADERS_ONLY: u32 = {
    let mut kinds = 0;
    let mut number = 0;
    while number < SHAPES.len() {
        let Shape { known, once, each } = SHAPES[number];
        if known && once == 12 && each == 0 {
            kinds |= 1 << number;
        }
        number += 1;
    }
    kinds
};

/// The kinds, as a bit each, that have no names, `Func` among them: it has an index of its own.
pub(crate) const UNNAMED: u32 = {
    use Kind::{Array, Const, Func, FuncProto, Ptr, Restrict, Volatile};
    1 << Ptr as u32
        | 1 << Array as u32
        | 1 << Const as u32
        | 1 << Volatile as u32
        | 1 << Restrict as u32
        | 1 << FuncProto as u32
        | 1 << Func as u32
};

/// Where a type starts, and its kind: records start at multiples of 4, which leaves five bits for the
/// kind and half a gibibyte for the types.
#[derive(Clone, Copy)]
pub(crate) struct Place(u32);

impl Place {
    const LIMIT: usize = 1 << 29;

    fn new(start: usize, kind: u8) -> Place {
        Place(((start as u32) << 3) | u32::from(kind))
    }

    pub(crate) fn start(self) -> usize {
        (self.0 >> 5) as usize * 4
    }

    pub(crate) fn kind(self) -> Option<Kind> {
        Kind::from_number((self.0 & 0x1f) as u8)
    }

    /// Whether its kind is among these.
    pub(crate) fn is_of(self, kinds: u32) -> bool {
        kinds >> (self.0 & 0x1f) & 1 != 0
    }
}

/// Where each type starts.
pub(crate) fn index(types: &[u8], first_id: u32) -> Result<Vec<Place>, ParseError> {
    if types.len() > Place::LIMIT || u32::MAX - first_id < (types.len() / 12) as u32 {
        return Err(ParseError::TooLarge);
    }
    // A kernel's types take 25 bytes each.
    let mut index = Vec::with_capacity(types.len() / 24);
    let id = |index: &Vec<Place>| TypeId(first_id + index.len() as u32);
    let mut at = 0;
    while at < types.len() {
        let info = u32_at(types, at + 4).ok_or_else(|| ParseError::TypeTruncated(id(&index)))?;
        let kind = (info >> 24) as u8 & 0x1f;
        let place = Place::new(at, kind);
        if place.is_of(HEADERS_ONLY) {
            // Most are. The processor need not have the record to guess where the next one starts.
            at += 12;
        } else {
            let Shape { known, once, each } = SHAPES[usize::from(kind)];
            if !known {
                return Err(ParseError::UnknownKind { id: id(&index), kind });
            }
            at += (once + each * (info & 0xffff)) as usize;
        }
        if at > types.len() {
            return Err(ParseError::TypeTruncated(id(&index)));
        }
        index.push(place);
    }
    Ok(index)
}
