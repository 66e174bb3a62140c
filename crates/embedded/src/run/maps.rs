//! Maps as programs have them, and look-ups that machine code makes without calling a helper.

use std::ops::{Deref, DerefMut};

use bombus_platform::Helper;
use bombus_vm::{Block, Context, Lookup, Tables};

use super::memory::{map_at, value_address, value_location};
use crate::maps::{Map, Storage, Table};

/// The maps of a run.
pub(super) struct Maps<'a> {
    pub(super) all: &'a mut [Map],
    /// CPU whose values the program sees.
    pub(super) cpu: u32,
}

impl Deref for Maps<'_> {
    type Target = [Map];

    fn deref(&self) -> &[Map] {
        self.all
    }
}

impl DerefMut for Maps<'_> {
    fn deref_mut(&mut self) -> &mut [Map] {
        self.all
    }
}

impl Maps<'_> {
    /// The table of a map that has one, and whether programs only read it.
    #[inline(always)]
    fn table(&mut self, map: usize) -> Option<(&mut Table, bool)> {
        match self.all.get_mut(map)? {
            Map { read_only, storage: Storage::Table(table), .. } => Some((table, *read_only)),
            _ => None,
        }
    }
}

/// A value as programs see it.
#[inline(always)]
fn value(map: usize, offset: u64, bytes: &mut [u8], read_only: bool) -> (u64, Context<'_>) {
    let bytes = if read_only { Context::ReadOnly(bytes) } else { Context::Writable(bytes) };
    (value_address(map, offset), bytes)
}

impl Tables for Maps<'_> {
    // (It is compiled twice, and each wants only some of what it gives.)
    #[inline(always)]
    fn look_up(&mut self, map: usize, key: &[u8]) -> Option<(u64, Context<'_>)> {
        let cpu = self.cpu;
        let (table, read_only) = self.table(map)?;
        let (offset, bytes) = table.element(key, cpu)?;
        Some(value(map, offset, bytes, read_only))
    }

    #[inline]
    fn around(&mut self, address: u64) -> Option<(u64, Context<'_>)> {
        let (map, offset) = value_location(address)?;
        let (table, read_only) = self.table(map)?;
        let (offset, bytes) = table.values_mut().around(offset)?;
        Some(value(map, offset, bytes, read_only))
    }

    #[inline]
    fn block(&mut self, map: usize) -> Option<Block> {
        let table = self.all.get_mut(map)?.table_mut()?;
        let first = value_address(map, table.value_offset(0, self.cpu));
        let memory = table.values_mut().block()?;
        Some(Block { first, address: value_address(map, 0), memory })
    }
}

/// The look-up that a helper does which is given a map in `r1`, if it is one in elements. `key_size`
/// says how long the keys of such a map are.
pub(crate) fn lookup(
    helper: i32,
    address: u64,
    key_size: impl Fn(usize) -> Option<usize>,
) -> Option<Lookup> {
    let map = map_at(address).filter(|_| helper == Helper::MapLookupElem.id())?;
    Some(Lookup { table: map, key: key_size(map)? })
}
