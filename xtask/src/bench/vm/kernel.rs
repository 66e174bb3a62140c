//! The running kernel's compiler, by test runs (`BPF_PROG_TEST_RUN`) as a socket filter.
//!
//! The code is what all engines run, after a few instructions that put the memory, which is a map's
//! value there, in `r1`. In `maphash` this is a hash map of the kernel's own, and its look-up.

use bombus_isa::opcode::{alu, jmp};
use bombus_isa::{Imm64, Insn, Op, Reg, Size};
use bombus_kernel::{Kernel, MapFd, Object, ProgFd, ProgLoad, TestRun, UpdateFlag};
use bombus_linux::Linux;
use bombus_platform::{Helper, MapType, ProgType};
use bombus_spec::MapSpec;

use super::engines::{HELPER, LOOKUP};
use super::programs::Program;
use super::{Measured, Timing};

/// Nanoseconds that one test run takes, about: the kernel tells the mean of its runs as a whole number.
const TEST: u64 = 5_000_000;
/// Test runs in a round; the least counts.
const TESTS: usize = 5;
/// Where the kernel says whether it compiles programs.
const ENABLED: &str = "/proc/sys/net/core/bpf_jit_enable";

/// What is there until the measurement ends.
struct Objects<'a> {
    linux: &'a Linux,
    map: MapFd,
    program: Option<ProgFd>,
}

impl Drop for Objects<'_> {
    fn drop(&mut self) {
        let program = self.program.map(Object::Program);
        for object in program.into_iter().chain([Object::Map(self.map)]) {
            let _ = self.linux.close(object);
        }
    }
}

/// Measures a program.
pub(super) fn jit(program: &Program) -> Result<Measured, String> {
    let enabled =
        std::fs::read_to_string(ENABLED).map_err(|error| format!("{ENABLED}: {error}"))?;
    if enabled.trim() == "0" {
        return Err("the kernel's JIT is off".to_owned());
    }
    let failed = |error: bombus_kernel::Error| error.to_string();
    let linux = Linux::new().map_err(failed)?;
    let calls = |id| program.code.iter().any(|insn| *insn == Insn::call_helper(id));
    let (map, start) = if calls(LOOKUP) {
        (hash(&linux, &program.memory), start(false))
    } else {
        (memory(&linux, &program.memory), start(true))
    };
    let mut objects = Objects { linux: &linux, map: map.map_err(failed)?, program: None };
    let mut insns: Vec<Insn> = start.into_iter().chain(program.code.iter().copied()).collect();
    let map = Op::LoadImm64 { dst: Reg(1), imm: Imm64::MapFd(objects.map.0 as i32) };
    insns[0] = map.encode().0;
    for insn in &mut insns {
        // One that gives 0 where there is one NUMA node.
        let ours = [(HELPER, Helper::GetNumaNodeId), (LOOKUP, Helper::MapLookupElem)];
        if let Some((_, theirs)) = ours.iter().find(|(id, _)| *insn == Insn::call_helper(*id)) {
            *insn = Insn::call_helper(theirs.id());
        }
    }
    let load = ProgLoad {
        name: "bench",
        prog_type: ProgType::SocketFilter,
        insns: &insns,
        license: "GPL",
        ..ProgLoad::default()
    };
    let loaded = linux.prog_load(&load).map_err(failed)?;
    objects.program = Some(loaded);
    let run = |repeat| {
        let mut run = TestRun { data: vec![0; 64], repeat, ..TestRun::default() };
        linux.prog_run(loaded, &mut run).map(|()| run).map_err(failed)
    };
    // The upper half of the result is not told.
    let given = run(1)?.retval;
    let same = given == program.expected as u32;
    let value = if same { program.expected } else { given.into() };
    let repeat = TEST / u64::from(run(100)?.duration.max(1));
    let times = (0..TESTS).map(|_| Ok(f64::from(run(repeat as u32)?.duration)));
    let mut times = times.collect::<Result<Vec<f64>, String>>()?;
    times.sort_by(f64::total_cmp);
    Ok(Measured { value, timing: Timing { least: times[0], middle: times[TESTS / 2] } })
}

/// Puts the map, which the first instruction names, in `r1`, or the address of its only value.
fn start(value: bool) -> Vec<Insn> {
    let map = Op::LoadImm64 { dst: Reg(1), imm: Imm64::MapFd(0) }.encode();
    let mut start: Vec<Insn> = std::iter::once(map.0).chain(map.1).collect();
    if value {
        start.extend([
            Insn::store_imm(Size::W, Reg::FP, -4, 0),
            Insn::mov(Reg(2), Reg::FP),
            Insn::alu64_imm(alu::ADD, Reg(2), -4),
            Insn::call_helper(Helper::MapLookupElem.id()),
            Insn::jmp_imm(jmp::JNE, Reg(0), 0, 1),
            Insn::exit(),
            Insn::mov(Reg(1), Reg(0)),
        ]);
    }
    start
}

/// A map whose only value is the memory.
fn memory(linux: &Linux, memory: &[u8]) -> bombus_kernel::Result<MapFd> {
    let map = linux.map_create(&spec(MapType::Array, memory.len(), 1))?;
    linux.map_update(map, &0u32.to_ne_bytes(), memory, UpdateFlag::Any)?;
    Ok(map)
}

/// A hash map with the keys of the memory's `struct table` (`vm.h`).
fn hash(linux: &Linux, memory: &[u8]) -> bombus_kernel::Result<MapFd> {
    let map = linux.map_create(&spec(MapType::Hash, 8, 256))?;
    for place in memory.chunks_exact(16).take(256).filter(|place| place[..4] != [0; 4]) {
        linux.map_update(map, &place[..4], &place[8..], UpdateFlag::Any)?;
    }
    Ok(map)
}

fn spec(map_type: MapType, value_size: usize, max_entries: u32) -> MapSpec {
    let value_size = value_size as u32;
    MapSpec { map_type, key_size: 4, value_size, max_entries, ..MapSpec::default() }
}
