//! Iterators, by what they say.

use bombus_kernel::{AttachPoint, AttachTo, IterTarget, Kernel, UpdateFlag};
use bombus_linux::Linux;
use bombus_platform::{AttachType, MapType, ProgType};
use libtest_mimic::Failed;

use crate::workload::Held;
use crate::{Test, code, ensure, lacking, load_for, map_spec, same};

pub(crate) const TESTS: &[Test] = &[
    ("iterators::all_tasks", all_tasks),
    ("iterators::one_process", one_process),
    ("iterators::map_elements", map_elements),
];

/// How many lines of one letter an iterator over this says, without the last.
fn lines(linux: &Linux, name: &str, over: IterTarget) -> Result<Option<usize>, Failed> {
    let code = code::iterator_line();
    let (attach_type, to) = (AttachType::TraceIter, AttachTo::Kernel(name));
    let program = load_for(linux, ProgType::Tracing, attach_type, to, &code);
    if lacking(&program) {
        return Ok(None);
    }
    let link = linux.attach(program?, &AttachPoint::Iter(over), 0)?;
    let text = linux.iterate(link)?;
    // It can be read as often as one likes.
    ensure(!linux.iterate(link)?.is_empty(), || "nothing the second time".into())?;
    linux.detach(link)?;
    ensure(linux.iterate(link).is_err(), || "it went on".into())?;
    // The end is said, too.
    ensure(text.chunks(2).all(|line| line == b"x\n"), || format!("{text:?}"))?;
    Ok(Some(text.len() / 2 - 1))
}

fn all_tasks() -> Result<(), Failed> {
    let linux = Linux::new()?;
    match lines(&linux, "task", IterTarget::All)? {
        None => Ok(()),
        Some(tasks) => ensure(tasks > 1, || format!("{tasks} tasks")),
    }
}

fn one_process() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let version = linux.features().version;
    if (version.major, version.minor) < (6, 1) {
        println!("skipped: iterators over one process need Linux 6.1");
        return Ok(());
    }
    let held = Held::start("spin", 0)?;
    let threads = std::fs::read_dir(format!("/proc/{}/task", held.pid()))?.count();
    let found = lines(&linux, "task", IterTarget::Process(held.pid()))?;
    let one = lines(&linux, "task", IterTarget::Thread(held.pid()))?;
    held.go()?;
    same(found.unwrap_or(threads), threads)?;
    same(one.unwrap_or(1), 1)
}

fn map_elements() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let map = linux.map_create(&map_spec(MapType::Hash, 4, 8, 10))?;
    for key in 0u32..3 {
        linux.map_update(map, &key.to_ne_bytes(), &[0; 8], UpdateFlag::Any)?;
    }
    let found = lines(&linux, "bpf_map_elem", IterTarget::Map(map))?;
    same(found.unwrap_or(3), 3)
}
