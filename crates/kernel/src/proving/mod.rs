//! A kernel that only proves: whatever is loaded into it goes to the verifier, and nothing runs.
//!
//! The loader does here what it does for every kernel, so that what is proved is what would be
//! sent: code after every relocation, maps with what is in them, types as the kernel gets them. The
//! kernel that it stands for need not be there: its types, version and configuration are given.

mod attach;
mod each;
mod load;
mod maps;

use std::cell::{Ref, RefCell};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bombus_btf::{Btf, TypeId};
use bombus_platform::ProgType;
use bombus_spec::MapSpec;
use bombus_verifier::explain::{Explanation, Listing, Variable, explain, states};
use bombus_verifier::{AttachTarget, Map, Options, Verdict, verify};

use crate::{
    AttachPoint, BtfFd, Error, Features, Kernel, KernelVersion, LinkFd, MapFd, MapMemory, MapTypes,
    ModuleBtf, Object, ProgFd, ProgLoad, Result, UpdateFlag,
};

pub use self::attach::hook_type;
pub use self::each::prove_each;
pub use self::load::{Handles, Machine, described_map, prove_load};

use self::load::with_load;
use self::maps::{Memory, Recorded};

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
    /// Why it was refused, when that was asked for.
    pub explanation: Option<Explanation>,
    /// What is known at each instruction, when that was asked for.
    pub states: Option<Listing>,
}

/// What is asked beside the verdict. Each makes a proof take several times as long.
#[derive(Clone, Default, Debug)]
pub struct Asked {
    /// Why programs are refused.
    pub explanation: bool,
    /// What is known at each instruction.
    pub states: bool,
    /// Where the source's variables are, for explanations.
    pub variables: Arc<[Variable]>,
}

/// A [`Kernel`] that proves programs.
pub struct Prover<'a> {
    machine: &'a Described,
    options: Options,
    asked: Asked,
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
        Prover { machine, options, asked: Asked::default(), features, state: RefCell::default() }
    }

    /// That says more than the verdict.
    pub fn asked(self, asked: Asked) -> Prover<'a> {
        Prover { asked, ..self }
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
        let machine =
            Machine { version: self.machine.version, types: self.machine.types.as_deref() };
        let log_level = self.options.log_level | load.log_level;
        let options = Options { log_level, ..self.options };
        let (name, insns) = (load.name.to_owned(), load.insns.len());
        let then = |program: &bombus_verifier::Program<'_>,
                    target: &bombus_verifier::Target<'_>| {
            let verdict = verify(program, target, &options);
            let explains = self.asked.explanation && verdict.result.is_err();
            let explanation = explains
                .then(|| explain(program, target, &options, &self.asked.variables))
                .flatten();
            let states = self.asked.states.then(|| states(program, target, &options));
            Proved { name, insns, verdict, explanation, states }
        };
        let (proved, _) = with_load(load, attach.borrowed(), machine, self, then);
        Ok(proved)
    }

    fn with_map<T>(&self, map: MapFd, f: impl FnOnce(&mut Recorded) -> T) -> Result<T> {
        let mut state = self.state.borrow_mut();
        let place = map.0.checked_sub(FIRST_MAP).map(|place| place as usize);
        let map = place.and_then(|place| state.maps.get_mut(place));
        map.map(f).ok_or_else(|| Error::os("find a map", EBADF))
    }
}

impl Handles for Prover<'_> {
    fn map(&self, map: MapFd) -> Option<Arc<Map>> {
        self.state.borrow().map(map).map(|map| Arc::new(map.described()))
    }

    fn types(&self, types: BtfFd) -> Option<Arc<Btf>> {
        Prover::types(self, types)
    }
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

    /// Nothing is pinned anywhere, and where it would be is of no account.
    fn pin(&self, _: Object, _: &Path) -> Result<()> {
        Ok(())
    }

    fn pinned_map(&self, _: &Path) -> Result<MapFd> {
        Err(Error::os("find a pinned map", ENOENT))
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

const ENOENT: i32 = 2;
const EBADF: i32 = 9;
const EINVAL: i32 = 22;
