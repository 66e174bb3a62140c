//! A blob of types, indexed but not decoded.
//!
//! Opening one walks over the headers once and keeps where each type starts: about a millisecond
//! for the hundred and twenty thousand types of a kernel, four bytes a type. Everything else is
//! decoded when it is asked for.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use crate::index::{Place, UNNAMED, index};
use crate::names::{self, NameIndex};
use crate::record::{Record, u32_at};
use crate::{HEADER_SIZE, Kind, MAGIC, TypeId, VERSION};

/// Why bytes are not type information.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ParseError {
    /// The first two bytes are not the magic number.
    NotBtf,
    /// The magic number, with its bytes swapped.
    BigEndian,
    /// Another version than 1.
    Version(u8),
    /// The header names parts outside of the data.
    Truncated,
    /// The table of strings does not start and end with a zero byte.
    Strings,
    /// A type of a kind that is not known, so that its length is not known either.
    UnknownKind {
        /// The type.
        id: TypeId,
        /// The number of its kind.
        kind: u8,
    },
    /// A type goes on after the end of the types.
    TypeTruncated(TypeId),
    /// Types or strings do not fit the numbers that are for them.
    TooLarge,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseError::NotBtf => write!(f, "this is not BTF"),
            ParseError::BigEndian => write!(
                f,
                "this BTF is for a big-endian machine; only little-endian ones are supported"
            ),
            ParseError::Version(version) => write!(f, "BTF version {version} is not known"),
            ParseError::Truncated => write!(f, "the BTF ends early"),
            ParseError::Strings => {
                write!(f, "the BTF's table of strings does not start and end with a zero byte")
            }
            ParseError::UnknownKind { id, kind } => {
                write!(f, "BTF type {id} is of kind {kind}, which is not known")
            }
            ParseError::TypeTruncated(id) => {
                write!(f, "BTF type {id} goes on after the end of the types")
            }
            ParseError::TooLarge => {
                write!(f, "the BTF has more types or strings than there can be")
            }
        }
    }
}

impl std::error::Error for ParseError {}

/// The longest name, in bytes; what is longer reads as no name. The kernel's have at most 511; a
/// bound keeps a blob whose types all share one huge name from being slow.
const MAX_NAME: usize = 4096;

/// The bytes of a blob, whoever owns them: a vector, an `Arc`, a mapped file.
type Data = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Types, each decoded when it is asked for.
///
/// Nothing is trusted: what is malformed or refers to nothing reads as `None` or as an empty name,
/// never as a panic.
#[derive(Clone)]
pub struct Btf {
    data: Data,
    types: Range<usize>,
    strings: Range<usize>,
    /// Where each type starts, and its kind. A slice of its own would be a copy.
    index: Arc<Vec<Place>>,
    /// The number of the first type that is its own.
    first_id: u32,
    /// The offset of the first string that is its own.
    first_string: u32,
    base: Option<Arc<Btf>>,
    /// Functions have an index of their own: they are half of a kernel's names, and few ask.
    types_by_name: Arc<OnceLock<NameIndex>>,
    functions_by_name: Arc<OnceLock<NameIndex>>,
}

impl fmt::Debug for Btf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Btf([{}..{}])", self.first_id, self.next_id())
    }
}

impl Btf {
    /// Checks the header and finds out where each type starts.
    pub fn parse(data: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Btf, ParseError> {
        Btf::open(Arc::new(data), None)
    }

    /// The same for a blob that goes on from `base`, as a kernel module's does from the kernel's:
    /// its types and strings are numbered on from the base's, and refer to them.
    pub fn parse_split(
        data: impl AsRef<[u8]> + Send + Sync + 'static,
        base: Arc<Btf>,
    ) -> Result<Btf, ParseError> {
        Btf::open(Arc::new(data), Some(base))
    }

    fn open(data: Data, base: Option<Arc<Btf>>) -> Result<Btf, ParseError> {
        let bytes = (*data).as_ref();
        let (types, strings) = parts(bytes)?;
        let first_id = base.as_ref().map_or(1, |base| base.next_id().0);
        let first_string = base.as_ref().map_or(0, |base| base.strings_end());
        check_strings(&bytes[strings.clone()], base.is_some())?;
        let index = index(&bytes[types.clone()], first_id)?;
        if u32::try_from(strings.len()).ok().and_then(|len| first_string.checked_add(len)).is_none()
        {
            return Err(ParseError::TooLarge);
        }
        Ok(Btf {
            types,
            strings,
            index: Arc::new(index),
            first_id,
            first_string,
            base,
            types_by_name: Arc::default(),
            functions_by_name: Arc::default(),
            data,
        })
    }

    /// The blob.
    pub fn bytes(&self) -> &[u8] {
        (*self.data).as_ref()
    }

    /// The blob that this one goes on from.
    pub fn base(&self) -> Option<&Arc<Btf>> {
        self.base.as_ref()
    }

    /// The first type that is its own and not the base's.
    pub fn first_id(&self) -> TypeId {
        TypeId(self.first_id)
    }

    /// The number after that of the last type.
    pub fn next_id(&self) -> TypeId {
        TypeId(self.first_id + self.index.len() as u32)
    }

    /// The numbers of its own types, in order; the base's are not among them.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = TypeId> + ExactSizeIterator + use<> {
        (self.first_id..self.next_id().0).map(TypeId)
    }

    /// Its own types with their numbers, without what is malformed.
    pub fn types(&self) -> impl Iterator<Item = (TypeId, crate::Type<'_>)> {
        self.ids().filter_map(|id| Some((id, self.ty(id)?)))
    }

    /// The string that starts at `offset`, without its closing zero: names, lines of source.
    pub fn string(&self, offset: u32) -> Option<&[u8]> {
        self.string_within(offset, usize::MAX)
    }

    /// The string that starts at `offset`, if it has at most `max` bytes.
    pub(crate) fn string_within(&self, offset: u32, max: usize) -> Option<&[u8]> {
        let strings = self.strings_from(offset)?;
        let end = names::end(strings.get(..max.saturating_add(1)).unwrap_or(strings))?;
        Some(&strings[..end])
    }

    /// The table of strings from `offset` on.
    fn strings_from(&self, offset: u32) -> Option<&[u8]> {
        let mut btf = self;
        while offset < btf.first_string {
            btf = btf.base.as_deref()?;
        }
        btf.string_table().get((offset - btf.first_string) as usize..)
    }

    /// The bytes of the name at `offset`; none when there is no name.
    pub(crate) fn name_bytes(&self, offset: u32) -> &[u8] {
        self.string_within(offset, MAX_NAME).unwrap_or_default()
    }

    /// The string that starts at `offset` as a name; empty when there is none.
    pub(crate) fn name_at(&self, offset: u32) -> &str {
        str::from_utf8(self.name_bytes(offset)).unwrap_or_default()
    }

    /// A type's kind.
    pub fn kind(&self, id: TypeId) -> Option<Kind> {
        let mut btf = self;
        while id.0 < btf.first_id {
            btf = btf.base.as_deref()?;
        }
        btf.index.get((id.0 - btf.first_id) as usize)?.kind()
    }

    /// A type's name; empty when it has none.
    pub fn name(&self, id: TypeId) -> &str {
        self.record(id).map_or("", |record| self.name_at(record.name))
    }

    /// The first type of this kind and name; the base's come first.
    pub fn find(&self, kind: Kind, name: &str) -> Option<TypeId> {
        self.namesakes(names::essential(name), kind == Kind::Func).find(|&id| {
            self.record(id).is_some_and(|record| {
                record.kind == kind && self.string(record.name) == Some(name.as_bytes())
            })
        })
    }

    /// All types of this name, leaving out what follows a triple underscore in theirs, in order
    /// of their numbers from those of the base on.
    pub(crate) fn flavors(&self, essential: &str, functions: bool) -> impl Iterator<Item = TypeId> {
        self.namesakes(essential, functions)
            .filter(move |&id| names::essential(self.name(id)) == essential)
    }

    /// Types that may have this essential name.
    fn namesakes(&self, essential: &str, functions: bool) -> impl Iterator<Item = TypeId> {
        let hash = names::hash(essential);
        let mut levels: Vec<&Btf> =
            std::iter::successors(Some(self), |btf| btf.base.as_deref()).collect();
        levels.reverse();
        levels.into_iter().flat_map(move |btf| btf.name_index(functions).ids(hash)).map(TypeId)
    }

    fn name_index(&self, functions: bool) -> &NameIndex {
        let cell = if functions { &self.functions_by_name } else { &self.types_by_name };
        cell.get_or_init(|| {
            let types = &self.bytes()[self.types.clone()];
            let strings = self.string_table();
            let mut named = Vec::with_capacity(self.index.len() / 4);
            let kinds = if functions { 1 << Kind::Func as u32 } else { !UNNAMED };
            for (place, id) in self.index.iter().zip(self.first_id..) {
                if !place.is_of(kinds) {
                    continue;
                }
                let offset = u32_at(types, place.start()).unwrap_or_default();
                let name = match offset.checked_sub(self.first_string) {
                    _ if offset == 0 => None,
                    Some(own) => strings.get(own as usize..),
                    None => self.strings_from(offset),
                };
                named.extend(name.map(|name| (names::stored_hash(name), id)));
            }
            NameIndex::new(&named)
        })
    }

    /// A type as it stands in the blob.
    pub(crate) fn record(&self, id: TypeId) -> Option<Record<'_>> {
        self.view().record(id)
    }

    /// The tables as slices.
    pub(crate) fn view(&self) -> View<'_> {
        let bytes = self.bytes();
        View { btf: self, types: &bytes[self.types.clone()], strings: &bytes[self.strings.clone()] }
    }

    /// Its own table of strings.
    pub(crate) fn string_table(&self) -> &[u8] {
        &self.bytes()[self.strings.clone()]
    }

    /// The offset after that of the last string.
    pub(crate) fn strings_end(&self) -> u32 {
        self.first_string + self.strings.len() as u32
    }
}

/// A blob whose bytes need not be asked for again: for those who look at all types.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    btf: &'a Btf,
    types: &'a [u8],
    strings: &'a [u8],
}

impl<'a> View<'a> {
    /// The bytes of the name at `offset`; none when there is no name.
    #[inline]
    pub(crate) fn name(&self, offset: u32) -> &'a [u8] {
        match self.own_strings(offset) {
            Some(strings) => {
                let end = names::end(strings.get(..=MAX_NAME).unwrap_or(strings));
                end.map_or(&[], |end| &strings[..end])
            }
            None => self.btf.name_bytes(offset),
        }
    }

    /// A type's kind.
    #[inline]
    pub(crate) fn kind(&self, id: TypeId) -> Option<Kind> {
        match id.0.checked_sub(self.btf.first_id) {
            Some(own) => self.btf.index.get(own as usize)?.kind(),
            None => self.btf.kind(id),
        }
    }

    /// A type as it stands in the blob.
    #[inline]
    pub(crate) fn record(&self, id: TypeId) -> Option<Record<'a>> {
        if id.0 < self.btf.first_id {
            return self.btf.base.as_deref()?.record(id);
        }
        let place = self.btf.index.get((id.0 - self.btf.first_id) as usize)?;
        Record::at(self.types.get(place.start()..)?)
    }

    /// The table of strings from `offset` on, if that is one of its own strings.
    #[inline]
    fn own_strings(&self, offset: u32) -> Option<&'a [u8]> {
        self.strings.get(offset.checked_sub(self.btf.first_string)? as usize..)
    }

    /// Whether there is a name at `offset`.
    #[inline]
    pub(crate) fn has_name(&self, offset: u32) -> bool {
        match self.own_strings(offset) {
            Some(strings) => offset != 0 && strings.first().is_some_and(|&first| first != 0),
            None => !self.name(offset).is_empty(),
        }
    }

    /// Appends the name at `offset`.
    #[inline(always)]
    pub(crate) fn push_name(&self, offset: u32, text: &mut Vec<u8>) {
        // Most names are short: they are copied with what stands after them, which is cut off.
        if let Some(bytes) = self.own_strings(offset).and_then(<[u8]>::first_chunk)
            && let Some(len) = names::end_of_short(bytes)
        {
            let start = text.len();
            text.extend_from_slice(bytes);
            text.truncate(start + len);
        } else {
            text.extend_from_slice(self.name(offset));
        }
    }
}

/// Where the types and the strings are.
fn parts(bytes: &[u8]) -> Result<(Range<usize>, Range<usize>), ParseError> {
    let magic = bytes.first_chunk::<2>().ok_or(ParseError::Truncated)?;
    match u16::from_le_bytes(*magic) {
        MAGIC => {}
        swapped if swapped == MAGIC.swap_bytes() => return Err(ParseError::BigEndian),
        _ => return Err(ParseError::NotBtf),
    }
    let version = *bytes.get(2).ok_or(ParseError::Truncated)?;
    if version != VERSION {
        return Err(ParseError::Version(version));
    }
    let word = |at| u32_at(bytes, at).map(|word| word as usize).ok_or(ParseError::Truncated);
    let body = word(4)?.max(HEADER_SIZE);
    let part = |offset: usize, len: usize| {
        let start = body.checked_add(offset).ok_or(ParseError::Truncated)?;
        let end = start.checked_add(len).filter(|&end| end <= bytes.len());
        end.map(|end| start..end).ok_or(ParseError::Truncated)
    };
    Ok((part(word(8)?, word(12)?)?, part(word(16)?, word(20)?)?))
}

/// A blob that goes on from another may have no strings at all, and its first need not be empty.
fn check_strings(strings: &[u8], split: bool) -> Result<(), ParseError> {
    match strings {
        [] if split => Ok(()),
        [first, .., 0] if split || *first == 0 => Ok(()),
        [0] => Ok(()),
        _ => Err(ParseError::Strings),
    }
}
