//! Types of one blob taken over into another.

use std::sync::Arc;

use super::Builder;
use super::strings::Strings;
use crate::kind::Word;
use crate::known::Known;
use crate::record::Record;
use crate::{Btf, Linkage, SectionVar, TypeId};

/// Which number the types of one blob have in another.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IdMap {
    /// The number in the old blob of the first of `ids`. What stands below it keeps its number.
    pub(crate) first: u32,
    pub(crate) ids: Vec<TypeId>,
}

impl IdMap {
    /// The new number; [`TypeId::VOID`] for a type that is not there.
    pub fn get(&self, old: TypeId) -> TypeId {
        match old.0.checked_sub(self.first) {
            Some(index) => self.ids.get(index as usize).copied().unwrap_or_default(),
            None => old,
        }
    }
}

impl Builder {
    /// A builder that starts with everything that is in `btf`, under the same numbers; it goes on
    /// from the same base.
    pub fn from_btf(btf: &Btf) -> Builder {
        let base = btf.base().cloned();
        let first_string = base.as_ref().map_or(0, |base| base.strings_end());
        let strings = Strings::from_table(btf.string_table(), first_string);
        let mut builder = Builder::with(strings, btf.first_id().0, base);
        for id in btf.ids() {
            if let Some(record) = btf.record(id) {
                let bytes = remapped(&record, |name| name, |id| id);
                builder.push(&bytes);
            }
        }
        builder
    }

    /// Takes over all types of `btf`, each under a number of its own. The types of `btf`'s base
    /// come along unless this builder goes on from the same one.
    pub fn add_all(&mut self, btf: &Btf) -> IdMap {
        let mut levels = vec![btf];
        while let Some(base) = levels.last().and_then(|btf| btf.base())
            && !self.base.as_ref().is_some_and(|own| Arc::ptr_eq(own, base))
        {
            levels.push(base);
        }
        let next = self.next_id().0;
        let first = levels.last().map_or(1, |btf| btf.first_id().0);
        let count = btf.next_id().0 - first;
        let map = IdMap { first, ids: (next..next + count).map(TypeId).collect() };
        for btf in levels.into_iter().rev() {
            for id in btf.ids() {
                if let Some(record) = btf.record(id) {
                    self.copy(btf, &record, |id| map.get(id));
                }
            }
        }
        map
    }

    /// Takes over one type of `btf`; `map` says what the types that it refers to are called here.
    /// `None` when there is no such type.
    pub fn add_type(
        &mut self,
        btf: &Btf,
        id: TypeId,
        map: impl FnMut(TypeId) -> TypeId,
    ) -> Option<TypeId> {
        let record = btf.record(id)?;
        Some(self.copy(btf, &record, map))
    }

    fn copy(
        &mut self,
        btf: &Btf,
        record: &Record<'_>,
        map: impl FnMut(TypeId) -> TypeId,
    ) -> TypeId {
        let strings = &mut self.strings;
        let name = |offset| btf.string(offset).map_or(0, |text| strings.offset(text));
        let bytes = remapped(record, name, map);
        self.push(&bytes)
    }

    /// Gives a section its size in bytes and its variables their places and sizes, which a compiler
    /// leaves to the linker and the loader. `place` is called for each variable in order.
    pub fn set_section(
        &mut self,
        id: TypeId,
        size: u32,
        mut place: impl FnMut(SectionVar) -> SectionVar,
    ) {
        let Some(record) = self.record(id).filter(|r| r.kind == crate::Kind::Datasec) else {
            return;
        };
        let words: Vec<u32> = record.words().collect();
        let vars = words
            .chunks_exact(3)
            .map(|var| place(SectionVar { ty: TypeId(var[0]), offset: var[1], size: var[2] }));
        let words: Vec<u32> = vars.flat_map(|var| [var.ty.0, var.offset, var.size]).collect();
        if let Some(bytes) = self.record_mut(id) {
            set_word(bytes, 2, size);
            for (at, word) in words.into_iter().enumerate() {
                set_word(bytes, 3 + at, word);
            }
        }
    }

    /// Gives a section these variables, in place of those that it has.
    pub fn replace_section(&mut self, id: TypeId, size: u32, vars: &[SectionVar]) {
        let Some(index) = id.0.checked_sub(self.first_id).map(|index| index as usize) else {
            return;
        };
        let Some(&start) = self.starts.get(index) else { return };
        let Some(record) = self.record(id).filter(|r| r.kind == crate::Kind::Datasec) else {
            return;
        };
        let vars = super::capped(vars);
        let info = super::info(vars.len(), false) | ((crate::Kind::Datasec as u32) << 24);
        let words = vars.iter().flat_map(|var| [var.ty.0, var.offset, var.size]);
        let words = [record.name, info, size].into_iter().chain(words);
        let bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
        let start = start as usize;
        let end = self.starts.get(index + 1).map_or(self.types.len(), |&end| end as usize);
        let (old, new) = (end - start, bytes.len());
        self.types.splice(start..end, bytes);
        for later in &mut self.starts[index + 1..] {
            *later = *later - old as u32 + new as u32;
        }
        self.known = Known::default();
    }

    /// Changes who can see a function or variable.
    pub fn set_linkage(&mut self, id: TypeId, linkage: Linkage) {
        let Some(record) = self.record(id) else { return };
        let (kind, info) = (record.kind, record.info());
        let Some(bytes) = self.record_mut(id) else { return };
        match kind {
            crate::Kind::Func => set_word(bytes, 1, (info & !0xffff) | linkage as u32),
            crate::Kind::Var => set_word(bytes, 3, linkage as u32),
            _ => {}
        }
    }

    /// Changes the type that a pointer, modifier, typedef, function or variable refers to.
    pub fn set_type(&mut self, id: TypeId, to: TypeId) {
        if self.record(id).is_some_and(|record| record.kind.third() == Word::Type)
            && let Some(bytes) = self.record_mut(id)
        {
            set_word(bytes, 2, to.0);
        }
    }
}

/// A record with other strings and types.
pub(crate) fn remapped(
    record: &Record<'_>,
    mut name: impl FnMut(u32) -> u32,
    mut ty: impl FnMut(TypeId) -> TypeId,
) -> Vec<u8> {
    let mut map = |word: Word, value: u32| match word {
        Word::Name => name(value),
        Word::Type => ty(TypeId(value)).0,
        Word::Plain => value,
    };
    let mut bytes = Vec::with_capacity(12 + record.extra().len());
    bytes.extend(map(Word::Name, record.name).to_le_bytes());
    bytes.extend(record.info().to_le_bytes());
    bytes.extend(map(record.kind.third(), record.size_or_type).to_le_bytes());
    for (word, value) in record.kind.extra_words(record.count.into()).zip(record.words()) {
        bytes.extend(map(word, value).to_le_bytes());
    }
    bytes
}

/// Sets the word at this place of a record.
pub(crate) fn set_word(bytes: &mut [u8], index: usize, value: u32) {
    if let Some(word) = bytes.get_mut(index * 4..index * 4 + 4) {
        word.copy_from_slice(&value.to_le_bytes());
    }
}
