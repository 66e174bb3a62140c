//! A small tracer on top of the hooks, as a program of its own: front, worker and keeper need
//! processes to be. The test binary runs itself with [`FLAG`].

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bombus_embedded::guard::{self, Ending, Role};
use bombus_embedded::hooks::{Breakpoint, Control, Engine, Event, Interest, SyscallSet, Task};
use bombus_kernel::{Command, Wake};

/// First argument of the driver.
pub(crate) const FLAG: &str = "--trace-driver";

/// Options, then `--` and the command. The report has one line for each thing counted.
pub(crate) fn main(mut args: impl Iterator<Item = OsString>) -> i32 {
    let mut interest = Interest::default();
    let (mut report, mut pid, mut time) = (None, None, None);
    while let Some(arg) = args.next() {
        let mut value = || args.next().and_then(|value| value.into_string().ok()).expect("a value");
        match arg.to_str().expect("an option") {
            "--enter" => interest.sys_enter = calls(&value()),
            "--exit" => interest.sys_exit = calls(&value()),
            "--args" => interest.args = true,
            "--late" => (interest.deferred, interest.users) = (SyscallSet::ALL, true),
            "--ends" => interest.exit = true,
            "--signals" => interest.signals = true,
            "--break" => {
                let value = value();
                let mut parts = value.split(':');
                let path = PathBuf::from(parts.next().expect("a path"));
                let offset = parts.next().expect("an offset").parse().expect("a number");
                let on_return = parts.next().is_some();
                let id = interest.breakpoints.len() as u32;
                interest.breakpoints.push(Breakpoint { path, offset, on_return, pid: None, id });
            }
            "--report" => report = Some(PathBuf::from(value())),
            "--pid" => pid = Some(value().parse().expect("a number")),
            "--time" => time = Some(Duration::from_millis(value().parse().expect("a number"))),
            "--" => break,
            other => panic!("option {other}"),
        }
    }
    let worker = match guard::split().expect("two processes") {
        Role::Front(front) => {
            return match front.wait() {
                Ending::Exit(code) => code,
                Ending::Killed(signal) => 128 + signal,
            };
        }
        Role::Worker(worker) => worker,
    };
    let signals = catch_signals();
    let mut engine = Engine::new();
    engine.watch_signals(signals.as_fd()).expect("signals");
    let (code, text) = trace(&mut engine, &interest, pid, time, Command { argv: args.collect() });
    engine.detach_all();
    if let Some(report) = report {
        let unfinished = report.with_extension("new");
        fs::write(&unfinished, text).expect("a report");
        fs::rename(unfinished, report).expect("a report");
    }
    worker.finish(code);
    engine.keep_until_gone();
    0
}

/// What ends a session, as a `signalfd(2)`.
fn catch_signals() -> OwnedFd {
    // SAFETY: the set is valid; the new descriptor belongs to nobody else.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            libc::sigaddset(&mut set, signal);
        }
        libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        let fd = libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        assert!(fd >= 0, "a signalfd");
        OwnedFd::from_raw_fd(fd)
    }
}

fn calls(names: &str) -> SyscallSet {
    if names == "all" {
        return SyscallSet::ALL;
    }
    let number = |name| bombus_platform::syscall_by_name(name).expect("a system call").number;
    names.split(',').map(number).collect()
}

fn trace(
    engine: &mut Engine,
    interest: &Interest,
    pid: Option<u32>,
    time: Option<Duration>,
    command: Command,
) -> (i32, String) {
    let failed = |error: bombus_kernel::Error| (127, format!("error {error}\n"));
    let begun = match pid {
        Some(pid) => engine.follow(pid),
        None => engine.spawn(&command).map(drop),
    };
    if let Err(error) = begun {
        return failed(error);
    }
    let mut counts = BTreeMap::<String, u64>::new();
    let mut count = |event: Event, task: &mut dyn Task| {
        *counts.entry(name(event, task, interest)).or_default() += 1;
        Control::Continue
    };
    if let Err(error) = engine.start(interest, &mut count) {
        return failed(error);
    }
    let deadline = time.map(|time| Instant::now() + time);
    let code = loop {
        match engine.wait(deadline, &mut count) {
            Err(error) => return failed(error),
            Ok(Wake::TargetExited { status: None }) | Ok(Wake::Deadline) => break 0,
            Ok(Wake::Signal) => break 128,
            Ok(Wake::TargetExited { status: Some(status) }) => {
                break if libc::WIFEXITED(status) {
                    libc::WEXITSTATUS(status)
                } else {
                    128 + libc::WTERMSIG(status)
                };
            }
            Ok(Wake::Records) => {}
        }
    };
    let mut text = String::new();
    if let Some(deadline) = deadline {
        let late = Instant::now().saturating_duration_since(deadline).as_millis();
        writeln!(text, "late {late}").expect("text");
    }
    for (name, count) in counts {
        writeln!(text, "{name} {count}").expect("text");
    }
    let stops = engine.stops();
    writeln!(text, "missed {}", stops.missed_breakpoints).expect("text");
    writeln!(text, "stops {}", stops.total()).expect("text");
    writeln!(text, "recorded {}", stops.recorded).expect("text");
    (code, text)
}

fn name(event: Event, task: &mut dyn Task, interest: &Interest) -> String {
    let call = |nr| bombus_platform::syscall_by_number(nr).map_or("?", |call| call.name);
    let comm = task.comm();
    let comm = String::from_utf8_lossy(&comm);
    let comm = comm.trim_end_matches('\0');
    match event {
        Event::SysEnter { nr, args, .. } => match (interest.args, call(nr)) {
            (true, "openat") => {
                let mut path = [0; 64];
                let length = task.read_memory(args[1], &mut path);
                let end = path[..length].iter().position(|&byte| byte == 0).unwrap_or(length);
                format!("openat {comm} {}", String::from_utf8_lossy(&path[..end]))
            }
            (_, name) => format!("enter {name}"),
        },
        Event::SysExit { nr, ret, .. } => format!("exit {} {}", call(nr), ret.signum()),
        Event::Fork { is_thread, .. } => format!("fork {is_thread}"),
        Event::Exec { old_tid } => format!("exec {comm} {}", old_tid == task.tid()),
        Event::Exit { code } => format!("end {code}"),
        Event::Breakpoint { id } => format!("breakpoint {id}"),
        Event::Return { id } => format!("return {id}"),
        Event::Signal { number, .. } => format!("signal {number}"),
    }
}
