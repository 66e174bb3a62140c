//! The maps and global variables that are shown at the end.

use bombus_btf::{Btf, TypeId};
use bombus_kernel::{Kernel, Loaded, MapFd, Result};
use bombus_platform::MapType;
use bombus_spec::{MapRole, MapSpec, ObjectSpec, Variable};
use serde_json::Value;

use super::decode;
use super::literal::with_nearest;
use super::output::Output;

/// What to show at the end.
pub(crate) struct Shown<'a> {
    pub(crate) kernel: &'a dyn Kernel,
    pub(crate) object: &'a ObjectSpec,
    pub(crate) loaded: &'a Loaded,
    pub(crate) btf: Option<&'a Btf>,
}

/// Whether all of `names` are maps or sections of variables of the object.
pub(crate) fn check_names(
    object: &ObjectSpec,
    names: &[String],
) -> std::result::Result<(), String> {
    for name in names {
        if !object.maps.iter().any(|map| is_called(map, name)) {
            let maps = object.maps.iter().map(|map| map.name.as_str());
            return Err(with_nearest(&format!("the object has no map {name}"), name, maps));
        }
    }
    Ok(())
}

/// By its name, or by the section of variables that it is.
fn is_called(map: &MapSpec, name: &str) -> bool {
    map.name == name || matches!(&map.role, MapRole::Data { section, .. } if section == name)
}

impl Shown<'_> {
    /// Shows the maps of these names; without names, every map that has something to read.
    pub(crate) fn show(&self, names: &[String], output: &mut Output) -> Result<()> {
        for (index, spec) in self.object.maps.iter().enumerate() {
            let Some(map) = self.loaded.maps.get(index).copied().flatten() else { continue };
            let chosen = names.iter().any(|name| is_called(spec, name));
            match &spec.role {
                MapRole::Data { read_only, .. } if chosen || (names.is_empty() && !read_only) => {
                    self.variables(index, map, output)?;
                }
                MapRole::Ordinary if chosen || (names.is_empty() && is_table(spec.map_type)) => {
                    self.elements(spec, map, output)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn variables(&self, index: usize, map: MapFd, output: &mut Output) -> Result<()> {
        let Some(section) = self.kernel.map_lookup(map, &[0; 4])? else { return Ok(()) };
        let mut variables: Vec<&Variable> =
            self.object.variables.iter().filter(|each| each.map as usize == index).collect();
        variables.sort_by_key(|variable| variable.offset);
        for variable in variables {
            let start = variable.offset as usize;
            let bytes = section.get(start..start.saturating_add(variable.size as usize));
            if let Some(bytes) = bytes {
                output.variable(&variable.name, &self.value(variable.type_id, bytes));
            }
        }
        Ok(())
    }

    /// Every element; of an array those that are not all zero.
    fn elements(&self, spec: &MapSpec, map: MapFd, output: &mut Output) -> Result<()> {
        let is_array = matches!(spec.map_type, MapType::Array | MapType::PercpuArray);
        let mut elements = self.kernel.map_elements(map)?;
        elements.retain(|(_, value)| !is_array || value.iter().any(|&byte| byte != 0));
        for (key, value) in &elements {
            let key = match is_array {
                true => decode::unsigned(key).into(),
                false => self.value(spec.key_type, key),
            };
            let value = match spec.map_type.is_per_cpu() {
                true => self.per_cpu(spec, value),
                false => self.value(spec.value_type, value),
            };
            output.element(&spec.name, &key, &value);
        }
        Ok(())
    }

    /// The values of the CPUs, each of which is rounded up to 8 bytes.
    fn per_cpu(&self, spec: &MapSpec, value: &[u8]) -> Value {
        let size = spec.value_size as usize;
        let values = value.chunks(size.next_multiple_of(8).max(8));
        values.map(|each| self.value(spec.value_type, each.get(..size).unwrap_or(each))).collect()
    }

    fn value(&self, type_id: u32, bytes: &[u8]) -> Value {
        match self.btf {
            Some(btf) if type_id != 0 => decode::value(btf, TypeId(type_id), bytes),
            _ => decode::untyped(bytes),
        }
    }
}

/// Whether it holds values of the programs' own, by key.
fn is_table(map_type: MapType) -> bool {
    matches!(
        map_type,
        MapType::Hash
            | MapType::Array
            | MapType::PercpuHash
            | MapType::PercpuArray
            | MapType::LruHash
            | MapType::LruPercpuHash
            | MapType::LpmTrie
    )
}
