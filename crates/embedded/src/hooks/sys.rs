//! The system calls of tracing, each as a safe function: `ptrace(2)`, `waitpid(2)` and the few
//! that go with them. Tracees may be killed at any moment; [`libc::ESRCH`] is a normal answer.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use super::Regs;

/// An error number.
pub(super) type Errno = i32;

/// `PTRACE_EVENT_STOP` (`include/uapi/linux/ptrace.h`); the libc crate lacks it on some targets.
pub(super) const EVENT_STOP: i32 = 128;

// Requests (`include/uapi/linux/ptrace.h`); the libc crate's types differ between C libraries.
const CONT: u32 = 7;
const GETREGS: u32 = 12;
const SETREGS: u32 = 13;
const DETACH: u32 = 17;
const SYSCALL: u32 = 24;
const GETEVENTMSG: u32 = 0x4201;
const GETSIGINFO: u32 = 0x4202;
const SEIZE: u32 = 0x4206;
const INTERRUPT: u32 = 0x4207;
const LISTEN: u32 = 0x4208;
const GETSIGMASK: u32 = 0x420a;
const SETSIGMASK: u32 = 0x420b;
const GET_SYSCALL_INFO: u32 = 0x420e;
const GET_RSEQ_CONFIGURATION: u32 = 0x420f;

/// How `PTRACE_CONT` and its relatives let a task go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Resume {
    /// Until the next event.
    Continue = CONT as isize,
    /// Until the next event, or the next entry or return of a system call.
    Syscall = SYSCALL as isize,
}

/// A task's change of state, from `waitpid`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Change {
    /// Thread id.
    pub(super) tid: u32,
    /// The wait status.
    pub(super) status: i32,
}

impl Change {
    /// The signal and the `PTRACE_EVENT_*` (0: none) of a stop; `None` when the task ended.
    pub(super) fn stop(self) -> Option<(i32, i32)> {
        libc::WIFSTOPPED(self.status).then(|| (libc::WSTOPSIG(self.status), self.status >> 16))
    }
}

/// What `PTRACE_GET_SYSCALL_INFO` tells (`struct ptrace_syscall_info`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SyscallInfo {
    /// Not in a system call.
    None,
    /// At the entry, or stopped by the filter there.
    Entry { nr: u64, args: [u64; 6], compat: bool },
    /// At the return.
    Exit { ret: i64, compat: bool },
}

fn errno() -> Errno {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

/// # Safety
/// When the request writes through `data`, it must point to memory that may take it.
unsafe fn ptrace(request: u32, tid: u32, addr: usize, data: usize) -> Result<i64, Errno> {
    // SAFETY: the kernel checks every argument but the memory behind `data`, which is the
    // caller's promise.
    match unsafe { libc::syscall(libc::SYS_ptrace, request, tid, addr, data) } {
        -1 => Err(errno()),
        value => Ok(value),
    }
}

/// A request that passes `data` by value.
fn ptrace_value(request: u32, tid: u32, addr: usize, data: usize) -> Result<i64, Errno> {
    // SAFETY: callers give requests that write to no memory of ours.
    unsafe { ptrace(request, tid, addr, data) }
}

/// A request that fills a value of type `T` (plain data).
fn ptrace_get<T: Copy>(request: u32, tid: u32, addr: usize) -> Result<(T, i64), Errno> {
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: `value` is writable and as large as `T`; callers choose `T` by the request.
    let length = unsafe { ptrace(request, tid, addr, value.as_mut_ptr() as usize) }?;
    // SAFETY: `T` is plain data, and was zeroed before.
    Ok((unsafe { value.assume_init() }, length))
}

/// `PTRACE_SEIZE`: the task goes on running.
pub(super) fn seize(tid: u32, options: i32) -> Result<(), Errno> {
    ptrace_value(SEIZE, tid, 0, options as usize).map(drop)
}

/// Stops a running task soon.
pub(super) fn interrupt(tid: u32) -> Result<(), Errno> {
    ptrace_value(INTERRUPT, tid, 0, 0).map(drop)
}

/// Leaves a task in its group stop, and listens for the end of it.
pub(super) fn listen(tid: u32) -> Result<(), Errno> {
    ptrace_value(LISTEN, tid, 0, 0).map(drop)
}

/// Lets a stopped task go on, with this signal (0: none).
pub(super) fn resume(tid: u32, how: Resume, signal: i32) -> Result<(), Errno> {
    ptrace_value(how as u32, tid, 0, signal as usize).map(drop)
}

/// Lets go of a stopped task, with this signal (0: none).
pub(super) fn detach(tid: u32, signal: i32) -> Result<(), Errno> {
    ptrace_value(DETACH, tid, 0, signal as usize).map(drop)
}

/// The number that goes with an event: a new task's id, an exit code, the filter's data.
pub(super) fn event_message(tid: u32) -> Result<u64, Errno> {
    ptrace_get::<u64>(GETEVENTMSG, tid, 0).map(|(message, _)| message)
}

/// What the signal of a signal-delivery-stop says: `si_errno`, `si_code`.
pub(super) fn signal_info(tid: u32) -> Result<(i32, i32), Errno> {
    let (info, _) = ptrace_get::<libc::siginfo_t>(GETSIGINFO, tid, 0)?;
    Ok((info.si_errno, info.si_code))
}

/// The registers of a stopped task.
pub(super) fn get_regs(tid: u32) -> Result<Regs, Errno> {
    ptrace_get::<Regs>(GETREGS, tid, 0).map(|(regs, _)| regs)
}

/// Sets the registers of a stopped task.
pub(super) fn set_regs(tid: u32, regs: &Regs) -> Result<(), Errno> {
    ptrace_value(SETREGS, tid, 0, ptr::from_ref(regs) as usize).map(drop)
}

/// The blocked signals of a stopped task.
pub(super) fn get_signal_mask(tid: u32) -> Result<u64, Errno> {
    ptrace_get::<u64>(GETSIGMASK, tid, size_of::<u64>()).map(|(mask, _)| mask)
}

/// Sets the blocked signals of a stopped task.
pub(super) fn set_signal_mask(tid: u32, mask: u64) -> Result<(), Errno> {
    ptrace_value(SETSIGMASK, tid, size_of::<u64>(), ptr::from_ref(&mask) as usize).map(drop)
}

/// The system call that a stopped task is in.
pub(super) fn syscall_info(tid: u32) -> Result<SyscallInfo, Errno> {
    #[derive(Clone, Copy)]
    #[repr(C)]
    struct Info {
        op: u8,
        reserved: u8,
        flags: u16,
        arch: u32,
        instruction_pointer: u64,
        stack_pointer: u64,
        words: [u64; 8],
    }
    let (info, _) = ptrace_get::<Info>(GET_SYSCALL_INFO, tid, size_of::<Info>())?;
    let compat = info.arch != super::filter::AUDIT_ARCH_X86_64;
    Ok(match info.op {
        1 | 3 => {
            let mut args = [0; 6];
            args.copy_from_slice(&info.words[1..7]);
            SyscallInfo::Entry { nr: info.words[0], args, compat }
        }
        2 => SyscallInfo::Exit { ret: info.words[0] as i64, compat },
        _ => SyscallInfo::None,
    })
}

/// Where the task's `struct rseq` is; `None` when it has registered none.
pub(super) fn rseq_address(tid: u32) -> Result<Option<u64>, Errno> {
    #[derive(Clone, Copy)]
    #[repr(C)]
    struct Configuration {
        pointer: u64,
        size: u32,
        signature: u32,
        flags: u32,
        pad: u32,
    }
    let size = size_of::<Configuration>();
    let (found, _) = ptrace_get::<Configuration>(GET_RSEQ_CONFIGURATION, tid, size)?;
    Ok((found.pointer != 0).then_some(found.pointer))
}

fn waitpid(pid: i32, flags: i32) -> Result<Option<Change>, Errno> {
    let mut status = 0;
    // SAFETY: `status` is a valid place for the status.
    match unsafe { libc::waitpid(pid, &mut status, flags | libc::__WALL) } {
        -1 => Err(errno()),
        0 => Ok(None),
        tid => Ok(Some(Change { tid: tid as u32, status })),
    }
}

/// Waits for any task. `EINTR`: a signal handler ran. `ECHILD`: there is nothing to wait for.
pub(super) fn wait_any() -> Result<Change, Errno> {
    waitpid(-1, 0).map(|change| change.unwrap_or(Change { tid: 0, status: 0 }))
}

/// Takes the next change of any task, when there is one.
pub(super) fn poll_any() -> Result<Option<Change>, Errno> {
    waitpid(-1, libc::WNOHANG)
}

/// How often this thread lost its CPU to another task without having asked for it.
pub(super) fn times_preempted() -> i64 {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is writable and as large as a `struct rusage`, which is plain data and was
    // zeroed before.
    unsafe {
        libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr());
        usage.assume_init().ru_nivcsw
    }
}

/// Waits for one task, whatever signals come.
pub(super) fn wait_for(tid: u32) -> Result<Change, Errno> {
    loop {
        match waitpid(tid as i32, 0) {
            Err(libc::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(change) => return Ok(change.unwrap_or(Change { tid, status: 0 })),
        }
    }
}

/// The signals that this thread blocks, bit 0 for signal 1.
pub(super) fn blocked_signals() -> u64 {
    let mut mask = 0u64;
    // SAFETY: the kernel writes eight bytes, and reads no set.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, 0, ptr::null::<u64>(), &mut mask, size_of::<u64>())
    };
    mask
}

/// Sends a signal to a thread.
pub(super) fn send_signal(pid: u32, tid: u32, signal: i32) {
    // SAFETY: passes numbers only. That the thread is gone is no error.
    unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, signal) };
}

/// Whether a path exists, without following what it means.
pub(super) fn exists(path: &std::ffi::CStr) -> bool {
    // SAFETY: `path` is a string with a closing zero.
    unsafe { libc::access(path.as_ptr(), libc::F_OK) == 0 }
}

/// Whether this process may execute the file.
pub(super) fn may_execute(path: &std::ffi::CStr) -> Result<(), Errno> {
    // SAFETY: `path` is a string with a closing zero.
    match unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::X_OK, libc::AT_EACCESS) } {
        0 => Ok(()),
        _ => Err(errno()),
    }
}

/// Sleeps until `fd` is readable, a signal handler ran, or the time is over. Whether it is
/// readable.
pub(super) fn poll_readable(fd: Option<i32>, timeout: std::time::Duration) -> bool {
    let mut polled = libc::pollfd { fd: fd.unwrap_or(-1), events: libc::POLLIN, revents: 0 };
    let timeout = libc::timespec {
        tv_sec: timeout.as_secs() as libc::time_t,
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: one `pollfd` and one `timespec`, both valid; no signal mask.
    let ready = unsafe { libc::ppoll(&mut polled, 1, &timeout, ptr::null()) };
    ready > 0 && polled.revents & libc::POLLIN != 0
}
