//! Objects: what a compiler made, and how it is to be loaded.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bombus_btf::Btf;
use bombus_kernel::{Loader, MapFd, ProgFd};
use bombus_object::ObjectFile;
use bombus_platform::{AttachType, ProgType};
use bombus_spec::ObjectSpec;
use zerocopy::{Immutable, IntoBytes};

use crate::{Error, Host, Loaded, Map, Program, Result};

/// Maps and programs as plain data, not loaded anywhere.
///
/// Everything about it can be changed before it is loaded, and it can be loaded many times.
///
/// ```
/// # fn main() -> Result<(), bombus::Error> {
/// let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/xdp_firewall.bpf.o");
/// let mut object = bombus::Object::open(path)?;
/// object.max_entries("blocked", 4096)?;
/// let programs: Vec<&str> = object.program_names().collect();
/// assert_eq!(programs, ["on_xdp", "on_tc", "on_cgroup"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Object {
    spec: ObjectSpec,
    settings: Vec<Setting>,
}

/// One thing that is to be other than the file says.
#[derive(Clone, Debug)]
enum Setting {
    Variable(String, Vec<u8>),
    Autoload(String, bool),
    Autocreate(String, bool),
    MaxEntries(String, u32),
    PinRoot(PathBuf),
    Reuse(String, MapFd),
    TargetProgram(String, ProgFd, String),
    TargetFunction(String, String),
    KernelTypes(Arc<Btf>),
    Kconfig(String),
    LogLevel(u32),
}

impl Object {
    /// The object in a file that clang (`-target bpf -g`) made.
    pub fn open(path: impl AsRef<Path>) -> Result<Object> {
        let path = path.as_ref();
        let bytes =
            std::fs::read(path).map_err(|error| Error::File { path: path.to_owned(), error })?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Ok(Object::from_spec(bombus_object::open_named(&bytes, &name)?))
    }

    /// The same from the bytes of a file, for those that are built into the program.
    pub fn from_bytes(bytes: &[u8]) -> Result<Object> {
        Ok(Object::from_spec(bombus_object::open(bytes)?))
    }

    /// One object that is linked from several files: what one of them declares, another defines.
    pub fn link<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<Object> {
        let read = |path: P| {
            let path = path.as_ref().to_owned();
            match std::fs::read(&path) {
                Ok(bytes) => Ok((path.to_string_lossy().into_owned(), bytes)),
                Err(error) => Err(Error::File { path, error }),
            }
        };
        let files = paths.into_iter().map(read).collect::<Result<Vec<_>>>()?;
        let files = files.iter().map(|(name, bytes)| ObjectFile { name, bytes });
        Object::from_bytes(&bombus_object::link(&files.collect::<Vec<_>>())?)
    }

    /// An object that was made otherwise.
    pub fn from_spec(spec: ObjectSpec) -> Object {
        Object { spec, settings: Vec::new() }
    }

    /// All that there is in it, as plain data.
    pub fn spec(&self) -> &ObjectSpec {
        &self.spec
    }

    /// The same, to be changed.
    pub fn spec_mut(&mut self) -> &mut ObjectSpec {
        &mut self.spec
    }

    /// The names of its programs, in order.
    pub fn program_names(&self) -> impl Iterator<Item = &str> {
        self.spec.programs.iter().map(|program| program.name.as_str())
    }

    /// The names of its maps, in order.
    pub fn map_names(&self) -> impl Iterator<Item = &str> {
        self.spec.maps.iter().map(|map| map.name.as_str())
    }

    /// Sets a global variable. Constants (`const volatile`) can be set only here: the verifier
    /// then knows their values and leaves out code that they rule out.
    pub fn set<T: IntoBytes + Immutable>(
        &mut self,
        variable: &str,
        value: T,
    ) -> Result<&mut Object> {
        let found = self.spec.variables.iter().find(|each| each.name == variable);
        let found =
            found.ok_or_else(|| Error::mismatch(format!("there is no variable {variable}")))?;
        if found.size as usize != size_of::<T>() {
            return Err(Error::mismatch(format!(
                "variable {variable} has {} bytes, not {}",
                found.size,
                size_of::<T>()
            )));
        }
        Ok(self.with(Setting::Variable(variable.into(), value.as_bytes().to_vec())))
    }

    /// Whether a program is loaded, whatever its section says (`SEC("?...")`: not).
    pub fn autoload(&mut self, program: &str, load: bool) -> Result<&mut Object> {
        self.check_program(program)?;
        Ok(self.with(Setting::Autoload(program.into(), load)))
    }

    /// What kind of program this is, whatever its section says.
    pub fn program_type(
        &mut self,
        program: &str,
        prog_type: ProgType,
        attach_type: AttachType,
    ) -> Result<&mut Object> {
        self.check_program(program)?;
        for each in self.spec.programs.iter_mut().filter(|each| each.name == program) {
            (each.prog_type, each.attach_type) = (prog_type, attach_type);
        }
        Ok(self)
    }

    /// Whether a map is created, whatever the file says. A program that uses one which is not is
    /// refused, unless it cannot come to where it does.
    pub fn autocreate(&mut self, map: &str, create: bool) -> Result<&mut Object> {
        self.check_map(map)?;
        Ok(self.with(Setting::Autocreate(map.into(), create)))
    }

    /// Another size for a map.
    pub fn max_entries(&mut self, map: &str, entries: u32) -> Result<&mut Object> {
        self.check_map(map)?;
        Ok(self.with(Setting::MaxEntries(map.into(), entries)))
    }

    /// Uses a map that is there already in place of one of its own. Keep it as long as the object is
    /// loaded.
    pub fn reuse_map(&mut self, name: &str, map: &Map<'_>) -> Result<&mut Object> {
        self.check_map(name)?;
        Ok(self.with(Setting::Reuse(name.into(), map.fd())))
    }

    /// The directory of maps that are pinned by name; `/sys/fs/bpf` unless said.
    pub fn pin_root(&mut self, path: impl Into<PathBuf>) -> &mut Object {
        self.with(Setting::PinRoot(path.into()))
    }

    /// The function of a loaded program that this one replaces (`freplace`) or traces.
    pub fn target_program(
        &mut self,
        program: &str,
        target: &Program<'_>,
        function: &str,
    ) -> Result<&mut Object> {
        self.check_program(program)?;
        Ok(self.with(Setting::TargetProgram(program.into(), target.fd(), function.into())))
    }

    /// The kernel function, hook or tracepoint of a program whose section does not say.
    pub fn target_function(&mut self, program: &str, function: &str) -> Result<&mut Object> {
        self.check_program(program)?;
        Ok(self.with(Setting::TargetFunction(program.into(), function.into())))
    }

    /// The kernel's types from a file, for a kernel that does not tell them.
    pub fn kernel_types(&mut self, path: impl AsRef<Path>) -> Result<&mut Object> {
        let path = path.as_ref();
        let bytes =
            std::fs::read(path).map_err(|error| Error::File { path: path.to_owned(), error })?;
        let types = Btf::parse(bytes)
            .map_err(|error| Error::mismatch(format!("{}: {error}", path.display())))?;
        Ok(self.with(Setting::KernelTypes(Arc::new(types))))
    }

    /// Options (`CONFIG_HZ=250`, one a line) that go before those of the kernel.
    pub fn kconfig(&mut self, text: &str) -> &mut Object {
        self.with(Setting::Kconfig(text.into()))
    }

    /// How much the verifier says when it refuses a program: 1 (what it did on the refused path)
    /// or 2 (everything), 4 added for statistics.
    pub fn log_level(&mut self, level: u32) -> &mut Object {
        self.with(Setting::LogLevel(level))
    }

    /// Creates its maps and loads its programs; attaches none. When something fails, nothing is
    /// left behind but pins.
    pub fn load<'k>(&self, kernel: &'k dyn Host) -> Result<Loaded<'k>> {
        let mut loader = Loader::new(&self.spec);
        for setting in &self.settings {
            loader = match setting.clone() {
                Setting::Variable(name, value) => loader.set(&name, &value),
                Setting::Autoload(name, load) => loader.autoload(&name, load),
                Setting::Autocreate(name, create) => loader.autocreate(&name, create),
                Setting::MaxEntries(name, entries) => loader.max_entries(&name, entries),
                Setting::PinRoot(path) => loader.pin_root(path),
                Setting::Reuse(name, map) => loader.reuse_map(&name, map),
                Setting::TargetProgram(name, target, function) => {
                    loader.target_program(&name, target, &function)
                }
                Setting::TargetFunction(name, function) => loader.target_function(&name, &function),
                Setting::KernelTypes(types) => loader.kernel_btf(types),
                Setting::Kconfig(text) => loader.kconfig(&text),
                Setting::LogLevel(level) => loader.log_level(level),
            };
        }
        let reused = self.settings.iter().filter_map(|setting| match setting {
            Setting::Reuse(_, map) => Some(*map),
            _ => None,
        });
        Ok(Loaded::new(kernel, loader.load(kernel)?).borrowing(reused.collect()))
    }

    fn with(&mut self, setting: Setting) -> &mut Object {
        self.settings.push(setting);
        self
    }

    fn check_program(&self, name: &str) -> Result<()> {
        match self.program_names().any(|each| each == name) {
            true => Ok(()),
            false => Err(Error::mismatch(format!("the object has no program {name}"))),
        }
    }

    fn check_map(&self, name: &str) -> Result<()> {
        match self.map_names().any(|each| each == name) {
            true => Ok(()),
            false => Err(Error::mismatch(format!("the object has no map {name}"))),
        }
    }
}
