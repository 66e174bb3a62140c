//! Many user functions by one link, semaphores, and perf events of a process.

use bombus_kernel::{AttachPoint, AttachTo, Kernel, PerfPeriod, UprobePlace};
use bombus_linux::Linux;
use bombus_platform::{AttachType, ProgType};
use libtest_mimic::Failed;

use crate::workload::{self, Held};
use crate::{Test, cell, code, ensure, lacking, load_for, read_cell, same};

pub(crate) const TESTS: &[Test] = &[
    ("user_functions::multi", multi),
    ("user_functions::multi_on_return", multi_on_return),
    ("user_functions::one_by_one", one_by_one),
    ("user_functions::session", session),
    ("user_functions::semaphore", semaphore),
    ("user_functions::perf_event", perf_event),
    ("user_functions::perf_event_errors", perf_event_errors),
];

const CALLS: u64 = 234;
const COOKIE: u64 = 1 << 35 | 3;

fn measure(attach_type: AttachType, ends: (bool, bool)) -> Result<Option<u64>, Failed> {
    let linux = Linux::new()?;
    let cell = cell(&linux)?;
    let held = Held::start("call", CALLS)?;
    let code = code::for_process(held.pid(), &code::add_cookie(cell));
    let program = load_for(&linux, ProgType::Kprobe, attach_type, AttachTo::Nothing, &code)?;
    let place = UprobePlace { offset: workload::probed_offset()?, semaphore: 0, cookie: COOKIE };
    let at = AttachPoint::UprobeMulti {
        path: workload::binary()?,
        places: vec![place],
        on_return: ends.0,
        session: ends.1,
        pid: None,
    };
    let link = linux.attach(program, &at, 1);
    if lacking(&link) {
        return Ok(None);
    }
    link?;
    held.go()?;
    linux.detach_all();
    Ok(Some(read_cell(&linux, cell)?))
}

fn check(attach_type: AttachType, ends: (bool, bool), times: u64) -> Result<(), Failed> {
    let sum = measure(attach_type, ends)?;
    sum.map_or(Ok(()), |sum| same(sum, CALLS * COOKIE * times))
}

fn multi() -> Result<(), Failed> {
    check(AttachType::TraceUprobeMulti, (false, false), 1)
}

fn multi_on_return() -> Result<(), Failed> {
    check(AttachType::TraceUprobeMulti, (true, false), 1)
}

fn one_by_one() -> Result<(), Failed> {
    check(AttachType::NONE, (false, false), 1)
}

fn session() -> Result<(), Failed> {
    check(AttachType::TraceUprobeSession, (false, true), 2)
}

fn semaphore() -> Result<(), Failed> {
    let value = |held: Held| Ok::<_, Failed>(held.go()?.code());
    same(value(Held::start("semaphore", 0)?)?, Some(0))?;
    let place = UprobePlace {
        offset: workload::watched_offset()?,
        semaphore: workload::semaphore_offset()?,
        cookie: 0,
    };
    let path = workload::binary()?;
    let multi = AttachPoint::UprobeMulti {
        path: path.clone(),
        places: vec![place],
        on_return: false,
        session: false,
        pid: None,
    };
    let points = [
        (AttachType::NONE, AttachPoint::Usdt { path, place, pid: None }),
        (AttachType::TraceUprobeMulti, multi),
    ];
    for (attach_type, at) in points {
        let linux = Linux::new()?;
        let nothing = code::always(&[], 0);
        let program = load_for(&linux, ProgType::Kprobe, attach_type, AttachTo::Nothing, &nothing)?;
        // One that runs already, and one that starts later.
        let early = Held::start("semaphore", 0)?;
        linux.attach(program, &at, 0)?;
        same(value(early)?, Some(1))?;
        same(value(Held::start("semaphore", 0)?)?, Some(1))?;
        linux.detach_all();
        drop(linux);
    }
    Ok(())
}

/// The CPU clock of one process.
fn perf_event() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let cell = cell(&linux)?;
    let held = Held::start("spin", 300)?;
    let code = code::for_process(held.pid(), &code::count(cell));
    let program =
        load_for(&linux, ProgType::PerfEvent, AttachType::NONE, AttachTo::Nothing, &code)?;
    let at = AttachPoint::PerfEvent {
        event_type: 1,
        config: 0,
        period: PerfPeriod::Hertz(1000),
        pid: Some(held.pid()),
        cpu: None,
    };
    linux.attach(program, &at, 0)?;
    held.go()?;
    linux.detach_all();
    let ticks = read_cell(&linux, cell)?;
    ensure((5..=400).contains(&ticks), || format!("{ticks} ticks"))
}

fn perf_event_errors() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let nothing = code::always(&[], 0);
    let program =
        load_for(&linux, ProgType::PerfEvent, AttachType::NONE, AttachTo::Nothing, &nothing)?;
    let at = AttachPoint::PerfEvent {
        event_type: 1,
        config: 4711,
        period: PerfPeriod::Events(1),
        pid: None,
        cpu: Some(0),
    };
    let error = linux.attach(program, &at, 0).unwrap_err().to_string();
    ensure(error.contains("this machine does not have it"), || error.clone())
}
