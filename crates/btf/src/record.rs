//! A type as it stands in a blob.

use crate::kind::Word;
use crate::{Kind, TypeId};

/// One type as it stands in the blob: `struct btf_type` and what follows it.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a> {
    /// Offset of its name.
    pub(crate) name: u32,
    pub(crate) kind: Kind,
    /// Members, arguments, enumerators; the linkage of a function.
    pub(crate) count: u16,
    /// Flag of the kind: bit fields, signed enumerators, declaration of a union.
    pub(crate) flag: bool,
    /// Its size in bytes, or the type that it refers to.
    pub(crate) size_or_type: u32,
    /// What follows the header: its own words, then other types.
    rest: &'a [u8],
}

impl<'a> Record<'a> {
    /// The one that `bytes` start with, all of whose words are there.
    #[inline]
    pub(crate) fn at(bytes: &'a [u8]) -> Option<Record<'a>> {
        let (header, rest) = bytes.split_first_chunk::<12>()?;
        let info = u32_at(header, 4)?;
        Some(Record {
            name: u32_at(header, 0)?,
            kind: Kind::from_number((info >> 24) as u8 & 0x1f)?,
            count: info as u16,
            flag: info >> 31 != 0,
            size_or_type: u32_at(header, 8)?,
            rest,
        })
    }

    /// What follows the header.
    pub(crate) fn extra(&self) -> &'a [u8] {
        self.rest.get(..self.kind.extra_bytes(self.count.into())).unwrap_or_default()
    }

    /// `info` of `struct btf_type`.
    pub(crate) fn info(&self) -> u32 {
        (u32::from(self.flag) << 31) | ((self.kind as u32) << 24) | u32::from(self.count)
    }

    /// The word after the header at this place, of the words that this kind and count have.
    #[inline]
    pub(crate) fn word(&self, index: usize) -> u32 {
        u32_at(self.rest, index * 4).unwrap_or_default()
    }

    /// Offset of the name of the member, argument or enumerator at this place.
    pub(crate) fn entry_name(&self, index: usize) -> u32 {
        self.word(index * self.kind.words().1.len())
    }

    /// Type, bit offset and bits of a bit field of each member of a structure or union.
    pub(crate) fn members(&self) -> impl Iterator<Item = (TypeId, u32, u8)> + use<'a> {
        let flag = self.flag;
        self.extra().as_chunks::<12>().0.iter().map(move |member| {
            let (ty, offset) = (word_of(member, 1), word_of(member, 2));
            let (offset, bits) =
                if flag { (offset & 0xff_ffff, (offset >> 24) as u8) } else { (offset, 0) };
            (TypeId(ty), offset, bits)
        })
    }

    /// Type of each argument of a prototype.
    pub(crate) fn params(&self) -> impl Iterator<Item = TypeId> + use<'a> {
        self.extra().as_chunks::<8>().0.iter().map(|param| TypeId(word_of(param, 1)))
    }

    /// Calls `visit` with each type that it refers to.
    #[inline]
    pub(crate) fn for_each_type(&self, mut visit: impl FnMut(TypeId)) {
        if self.kind.third() == Word::Type {
            visit(TypeId(self.size_or_type));
        }
        match self.kind {
            Kind::Struct | Kind::Union => self.members().for_each(|(ty, ..)| visit(ty)),
            Kind::FuncProto => self.params().for_each(visit),
            kind => {
                let words = kind.extra_words(self.count.into()).zip(self.words());
                words.filter(|(word, _)| *word == Word::Type).for_each(|(_, ty)| visit(TypeId(ty)));
            }
        }
    }

    /// All words of `extra`.
    pub(crate) fn words(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.extra().as_chunks().0.iter().map(|word| u32::from_le_bytes(*word))
    }
}

/// The word at this place of an entry.
#[inline]
fn word_of<const N: usize>(entry: &[u8; N], index: usize) -> u32 {
    u32_at(entry, index * 4).unwrap_or_default()
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_le_bytes(*word))
}
