//! Commands, signals, and waiting for both.

use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use bombus_kernel::{AttachPoint, Command, Error, Kernel, Tracer, UpdateFlag, Wake};
use bombus_linux::{Linux, Signals};
use bombus_platform::{MapType, ProgType};
use libtest_mimic::Failed;

use crate::workload::{Held, argv};
use crate::{Test, code, ensure, load, map_spec, same};

/// Tests that need no privileges.
pub(crate) const ANYBODY: &[Test] = &[
    ("spawn::held_then_runs", held_then_runs),
    ("spawn::exit_status", exit_status),
    ("spawn::cannot_run", cannot_run),
    ("spawn::script_without_header", script_without_header),
    ("spawn::dropped_before_it_runs", dropped_before_it_runs),
    ("spawn::given_up", given_up),
    ("spawn::outlives_the_tracer", outlives_the_tracer),
    ("spawn::follow", follow),
    ("spawn::signals", signals),
];

pub(crate) const TESTS: &[Test] = &[("spawn::first_call_is_execve", first_call_is_execve)];

fn command(what: &str, number: u64) -> Result<Command, Failed> {
    Ok(Command { argv: argv(what, number)? })
}

fn words(argv: &[&str]) -> Command {
    Command { argv: argv.iter().map(Into::into).collect() }
}

fn in_a_while() -> Option<Instant> {
    Some(Instant::now() + Duration::from_secs(20))
}

fn exited(status: i32) -> Wake {
    Wake::TargetExited { status: Some(status << 8) }
}

fn task_name(pid: u32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

fn held_then_runs() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let pid = linux.spawn(&words(&["sleep", "0"]))?;
    same(task_name(pid).as_deref(), Some("sleep"))?;
    let own = std::fs::read_link("/proc/self/exe")?;
    same(std::fs::read_link(format!("/proc/{pid}/exe"))?, own)?;
    let soon = Some(Instant::now() + Duration::from_millis(20));
    same(linux.wait(&[], soon)?, Wake::Deadline)?;
    let mut told = None;
    linux.release(&mut |pid| {
        told = Some(pid);
        Ok(())
    })?;
    same(told, Some(pid))?;
    same(linux.wait(&[], in_a_while())?, exited(0))?;
    // Only once.
    let soon = Some(Instant::now() + Duration::from_millis(20));
    same(linux.wait(&[], soon)?, Wake::Deadline)
}

fn exit_status() -> Result<(), Failed> {
    let linux = Linux::new()?;
    for status in [0, 1, 42] {
        linux.spawn(&command("exit", status)?)?;
        linux.resume()?;
        same(linux.wait(&[], in_a_while())?, exited(status as i32))?;
    }
    linux.spawn(&words(&["sh", "-c", "kill -9 $$"]))?;
    linux.resume()?;
    same(linux.wait(&[], in_a_while())?, Wake::TargetExited { status: Some(libc::SIGKILL) })
}

fn cannot_run() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let missing = linux.spawn(&words(&["no-such-program-here"])).unwrap_err();
    let text = "could not run no-such-program-here: No such file or directory (os error 2)";
    same(missing.to_string().as_str(), text)?;
    linux.spawn(&words(&["/no/such/program"]))?;
    let missing = linux.resume().unwrap_err();
    same(missing.errno(), Some(libc::ENOENT))?;
    linux.spawn(&words(&["/proc/self/status"]))?;
    same(linux.resume().unwrap_err().errno(), Some(libc::EACCES))?;
    same(linux.spawn(&Command { argv: vec![] }).is_err(), true)
}

fn script_without_header() -> Result<(), Failed> {
    let path = std::env::temp_dir().join(format!("bombus-test-{}", std::process::id()));
    // Written by another process: children that other threads make meanwhile would keep it busy.
    let draft = path.with_extension("draft");
    std::fs::write(&draft, "exit $1\n")?;
    let copied = std::process::Command::new("cp").args([&draft, &path]).status()?;
    std::fs::remove_file(draft)?;
    same(copied.success(), true)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    let linux = Linux::new()?;
    linux.spawn(&Command { argv: vec![path.clone().into(), "5".into()] })?;
    let outcome = linux.resume().and_then(|()| linux.wait(&[], in_a_while()));
    std::fs::remove_file(path)?;
    same(outcome?, exited(5))
}

fn dropped_before_it_runs() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let pid = linux.spawn(&words(&["sleep", "1000"]))?;
    drop(linux);
    same(task_name(pid), None)
}

fn given_up() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let pid = linux.spawn(&words(&["sleep", "1000"]))?;
    let error = Error::os("do this", libc::EXDEV);
    same(linux.release(&mut |_| Err(error.clone())).unwrap_err(), error)?;
    same(task_name(pid), None)
}

fn outlives_the_tracer() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let pid = linux.spawn(&words(&["sleep", "0.3"]))?;
    linux.resume()?;
    drop(linux);
    same(task_name(pid).as_deref(), Some("sleep"))?;
    // Ours to collect, since it is our child.
    let other = Linux::new()?;
    other.follow(pid)?;
    same(other.wait(&[], in_a_while())?, Wake::TargetExited { status: None })
}

fn follow() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let held = Held::start("getppid", 1)?;
    linux.follow(held.pid())?;
    let soon = Some(Instant::now() + Duration::from_millis(20));
    same(linux.wait(&[], soon)?, Wake::Deadline)?;
    held.go()?;
    same(linux.wait(&[], in_a_while())?, Wake::TargetExited { status: None })?;
    let nobody = linux.follow(u32::MAX >> 1).unwrap_err().to_string();
    ensure(nobody.starts_with("could not follow process 2147483647: No such process"), || {
        nobody.clone()
    })
}

/// Signals that come before the wait are not lost, and commands do not inherit the mask. (Tests run
/// in threads: the signal is sent to this one.)
fn signals() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let signals = Signals::block(&[libc::SIGUSR1, libc::SIGUSR2])?;
    linux.watch_signals(signals.as_fd())?;
    same(signals.take(), None)?;
    let thread = std::fs::read_link("/proc/thread-self")?;
    let thread = thread.file_name().and_then(|name| name.to_str()).ok_or("no thread id")?;
    let thread: i32 = thread.parse()?;
    // SAFETY: sends a blocked signal to this very thread.
    unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), thread, libc::SIGUSR2) };
    same(linux.wait(&[], in_a_while())?, Wake::Signal)?;
    same(signals.take(), Some(libc::SIGUSR2))?;
    same(signals.take(), None)?;
    linux.spawn(&command("signal-mask", 0)?)?;
    linux.resume()?;
    same(linux.wait(&[], in_a_while())?, exited(0))
}

/// From the moment that the caller puts the thread into the map of a followed tree, its first
/// system call is the `execve`.
fn first_call_is_execve() -> Result<(), Failed> {
    for _ in 0..20 {
        let linux = Linux::new()?;
        let tree = linux.map_create(&map_spec(MapType::Hash, 4, 1, 64))?;
        let ring = linux.map_create(&map_spec(MapType::Ringbuf, 0, 0, 1 << 16))?;
        let program =
            load(&linux, ProgType::RawTracepoint, None, &code::send_if_followed(tree, ring))?;
        linux.spawn(&command("getppid", 3)?)?;
        linux.attach(program, &AttachPoint::RawTracepoint { name: "sys_enter".into() }, 0)?;
        linux.release(&mut |pid| {
            linux.map_update(tree, &pid.to_ne_bytes(), &[1], UpdateFlag::Any)
        })?;
        same(linux.wait(&[], in_a_while())?, exited(0))?;
        let mut calls = Vec::new();
        linux.ringbuf_consume(ring, &mut |record| {
            calls.push(i64::from_ne_bytes(record.try_into().unwrap_or_default()));
        })?;
        let executes = calls.iter().filter(|call| **call == libc::SYS_execve).count();
        same((calls.first().copied(), executes), (Some(libc::SYS_execve), 1))?;
        let asked = calls.iter().filter(|call| **call == libc::SYS_getppid).count();
        same((asked, calls.last().copied()), (3, Some(libc::SYS_exit_group)))?;
    }
    Ok(())
}
