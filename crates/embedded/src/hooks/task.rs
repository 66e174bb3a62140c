//! What is known of the traced threads and processes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use bombus_kernel::{Error, Result};

use super::breakpoint::AddressSpace;
use super::procfs::{self, Cgroups};
use super::uretprobe::ReturnStack;
use super::{Regs, Task, sys};

/// A system call between its entry and its return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct InSyscall {
    /// Its number.
    pub(super) nr: u32,
    /// By another calling convention.
    pub(super) compat: bool,
    /// Six arguments; zeros when nobody needed them.
    pub(super) args: [u64; 6],
}

/// A traced thread.
#[derive(Debug)]
pub(super) struct Thread {
    /// Thread id.
    pub(super) tid: u32,
    /// Process id.
    pub(super) pid: u32,
    /// Its maker's event came, its own first stop has not.
    pub(super) unborn: bool,
    /// The system call that made it, when its return is wanted.
    pub(super) made_by: Option<InSyscall>,
    /// The system call whose return it is to stop at.
    pub(super) in_syscall: Option<InSyscall>,
    /// At the return of its system call, new executable memory is to be looked at.
    pub(super) maps_code: bool,
    /// It is our own code still, before the command's `execve`.
    pub(super) launching: bool,
    /// Functions that are to report their return.
    pub(super) returns: ReturnStack,
    comm: Cached<[u8; 16]>,
    uid_gid: Cached<(u32, u32)>,
    rseq: Option<Option<u64>>,
    /// The last event changes what is cached, once the task goes on.
    changes_identity: bool,
}

/// A traced process.
#[derive(Debug)]
pub(super) struct Process {
    /// Process id.
    pub(super) pid: u32,
    /// How many of its threads are traced.
    pub(super) threads: u32,
    /// Breakpoints; shared between processes that share their memory (`vfork`).
    pub(super) space: Rc<RefCell<AddressSpace>>,
    /// Its threads stop at every system call, to see what code they map.
    pub(super) every_syscall: bool,
    /// A thread that is alive; the first one may be a zombie, through which nothing can be read.
    pub(super) alive: u32,
    memory: Option<File>,
    parent: Cached<u32>,
    cgroup: Cached<u64>,
}

/// A value from `/proc`, and the tick at which it was read.
#[derive(Clone, Copy, Debug)]
struct Cached<T>(Option<(T, u64)>);

impl<T: Copy> Cached<T> {
    /// The value as of this tick; if it is told late, the last one that was read.
    fn get(&mut self, tick: u64, late: bool, fetch: impl FnOnce() -> Option<T>) -> Option<T> {
        match self.0 {
            Some((value, read)) if late || read == tick => Some(value),
            old => match fetch() {
                Some(value) => {
                    self.0 = Some((value, tick));
                    Some(value)
                }
                // A zombie no longer tells; what was true last is the best answer.
                None => old.map(|(value, _)| value),
            },
        }
    }
}

/// What all tasks share.
#[derive(Debug, Default)]
pub(super) struct Caches {
    /// Grows some fifty times a second. What other threads can change behind our back (a name
    /// written to `/proc/PID/task/TID/comm`, a move to another cgroup) is believed for one tick.
    pub(super) tick: u64,
    cgroups: Cgroups,
}

impl Thread {
    /// A thread of which nothing is known.
    pub(super) fn new(tid: u32, pid: u32) -> Thread {
        Thread {
            tid,
            pid,
            unborn: false,
            made_by: None,
            in_syscall: None,
            maps_code: false,
            launching: false,
            returns: ReturnStack::default(),
            comm: Cached(None),
            uid_gid: Cached(None),
            rseq: None,
            changes_identity: false,
        }
    }

    /// Takes over what a new thread has from its maker.
    pub(super) fn inherit(&mut self, maker: &Thread) {
        if !maker.changes_identity {
            self.comm = maker.comm;
            self.uid_gid = maker.uid_gid;
        }
    }

    /// The event being handled will change the task's name or user when it goes on.
    pub(super) fn identity_will_change(&mut self) {
        self.changes_identity = true;
    }

    /// To be called at each stop.
    pub(super) fn stopped(&mut self) {
        if std::mem::take(&mut self.changes_identity) {
            self.forget_identity();
        }
    }

    fn forget_identity(&mut self) {
        self.comm = Cached(None);
        self.uid_gid = Cached(None);
    }

    /// A new program replaced the old one.
    pub(super) fn new_program(&mut self) {
        self.forget_identity();
        self.rseq = None;
        self.launching = false;
        self.returns = ReturnStack::default();
    }
}

impl Process {
    /// A process with no threads yet.
    pub(super) fn new(pid: u32, space: Rc<RefCell<AddressSpace>>) -> Process {
        Process {
            pid,
            threads: 0,
            space,
            every_syscall: false,
            alive: pid,
            memory: None,
            parent: Cached(None),
            cgroup: Cached(None),
        }
    }

    /// A new program replaced the old one, with memory of its own.
    pub(super) fn new_program(&mut self) {
        self.memory = None;
        self.space = Rc::default();
    }

    /// Its memory, kept open: half the price of `process_vm_readv`.
    fn memory(&mut self) -> Option<&File> {
        if self.memory.is_none() {
            let path = format!("/proc/{}/mem", self.alive);
            let file = OpenOptions::new().read(true).write(true).open(path);
            self.memory = file.ok();
        }
        self.memory.as_ref()
    }

    /// Reads up to the first byte that is not readable; returns how many bytes.
    pub(super) fn read(&mut self, addr: u64, buf: &mut [u8]) -> usize {
        let Some(memory) = self.memory() else { return 0 };
        let mut done = 0;
        while done < buf.len() {
            let Some(at) = addr.checked_add(done as u64) else { break };
            match memory.read_at(&mut buf[done..], at) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        done
    }

    /// Writes, also to memory that the process itself may not write to. Whether all went.
    pub(super) fn write(&mut self, addr: u64, bytes: &[u8]) -> bool {
        self.memory().is_some_and(|memory| memory.write_all_at(bytes, addr).is_ok())
    }

    /// Reads a 64-bit number.
    pub(super) fn read_u64(&mut self, addr: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        (self.read(addr, &mut bytes) == 8).then(|| u64::from_le_bytes(bytes))
    }
}

/// The threads and processes by id.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    /// By thread id.
    pub(super) threads: HashMap<u32, Thread>,
    /// By process id.
    pub(super) processes: HashMap<u32, Process>,
    /// What they share.
    pub(super) caches: Caches,
}

impl Tasks {
    /// Adds a thread, and its process when it is the first.
    pub(super) fn add(
        &mut self,
        thread: Thread,
        space: impl FnOnce() -> Rc<RefCell<AddressSpace>>,
    ) {
        let pid = thread.pid;
        if self.threads.insert(thread.tid, thread).is_none() {
            let process = self.processes.entry(pid).or_insert_with(|| Process::new(pid, space()));
            process.threads += 1;
        }
    }

    /// Forgets a thread, and its process when it was the last.
    pub(super) fn remove(&mut self, tid: u32) -> Option<Thread> {
        let thread = self.threads.remove(&tid)?;
        if let Some(process) = self.processes.get_mut(&thread.pid) {
            process.threads -= 1;
            if process.threads == 0 {
                self.processes.remove(&thread.pid);
            }
        }
        Some(thread)
    }

    /// A thread with its process.
    pub(super) fn get(&mut self, tid: u32) -> Option<(&mut Thread, &mut Process, &mut Caches)> {
        let thread = self.threads.get_mut(&tid)?;
        let process = self.processes.get_mut(&thread.pid)?;
        Some((thread, process, &mut self.caches))
    }
}

/// What the callback sees of a task.
pub(super) struct View<'a> {
    /// The thread.
    pub(super) thread: &'a mut Thread,
    /// Its process.
    pub(super) process: &'a mut Process,
    /// What all share.
    pub(super) caches: &'a mut Caches,
    /// Its registers, once known.
    pub(super) regs: Option<Regs>,
    /// The CPU, when it is known already.
    pub(super) cpu: Option<u32>,
    /// Whether it stands still where the event happened.
    pub(super) stopped: bool,
    /// The event is told late: what was true of the task when it was last looked at counts.
    pub(super) late: bool,
}

impl Task for View<'_> {
    fn pid(&self) -> u32 {
        self.process.pid
    }

    fn tid(&self) -> u32 {
        self.thread.tid
    }

    fn ppid(&mut self) -> u32 {
        let pid = self.process.pid;
        let parent = || procfs::process_and_parent(pid).map(|(_, parent)| parent);
        self.process.parent.get(self.caches.tick, self.late, parent).unwrap_or(0)
    }

    fn comm(&mut self) -> [u8; 16] {
        let tid = self.thread.tid;
        let comm = || procfs::comm(tid);
        self.thread.comm.get(self.caches.tick, self.late, comm).unwrap_or_default()
    }

    fn uid_gid(&mut self) -> (u32, u32) {
        let tid = self.thread.tid;
        let ids = || procfs::uid_gid(tid);
        self.thread.uid_gid.get(self.caches.tick, self.late, ids).unwrap_or_default()
    }

    fn cgroup_id(&mut self) -> u64 {
        let Caches { tick, cgroups } = self.caches;
        let pid = self.process.pid;
        self.process.cgroup.get(*tick, self.late, || Some(cgroups.id(pid))).unwrap_or(0)
    }

    fn cpu(&mut self) -> u32 {
        if let Some(cpu) = self.cpu {
            return cpu;
        }
        let cpu = self.cpu_of_rseq().or_else(|| {
            procfs::state_and_cpu(self.process.pid, self.thread.tid).map(|(_, cpu)| cpu)
        });
        self.cpu = cpu;
        cpu.unwrap_or(0)
    }

    fn regs(&mut self) -> Result<Regs> {
        if let Some(regs) = self.regs {
            return Ok(regs);
        }
        if !self.stopped {
            return Err(Error::os("read the registers of a running task", libc::EBUSY));
        }
        let regs = sys::get_regs(self.thread.tid)
            .map_err(|errno| Error::os("read the registers of a task", errno))?;
        self.regs = Some(regs);
        Ok(regs)
    }

    fn read_memory(&mut self, addr: u64, buf: &mut [u8]) -> usize {
        self.process.read(addr, buf)
    }
}

impl View<'_> {
    /// The CPU in the task's `struct rseq`, which the C library registers: a fifth of the price
    /// of asking `/proc`.
    fn cpu_of_rseq(&mut self) -> Option<u32> {
        if !self.stopped {
            return None;
        }
        let tid = self.thread.tid;
        let find = || sys::rseq_address(tid).ok().flatten();
        let address = (*self.thread.rseq.get_or_insert_with(find))?;
        // `cpu_id` follows `cpu_id_start`; negative numbers mean that it is not registered.
        let mut bytes = [0; 4];
        let read = self.process.read(address + 4, &mut bytes);
        let cpu = u32::from_le_bytes(bytes);
        (read == 4 && cpu < 1 << 16).then_some(cpu)
    }
}
