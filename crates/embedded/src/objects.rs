//! Objects that programs allocate (`bpf_obj_new`), by the guest addresses that they have.
//!
//! An object that was given back is not there any more: an access to it stops the run.

use std::collections::VecDeque;
use std::rc::Rc;

use bombus_btf::{Btf, Type, TypeId};
use bombus_platform::ValueField;

/// The largest object, and the distance between two in guest offsets.
const STRIDE: u64 = 1 << 20;
/// Objects that there may be.
const MOST: usize = 1 << 19;
/// Bytes that all may take.
const MOST_BYTES: usize = 1 << 30;
/// Places that were given back are used again when there are so many of them.
const RESTING: usize = 64;

/// What the kernel takes care of in an object, by offset.
pub(crate) type Fields = Rc<[(usize, ValueField)]>;

#[derive(Debug)]
struct Object {
    bytes: Box<[u8]>,
    fields: Fields,
}

/// Every object that there is.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    places: Vec<Option<Object>>,
    unused: VecDeque<usize>,
    bytes: usize,
}

impl Objects {
    /// A new object of zeros; gives its offset.
    pub(crate) fn allocate(&mut self, size: usize, fields: Fields) -> Option<u64> {
        if size as u64 > STRIDE || self.bytes + size > MOST_BYTES {
            return None;
        }
        let rested = self.unused.len() > RESTING || self.places.len() == MOST;
        let place = match self.unused.front().copied().filter(|_| rested) {
            Some(place) => {
                self.unused.pop_front();
                place
            }
            None if self.places.len() < MOST => {
                self.places.push(None);
                self.places.len() - 1
            }
            None => return None,
        };
        self.bytes += size;
        self.places[place] = Some(Object { bytes: vec![0; size].into(), fields });
        Some(place as u64 * STRIDE)
    }

    /// Gives an object back, by an offset in it.
    pub(crate) fn release(&mut self, offset: u64) {
        let place = (offset / STRIDE) as usize;
        if let Some(object) = self.places.get_mut(place).and_then(Option::take) {
            self.bytes -= object.bytes.len();
            self.unused.push_back(place);
        }
    }

    /// Where the object around an offset starts, and what is in it.
    pub(crate) fn around(&self, offset: u64) -> Option<(u64, Fields)> {
        let object = self.places.get((offset / STRIDE) as usize)?.as_ref()?;
        Some((offset - offset % STRIDE, object.fields.clone()))
    }

    #[inline]
    pub(crate) fn at(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let object = self.places.get((offset / STRIDE) as usize)?.as_ref()?;
        let start = (offset % STRIDE) as usize;
        object.bytes.get(start..start.checked_add(len)?)
    }

    #[inline]
    pub(crate) fn at_mut(&mut self, offset: u64, len: usize) -> Option<&mut [u8]> {
        let object = self.places.get_mut((offset / STRIDE) as usize)?.as_mut()?;
        let start = (offset % STRIDE) as usize;
        object.bytes.get_mut(start..start.checked_add(len)?)
    }
}

/// Size of a structure, and what the kernel takes care of in it (`btf_parse_fields`).
pub(crate) fn layout(types: &Btf, id: TypeId) -> Option<(usize, Fields)> {
    let size = usize::try_from(types.size_of(id)?).ok()?;
    let mut fields = Vec::new();
    find(types, id, 0, 0, &mut fields);
    Some((size, fields.into()))
}

fn find(
    types: &Btf,
    id: TypeId,
    at: usize,
    depth: usize,
    fields: &mut Vec<(usize, ValueField)>,
) -> Option<()> {
    const DEEPEST: usize = 16;
    const MOST: usize = 64;
    if depth > DEEPEST || fields.len() > MOST {
        return None;
    }
    let id = types.resolve(id)?;
    match types.ty(id)? {
        Type::Struct(structure) | Type::Union(structure) => {
            if let Some(field) = ValueField::from_name(structure.name) {
                fields.push((at, field));
                return Some(());
            }
            for member in structure.members.iter() {
                find(types, member.ty, at + member.bit_offset as usize / 8, depth + 1, fields);
            }
        }
        Type::Array { element, len, .. } => {
            let size = usize::try_from(types.size_of(element)?).ok()?;
            for index in 0..(len as usize).min(MOST) {
                find(types, element, at + index * size, depth + 1, fields);
            }
        }
        Type::Ptr(to) => {
            if let Some(Type::TypeTag(tag, _)) = types.ty(to) {
                fields.extend(ValueField::from_name(tag).map(|field| (at, field)));
            }
        }
        _ => {}
    }
    Some(())
}
