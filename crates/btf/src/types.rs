//! Types, decoded.

use std::fmt;
use std::marker::PhantomData;

use crate::record::{Record, u32_at};
use crate::{Btf, Kind};

/// A type's number in its blob.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct TypeId(pub u32);

impl TypeId {
    /// No type: what `void` functions return and `void *` points to.
    pub const VOID: TypeId = TypeId(0);
}

impl fmt::Display for TypeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.0)
    }
}

/// Who can see a function or variable (`enum btf_func_linkage`, `BTF_VAR_*`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u16)]
pub enum Linkage {
    /// Only this program. The verifier looks into each call of a function.
    Static = 0,
    /// Everybody. The verifier checks a function once, on its own.
    Global = 1,
    /// Declared here, defined elsewhere.
    Extern = 2,
}

impl Linkage {
    /// The one with this number.
    pub const fn from_number(number: u32) -> Option<Linkage> {
        match number {
            0 => Some(Linkage::Static),
            1 => Some(Linkage::Global),
            2 => Some(Linkage::Extern),
            _ => None,
        }
    }

    /// The name as bpftool prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Linkage::Static => "static",
            Linkage::Global => "global",
            Linkage::Extern => "extern",
        }
    }
}

/// An integer type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Int<'a> {
    /// Its name.
    pub name: &'a str,
    /// Bytes that it takes.
    pub size: u32,
    /// Bits that are used of them.
    pub bits: u8,
    /// Where these start. Compilers long before CO-RE described bit fields by it; otherwise 0.
    pub bit_offset: u8,
    /// How it is shown: `BTF_INT_SIGNED`, `BTF_INT_CHAR` and `BTF_INT_BOOL`.
    pub encoding: u8,
}

impl Int<'_> {
    /// `BTF_INT_SIGNED`.
    pub const SIGNED: u8 = 1;
    /// `BTF_INT_CHAR`.
    pub const CHAR: u8 = 2;
    /// `BTF_INT_BOOL`.
    pub const BOOL: u8 = 4;

    /// Whether its top bit is a sign.
    pub const fn is_signed(&self) -> bool {
        self.encoding & Int::SIGNED != 0
    }

    /// Whether it is `_Bool`.
    pub const fn is_bool(&self) -> bool {
        self.encoding & Int::BOOL != 0
    }
}

/// A structure or union.
#[derive(Clone, Copy, Debug)]
pub struct Composite<'a> {
    /// Its name; empty for an anonymous one.
    pub name: &'a str,
    /// Its size in bytes.
    pub size: u32,
    /// Its members, in order.
    pub members: Members<'a>,
}

/// An enumeration, of 32 or of 64 bits.
#[derive(Clone, Copy, Debug)]
pub struct Enumeration<'a> {
    /// Its name; empty for an anonymous one.
    pub name: &'a str,
    /// Its size in bytes.
    pub size: u32,
    /// Whether its values are signed.
    pub signed: bool,
    /// Its enumerators, in order. None: it is only declared.
    pub values: Enumerators<'a>,
}

/// What a type is.
#[derive(Clone, Copy, Debug)]
pub enum Type<'a> {
    /// Integer; also `char` and `_Bool`.
    Int(Int<'a>),
    /// Pointer to a type; to [`TypeId::VOID`] for `void *`.
    Ptr(TypeId),
    /// Array.
    Array {
        /// Type of each element.
        element: TypeId,
        /// The integer type of the index.
        index: TypeId,
        /// Number of elements; 0 for a flexible one.
        len: u32,
    },
    /// Structure.
    Struct(Composite<'a>),
    /// Union.
    Union(Composite<'a>),
    /// Enumeration of at most 32 bits.
    Enum(Enumeration<'a>),
    /// Declaration of a structure or union without members.
    Fwd {
        /// Its name.
        name: &'a str,
        /// Whether it is a union.
        union: bool,
    },
    /// `typedef`: a name and the type that it stands for.
    Typedef(&'a str, TypeId),
    /// `volatile` type.
    Volatile(TypeId),
    /// `const` type.
    Const(TypeId),
    /// `restrict` type.
    Restrict(TypeId),
    /// Function.
    Func {
        /// Its name.
        name: &'a str,
        /// Its [`Type::FuncProto`].
        proto: TypeId,
        /// Who can see it.
        linkage: Linkage,
    },
    /// Return and argument types of functions.
    FuncProto {
        /// What it returns.
        ret: TypeId,
        /// What it takes. A last one without name and type is `...`.
        params: Params<'a>,
    },
    /// Global variable.
    Var {
        /// Its name.
        name: &'a str,
        /// Its type.
        ty: TypeId,
        /// Who can see it.
        linkage: Linkage,
    },
    /// Section of variables.
    Datasec {
        /// The section's name, with its dot.
        name: &'a str,
        /// Its size in bytes; 0 until it is linked.
        size: u32,
        /// What it holds.
        vars: SectionVars<'a>,
    },
    /// Floating point number: name, and size in bytes.
    Float(&'a str, u32),
    /// Attribute of a declaration.
    DeclTag {
        /// The attribute.
        tag: &'a str,
        /// The structure, union, function, variable or typedef.
        ty: TypeId,
        /// The member or argument that it belongs to; `None`: it belongs to the whole.
        component: Option<u32>,
    },
    /// Attribute of a type, and the type.
    TypeTag(&'a str, TypeId),
    /// Enumeration of 64 bits.
    Enum64(Enumeration<'a>),
}

impl<'a> Type<'a> {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Type::Int(_) => Kind::Int,
            Type::Ptr(_) => Kind::Ptr,
            Type::Array { .. } => Kind::Array,
            Type::Struct(_) => Kind::Struct,
            Type::Union(_) => Kind::Union,
            Type::Enum(_) => Kind::Enum,
            Type::Fwd { .. } => Kind::Fwd,
            Type::Typedef(..) => Kind::Typedef,
            Type::Volatile(_) => Kind::Volatile,
            Type::Const(_) => Kind::Const,
            Type::Restrict(_) => Kind::Restrict,
            Type::Func { .. } => Kind::Func,
            Type::FuncProto { .. } => Kind::FuncProto,
            Type::Var { .. } => Kind::Var,
            Type::Datasec { .. } => Kind::Datasec,
            Type::Float(..) => Kind::Float,
            Type::DeclTag { .. } => Kind::DeclTag,
            Type::TypeTag(..) => Kind::TypeTag,
            Type::Enum64(_) => Kind::Enum64,
        }
    }

    /// Its name; empty when it has none.
    pub const fn name(&self) -> &'a str {
        match self {
            Type::Int(int) => int.name,
            Type::Struct(composite) | Type::Union(composite) => composite.name,
            Type::Enum(enumeration) | Type::Enum64(enumeration) => enumeration.name,
            Type::Fwd { name, .. }
            | Type::Typedef(name, _)
            | Type::Func { name, .. }
            | Type::Var { name, .. }
            | Type::Datasec { name, .. }
            | Type::Float(name, _)
            | Type::DeclTag { tag: name, .. }
            | Type::TypeTag(name, _) => name,
            Type::Ptr(_)
            | Type::Array { .. }
            | Type::Volatile(_)
            | Type::Const(_)
            | Type::Restrict(_)
            | Type::FuncProto { .. } => "",
        }
    }

    /// The members of a structure or union.
    pub const fn members(&self) -> Option<Members<'a>> {
        match self {
            Type::Struct(composite) | Type::Union(composite) => Some(composite.members),
            _ => None,
        }
    }

    /// The enumeration, of either width.
    pub const fn enumeration(&self) -> Option<Enumeration<'a>> {
        match self {
            Type::Enum(enumeration) | Type::Enum64(enumeration) => Some(*enumeration),
            _ => None,
        }
    }
}

/// What there are many of in one type.
pub trait Entry<'a>: Sized {
    /// Decodes one. `flag` is the flag of the type.
    #[doc(hidden)]
    fn read(btf: &'a Btf, words: &[u8], flag: bool) -> Option<Self>;
}

/// The members, arguments, enumerators or variables of a type, each decoded when its turn comes.
pub struct Entries<'a, E> {
    btf: &'a Btf,
    bytes: &'a [u8],
    /// Bytes of one; never 0.
    stride: usize,
    flag: bool,
    entry: PhantomData<fn() -> E>,
}

/// Members of a structure or union.
pub type Members<'a> = Entries<'a, Member<'a>>;
/// Arguments of a function.
pub type Params<'a> = Entries<'a, Param<'a>>;
/// Values of an enumeration.
pub type Enumerators<'a> = Entries<'a, Enumerator<'a>>;
/// Variables of a section.
pub type SectionVars<'a> = Entries<'a, SectionVar>;

impl<E> Clone for Entries<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Entries<'_, E> {}

impl<'a, E: Entry<'a>> Entries<'a, E> {
    fn new(btf: &'a Btf, record: &Record<'a>) -> Entries<'a, E> {
        let stride = (record.kind.words().1.len() * 4).max(1);
        Entries { btf, bytes: record.extra(), stride, flag: record.flag, entry: PhantomData }
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.bytes.len() / self.stride
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The one at this place.
    pub fn get(&self, index: usize) -> Option<E> {
        let start = index.checked_mul(self.stride)?;
        E::read(self.btf, self.bytes.get(start..)?.get(..self.stride)?, self.flag)
    }

    /// All of them, without taking them away from this iterator.
    pub fn iter(&self) -> Entries<'a, E> {
        *self
    }
}

impl<'a, E: Entry<'a>> Iterator for Entries<'a, E> {
    type Item = E;

    fn next(&mut self) -> Option<E> {
        let entry = self.get(0)?;
        self.bytes = &self.bytes[self.stride..];
        Some(entry)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl<'a, E: Entry<'a>> ExactSizeIterator for Entries<'a, E> {}

impl<'a, E: Entry<'a> + fmt::Debug> fmt::Debug for Entries<'a, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

/// A member of a structure or union.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Member<'a> {
    /// Its name; empty for an anonymous one.
    pub name: &'a str,
    /// Its type.
    pub ty: TypeId,
    /// Bits from the start of the structure.
    pub bit_offset: u32,
    /// Bits of a bit field; 0: it is none.
    pub bit_size: u8,
}

impl<'a> Entry<'a> for Member<'a> {
    fn read(btf: &'a Btf, words: &[u8], flag: bool) -> Option<Member<'a>> {
        let offset = u32_at(words, 8)?;
        Some(Member {
            name: btf.name_at(u32_at(words, 0)?),
            ty: TypeId(u32_at(words, 4)?),
            bit_offset: if flag { offset & 0xff_ffff } else { offset },
            bit_size: if flag { (offset >> 24) as u8 } else { 0 },
        })
    }
}

/// An argument of a function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Param<'a> {
    /// Its name; may be empty.
    pub name: &'a str,
    /// Its type.
    pub ty: TypeId,
}

impl<'a> Entry<'a> for Param<'a> {
    fn read(btf: &'a Btf, words: &[u8], _: bool) -> Option<Param<'a>> {
        Some(Param { name: btf.name_at(u32_at(words, 0)?), ty: TypeId(u32_at(words, 4)?) })
    }
}

/// A value of an enumeration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Enumerator<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value. Those of an unsigned enumeration of 64 bits are to be read as `u64`.
    pub value: i64,
}

impl<'a> Entry<'a> for Enumerator<'a> {
    /// A value of 32 bits has no third word.
    fn read(btf: &'a Btf, words: &[u8], signed: bool) -> Option<Enumerator<'a>> {
        let low = u32_at(words, 4)?;
        let value = match u32_at(words, 8) {
            Some(high) => (i64::from(high) << 32) | i64::from(low),
            None if signed => i64::from(low as i32),
            None => i64::from(low),
        };
        Some(Enumerator { name: btf.name_at(u32_at(words, 0)?), value })
    }
}

/// A variable's place in a section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SectionVar {
    /// The variable.
    pub ty: TypeId,
    /// Bytes from the start of the section.
    pub offset: u32,
    /// Its size in bytes.
    pub size: u32,
}

impl<'a> Entry<'a> for SectionVar {
    fn read(_: &'a Btf, words: &[u8], _: bool) -> Option<SectionVar> {
        Some(SectionVar {
            ty: TypeId(u32_at(words, 0)?),
            offset: u32_at(words, 4)?,
            size: u32_at(words, 8)?,
        })
    }
}

impl Btf {
    /// A type; `None` for [`TypeId::VOID`], for numbers that no type has, and for what no compiler
    /// makes.
    pub fn ty(&self, id: TypeId) -> Option<Type<'_>> {
        let record = self.record(id)?;
        let name = self.name_at(record.name);
        let to = TypeId(record.size_or_type);
        let size = record.size_or_type;
        let word = record.word(0);
        Some(match record.kind {
            Kind::Int => Type::Int(Int {
                name,
                size,
                bits: word as u8,
                bit_offset: (word >> 16) as u8,
                encoding: (word >> 24) as u8 & 0xf,
            }),
            Kind::Ptr => Type::Ptr(to),
            Kind::Array => Type::Array {
                element: TypeId(word),
                index: TypeId(record.word(1)),
                len: record.word(2),
            },
            Kind::Struct => {
                Type::Struct(Composite { name, size, members: Entries::new(self, &record) })
            }
            Kind::Union => {
                Type::Union(Composite { name, size, members: Entries::new(self, &record) })
            }
            Kind::Enum => Type::Enum(Enumeration {
                name,
                size,
                signed: record.flag,
                values: Entries::new(self, &record),
            }),
            Kind::Fwd => Type::Fwd { name, union: record.flag },
            Kind::Typedef => Type::Typedef(name, to),
            Kind::Volatile => Type::Volatile(to),
            Kind::Const => Type::Const(to),
            Kind::Restrict => Type::Restrict(to),
            Kind::Func => {
                Type::Func { name, proto: to, linkage: Linkage::from_number(record.count.into())? }
            }
            Kind::FuncProto => Type::FuncProto { ret: to, params: Entries::new(self, &record) },
            Kind::Var => Type::Var { name, ty: to, linkage: Linkage::from_number(word)? },
            Kind::Datasec => Type::Datasec { name, size, vars: Entries::new(self, &record) },
            Kind::Float => Type::Float(name, size),
            Kind::DeclTag => {
                Type::DeclTag { tag: name, ty: to, component: (word != u32::MAX).then_some(word) }
            }
            Kind::TypeTag => Type::TypeTag(name, to),
            Kind::Enum64 => Type::Enum64(Enumeration {
                name,
                size,
                signed: record.flag,
                values: Entries::new(self, &record),
            }),
        })
    }
}
