//! Longest prefix match.

use std::marker::PhantomData;

use bombus_kernel::UpdateFlag;
use bombus_platform::MapType;

use super::{Map, Plain, View};
use crate::Result;

/// A key of a trie: so many bits of `data`, from the first byte on (`struct bpf_lpm_trie_key`).
///
/// ```
/// let net = bombus::Prefix { bits: 8, data: [10, 0, 0, 0] }; // 10.0.0.0/8
/// # assert_eq!(net.bits, 8);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefix<K> {
    /// How many bits count.
    pub bits: u32,
    /// The bits, in network byte order.
    pub data: K,
}

impl<K: Plain> Prefix<K> {
    fn bytes(&self) -> Vec<u8> {
        [&self.bits.to_ne_bytes(), self.data.as_bytes()].concat()
    }
}

/// `BPF_MAP_TYPE_LPM_TRIE`: the value of the longest prefix that fits.
#[derive(Debug)]
pub struct LpmTrie<'l, K, V> {
    map: Map<'l>,
    types: PhantomData<fn(K) -> V>,
}

impl<'l, K: Plain, V: Plain> View<'l> for LpmTrie<'l, K, V> {
    fn of(map: Map<'l>) -> Result<Self> {
        map.check(&[MapType::LpmTrie], Some(4 + size_of::<K>()), Some(size_of::<V>()))?;
        Ok(LpmTrie { map, types: PhantomData })
    }
}

impl<K: Plain, V: Plain> LpmTrie<'_, K, V> {
    /// The value of the longest prefix that all of `data` begins with.
    pub fn matching(&self, data: K) -> Result<Option<V>> {
        let bits = size_of::<K>() as u32 * 8;
        self.map.lookup(&Prefix { bits, data }.bytes())
    }

    /// Adds or replaces.
    pub fn insert(&self, prefix: &Prefix<K>, value: &V) -> Result<()> {
        let (key, value) = (prefix.bytes(), value.as_bytes());
        Ok(self.map.kernel.map_update(self.map.fd, &key, value, UpdateFlag::Any)?)
    }

    /// Removes a prefix; whether it was there.
    pub fn remove(&self, prefix: &Prefix<K>) -> Result<bool> {
        Ok(self.map.kernel.map_delete(self.map.fd, &prefix.bytes())?)
    }

    /// All prefixes with their values.
    pub fn entries(&self) -> Result<Vec<(Prefix<K>, V)>> {
        let elements = self.map.elements()?.into_iter();
        elements
            .map(|(key, value)| {
                let (bits, data) = key.split_at(4);
                let prefix = Prefix { bits: self.map.decode(bits)?, data: self.map.decode(data)? };
                Ok((prefix, self.map.decode(&value)?))
            })
            .collect()
    }

    /// The map behind the view.
    pub fn map(&self) -> &Map<'_> {
        &self.map
    }
}
