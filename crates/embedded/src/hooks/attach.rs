//! Takes hold of processes, and says why when it may not.

use std::collections::BTreeSet;

use bombus_kernel::{Error, Result};

use super::engine::Engine;
use super::sys::{self, Resume};
use super::{Control, Event, Task, procfs};

impl Engine {
    /// Brings followed tasks to where their events can be seen. Only what must stop is stopped: it
    /// makes a few sleeping system calls (`epoll_wait`) fail with EINTR.
    pub(super) fn start_followed(&mut self) {
        let mut tids: Vec<u32> = self.tasks.threads.keys().copied().collect();
        if !self.breakpoints.is_empty() {
            // One is enough to insert them, best one that does not sleep.
            tids.sort_by_cached_key(|&tid| {
                procfs::state_and_cpu(tid, tid).is_none_or(|(state, _)| state != b'R')
            });
            if let Some(thread) = tids.first().and_then(|tid| self.tasks.threads.get_mut(tid)) {
                thread.maps_code = true;
            }
        }
        let all = self.every_syscall;
        let count = if all { tids.len() } else { usize::from(!self.breakpoints.is_empty()) };
        for &tid in tids.iter().take(count) {
            let _ = sys::interrupt(tid);
        }
    }

    /// Lets go of every task. Each has to stand still: it may be about to run into a breakpoint
    /// that is no more, or to return to a trampoline.
    pub(super) fn release_all(&mut self) {
        for &tid in self.tasks.threads.keys() {
            let _ = sys::interrupt(tid);
        }
        let mut released = BTreeSet::new();
        while !self.tasks.threads.is_empty() {
            let change = match self.next_change() {
                Ok(change) => change,
                Err(libc::EINTR) => continue,
                Err(_) => break,
            };
            let tid = change.tid;
            let ignore = &mut |_: Event, _: &mut dyn Task| Control::Continue;
            let Some((signal, event)) = change.stop() else {
                self.tasks.remove(tid);
                continue;
            };
            match event {
                libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
                    let child = sys::event_message(tid).unwrap_or(0) as u32;
                    self.handle(change, ignore);
                    if released.contains(&child) {
                        self.tasks.remove(child);
                    }
                    for task in [tid, child] {
                        let _ = sys::interrupt(task);
                    }
                }
                // Its trap comes next.
                1.. if self.has_met_breakpoint(tid) => {
                    let _ = sys::resume(tid, Resume::Continue, 0);
                }
                0 if signal == libc::SIGTRAP && self.breakpoint_stop(tid, ignore).is_some() => {
                    let _ = sys::interrupt(tid);
                }
                _ => {
                    self.restore_returns(tid);
                    let deliver = if event == 0 && signal & 0x80 == 0 { signal } else { 0 };
                    let _ = sys::detach(tid, deliver);
                    self.tasks.remove(tid);
                    released.insert(tid);
                }
            }
        }
    }
}

/// The options of every traced task. Not `PTRACE_O_EXITKILL`: nobody dies with the tracer.
pub(super) fn options(exit: bool) -> i32 {
    let base = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACESECCOMP
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEEXEC;
    if exit { base | libc::PTRACE_O_TRACEEXIT } else { base }
}

/// Attaches to our own child.
pub(super) fn seize_child(pid: u32, options: i32) -> Result<()> {
    match sys::seize(pid, options) {
        // It was killed: waiting for it will tell.
        Ok(()) | Err(libc::ESRCH) => Ok(()),
        Err(errno) => Err(refused("trace the command".into(), pid, errno)),
    }
}

/// Attaches to every thread of a process; returns their ids.
pub(super) fn seize_process(pid: u32) -> Result<Vec<u32>> {
    let doing = format!("trace process {pid}");
    match procfs::process_and_parent(pid) {
        None => return Err(not_there(doing)),
        Some((process, _)) if process != pid => {
            return Err(Error::Os {
                doing,
                errno: libc::ESRCH,
                help: Some(format!("{pid} is a thread of process {process}")),
            });
        }
        Some(_) => {}
    }
    if procfs::is_kernel_thread(pid) {
        return Err(Error::Unsupported {
            what: format!("process {pid} is a thread of the kernel and has no user code"),
            help: None,
        });
    }
    if pid == std::process::id() {
        return Err(Error::Unsupported {
            what: format!("process {pid} is this process itself"),
            help: None,
        });
    }
    // Threads may make more threads while this goes on: until there is nothing new.
    let mut seized = BTreeSet::new();
    loop {
        let before = seized.len();
        for tid in procfs::threads(pid) {
            if seized.contains(&tid) {
                continue;
            }
            match sys::seize(tid, options(true)) {
                Ok(()) => drop(seized.insert(tid)),
                Err(libc::ESRCH) => {}
                // A thread made by one that was seized already is attached to by itself.
                Err(libc::EPERM) if traced_by(tid) == Some(std::process::id()) => {
                    seized.insert(tid);
                }
                Err(errno) => return Err(refused(doing, tid, errno)),
            }
        }
        if seized.len() == before {
            break;
        }
    }
    if seized.is_empty() { Err(not_there(doing)) } else { Ok(seized.into_iter().collect()) }
}

fn not_there(doing: String) -> Error {
    Error::Os { doing, errno: libc::ESRCH, help: None }
}

fn traced_by(tid: u32) -> Option<u32> {
    procfs::status_field(tid, "TracerPid")?.parse().ok().filter(|&tracer| tracer != 0)
}

/// Why the kernel refused.
fn refused(doing: String, tid: u32, errno: i32) -> Error {
    let help = (errno == libc::EPERM).then(|| {
        if let Some(tracer) = traced_by(tid) {
            let name = procfs::comm(tracer).unwrap_or_default();
            let name = String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned();
            return format!("it is being traced already, by process {tracer} ({name})");
        }
        let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
        let scope = scope.map(|scope| scope.trim().to_owned()).unwrap_or_default();
        let own = procfs::uid_gid(std::process::id()).map(|(uid, _)| uid);
        match procfs::uid_gid(tid).map(|(uid, _)| uid) {
            Some(uid) if own != Some(uid) && own != Some(0) => {
                format!("it runs as another user, {uid}; CAP_SYS_PTRACE would allow it")
            }
            _ if matches!(scope.as_str(), "1" | "2" | "3") => format!(
                "kernel.yama.ptrace_scope is {scope}: {}",
                match scope.as_str() {
                    "1" => "only own descendants may be traced; run the command with -c instead",
                    "2" => "tracing takes CAP_SYS_PTRACE",
                    _ => "nobody may trace until the next boot",
                }
            ),
            _ => "this process or sandbox may not use ptrace(2) on it".to_owned(),
        }
    });
    Error::Os { doing, errno, help }
}
