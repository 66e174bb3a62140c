//! Attached programs: what sets each of them off.

use std::path::Path;

use bombus_kernel::{AttachPoint, Error, Result};
use bombus_platform::{ProgType, syscall_by_event};

use crate::hooks::{Breakpoint, Interest, SyscallSet};
use crate::programs::Loaded;

/// A program at its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attached {
    pub(crate) program: u32,
    pub(crate) cookie: u64,
}

/// The programs of one side of system calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct SyscallLinks {
    /// `rawtracepoint:sys_enter`, `sys_exit`.
    pub(crate) raw_tracepoint: Vec<Attached>,
    /// `tracepoint:raw_syscalls:*`.
    pub(crate) all: Vec<Attached>,
    /// `tracepoint:syscalls:*`, by number.
    by_number: Vec<Vec<Attached>>,
}

impl SyscallLinks {
    /// The programs of `tracepoint:syscalls:*` for a number.
    pub(crate) fn of(&self, nr: u32) -> &[Attached] {
        self.by_number.get(nr as usize).map_or(&[], Vec::as_slice)
    }

    fn of_mut(&mut self, nr: u32) -> &mut Vec<Attached> {
        if self.by_number.len() <= nr as usize {
            self.by_number.resize(nr as usize + 1, Vec::new());
        }
        &mut self.by_number[nr as usize]
    }

    fn interest(&self) -> SyscallSet {
        if !self.raw_tracepoint.is_empty() || !self.all.is_empty() {
            return SyscallSet::ALL;
        }
        let wanted = (0..).zip(&self.by_number).filter(|(_, programs)| !programs.is_empty());
        wanted.map(|(nr, _)| nr).collect()
    }

    /// The calls all of whose programs may wait.
    fn deferred(&self, may_wait: impl Fn(&Attached) -> bool) -> SyscallSet {
        if !self.raw_tracepoint.is_empty() || !self.all.iter().all(&may_wait) {
            return SyscallSet::NONE;
        }
        (0..SyscallSet::LIMIT).filter(|&nr| self.of(nr).iter().all(&may_wait)).collect()
    }

    /// Programs that get a record with arguments.
    fn with_record(&self) -> impl Iterator<Item = &Attached> {
        self.all.iter().chain(self.by_number.iter().flatten())
    }
}

/// All attached programs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links {
    pub(crate) sys_enter: SyscallLinks,
    pub(crate) sys_exit: SyscallLinks,
    /// `sched:sched_process_fork`.
    pub(crate) fork: Vec<Attached>,
    /// `sched:sched_process_exec`.
    pub(crate) exec: Vec<Attached>,
    /// `sched:sched_process_exit`.
    pub(crate) exit: Vec<Attached>,
    /// `signal:signal_deliver`.
    pub(crate) signal_deliver: Vec<Attached>,
    /// User functions; the breakpoint's id is the position.
    pub(crate) breakpoints: Vec<(Breakpoint, Attached)>,
}

impl Links {
    /// Attaches a program.
    pub(crate) fn attach(
        &mut self,
        program: &Loaded,
        at: &AttachPoint,
        attached: Attached,
    ) -> Result<()> {
        let expected = match at {
            AttachPoint::Tracepoint { .. } => ProgType::Tracepoint,
            AttachPoint::RawTracepoint { .. } => ProgType::RawTracepoint,
            AttachPoint::Uprobe { .. } => ProgType::Kprobe,
            AttachPoint::Timer { .. } => ProgType::PerfEvent,
            _ => return Err(unsupported(&program.name)),
        };
        if program.prog_type != expected {
            return Err(Error::os(format!("attach program {}", program.name), libc::EINVAL));
        }
        match at {
            AttachPoint::Tracepoint { category, name } => {
                self.tracepoint(category, name)?.push(attached);
            }
            AttachPoint::RawTracepoint { name } => match name.as_str() {
                "sys_enter" => self.sys_enter.raw_tracepoint.push(attached),
                "sys_exit" => self.sys_exit.raw_tracepoint.push(attached),
                _ => return Err(in_the_kernel(format!("rawtracepoint:{name}"))),
            },
            AttachPoint::Uprobe { path, offset, on_return, pid } => {
                check_file(path)?;
                let id = self.breakpoints.len() as u32;
                let (path, offset, on_return, pid) = (path.clone(), *offset, *on_return, *pid);
                let breakpoint = Breakpoint { path, offset, on_return, pid, id };
                self.breakpoints.push((breakpoint, attached));
            }
            // Timers are kept apart: see `crate::timers`.
            _ => {}
        }
        Ok(())
    }

    /// The programs of a tracepoint.
    fn tracepoint(&mut self, category: &str, name: &str) -> Result<&mut Vec<Attached>> {
        let full = format!("tracepoint:{category}:{name}");
        Ok(match (category, name) {
            ("raw_syscalls", "sys_enter") => &mut self.sys_enter.all,
            ("raw_syscalls", "sys_exit") => &mut self.sys_exit.all,
            ("sched", "sched_process_fork") => &mut self.fork,
            ("sched", "sched_process_exec") => &mut self.exec,
            ("sched", "sched_process_exit") => &mut self.exit,
            ("signal", "signal_deliver") => &mut self.signal_deliver,
            ("syscalls", _) => {
                let (links, event) = if let Some(event) = name.strip_prefix("sys_enter_") {
                    (&mut self.sys_enter, event)
                } else if let Some(event) = name.strip_prefix("sys_exit_") {
                    (&mut self.sys_exit, event)
                } else {
                    return Err(Error::os(format!("attach to {full}"), libc::ENOENT));
                };
                let Some(call) = syscall_by_event(event) else {
                    return Err(Error::os(format!("attach to {full}"), libc::ENOENT));
                };
                links.of_mut(call.number)
            }
            _ => return Err(in_the_kernel(full)),
        })
    }

    /// What the traced processes have to be stopped for.
    pub(crate) fn interest(&self, programs: &[Loaded]) -> Interest {
        /// Where the arguments start in the record.
        const ARGS: usize = 16;
        let may_wait = |attached: &Attached| {
            programs.get(attached.program as usize).is_some_and(|it| it.may_wait)
        };
        let reads_args = |attached: &Attached| {
            programs.get(attached.program as usize).is_none_or(|it| it.context_bytes > ARGS)
        };
        Interest {
            sys_enter: self.sys_enter.interest(),
            sys_exit: self.sys_exit.interest(),
            deferred: self.sys_enter.deferred(may_wait),
            users: programs.iter().any(|program| program.sees_user),
            args: self.sys_enter.with_record().any(reads_args),
            exit: !self.exit.is_empty(),
            signals: !self.signal_deliver.is_empty(),
            breakpoints: self.breakpoints.iter().map(|(at, _)| at.clone()).collect(),
        }
    }

    /// Whether anything hangs on what traced processes do, and not on the clock alone.
    pub(crate) fn need_processes(&self) -> bool {
        let interest = self.interest(&[]);
        let lists = [&self.fork, &self.exec, &self.exit, &self.signal_deliver];
        !interest.sys_enter.is_empty()
            || !interest.sys_exit.is_empty()
            || !self.breakpoints.is_empty()
            || lists.iter().any(|list| !list.is_empty())
    }
}

/// The error for what happens inside the kernel only.
fn in_the_kernel(probe: String) -> Error {
    Error::Unsupported {
        what: format!("{probe} cannot be traced without the kernel's help"),
        help: Some(
            "with root privileges, --kernel linux can; without, there are tracepoint:syscalls:*, \
             tracepoint:raw_syscalls:*, tracepoint:sched:sched_process_fork, _exec and _exit, \
             rawtracepoint:sys_enter and sys_exit, uprobe, uretprobe, interval and profile"
                .into(),
        ),
    }
}

fn check_file(path: &Path) -> Result<()> {
    let failed = |error: std::io::Error| {
        Error::os(
            format!("attach to {}", path.display()),
            error.raw_os_error().unwrap_or(libc::EIO),
        )
    };
    std::fs::metadata(path).map(|_| ()).map_err(failed)
}

fn unsupported(program: &str) -> Error {
    Error::Unsupported {
        what: format!("the embedded kernel has nothing to attach program {program} to"),
        help: Some("with root privileges, --kernel linux has".into()),
    }
}
