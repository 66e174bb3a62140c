//! The crate against the running kernel. Every test drives a process of its own (this same binary
//! with other arguments, see `workload.rs`), keeps to it by its id, and leaves nothing attached.
//! Without privileges, what needs them is skipped by name.

mod attach;
mod catalog;
mod cgroups;
mod code;
mod detach;
mod devices;
mod functions;
mod iterators;
mod killed;
mod loader;
mod maps;
mod pins;
mod probe;
mod programs;
mod ringbuf;
mod shared;
mod sockets;
mod spawn;
mod struct_ops;
mod token;
mod types;
mod user_functions;
mod workload;

use std::time::Duration;

use bombus_kernel::catalog::Catalog;
use bombus_kernel::{AttachTo, Kernel, MapFd, ProgFd, ProgLoad};
use bombus_linux::{Linux, LinuxCatalog};
use bombus_platform::{AttachType, MapType, ProgType};
use bombus_spec::MapSpec;
use libtest_mimic::{Arguments, Failed, Trial};

/// A test: what it is called and what it does.
type Test = (&'static str, fn() -> Result<(), Failed>);

fn main() {
    if workload::run() {
        return;
    }
    let arguments = Arguments::from_args();
    let privileged = privileges();
    if let Err(reason) = &privileged {
        println!("skipped: what needs privileges: {reason}");
    }
    let trial = |(name, test): Test, ignored| Trial::test(name, test).with_ignored_flag(ignored);
    let anybody = [catalog::ANYBODY, spawn::ANYBODY].concat();
    let root = [
        maps::TESTS,
        programs::TESTS,
        loader::TESTS,
        attach::TESTS,
        functions::TESTS,
        user_functions::TESTS,
        iterators::TESTS,
        types::TESTS,
        devices::TESTS,
        sockets::TESTS,
        cgroups::TESTS,
        struct_ops::TESTS,
        pins::TESTS,
        token::TESTS,
        probe::TESTS,
        shared::TESTS,
        ringbuf::TESTS,
        spawn::TESTS,
        detach::TESTS,
        killed::TESTS,
        catalog::TESTS,
    ]
    .concat();
    let anybody = anybody.into_iter().map(|test| trial(test, false));
    let root = root.into_iter().map(|test| trial(test, privileged.is_err()));
    libtest_mimic::run(&arguments, anybody.chain(root).collect()).exit();
}

/// Whether programs can be loaded and tracepoints be found; why not.
fn privileges() -> Result<(), String> {
    bombus_linux::can_load_programs().map_err(|error| error.to_string())?;
    let format = LinuxCatalog::new().tracepoint_format("raw_syscalls", "sys_enter");
    format.map(drop).ok_or_else(|| "tracefs cannot be read".to_owned())
}

/// A time limit for this machine: an emulated processor gets ten times as long.
fn limit(real: Duration) -> Duration {
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if processor.contains("QEMU TCG") { real * 10 } else { real }
}

/// Fails the test with these words unless the condition holds.
fn ensure(holds: bool, words: impl FnOnce() -> String) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(words().into()) }
}

/// Fails the test unless both are equal.
fn same<T: PartialEq + std::fmt::Debug>(got: T, wanted: T) -> Result<(), Failed> {
    ensure(got == wanted, || format!("got {got:?}, wanted {wanted:?}"))
}

fn map_spec(map_type: MapType, key_size: u32, value_size: u32, max_entries: u32) -> MapSpec {
    MapSpec {
        name: "test".into(),
        map_type,
        key_size,
        value_size,
        max_entries,
        flags: 0,
        contents: Vec::new(),
        ..MapSpec::default()
    }
}

/// An array of one `u64`.
fn cell(linux: &Linux) -> Result<MapFd, Failed> {
    Ok(linux.map_create(&map_spec(MapType::Array, 4, 8, 1))?)
}

/// What is in a [`cell`].
fn read_cell(linux: &Linux, cell: MapFd) -> Result<u64, Failed> {
    let value = linux.map_lookup(cell, &[0; 4])?.ok_or("an array without its element")?;
    Ok(u64::from_ne_bytes(value.as_slice().try_into()?))
}

/// Loads a program that is named for this test suite.
fn load(
    linux: &Linux,
    prog_type: ProgType,
    attach_to: Option<&str>,
    insns: &[bombus_isa::Insn],
) -> Result<ProgFd, Failed> {
    let attach_type = if attach_to.is_some() { AttachType::TraceRawTp } else { AttachType::NONE };
    Ok(linux.prog_load(&ProgLoad {
        name: "bombus_test",
        prog_type,
        attach_type,
        attach_to: attach_to.map_or(AttachTo::Nothing, AttachTo::Kernel),
        insns,
        license: "GPL",
        btf: None,
        func_info: &[],
        line_info: &[],
        ..ProgLoad::default()
    })?)
}

/// Loads a program that is named for this test suite, for one attach type.
fn load_for(
    linux: &Linux,
    prog_type: ProgType,
    attach_type: AttachType,
    attach_to: AttachTo<'_>,
    insns: &[bombus_isa::Insn],
) -> bombus_kernel::Result<ProgFd> {
    let program = linux.prog_load(&ProgLoad {
        name: "bombus_test",
        prog_type,
        attach_type,
        attach_to,
        insns,
        license: "GPL",
        ..ProgLoad::default()
    });
    if let Err(bombus_kernel::Error::Rejected { log, .. }) = &program {
        println!("{log}");
    }
    program
}

/// Whether this failed because the kernel lacks something, or a sandbox takes it away: then says
/// so. (That this process has its privileges has been found out before.)
fn lacking<T>(outcome: &bombus_kernel::Result<T>) -> bool {
    use bombus_kernel::Error;
    match outcome {
        Err(error @ (Error::Unsupported { .. } | Error::Privilege { .. })) => {
            println!("skipped: {error}");
            true
        }
        _ => false,
    }
}
