//! From a specification to a live collection: fit the code to the kernel, create the maps, load
//! the programs.
//!
//! Everything that depends on the target is resolved here and nowhere else: fields of the kernel's
//! types (CO-RE), its configuration, variables and functions, the layout of its structures of
//! callbacks. What is missing is an error only where a program cannot do without it.
//!
//! Programs are loaded with BTF, so that whatever prints them (the verifier's log, bpftool, perf)
//! can name their functions and show the user's own lines. It is not needed to run them: on a
//! kernel that refuses it, programs are loaded without.

mod attach;
mod code;
mod context_arguments;
mod core_relocations;
mod debug_info;
mod explain;
mod externs;
mod helpers;
mod kconfig;
mod loaded;
mod maps;
mod name;
mod opened;
mod pins;
mod programs;
mod struct_ops;
mod target;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use bombus_btf::{Btf, Support, sanitize};
use bombus_isa::Insn;
use bombus_platform::{MapType, ProgType};
use bombus_spec::{MapRole, MapSpec, ObjectSpec, ProgramSpec};

pub use self::attach::{Places, Usdt};
pub(crate) use self::kconfig::parse as parse_config;
pub use self::loaded::{Loaded, LoadedProgram};
pub use self::target::{Module, Target};

use self::context_arguments::ContextArguments;
use self::core_relocations::Relocator;
use self::debug_info::DebugInfo;
use self::externs::Externs;
use self::opened::Opened;
use self::struct_ops::CallbackOf;
use crate::{BtfFd, Error, Feature, Kernel, MapFd, ProgFd, Result};

/// Where pins by name are, unless something else is said (`LIBBPF_PIN_BY_NAME`).
pub const PIN_ROOT: &str = "/sys/fs/bpf";

/// Loads a whole object as it stands.
///
/// Fails with the kernel's own error, or with `EINVAL` when a slot refers to a map or function
/// that the specification does not have.
pub fn load(kernel: &dyn Kernel, object: &ObjectSpec) -> Result<Loaded> {
    Loader::new(object).load(kernel)
}

/// How to load an object.
///
/// Names that the object does not have are errors of [`Loader::load`].
#[derive(Clone, Debug)]
pub struct Loader<'a> {
    object: &'a ObjectSpec,
    autoload: HashMap<String, bool>,
    autocreate: HashMap<String, bool>,
    variables: Vec<(String, Vec<u8>)>,
    pin_root: PathBuf,
    reused: HashMap<String, MapFd>,
    max_entries: HashMap<String, u32>,
    targets: HashMap<String, (Option<ProgFd>, String)>,
    types: Option<Arc<Btf>>,
    config: Option<String>,
    log_level: u32,
}

impl<'a> Loader<'a> {
    /// As the object says.
    pub fn new(object: &'a ObjectSpec) -> Loader<'a> {
        Loader {
            object,
            autoload: HashMap::new(),
            autocreate: HashMap::new(),
            variables: Vec::new(),
            pin_root: PIN_ROOT.into(),
            reused: HashMap::new(),
            max_entries: HashMap::new(),
            targets: HashMap::new(),
            types: None,
            config: None,
            log_level: 0,
        }
    }

    /// Whether this program is loaded, whatever its section says.
    pub fn autoload(mut self, program: &str, load: bool) -> Self {
        self.autoload.insert(program.into(), load);
        self
    }

    /// Whether this map is created, whatever its section says. A program that uses a map that is
    /// not is refused, unless it cannot come to where it does.
    pub fn autocreate(mut self, map: &str, create: bool) -> Self {
        self.autocreate.insert(map.into(), create);
        self
    }

    /// Sets a global variable before any program runs; constants only here. It has to be as many
    /// bytes as the variable has, in the byte order of the host.
    pub fn set(mut self, variable: &str, bytes: &[u8]) -> Self {
        self.variables.push((variable.into(), bytes.to_vec()));
        self
    }

    /// The directory of maps that are pinned by name; [`PIN_ROOT`] unless said.
    pub fn pin_root(mut self, path: impl Into<PathBuf>) -> Self {
        self.pin_root = path.into();
        self
    }

    /// Uses a map that is there already. It has to be like the object's. The caller keeps it.
    pub fn reuse_map(mut self, name: &str, map: MapFd) -> Self {
        self.reused.insert(name.into(), map);
        self
    }

    /// Another size for a map.
    pub fn max_entries(mut self, map: &str, entries: u32) -> Self {
        self.max_entries.insert(map.into(), entries);
        self
    }

    /// The program whose function is replaced (`freplace`) or traced (`fentry`) by this one.
    pub fn target_program(mut self, program: &str, target: ProgFd, function: &str) -> Self {
        self.targets.insert(program.into(), (Some(target), function.into()));
        self
    }

    /// The kernel function, hook or tracepoint of a program whose section does not say.
    pub fn target_function(mut self, program: &str, function: &str) -> Self {
        self.targets.insert(program.into(), (None, function.into()));
        self
    }

    /// Other types than the kernel says it has, for one that says nothing.
    pub fn kernel_btf(mut self, types: Arc<Btf>) -> Self {
        self.types = Some(types);
        self
    }

    /// Options (`CONFIG_HZ=250`, one a line) that go before those of the kernel.
    pub fn kconfig(mut self, text: &str) -> Self {
        self.config = Some(text.into());
        self
    }

    /// How much the verifier says when it refuses a program, see
    /// [`crate::ProgLoad::log_level`].
    pub fn log_level(mut self, level: u32) -> Self {
        self.log_level = level;
        self
    }

    /// Creates every map, stores what is in them, and loads the programs. When something fails,
    /// nothing is left behind but pins.
    pub fn load(&self, kernel: &dyn Kernel) -> Result<Loaded> {
        self.check_names()?;
        let mut target = Target::kernel(kernel);
        if let Some(types) = &self.types {
            target = target.with_types(types.clone());
        }
        if let Some(config) = &self.config {
            target = target.with_config(config);
        }
        let types = types_of(self.object)?;
        let types = types.as_ref();
        let externs = Externs::resolve(self.object, types, &target)?;
        let structures =
            struct_ops::translate(self.object, types, &target, |map| self.is_created(map))?;
        let callbacks = struct_ops::callbacks(self.object, &structures)?;
        let mut specs = self.map_specs(kernel, &externs)?;
        let wanted = |index: usize| self.is_wanted(index, &callbacks);
        for (index, program) in self.object.programs.iter().enumerate() {
            if program.prog_type == ProgType::Unspecified && wanted(index) {
                return Err(programs::of_no_type(program));
            }
        }
        let programs = self.object.programs.iter().enumerate();
        let core_types = core_relocations::Types::new(types, &target);
        let mut relocator = Relocator::new(&core_types);
        let code = programs.filter(|(index, _)| wanted(*index)).map(|(index, program)| {
            let code = code::fit(self.object, program, &externs, &mut relocator)?;
            Ok((index, program, code))
        });
        let code = code.collect::<Result<Vec<_>>>()?;
        for (index, spec) in specs.iter_mut().enumerate() {
            // The table of a program that is left out; and not every kernel has such maps.
            if spec.map_type == MapType::InsnArray && matches!(spec.role, MapRole::Data { .. }) {
                spec.autocreate &= code.iter().any(|(.., code)| code.uses_map(index));
            }
        }

        let contexts = types.and_then(ContextArguments::of);
        let contexts = contexts.filter(|_| !kernel.supports(Feature::ArgCtxTag));
        let debug_info = DebugInfo::new(types, contexts.as_ref(), &self.object.programs);
        let btf = load_types(kernel, &debug_info);
        let mut opened = Opened::new(kernel);
        maps::Making {
            kernel,
            object: self.object,
            specs: &specs,
            structures: &structures,
            btf: btf.filter(|_| types.is_some()),
            pin_root: &self.pin_root,
            reused: &self.reused,
        }
        .all(&mut opened)?;
        opened.programs.resize(self.object.programs.len(), None);
        let maps = opened.maps.clone();
        let loading = programs::Loading {
            kernel,
            target: &target,
            maps: &maps,
            map_specs: &specs,
            btf,
            modules: &externs.modules,
            callbacks: &callbacks,
            targets: &self.targets,
            kern_version: self.object.kernel_version,
            log_level: self.log_level,
        };
        for (index, program, code) in code {
            let info = debug_info.program(index);
            opened.programs[index] = Some(loading.load(index, program, code, info)?);
        }
        maps::store_programs(kernel, &specs, &opened.maps, &opened.programs)?;
        let (maps, programs) = opened.take();
        Ok(Loaded::new(self.object, specs, maps, programs, structures))
    }

    /// Whether a program is loaded. One that is a kernel callback is, if its structure has a place
    /// for it on this kernel.
    fn is_wanted(&self, index: usize, callbacks: &HashMap<u32, CallbackOf>) -> bool {
        let program = &self.object.programs[index];
        match self.autoload.get(&program.name) {
            Some(&load) => load,
            None if program.prog_type == ProgType::StructOps => {
                callbacks.contains_key(&(index as u32))
                    || (program.autoload && !self.is_callback(index))
            }
            None => program.autoload,
        }
    }

    /// Whether a map is created.
    fn is_created(&self, index: usize) -> bool {
        let map = &self.object.maps[index];
        self.autocreate.get(&map.name).copied().unwrap_or(map.autocreate)
    }

    /// Whether a structure of the object has the program.
    fn is_callback(&self, index: usize) -> bool {
        self.object.maps.iter().any(|map| match &map.role {
            MapRole::StructOps { functions, .. } => {
                functions.iter().any(|&(_, program)| program as usize == index)
            }
            _ => false,
        })
    }

    /// The maps as this kernel is asked for them, with variables and configuration stored.
    fn map_specs(&self, kernel: &dyn Kernel, externs: &Externs) -> Result<Vec<MapSpec>> {
        let mut specs = self.object.maps.clone();
        for (index, spec) in specs.iter_mut().enumerate() {
            spec.autocreate = self.is_created(index);
            if let Some(&entries) = self.max_entries.get(&spec.name) {
                spec.max_entries = entries;
            }
        }
        for (name, bytes) in &self.variables {
            let variable = loaded::find_variable(&self.object.variables, name)?;
            loaded::check_size(variable, bytes)?;
            store(&mut specs, variable.map, variable.offset, bytes)
                .ok_or_else(|| loaded::outside(name))?;
        }
        for (map, offset, bytes) in &externs.values {
            store(&mut specs, *map, *offset, bytes).ok_or_else(|| loaded::outside(".kconfig"))?;
        }
        Ok(specs.iter().map(|spec| maps::adjusted(spec, kernel)).collect())
    }

    fn check_names(&self) -> Result<()> {
        let programs: HashSet<&str> =
            self.object.programs.iter().map(|program| program.name.as_str()).collect();
        let maps: HashSet<&str> = self.object.maps.iter().map(|map| map.name.as_str()).collect();
        for name in self.autoload.keys().chain(self.targets.keys()) {
            if !programs.contains(name.as_str()) {
                return Err(Error::invalid(format!("the object has no program {name}")));
            }
        }
        for name in self.reused.keys().chain(self.max_entries.keys()).chain(self.autocreate.keys())
        {
            if !maps.contains(name.as_str()) {
                return Err(Error::invalid(format!("the object has no map {name}")));
            }
        }
        Ok(())
    }
}

/// Writes into the only value of a map of variables; `None` when it is too small.
fn store(specs: &mut [MapSpec], map: u32, offset: u32, bytes: &[u8]) -> Option<()> {
    let spec = specs.get_mut(map as usize)?;
    let size = spec.value_size as usize;
    if spec.contents.is_empty() {
        spec.contents.push((vec![0; 4], vec![0; size]));
    }
    let value = &mut spec.contents.first_mut()?.1;
    let offset = offset as usize;
    value.get_mut(offset..offset.checked_add(bytes.len())?)?.copy_from_slice(bytes);
    Some(())
}

fn types_of(object: &ObjectSpec) -> Result<Option<Btf>> {
    let Some(blob) = object.btf.clone() else { return Ok(None) };
    let types = Btf::parse(blob);
    types.map(Some).map_err(|error| Error::invalid(format!("the object's types: {error}")))
}

/// The types as far as the kernel takes them; without, everything else still works.
fn load_types(kernel: &dyn Kernel, debug_info: &DebugInfo) -> Option<BtfFd> {
    let (support, blob) = (kernel.btf_support()?, debug_info.blob()?);
    if support == Support::ALL {
        return kernel.btf_load(blob).ok();
    }
    let types = Btf::parse(blob.to_vec()).ok()?;
    kernel.btf_load(&sanitize(&types, support)).ok()
}

/// The code of every program, fitted to a target that need not be there: all that depends on the
/// target's types, configuration and functions is resolved. Maps are named by their index in the
/// object (`BPF_PSEUDO_MAP_IDX`, `BPF_PSEUDO_MAP_IDX_VALUE`).
pub fn resolve_offline(
    object: &ObjectSpec,
    target: &Target<'_>,
) -> Result<Vec<(String, Result<Vec<Insn>>)>> {
    let types = types_of(object)?;
    let externs = Externs::resolve(object, types.as_ref(), target)?;
    let core_types = core_relocations::Types::new(types.as_ref(), target);
    let mut relocator = Relocator::new(&core_types);
    let fit = |program: &ProgramSpec| {
        let code = code::fit(object, program, &externs, &mut relocator);
        (program.name.clone(), code.map(|code| code.insns))
    };
    Ok(object.programs.iter().map(fit).collect())
}
