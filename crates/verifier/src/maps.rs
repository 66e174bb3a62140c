//! The maps that a program names, those that they hold, and the special fields of their values.

use std::sync::Arc;

use bombus_platform::MapType;

use crate::fields::Record;
use crate::program::Map;
use crate::state::MapRef;
use crate::types::Types;

/// `BPF_F_RDONLY_PROG`.
const F_RDONLY_PROG: u32 = 1 << 7;
/// `BPF_F_WRONLY_PROG`.
const F_WRONLY_PROG: u32 = 1 << 8;

/// A map, with what was found out about it.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    map: &'a Map,
    /// The special fields of its value.
    pub record: Record,
    /// A map like those it holds.
    pub inner: Option<MapRef>,
    /// Whether it is held by a map.
    pub is_inner: bool,
}

impl<'a> std::ops::Deref for Entry<'a> {
    type Target = Map;
    fn deref(&self) -> &Map {
        self.map
    }
}

impl<'a> Entry<'a> {
    /// Its name as the kernel keeps it: 15 characters.
    pub(crate) fn shown_name(&self) -> &str {
        let end = self.map.name.char_indices().nth(15).map_or(self.map.name.len(), |(at, _)| at);
        &self.map.name[..end]
    }

    /// Whether programs may write its values.
    pub(crate) fn may_write(&self) -> bool {
        self.map.flags & F_RDONLY_PROG == 0
    }

    /// Whether programs may read its values.
    pub(crate) fn may_read(&self) -> bool {
        self.map.flags & F_WRONLY_PROG == 0
    }

    /// Bytes behind a pointer to its value.
    pub(crate) fn memory(&self) -> u32 {
        match self.map.map_type {
            MapType::InsnArray => self.map.max_entries.saturating_mul(8),
            _ => self.map.value_size,
        }
    }

    /// Whether a look-up of a key that is known and in range cannot fail
    /// (`can_elide_value_nullness`).
    pub(crate) fn has_every_key(&self) -> bool {
        !self.is_inner && matches!(self.map.map_type, MapType::Array | MapType::PercpuArray)
    }

    /// What its value holds, when nobody can change it any more.
    pub(crate) fn constant(&self) -> Option<&'a [u8]> {
        let frozen = self.map.flags & F_RDONLY_PROG != 0;
        self.map.constant.as_deref().filter(|_| frozen)
    }
}

/// Every map.
#[derive(Debug, Default)]
pub(crate) struct Maps<'a> {
    all: Vec<Entry<'a>>,
    named: usize,
}

impl<'a> Maps<'a> {
    /// The maps that a program names, by their places.
    pub(crate) fn new(maps: &'a [Arc<Map>], types: &mut Types<'a>) -> Maps<'a> {
        let mut all = Maps { all: Vec::new(), named: maps.len() };
        for map in maps {
            all.add(map, false, types);
        }
        for (place, map) in maps.iter().enumerate() {
            if let Some(inner) = &map.inner {
                let inner = all.add(inner, true, types);
                all.all[place].inner = Some(inner);
            }
        }
        all
    }

    fn add(&mut self, map: &'a Map, is_inner: bool, types: &mut Types<'a>) -> MapRef {
        let record = match &map.types {
            Some(of) => {
                let btf = types.number(&of.btf);
                Record::of_value(types, btf, of.value, map.value_size)
            }
            None => Record::default(),
        };
        self.all.push(Entry { map, record, inner: None, is_inner });
        MapRef(self.all.len() as u32 - 1)
    }

    /// The map that code names by an index.
    pub(crate) fn named(&self, index: i32) -> Option<MapRef> {
        usize::try_from(index).ok().filter(|index| *index < self.named).map(|i| MapRef(i as u32))
    }

    /// The place of a map among those that code names, when it is one of them.
    pub(crate) fn place(&self, map: MapRef) -> Option<usize> {
        Some(map.0 as usize).filter(|place| *place < self.named)
    }

    /// A map.
    pub(crate) fn get(&self, map: MapRef) -> &Entry<'a> {
        &self.all[map.0 as usize]
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry<'a>> {
        self.all.iter()
    }
}
