//! The running kernel, running the same programs.

use bombus_btf::{Builder, Linkage, TypeId};
use bombus_isa::{Imm64, Insn, Op};
use bombus_kernel::{BtfFd, Error, Kernel, MapFd, Object, ProgFd, ProgLoad, TestRun, UpdateFlag};
use bombus_linux::Linux;
use bombus_platform::{MapType, ProgType};
use bombus_spec::MapSpec;

use super::generate::{ARRAY, Case, HASH, HASH_ROOM, HASH_VALUE, VALUE};
use super::world::State;

/// The kernel, and the maps there.
pub(super) struct Running {
    linux: Linux,
    array: MapFd,
    hash: MapFd,
    /// Types of functions: the kernel wants to know those that are called back.
    types: BtfFd,
    /// Those of the first and of all others.
    functions: [TypeId; 2],
}

/// A program in the kernel; it goes when this goes.
pub(super) struct Program<'a> {
    kernel: &'a Running,
    program: ProgFd,
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        let _ = self.kernel.linux.close(Object::Program(self.program));
    }
}

impl Running {
    pub(super) fn new() -> Result<Running, String> {
        let linux = Linux::new().map_err(|error| error.to_string())?;
        let create = |map_type, value_size: usize, max_entries: usize| {
            let spec = MapSpec {
                map_type,
                key_size: 4,
                value_size: value_size as u32,
                max_entries: max_entries as u32,
                ..MapSpec::default()
            };
            linux.map_create(&spec).map_err(|error| error.to_string())
        };
        let array = create(MapType::Array, VALUE, 1)?;
        let hash = create(MapType::Hash, HASH_VALUE, HASH_ROOM)?;
        let mut types = Builder::new();
        let word = types.int("long", 8, true);
        let proto = types.func_proto(word, &[("a", word), ("b", word)]);
        let main = types.func("main", proto, Linkage::Global);
        let functions = [main, types.func("function", proto, Linkage::Static)];
        let types = linux.btf_load(&types.finish()).map_err(|error| error.to_string())?;
        Ok(Running { linux, array, hash, types, functions })
    }

    /// The program in the kernel, unless it refuses it.
    pub(super) fn load(&self, case: &Case) -> Result<Program<'_>, String> {
        let insns = self.with_maps(case.xdp());
        let mut func_info = Vec::new();
        for (&entry, number) in case.entries().iter().zip(0..) {
            let function = self.functions[usize::from(number > 0)];
            func_info.extend(u32::to_ne_bytes(entry));
            func_info.extend(function.0.to_ne_bytes());
        }
        let program = ProgLoad {
            name: "fuzz",
            prog_type: ProgType::Xdp,
            insns: &insns,
            license: "GPL",
            btf: Some(self.types),
            func_info: &func_info,
            ..ProgLoad::default()
        };
        let program = self.linux.prog_load(&program).map_err(|error| match error {
            Error::Rejected { log, errno, .. } => {
                let end = log.lines().rev().take(3).collect::<Vec<_>>();
                format!("errno {errno}: {}", end.into_iter().rev().collect::<Vec<_>>().join(" | "))
            }
            error => error.to_string(),
        })?;
        Ok(Program { kernel: self, program })
    }

    fn with_maps(&self, mut insns: Vec<Insn>) -> Vec<Insn> {
        for at in 0..insns.len() {
            let Ok(Op::LoadImm64 { dst, imm: Imm64::MapFd(map) }) =
                insns[at].decode(insns.get(at + 1).copied())
            else {
                continue;
            };
            let fd = match map {
                ARRAY => self.array,
                HASH => self.hash,
                _ => continue,
            };
            let (first, _) = Op::LoadImm64 { dst, imm: Imm64::MapFd(fd.0 as i32) }.encode();
            insns[at] = first;
        }
        insns
    }

    /// Runs it from this state; gives what it left.
    pub(super) fn run(&self, program: &Program<'_>, start: &State) -> Result<State, String> {
        let failed = |error: bombus_kernel::Error| error.to_string();
        let linux = &self.linux;
        let key = 0u32.to_ne_bytes();
        linux.map_update(self.array, &key, &start.element, UpdateFlag::Any).map_err(failed)?;
        for (key, _) in linux.map_elements(self.hash).map_err(failed)? {
            linux.map_delete(self.hash, &key).map_err(failed)?;
        }
        for (key, value) in &start.hash {
            let key = key.to_ne_bytes();
            linux.map_update(self.hash, &key, value, UpdateFlag::Any).map_err(failed)?;
        }
        let mut run = TestRun { data: start.packet.to_vec(), ..TestRun::default() };
        linux.prog_run(program.program, &mut run).map_err(failed)?;
        let element = linux.map_lookup(self.array, &key).map_err(failed)?.unwrap_or_default();
        let element = element.try_into().map_err(|_| "the array's value has another size")?;
        let packet = run.data.try_into().map_err(|_| "the packet has another size")?;
        let mut hash = Vec::new();
        for (key, value) in linux.map_elements(self.hash).map_err(failed)? {
            let sized = key.try_into().ok().zip(value.try_into().ok());
            let (key, value) = sized.ok_or("an element of the hash has another size")?;
            hash.push((u32::from_ne_bytes(key), value));
        }
        hash.sort();
        Ok(State { packet, element, hash, value: run.retval })
    }
}
