//! What a load gives: handles, by index and by name, and the global variables behind them.

use std::cell::RefCell;
use std::collections::HashMap;

use bombus_platform::{AttachType, ProgType};
use bombus_spec::{MapSpec, ObjectSpec, Variable};

use super::struct_ops::Structure;
use crate::{Error, Kernel, MapFd, Object, ProgFd, Result, UpdateFlag};

/// What [`super::Loader::load`] made, in the order of the specification.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The maps; `None` for one that was not to be created.
    pub maps: Vec<Option<MapFd>>,
    /// The programs; `None` for one that was not to be loaded.
    pub programs: Vec<Option<ProgFd>>,
    pub(super) map_specs: Vec<MapSpec>,
    pub(super) about: Vec<LoadedProgram>,
    pub(super) variables: Vec<Variable>,
    pub(super) structures: HashMap<u32, Structure>,
    /// Which descriptions of static probes there are: their number by what they say, which is
    /// where the arguments are and the cookie.
    pub(super) descriptions: RefCell<HashMap<(String, u64), u32>>,
}

/// What there is to know of a program once it is loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadedProgram {
    /// Its name in the object.
    pub name: String,
    /// The section it stood in.
    pub section: String,
    /// What kind of program.
    pub prog_type: ProgType,
    /// Where it attaches, when the type does not say all.
    pub attach_type: AttachType,
    /// The handle; `None` when it was not to be loaded.
    pub fd: Option<ProgFd>,
}

impl Loaded {
    pub(super) fn new(
        object: &ObjectSpec,
        map_specs: Vec<MapSpec>,
        maps: Vec<Option<MapFd>>,
        programs: Vec<Option<ProgFd>>,
        structures: HashMap<u32, Structure>,
    ) -> Loaded {
        let about = object.programs.iter().zip(&programs).map(|(program, &fd)| LoadedProgram {
            name: program.name.clone(),
            section: program.section.clone(),
            prog_type: program.prog_type,
            attach_type: program.attach_type,
            fd,
        });
        let about = about.collect();
        Loaded {
            maps,
            programs,
            // The kernel has the contents now.
            map_specs: map_specs
                .into_iter()
                .map(|spec| MapSpec { contents: Vec::new(), ..spec })
                .collect(),
            about,
            variables: object.variables.clone(),
            structures,
            descriptions: RefCell::default(),
        }
    }

    /// The map of this name.
    pub fn map(&self, name: &str) -> Option<MapFd> {
        self.map_with_spec(name).map(|(map, _)| map)
    }

    /// The map of this name, and what it is on this kernel.
    pub fn map_with_spec(&self, name: &str) -> Option<(MapFd, &MapSpec)> {
        let index = self.map_specs.iter().position(|spec| spec.name == name)?;
        Some(((*self.maps.get(index)?)?, &self.map_specs[index]))
    }

    /// The map with this index. Fails when there is none, or when it was not to be created.
    pub fn map_at(&self, index: u32) -> Result<MapFd> {
        let map = self.maps.get(index as usize).copied().flatten();
        map.ok_or_else(|| Error::invalid(format!("map {index} is not created")))
    }

    /// Every map with what it is on this kernel, in order; without those that are not created.
    pub fn all_maps(&self) -> impl Iterator<Item = (MapFd, &MapSpec)> {
        let maps = self.maps.iter().zip(&self.map_specs);
        maps.filter_map(|(map, spec)| Some(((*map)?, spec)))
    }

    /// The program of this name, if it was loaded.
    pub fn program(&self, name: &str) -> Option<ProgFd> {
        self.about.iter().find(|program| program.name == name)?.fd
    }

    /// The program with this index. Fails when there is none, or when it was not to be loaded.
    pub fn program_at(&self, index: u32) -> Result<ProgFd> {
        let program = self.programs.get(index as usize).copied().flatten();
        program.ok_or_else(|| Error::invalid(format!("program {index} is not loaded")))
    }

    /// Every program of the object, in order.
    pub fn all_programs(&self) -> &[LoadedProgram] {
        &self.about
    }

    /// The global variables.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// The bytes of a global variable as they are now.
    pub fn variable(&self, kernel: &dyn Kernel, name: &str) -> Result<Vec<u8>> {
        let (variable, map) = self.find_variable(name)?;
        let value = kernel.map_lookup(map, &[0; 4])?.unwrap_or_default();
        let end = (variable.offset as usize).saturating_add(variable.size as usize);
        let bytes = value.get(variable.offset as usize..end);
        bytes.map(<[u8]>::to_vec).ok_or_else(|| outside(name))
    }

    /// Changes a global variable. Where the kernel can share the section's memory only these bytes
    /// are written; otherwise the whole section is read and written, and what programs write to it
    /// in between is lost. Constants cannot be changed any more.
    pub fn set_variable(&self, kernel: &dyn Kernel, name: &str, bytes: &[u8]) -> Result<()> {
        let (variable, map) = self.find_variable(name)?;
        check_size(variable, bytes)?;
        let start = variable.offset as usize;
        if let Ok(memory) = kernel.map_mmap(map) {
            return memory.write(start, bytes);
        }
        let mut value = kernel.map_lookup(map, &[0; 4])?.unwrap_or_default();
        let place = value.get_mut(start..start.saturating_add(bytes.len()));
        place.ok_or_else(|| outside(name))?.copy_from_slice(bytes);
        kernel.map_update(map, &[0; 4], &value, UpdateFlag::Any)
    }

    fn find_variable(&self, name: &str) -> Result<(&Variable, MapFd)> {
        let variable = find_variable(&self.variables, name)?;
        Ok((variable, self.map_at(variable.map)?))
    }

    /// Lets go of every map and program. What is attached or pinned stays.
    pub fn close(self, kernel: &dyn Kernel) -> Result<()> {
        let programs = self.programs.into_iter().flatten().map(Object::Program);
        let maps = self.maps.into_iter().flatten().map(Object::Map);
        programs.chain(maps).try_for_each(|object| kernel.close(object))
    }
}

/// The variable of this name.
pub(super) fn find_variable<'v>(variables: &'v [Variable], name: &str) -> Result<&'v Variable> {
    variables.iter().find(|variable| variable.name == name).ok_or_else(|| {
        let mut names: Vec<&str> =
            variables.iter().map(|variable| variable.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        Error::Invalid {
            what: format!("there is no global variable {name}"),
            help: Some(match names[..] {
                [] => "the object has none".into(),
                _ => format!("there are {}", names.join(", ")),
            }),
        }
    })
}

/// An error unless these are as many bytes as the variable has.
pub(super) fn check_size(variable: &Variable, bytes: &[u8]) -> Result<()> {
    if bytes.len() == variable.size as usize {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "variable {} has {} bytes, not {}",
        variable.name,
        variable.size,
        bytes.len()
    )))
}

pub(super) fn outside(name: &str) -> Error {
    Error::invalid(format!("variable {name} lies outside of its section"))
}
