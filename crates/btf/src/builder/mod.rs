//! Makes a blob of types.

mod copy;
mod dedup;
mod sanitize;
mod strings;

use std::sync::Arc;

use crate::known::Known;
use crate::record::Record;
use crate::{Btf, HEADER_SIZE, Int, Kind, Linkage, MAGIC, Member, SectionVar, TypeId, VERSION};

pub use copy::IdMap;
pub use sanitize::{Support, sanitize};
use strings::Strings;

/// A blob under construction.
///
/// Types are numbered in the order in which they come. They may refer to what is not there yet, by
/// the number that it is going to have: see [`Builder::next_id`]. Types that have the same
/// definition share one number, and so do strings.
#[derive(Clone, Debug)]
pub struct Builder {
    types: Vec<u8>,
    /// Where each type starts.
    starts: Vec<u32>,
    /// Places in `starts` of those whose definition is to be shared.
    known: Known,
    strings: Strings,
    first_id: u32,
    base: Option<Arc<Btf>>,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::new()
    }
}

impl Builder {
    /// A blob with no types but `void`.
    pub fn new() -> Builder {
        Builder::with(Strings::default(), 1, None)
    }

    /// A blob that goes on from `base`: its types may refer to the base's, and are numbered on from
    /// them.
    pub fn split(base: Arc<Btf>) -> Builder {
        Builder::with(Strings::after(base.strings_end()), base.next_id().0, Some(base))
    }

    fn with(strings: Strings, first_id: u32, base: Option<Arc<Btf>>) -> Builder {
        Builder {
            types: Vec::new(),
            starts: Vec::new(),
            known: Known::default(),
            strings,
            first_id,
            base,
        }
    }

    /// The number of the next type that is new.
    pub fn next_id(&self) -> TypeId {
        TypeId(self.first_id + self.starts.len() as u32)
    }

    /// An integer of 1, 2, 4, 8 or 16 bytes.
    pub fn int(&mut self, name: &str, bytes: u32, signed: bool) -> TypeId {
        self.encoded_int(name, bytes, if signed { Int::SIGNED } else { 0 })
    }

    /// An integer that is shown as `encoding` says: [`Int::SIGNED`], [`Int::CHAR`], [`Int::BOOL`].
    pub fn encoded_int(&mut self, name: &str, bytes: u32, encoding: u8) -> TypeId {
        let word = (u32::from(encoding) << 24) | ((bytes * 8) & 0xff);
        self.add(Kind::Int, name, 0, bytes, &[word])
    }

    /// `to *`.
    pub fn ptr(&mut self, to: TypeId) -> TypeId {
        self.add(Kind::Ptr, "", 0, to.0, &[])
    }

    /// `element[len]`; `index` is the integer type of the index.
    pub fn array(&mut self, element: TypeId, index: TypeId, len: u32) -> TypeId {
        self.add(Kind::Array, "", 0, 0, &[element.0, index.0, len])
    }

    /// `struct name`, `size` in bytes. More than 65535 members do not fit and are left out.
    pub fn structure(&mut self, name: &str, size: u32, members: &[Member<'_>]) -> TypeId {
        self.composite(Kind::Struct, name, size, members)
    }

    /// `union name`, `size` in bytes. More than 65535 members do not fit and are left out.
    pub fn union(&mut self, name: &str, size: u32, members: &[Member<'_>]) -> TypeId {
        self.composite(Kind::Union, name, size, members)
    }

    fn composite(&mut self, kind: Kind, name: &str, size: u32, members: &[Member<'_>]) -> TypeId {
        let members = capped(members);
        let bit_fields = members.iter().any(|member| member.bit_size != 0);
        let mut words = Vec::with_capacity(members.len() * 3);
        for member in members {
            let mut offset = member.bit_offset;
            if bit_fields {
                offset = (offset & 0xff_ffff) | (u32::from(member.bit_size) << 24);
            }
            words.extend([self.string(member.name), member.ty.0, offset]);
        }
        self.add(kind, name, info(members.len(), bit_fields), size, &words)
    }

    /// `enum name` of `size` bytes, 4 at most; of more than 65535 values the rest is left out. One
    /// without values is only declared.
    pub fn enumeration(
        &mut self,
        name: &str,
        size: u32,
        signed: bool,
        values: &[(&str, i32)],
    ) -> TypeId {
        let values = capped(values);
        let mut words = Vec::with_capacity(values.len() * 2);
        for &(name, value) in values {
            words.extend([self.string(name), value as u32]);
        }
        self.add(Kind::Enum, name, info(values.len(), signed), size, &words)
    }

    /// `enum name` with values of 64 bits.
    pub fn enumeration64(
        &mut self,
        name: &str,
        size: u32,
        signed: bool,
        values: &[(&str, i64)],
    ) -> TypeId {
        let values = capped(values);
        let mut words = Vec::with_capacity(values.len() * 3);
        for &(name, value) in values {
            words.extend([self.string(name), value as u32, (value >> 32) as u32]);
        }
        self.add(Kind::Enum64, name, info(values.len(), signed), size, &words)
    }

    /// `struct name;` or `union name;`.
    pub fn fwd(&mut self, name: &str, union: bool) -> TypeId {
        self.add(Kind::Fwd, name, info(0, union), 0, &[])
    }

    /// `typedef to name`.
    pub fn typedef(&mut self, name: &str, to: TypeId) -> TypeId {
        self.add(Kind::Typedef, name, 0, to.0, &[])
    }

    /// `volatile to`.
    pub fn volatile(&mut self, to: TypeId) -> TypeId {
        self.add(Kind::Volatile, "", 0, to.0, &[])
    }

    /// `const to`.
    pub fn constant(&mut self, to: TypeId) -> TypeId {
        self.add(Kind::Const, "", 0, to.0, &[])
    }

    /// `to restrict`.
    pub fn restrict(&mut self, to: TypeId) -> TypeId {
        self.add(Kind::Restrict, "", 0, to.0, &[])
    }

    /// A prototype: return type, then name and type of each argument. The kernel wants a name for
    /// every argument of a function that it can call.
    pub fn func_proto(&mut self, ret: TypeId, args: &[(&str, TypeId)]) -> TypeId {
        let args = capped(args);
        let mut words = Vec::with_capacity(args.len() * 2);
        for (name, ty) in args {
            words.extend([self.string(name), ty.0]);
        }
        self.add(Kind::FuncProto, "", info(args.len(), false), ret.0, &words)
    }

    /// A function. The kernel wants a C identifier as its name.
    pub fn func(&mut self, name: &str, proto: TypeId, linkage: Linkage) -> TypeId {
        self.add(Kind::Func, name, linkage as u32, proto.0, &[])
    }

    /// A global variable.
    pub fn var(&mut self, name: &str, ty: TypeId, linkage: Linkage) -> TypeId {
        self.add(Kind::Var, name, 0, ty.0, &[linkage as u32])
    }

    /// A section of `size` bytes and the variables that it holds.
    pub fn datasec(&mut self, name: &str, size: u32, vars: &[SectionVar]) -> TypeId {
        let vars = capped(vars);
        let words: Vec<u32> =
            vars.iter().flat_map(|var| [var.ty.0, var.offset, var.size]).collect();
        self.add(Kind::Datasec, name, info(vars.len(), false), size, &words)
    }

    /// A floating point number of 2, 4, 8, 12 or 16 bytes.
    pub fn float(&mut self, name: &str, bytes: u32) -> TypeId {
        self.add(Kind::Float, name, 0, bytes, &[])
    }

    /// `btf_decl_tag(tag)` on a declaration, or on one of its members or arguments.
    pub fn decl_tag(&mut self, tag: &str, ty: TypeId, component: Option<u32>) -> TypeId {
        self.add(Kind::DeclTag, tag, 0, ty.0, &[component.unwrap_or(u32::MAX)])
    }

    /// `btf_type_tag(tag)` on a type.
    pub fn type_tag(&mut self, tag: &str, to: TypeId) -> TypeId {
        self.add(Kind::TypeTag, tag, 0, to.0, &[])
    }

    /// Offset of a string in the table of strings, which it joins if it is new. A string ends at
    /// its first zero byte.
    pub fn string(&mut self, text: &str) -> u32 {
        self.strings.offset(text.as_bytes())
    }

    /// The blob.
    pub fn finish(&self) -> Vec<u8> {
        let (types, strings) = (self.types.len() as u32, self.strings.bytes());
        let mut blob = Vec::with_capacity(HEADER_SIZE + self.types.len() + strings.len());
        blob.extend(MAGIC.to_le_bytes());
        blob.extend([VERSION, 0]);
        // Header size, offset and size of the types, offset and size of the strings.
        for word in [HEADER_SIZE as u32, 0, types, types, strings.len() as u32] {
            blob.extend(word.to_le_bytes());
        }
        blob.extend(&self.types);
        blob.extend(strings);
        blob
    }

    /// Adds `struct btf_type` and what follows it, unless there is the same already. `info` is
    /// without the kind.
    fn add(
        &mut self,
        kind: Kind,
        name: &str,
        info: u32,
        size_or_type: u32,
        extra: &[u32],
    ) -> TypeId {
        let common = [self.string(name), info | ((kind as u32) << 24), size_or_type];
        let words = common.iter().chain(extra);
        let record: Vec<u8> = words.flat_map(|word| word.to_le_bytes()).collect();
        self.share(&record)
    }

    /// Adds a record unless there is the same already.
    fn share(&mut self, record: &[u8]) -> TypeId {
        let at = |place| record_at(&self.types, &self.starts, place);
        if let Some(place) = self.known.find(record, at) {
            return TypeId(self.first_id + place);
        }
        self.push_known(record)
    }

    /// Adds a record that is to be shared.
    fn push_known(&mut self, record: &[u8]) -> TypeId {
        let id = self.push(record);
        let at = |place| record_at(&self.types, &self.starts, place);
        self.known.insert(id.0 - self.first_id, at);
        id
    }

    /// Adds a record whatever else there is.
    fn push(&mut self, record: &[u8]) -> TypeId {
        let id = self.next_id();
        self.starts.push(self.types.len() as u32);
        self.types.extend_from_slice(record);
        id
    }

    /// The bytes of one of its own types.
    pub(crate) fn record_mut(&mut self, id: TypeId) -> Option<&mut [u8]> {
        let index = id.0.checked_sub(self.first_id)? as usize;
        let start = *self.starts.get(index)? as usize;
        let end = self.starts.get(index + 1).map_or(self.types.len(), |&end| end as usize);
        // What shared this record's number has it no more.
        self.known = Known::default();
        self.types.get_mut(start..end)
    }

    /// One of its own types.
    pub(crate) fn record(&self, id: TypeId) -> Option<Record<'_>> {
        let index = id.0.checked_sub(self.first_id)? as usize;
        Record::at(self.types.get(*self.starts.get(index)? as usize..)?)
    }
}

/// The bytes of the type at this place.
fn record_at<'t>(types: &'t [u8], starts: &[u32], place: u32) -> &'t [u8] {
    let place = place as usize;
    let start = starts.get(place).map_or(types.len(), |&start| start as usize);
    let end = starts.get(place + 1).map_or(types.len(), |&end| end as usize);
    types.get(start..end).unwrap_or_default()
}

/// `info` of a type without its kind.
fn info(count: usize, flag: bool) -> u32 {
    (u32::from(flag) << 31) | count as u32
}

/// As many as the 16-bit count of a type can say.
fn capped<T>(list: &[T]) -> &[T] {
    &list[..list.len().min(u16::MAX.into())]
}
