//! Maps that hold nothing but what the verifier asks: constants.

use std::collections::BTreeMap;
use std::sync::Arc;

use bombus_btf::Btf;
use bombus_platform::MapType;
use bombus_spec::MapSpec;
use bombus_verifier::Map;

use super::load::described_map;
use crate::{Error, MapMemory, Result};

/// `BPF_F_RDONLY_PROG`.
const READ_ONLY: u32 = 1 << 7;
/// Bytes of an arena that user space maps, at most.
const ARENA: usize = 1 << 32;
/// Where an arena is that may be anywhere.
const ARENA_ADDRESS: u64 = 1 << 44;

/// A map as it was created, with what was stored since.
pub(super) struct Recorded {
    map: Map,
    /// Values by index.
    values: BTreeMap<u32, Vec<u8>>,
    frozen: bool,
}

impl Recorded {
    pub(super) fn new(spec: &MapSpec, btf: Option<Arc<Btf>>, inner: Option<Arc<Map>>) -> Recorded {
        Recorded { map: described_map(spec, btf, inner), values: BTreeMap::new(), frozen: false }
    }

    /// As the verifier sees it.
    pub(super) fn described(&self) -> Map {
        Map { constant: self.constant(), ..self.map.clone() }
    }

    /// What nobody can change any more.
    fn constant(&self) -> Option<Arc<[u8]>> {
        let values = match self.map.map_type {
            MapType::Array if self.map.max_entries == 1 => self.map.flags & READ_ONLY != 0,
            MapType::InsnArray => true,
            _ => false,
        };
        if !(self.frozen && values) {
            return None;
        }
        let size = self.map.value_size as usize;
        let mut bytes = vec![0; size.checked_mul(self.map.max_entries as usize)?];
        for (&index, value) in &self.values {
            let start = (index as usize).checked_mul(size)?;
            bytes.get_mut(start..start.checked_add(value.len())?)?.copy_from_slice(value);
        }
        Some(bytes.into())
    }

    pub(super) fn value(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.values.get(&index(key)).cloned()
    }

    pub(super) fn store(&mut self, key: &[u8], value: &[u8]) {
        if matches!(self.map.map_type, MapType::Array | MapType::InsnArray) {
            self.values.insert(index(key), value.to_vec());
        }
    }

    /// User space maps an arena: it has an address from then on, whichever.
    pub(super) fn place(&mut self) {
        if self.map.map_type == MapType::Arena && self.map.extra == 0 {
            self.map.extra = ARENA_ADDRESS;
        }
    }

    pub(super) fn freeze(&mut self) {
        self.frozen = true;
    }
}

fn index(key: &[u8]) -> u32 {
    key.try_into().map_or(0, u32::from_ne_bytes)
}

/// Memory in which nothing stays.
pub(super) struct Memory;

impl MapMemory for Memory {
    fn size(&self) -> usize {
        ARENA
    }

    fn is_writable(&self) -> bool {
        true
    }

    fn read(&self, _: usize, to: &mut [u8]) -> Result<()> {
        to.fill(0);
        Ok(())
    }

    fn write(&self, _: usize, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn fetch_add(&self, _: usize, _: u64) -> Result<u64> {
        Err(Error::Unsupported { what: "programs are only proved".into(), help: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constant(spec: &MapSpec, freeze: bool) -> Option<Vec<u8>> {
        let mut map = Recorded::new(spec, None, None);
        map.store(&[0; 4], &[1, 2]);
        if freeze {
            map.freeze();
        }
        map.described().constant.map(|bytes| bytes.to_vec())
    }

    #[test]
    fn only_what_nobody_can_change_is_constant() {
        let section = MapSpec {
            map_type: MapType::Array,
            key_size: 4,
            value_size: 4,
            max_entries: 1,
            flags: READ_ONLY,
            ..MapSpec::default()
        };
        assert_eq!(constant(&section, true).unwrap(), [1, 2, 0, 0]);
        assert_eq!(constant(&section, false), None);
        assert_eq!(constant(&MapSpec { flags: 0, ..section.clone() }, true), None);
        assert_eq!(constant(&MapSpec { max_entries: 2, ..section.clone() }, true), None);
        let table = MapSpec { map_type: MapType::InsnArray, max_entries: 2, flags: 0, ..section };
        assert_eq!(constant(&table, true).unwrap(), [1, 2, 0, 0, 0, 0, 0, 0]);
    }
}
