//! Brings agents into processes, and takes their records out.

use std::rc::Rc;

use super::code::{self, Replacement, SYSCALL_LENGTH};
use super::ring::{RECORD, Record};
use super::{
    Agent, CONTROL, GATE, GATE_SIZE, RINGS, Recorder, State, TABLE, TABLE_SIZE, WORTH,
    WORTH_REARMING,
};
use crate::hooks::engine::Engine;
use crate::hooks::stop::On;
use crate::hooks::sys::{self, Resume};
use crate::hooks::task::View;
use crate::hooks::{Control, Event, Regs, Task, filter};

/// The code segment of 64-bit programs (`__USER_CS`).
const USER_CS: u64 = 0x33;

impl Engine {
    /// At a stop at the system call `nr`: sees to it that such calls are recorded from now on.
    /// Whether the task is set back and makes this call once more.
    pub(in crate::hooks) fn accelerate(&mut self, tid: u32, nr: u32) -> bool {
        if self.quiet || !self.agents.as_ref().is_some_and(|agents| agents.records(nr)) {
            return false;
        }
        let Some((thread, process, _)) = self.tasks.get(tid) else { return false };
        // Whoever else runs here would meet half-written code.
        if thread.launching || process.threads != 1 || Rc::strong_count(&process.space) != 1 {
            return false;
        }
        let mut space = process.space.borrow_mut();
        match &mut space.agent {
            State::Refused => return false,
            State::Without(stops) if *stops < WORTH => {
                *stops += 1;
                return false;
            }
            State::Installed(agent) if agent.forbidden => return false,
            State::Installed(agent) if agent.ring.is_none() && agent.dormant < WORTH_REARMING => {
                agent.dormant += 1;
                return false;
            }
            _ => {}
        }
        let Ok(mut regs) = sys::get_regs(tid) else { return false };
        let site = regs.rip.wrapping_sub(SYSCALL_LENGTH);
        if regs.cs != USER_CS {
            return false;
        }
        let fresh = matches!(space.agent, State::Without(_));
        drop(space);
        if fresh {
            let agent = self.prepare(tid, nr, &regs);
            let Some((_, process, _)) = self.tasks.get(tid) else { return true };
            process.space.borrow_mut().agent = agent.map_or(State::Refused, State::Installed);
        }
        let armed = self.arm(tid);
        let replaced = armed && self.replace(tid, site);
        if !fresh && !replaced {
            return false;
        }
        // Skips the call, and makes it again from its first byte.
        (regs.rip, regs.rax, regs.orig_rax) = (site, nr.into(), u64::MAX);
        let _ = sys::set_regs(tid, &regs);
        true
    }

    /// Maps everything that an agent needs. The task is stopped at the entry of a system call; its
    /// registers are the caller's to restore.
    fn prepare(&mut self, tid: u32, nr: u32, regs: &Regs) -> Option<Agent> {
        let path = self.agents.as_ref()?.rings.path();
        let mask = sys::get_signal_mask(tid).ok()?;
        // Signals wait until the task is itself again.
        sys::set_signal_mask(tid, u64::MAX).ok()?;
        let near = self.prepare_masked(tid, nr, regs, &path);
        // It may have been killed.
        let _ = sys::set_signal_mask(tid, mask);
        near.map(Agent::new)
    }

    fn prepare_masked(&mut self, tid: u32, nr: u32, regs: &Regs, path: &str) -> Option<u64> {
        // Its own call becomes one that maps the gate.
        let protection = libc::PROT_READ | libc::PROT_EXEC;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        let mut call = *regs;
        (call.orig_rax, call.rdi, call.rsi) = (libc::SYS_mmap as u64, GATE, GATE_SIZE);
        (call.rdx, call.r10) = (protection as u64, flags as u64);
        (call.r8, call.r9) = (u64::MAX, 0);
        sys::set_regs(tid, &call).ok()?;
        self.run_to(tid, Resume::Syscall, |signal, _| signal == libc::SIGTRAP | 0x80)?;
        let mut mapped = sys::get_regs(tid).ok()?;
        if mapped.rax != GATE {
            return None;
        }
        let site = regs.rip.wrapping_sub(SYSCALL_LENGTH);
        let (_, process, _) = self.tasks.get(tid)?;
        if !process.write(GATE, &code::prepare(nr, site, path)) {
            return None;
        }
        (mapped.rip, mapped.orig_rax) = (GATE, u64::MAX);
        sys::set_regs(tid, &mapped).ok()?;
        self.run_to(tid, Resume::Continue, |_, event| event == libc::PTRACE_EVENT_SECCOMP)?;
        let number = sys::event_message(tid).ok().and_then(filter::number);
        let (_, process, _) = self.tasks.get(tid)?;
        let near = process.read_u64(CONTROL + code::RESULTS as u64)?;
        let rings = process.read_u64(CONTROL + code::RESULTS as u64 + 8)?;
        let good = number == Some((nr, false)) && rings == RINGS && near != 0 && near < 1 << 56;
        good.then_some(near)
    }

    /// Lets a task run to a stop; the signal that stops whole processes comes later again.
    fn run_to(&mut self, tid: u32, how: Resume, until: impl Fn(i32, i32) -> bool) -> Option<()> {
        let mut stopped_by = None;
        loop {
            sys::resume(tid, how, 0).ok()?;
            let change = sys::wait_for(tid).ok()?;
            let Some((signal, event)) =
                change.stop().filter(|(_, event)| *event != libc::PTRACE_EVENT_EXIT)
            else {
                self.queue.push_back(change);
                return None;
            };
            if until(signal, event) {
                break;
            }
            match event {
                sys::EVENT_STOP if signal != libc::SIGTRAP => stopped_by = Some(signal),
                0 if signal == libc::SIGSTOP => stopped_by = Some(signal),
                sys::EVENT_STOP | libc::PTRACE_EVENT_SECCOMP => {}
                _ => return None,
            }
        }
        if let Some(signal) = stopped_by {
            let pid = self.tasks.threads.get(&tid).map_or(tid, |thread| thread.pid);
            sys::send_signal(pid, tid, signal);
        }
        Some(())
    }

    /// Gives the process a ring if it has none. Whether it has one now.
    fn arm(&mut self, tid: u32) -> bool {
        let (Some(agents), Some((thread, process, caches))) = (&self.agents, self.tasks.get(tid))
        else {
            return false;
        };
        let space = Rc::clone(&process.space);
        let mut space = space.borrow_mut();
        let Some(agent) = space.agent.agent() else { return false };
        if agent.ring.is_some() {
            return true;
        }
        agent.dormant = 0;
        let Some(lease) = agents.rings.lease() else { return false };
        if !process.write(CONTROL, &agents.control_page(lease.address())) {
            return false;
        }
        // The task may be gone when its last records are looked at.
        let (regs, cpu, stopped, late) = (None, None, true, false);
        let mut view = View { thread, process, caches, regs, cpu, stopped, late };
        view.comm();
        if self.interest.users {
            view.uid_gid();
        }
        agent.ring = Some(Recorder { lease, runners: vec![tid], read: 0 });
        true
    }

    /// Replaces an instruction by a jump. Whether it did.
    fn replace(&mut self, tid: u32, site: u64) -> bool {
        let (Some(agents), Some((_, process, _))) = (&mut self.agents, self.tasks.get(tid)) else {
            return false;
        };
        let space = Rc::clone(&process.space);
        let mut space = space.borrow_mut();
        let Some(agent) = space.agent.agent() else { return false };
        let known = agent.hopeless.contains(&site) || agent.sites.contains_key(&site);
        if known || code::is_ours(site, agent.near) {
            return false;
        }
        let index = agent.sites.len();
        let made = (index < code::TRAMPOLINES)
            .then(|| agents.sites.replaceable(site, |from, into| process.read(from, into)))
            .flatten()
            .and_then(|replaced| code::replacement(site, &replaced, agent.near, index));
        let written = made.is_some_and(|Replacement { trampoline, gate, jump }| {
            process.write(trampoline.0, &trampoline.1)
                && process.write(gate.0, &gate.1)
                && process.write(site, &jump)
        });
        if written {
            agent.sites.insert(site, index);
        } else {
            agent.hopeless.insert(site);
        }
        written
    }

    /// Leaves the code where it is, but records nothing more until the process is armed again.
    pub(in crate::hooks) fn disarm(&mut self, tid: u32) {
        let Some((_, process, _)) = self.tasks.get(tid) else { return };
        let space = Rc::clone(&process.space);
        if let Some(agent) = space.borrow_mut().agent.agent()
            && agent.ring.take().is_some()
        {
            process.write(CONTROL, &[0; TABLE + TABLE_SIZE]);
        }
    }

    /// A task was made that shares the memory; with `vfork` its maker waits for it.
    pub(in crate::hooks) fn share_agent(&mut self, maker: u32, made: u32, vfork: bool) {
        let Some((_, process, _)) = self.tasks.get(maker) else { return };
        let space = Rc::clone(&process.space);
        if let Some(agent) = space.borrow_mut().agent.agent() {
            match &mut agent.ring {
                Some(ring) if vfork => return ring.runners.push(made),
                _ => agent.forbidden |= !vfork,
            }
        }
        self.disarm(maker);
    }

    /// A task ends, or goes on in memory of its own.
    pub(in crate::hooks) fn leave_space(&mut self, tid: u32) {
        let Some((_, process, _)) = self.tasks.get(tid) else { return };
        if let Some(ring) =
            process.space.borrow_mut().agent.agent().and_then(|agent| agent.ring.as_mut())
        {
            ring.runners.retain(|&runner| runner != tid);
        }
    }

    /// Moves a task that stopped by chance out of the agent's way.
    pub(in crate::hooks) fn leave_agent(&mut self, tid: u32) {
        let Some((_, process, _)) = self.tasks.get(tid) else { return };
        if let Some(agent) = process.space.borrow_mut().agent.agent()
            && let Ok(mut regs) = sys::get_regs(tid)
            && agent.leave(&mut regs)
        {
            let _ = sys::set_regs(tid, &regs);
        }
    }

    /// Takes out what the process of a task has recorded. `still`: the task does not run.
    pub(in crate::hooks) fn drain(&mut self, tid: u32, still: bool, on: On<'_>) -> Control {
        let (Some(agents), Some((_, process, _))) = (&self.agents, self.tasks.get(tid)) else {
            return Control::Continue;
        };
        let still = still && process.threads == 1;
        let mut space = process.space.borrow_mut();
        let taken = space.agent.agent().and_then(|agent| agent.take(still.then_some(tid)));
        drop(space);
        let Some((runner, mut records)) = taken else { return Control::Continue };
        // The process itself may have written there.
        records.retain(|[nr, ..]| agents.records(*nr as u32));
        self.stops.recorded += records.len() as u64;
        let mut control = Control::Continue;
        for [nr, args @ ..] in records {
            let args = if self.interest.args { args } else { [0; 6] };
            let event = Event::SysEnter { nr: nr as u32, args, compat: false };
            control = self.emit_late(runner, event, on).or(control);
        }
        control
    }

    /// Takes out what any process has recorded so far.
    pub(in crate::hooks) fn drain_all(&mut self, on: On<'_>) {
        if self.agents.is_some() {
            let tids: Vec<u32> = self.tasks.threads.keys().copied().collect();
            for tid in tids {
                self.drain(tid, false, on);
            }
        }
    }
}

impl Agent {
    /// What was recorded since the last time, and by whom. When it is the task that stands still, the
    /// ring is empty afterwards.
    fn take(&mut self, still: Option<u32>) -> Option<(u32, Vec<Record>)> {
        let ring = self.ring.as_mut()?;
        let &runner = ring.runners.last()?;
        let (records, read) = ring.lease.read(ring.read);
        if still == Some(runner) {
            if read > RECORD {
                ring.lease.empty();
            }
            ring.read = 0;
        } else {
            ring.read = read;
        }
        (!records.is_empty()).then_some((runner, records))
    }
}
