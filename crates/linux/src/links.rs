//! Attaching programs, and letting go of them.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use bombus_kernel::{AttachPoint, Error, KernelVersion, LinkFd, Period, ProgFd, Result};
use bombus_platform::ProgType;

use crate::caps::Wants;
use crate::error::privileged;
use crate::programs::{self, Program};
use crate::sys::{Errno, bpf, fork, perf};
use crate::{Linux, features};

/// Everything that is attached.
#[derive(Default)]
pub(crate) struct Links {
    /// How many there have been: handles are numbers of attachments, not descriptors, because one
    /// attachment can have several.
    count: u32,
    links: Vec<OwnedFd>,
    events: Vec<OwnedFd>,
}

/// One attachment.
#[derive(Default)]
struct Attached {
    links: Vec<OwnedFd>,
    events: Vec<OwnedFd>,
}

/// `bpf_get_attach_cookie` in raw tracepoints.
const RAW_TRACEPOINT_COOKIE: KernelVersion = KernelVersion { major: 6, minor: 10, patch: 0 };

/// Attaches a program.
pub(crate) fn attach(
    linux: &Linux,
    program: ProgFd,
    at: &AttachPoint,
    cookie: u64,
) -> Result<LinkFd> {
    let attached = programs::with(linux, program, |program| match at {
        AttachPoint::Tracepoint { category, name } => {
            tracepoint(linux, program, category, name, cookie)
        }
        AttachPoint::RawTracepoint { name } => raw_tracepoint(linux, program, name, cookie),
        AttachPoint::Uprobe { path, offset, on_return, pid } => {
            uprobe(linux, program, path, *offset, *on_return, *pid, cookie)
        }
        AttachPoint::Timer { period, every_cpu } => {
            timer(linux, program, *period, *every_cpu, cookie)
        }
        _ => Err(Error::Unsupported {
            what: format!("program {} cannot be attached to this", program.name),
            help: None,
        }),
    })?;
    let mut all = linux.links.borrow_mut();
    all.count += 1;
    all.links.extend(attached.links);
    all.events.extend(attached.events);
    Ok(LinkFd(all.count))
}

fn tracepoint(
    linux: &Linux,
    program: &Program,
    category: &str,
    name: &str,
    cookie: u64,
) -> Result<Attached> {
    let doing = || format!("attach to tracepoint {category}:{name}");
    let tracefs = linux.tracefs().ok_or_else(|| no_tracefs(doing()))?;
    let id = tracefs.tracepoint_id(category, name).map_err(|errno| match errno {
        libc::ENOENT => Error::Unsupported {
            what: format!("this kernel has no tracepoint {category}:{name}"),
            help: None,
        },
        errno => privileged(doing(), errno, Wants::Tracing),
    })?;
    let failed = |errno| privileged(doing(), errno, Wants::Tracing);
    let event = perf::tracepoint(id).map_err(failed)?;
    on_event(linux, program, event, cookie).map_err(failed)
}

fn no_tracefs(doing: String) -> Error {
    Error::Privilege {
        doing,
        missing: "tracefs (CAP_SYS_ADMIN to mount it, or to read /sys/kernel/tracing)".into(),
    }
}

fn raw_tracepoint(linux: &Linux, program: &Program, name: &str, cookie: u64) -> Result<Attached> {
    let doing = || format!("attach to raw tracepoint {name}");
    let c_name = CString::new(name).map_err(|_| Error::os(doing(), libc::EINVAL))?;
    // A program that was loaded for one tracepoint by its type must not name it again.
    let c_name = (program.prog_type != ProgType::Tracing).then_some(c_name.as_c_str());
    // Before, programs cannot ask for the cookie and it is not missed.
    let cookie = if linux.features.version >= RAW_TRACEPOINT_COOKIE { cookie } else { 0 };
    match bpf::raw_tracepoint_open(program.fd(), c_name, cookie) {
        Ok(link) => Ok(Attached { links: vec![link], ..Attached::default() }),
        Err(libc::ENOENT) => Err(Error::Unsupported {
            what: format!("this kernel has no raw tracepoint {name}"),
            help: None,
        }),
        Err(errno) => Err(privileged(doing(), errno, Wants::Tracing)),
    }
}

/// What sysfs says of the `uprobe` event source.
struct UprobeSource {
    event_type: u32,
    return_bit: u32,
}

impl UprobeSource {
    const DIRECTORY: &str = "/sys/bus/event_source/devices/uprobe";

    fn find() -> Option<UprobeSource> {
        let read = |file: &str| {
            std::fs::read_to_string(Path::new(UprobeSource::DIRECTORY).join(file)).ok()
        };
        let event_type = read("type")?.trim().parse().ok()?;
        // For example `config:0`.
        let return_bit = read("format/retprobe")?.trim().strip_prefix("config:")?.parse().ok()?;
        Some(UprobeSource { event_type, return_bit })
    }
}

fn uprobe(
    linux: &Linux,
    program: &Program,
    path: &Path,
    offset: u64,
    on_return: bool,
    pid: Option<u32>,
    cookie: u64,
) -> Result<Attached> {
    let doing = || {
        let what = if on_return { "the return of the function at" } else { "the instruction at" };
        format!("attach to {what} {offset:#x} in {}", path.display())
    };
    let source = UprobeSource::find().ok_or_else(|| Error::Unsupported {
        what: format!("could not {}: this kernel has no user probes", doing()),
        help: Some("it was built without CONFIG_UPROBE_EVENTS".into()),
    })?;
    let c_path =
        CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::os(doing(), libc::EINVAL))?;
    let config = if on_return { 1 << source.return_bit } else { 0 };
    let target = pid.map_or(perf::Target::Cpu(0), perf::Target::Process);
    let failed = |errno| match errno {
        libc::EINVAL => Error::Os {
            doing: doing(),
            errno,
            help: Some("is it the start of an instruction in a regular file?".into()),
        },
        errno => privileged(doing(), errno, Wants::UserProbes),
    };
    let event = perf::uprobe(source.event_type, config, &c_path, offset, target).map_err(failed)?;
    on_event(linux, program, event, cookie).map_err(failed)
}

fn timer(
    linux: &Linux,
    program: &Program,
    period: Period,
    every_cpu: bool,
    cookie: u64,
) -> Result<Attached> {
    let doing = || match period {
        Period::Hertz(hertz) => format!("start a timer of {hertz} Hz"),
        Period::Nanoseconds(period) => format!("start a timer of {period} ns"),
    };
    let failed = |errno| match (errno, period) {
        (libc::EINVAL, Period::Hertz(_)) => Error::Os {
            doing: doing(),
            errno,
            help: Some("kernel.perf_event_max_sample_rate says how fast it may be".into()),
        },
        (errno, _) => privileged(doing(), errno, Wants::Tracing),
    };
    let (number, is_frequency) = match period {
        Period::Hertz(hertz) => (hertz, true),
        Period::Nanoseconds(period) => (period, false),
    };
    // A period of zero counts without ever firing.
    if number == 0 {
        return Err(failed(libc::EINVAL));
    }
    let mut cpus = features::online_cpus();
    if !every_cpu {
        cpus.truncate(1);
    }
    let mut attached = Attached::default();
    for cpu in cpus {
        let event = match perf::cpu_clock(cpu, number, is_frequency) {
            Ok(event) => event,
            // The CPU went away since.
            Err(libc::ENODEV) if every_cpu => continue,
            Err(errno) => return Err(failed(errno)),
        };
        let one = on_event(linux, program, event, cookie).map_err(failed)?;
        attached.links.extend(one.links);
        attached.events.extend(one.events);
    }
    Ok(attached)
}

/// Makes an event run a program: by a link with a cookie, or as it was before Linux 5.15.
fn on_event(
    linux: &Linux,
    program: &Program,
    event: OwnedFd,
    cookie: u64,
) -> std::result::Result<Attached, Errno> {
    let mut attached = Attached::default();
    if linux.features.perf_link {
        attached.links.push(bpf::link_perf_event(program.fd(), event.as_fd(), cookie)?);
    } else {
        perf::set_program(event.as_fd(), program.fd())?;
        perf::enable(event.as_fd())?;
    }
    attached.events.push(event);
    Ok(attached)
}

/// How long [`detach_all`] waits for the kernel to begin with the last link.
const PATIENCE: Duration = Duration::from_millis(20);

/// Stops everything that is attached from firing, without waiting for the kernel's grace periods.
///
/// Timers stop at once. Programs on tracepoints and user functions come off within a millisecond
/// or so on a machine that is not overloaded, see [`fork::close_in_background`]; one that runs
/// right then runs to its end. What is read from maps afterwards is final but for such stragglers.
pub(crate) fn detach_all(linux: &Linux) {
    let all = std::mem::take(&mut *linux.links.borrow_mut());
    for event in &all.events {
        // A failure leaves it to the close.
        let _ = perf::disable(event.as_fd());
    }
    if all.links.is_empty() && all.events.is_empty() {
        return;
    }
    let mut links = all.links;
    // Without links, closing the event is what takes the program off.
    let events = if links.is_empty() {
        links = all.events;
        Vec::new()
    } else {
        all.events
    };
    // Without a child, the descriptors have been closed here: slower, and as thorough.
    let _ = fork::close_in_background(links, events, PATIENCE);
    linux.links.borrow_mut().count = all.count;
}

#[cfg(test)]
mod tests {
    use bombus_isa::opcode::{alu, atomic, jmp, pseudo};
    use bombus_isa::{Insn, Reg, Size};
    use bombus_kernel::{Kernel, ProgLoad};
    use bombus_platform::{AttachType, MapType};
    use bombus_spec::MapSpec;

    use super::*;

    /// How programs were attached before Linux 5.15 works on later kernels as well.
    #[test]
    fn without_links() {
        if let Err(error) = crate::can_load_programs() {
            println!("skipped: {error}");
            return;
        }
        let mut linux = Linux::new().unwrap();
        linux.features.perf_link = false;
        let cell = linux.map_create(&MapSpec {
            name: "test".into(),
            map_type: MapType::Array,
            key_size: 4,
            value_size: 8,
            max_entries: 1,
            flags: 0,
            contents: Vec::new(),
            ..MapSpec::default()
        });
        let cell = cell.unwrap();
        let [low, high] = Insn::ld_imm64(Reg::R1, pseudo::MAP_FD, cell.0.into());
        // Counts for this process: get_current_pid_tgid, map_lookup_elem.
        let code = [
            Insn::call_helper(14),
            Insn::alu64_imm(alu::RSH, Reg::R0, 32),
            Insn::jmp_imm(jmp::JNE, Reg::R0, std::process::id() as i32, 9),
            Insn::store_imm(Size::W, Reg::FP, -4, 0),
            low,
            high,
            Insn::mov(Reg::R2, Reg::FP),
            Insn::alu64_imm(alu::ADD, Reg::R2, -4),
            Insn::call_helper(1),
            Insn::jmp_imm(jmp::JEQ, Reg::R0, 0, 2),
            Insn::mov_imm(Reg::R1, 1),
            Insn::atomic(Size::Dw, atomic::ADD, Reg::R0, 0, Reg::R1),
            Insn::mov_imm(Reg::R0, 0),
            Insn::exit(),
        ];
        let program = linux.prog_load(&ProgLoad {
            name: "bombus_test",
            prog_type: ProgType::Tracepoint,
            attach_type: AttachType::NONE,
            insns: &code,
            license: "GPL",
            btf: None,
            func_info: &[],
            line_info: &[],
            ..ProgLoad::default()
        });
        let count = || linux.map_lookup(cell, &[0; 4]).unwrap().unwrap();
        let call = || (0..100).for_each(|_| assert_ne!(std::os::unix::process::parent_id(), 0));
        let name = "sys_enter_getppid".into();
        let at = AttachPoint::Tracepoint { category: "syscalls".into(), name };
        linux.attach(program.unwrap(), &at, 0).unwrap();
        call();
        assert_eq!(count(), 100u64.to_ne_bytes());
        linux.detach_all();
        std::thread::sleep(Duration::from_millis(500));
        call();
        assert_eq!(count(), 100u64.to_ne_bytes());
    }
}
