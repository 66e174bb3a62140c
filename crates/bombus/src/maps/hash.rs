//! Hash tables.

use std::marker::PhantomData;

use bombus_kernel::UpdateFlag;
use bombus_platform::MapType;

use super::{Map, Plain, View};
use crate::Result;

/// A hash table: `BPF_MAP_TYPE_HASH`, `BPF_MAP_TYPE_LRU_HASH`.
///
/// ```
/// # use bombus::{Error, HashMap, Linux, Map, MapSpec, MapType};
/// # fn main() -> Result<(), Error> {
/// # if bombus::can_load_programs().is_err() { return Ok(()) }
/// let kernel = Linux::new()?;
/// let spec = MapSpec { map_type: MapType::Hash, key_size: 4, value_size: 8, max_entries: 16, ..MapSpec::default() };
/// let ports: HashMap<u32, u64> = Map::create(&kernel, spec)?.view()?;
/// ports.insert(&80, &1)?;
/// assert_eq!(ports.get(&80)?, Some(1));
/// assert!(ports.remove(&80)?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct HashMap<'l, K, V> {
    map: Map<'l>,
    types: PhantomData<fn(K) -> V>,
}

impl<'l, K: Plain, V: Plain> View<'l> for HashMap<'l, K, V> {
    fn of(map: Map<'l>) -> Result<Self> {
        let types = [MapType::Hash, MapType::LruHash];
        map.check(&types, Some(size_of::<K>()), Some(size_of::<V>()))?;
        Ok(HashMap { map, types: PhantomData })
    }
}

impl<K: Plain, V: Plain> HashMap<'_, K, V> {
    /// The value under this key.
    pub fn get(&self, key: &K) -> Result<Option<V>> {
        self.map.lookup(key.as_bytes())
    }

    /// Adds or replaces.
    pub fn insert(&self, key: &K, value: &V) -> Result<()> {
        self.store(key, value, UpdateFlag::Any)
    }

    /// Adds; fails with `EEXIST` when the key is there.
    pub fn insert_new(&self, key: &K, value: &V) -> Result<()> {
        self.store(key, value, UpdateFlag::NoExist)
    }

    /// Replaces; fails with `ENOENT` when the key is not there.
    pub fn replace(&self, key: &K, value: &V) -> Result<()> {
        self.store(key, value, UpdateFlag::Exist)
    }

    /// Adds or replaces many, by as few system calls as the kernel allows. Gives how many were
    /// stored.
    pub fn extend<'e>(&self, elements: impl IntoIterator<Item = (&'e K, &'e V)>) -> Result<usize>
    where
        K: 'e,
        V: 'e,
    {
        let bytes = |(key, value): (&K, &V)| (key.as_bytes().to_vec(), value.as_bytes().to_vec());
        let elements: Vec<_> = elements.into_iter().map(bytes).collect();
        Ok(self.map.kernel.map_update_batch(self.map.fd, &elements, UpdateFlag::Any)?)
    }

    /// Removes a key; whether it was there.
    pub fn remove(&self, key: &K) -> Result<bool> {
        Ok(self.map.kernel.map_delete(self.map.fd, key.as_bytes())?)
    }

    /// Takes the value of a key out.
    pub fn take(&self, key: &K) -> Result<Option<V>> {
        let value = self.map.kernel.map_take(self.map.fd, key.as_bytes())?;
        value.map(|bytes| self.map.decode(&bytes)).transpose()
    }

    /// All elements, as far as programs leave them in place meanwhile.
    pub fn entries(&self) -> Result<Vec<(K, V)>> {
        let elements = self.map.elements()?.into_iter();
        elements
            .map(|(key, value)| Ok((self.map.decode(&key)?, self.map.decode(&value)?)))
            .collect()
    }

    /// Removes all elements; how many there were.
    pub fn clear(&self) -> Result<usize> {
        let keys: Vec<_> = self.map.elements()?.into_iter().map(|(key, _)| key).collect();
        Ok(self.map.kernel.map_delete_batch(self.map.fd, &keys)?)
    }

    /// The map behind the view.
    pub fn map(&self) -> &Map<'_> {
        &self.map
    }

    fn store(&self, key: &K, value: &V, flag: UpdateFlag) -> Result<()> {
        let (key, value) = (key.as_bytes(), value.as_bytes());
        Ok(self.map.kernel.map_update(self.map.fd, key, value, flag)?)
    }
}

/// A hash table with a value for each CPU: `BPF_MAP_TYPE_PERCPU_HASH`,
/// `BPF_MAP_TYPE_LRU_PERCPU_HASH`.
#[derive(Debug)]
pub struct PerCpuHashMap<'l, K, V> {
    map: Map<'l>,
    types: PhantomData<fn(K) -> V>,
}

impl<'l, K: Plain, V: Plain> View<'l> for PerCpuHashMap<'l, K, V> {
    fn of(map: Map<'l>) -> Result<Self> {
        let types = [MapType::PercpuHash, MapType::LruPercpuHash];
        map.check(&types, Some(size_of::<K>()), Some(size_of::<V>()))?;
        Ok(PerCpuHashMap { map, types: PhantomData })
    }
}

impl<K: Plain, V: Plain> PerCpuHashMap<'_, K, V> {
    /// Every CPU's value under this key.
    pub fn get(&self, key: &K) -> Result<Option<Vec<V>>> {
        let value = self.map.kernel.map_lookup(self.map.fd, key.as_bytes())?;
        value.map(|bytes| self.map.decode_per_cpu(&bytes)).transpose()
    }

    /// Adds or replaces every CPU's value.
    pub fn insert(&self, key: &K, values: &[V]) -> Result<()> {
        let bytes = self.map.encode_per_cpu(values)?;
        Ok(self.map.kernel.map_update(self.map.fd, key.as_bytes(), &bytes, UpdateFlag::Any)?)
    }

    /// Removes a key; whether it was there.
    pub fn remove(&self, key: &K) -> Result<bool> {
        Ok(self.map.kernel.map_delete(self.map.fd, key.as_bytes())?)
    }

    /// All elements: key, every CPU's value.
    pub fn entries(&self) -> Result<Vec<(K, Vec<V>)>> {
        let elements = self.map.elements()?.into_iter();
        elements
            .map(|(key, value)| Ok((self.map.decode(&key)?, self.map.decode_per_cpu(&value)?)))
            .collect()
    }

    /// The map behind the view.
    pub fn map(&self) -> &Map<'_> {
        &self.map
    }
}
