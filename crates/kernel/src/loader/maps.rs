//! Creating the maps, and what is in them before any program runs.

use std::collections::HashMap;
use std::path::Path;

use bombus_platform::MapType;
use bombus_spec::{MapRole, MapSpec, ObjectSpec, Slot};

use super::opened::Opened;
use super::struct_ops::Structure;
use super::{name, pins};
use crate::{BtfFd, Error, Feature, Kernel, MapFd, MapTypes, Object, ProgFd, Result, UpdateFlag};

/// `BPF_F_MMAPABLE`.
const MMAPABLE: u32 = 1 << 10;
/// `BPF_F_LINK`.
const LINK: u32 = 1 << 13;
/// Bytes of a page; ring buffers are made of them.
const PAGE: u32 = 4096;

/// The specification as this kernel is asked for it.
pub(super) fn adjusted(spec: &MapSpec, kernel: &dyn Kernel) -> MapSpec {
    let mut spec = MapSpec { name: name::sanitized(&spec.name), ..spec.clone() };
    spec.inner = spec.inner.map(|inner| Box::new(adjusted(&inner, kernel)));
    match spec.map_type {
        MapType::PerfEventArray if spec.max_entries == 0 => {
            spec.max_entries = kernel.features().possible_cpus;
        }
        MapType::Ringbuf | MapType::UserRingbuf => {
            spec.max_entries = ring_size(spec.max_entries);
        }
        _ => {}
    }
    if !takes_types(spec.map_type) {
        (spec.key_type, spec.value_type) = (0, 0);
    }
    let is_data = matches!(spec.role, MapRole::Data { .. } | MapRole::Kconfig);
    if is_data && spec.flags & MMAPABLE != 0 && !kernel.supports(Feature::MmapableArrays) {
        spec.flags &= !MMAPABLE;
    }
    spec
}

/// Whether the kernel takes types for the keys and values of such maps, as libbpf knows it.
fn takes_types(map_type: MapType) -> bool {
    !matches!(
        map_type,
        MapType::PerfEventArray
            | MapType::CgroupArray
            | MapType::StackTrace
            | MapType::ArrayOfMaps
            | MapType::HashOfMaps
            | MapType::Devmap
            | MapType::DevmapHash
            | MapType::Cpumap
            | MapType::Xskmap
            | MapType::Sockmap
            | MapType::Sockhash
            | MapType::Queue
            | MapType::Stack
            | MapType::Arena
    )
}

/// The next size that a ring buffer can have: a page times a power of two, as libbpf rounds it.
fn ring_size(bytes: u32) -> u32 {
    match bytes {
        0 => 0,
        bytes => bytes
            .div_ceil(PAGE)
            .checked_next_power_of_two()
            .and_then(|pages| pages.checked_mul(PAGE))
            .unwrap_or(bytes),
    }
}

/// What the maps are made with.
pub(super) struct Making<'a> {
    pub(super) kernel: &'a dyn Kernel,
    pub(super) object: &'a ObjectSpec,
    /// The maps as this kernel is asked for them.
    pub(super) specs: &'a [MapSpec],
    /// Struct_ops maps in the kernel's layout, by index.
    pub(super) structures: &'a HashMap<u32, Structure>,
    /// The types, when the kernel took them.
    pub(super) btf: Option<BtfFd>,
    pub(super) pin_root: &'a Path,
    /// Maps that exist already, by name.
    pub(super) reused: &'a HashMap<String, MapFd>,
}

impl Making<'_> {
    /// Creates every map in order, with its contents; then stores maps in maps.
    pub(super) fn all(&self, opened: &mut Opened<'_>) -> Result<()> {
        for index in 0..self.specs.len() {
            self.one(index, opened)?;
        }
        for (spec, map) in self.specs.iter().zip(&opened.maps) {
            for (key, slot) in &spec.slots {
                let (Some(map), Slot::Map(index)) = (*map, *slot) else { continue };
                let inner = opened.maps.get(index as usize).copied().flatten();
                let inner = inner.ok_or_else(|| empty_slot(spec, *key, "map"))?;
                store(self.kernel, map, *key, inner.0)?;
            }
        }
        Ok(())
    }

    fn one(&self, index: usize, opened: &mut Opened<'_>) -> Result<()> {
        let (spec, declared) = (&self.specs[index], &self.object.maps[index]);
        if let Some(&map) = self.reused.get(&declared.name) {
            pins::check_same(self.kernel, spec, map, || "the map that was given".into())?;
            opened.keep_map(map);
            return Ok(());
        }
        if !spec.autocreate {
            opened.maps.push(None);
            return Ok(());
        }
        let path = declared.pin_by_name.then(|| self.pin_root.join(&declared.name));
        let path = path.as_deref();
        if let Some(map) = path.map_or(Ok(None), |path| pins::find(self.kernel, spec, path))? {
            opened.maps.push(Some(map));
            return Ok(());
        }
        let map = self.create(index as u32, spec)?;
        opened.maps.push(Some(map));
        self.fill(spec, map)?;
        let Some(path) = path else { return Ok(()) };
        match self.kernel.pin(Object::Map(map), path) {
            // Somebody else was faster: theirs is the one to share.
            Err(error) if error.errno() == Some(EEXIST) => {
                let Some(theirs) = pins::find(self.kernel, spec, path)? else { return Err(error) };
                opened.maps[index] = Some(theirs);
                self.kernel.close(Object::Map(map))
            }
            outcome => outcome,
        }
    }

    /// Creates a map; without types where the kernel refuses those.
    fn create(&self, index: u32, spec: &MapSpec) -> Result<MapFd> {
        let inner = spec.inner.as_deref().map(|inner| self.create(u32::MAX, inner)).transpose()?;
        let mut spec = spec.clone();
        let mut types = MapTypes { btf: self.btf, inner, ..MapTypes::default() };
        if let Some(structure) = self.structures.get(&index) {
            types.kernel_value_type = structure.value_type;
            types.module = structure.module;
            spec.value_size = structure.value.len() as u32;
            (spec.key_type, spec.value_type) = (0, 0);
            spec.contents.clear();
            if let MapRole::StructOps { link: true, .. } = spec.role {
                spec.flags |= LINK;
            }
        }
        let mut outcome = self.kernel.map_create_typed(&spec, types);
        if refused(&outcome) && types.btf.is_some() && (spec.key_type | spec.value_type) != 0 {
            (spec.key_type, spec.value_type, types.btf) = (0, 0, None);
            outcome = self.kernel.map_create_typed(&spec, types);
        }
        if let Some(inner) = inner {
            // The map of maps keeps what it needs of it.
            let _ = self.kernel.close(Object::Map(inner));
        }
        outcome
    }

    fn fill(&self, spec: &MapSpec, map: MapFd) -> Result<()> {
        if matches!(spec.role, MapRole::StructOps { .. }) {
            return Ok(());
        }
        if spec.map_type == MapType::Arena {
            // The verifier wants to know where user space has it, also when nothing is in there.
            let memory = self.kernel.map_mmap(map)?;
            return spec.contents.iter().try_for_each(|(_, value)| memory.write(0, value));
        }
        for (key, value) in &spec.contents {
            self.kernel.map_update(map, key, value, UpdateFlag::Any)?;
        }
        let frozen = match &spec.role {
            MapRole::Data { read_only, .. } => *read_only,
            MapRole::Kconfig => true,
            _ => false,
        };
        match frozen.then(|| self.kernel.map_freeze(map)) {
            // Older kernels have no such command; then it is only less strict.
            None | Some(Ok(()) | Err(Error::Unsupported { .. })) => Ok(()),
            Some(Err(error)) => Err(error),
        }
    }
}

/// Stores the programs that tail calls go to.
pub(super) fn store_programs(
    kernel: &dyn Kernel,
    specs: &[MapSpec],
    maps: &[Option<MapFd>],
    programs: &[Option<ProgFd>],
) -> Result<()> {
    for (spec, map) in specs.iter().zip(maps) {
        for (key, slot) in &spec.slots {
            let (Some(map), Slot::Program(index)) = (*map, *slot) else { continue };
            let program = programs.get(index as usize).copied().flatten();
            let program = program.ok_or_else(|| empty_slot(spec, *key, "program"))?;
            store(kernel, map, *key, program.0)?;
        }
    }
    Ok(())
}

fn empty_slot(spec: &MapSpec, key: u32, what: &str) -> Error {
    Error::Invalid {
        what: format!("slot {key} of map {} names a {what} that is not loaded", spec.name),
        help: Some("load it as well, or leave it out of the table".into()),
    }
}

fn store(kernel: &dyn Kernel, map: MapFd, key: u32, handle: u32) -> Result<()> {
    kernel.map_update(map, &key.to_ne_bytes(), &handle.to_ne_bytes(), UpdateFlag::Any)
}

fn refused<T>(outcome: &Result<T>) -> bool {
    outcome.as_ref().is_err_and(|error| error.errno() == Some(EINVAL))
}

const EEXIST: i32 = 17;
const EINVAL: i32 = 22;

#[cfg(test)]
mod tests {
    use super::ring_size;

    #[test]
    fn ring_sizes() {
        for (asked, given) in [
            (0, 0),
            (1, 4096),
            (4096, 4096),
            (4097, 8192),
            (3 * 4096, 4 * 4096),
            (256 * 1024, 256 * 1024),
            (u32::MAX, u32::MAX),
        ] {
            assert_eq!(ring_size(asked), given, "{asked}");
        }
    }
}
