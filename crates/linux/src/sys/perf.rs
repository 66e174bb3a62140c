//! `perf_event_open(2)` and its controls (`include/uapi/linux/perf_event.h`).

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::{Errno, check, check_fd};

/// The head of `struct perf_event_attr`, up to and with `config2` (`PERF_ATTR_SIZE_VER1`).
#[repr(C)]
#[derive(Default)]
struct PerfEventAttr {
    event_type: u32,
    size: u32,
    config: u64,
    /// Or the frequency, see [`FLAG_FREQ`].
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    /// Or the path of a uprobe, the function of a kprobe.
    config1: u64,
    /// Or the offset of a probe.
    config2: u64,
}

/// The bit field's `freq`: `sample_period` is a frequency.
const FLAG_FREQ: u64 = 1 << 10;

const TYPE_SOFTWARE: u32 = 1;
const TYPE_TRACEPOINT: u32 = 2;
const SOFTWARE_CPU_CLOCK: u64 = 0;

/// Close on `execve` (`PERF_FLAG_FD_CLOEXEC`).
const OPEN_CLOEXEC: libc::c_ulong = 1 << 3;

/// `_IO('$', 0)`.
const IOC_ENABLE: libc::c_ulong = 0x2400;
/// `_IO('$', 1)`.
const IOC_DISABLE: libc::c_ulong = 0x2401;
/// `_IOW('$', 8, __u32)`.
const IOC_SET_BPF: libc::c_ulong = 0x4004_2408;

/// `PERF_COUNT_SW_BPF_OUTPUT`.
const SOFTWARE_BPF_OUTPUT: u64 = 10;
/// `PERF_SAMPLE_TIME` and `PERF_SAMPLE_RAW`.
const SAMPLE_TIME: u64 = 1 << 2;
const SAMPLE_RAW: u64 = 1 << 10;

/// Bytes of `struct perf_event_header`: type, misc, size.
pub(crate) const RECORD_HEADER: usize = 8;
/// `PERF_RECORD_LOST` and `PERF_RECORD_SAMPLE`.
pub(crate) const RECORD_LOST: u32 = 2;
pub(crate) const RECORD_SAMPLE: u32 = 9;

/// Whose events, on which CPU: the `pid` and `cpu` of `perf_event_open(2)`.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// Every process, on one CPU. (For tracepoints and probes the CPU does not matter: programs
    /// run wherever the event happens.)
    Cpu(u32),
    /// One process, on every CPU.
    Process(u32),
    /// One process, on one CPU.
    ProcessOnCpu(u32, u32),
}

/// # Safety
/// The pointers in `attr` are valid for what its type makes of them.
unsafe fn open(mut attr: PerfEventAttr, target: Target) -> Result<OwnedFd, Errno> {
    attr.size = size_of::<PerfEventAttr>() as u32;
    let (pid, cpu) = match target {
        Target::Cpu(cpu) => (-1, i32::try_from(cpu).map_err(|_| libc::EINVAL)?),
        Target::Process(pid) => (i32::try_from(pid).map_err(|_| libc::ESRCH)?, -1),
        Target::ProcessOnCpu(pid, cpu) => (
            i32::try_from(pid).map_err(|_| libc::ESRCH)?,
            i32::try_from(cpu).map_err(|_| libc::EINVAL)?,
        ),
    };
    let attr: *const PerfEventAttr = &attr;
    let no_group = -1;
    // SAFETY: `attr` points to as many bytes as its size says; the descriptor is new.
    unsafe {
        check_fd(libc::syscall(libc::SYS_perf_event_open, attr, pid, cpu, no_group, OPEN_CLOEXEC))
    }
}

/// A tracepoint by its number in tracefs.
pub(crate) fn tracepoint(id: u64) -> Result<OwnedFd, Errno> {
    let attr = PerfEventAttr {
        event_type: TYPE_TRACEPOINT,
        config: id,
        sample_period: 1,
        wakeup_events: 1,
        ..PerfEventAttr::default()
    };
    // SAFETY: there are no pointers.
    unsafe { open(attr, Target::Cpu(0)) }
}

/// Any event, every so many or so many times a second.
pub(crate) fn event(
    event_type: u32,
    config: u64,
    period: u64,
    is_frequency: bool,
    target: Target,
) -> Result<OwnedFd, Errno> {
    let attr = PerfEventAttr {
        event_type,
        config,
        sample_period: period,
        flags: if is_frequency { FLAG_FREQ } else { 0 },
        ..PerfEventAttr::default()
    };
    // `config1` and `config2` are pointers for probes alone, and null.
    // SAFETY: there are no pointers.
    unsafe { open(attr, target) }
}

/// The CPU clock of one CPU, every `nanoseconds` or so many times a second.
pub(crate) fn cpu_clock(cpu: u32, period: u64, is_frequency: bool) -> Result<OwnedFd, Errno> {
    event(TYPE_SOFTWARE, SOFTWARE_CPU_CLOCK, period, is_frequency, Target::Cpu(cpu))
}

/// What programs on one CPU write by `bpf_perf_event_output`.
pub(crate) fn bpf_output(cpu: u32) -> Result<OwnedFd, Errno> {
    output(cpu, SAMPLE_RAW)
}

/// The same, each with the time when it was written before it.
pub(crate) fn bpf_output_with_time(cpu: u32) -> Result<OwnedFd, Errno> {
    output(cpu, SAMPLE_RAW | SAMPLE_TIME)
}

fn output(cpu: u32, sample_type: u64) -> Result<OwnedFd, Errno> {
    let attr = PerfEventAttr {
        event_type: TYPE_SOFTWARE,
        config: SOFTWARE_BPF_OUTPUT,
        sample_period: 1,
        sample_type,
        wakeup_events: 1,
        ..PerfEventAttr::default()
    };
    // SAFETY: there are no pointers.
    unsafe { open(attr, Target::Cpu(cpu)) }
}

/// An instruction of a file or of a kernel function (then `name` is its name), or the return of
/// the function that starts there. `event_type` and `config` are what sysfs says of the event
/// sources `uprobe` and `kprobe`.
pub(crate) fn probe(
    event_type: u32,
    config: u64,
    name: &CStr,
    offset: u64,
    target: Target,
) -> Result<OwnedFd, Errno> {
    let attr = PerfEventAttr {
        event_type,
        config,
        config1: name.as_ptr() as u64,
        config2: offset,
        ..PerfEventAttr::default()
    };
    // SAFETY: `name` is a C string that outlives the call.
    unsafe { open(attr, target) }
}

fn control(
    event: BorrowedFd<'_>,
    request: libc::c_ulong,
    value: libc::c_ulong,
) -> Result<(), Errno> {
    // SAFETY: these requests take a plain number. (musl's `request` is an `int`, hence the cast.)
    check(unsafe { libc::ioctl(event.as_raw_fd(), request as _, value) }.into()).map(drop)
}

/// Makes an event run a program: how it was before links.
pub(crate) fn set_program(event: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    control(event, IOC_SET_BPF, program.as_raw_fd() as libc::c_ulong)
}

/// Starts an event.
pub(crate) fn enable(event: BorrowedFd<'_>) -> Result<(), Errno> {
    control(event, IOC_ENABLE, 0)
}

/// Stops an event.
pub(crate) fn disable(event: BorrowedFd<'_>) -> Result<(), Errno> {
    control(event, IOC_DISABLE, 0)
}
