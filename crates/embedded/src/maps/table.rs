//! Maps of values: arrays and hash tables, with one value or one a CPU.

use bombus_platform::{MapType, ValueField};
use bombus_spec::MapSpec;
use bombus_vm::Layout;

use super::Errno;
use super::cells::Cells;
use super::hash_index::HashIndex;
use super::prefixes::Prefixes;
use crate::objects::Fields;

/// `BPF_NOEXIST` (`include/uapi/linux/bpf.h`).
const NOEXIST: u64 = 1;
/// `BPF_EXIST`.
const EXIST: u64 = 2;

/// How keys find their elements.
#[derive(Clone, Debug)]
enum Index {
    /// The key is the element's number; all are always there.
    Array(usize),
    Hash(HashIndex),
    Prefixes(Box<Prefixes>),
}

/// A map of values. An element has as many values as there are CPUs, or one.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    index: Index,
    values: Cells,
    /// Values of an element.
    copies: usize,
    /// What the kernel takes care of in values (`struct btf_record`).
    fields: Fields,
    /// Work that was put off, and that no value names any more.
    forgotten: Vec<u64>,
}

impl Table {
    pub(crate) fn new(spec: &MapSpec, cpus: u32) -> Result<Table, Errno> {
        let copies = if spec.map_type.is_per_cpu() { cpus as usize } else { 1 };
        let (entries, value_size) = (spec.max_entries as usize, spec.value_size as usize);
        let index = match spec.map_type {
            MapType::Array | MapType::PercpuArray => Index::Array(entries),
            MapType::LpmTrie => {
                Index::Prefixes(Box::new(Prefixes::new(spec.key_size as usize, entries)?))
            }
            other => {
                let lru = matches!(other, MapType::LruHash | MapType::LruPercpuHash);
                Index::Hash(HashIndex::new(spec.key_size as usize, entries, lru)?)
            }
        };
        let cells = match index {
            Index::Array(_) => entries.checked_mul(copies).ok_or(libc::ENOMEM)?,
            Index::Hash(_) | Index::Prefixes(_) => 0,
        };
        let (fields, forgotten) = (Fields::default(), Vec::new());
        Ok(Table { index, values: Cells::new(value_size, cells)?, copies, fields, forgotten })
    }

    /// The same with these fields in values.
    pub(crate) fn with_fields(mut self, fields: Fields) -> Table {
        let size = self.values.size();
        let fits = |(at, field): &(usize, ValueField)| at + field.size() as usize <= size;
        self.fields = fields.iter().copied().filter(fits).collect();
        self
    }

    /// Numbers of work that was put off, and that no value names any more.
    pub(crate) fn take_forgotten(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.forgotten)
    }

    /// Values of an element: one, or one a CPU.
    pub(crate) fn copies(&self) -> u32 {
        self.copies as u32
    }

    #[inline(always)]
    fn cell(&self, element: usize, cpu: u32) -> usize {
        if self.copies == 1 { element } else { element * self.copies + cpu as usize }
    }

    #[inline(always)]
    fn find(&self, key: &[u8]) -> Option<usize> {
        match &self.index {
            Index::Array(len) => array_index(key).filter(|index| index < len),
            Index::Hash(index) => index.find(key),
            Index::Prefixes(prefixes) => prefixes.find(key),
        }
    }

    /// The element that a program looks up.
    #[inline(always)]
    fn touched(&mut self, key: &[u8]) -> Option<usize> {
        match &mut self.index {
            Index::Hash(index) => {
                let element = index.find(key)?;
                index.touch(element);
                Some(element)
            }
            _ => self.find(key),
        }
    }

    /// `map_lookup_elem` of a program: where the value starts in guest offsets.
    #[inline]
    pub(crate) fn lookup(&mut self, key: &[u8], cpu: u32) -> Option<u64> {
        let element = self.touched(key)?;
        Some(self.value_offset(element, cpu))
    }

    /// The same, with the value.
    #[inline(always)]
    pub(crate) fn element(&mut self, key: &[u8], cpu: u32) -> Option<(u64, &mut [u8])> {
        let element = self.touched(key)?;
        let cell = self.cell(element, cpu);
        Some((self.values.offset_of(cell), self.values.get_mut(cell)))
    }

    /// Where a value starts in guest offsets.
    #[inline]
    pub(crate) fn value_offset(&self, element: usize, cpu: u32) -> u64 {
        self.values.offset_of(self.cell(element, cpu))
    }

    /// `map_update_elem` of a program: sets the value of one CPU; those that a new element has for
    /// the others are zeros (`pcpu_init_value`, `kernel/bpf/hashtab.c`).
    pub(crate) fn update(
        &mut self,
        key: &[u8],
        value: &[u8],
        flags: u64,
        cpu: u32,
    ) -> Result<(), Errno> {
        let (element, new) = self.element_for(key, flags)?;
        if new && self.copies > 1 {
            for other in 0..self.copies as u32 {
                let cell = self.cell(element, other);
                self.values.get_mut(cell).fill(0);
            }
        }
        self.set(self.cell(element, cpu), value);
        Ok(())
    }

    /// Another value; its fields are as new (`copy_map_value`, `bpf_obj_free_fields`).
    #[inline]
    fn set(&mut self, cell: usize, value: &[u8]) {
        if !self.fields.is_empty() {
            self.forget_fields(cell);
        }
        self.values.get_mut(cell).copy_from_slice(value);
        clear(&self.fields, self.values.get_mut(cell));
    }

    /// A value goes, with what is in its fields.
    fn forget_fields(&mut self, cell: usize) {
        let value = self.values.get_mut(cell);
        let work = self
            .fields
            .iter()
            .filter(|(_, field)| matches!(field, ValueField::Timer | ValueField::Workqueue));
        let number = |(at, _): &(usize, ValueField)| value.get(*at..)?.first_chunk().copied();
        let numbers = work.filter_map(number).map(u64::from_le_bytes);
        self.forgotten.extend(numbers.filter(|number| *number != 0));
        clear(&self.fields, value);
    }

    /// `BPF_MAP_UPDATE_ELEM`: `value` has the values of all CPUs, each rounded up to 8 bytes.
    pub(crate) fn update_all(&mut self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        if self.copies == 1 {
            return self.update(key, value, flags, 0);
        }
        let (element, _) = self.element_for(key, flags)?;
        let size = self.values.size();
        for (cpu, value) in (0..).zip(value.chunks(size.next_multiple_of(8))) {
            self.set(self.cell(element, cpu), &value[..size]);
        }
        Ok(())
    }

    /// The element to update, and whether it is new.
    fn element_for(&mut self, key: &[u8], flags: u64) -> Result<(usize, bool), Errno> {
        if flags > EXIST {
            return Err(libc::EINVAL);
        }
        let found = match &self.index {
            Index::Prefixes(prefixes) => prefixes.find_exactly(key)?,
            _ => self.find(key),
        };
        match (&mut self.index, found) {
            (Index::Array(_), None) => Err(libc::E2BIG),
            (_, Some(_)) if flags == NOEXIST => Err(libc::EEXIST),
            (Index::Array(_), Some(element)) => Ok((element, false)),
            (Index::Hash(index), Some(element)) => {
                index.touch(element);
                Ok((element, false))
            }
            (Index::Prefixes(_), Some(element)) => Ok((element, false)),
            (Index::Hash(_) | Index::Prefixes(_), None) if flags == EXIST => Err(libc::ENOENT),
            (Index::Hash(index), None) => {
                let element = index.insert(key)?;
                self.values.grow((element + 1) * self.copies)?;
                Ok((element, true))
            }
            (Index::Prefixes(prefixes), None) => {
                let element = prefixes.insert(key)?;
                self.values.grow((element + 1) * self.copies)?;
                Ok((element, true))
            }
        }
    }

    /// Whether there was something to delete.
    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<bool, Errno> {
        if !self.fields.is_empty()
            && let Index::Hash(index) = &self.index
            && let Some(element) = index.find(key)
        {
            (0..self.copies).for_each(|copy| self.forget_fields(element * self.copies + copy));
        }
        match &mut self.index {
            Index::Array(_) => Err(libc::EINVAL),
            Index::Hash(index) => Ok(index.remove(key)),
            Index::Prefixes(prefixes) => prefixes.remove(key),
        }
    }

    /// `BPF_MAP_LOOKUP_ELEM`: the values of all CPUs, each rounded up to 8 bytes.
    pub(crate) fn lookup_all(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.find(key).map(|element| self.element_values(element))
    }

    /// The values of an element, as [`Table::lookup_all`] gives them.
    pub(crate) fn element_values(&self, element: usize) -> Vec<u8> {
        if self.copies == 1 {
            let mut value = self.values.get(element).to_vec();
            clear(&self.fields, &mut value);
            return value;
        }
        let stride = self.values.size().next_multiple_of(8);
        let mut all = vec![0; stride * self.copies];
        for (cpu, value) in (0..).zip(all.chunks_mut(stride)) {
            let cell = self.values.get(self.cell(element, cpu));
            value[..cell.len()].copy_from_slice(cell);
            clear(&self.fields, value);
        }
        all
    }

    /// The element that a guest offset is in, and where that value starts.
    pub(crate) fn element_at(&self, offset: u64) -> (usize, u64) {
        let (cell, start) = self.values.cell_at(offset);
        (cell / self.copies, start)
    }

    /// The element after the one with this key. As in the kernel, the first one when there is no
    /// such key (`htab_map_get_next_key`, `array_map_get_next_key`).
    pub(crate) fn after(&self, key: Option<&[u8]>) -> Option<usize> {
        let find = |key: &[u8]| match &self.index {
            Index::Prefixes(prefixes) => prefixes.find_exactly(key).ok().flatten(),
            _ => self.find(key),
        };
        self.used_from(key.and_then(find).map_or(0, |element| element + 1))
    }

    /// The first element there is from `element` on.
    pub(crate) fn used_from(&self, element: usize) -> Option<usize> {
        match &self.index {
            Index::Array(len) => (element < *len).then_some(element),
            Index::Hash(index) => index.used_from(element),
            Index::Prefixes(prefixes) => prefixes.index().used_from(element),
        }
    }

    /// The key of an element.
    pub(crate) fn key(&self, element: usize) -> Vec<u8> {
        match &self.index {
            Index::Array(_) => (element as u32).to_ne_bytes().to_vec(),
            Index::Hash(index) => index.keys().get(element).to_vec(),
            Index::Prefixes(prefixes) => prefixes.index().keys().get(element).to_vec(),
        }
    }

    /// Where the keys are, when they are in memory: arrays do not store theirs.
    pub(crate) fn keys(&self) -> Option<&Cells> {
        match &self.index {
            Index::Array(_) => None,
            Index::Hash(index) => Some(index.keys()),
            Index::Prefixes(prefixes) => Some(prefixes.index().keys()),
        }
    }

    /// How values lie, when that is as in guest offsets: what engines need to find them in the region
    /// that they are in.
    pub(crate) fn layout(&self, region: u32) -> Option<Layout> {
        let array = match self.index {
            Index::Array(len) => {
                let distance = if len > 1 { self.value_offset(1, 0) } else { 1 };
                Some((u32::try_from(len).ok()?, distance))
            }
            Index::Hash(_) | Index::Prefixes(_) => None,
        };
        self.values.is_plain().then_some(Layout { region, array })
    }

    pub(crate) fn values(&self) -> &Cells {
        &self.values
    }

    #[inline]
    pub(crate) fn values_mut(&mut self) -> &mut Cells {
        &mut self.values
    }
}

/// User space neither gives nor gets what is in fields.
#[inline]
fn clear(fields: &Fields, value: &mut [u8]) {
    for (at, field) in fields.iter() {
        value[*at..][..field.size() as usize].fill(0);
    }
}

#[inline]
fn array_index(key: &[u8]) -> Option<usize> {
    key.try_into().ok().map(|bytes| u32::from_ne_bytes(bytes) as usize)
}
