//! Pins: what has a name in a BPF file system lives on.

use std::path::{Path, PathBuf};

use bombus_kernel::{AttachPoint, AttachTo, Kernel, Object, UpdateFlag};
use bombus_linux::Linux;
use bombus_platform::{AttachType, MapType, ProgType};
use libtest_mimic::Failed;

use crate::{Test, cell, code, ensure, load_for, map_spec, read_cell, same};

pub(crate) const TESTS: &[Test] = &[
    ("pins::map", map),
    ("pins::program", program),
    ("pins::link", link),
    ("pins::closing", closing),
];

/// A name that goes away with the test.
struct Name(PathBuf);

impl Name {
    fn new(name: &str) -> Option<Name> {
        let own = format!("bombus_test_{}_{name}", std::process::id());
        let mounted = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        if !mounted.lines().any(|line| line.contains(" /sys/fs/bpf bpf ")) {
            println!("skipped: no BPF file system at /sys/fs/bpf");
            return None;
        }
        Some(Name(Path::new("/sys/fs/bpf").join(own)))
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn map() -> Result<(), Failed> {
    let Some(name) = Name::new("map") else { return Ok(()) };
    let linux = Linux::new()?;
    let map = linux.map_create(&map_spec(MapType::PercpuHash, 4, 4, 7))?;
    let values = vec![1; 8 * linux.features().possible_cpus as usize];
    linux.map_update(map, &[1; 4], &values, UpdateFlag::Any)?;
    linux.pin(Object::Map(map), &name.0)?;
    let again = linux.pin(Object::Map(map), &name.0).unwrap_err();
    same(again.errno(), Some(libc::EEXIST))?;
    drop(linux);
    let linux = Linux::new()?;
    let map = linux.pinned_map(&name.0)?;
    same(linux.map_elements(map)?.len(), 1)?;
    let spec = linux.map_spec(map)?;
    same(
        (spec.map_type, spec.key_size, spec.value_size, spec.max_entries, &*spec.name),
        (MapType::PercpuHash, 4, 4, 7, "test"),
    )?;
    let wrong = linux.pinned_program(&name.0).unwrap_err().to_string();
    ensure(wrong.contains("bpf-map"), || wrong.clone())?;
    let nothing = linux.pinned_map(Path::new("/sys/fs/bpf/bombus_no_such")).unwrap_err();
    same(nothing.errno(), Some(libc::ENOENT))?;
    let outside = linux.pin(Object::Map(map), Path::new("/tmp/bombus_no_pin"));
    ensure(outside.is_err(), || "pinned outside of a BPF file system".into())
}

fn program() -> Result<(), Failed> {
    let Some(name) = Name::new("program") else { return Ok(()) };
    let linux = Linux::new()?;
    let code = code::always(&[], 42);
    let load = |linux: &Linux| {
        load_for(linux, ProgType::RawTracepoint, AttachType::NONE, AttachTo::Nothing, &code)
    };
    let program = load(&linux)?;
    let id = linux.program_id(program)?;
    linux.pin(Object::Program(program), &name.0)?;
    drop(linux);
    let linux = Linux::new()?;
    let program = linux.pinned_program(&name.0)?;
    same(linux.program_id(program)?, id)?;
    same(linux.prog_test_run(program, &[])?, 42)?;
    drop((linux, name));
    same(bombus_linux::program_exists(id)?, false)
}

/// A program on a tracepoint goes on without anybody, and comes off when the name is gone.
fn link() -> Result<(), Failed> {
    let (Some(name), Some(cell_name)) = (Name::new("link"), Name::new("cell")) else {
        return Ok(());
    };
    let linux = Linux::new()?;
    if !linux.features().perf_link {
        println!("skipped: this kernel has no links on perf events");
        return Ok(());
    }
    let cell = cell(&linux)?;
    let code = code::for_process(std::process::id(), &code::count(cell));
    let program =
        load_for(&linux, ProgType::Tracepoint, AttachType::NONE, AttachTo::Nothing, &code)?;
    let at =
        AttachPoint::Tracepoint { category: "syscalls".into(), name: "sys_enter_umask".into() };
    let link = linux.attach(program, &at, 0)?;
    linux.pin(Object::Link(link), &name.0)?;
    linux.pin(Object::Map(cell), &cell_name.0)?;
    drop(linux);
    // SAFETY: no pointers; the mask is put back at once, by the second call.
    let call = || unsafe { libc::umask(libc::umask(0o022)) };
    call();
    let linux = Linux::new()?;
    let cell = linux.pinned_map(&cell_name.0)?;
    same(read_cell(&linux, cell)?, 2)?;
    let link = linux.pinned_link(&name.0)?;
    // Letting go of one handle is not letting go of the pin.
    linux.detach(link)?;
    call();
    same(read_cell(&linux, cell)?, 4)?;
    drop(name);
    std::thread::sleep(crate::limit(std::time::Duration::from_millis(200)));
    call();
    same(read_cell(&linux, cell)?, 4)
}

fn closing() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let map = cell(&linux)?;
    let code = code::always(&code::count(map), 0);
    let program =
        load_for(&linux, ProgType::RawTracepoint, AttachType::NONE, AttachTo::Nothing, &code)?;
    let id = linux.program_id(program)?;
    linux.close(Object::Map(map))?;
    same(linux.map_lookup(map, &[0; 4]).unwrap_err().errno(), Some(libc::EBADF))?;
    // The program still has it.
    same(linux.prog_test_run(program, &[])?, 0)?;
    linux.close(Object::Program(program))?;
    same(bombus_linux::program_exists(id)?, false)?;
    same(linux.close(Object::Program(program)).unwrap_err().errno(), Some(libc::EBADF))
}
