//! Looks up types in a blob without decoding it.
//!
//! The running kernel's blob has more than a hundred thousand types and a tracing tool wants two
//! of them. Nothing is built here: every look-up walks over the types' headers, one or two
//! milliseconds for the whole kernel.

use std::fmt;

use crate::{HEADER_SIZE, Kind, MAGIC, VERSION};

/// Why bytes are not type information.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReaderError {
    /// The first two bytes are not the magic number (of a little-endian machine).
    NotBtf,
    /// Another version than 1.
    Version(u8),
    /// The header names parts outside of the data.
    Truncated,
}

impl fmt::Display for ReaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReaderError::NotBtf => write!(f, "this is not BTF"),
            ReaderError::Version(version) => write!(f, "BTF version {version} is not known"),
            ReaderError::Truncated => write!(f, "the BTF ends early"),
        }
    }
}

impl std::error::Error for ReaderError {}

/// A blob of types.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// The strings of the blob that this one goes on from; offsets count through both.
    base_strings: &'a [u8],
    first_id: u32,
}

/// One type, as far as its header tells.
#[derive(Clone, Copy, Debug)]
pub struct Type<'a> {
    /// Its number.
    pub id: u32,
    /// What it is.
    pub kind: Kind,
    /// Members, arguments, enumerators; the linkage of a function.
    pub count: u16,
    /// Flag of the kind: bit fields, signed enumerators, declaration of a union.
    pub flag: bool,
    /// Its size in bytes, or the type that it refers to.
    pub size_or_type: u32,
    /// What follows the header, as the kernel has it.
    pub extra: &'a [u8],
    /// The strings, from its name on.
    name: &'a [u8],
}

impl<'a> Type<'a> {
    /// Its name; empty when it has none.
    pub fn name(&self) -> &'a [u8] {
        until_zero(self.name)
    }

    /// Whether it has this name. Quicker than to compare with [`Type::name`].
    pub fn is_named(&self, name: &str) -> bool {
        self.name.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }
}

impl<'a> Reader<'a> {
    /// Checks the header only.
    pub fn new(bytes: &'a [u8]) -> Result<Reader<'a>, ReaderError> {
        let word = |at: usize| u32_at(bytes, at).map(|word| word as usize);
        let header = (|| Some((word(0)?, word(4)?, word(8)?, word(12)?, word(16)?, word(20)?)))();
        let (magic, header_size, type_off, type_len, string_off, string_len) =
            header.ok_or(ReaderError::Truncated)?;
        if magic as u16 != MAGIC {
            return Err(ReaderError::NotBtf);
        }
        let version = (magic >> 16) as u8;
        if version != VERSION {
            return Err(ReaderError::Version(version));
        }
        let body = bytes.get(header_size.max(HEADER_SIZE)..).ok_or(ReaderError::Truncated)?;
        let part = |offset: usize, len: usize| {
            offset.checked_add(len).and_then(|end| body.get(offset..end))
        };
        match (part(type_off, type_len), part(string_off, string_len)) {
            (Some(types), Some(strings)) => {
                Ok(Reader { types, strings, base_strings: &[], first_id: 1 })
            }
            _ => Err(ReaderError::Truncated),
        }
    }

    /// Checks the header of a blob that goes on from `base`, as a kernel module's does from the
    /// kernel's: offsets of strings count on from the base's, and numbers of types from `first_id`,
    /// which is the base's [`Reader::next_id`]. Only its own types are listed.
    pub fn split(
        bytes: &'a [u8],
        base: &Reader<'a>,
        first_id: u32,
    ) -> Result<Reader<'a>, ReaderError> {
        Ok(Reader { base_strings: base.strings, first_id, ..Reader::new(bytes)? })
    }

    /// The number after that of the last type. Walks over all of them.
    pub fn next_id(&self) -> u32 {
        self.first_id.saturating_add(self.types().count() as u32)
    }

    /// The number of the first type of this kind and name.
    pub fn find(&self, kind: Kind, name: &str) -> Option<u32> {
        self.types().find(|ty| ty.kind == kind && ty.is_named(name)).map(|ty| ty.id)
    }

    /// All types in the order of their numbers, up to the first that is malformed.
    pub fn types(&self) -> impl Iterator<Item = Type<'a>> + use<'a> {
        let Reader { mut types, strings, base_strings, first_id } = *self;
        (first_id..).map_while(move |id| {
            let (header, rest) = types.split_at_checked(12)?;
            let info = u32_at(header, 4)?;
            let (kind, count) = (Kind::from_number((info >> 24) as u8 & 0x1f)?, info as u16);
            let (extra, rest) = rest.split_at_checked(kind.extra_bytes(count.into()))?;
            types = rest;
            let offset = u32_at(header, 0)? as usize;
            let name = match offset.checked_sub(base_strings.len()) {
                Some(offset) => strings.get(offset..),
                None => base_strings.get(offset..),
            };
            let name = name.unwrap_or_default();
            Some(Type {
                id,
                kind,
                name,
                count,
                flag: info >> 31 != 0,
                size_or_type: u32_at(header, 8)?,
                extra,
            })
        })
    }
    /// Names and values of an enumeration; nothing for other kinds.
    pub fn enumerators(&self, ty: &Type<'a>) -> impl Iterator<Item = (&'a [u8], i64)> + use<'a> {
        let (strings, kind, signed) = (self.strings, ty.kind, ty.flag);
        let size = if matches!(kind, Kind::Enum | Kind::Enum64) { kind.extra_bytes(1) } else { 0 };
        // Chunks cannot be empty; the count of other kinds is not one of enumerators.
        let count = if size == 0 { 0 } else { ty.count.into() };
        ty.extra.chunks_exact(size.max(1)).take(count).filter_map(move |record| {
            let low = u32_at(record, 4)?;
            let value = match kind {
                Kind::Enum64 => i64::from(low) | (i64::from(u32_at(record, 8)?) << 32),
                _ if signed => i64::from(low as i32),
                _ => i64::from(low),
            };
            Some((until_zero(strings.get(u32_at(record, 0)? as usize..)?), value))
        })
    }
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|&byte| byte == 0);
    &bytes[..end.unwrap_or(bytes.len())]
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}
