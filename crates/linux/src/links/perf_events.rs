//! Programs that perf events run: counters, clocks, and what other modules make events of.

use std::os::fd::{AsFd, OwnedFd};

use bombus_kernel::{Error, PerfPeriod, Period, Result};
use bombus_platform::AttachType;

use super::Attached;
use crate::caps::Wants;
use crate::error::privileged;
use crate::programs::Program;
use crate::sys::link::{self, LinkOptions, Target};
use crate::sys::{Errno, perf};
use crate::{Linux, features};

/// What is counted.
#[derive(Clone, Copy)]
pub(super) struct Event {
    pub(super) event_type: u32,
    pub(super) config: u64,
}

/// Attaches to an event of a process, or of everybody; on one CPU or on all.
pub(super) fn event(
    linux: &Linux,
    program: &Program,
    event: Event,
    period: PerfPeriod,
    (pid, cpu): (Option<u32>, Option<u32>),
    cookie: u64,
) -> Result<Attached> {
    let doing = || format!("count perf event {}:{:#x}", event.event_type, event.config);
    let failed = |errno| match errno {
        libc::ENOENT | libc::EOPNOTSUPP => Error::Unsupported {
            what: format!("could not {}: this machine does not have it", doing()),
            help: Some("`perf list` shows what there is".into()),
        },
        errno => privileged(doing(), errno, Wants::Tracing),
    };
    let (number, is_frequency) = match period {
        PerfPeriod::Events(count) => (count, false),
        PerfPeriod::Hertz(hertz) => (hertz, true),
    };
    let targets = match (pid, cpu) {
        (Some(pid), Some(cpu)) => vec![perf::Target::ProcessOnCpu(pid, cpu)],
        (Some(pid), None) => vec![perf::Target::Process(pid)],
        (None, Some(cpu)) => vec![perf::Target::Cpu(cpu)],
        (None, None) => features::online_cpus().into_iter().map(perf::Target::Cpu).collect(),
    };
    let several = targets.len() > 1;
    let mut attached = Attached::default();
    for target in targets {
        match perf::event(event.event_type, event.config, number, is_frequency, target) {
            // The CPU went away since.
            Err(libc::ENODEV) if several => {}
            opened => {
                let event = opened.map_err(failed)?;
                attached.add(on_event(linux, program, event, cookie).map_err(failed)?);
            }
        }
    }
    Ok(attached)
}

/// A clock on every CPU, or on one.
pub(super) fn timer(
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
        attached.add(on_event(linux, program, event, cookie).map_err(failed)?);
    }
    Ok(attached)
}

/// Makes an event run a program: by a link with a cookie, or as it was before Linux 5.15.
pub(super) fn on_event(
    linux: &Linux,
    program: &Program,
    event: OwnedFd,
    cookie: u64,
) -> std::result::Result<Attached, Errno> {
    let mut attached = Attached::default();
    if linux.features.perf_link {
        let (target, attach_type) = (Target::Fd(event.as_fd()), AttachType::PerfEvent as u32);
        let options = LinkOptions::Cookie(cookie);
        attached.links.push(link::create(program.fd(), target, attach_type, 0, &options)?);
    } else {
        perf::set_program(event.as_fd(), program.fd())?;
        perf::enable(event.as_fd())?;
    }
    attached.events.push(event);
    Ok(attached)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bombus_isa::opcode::{alu, atomic, jmp, pseudo};
    use bombus_isa::{Insn, Reg, Size};
    use bombus_kernel::{AttachPoint, Kernel, ProgLoad};
    use bombus_platform::{MapType, ProgType};
    use bombus_spec::MapSpec;

    use crate::Linux;

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
            insns: &code,
            license: "GPL",
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
