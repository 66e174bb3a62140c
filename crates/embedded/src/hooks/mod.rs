//! Hooks into other processes without privileges: system calls, process life cycle, user functions.
//!
//! The mechanism is `ptrace(2)` with `PTRACE_SEIZE`, helped by a seccomp filter that is made from
//! what is wanted, so that only those system calls stop (`SECCOMP_RET_TRACE`). User functions are
//! hooked by `int3`; the displaced instruction runs out of line, nothing is ever single-stepped.
//!
//! [`Engine`] is the only door. It knows nothing of BPF: it turns what a tree of processes does
//! into [`Event`]s and hands each one over together with the [`Task`] that it happened to, which
//! stands still meanwhile. Where that may wait, an agent inside the process takes the stops' place.
//!
//! `ptrace` requests must come from the thread that attached: one thread calls everything here.

mod agent;
mod attach;
mod breakpoint;
mod clock;
mod displaced;
mod engine;
mod filter;
mod inject;
mod launch;
mod patience;
mod procfs;
mod signals;
mod stop;
mod sys;
mod syscall_set;
mod task;
mod uretprobe;

use std::path::PathBuf;

use bombus_kernel::Result;

pub use engine::Engine;
pub(crate) use signals::ChildSignals;
pub use syscall_set::SyscallSet;

/// What is wanted of the traced processes. Nothing else costs them a stop.
#[derive(Clone, Debug, Default)]
pub struct Interest {
    /// System calls whose entry is an event.
    pub sys_enter: SyscallSet,
    /// System calls whose return is an event.
    pub sys_exit: SyscallSet,
    /// Of these calls the entry may be told later than it happens: in the order of each process, at
    /// the latest at its next stop, but without its registers and memory.
    pub deferred: SyscallSet,
    /// Whether somebody asks for user and group where events are deferred.
    pub users: bool,
    /// Whether somebody reads [`Event::SysEnter`]'s `args`; when not, they are zero, and each
    /// event is cheaper.
    pub args: bool,
    /// Whether [`Event::Exit`] is wanted (one more stop for every thread that ends).
    pub exit: bool,
    /// Whether [`Event::Signal`] is wanted. (The stops are there in any case.)
    pub signals: bool,
    /// User functions.
    pub breakpoints: Vec<Breakpoint>,
}

/// A user instruction, or the return from the function that starts there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Breakpoint {
    /// The program or library.
    pub path: PathBuf,
    /// Where the instruction is, in bytes from the start of the file.
    pub offset: u64,
    /// Report when the function returns ([`Event::Return`]), not when it is entered.
    pub on_return: bool,
    /// Only in the process with this id.
    pub pid: Option<u32>,
    /// What the events carry. The caller's own numbering.
    pub id: u32,
}

/// Something that a traced task did. The task stands still until the callback comes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A system call begins (kernel: `raw_syscalls:sys_enter`).
    SysEnter {
        /// Its number.
        nr: u32,
        /// The six argument registers; zeros unless [`Interest::args`].
        args: [u64; 6],
        /// A call by another calling convention (32-bit): the number is of another table. As in
        /// the kernel, it counts for `raw_syscalls` and never for `syscalls:*`.
        compat: bool,
    },
    /// A system call returns (kernel: `raw_syscalls:sys_exit`). The child of a `fork` or `clone`
    /// has one too, with 0, as in the kernel.
    SysExit {
        /// Its number.
        nr: u32,
        /// The result; errors are negative error numbers.
        ret: i64,
        /// As in [`Event::SysEnter`].
        compat: bool,
    },
    /// The task made a process or a thread (`sched:sched_process_fork`).
    Fork {
        /// Thread id of what was made. It has the task's `comm`.
        child: u32,
        /// Whether it is a thread of the same process.
        is_thread: bool,
    },
    /// The task runs a new program (`sched:sched_process_exec`). `comm` is the new one.
    Exec {
        /// Thread id before; differs from [`Task::tid`] when not the first thread did it.
        old_tid: u32,
    },
    /// The task is about to end (`sched:sched_process_exit`). Its memory is still there.
    Exit {
        /// As `wait(2)` would give it: exit code in bits 8 to 15, signal in bits 0 to 6.
        code: i32,
    },
    /// A breakpoint was reached; [`Task::regs`] has `rip` at the breakpoint.
    Breakpoint {
        /// [`Breakpoint::id`].
        id: u32,
    },
    /// A function returned; [`Task::regs`] has `rip` at the return address and `rax` the result.
    Return {
        /// [`Breakpoint::id`].
        id: u32,
    },
    /// A signal is about to be delivered (`signal:signal_deliver`).
    Signal {
        /// Its number.
        number: i32,
        /// `si_errno`.
        errno: i32,
        /// `si_code`.
        code: i32,
    },
}

/// The task that an event happened to. What costs a system call is fetched when asked for, and
/// kept for as long as it is certain not to have changed.
pub trait Task {
    /// Process id (the kernel's `tgid`).
    fn pid(&self) -> u32;
    /// Thread id (the kernel's `pid`).
    fn tid(&self) -> u32;
    /// Process id of the parent; 0 when unknown.
    fn ppid(&mut self) -> u32;
    /// The thread's name, padded with zeros.
    fn comm(&mut self) -> [u8; 16];
    /// Real user and group id.
    fn uid_gid(&mut self) -> (u32, u32);
    /// Id of the cgroup v2 directory; 0 when unknown.
    fn cgroup_id(&mut self) -> u64;
    /// CPU that it ran on last.
    fn cpu(&mut self) -> u32;
    /// Its registers. Fails when the task is gone, or runs ([`Engine::running`]).
    fn regs(&mut self) -> Result<Regs>;
    /// Reads its memory; returns how many bytes of `buf` it filled. Less than all means that the
    /// rest is not readable. Never faults.
    fn read_memory(&mut self, addr: u64, buf: &mut [u8]) -> usize;
}

/// What the callback of [`Engine::wait`] wants next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Control {
    /// Go on waiting.
    Continue,
    /// Come back from [`Engine::wait`] (with `Wake::Records`) once this event is dealt with.
    Return,
}

/// How often the traced processes were stopped, for the closing report.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stops {
    /// Entries of system calls.
    pub sys_enter: u64,
    /// Entries of system calls that were recorded in the process, without a stop.
    pub recorded: u64,
    /// Returns of system calls.
    pub sys_exit: u64,
    /// Breakpoints and function returns.
    pub breakpoints: u64,
    /// Processes and threads made, programs run, ends.
    pub life_cycle: u64,
    /// Signals, and stops by job control.
    pub signals: u64,
    /// Processes and threads that were traced.
    pub tasks: u64,
    /// Breakpoints that could not be set (unreadable memory, no room for the displaced
    /// instruction).
    pub missed_breakpoints: u64,
}

impl Stops {
    /// All stops.
    pub fn total(&self) -> u64 {
        self.sys_enter + self.sys_exit + self.breakpoints + self.life_cycle + self.signals
    }
}

/// General registers of x86-64 in the order of `struct user_regs_struct`, whose first 21 words
/// are the kernel's `struct pt_regs`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Regs {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub orig_rax: u64,
    pub rip: u64,
    pub cs: u64,
    pub eflags: u64,
    pub rsp: u64,
    pub ss: u64,
    pub fs_base: u64,
    pub gs_base: u64,
    pub ds: u64,
    pub es: u64,
    pub fs: u64,
    pub gs: u64,
}

impl Regs {
    /// The words of the kernel's `struct pt_regs` (`arch/x86/include/asm/ptrace.h`), in order.
    pub fn pt_regs(&self) -> [u64; 21] {
        [
            self.r15,
            self.r14,
            self.r13,
            self.r12,
            self.rbp,
            self.rbx,
            self.r11,
            self.r10,
            self.r9,
            self.r8,
            self.rax,
            self.rcx,
            self.rdx,
            self.rsi,
            self.rdi,
            self.orig_rax,
            self.rip,
            self.cs,
            self.eflags,
            self.rsp,
            self.ss,
        ]
    }
}
