//! Keeps a traced command unharmed however the program that traces it ends.
//!
//! A system call that the filter stops fails with ENOSYS once its tracer is gone, and a filter
//! cannot be taken away. So the process that the user started must not be the tracer: it may be
//! killed at any time. [`split`] makes two of it:
//!
//! * the **front** is what the user, the shell and `kill` see. It passes signals on, and ends with
//!   the worker's result;
//! * the **worker** does everything else: it is the tracer, and the parent of the command. When
//!   its work is done, or the front is gone, it withdraws ([`Worker::finish`]): it becomes a silent
//!   keeper that only resumes what it traces ([`crate::hooks::Engine::keep_until_gone`]) until the
//!   last of it is gone.
//!
//! Both stay in the process group that the shell made, so the terminal treats the command as if it
//! had been started directly.
#![allow(unsafe_code, reason = "fork, prctl and signal handlers; each block says why it is sound")]

use std::fs::OpenOptions;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::mem;
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

/// The worker's name. Not the program's: who kills that by name means the front.
const WORKER_NAME: &std::ffi::CStr = c"tracekeeper";

/// What is passed on to the worker when somebody sends it to the front.
const FORWARDED: [i32; 6] =
    [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2];
/// Job control from the terminal stops the front, for the shell to see, and the command. The
/// worker goes on: it has to report the command's stop.
const JOB_CONTROL: [i32; 3] = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

static WORKER: AtomicI32 = AtomicI32::new(0);
static FRONT: AtomicI32 = AtomicI32::new(0);
static MASK_BEFORE: OnceLock<u64> = OnceLock::new();

/// Which of the two processes this is.
#[derive(Debug)]
pub enum Role {
    /// The process that the user started.
    Front(Front),
    /// Its child, which does the work.
    Worker(Worker),
}

/// The process that the user started.
#[derive(Debug)]
pub struct Front {
    worker: i32,
    result: PipeReader,
}

/// The process that traces.
#[derive(Debug)]
pub struct Worker {
    result: PipeWriter,
}

/// How the front is to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// With this exit code.
    Exit(i32),
    /// The worker was killed by this signal before it had a result.
    Killed(i32),
}

/// Makes a front and a worker of this process. To be called early, while there is one thread.
pub fn split() -> io::Result<Role> {
    let (reader, writer) = io::pipe()?;
    let front = std::process::id() as i32;
    // No signal may come before both know what to do with it.
    let forwarded = set_of(&FORWARDED);
    let before = change_mask(libc::SIG_BLOCK, &forwarded)?;
    MASK_BEFORE.get_or_init(|| before);
    // SAFETY: the caller promises a single thread; both sides go on as ordinary processes.
    match unsafe { libc::fork() } {
        -1 => {
            let error = io::Error::last_os_error();
            change_mask(libc::SIG_SETMASK, &to_set(before))?;
            Err(error)
        }
        0 => {
            drop(reader);
            become_worker(front);
            change_mask(libc::SIG_SETMASK, &to_set(before))?;
            change_mask(libc::SIG_BLOCK, &set_of(&JOB_CONTROL))?;
            if front_is_gone() {
                // Killed before it was watched.
                return Err(io::Error::from(io::ErrorKind::BrokenPipe));
            }
            Ok(Role::Worker(Worker { result: writer }))
        }
        worker => {
            drop(writer);
            WORKER.store(worker, Ordering::Relaxed);
            for signal in FORWARDED {
                handle(signal, forward as *const () as usize, libc::SA_SIGINFO | libc::SA_RESTART)?;
            }
            change_mask(libc::SIG_SETMASK, &to_set(before))?;
            Ok(Role::Front(Front { worker, result: reader }))
        }
    }
}

/// Whether this is a worker whose front was killed: nobody reads what it prints any more. The news
/// come as a SIGTERM.
pub fn front_is_gone() -> bool {
    let front = FRONT.load(Ordering::Relaxed);
    // SAFETY: takes nothing and cannot fail.
    front != 0 && unsafe { libc::getppid() } != front
}

/// The blocked signals from before [`split`], bit 0 for signal 1: what commands start with.
pub(crate) fn mask_before_split() -> Option<u64> {
    MASK_BEFORE.get().copied()
}

impl Front {
    /// Waits for the worker's result; signals are passed on meanwhile.
    pub fn wait(mut self) -> Ending {
        let mut code = [0; 4];
        if self.result.read_exact(&mut code).is_ok() {
            return Ending::Exit(i32::from_ne_bytes(code));
        }
        let mut status = 0;
        loop {
            // SAFETY: `status` is a valid place for the status of our own child.
            if unsafe { libc::waitpid(self.worker, &mut status, 0) } == self.worker {
                break;
            }
            if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                return Ending::Exit(1);
            }
        }
        if libc::WIFSIGNALED(status) {
            Ending::Killed(libc::WTERMSIG(status))
        } else {
            Ending::Exit(libc::WEXITSTATUS(status))
        }
    }
}

impl Worker {
    /// Tells the front its exit code, and withdraws: standard input and output are let go of, and
    /// nothing but SIGKILL ends this process from now on. To be followed by
    /// [`crate::hooks::Engine::keep_until_gone`].
    pub fn finish(mut self, code: i32) {
        withdraw();
        // The front may have been killed.
        let _ = self.result.write_all(&code.to_ne_bytes());
    }
}

/// Lets go of everything that others could notice.
fn withdraw() {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null");
    for fd in 0..3 {
        // SAFETY: replaces or closes standard descriptors, which nothing of ours owns.
        unsafe {
            match &null {
                Ok(null) => libc::dup2(null.as_raw_fd(), fd),
                Err(_) => libc::close(fd),
            };
        }
    }
    for signal in FORWARDED.into_iter().chain([libc::SIGALRM, libc::SIGPIPE]) {
        // SAFETY: ignores a signal.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

fn become_worker(front: i32) {
    FRONT.store(front, Ordering::Relaxed);
    // SAFETY: passes numbers and a constant string.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, WORKER_NAME.as_ptr());
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
    }
}

/// Passes a signal on that was sent to the front alone. What comes from the terminal has reached
/// the worker as well (`si_code` is above zero then).
extern "C" fn forward(signal: i32, info: *const libc::siginfo_t, _context: *const libc::c_void) {
    let worker = WORKER.load(Ordering::Relaxed);
    // SAFETY: the kernel passes a valid `siginfo_t`; `kill` is safe in a handler. Who sent a
    // signal is only there when somebody did.
    unsafe {
        let errno = *libc::__errno_location();
        if worker > 0 && (*info).si_code <= 0 && (*info).si_pid() != worker {
            libc::kill(worker, signal);
        }
        *libc::__errno_location() = errno;
    }
}

fn handle(signal: i32, handler: usize, flags: i32) -> io::Result<()> {
    // SAFETY: all zeros is a valid `sigaction`; the handlers are async-signal-safe.
    let done = unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        libc::sigaction(signal, &action, ptr::null_mut())
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Changes the blocked signals; returns those from before.
fn change_mask(how: i32, set: &libc::sigset_t) -> io::Result<u64> {
    // SAFETY: both sets are valid.
    unsafe {
        let mut old: libc::sigset_t = mem::zeroed();
        if libc::sigprocmask(how, set, &mut old) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((1..=64)
            .filter(|&signal| libc::sigismember(&old, signal) == 1)
            .fold(0, |mask, signal| mask | 1 << (signal - 1)))
    }
}

fn set_of(signals: &[i32]) -> libc::sigset_t {
    to_set(signals.iter().fold(0, |mask, signal| mask | 1 << (signal - 1)))
}

fn to_set(mask: u64) -> libc::sigset_t {
    // SAFETY: a zeroed set is valid, and the numbers are in range (the C library refuses its own).
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in (1..=64).filter(|signal| mask >> (signal - 1) & 1 == 1) {
            libc::sigaddset(&mut set, signal);
        }
        set
    }
}
