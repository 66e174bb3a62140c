//! Nothing is left behind, and nobody waits for it.

use std::time::{Duration, Instant};

use bombus_kernel::catalog::Catalog;
use bombus_kernel::{AttachPoint, Kernel, ProgFd};
use bombus_linux::{Linux, LinuxCatalog, program_exists};
use bombus_platform::ProgType;
use libtest_mimic::Failed;

use crate::workload::Held;
use crate::{Test, attach, cell, code, ensure, limit, load, read_cell, same};

pub(crate) const TESTS: &[Test] = &[
    ("detach::tracepoints", tracepoints),
    ("detach::raw_tracepoints", raw_tracepoints),
    ("detach::fires_no_more", fires_no_more),
    ("detach::and_again", and_again),
];

/// How long letting go may take while the machine does other things as well. One grace period
/// after another, 24 tracepoints would take two seconds.
const PROMPT: Duration = Duration::from_millis(300);
/// How long the kernel may take behind our back.
const GONE_WITHIN: Duration = Duration::from_secs(2);

/// Programs for a process that does not exist.
fn idle(linux: &Linux, prog_type: ProgType) -> Result<ProgFd, Failed> {
    let cell = cell(linux)?;
    load(linux, prog_type, None, &code::for_process(u32::MAX >> 1, &code::count(cell)))
}

fn drop_and_look(linux: Linux, programs: &[ProgFd]) -> Result<(), Failed> {
    let ids = programs.iter().map(|program| linux.program_id(*program));
    let mut ids = ids.collect::<Result<Vec<u32>, _>>()?;
    for id in &ids {
        same(program_exists(*id)?, true)?;
    }
    let start = Instant::now();
    drop(linux);
    let took = start.elapsed();
    ensure(took < limit(PROMPT), || format!("letting go took {took:?}"))?;
    while !ids.is_empty() {
        ids.retain(|id| program_exists(*id).unwrap_or(true));
        ensure(start.elapsed() < limit(GONE_WITHIN), || {
            format!("programs {ids:?} are still there")
        })?;
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn tracepoints() -> Result<(), Failed> {
    let events = LinuxCatalog::new().tracepoints();
    for count in [1, 24] {
        let linux = Linux::new()?;
        let mut programs = Vec::new();
        // All of them come from one place in the kernel's code: no other is patched.
        let calls = events.iter().filter(|(_, name)| name.starts_with("sys_enter_"));
        for (category, name) in calls.take(count) {
            let program = idle(&linux, ProgType::Tracepoint)?;
            let at = AttachPoint::Tracepoint { category: category.clone(), name: name.clone() };
            linux.attach(program, &at, 0)?;
            programs.push(program);
        }
        same(programs.len(), count)?;
        drop_and_look(linux, &programs)?;
    }
    Ok(())
}

fn raw_tracepoints() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let mut programs = Vec::new();
    for name in ["sys_enter", "sys_exit", "sched_switch", "sched_process_fork"] {
        let program = idle(&linux, ProgType::RawTracepoint)?;
        linux.attach(program, &AttachPoint::RawTracepoint { name: name.into() }, 0)?;
        programs.push(program);
    }
    drop_and_look(linux, &programs)
}

/// After `detach_all`, and a moment for stragglers, the count stands still though calls go on.
fn fires_no_more() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let cell = cell(&linux)?;
    let held = Held::start("getppid", 50_000)?;
    let body = code::count(cell);
    let program = load(&linux, ProgType::Tracepoint, None, &code::for_process(held.pid(), &body))?;
    linux.attach(program, &attach::getppid_tracepoint(), 0)?;
    linux.detach_all();
    std::thread::sleep(Duration::from_millis(20));
    let before = read_cell(&linux, cell)?;
    held.go()?;
    same(read_cell(&linux, cell)?, before)?;
    // And attaching again works.
    let held = Held::start("getppid", 10)?;
    let program = load(&linux, ProgType::Tracepoint, None, &code::for_process(held.pid(), &body))?;
    linux.attach(program, &attach::getppid_tracepoint(), 0)?;
    held.go()?;
    same(read_cell(&linux, cell)?, before + 10)
}

/// A raw tracepoint refuses a program that it has: detaching it makes place for it at once.
fn and_again() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let program = idle(&linux, ProgType::RawTracepoint)?;
    let at = AttachPoint::RawTracepoint { name: "sys_exit".into() };
    for _ in 0..20 {
        let link = linux.attach(program, &at, 0)?;
        linux.detach(link)?;
    }
    Ok(())
}
