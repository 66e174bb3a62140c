//! Every kind of attachment, each with an exact count where the event is one.

use std::time::{Duration, Instant};

use bombus_kernel::{AttachPoint, Feature, Kernel, Period, ProgLoad, UprobePlace};
use bombus_linux::Linux;
use bombus_platform::{AttachType, ProgType};
use libtest_mimic::Failed;

use crate::workload::Held;
use crate::{Test, cell, code, ensure, load, read_cell, same, workload};

pub(crate) const TESTS: &[Test] = &[
    ("attach::tracepoint", tracepoint),
    ("attach::raw_tracepoint", raw_tracepoint),
    ("attach::tracepoint_by_type", tracepoint_by_type),
    ("attach::uprobe", uprobe),
    ("attach::uretprobe_of_one_process", uretprobe_of_one_process),
    ("attach::static_probe_by_either_link", static_probe_by_either_link),
    ("attach::timer_on_every_cpu", timer_on_every_cpu),
    ("attach::timer_on_one_cpu", timer_on_one_cpu),
    ("attach::errors", errors),
];

const CALLS: u64 = 1234;
const COOKIE: u64 = 1 << 40 | 7;

/// The number of getppid(2).
const GETPPID: i32 = libc::SYS_getppid as i32;

pub(crate) fn getppid_tracepoint() -> AttachPoint {
    AttachPoint::Tracepoint { category: "syscalls".into(), name: "sys_enter_getppid".into() }
}

fn sys_enter() -> AttachPoint {
    AttachPoint::RawTracepoint { name: "sys_enter".into() }
}

/// Attaches a program with this body, runs the workload, and gives what the body added up.
fn measure(
    linux: &Linux,
    prog_type: ProgType,
    attach_to: Option<&str>,
    workload: (&str, u64),
    at: impl FnOnce(u32) -> Result<AttachPoint, Failed>,
    body: impl FnOnce(bombus_kernel::MapFd) -> Vec<bombus_isa::Insn>,
) -> Result<u64, Failed> {
    let cell = cell(linux)?;
    let held = Held::start(workload.0, workload.1)?;
    let code = code::for_process(held.pid(), &body(cell));
    let program = load(linux, prog_type, attach_to, &code)?;
    linux.attach(program, &at(held.pid())?, COOKIE)?;
    held.go()?;
    linux.detach_all();
    read_cell(linux, cell)
}

fn tracepoint() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let at = |_| Ok(getppid_tracepoint());
    let work = ("getppid", CALLS);
    same(measure(&linux, ProgType::Tracepoint, None, work, at, code::count)?, CALLS)?;
    if linux.features().perf_link {
        let sum = measure(&linux, ProgType::Tracepoint, None, work, at, code::add_cookie)?;
        same(sum, CALLS * COOKIE)?;
    }
    Ok(())
}

fn raw_tracepoint() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let (at, work) = (|_| Ok(sys_enter()), ("getppid", CALLS));
    let body = |cell| code::if_second_argument(GETPPID, code::count(cell));
    same(measure(&linux, ProgType::RawTracepoint, None, work, at, body)?, CALLS)?;
    let version = linux.features().version;
    if (version.major, version.minor) >= (6, 10) {
        let body = |cell| code::if_second_argument(GETPPID, code::add_cookie(cell));
        let sum = measure(&linux, ProgType::RawTracepoint, None, work, at, body)?;
        same(sum, CALLS * COOKIE)?;
    }
    Ok(())
}

fn tracepoint_by_type() -> Result<(), Failed> {
    let linux = Linux::new()?;
    if !linux.features().tp_btf {
        println!("skipped: this kernel does not describe its types");
        return Ok(());
    }
    let (at, work) = (|_| Ok(sys_enter()), ("getppid", CALLS));
    let body = |cell| code::if_second_argument(GETPPID, code::count(cell));
    same(measure(&linux, ProgType::Tracing, Some("sys_enter"), work, at, body)?, CALLS)
}

/// User probes on the function that the workload calls.
pub(crate) fn probe(on_return: bool, pid: Option<u32>) -> Result<AttachPoint, Failed> {
    let (path, offset) = (workload::binary()?, workload::probed_offset()?);
    Ok(AttachPoint::Uprobe { path, offset, on_return, pid })
}

fn uprobe() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let (at, work) = (|_| probe(false, None), ("call", CALLS));
    same(measure(&linux, ProgType::Kprobe, None, work, at, code::count)?, CALLS)?;
    if linux.features().perf_link {
        let sum = measure(&linux, ProgType::Kprobe, None, work, at, code::add_cookie)?;
        same(sum, CALLS * COOKIE)?;
    }
    Ok(())
}

fn uretprobe_of_one_process() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let at = |pid| probe(true, Some(pid));
    same(measure(&linux, ProgType::Kprobe, None, ("call", CALLS), at, code::count)?, CALLS)
}

/// Programs that were loaded for the newer kind of link cannot have the older one.
fn static_probe_by_either_link() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let newer = linux.supports(Feature::UprobeMultiLink);
    for attach_type in [AttachType::NONE, AttachType::TraceUprobeMulti] {
        if attach_type != AttachType::NONE && !newer {
            println!("skipped: this kernel has no such links");
            continue;
        }
        let cell = cell(&linux)?;
        let held = Held::start("call", CALLS)?;
        let program = linux.prog_load(&ProgLoad {
            name: "static_probe",
            prog_type: ProgType::Kprobe,
            attach_type,
            insns: &code::for_process(held.pid(), &code::add_cookie(cell)),
            license: "GPL",
            ..ProgLoad::default()
        })?;
        let (path, offset) = (workload::binary()?, workload::probed_offset()?);
        let place = UprobePlace { offset, semaphore: 0, cookie: 0 };
        linux.attach(program, &AttachPoint::Usdt { path, place, pid: None }, COOKIE)?;
        held.go()?;
        linux.detach_all();
        same(read_cell(&linux, cell)?, CALLS * COOKIE)?;
    }
    Ok(())
}

/// A clock's ticks are counted while one process spins; how many, the machine decides.
fn timer(every_cpu: bool, period: Period) -> Result<u64, Failed> {
    let linux = Linux::new()?;
    let at = |_| Ok(AttachPoint::Timer { period, every_cpu });
    measure(&linux, ProgType::PerfEvent, None, ("spin", 300), at, code::count)
}

fn timer_on_every_cpu() -> Result<(), Failed> {
    let start = Instant::now();
    let ticks = timer(true, Period::Hertz(1000))?;
    // 300 if it had a CPU for itself. An emulated or busy machine takes longer over 300 ms of
    // spinning, and ticks meanwhile.
    let most = start.elapsed().as_millis().max(300) as u64 * 4 / 3;
    ensure((5..=most).contains(&ticks), || format!("{ticks} ticks, {most} at most"))
}

fn timer_on_one_cpu() -> Result<(), Failed> {
    // For everybody, not only for one process: that CPU may be somebody else's.
    let linux = Linux::new()?;
    let cell = cell(&linux)?;
    let body = [code::count(cell), vec![]].concat();
    let code =
        [body, vec![bombus_isa::Insn::mov_imm(bombus_isa::Reg::R0, 0), bombus_isa::Insn::exit()]]
            .concat();
    let program = load(&linux, ProgType::PerfEvent, None, &code)?;
    let period = Period::Nanoseconds(5_000_000);
    linux.attach(program, &AttachPoint::Timer { period, every_cpu: false }, 0)?;
    std::thread::sleep(Duration::from_millis(300));
    linux.detach_all();
    let ticks = read_cell(&linux, cell)?;
    ensure((5..=200).contains(&ticks), || format!("{ticks} ticks"))?;
    // Timers have stopped when `detach_all` is back.
    std::thread::sleep(Duration::from_millis(30));
    same(read_cell(&linux, cell)?, ticks)
}

fn errors() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let nothing = [bombus_isa::Insn::mov_imm(bombus_isa::Reg::R0, 0), bombus_isa::Insn::exit()];
    let tracepoint = load(&linux, ProgType::Tracepoint, None, &nothing)?;
    let raw = load(&linux, ProgType::RawTracepoint, None, &nothing)?;
    let probe = load(&linux, ProgType::Kprobe, None, &nothing)?;
    let timer = load(&linux, ProgType::PerfEvent, None, &nothing)?;
    let cases = [
        (
            tracepoint,
            AttachPoint::Tracepoint { category: "syscalls".into(), name: "sys_enter_no".into() },
            "this kernel has no tracepoint syscalls:sys_enter_no",
        ),
        (
            tracepoint,
            AttachPoint::Tracepoint { category: "../..".into(), name: "x".into() },
            "this kernel has no tracepoint ../..:x",
        ),
        (
            raw,
            AttachPoint::RawTracepoint { name: "no_such_thing".into() },
            "this kernel has no raw tracepoint no_such_thing",
        ),
        (
            probe,
            AttachPoint::Uprobe {
                path: "/no/such/file".into(),
                offset: 0x10,
                on_return: false,
                pid: None,
            },
            "could not attach to the instruction at 0x10 in /no/such/file: No such file",
        ),
        (
            timer,
            AttachPoint::Timer { period: Period::Hertz(10_000_000), every_cpu: true },
            "could not start a timer of 10000000 Hz: ",
        ),
        (
            timer,
            AttachPoint::Timer { period: Period::Nanoseconds(0), every_cpu: false },
            "could not start a timer of 0 ns: ",
        ),
    ];
    for (program, at, wanted) in cases {
        match linux.attach(program, &at, 0) {
            Ok(_) => return Err(format!("{at:?} worked").into()),
            Err(error) => {
                ensure(error.to_string().starts_with(wanted), || error.to_string())?;
            }
        }
    }
    Ok(())
}
