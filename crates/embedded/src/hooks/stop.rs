//! What each kind of stop means, and how the task goes on from it (`ptrace(2)`, "Stopped states").

use std::rc::Rc;

use super::engine::{Engine, changes_identity};
use super::sys::{self, Change, Resume, SyscallInfo};
use super::task::{InSyscall, Thread, View};
use super::{Control, Event, Regs, Task, agent, filter, procfs};

/// The callback of [`Engine::wait`].
pub(super) type On<'a> = &'a mut dyn FnMut(Event, &mut dyn Task) -> Control;

/// `PTRACE_O_TRACESYSGOOD` marks stops at system calls with this bit.
const SYSCALL_TRAP: i32 = libc::SIGTRAP | 0x80;

impl Engine {
    /// Deals with one change of state, and lets the task go on.
    pub(super) fn handle(&mut self, change: Change, on: On<'_>) -> Control {
        let Change { tid, status } = change;
        let recorded = self.drain(tid, true, on);
        let Some((signal, event)) = change.stop() else {
            self.ended(tid, status);
            return recorded;
        };
        if let Some((thread, process, _)) = self.tasks.get(tid) {
            thread.stopped();
            process.alive = tid;
        } else if event == sys::EVENT_STOP && !self.quiet {
            self.early.insert(tid, self.tasks.caches.tick);
            return Control::Continue;
        } else if self.adopt(tid, on) && event == sys::EVENT_STOP {
            return Control::Continue;
        }
        match event {
            libc::PTRACE_EVENT_SECCOMP => self.filter_stop(tid, on),
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
                self.made(tid, event, on)
            }
            libc::PTRACE_EVENT_EXEC => self.new_program(tid, on),
            libc::PTRACE_EVENT_EXIT => self.ending(tid, on),
            sys::EVENT_STOP => self.event_stop(tid, signal, on),
            _ if signal == SYSCALL_TRAP => self.syscall_stop(tid, on),
            _ => self.signal_stop(tid, signal, on),
        }
        .or(recorded)
    }

    /// Hands an event over.
    pub(super) fn emit(
        &mut self,
        tid: u32,
        event: Event,
        regs: Option<Regs>,
        on: On<'_>,
    ) -> Control {
        if self.quiet {
            return Control::Continue;
        }
        let Some((thread, process, caches)) = self.tasks.get(tid) else {
            return Control::Continue;
        };
        // Nobody's business: our own code between fork and execve.
        let execve = libc::SYS_execve as u32;
        let visible = match event {
            Event::SysEnter { nr, .. } | Event::SysExit { nr, .. } => nr == execve,
            _ => false,
        };
        if thread.launching && !visible {
            return Control::Continue;
        }
        let (cpu, stopped, late) = (None, true, false);
        on(event, &mut View { thread, process, caches, regs, cpu, stopped, late })
    }

    /// Hands over an event that happened a while ago.
    pub(super) fn emit_late(&mut self, tid: u32, event: Event, on: On<'_>) -> Control {
        match self.tasks.get(tid) {
            Some((thread, process, caches)) if !self.quiet => {
                let (regs, cpu, stopped, late) = (None, None, false, true);
                on(event, &mut View { thread, process, caches, regs, cpu, stopped, late })
            }
            _ => Control::Continue,
        }
    }

    /// Lets a task go on, with this signal (0: none).
    pub(super) fn resume(&mut self, tid: u32, signal: i32) {
        let wanted = self.tasks.get(tid).is_some_and(|(thread, process, _)| {
            thread.in_syscall.is_some() || process.every_syscall
        });
        let how = if self.every_syscall || wanted { Resume::Syscall } else { Resume::Continue };
        // A task that was killed meanwhile reports its end by itself.
        let _ = sys::resume(tid, how, signal);
    }

    fn filter_stop(&mut self, tid: u32, on: On<'_>) -> Control {
        let Ok(message) = sys::event_message(tid) else { return Control::Continue };
        if let Some((nr, false)) = filter::number(message)
            && self.accelerate(tid, nr)
        {
            self.resume(tid, 0);
            return Control::Continue;
        }
        self.stops.sys_enter += 1;
        let call = match filter::number(message) {
            Some((nr, compat)) if !self.needs_args(nr) => InSyscall { nr, compat, args: [0; 6] },
            known => match sys::syscall_info(tid) {
                Ok(SyscallInfo::Entry { nr, args, compat }) => {
                    InSyscall { nr: nr as u32, compat, args }
                }
                Ok(_) | Err(libc::ESRCH) => return Control::Continue,
                Err(_) => call_from_regs(tid, known),
            },
        };
        let control = self.entered(tid, call, on);
        self.resume(tid, 0);
        control
    }

    fn needs_args(&self, nr: u32) -> bool {
        self.interest.args || (!self.breakpoints.is_empty() && may_map_code(nr))
    }

    /// A system call begins.
    fn entered(&mut self, tid: u32, call: InSyscall, on: On<'_>) -> Control {
        let InSyscall { nr, compat, args } = call;
        let mut control = Control::Continue;
        if wants(&self.interest.sys_enter, nr, compat) {
            let args = if self.interest.args { args } else { [0; 6] };
            control = self.emit(tid, Event::SysEnter { nr, args, compat }, None, on);
        }
        let maps_code = !self.breakpoints.is_empty()
            && may_map_code(nr)
            && !compat
            && args[2] & libc::PROT_EXEC as u64 != 0;
        let wants_exit =
            maps_code || self.every_syscall || wants(&self.interest.sys_exit, nr, compat);
        if let Some((thread, process, _)) = self.tasks.get(tid) {
            let wants_exit = wants_exit || process.every_syscall;
            thread.maps_code = maps_code;
            thread.in_syscall = wants_exit.then_some(call);
            if !compat && changes_identity(nr) {
                thread.identity_will_change();
                self.disarm(tid);
            }
        }
        control
    }

    /// A stop by `PTRACE_SYSCALL`: the return of a call that the filter stopped, or, without a
    /// filter, either end of any call.
    fn syscall_stop(&mut self, tid: u32, on: On<'_>) -> Control {
        let before = self.tasks.threads.get(&tid).and_then(|thread| thread.in_syscall);
        let control = match sys::syscall_info(tid) {
            Ok(SyscallInfo::Entry { nr, args, compat }) => {
                self.stops.sys_enter += 1;
                self.entered(tid, InSyscall { nr: nr as u32, compat, args }, on)
            }
            Ok(SyscallInfo::Exit { ret, compat }) => {
                let call = before.or_else(|| Some(InSyscall { compat, ..regs_call(tid)? }));
                self.returned(tid, call, ret, on)
            }
            Ok(SyscallInfo::None) | Err(libc::ESRCH) => Control::Continue,
            // No PTRACE_GET_SYSCALL_INFO: entry and return take turns.
            Err(_) => match (before, sys::get_regs(tid)) {
                (Some(call), Ok(regs)) => self.returned(tid, Some(call), regs.rax as i64, on),
                (None, Ok(_)) => {
                    self.stops.sys_enter += 1;
                    self.entered(tid, call_from_regs(tid, None), on)
                }
                (_, Err(_)) => Control::Continue,
            },
        };
        self.resume(tid, 0);
        control
    }

    /// A system call returns.
    fn returned(&mut self, tid: u32, call: Option<InSyscall>, ret: i64, on: On<'_>) -> Control {
        self.stops.sys_exit += 1;
        let mut maps_code = false;
        if let Some(thread) = self.tasks.threads.get_mut(&tid) {
            thread.in_syscall = None;
            maps_code = std::mem::take(&mut thread.maps_code);
        }
        if maps_code && (0..).contains(&ret) {
            self.insert_breakpoints(tid);
        }
        match call {
            Some(InSyscall { nr, compat, .. }) if wants(&self.interest.sys_exit, nr, compat) => {
                self.emit(tid, Event::SysExit { nr, ret, compat }, None, on)
            }
            _ => Control::Continue,
        }
    }

    /// A task made another.
    fn made(&mut self, tid: u32, event: i32, on: On<'_>) -> Control {
        self.stops.life_cycle += 1;
        let Ok(message) = sys::event_message(tid) else { return Control::Continue };
        let child = message as u32;
        let Some((maker, process, _)) = self.tasks.get(tid) else { return Control::Continue };
        let is_thread = procfs::is_thread_of(maker.pid, child);
        let mut thread = Thread::new(child, if is_thread { maker.pid } else { child });
        thread.inherit(maker);
        thread.made_by = maker.in_syscall;
        if !is_thread {
            // It has a copy of the stack.
            thread.returns = maker.returns.clone();
        }
        thread.unborn = true;
        let space = Rc::clone(&process.space);
        let mut control = Control::Continue;
        // It may be known already: adopted because this event took too long.
        let known = self.tasks.threads.contains_key(&child);
        let shared = event == libc::PTRACE_EVENT_VFORK
            || (event == libc::PTRACE_EVENT_CLONE && !is_thread && self.shares_memory(tid));
        if !known {
            let copy = || if shared { space } else { Rc::new((*space).clone()) };
            self.stops.tasks += 1;
            self.tasks.add(thread, copy);
        }
        if is_thread || shared {
            self.share_agent(tid, child, event == libc::PTRACE_EVENT_VFORK);
        }
        control = self.emit(tid, Event::Fork { child, is_thread }, None, on).or(control);
        if self.ended_early.remove(&child).is_some() {
            self.tasks.remove(child);
        } else if self.early.remove(&child).is_some() {
            control = self.born(child, on).or(control);
            self.resume(child, 0);
        }
        self.resume(tid, 0);
        control
    }

    /// A new task's first stop, after its maker's event.
    fn born(&mut self, tid: u32, on: On<'_>) -> Control {
        let Some(thread) = self.tasks.threads.get_mut(&tid) else { return Control::Continue };
        thread.unborn = false;
        match thread.made_by.take() {
            // The kernel's tracepoint fires in the child, too.
            Some(InSyscall { nr, compat, .. }) if wants(&self.interest.sys_exit, nr, compat) => {
                self.emit(tid, Event::SysExit { nr, ret: 0, compat }, None, on)
            }
            _ => Control::Continue,
        }
    }

    /// Takes in a task whose maker's event never came, and lets it run when it was held back.
    /// Whether it did.
    pub(super) fn adopt(&mut self, tid: u32, _on: On<'_>) -> bool {
        let held_back = self.early.remove(&tid).is_some();
        let (pid, parent) = procfs::process_and_parent(tid).unwrap_or((tid, 0));
        let parents = self.tasks.processes.get(&parent).map(|parent| Rc::clone(&parent.space));
        self.stops.tasks += 1;
        self.tasks.add(Thread::new(tid, pid), || match parents {
            Some(space) => Rc::new((*space).clone()),
            None => Rc::default(),
        });
        if let Some((_, process, _)) = self.tasks.get(tid) {
            // Whether it shares its maker's memory is not known.
            process.space.borrow_mut().agent = agent::State::Refused;
        }
        if held_back {
            self.resume(tid, 0);
        }
        held_back
    }

    /// A task runs a new program.
    fn new_program(&mut self, tid: u32, on: On<'_>) -> Control {
        self.stops.life_cycle += 1;
        let former = sys::event_message(tid).map_or(tid, |message| message as u32);
        self.leave_space(former);
        self.keep_only(tid, former);
        let Some((thread, process, _)) = self.tasks.get(tid) else { return Control::Continue };
        thread.new_program();
        process.new_program();
        if !self.breakpoints.is_empty() {
            // Its memory can be changed once the call has returned.
            let call = InSyscall { nr: libc::SYS_execve as u32, compat: false, args: [0; 6] };
            thread.in_syscall.get_or_insert(call);
            thread.maps_code = true;
            // No filter to tell when it maps its libraries.
            process.every_syscall = !self.filtered;
        }
        if let Some(root) = self.root.as_mut().filter(|root| root.pid == tid) {
            root.launched = true;
        }
        let control = self.emit(tid, Event::Exec { old_tid: former }, None, on);
        self.resume(tid, 0);
        control
    }

    /// After `execve` one thread is left of a process, `former`, under the id of the first.
    fn keep_only(&mut self, tid: u32, former: u32) {
        if self.tasks.processes.get(&tid).is_none_or(|process| process.threads == 1)
            && former == tid
        {
            return;
        }
        let Some(mut thread) = self.tasks.threads.remove(&former) else { return };
        self.tasks.threads.retain(|_, other| other.pid != tid);
        thread.tid = tid;
        self.tasks.threads.insert(tid, thread);
        if let Some(process) = self.tasks.processes.get_mut(&tid) {
            process.threads = 1;
            process.alive = tid;
        }
    }

    /// A task is about to end.
    fn ending(&mut self, tid: u32, on: On<'_>) -> Control {
        self.stops.life_cycle += 1;
        let mut control = Control::Continue;
        if self.interest.exit {
            let Ok(code) = sys::event_message(tid) else { return Control::Continue };
            control = self.emit(tid, Event::Exit { code: code as i32 }, None, on);
        }
        self.resume(tid, 0);
        control
    }

    /// A task is gone.
    fn ended(&mut self, tid: u32, status: i32) {
        self.early.remove(&tid);
        self.leave_space(tid);
        if self.tasks.remove(tid).is_none() {
            self.ended_early.insert(tid, self.tasks.caches.tick);
        }
        if let Some(root) = self.root.as_mut().filter(|root| root.pid == tid) {
            root.ended = Some(root.command.as_ref().map(|_| status));
        }
    }

    /// `PTRACE_EVENT_STOP`: a new task, a stop that was asked for, the start or end of a stop of
    /// the whole process by a signal.
    fn event_stop(&mut self, tid: u32, signal: i32, on: On<'_>) -> Control {
        self.leave_agent(tid);
        let unborn = self.tasks.threads.get(&tid).is_some_and(|thread| thread.unborn);
        let control = if unborn { self.born(tid, on) } else { Control::Continue };
        let attached = self.tasks.threads.get_mut(&tid);
        if attached.is_some_and(|thread| std::mem::take(&mut thread.maps_code)) {
            self.insert_breakpoints(tid);
            self.watch_for_missing(tid);
        }
        if is_stopping(signal) {
            self.stops.signals += 1;
            // It stays stopped, for its parent to see, and a SIGCONT wakes it.
            let _ = sys::listen(tid);
        } else {
            self.resume(tid, 0);
        }
        control
    }

    /// A signal is about to be delivered.
    fn signal_stop(&mut self, tid: u32, signal: i32, on: On<'_>) -> Control {
        if signal == libc::SIGTRAP
            && let Some(control) = self.breakpoint_stop(tid, on)
        {
            self.stops.breakpoints += 1;
            return control;
        }
        self.stops.signals += 1;
        self.leave_agent(tid);
        let mut control = Control::Continue;
        if self.interest.signals
            && let Ok((errno, code)) = sys::signal_info(tid)
        {
            control = self.emit(tid, Event::Signal { number: signal, errno, code }, None, on);
        }
        self.resume(tid, signal);
        control
    }
}

impl Engine {
    /// Whether the `clone` that a task is in shares the memory.
    fn shares_memory(&mut self, tid: u32) -> bool {
        let Some(InSyscall { nr, args: [first, ..], .. }) = regs_call(tid) else { return false };
        let flags = match i64::from(nr) {
            libc::SYS_clone => Some(first),
            // `struct clone_args` begins with the flags.
            libc::SYS_clone3 => {
                self.tasks.get(tid).and_then(|(_, process, _)| process.read_u64(first))
            }
            _ => None,
        };
        flags.is_some_and(|flags| flags & libc::CLONE_VM as u64 != 0)
    }
}

impl Control {
    /// `Return` wins.
    pub(super) fn or(self, other: Control) -> Control {
        if self == Control::Return { self } else { other }
    }
}

/// Calls by another convention have numbers of another table: only who wants all wants them.
fn wants(set: &super::SyscallSet, nr: u32, compat: bool) -> bool {
    if compat { set.is_all() } else { set.contains(nr) }
}

fn may_map_code(nr: u32) -> bool {
    nr == libc::SYS_mmap as u32 || nr == libc::SYS_mprotect as u32
}

fn is_stopping(signal: i32) -> bool {
    matches!(signal, libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU)
}

fn regs_call(tid: u32) -> Option<InSyscall> {
    let regs = sys::get_regs(tid).ok()?;
    let args = [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9];
    // The code segment of 32-bit programs (`__USER32_CS`).
    Some(InSyscall { nr: regs.orig_rax as u32, compat: regs.cs == 0x23, args })
}

fn call_from_regs(tid: u32, known: Option<(u32, bool)>) -> InSyscall {
    let found = regs_call(tid).unwrap_or(InSyscall { nr: u32::MAX, compat: false, args: [0; 6] });
    match known {
        Some((nr, compat)) => InSyscall { nr, compat, ..found },
        None => found,
    }
}
