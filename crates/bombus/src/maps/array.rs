//! Arrays.

use std::marker::PhantomData;

use bombus_kernel::UpdateFlag;
use bombus_platform::MapType;

use super::{Map, Plain, View};
use crate::Result;

/// `BPF_MAP_TYPE_ARRAY`: elements from 0, all there from the start.
#[derive(Debug)]
pub struct Array<'l, V> {
    map: Map<'l>,
    types: PhantomData<fn() -> V>,
}

impl<'l, V: Plain> View<'l> for Array<'l, V> {
    fn of(map: Map<'l>) -> Result<Self> {
        map.check(&[MapType::Array], Some(4), Some(size_of::<V>()))?;
        Ok(Array { map, types: PhantomData })
    }
}

impl<V: Plain> Array<'_, V> {
    /// How many elements it has.
    pub fn len(&self) -> u32 {
        self.map.spec.max_entries
    }

    /// Whether it has none, which no kernel makes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An element; `None` after the last.
    pub fn get(&self, index: u32) -> Result<Option<V>> {
        self.map.lookup(&index.to_ne_bytes())
    }

    /// Stores an element. Fails with `E2BIG` after the last.
    pub fn set(&self, index: u32, value: &V) -> Result<()> {
        let (key, value) = (index.to_ne_bytes(), value.as_bytes());
        Ok(self.map.kernel.map_update(self.map.fd, &key, value, UpdateFlag::Any)?)
    }

    /// All elements in order.
    pub fn values(&self) -> Result<Vec<V>> {
        let elements = self.map.elements()?;
        elements.iter().map(|(_, value)| self.map.decode(value)).collect()
    }

    /// The map behind the view.
    pub fn map(&self) -> &Map<'_> {
        &self.map
    }
}

/// `BPF_MAP_TYPE_PERCPU_ARRAY`: an array with a value for each CPU.
#[derive(Debug)]
pub struct PerCpuArray<'l, V> {
    map: Map<'l>,
    types: PhantomData<fn() -> V>,
}

impl<'l, V: Plain> View<'l> for PerCpuArray<'l, V> {
    fn of(map: Map<'l>) -> Result<Self> {
        map.check(&[MapType::PercpuArray], Some(4), Some(size_of::<V>()))?;
        Ok(PerCpuArray { map, types: PhantomData })
    }
}

impl<V: Plain> PerCpuArray<'_, V> {
    /// How many elements it has.
    pub fn len(&self) -> u32 {
        self.map.spec.max_entries
    }

    /// Whether it has none, which no kernel makes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every CPU's value of an element; `None` after the last.
    pub fn get(&self, index: u32) -> Result<Option<Vec<V>>> {
        let value = self.map.kernel.map_lookup(self.map.fd, &index.to_ne_bytes())?;
        value.map(|bytes| self.map.decode_per_cpu(&bytes)).transpose()
    }

    /// Stores every CPU's value of an element. Fails with `E2BIG` after the last.
    pub fn set(&self, index: u32, values: &[V]) -> Result<()> {
        let bytes = self.map.encode_per_cpu(values)?;
        let key = index.to_ne_bytes();
        Ok(self.map.kernel.map_update(self.map.fd, &key, &bytes, UpdateFlag::Any)?)
    }

    /// The map behind the view.
    pub fn map(&self) -> &Map<'_> {
        &self.map
    }
}
