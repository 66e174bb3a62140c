//! Maps that hold programs or other maps.

use std::marker::PhantomData;

use bombus_kernel::UpdateFlag;
use bombus_platform::MapType;

use super::{Map, Plain, View};
use crate::{Program, Result};

/// `BPF_MAP_TYPE_PROG_ARRAY`: where tail calls go.
#[derive(Debug)]
pub struct ProgArray<'l> {
    map: Map<'l>,
}

impl<'l> View<'l> for ProgArray<'l> {
    fn of(map: Map<'l>) -> Result<Self> {
        map.check(&[MapType::ProgArray], Some(4), Some(4))?;
        Ok(ProgArray { map })
    }
}

impl ProgArray<'_> {
    /// Stores a program. It has to be of the type of those that are there.
    pub fn set(&self, index: u32, program: &Program<'_>) -> Result<()> {
        let (key, value) = (index.to_ne_bytes(), program.fd().0.to_ne_bytes());
        Ok(self.map.kernel.map_update(self.map.fd, &key, &value, UpdateFlag::Any)?)
    }

    /// Leaves a place empty; whether there was a program.
    pub fn clear(&self, index: u32) -> Result<bool> {
        Ok(self.map.kernel.map_delete(self.map.fd, &index.to_ne_bytes())?)
    }
}

/// `BPF_MAP_TYPE_ARRAY_OF_MAPS`, whose keys are `u32`, and `BPF_MAP_TYPE_HASH_OF_MAPS`.
#[derive(Debug)]
pub struct MapOfMaps<'l, K> {
    map: Map<'l>,
    types: PhantomData<fn(K)>,
}

impl<'l, K: Plain> View<'l> for MapOfMaps<'l, K> {
    fn of(map: Map<'l>) -> Result<Self> {
        let types = [MapType::ArrayOfMaps, MapType::HashOfMaps];
        map.check(&types, Some(size_of::<K>()), Some(4))?;
        Ok(MapOfMaps { map, types: PhantomData })
    }
}

impl<K: Plain> MapOfMaps<'_, K> {
    /// Stores a map. It has to be like the one that the map was made for.
    pub fn insert(&self, key: &K, map: &Map<'_>) -> Result<()> {
        let (key, value) = (key.as_bytes(), map.fd().0.to_ne_bytes());
        Ok(self.map.kernel.map_update(self.map.fd, key, &value, UpdateFlag::Any)?)
    }

    /// Removes a map; whether there was one.
    pub fn remove(&self, key: &K) -> Result<bool> {
        Ok(self.map.kernel.map_delete(self.map.fd, key.as_bytes())?)
    }
}
