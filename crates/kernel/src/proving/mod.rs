//! A kernel that only proves: whatever is loaded into it goes to the verifier, and nothing runs.
//!
//! The loader does here what it does for every kernel, so that what is proved is what would be
//! sent: code after every relocation, maps with what is in them, types as the kernel gets them. The
//! kernel that it stands for need not be there: its types, version and configuration are given.

mod attach;
mod each;
mod maps;

use std::cell::{Ref, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bombus_btf::{Btf, FuncInfo, LineInfo, TypeId};
use bombus_isa::Insn;
use bombus_isa::opcode::pseudo;
use bombus_platform::ProgType;
use bombus_spec::MapSpec;
use bombus_verifier::{AttachTarget, Map, Options, Program, Verdict, verify};

use crate::{
    AttachPoint, BtfFd, Error, Features, Kernel, KernelVersion, LinkFd, MapFd, MapMemory, MapTypes,
    ModuleBtf, Object, ProgFd, ProgLoad, Result, UpdateFlag,
};

pub use self::each::prove_each;

use self::maps::{Memory, Recorded};

/// The licences that open what is only for GPL programs (`license_is_gpl_compatible`,
/// `include/linux/license.h`).
const GPL_COMPATIBLE: [&str; 6] =
    ["GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"];

/// Where every symbol of the kernel is that code asks for: no verdict depends on it.
const SYMBOL: u64 = 0xffff_ffff_8100_0000;

/// A kernel by its description.
#[derive(Clone, Debug)]
pub struct Described {
    /// Its version.
    pub version: KernelVersion,
    /// Its types; `None`: it does not describe them.
    pub types: Option<Arc<Btf>>,
    /// Its modules: name and types, which go on from the kernel's.
    pub modules: Vec<(String, Arc<Btf>)>,
    /// Its configuration: `CONFIG_HZ` -> `250`.
    pub config: Arc<HashMap<String, String>>,
}

impl Described {
    /// A kernel as it describes itself; without modules where it may not be asked for them.
    pub fn of(kernel: &dyn Kernel) -> Result<Described> {
        let types = kernel.kernel_types()?;
        let mut modules = Vec::new();
        if let Some(types) = &types {
            for module in kernel.module_btfs().unwrap_or_default() {
                if let Ok(own) = Btf::parse_split(module.btf, types.clone()) {
                    modules.push((module.name, Arc::new(own)));
                }
            }
        }
        let config = kernel.kernel_config()?;
        Ok(Described { version: kernel.features().version, types, modules, config })
    }

    /// A configuration file as [`Described::config`] has it.
    pub fn parse_config(text: &str) -> HashMap<String, String> {
        crate::loader::parse_config(text)
    }
}

/// What the verifier said of a program.
#[derive(Clone, Debug)]
pub struct Proved {
    /// The program's name.
    pub name: String,
    /// Slots of its code.
    pub insns: usize,
    /// What was said.
    pub verdict: Verdict,
}

/// A [`Kernel`] that proves programs.
pub struct Prover<'a> {
    machine: &'a Described,
    options: Options,
    features: Features,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    maps: Vec<Recorded>,
    types: Vec<Arc<Btf>>,
    programs: Vec<LoadedProgram>,
    proved: Vec<Proved>,
}

impl State {
    fn map(&self, handle: MapFd) -> Option<&Recorded> {
        self.maps.get(handle.0.checked_sub(FIRST_MAP)? as usize)
    }
}

/// What others may ask of a program that was accepted.
struct LoadedProgram {
    types: Option<Arc<Btf>>,
    prog_type: ProgType,
}

/// Handles of maps start here: code may hold small numbers that name none.
const FIRST_MAP: u32 = 1 << 16;
/// Handles of the types of modules start here; those of types that were loaded at 0.
const FIRST_MODULE: u32 = 1 << 20;

impl<'a> Prover<'a> {
    /// One that stands for this machine. The log tells what `options` ask for, and what the load of
    /// a program asks for besides.
    pub fn new(machine: &'a Described, options: Options) -> Prover<'a> {
        let features = Features {
            name: "linux",
            version: machine.version,
            possible_cpus: 1,
            isa: 4,
            perf_link: true,
            for_each_map_elem: true,
            bpf_loop: true,
            tp_btf: true,
            syscall_dispatch_above: None,
        };
        Prover { machine, options, features, state: RefCell::default() }
    }

    /// What was said of each program, in the order of loading. (The loader loads one a second time
    /// when it was only what it says of itself that was refused.)
    pub fn proved(&self) -> Ref<'_, [Proved]> {
        Ref::map(self.state.borrow(), |state| state.proved.as_slice())
    }

    fn types(&self, handle: BtfFd) -> Option<Arc<Btf>> {
        match handle.0.checked_sub(FIRST_MODULE) {
            Some(module) => Some(self.machine.modules.get(module as usize)?.1.clone()),
            None => self.state.borrow().types.get(handle.0 as usize).cloned(),
        }
    }

    fn prove(&self, load: &ProgLoad<'_>) -> Result<Proved> {
        let attach = self.attach_target(load)?;
        let types = load.btf.and_then(|handle| self.types(handle));
        let mut modules: Vec<BtfFd> = load.module_types.to_vec();
        let mut insns = load.insns.to_vec();
        let maps = self.number(&mut insns, &mut modules);
        let modules: Vec<Arc<Btf>> =
            modules.into_iter().filter_map(|handle| self.types(handle)).collect();
        let modules: Vec<&Btf> = modules.iter().map(|types| &**types).collect();
        let functions: Vec<FuncInfo> = records(load.func_info).map(func_info).collect();
        let lines: Vec<LineInfo> = records(load.line_info).map(line_info).collect();
        let program = Program {
            name: load.name,
            insns: &insns,
            prog_type: load.prog_type,
            attach_type: load.attach_type,
            attach_to: attach.borrowed(),
            flags: load.flags,
            gpl_compatible: GPL_COMPATIBLE.contains(&load.license),
            maps: &maps,
            btf: types.as_deref(),
            functions: &functions,
            lines: &lines,
        };
        let version = self.machine.version;
        let target = bombus_verifier::Target {
            version: (version.major as u16, version.minor as u16),
            btf: self.machine.types.as_deref(),
            modules: &modules,
        };
        let log_level = self.options.log_level | load.log_level;
        let verdict = verify(&program, &target, &Options { log_level, ..self.options });
        Ok(Proved { name: load.name.to_owned(), insns: insns.len(), verdict })
    }

    /// Has the code name maps by their place in what this returns, and the modules of variables by
    /// theirs in `modules`.
    fn number(&self, insns: &mut [Insn], modules: &mut Vec<BtfFd>) -> Vec<Arc<Map>> {
        let state = self.state.borrow();
        let mut places: BTreeMap<u32, usize> = BTreeMap::new();
        let mut maps = Vec::new();
        let mut slot = 0;
        while slot < insns.len() {
            let [insn, rest @ ..] = &mut insns[slot..] else { break };
            if !insn.is_wide() {
                slot += 1;
                continue;
            }
            slot += 2;
            match (insn.src.0, rest.first_mut()) {
                (pseudo::MAP_FD | pseudo::MAP_VALUE, _) => {
                    let handle = insn.imm as u32;
                    let Some(map) = state.map(MapFd(handle)) else { continue };
                    let place = *places.entry(handle).or_insert_with(|| {
                        maps.push(Arc::new(map.described()));
                        maps.len() - 1
                    });
                    insn.imm = place as i32;
                }
                (pseudo::BTF_ID, Some(second)) if second.imm != 0 => {
                    let handle = BtfFd(second.imm as u32);
                    let place = modules.iter().position(|&module| module == handle);
                    let place = place.unwrap_or_else(|| {
                        modules.push(handle);
                        modules.len() - 1
                    });
                    second.imm = place as i32 + 1;
                }
                _ => {}
            }
        }
        maps
    }

    fn with_map<T>(&self, map: MapFd, f: impl FnOnce(&mut Recorded) -> T) -> Result<T> {
        let mut state = self.state.borrow_mut();
        let place = map.0.checked_sub(FIRST_MAP).map(|place| place as usize);
        let map = place.and_then(|place| state.maps.get_mut(place));
        map.map(f).ok_or_else(|| Error::os("find a map", EBADF))
    }
}

/// What `struct bpf_func_info` and `struct bpf_line_info` are made of.
fn records<const WORDS: usize>(bytes: &[u8]) -> impl Iterator<Item = [u32; WORDS]> {
    bytes.chunks_exact(WORDS * 4).map(|record| {
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(record.chunks_exact(4)) {
            *word = bytes.try_into().map_or(0, u32::from_le_bytes);
        }
        words
    })
}

fn func_info([insn, func]: [u32; 2]) -> FuncInfo {
    FuncInfo { insn, func: TypeId(func) }
}

fn line_info([insn, file, text, place]: [u32; 4]) -> LineInfo {
    LineInfo { insn, file, text, line: place >> 10, column: place & 0x3ff }
}

impl Kernel for Prover<'_> {
    fn features(&self) -> &Features {
        &self.features
    }

    fn map_create(&self, spec: &MapSpec) -> Result<MapFd> {
        self.map_create_typed(spec, MapTypes::default())
    }

    fn map_create_typed(&self, spec: &MapSpec, types: MapTypes) -> Result<MapFd> {
        let btf = types.btf.and_then(|handle| self.types(handle));
        let mut state = self.state.borrow_mut();
        let inner = types.inner.and_then(|inner| state.map(inner));
        let inner = inner.map(|inner| Arc::new(inner.described()));
        state.maps.push(Recorded::new(spec, btf, inner));
        Ok(MapFd(FIRST_MAP + state.maps.len() as u32 - 1))
    }

    fn map_lookup(&self, map: MapFd, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.with_map(map, |map| map.value(key))
    }

    fn map_update(&self, map: MapFd, key: &[u8], value: &[u8], _: UpdateFlag) -> Result<()> {
        self.with_map(map, |map| map.store(key, value))
    }

    fn map_delete(&self, _: MapFd, _: &[u8]) -> Result<bool> {
        Err(runs_nothing("delete from a map"))
    }

    fn map_next_key(&self, _: MapFd, _: Option<&[u8]>) -> Result<Option<Vec<u8>>> {
        Err(runs_nothing("walk a map"))
    }

    fn map_freeze(&self, map: MapFd) -> Result<()> {
        self.with_map(map, Recorded::freeze)
    }

    fn map_mmap(&self, map: MapFd) -> Result<Box<dyn MapMemory>> {
        // What is in an arena, the verifier does not ask.
        self.with_map(map, |map| {
            map.place();
            Box::new(Memory) as Box<dyn MapMemory>
        })
    }

    fn ringbuf_consume(&self, _: MapFd, _: &mut dyn FnMut(&[u8])) -> Result<usize> {
        Ok(0)
    }

    fn btf_load(&self, btf: &[u8]) -> Result<BtfFd> {
        let types = Btf::parse(btf.to_vec());
        let types = types.map_err(|_| Error::os("load type information", EINVAL))?;
        let mut state = self.state.borrow_mut();
        state.types.push(Arc::new(types));
        Ok(BtfFd(state.types.len() as u32 - 1))
    }

    fn prog_load(&self, program: &ProgLoad<'_>) -> Result<ProgFd> {
        let proved = self.prove(program)?;
        let types = program.btf.and_then(|handle| self.types(handle));
        let outcome = match &proved.verdict.result {
            Ok(()) => Ok(()),
            Err(rejection) => Err(Error::Rejected {
                program: program.name.to_owned(),
                errno: rejection.errno,
                log: proved.verdict.log.clone(),
            }),
        };
        let mut state = self.state.borrow_mut();
        state.proved.push(proved);
        outcome?;
        state.programs.push(LoadedProgram { types, prog_type: program.prog_type });
        Ok(ProgFd(state.programs.len() as u32 - 1))
    }

    fn prog_test_run(&self, _: ProgFd, _: &[u8]) -> Result<u32> {
        Err(runs_nothing("run a program"))
    }

    fn attach(&self, _: ProgFd, _: &AttachPoint, _: u64) -> Result<LinkFd> {
        Err(runs_nothing("attach a program"))
    }

    fn close(&self, _: Object) -> Result<()> {
        Ok(())
    }

    fn kernel_btf(&self) -> Result<Option<Arc<[u8]>>> {
        Ok(self.machine.types.as_ref().map(|types| types.bytes().into()))
    }

    fn kernel_types(&self) -> Result<Option<Arc<Btf>>> {
        Ok(self.machine.types.clone())
    }

    fn module_btfs(&self) -> Result<Vec<ModuleBtf>> {
        let modules = self.machine.modules.iter().zip(FIRST_MODULE..);
        let module = |((name, types), handle): (&(String, Arc<Btf>), u32)| ModuleBtf {
            name: name.clone(),
            btf: types.bytes().into(),
            fd: BtfFd(handle),
        };
        Ok(modules.map(module).collect())
    }

    fn kernel_symbol(&self, _: &str) -> Result<Option<u64>> {
        Ok(Some(SYMBOL))
    }

    fn kernel_config(&self) -> Result<Arc<HashMap<String, String>>> {
        Ok(self.machine.config.clone())
    }

    fn detach_all(&self) {}
}

fn runs_nothing(what: &str) -> Error {
    Error::Unsupported { what: format!("cannot {what}: programs are only proved"), help: None }
}

/// What [`AttachTarget`] borrows from.
enum Attached {
    Nothing,
    Kernel { types: Arc<Btf>, id: TypeId, member: u32 },
    Program { types: Arc<Btf>, id: TypeId, prog_type: ProgType },
}

impl Attached {
    fn borrowed(&self) -> AttachTarget<'_> {
        match self {
            Attached::Nothing => AttachTarget::Nothing,
            Attached::Kernel { types, id, member } => {
                AttachTarget::Kernel { btf: types, id: *id, member: *member }
            }
            Attached::Program { types, id, prog_type } => {
                AttachTarget::Program { btf: types, id: *id, prog_type: *prog_type }
            }
        }
    }
}

const EBADF: i32 = 9;
const EINVAL: i32 = 22;

#[cfg(test)]
mod tests {
    use bombus_isa::Reg;
    use bombus_platform::MapType;

    use super::*;

    fn machine() -> Described {
        let version = KernelVersion { major: 7, minor: 3, patch: 0 };
        Described { version, types: None, modules: Vec::new(), config: Arc::default() }
    }

    #[test]
    fn maps_are_named_by_their_place_in_the_program() {
        let machine = machine();
        let prover = Prover::new(&machine, Options::default());
        for name in ["a", "b", "c"] {
            let spec =
                MapSpec { name: name.into(), map_type: MapType::Array, ..MapSpec::default() };
            prover.map_create(&spec).unwrap();
        }
        let load = |map: u32| Insn::ld_imm64(Reg(1), pseudo::MAP_FD, (FIRST_MAP + map).into());
        let mut insns = [load(2), load(0), load(2)].concat();
        let maps = prover.number(&mut insns, &mut Vec::new());
        let names: Vec<&str> = maps.iter().map(|map| map.name.as_str()).collect();
        assert_eq!(names, ["c", "a"]);
        assert_eq!([insns[0].imm, insns[2].imm, insns[4].imm], [0, 1, 0]);
    }

    #[test]
    fn records_of_functions_and_lines() {
        let function = FuncInfo { insn: 3, func: TypeId(7) };
        let read: Vec<FuncInfo> = records(&function.to_bytes()).map(func_info).collect();
        assert_eq!(read, [function]);
        let line = LineInfo { insn: 3, file: 1, text: 9, line: 77, column: 5 };
        let read: Vec<LineInfo> = records(&line.to_bytes()).map(line_info).collect();
        assert_eq!(read, [line]);
    }
}
