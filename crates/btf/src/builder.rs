//! Makes a blob of types.

use std::collections::HashMap;

use crate::{HEADER_SIZE, Kind, MAGIC, VERSION};

/// A type of one blob.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TypeId(pub u32);

impl TypeId {
    /// No type: what `void` functions return and `void *` points to.
    pub const VOID: TypeId = TypeId(0);
}

/// Who can see a function (`enum btf_func_linkage`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Linkage {
    /// Only this program. The verifier looks into each call.
    Static = 0,
    /// Everybody. The verifier checks it once, on its own.
    Global = 1,
    /// Declared here, defined elsewhere.
    Extern = 2,
}

/// A member of a structure or union.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member<'a> {
    /// Its name; empty for an anonymous one.
    pub name: &'a str,
    /// Its type.
    pub ty: TypeId,
    /// Bits from the start of the structure.
    pub bit_offset: u32,
}

/// A blob under construction. Types may only refer to what is already there, except that the
/// kernel resolves forward numbers too.
///
/// Types that have the same definition share one number, and so do strings.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    types: Vec<u8>,
    by_record: HashMap<Vec<u8>, TypeId>,
    strings: Strings,
}

impl Builder {
    /// A blob with no types but `void`.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// An integer of 1, 2, 4, 8 or 16 bytes.
    pub fn int(&mut self, name: &str, bytes: u32, signed: bool) -> TypeId {
        let encoding = (u32::from(signed) << 24) | (bytes * 8);
        self.add(Kind::Int, name, 0, bytes, &[encoding])
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
        let members = capped(members);
        let mut words = Vec::with_capacity(members.len() * 3);
        for member in members {
            words.extend([self.string(member.name), member.ty.0, member.bit_offset]);
        }
        self.add(Kind::Struct, name, members.len() as u16, size, &words)
    }

    /// A prototype: return type, then name and type of each argument. The kernel wants a name for
    /// every argument of a function that it can call.
    pub fn func_proto(&mut self, ret: TypeId, args: &[(&str, TypeId)]) -> TypeId {
        let args = capped(args);
        let mut words = Vec::with_capacity(args.len() * 2);
        for (name, ty) in args {
            words.extend([self.string(name), ty.0]);
        }
        self.add(Kind::FuncProto, "", args.len() as u16, ret.0, &words)
    }

    /// A function. The kernel wants a C identifier as its name.
    pub fn func(&mut self, name: &str, proto: TypeId, linkage: Linkage) -> TypeId {
        self.add(Kind::Func, name, linkage as u16, proto.0, &[])
    }

    /// Offset of a string in the table of strings, which it joins if it is new. A string ends at
    /// its first zero byte.
    pub fn string(&mut self, text: &str) -> u32 {
        self.strings.offset(text)
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

    /// Adds `struct btf_type` and what follows it.
    fn add(
        &mut self,
        kind: Kind,
        name: &str,
        count: u16,
        size_or_type: u32,
        extra: &[u32],
    ) -> TypeId {
        let info = (u32::from(kind as u8) << 24) | u32::from(count);
        let common = [self.string(name), info, size_or_type];
        let words = common.iter().chain(extra);
        let record: Vec<u8> = words.flat_map(|word| word.to_le_bytes()).collect();
        let next = TypeId(self.by_record.len() as u32 + 1);
        let types = &mut self.types;
        *self.by_record.entry(record).or_insert_with_key(|record| {
            types.extend(record);
            next
        })
    }
}

/// As many as the 16-bit count of a type can say.
fn capped<T>(list: &[T]) -> &[T] {
    &list[..list.len().min(u16::MAX.into())]
}

/// Strings one after the other, each ended by a zero; the first is empty.
#[derive(Clone, Debug, Default)]
struct Strings {
    /// Without the empty string at the start.
    text: String,
    offsets: HashMap<String, u32>,
}

impl Strings {
    fn offset(&mut self, text: &str) -> u32 {
        let text = text.split('\0').next().unwrap_or_default();
        if text.is_empty() {
            return 0;
        }
        if let Some(&offset) = self.offsets.get(text) {
            return offset;
        }
        let offset = self.text.len() as u32 + 1;
        self.text.push_str(text);
        self.text.push('\0');
        self.offsets.insert(text.to_owned(), offset);
        offset
    }

    fn bytes(&self) -> Vec<u8> {
        [b"\0", self.text.as_bytes()].concat()
    }
}
