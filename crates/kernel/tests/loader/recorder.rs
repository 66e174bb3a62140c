//! A kernel that writes down what it is asked.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bombus_btf::{Btf, Type, TypeId};
use bombus_isa::disasm;
use bombus_kernel::{
    AttachPoint, AttachTo, BtfFd, Error, Feature, Features, Kernel, KernelVersion, LinkFd, MapFd,
    MapTypes, ModuleBtf, Object, ProgFd, ProgLoad, Result, UpdateFlag,
};
use bombus_spec::MapSpec;

/// Writes down every call. Handles count up from 10.
pub(crate) struct Recorder {
    pub(crate) calls: RefCell<String>,
    pub(crate) handles: RefCell<u32>,
    pub(crate) features: Features,
    /// Refuses type information.
    pub(crate) refuses_btf: bool,
    /// Does not have these.
    pub(crate) lacks: HashSet<Feature>,
    /// The kernel's own types.
    pub(crate) types: Option<Vec<u8>>,
    /// Types of its modules.
    pub(crate) modules: Vec<(&'static str, Vec<u8>)>,
    /// Its symbols.
    pub(crate) symbols: HashMap<&'static str, u64>,
    /// Its configuration.
    pub(crate) config: HashMap<String, String>,
    /// Maps that are pinned.
    pub(crate) pins: HashMap<PathBuf, MapSpec>,
    /// What the verifier says to programs of this name.
    pub(crate) refusals: HashMap<&'static str, Error>,
}

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder {
            calls: RefCell::default(),
            handles: RefCell::new(10),
            features: Features {
                name: "linux",
                version: KernelVersion { major: 6, minor: 12, patch: 3 },
                possible_cpus: 4,
                isa: 4,
                perf_link: true,
                for_each_map_elem: true,
                bpf_loop: true,
                tp_btf: true,
                syscall_dispatch_above: None,
            },
            refuses_btf: false,
            lacks: HashSet::new(),
            types: None,
            modules: Vec::new(),
            symbols: HashMap::new(),
            config: HashMap::new(),
            pins: HashMap::new(),
            refusals: HashMap::new(),
        }
    }
}

impl Recorder {
    /// What was asked so far, which is then forgotten.
    pub(crate) fn calls(&self) -> String {
        self.calls.take()
    }

    fn handle(&self) -> u32 {
        self.handles.replace_with(|next| *next + 1)
    }

    fn write(&self, call: String) {
        writeln!(self.calls.borrow_mut(), "{call}").unwrap();
    }
}

fn unused<T>() -> Result<T> {
    Err(Error::os("call what the loader does not need", 38))
}

impl Kernel for Recorder {
    fn features(&self) -> &Features {
        &self.features
    }
    fn supports(&self, feature: Feature) -> bool {
        !self.lacks.contains(&feature)
    }
    fn map_create(&self, spec: &MapSpec) -> Result<MapFd> {
        self.map_create_typed(spec, MapTypes::default())
    }
    fn map_create_typed(&self, spec: &MapSpec, types: MapTypes) -> Result<MapFd> {
        let map = MapFd(self.handle());
        let mut call = format!(
            "map_create {} {} {}+{} x{}",
            spec.name,
            spec.map_type.name(),
            spec.key_size,
            spec.value_size,
            spec.max_entries
        );
        if spec.flags != 0 {
            write!(call, " flags {:#x}", spec.flags).unwrap();
        }
        if let Some(btf) = types.btf.filter(|_| (spec.key_type | spec.value_type) != 0) {
            write!(call, " types {}:{},{}", btf.0, spec.key_type, spec.value_type).unwrap();
        }
        if let Some(inner) = types.inner {
            write!(call, " inner {}", inner.0).unwrap();
        }
        if types.kernel_value_type != 0 {
            let module = types.module.map(|module| module.0);
            write!(call, " kernel type {} of {module:?}", types.kernel_value_type).unwrap();
        }
        self.write(format!("{call} -> {}", map.0));
        Ok(map)
    }
    fn map_lookup(&self, _: MapFd, _: &[u8]) -> Result<Option<Vec<u8>>> {
        unused()
    }
    fn map_update(&self, map: MapFd, key: &[u8], value: &[u8], flag: UpdateFlag) -> Result<()> {
        self.write(format!("map_update {} {key:?} {value:?} {flag:?}", map.0));
        Ok(())
    }
    fn map_delete(&self, _: MapFd, _: &[u8]) -> Result<bool> {
        unused()
    }
    fn map_next_key(&self, _: MapFd, _: Option<&[u8]>) -> Result<Option<Vec<u8>>> {
        unused()
    }
    fn map_freeze(&self, map: MapFd) -> Result<()> {
        self.write(format!("map_freeze {}", map.0));
        Ok(())
    }
    fn map_spec(&self, map: MapFd) -> Result<MapSpec> {
        let pinned = self.pins.values().find(|spec| spec.name == format!("pinned{}", map.0));
        Ok(pinned.or(self.pins.values().next()).cloned().unwrap_or_default())
    }
    fn ringbuf_consume(&self, _: MapFd, _: &mut dyn FnMut(&[u8])) -> Result<usize> {
        unused()
    }
    fn btf_load(&self, btf: &[u8]) -> Result<BtfFd> {
        if self.refuses_btf {
            self.write("btf_load -> EINVAL".into());
            return Err(Error::os("load BTF", 22));
        }
        let handle = BtfFd(self.handle());
        self.write(format!("btf_load -> {}", handle.0));
        for (id, ty) in Btf::parse(btf.to_vec()).unwrap().types() {
            let refers = match ty {
                Type::Int(int) => int.size,
                Type::Ptr(TypeId(to)) => to,
                Type::FuncProto { ret, .. } => ret.0,
                Type::Func { proto, .. } => proto.0,
                _ => 0,
            };
            self.write(format!("  {id} {} '{}' {refers}", ty.kind().name(), ty.name()));
        }
        Ok(handle)
    }
    fn prog_load(&self, program: &ProgLoad<'_>) -> Result<ProgFd> {
        let handle = ProgFd(self.handle());
        let mut call = format!(
            "prog_load {} {} {} btf {:?} {}",
            program.name,
            program.prog_type.name(),
            match program.attach_to {
                AttachTo::Nothing => "-".to_owned(),
                AttachTo::Kernel(symbol) => symbol.to_owned(),
                AttachTo::Program(program, function) => format!("{}:{function}", program.0),
                AttachTo::Member { structure, member, module } => {
                    format!("{structure}.{member} of {:?}", module.map(|module| module.0))
                }
            },
            program.btf.map(|btf| btf.0),
            program.license,
        );
        if !program.module_types.is_empty() {
            let modules: Vec<_> = program.module_types.iter().map(|types| types.0).collect();
            write!(call, " modules {modules:?}").unwrap();
        }
        self.write(format!("{call} -> {}", handle.0));
        for func in words(program.func_info).chunks(2) {
            self.write(format!("  func: slot {} type {}", func[0], func[1]));
        }
        for line in words(program.line_info).chunks(4) {
            self.write(format!("  line: slot {} at {}:{}", line[0], line[3] >> 10, line[3] & 1023));
        }
        self.write(disasm(program.insns, &()).trim_end().into());
        match self.refusals.get(program.name) {
            Some(error) => Err(error.clone()),
            None => Ok(handle),
        }
    }
    fn prog_test_run(&self, _: ProgFd, _: &[u8]) -> Result<u32> {
        unused()
    }
    fn attach(&self, program: ProgFd, at: &AttachPoint, cookie: u64) -> Result<LinkFd> {
        let link = LinkFd(self.handle());
        self.write(format!("attach {} {at:?} cookie {cookie:#x} -> {}", program.0, link.0));
        Ok(link)
    }
    fn detach(&self, link: LinkFd) -> Result<()> {
        self.write(format!("detach {}", link.0));
        Ok(())
    }
    fn close(&self, object: Object) -> Result<()> {
        self.write(format!("close {object:?}"));
        Ok(())
    }
    fn pin(&self, object: Object, path: &Path) -> Result<()> {
        self.write(format!("pin {object:?} {}", path.display()));
        Ok(())
    }
    fn pinned_map(&self, path: &Path) -> Result<MapFd> {
        if !self.pins.contains_key(path) {
            return Err(Error::os(format!("open {}", path.display()), 2));
        }
        let map = MapFd(self.handle());
        self.write(format!("pinned_map {} -> {}", path.display(), map.0));
        Ok(map)
    }
    fn kernel_btf(&self) -> Result<Option<Arc<[u8]>>> {
        Ok(self.types.clone().map(Into::into))
    }
    fn module_btfs(&self) -> Result<Vec<ModuleBtf>> {
        let module = |(index, (name, btf)): (usize, &(&str, Vec<u8>))| ModuleBtf {
            name: (*name).to_owned(),
            btf: btf.clone().into(),
            fd: BtfFd(900 + index as u32),
        };
        Ok(self.modules.iter().enumerate().map(module).collect())
    }
    fn kernel_symbol(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.symbols.get(name).copied())
    }
    fn kernel_config(&self) -> Result<Arc<HashMap<String, String>>> {
        Ok(Arc::new(self.config.clone()))
    }
    fn detach_all(&self) {}
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
}
