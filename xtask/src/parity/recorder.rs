//! A kernel that only listens: it has the types, symbols and configuration of any Linux, answers
//! every command as a kernel that has everything, and writes down what it was sent.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use bombus_btf::{Btf, Kind};
use bombus_kernel::{
    AttachPoint, AttachTo, BtfFd, Error, Features, Kernel, KernelVersion, LinkFd, MapFd, MapMemory,
    MapTypes, Object, ProgFd, ProgLoad, Result, UpdateFlag,
};
use bombus_platform::{AttachType, MapType};
use bombus_spec::{MapRole, MapSpec};

use super::sent::{Definition, Map, Program, Sent, trimmed};

/// The kernel to pretend.
pub(super) struct Target {
    pub(super) btf: Arc<[u8]>,
    /// The same, read.
    pub(super) types: Arc<Btf>,
    pub(super) version: KernelVersion,
    pub(super) config: Arc<HashMap<String, String>>,
    pub(super) symbols: HashMap<String, u64>,
}

/// Handles of programs start here, so that they are not taken for anything else.
const FIRST_PROGRAM: u32 = 2000;
/// Handles of maps start here.
const FIRST_MAP: u32 = 1000;

/// What was sent since the last [`Recorder::take`].
pub(super) struct Recorder<'a> {
    target: &'a Target,
    features: Features,
    sent: RefCell<Record>,
}

#[derive(Default)]
struct Record {
    maps: Vec<RecordedMap>,
    programs: Vec<(String, Program)>,
}

struct RecordedMap {
    name: String,
    map: Map,
    /// A map like those that another one holds; it is part of that one.
    is_inner: bool,
    /// What is written to its memory.
    memory: Rc<RefCell<Vec<u8>>>,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(target: &'a Target) -> Recorder<'a> {
        let features = Features {
            name: "linux",
            version: target.version,
            possible_cpus: std::thread::available_parallelism().map_or(1, |n| n.get() as u32),
            isa: 4,
            perf_link: true,
            for_each_map_elem: true,
            bpf_loop: true,
            tp_btf: true,
            syscall_dispatch_above: None,
        };
        Recorder { target, features, sent: RefCell::default() }
    }

    /// Everything so far; it starts anew.
    pub(super) fn take(&self) -> Sent {
        let Record { maps, programs } = self.sent.take();
        Sent {
            maps: maps
                .into_iter()
                .filter(|recorded| !recorded.is_inner)
                .map(|RecordedMap { name, mut map, memory, .. }| {
                    if !memory.borrow().is_empty() {
                        map.data = trimmed(memory.take());
                    }
                    (name, Some(map))
                })
                .collect(),
            programs: programs.into_iter().map(|(name, program)| (name, Ok(program))).collect(),
            ..Sent::default()
        }
    }

    /// The number of what a program attaches to by BTF, as `kernel/bpf/verifier.c` expects it.
    fn attach_btf_id(&self, attach_type: AttachType, symbol: &str) -> Result<u32> {
        let (kind, name) = match attach_type {
            AttachType::TraceRawTp => (Kind::Typedef, format!("btf_trace_{symbol}")),
            AttachType::LsmMac | AttachType::LsmCgroup => (Kind::Func, format!("bpf_lsm_{symbol}")),
            AttachType::TraceIter => (Kind::Func, format!("bpf_iter_{symbol}")),
            _ => (Kind::Func, symbol.to_owned()),
        };
        let found = self.target.types.find(kind, &name);
        found.map(|id| id.0).ok_or_else(|| Error::os(format!("find {name}"), libc::ESRCH))
    }
}

impl Record {
    fn map(&mut self, map: MapFd) -> Option<&mut RecordedMap> {
        self.maps.get_mut(map.0.checked_sub(FIRST_MAP)? as usize)
    }

    fn map_name(&self, handle: u32) -> Option<&str> {
        Some(&self.maps.get(handle.checked_sub(FIRST_MAP)? as usize)?.name)
    }

    /// A structure of callbacks with zeros for its programs, and where they are.
    fn callbacks(&self, value: &[u8]) -> (Vec<u8>, BTreeMap<u32, String>) {
        let mut value = value.to_vec();
        let mut functions = BTreeMap::new();
        for (index, word) in value.chunks_exact_mut(8).enumerate() {
            let handle = word.try_into().map_or(0, u64::from_ne_bytes);
            let name = u32::try_from(handle).ok().and_then(|handle| self.program_name(handle));
            if let Some(name) = name {
                functions.insert(index as u32 * 8, name.to_owned());
                word.fill(0);
            }
        }
        (value, functions)
    }

    fn program_name(&self, handle: u32) -> Option<&str> {
        let (name, _) = self.programs.get(handle.checked_sub(FIRST_PROGRAM)? as usize)?;
        Some(name)
    }
}

/// Data sections are named for the section: libbpf's names of them begin with the object's, but
/// for those that it cuts to the kernel's 15 characters (`.bss.X`).
fn name(spec: &MapSpec) -> String {
    match &spec.role {
        MapRole::Data { section, .. } if spec.map_type != MapType::Arena => {
            let cut = if section.starts_with(".bss.") { 15 } else { usize::MAX };
            section.chars().take(cut).collect()
        }
        MapRole::Kconfig => ".kconfig".into(),
        _ => spec.name.clone(),
    }
}

fn definition(spec: &MapSpec, types: MapTypes) -> Definition {
    let typed = types.btf.is_some();
    Definition {
        map_type: spec.map_type as u32,
        key_size: spec.key_size,
        value_size: spec.value_size,
        max_entries: spec.max_entries,
        flags: spec.flags,
        extra: spec.extra,
        numa_node: spec.numa_node.unwrap_or_default(),
        key_type: if typed { spec.key_type } else { 0 },
        value_type: if typed { spec.value_type } else { 0 },
        kernel_type: types.kernel_value_type,
    }
}

fn no<T>(what: &str) -> Result<T> {
    Err(Error::os(what, libc::ENOENT))
}

/// Memory that grows as it is written to.
struct Memory(Rc<RefCell<Vec<u8>>>);

impl MapMemory for Memory {
    fn size(&self) -> usize {
        self.0.borrow().len()
    }

    fn is_writable(&self) -> bool {
        true
    }

    fn read(&self, offset: usize, to: &mut [u8]) -> Result<()> {
        let memory = self.0.borrow();
        let written = memory.get(offset..).unwrap_or_default();
        for (index, byte) in to.iter_mut().enumerate() {
            *byte = written.get(index).copied().unwrap_or_default();
        }
        Ok(())
    }

    fn write(&self, offset: usize, from: &[u8]) -> Result<()> {
        let mut memory = self.0.borrow_mut();
        let end = offset + from.len();
        if memory.len() < end {
            memory.resize(end, 0);
        }
        memory[offset..end].copy_from_slice(from);
        Ok(())
    }

    fn fetch_add(&self, _: usize, _: u64) -> Result<u64> {
        no("add to the values of a map")
    }
}

impl Kernel for Recorder<'_> {
    fn features(&self) -> &Features {
        &self.features
    }

    fn map_create(&self, spec: &MapSpec) -> Result<MapFd> {
        self.map_create_typed(spec, MapTypes::default())
    }

    fn map_create_typed(&self, spec: &MapSpec, types: MapTypes) -> Result<MapFd> {
        let mut record = self.sent.borrow_mut();
        let inner = types.inner.and_then(|inner| {
            let inner = record.map(inner)?;
            inner.is_inner = true;
            Some(inner.map.definition)
        });
        let map = Map { definition: definition(spec, types), inner, ..Map::default() };
        let memory = Rc::default();
        record.maps.push(RecordedMap { name: name(spec), map, is_inner: false, memory });
        Ok(MapFd(FIRST_MAP + record.maps.len() as u32 - 1))
    }

    fn map_lookup(&self, _: MapFd, _: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn map_update(&self, map: MapFd, key: &[u8], value: &[u8], _: UpdateFlag) -> Result<()> {
        let mut record = self.sent.borrow_mut();
        let handle = value.try_into().map_or(0, u32::from_ne_bytes);
        let slot = record.map_name(handle).or(record.program_name(handle)).map(str::to_owned);
        let (value, functions) = record.callbacks(value);
        let Some(RecordedMap { map, .. }) = record.map(map) else { return no("update a map") };
        let key = key.try_into().map_or(0, u32::from_ne_bytes);
        match slot {
            Some(name) => _ = map.slots.insert(key, name),
            None if map.definition.map_type == MapType::StructOps as u32 => {
                (map.data, map.functions) = (trimmed(value), functions);
            }
            None => map.data = trimmed(value),
        }
        Ok(())
    }

    fn map_delete(&self, _: MapFd, _: &[u8]) -> Result<bool> {
        Ok(false)
    }

    fn map_next_key(&self, _: MapFd, _: Option<&[u8]>) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn map_freeze(&self, map: MapFd) -> Result<()> {
        let mut record = self.sent.borrow_mut();
        let Some(RecordedMap { map, .. }) = record.map(map) else { return no("freeze a map") };
        map.frozen = true;
        Ok(())
    }

    fn ringbuf_consume(&self, _: MapFd, _: &mut dyn FnMut(&[u8])) -> Result<usize> {
        Ok(0)
    }

    fn btf_load(&self, _: &[u8]) -> Result<BtfFd> {
        Ok(BtfFd(FIRST_MAP - 1))
    }

    fn prog_load(&self, program: &ProgLoad<'_>) -> Result<ProgFd> {
        let (attach_btf_id, attach_type) = match program.attach_to {
            AttachTo::Nothing => (0, program.attach_type as u32),
            AttachTo::Kernel(symbol) => {
                (self.attach_btf_id(program.attach_type, symbol)?, program.attach_type as u32)
            }
            AttachTo::Member { structure, member, .. } => (structure, member),
            AttachTo::Program(..) => return no("find the program to replace"),
        };
        let mut record = self.sent.borrow_mut();
        let mut insns = program.insns.to_vec();
        let mut maps = BTreeMap::new();
        let mut slot = 0;
        while slot < insns.len() {
            let insn = &mut insns[slot];
            if !insn.is_wide() {
                slot += 1;
                continue;
            }
            use bombus_isa::opcode::pseudo::{MAP_FD, MAP_VALUE};
            if matches!(insn.src.0, MAP_FD | MAP_VALUE) {
                let name = record.map_name(insn.imm as u32);
                maps.insert(slot, name.unwrap_or("?").to_owned());
                insn.imm = 0;
            }
            slot += 2;
        }
        let word = |record: &[u8]| Some(u32::from_le_bytes(record.try_into().ok()?));
        let functions = program
            .func_info
            .chunks_exact(8)
            .filter_map(|info| Some((word(&info[..4])?, word(&info[4..])?)))
            .collect();
        let sent = Program {
            prog_type: program.prog_type as u32,
            attach_type,
            flags: program.flags,
            attach_btf_id,
            license: program.license.to_owned(),
            functions,
            has_lines: !program.line_info.is_empty(),
            insns,
            maps,
        };
        record.programs.push((program.name.to_owned(), sent));
        Ok(ProgFd(FIRST_PROGRAM + record.programs.len() as u32 - 1))
    }

    fn prog_test_run(&self, _: ProgFd, _: &[u8]) -> Result<u32> {
        no("run a program")
    }

    fn attach(&self, _: ProgFd, at: &AttachPoint, _: u64) -> Result<LinkFd> {
        match at {
            AttachPoint::StructOps { .. } => Ok(LinkFd(FIRST_MAP - 2)),
            _ => no("attach"),
        }
    }

    fn map_mmap(&self, map: MapFd) -> Result<Box<dyn MapMemory>> {
        match self.sent.borrow_mut().map(map) {
            Some(recorded) => Ok(Box::new(Memory(recorded.memory.clone()))),
            None => no("map the values of a map"),
        }
    }

    fn pin(&self, object: Object, _: &Path) -> Result<()> {
        if let Object::Map(map) = object
            && let Some(map) = self.sent.borrow_mut().map(map)
        {
            map.map.pinned = true;
        }
        Ok(())
    }

    fn pinned_map(&self, _: &Path) -> Result<MapFd> {
        no("open a pin")
    }

    fn kernel_btf(&self) -> Result<Option<Arc<[u8]>>> {
        Ok(Some(self.target.btf.clone()))
    }

    fn kernel_symbol(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.target.symbols.get(name).copied())
    }

    fn kernel_config(&self) -> Result<Arc<HashMap<String, String>>> {
        Ok(self.target.config.clone())
    }

    fn detach_all(&self) {}
}
