//! The door to the hooks: starts, waits, ends. What a stop means is in [`super::stop`].

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use bombus_kernel::{Command, Error, Result, Wake};

use super::agent::{self, Agents};
use super::breakpoint::Breakpoints;
use super::clock::{self, Clock};
use super::filter::{self, Condition, Insn};
use super::launch::Child;
use super::patience::Patience;
use super::sys::{self, Change};
use super::task::{Tasks, Thread, View};
use super::{Control, Event, Interest, Stops, Task, attach, procfs};
use crate::guard;

/// Traces a tree of processes.
///
/// Not to be dropped while a filtered command lives: its system calls would fail. See
/// [`Engine::keep_until_gone`].
#[derive(Debug, Default)]
pub struct Engine {
    pub(super) root: Option<Root>,
    pub(super) tasks: Tasks,
    pub(super) interest: Interest,
    pub(super) breakpoints: Breakpoints,
    /// What agents in the traced processes share; absent when there are none.
    pub(super) agents: Option<Agents>,
    without_agents: bool,
    /// What is added to the environment of commands.
    variables: Vec<(OsString, OsString)>,
    /// No filter: every task stops at every system call.
    pub(super) every_syscall: bool,
    /// A filter is in force: without a tracer, system calls would fail.
    pub(super) filtered: bool,
    /// Events are no longer wanted.
    pub(super) quiet: bool,
    /// New tasks whose first stop came before their maker's event, and at which tick.
    pub(super) early: HashMap<u32, u64>,
    /// Unknown tasks that ended, and at which tick: their maker's event may be yet to come.
    pub(super) ended_early: HashMap<u32, u64>,
    /// Changes that were taken while waiting for another task.
    pub(super) queue: VecDeque<Change>,
    pub(super) stops: Stops,
    patience: Patience,
    clock: Option<Clock>,
    signals: Option<OwnedFd>,
}

/// What tracing began with.
#[derive(Debug)]
pub(super) struct Root {
    /// Process id.
    pub(super) pid: u32,
    /// The command, when it is one.
    pub(super) command: Option<Child>,
    /// Its program runs.
    pub(super) launched: bool,
    /// It is gone; with its wait status if it is ours.
    pub(super) ended: Option<Option<i32>>,
    /// [`Wake::TargetExited`] was given.
    reported: bool,
}

/// How long a new task is held back for the sake of its maker's event, in ticks. (When the maker
/// is killed meanwhile, that event never comes.)
const PATIENCE: u64 = 10;

/// System calls after which the name or the user may be another.
const IDENTITY: [(u32, Option<Condition>); 7] = [
    // prctl(PR_SET_NAME)
    (libc::SYS_prctl as u32, Some(Condition::Equals(0, libc::PR_SET_NAME as u32))),
    (libc::SYS_setuid as u32, None),
    (libc::SYS_setgid as u32, None),
    (libc::SYS_setreuid as u32, None),
    (libc::SYS_setregid as u32, None),
    (libc::SYS_setresuid as u32, None),
    (libc::SYS_setresgid as u32, None),
];

/// Whether the system call may change the task's name or user.
pub(super) fn changes_identity(nr: u32) -> bool {
    IDENTITY.iter().any(|&(call, _)| call == nr)
}

impl Engine {
    /// An engine that traces nothing yet.
    pub fn new() -> Engine {
        Engine::default()
    }

    /// Brings no code into traced processes: every event is a stop.
    pub fn without_agents(&mut self) {
        self.without_agents = true;
    }

    /// Makes [`Engine::wait`] come back whenever this `signalfd(2)` is readable. Commands start
    /// with its signals unblocked.
    pub fn watch_signals(&mut self, signals: BorrowedFd<'_>) -> Result<()> {
        let own = signals.try_clone_to_owned();
        let own = own.map_err(|error| {
            Error::os("watch for signals", error.raw_os_error().unwrap_or(libc::EIO))
        })?;
        self.signals = Some(own);
        Ok(())
    }

    /// Commands are started with this environment variable.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.into(), value.into()));
    }

    /// Starts a command and holds it before its `execve`; returns its process id.
    pub fn spawn(&mut self, command: &Command) -> Result<u32> {
        let own = self.signals.as_ref().map_or(0, |fd| procfs::signalfd_mask(fd.as_raw_fd()));
        let blocked = guard::mask_before_split().unwrap_or_else(sys::blocked_signals);
        let child = Child::fork(command, &self.variables, blocked & !own)?;
        let pid = child.pid;
        self.root =
            Some(Root { pid, command: Some(child), launched: false, ended: None, reported: false });
        Ok(pid)
    }

    /// Takes hold of a running process with all its threads; it goes on running.
    pub fn follow(&mut self, pid: u32) -> Result<()> {
        for tid in attach::seize_process(pid)? {
            self.tasks.add(Thread::new(tid, pid), Default::default);
        }
        self.stops.tasks = self.tasks.threads.len() as u64;
        self.root = Some(Root { pid, command: None, launched: true, ended: None, reported: false });
        Ok(())
    }

    /// Says what is wanted, and lets the command begin; comes back once its program runs. Events
    /// up to then go to `on`. Fails when the command cannot be run.
    pub fn start(
        &mut self,
        interest: &Interest,
        on: &mut dyn FnMut(Event, &mut dyn Task) -> Control,
    ) -> Result<()> {
        self.interest = interest.clone();
        self.breakpoints = Breakpoints::new(&interest.breakpoints);
        let Some(root) = &mut self.root else { return Ok(()) };
        let Some(child) = &mut root.command else {
            self.every_syscall = !(interest.sys_enter.is_empty() && interest.sys_exit.is_empty());
            self.start_followed();
            return Ok(());
        };
        let options = attach::options(interest.exit);
        attach::seize_child(child.pid, options)?;
        self.agents = if self.without_agents { None } else { Agents::new(interest) };
        let filter = make_filter(interest, self.agents.is_some());
        self.filtered = !filter.is_empty();
        let mut thread = Thread::new(child.pid, child.pid);
        thread.launching = true;
        self.tasks.add(thread, Default::default);
        self.stops.tasks = 1;
        child.release(&filter)?;
        while !self.root.as_ref().is_none_or(|root| root.launched || root.ended.is_some()) {
            match self.next_change() {
                Ok(change) => drop(self.handle(change, on)),
                Err(libc::EINTR) => {}
                Err(errno) => return Err(Error::os("wait for the command", errno)),
            }
        }
        match self.root.as_mut().and_then(|root| root.command.as_mut()?.failure()) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Resumes and watches the traced processes until the deadline, a signal for this process, the
    /// end of the command or followed process, or `on` says so.
    pub fn wait(
        &mut self,
        deadline: Option<Instant>,
        on: &mut dyn FnMut(Event, &mut dyn Task) -> Control,
    ) -> Result<Wake> {
        if let Some(wake) = self.root_ended() {
            return Ok(wake);
        }
        if self.clock.is_none() {
            let clock = Clock::new().map_err(|error| {
                Error::os("make a timer", error.raw_os_error().unwrap_or(libc::EIO))
            })?;
            self.clock = Some(clock);
        }
        self.clock.iter().for_each(|clock| clock.run(deadline));
        let wake = self.wait_running(deadline, on);
        self.drain_all(on);
        self.clock.iter().for_each(Clock::halt);
        wake
    }

    fn wait_running(
        &mut self,
        deadline: Option<Instant>,
        on: &mut dyn FnMut(Event, &mut dyn Task) -> Control,
    ) -> Result<Wake> {
        let due = || deadline.is_some_and(|deadline| deadline <= Instant::now());
        if due() {
            return Ok(Wake::Deadline);
        }
        loop {
            let change = self.next_change();
            let mut signal = false;
            let mut flow = Control::Continue;
            match change {
                Ok(change) => flow = self.handle(change, on),
                Err(libc::EINTR) => signal = true,
                Err(libc::ECHILD) => {
                    // Nobody left to trace: only time and signals can happen.
                    let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
                    let fd = self.signals.as_ref().map(AsRawFd::as_raw_fd);
                    signal = sys::poll_readable(fd, left.unwrap_or(clock::TICK).min(clock::TICK));
                    if due() {
                        return Ok(Wake::Deadline);
                    }
                }
                Err(errno) => return Err(Error::os("wait for the traced processes", errno)),
            }
            if self.clock.as_ref().is_some_and(Clock::ticked) {
                signal = self.signal_is_pending() || guard::front_is_gone();
                self.tick(on);
                if due() {
                    return Ok(Wake::Deadline);
                }
                self.clock.iter().for_each(|clock| clock.run(deadline));
            }
            if let Some(wake) = self.root_ended() {
                return Ok(wake);
            }
            match (signal, flow) {
                (true, _) => return Ok(Wake::Signal),
                (false, Control::Return) => return Ok(Wake::Records),
                (false, Control::Continue) => {}
            }
        }
    }

    /// Takes everything that has happened to the traced processes, without waiting. `None`: nothing
    /// that [`Engine::wait`] would come back for.
    pub fn poll(&mut self, on: &mut dyn FnMut(Event, &mut dyn Task) -> Control) -> Option<Wake> {
        let mut wake = self.root_ended();
        // Other children of this process are others' business.
        while wake.is_none() && self.root.is_some() {
            let change = match self.queue.pop_front() {
                Some(change) => Ok(Some(change)),
                None => sys::poll_any(),
            };
            // Nothing happened, or there is nobody left to trace.
            let Ok(Some(change)) = change else { break };
            let flow = self.handle(change, on);
            wake = self.root_ended();
            if wake.is_none() && flow == Control::Return {
                wake = Some(Wake::Records);
            }
        }
        self.drain_all(on);
        let signal = || self.signal_is_pending() || guard::front_is_gone();
        wake.or_else(|| signal().then_some(Wake::Signal))
    }

    /// Readable when there is a signal for this process.
    pub fn signals(&self) -> Option<BorrowedFd<'_>> {
        self.signals.as_ref().map(AsFd::as_fd)
    }

    /// Whether anything is traced.
    pub fn has_tasks(&self) -> bool {
        !self.tasks.threads.is_empty()
    }

    /// The end of what tracing began with, told once.
    fn root_ended(&mut self) -> Option<Wake> {
        let root = self.root.as_mut()?;
        let status = root.ended.filter(|_| !root.reported)?;
        root.reported = true;
        Some(Wake::TargetExited { status })
    }

    fn signal_is_pending(&self) -> bool {
        let fd = self.signals.as_ref().map(AsRawFd::as_raw_fd);
        fd.is_some() && sys::poll_readable(fd, Duration::ZERO)
    }

    /// What has to be done from time to time: by whoever calls [`Engine::poll`], for
    /// [`Engine::wait`] does it by itself.
    pub fn tick(&mut self, on: &mut dyn FnMut(Event, &mut dyn Task) -> Control) {
        self.tasks.caches.tick += 1;
        let now = self.tasks.caches.tick;
        self.ended_early.retain(|_, since| *since + PATIENCE > now);
        let late = self.early.iter().filter(|(_, since)| **since + PATIENCE <= now);
        let late: Vec<u32> = late.map(|(&tid, _)| tid).collect();
        for tid in late {
            self.adopt(tid, on);
        }
    }

    pub(super) fn next_change(&mut self) -> std::result::Result<Change, sys::Errno> {
        match self.queue.pop_front() {
            Some(change) => Ok(change),
            None => self.patience.wait(),
        }
    }

    /// Visits every traced task that is running on a CPU now (for `profile`). It is not stopped:
    /// [`Task::regs`] fails.
    pub fn running(&mut self, visit: &mut dyn FnMut(&mut dyn Task)) {
        let Tasks { threads, processes, caches } = &mut self.tasks;
        for thread in threads.values_mut().filter(|thread| !thread.launching) {
            let Some(process) = processes.get_mut(&thread.pid) else { continue };
            if let Some((b'R', cpu)) = procfs::state_and_cpu(thread.pid, thread.tid) {
                visit(&mut View {
                    thread,
                    process,
                    caches,
                    regs: None,
                    cpu: Some(cpu),
                    stopped: false,
                    late: false,
                });
            }
        }
    }

    /// What the tracing has cost so far.
    pub fn stops(&self) -> Stops {
        self.stops
    }

    /// Removes breakpoints, and delivers no more events. A command that has a filter goes on only
    /// in [`Engine::keep_until_gone`]; everything else is let go of.
    pub fn detach_all(&mut self) {
        self.quiet = true;
        if !self.breakpoints.is_empty() {
            self.remove_breakpoints();
            if !self.filtered {
                self.release_all();
            }
        }
        self.interest = Interest::default();
        self.every_syscall = false;
    }

    /// Whether the traced processes need this process to stay: their system calls would fail
    /// without.
    pub fn needs_keeper(&self) -> bool {
        self.filtered && !self.tasks.threads.is_empty()
    }

    /// Resumes the remaining processes, without events, until the last of them is gone. Comes back
    /// at once when nothing depends on it: what has no filter is set free by the kernel when this
    /// process ends, and not one of its sleeping system calls is disturbed.
    pub fn keep_until_gone(&mut self) {
        self.detach_all();
        self.clock = None;
        while self.needs_keeper() {
            let early: Vec<u32> = self.early.keys().copied().collect();
            for tid in early {
                self.adopt(tid, &mut |_, _| Control::Continue);
            }
            match self.next_change() {
                Ok(change) => drop(self.handle(change, &mut |_, _| Control::Continue)),
                Err(libc::EINTR) => {}
                Err(_) => break,
            }
        }
    }
}

/// The filter for a command. Empty when no system call needs to stop.
fn make_filter(interest: &Interest, agents: bool) -> Vec<Insn> {
    let mut traced = interest.sys_enter;
    traced.extend(&interest.sys_exit);
    let mut conditions = vec![];
    if !interest.breakpoints.is_empty() {
        let executable = Condition::AnyBit(2, libc::PROT_EXEC as u32);
        conditions.push((libc::SYS_mmap as u32, executable));
        conditions.push((libc::SYS_mprotect as u32, executable));
    }
    if traced.is_empty() && conditions.is_empty() {
        return vec![];
    }
    for (nr, condition) in IDENTITY {
        match condition {
            Some(condition) => conditions.push((nr, condition)),
            None => traced.insert(nr),
        }
    }
    filter::compile(&traced, &conditions, agents.then_some(agent::GATE_TEST))
}
