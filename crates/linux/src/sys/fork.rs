//! Forked children: the command that is held before its `execve`, and the one that closes
//! descriptors in the background. Between `fork` and the end, a child only does what is allowed
//! in a copy of a process with threads: system calls, and no allocation.

use std::ffi::{CStr, CString};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::mapping::SharedFlags;
use super::poll::Mask;
use super::{Errno, check, check_fd, errno, process};

/// A pipe: the end to read from, the end to write to.
fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let mut ends = [-1; 2];
    // SAFETY: the kernel writes two descriptors.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }.into())?;
    // SAFETY: both are new.
    unsafe { Ok((check_fd(ends[0].into())?, check_fd(ends[1].into())?)) }
}

/// Ends this process at once, without running anything of the parent's that we have a copy of.
fn exit(status: i32) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(status) }
}

/// Waits for a byte from `fd`; false when the other side has closed it instead.
fn await_byte(fd: RawFd) -> bool {
    let mut byte = 0u8;
    loop {
        // SAFETY: the kernel writes one byte at most.
        match unsafe { libc::read(fd, (&raw mut byte).cast(), 1) } {
            -1 if errno() == libc::EINTR => {}
            count => return count == 1,
        }
    }
}

/// A command to start, ready for `execve`.
pub(crate) struct Program {
    /// The file.
    pub(crate) path: CString,
    /// The arguments, the program's name first.
    pub(crate) argv: Vec<CString>,
    /// What the task is called until its `execve` (and the kernel after it, if it is the same).
    pub(crate) name: CString,
    /// Its signal mask.
    pub(crate) mask: Option<Mask>,
}

/// A child before its `execve`.
///
/// It waits in a `read`. The last moments before the `execve` are without system calls: woken up,
/// it raises [`AWAKE`] in shared memory and looks at [`GO`] until the parent has set it.
pub(crate) struct Held {
    pid: u32,
    /// A byte here wakes it up; closed without one, the child ends.
    wake: OwnedFd,
    /// Closed by the `execve`; an error number when that failed.
    report: OwnedFd,
    flags: SharedFlags,
}

/// Flag: the child is past its last system call before the `execve`.
const AWAKE: usize = 0;
/// Flag: 0 wait, 1 go, 2 give up.
const GO: usize = 1;

/// What the child reports when it is ready.
const READY: u8 = b'R';
/// Exit status of a child that never became its command.
const NOT_STARTED: i32 = 127;

impl Held {
    /// Starts the child and waits until it carries its name.
    pub(crate) fn spawn(program: &Program) -> Result<Held, Errno> {
        let (sleep, wake) = pipe()?;
        let (report, tell) = pipe()?;
        let flags = SharedFlags::new()?;
        let pointers = |words: &mut dyn Iterator<Item = &CString>| {
            let words = words.map(|word| word.as_ptr());
            words.chain([std::ptr::null()]).collect::<Vec<*const libc::c_char>>()
        };
        let argv = pointers(&mut program.argv.iter());
        // A file without a header that the kernel knows is a shell's script (execvp(3)).
        let shell = c"/bin/sh".to_owned();
        let args = program.argv.iter().skip(1);
        let shell_argv = pointers(&mut [&shell, &program.path].into_iter().chain(args));
        // SAFETY: the child keeps to `Held::child`, which never returns.
        match check(unsafe { libc::fork() }.into())? {
            0 => {
                // SAFETY: closing our copies of the parent's ends; nobody uses them here.
                unsafe {
                    libc::close(wake.as_raw_fd());
                    libc::close(report.as_raw_fd());
                }
                Held::child(program, &argv, &shell_argv, sleep.as_raw_fd(), &tell, &flags)
            }
            pid => {
                drop((sleep, tell));
                let held = Held { pid: pid as u32, wake, report, flags };
                let mut ready = [0];
                match held.read_report(&mut ready) {
                    Ok(1) => Ok(held),
                    Ok(_) => Err(libc::ESRCH),
                    Err(errno) => Err(errno),
                }
            }
        }
    }

    fn child(
        program: &Program,
        argv: &[*const libc::c_char],
        shell_argv: &[*const libc::c_char],
        sleep: RawFd,
        tell: &OwnedFd,
        flags: &SharedFlags,
    ) -> ! {
        let parent = std::os::unix::process::parent_id();
        let say = |bytes: &[u8]| {
            // SAFETY: reads the bytes of a live slice.
            unsafe { libc::write(tell.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
        };
        // SAFETY: the name is a C string. Rust's runtime ignores SIGPIPE, which an `execve` would
        // pass on; handlers go back to the default by themselves.
        unsafe {
            libc::prctl(libc::PR_SET_NAME, program.name.as_ptr());
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        }
        if let Some(mask) = &program.mask {
            let _ = mask.restore();
        }
        say(&[READY]);
        if !await_byte(sleep) {
            exit(NOT_STARTED);
        }
        let go = flags.flag(GO);
        flags.flag(AWAKE).store(1, Ordering::Release);
        let mut looks: u64 = 0;
        while go.load(Ordering::Acquire) == 0 {
            std::hint::spin_loop();
            looks += 1;
            // The parent answers within microseconds. When it has died instead (some tenths of a
            // second of looking), do not spin for ever.
            if looks.is_multiple_of(1 << 24) && std::os::unix::process::parent_id() != parent {
                exit(NOT_STARTED);
            }
        }
        if go.load(Ordering::Acquire) != 1 {
            exit(NOT_STARTED);
        }
        // SAFETY: paths are C strings, argument vectors end with a null pointer; both are the
        // parent's, in our copy of its memory.
        unsafe {
            libc::execv(program.path.as_ptr(), argv.as_ptr());
            if errno() == libc::ENOEXEC {
                libc::execv(c"/bin/sh".as_ptr(), shell_argv.as_ptr());
            }
        }
        say(&errno().to_ne_bytes());
        exit(NOT_STARTED)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    fn read_report(&self, to: &mut [u8]) -> Result<usize, Errno> {
        let file =
            self.report.try_clone().map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
        let mut file = std::fs::File::from(file);
        let mut read = 0;
        while read < to.len() {
            match file.read(&mut to[read..]) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.raw_os_error().unwrap_or(libc::EIO)),
            }
        }
        Ok(read)
    }

    /// Lets the child go on to its `execve`, with `before` called right before that. The outer
    /// error is about the child, the inner result is `before`'s.
    pub(crate) fn release<E>(
        self,
        before: impl FnOnce(u32) -> Result<(), E>,
    ) -> Result<Result<(), E>, Errno> {
        let mut wake = std::fs::File::from(
            self.wake.try_clone().map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?,
        );
        if wake.write_all(&[1]).is_err() {
            // Somebody has killed it.
            let _ = process::wait_for(self.pid);
            return Err(libc::ESRCH);
        }
        // The child needs a moment to be scheduled; leave it the CPU if there is only one.
        while self.flags.flag(AWAKE).load(Ordering::Acquire) == 0 {
            if process::try_wait(self.pid)?.is_some() {
                return Err(libc::ESRCH);
            }
            std::thread::yield_now();
        }
        let outcome = before(self.pid);
        self.flags.flag(GO).store(if outcome.is_ok() { 1 } else { 2 }, Ordering::Release);
        let mut failure = [0; 4];
        let read = self.read_report(&mut failure)?;
        if outcome.is_err() || read == failure.len() {
            let _ = process::wait_for(self.pid);
        }
        if read == failure.len() { Err(Errno::from_ne_bytes(failure)) } else { Ok(outcome) }
    }

    /// Ends the child.
    pub(crate) fn give_up(self) {
        let pid = self.pid;
        drop(self);
        let _ = process::wait_for(pid);
    }
}

/// How many children at most close links at the same time.
const CLOSERS: usize = 64;

/// Closes links and then perf events in processes of their own, which outlive this one if need be.
///
/// Why: the last `close` of a link on a perf event first takes the program off the event and then
/// waits for a grace period of tasks-trace RCU; that of a tracepoint's event waits for one more,
/// with a global mutex held. Measured on Linux 6.18: 30 ms and 40 ms each, one after the other:
/// 25 s for the 360 `sys_enter_*`. (Disabling a perf event does not stop the programs on a
/// tracepoint: they belong to the tracepoint, not to the event.)
///
/// So a child inherits the descriptors. This process closes its copies, which are then not the
/// last ones and cost nothing; that is also the child's sign to start. It closes links from many
/// processes that share one descriptor table: their grace periods run at the same time, and every
/// program is off its event within a millisecond or so. The events, without programs and disabled,
/// go one after the other when the child exits.
///
/// Returns once every link is being closed, or after `patience`. Programs may fire until then.
pub(crate) fn close_in_background(
    links: Vec<OwnedFd>,
    events: Vec<OwnedFd>,
    patience: Duration,
) -> Result<(), Errno> {
    let deadline = Instant::now() + patience;
    let (start, hold) = pipe()?;
    let flags = SharedFlags::new()?;
    let link_fds: Vec<RawFd> = links.iter().map(AsRawFd::as_raw_fd).collect();
    let mut kept: Vec<RawFd> = link_fds.clone();
    kept.extend(events.iter().map(AsRawFd::as_raw_fd));
    kept.extend([start.as_raw_fd(), hold.as_raw_fd()]);
    kept.sort_unstable();
    // SAFETY: the child keeps to what is allowed, and never returns.
    let child = match check(unsafe { libc::fork() }.into())? {
        // A child of a child is nobody's to wait for.
        // SAFETY: as above.
        0 => match unsafe { libc::fork() } {
            0 => closer(&link_fds, &kept, start.as_raw_fd(), hold.as_raw_fd(), &flags),
            -1 => exit(1),
            _ => exit(0),
        },
        pid => pid as u32,
    };
    let status = process::wait_for(child)?;
    if status != Some(0) {
        return Err(libc::EAGAIN);
    }
    let count = links.len() as u32;
    drop((links, events));
    drop((start, hold));
    let closing = flags.flag(CLOSING);
    while closing.load(Ordering::Acquire) < count && Instant::now() < deadline {
        std::thread::sleep(Duration::from_micros(50));
    }
    Ok(())
}

/// Flag: how many links are being closed.
const CLOSING: usize = 0;

fn closer(links: &[RawFd], kept: &[RawFd], start: RawFd, hold: RawFd, flags: &SharedFlags) -> ! {
    let name: &CStr = c"bombus-detach";
    // SAFETY: the name is a C string.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
    // Keep nothing else open: somebody may wait for the end of a pipe that is our output too.
    close_all_but(kept);
    close(hold);
    let closing = flags.flag(CLOSING);
    let workers = links.len().min(CLOSERS);
    for worker in 1..workers {
        // SAFETY: without a stack of its own this is `fork`, but with one descriptor table.
        let pid = unsafe {
            libc::syscall(libc::SYS_clone, libc::CLONE_FILES | libc::SIGCHLD, 0, 0, 0, 0)
        };
        match pid {
            0 => {
                await_byte(start);
                close_share(links, worker, workers, closing);
                exit(0);
            }
            -1 => {
                await_byte(start);
                close_share(links, worker, workers, closing);
            }
            _ => {}
        }
    }
    await_byte(start);
    close_share(links, 0, workers.max(1), closing);
    // SAFETY: collects children, asks for no status.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) } > 0 {}
    exit(0)
}

/// Closes every `workers`-th link.
fn close_share(links: &[RawFd], worker: usize, workers: usize, closing: &AtomicU32) {
    for fd in links.iter().skip(worker).step_by(workers) {
        closing.fetch_add(1, Ordering::AcqRel);
        close(*fd);
    }
}

fn close(fd: RawFd) {
    // SAFETY: in a forked child, where nobody uses the descriptor afterwards.
    unsafe { libc::close(fd) };
}

/// Closes every descriptor but these, which are sorted.
fn close_all_but(kept: &[RawFd]) {
    let mut from = 0;
    for fd in kept.iter().copied().chain([RawFd::MAX]) {
        if from < fd {
            let last = if fd == RawFd::MAX { libc::c_uint::MAX } else { fd as libc::c_uint - 1 };
            // SAFETY: no pointers. Before Linux 5.9 the call is missing, and the descriptors stay
            // open until the child exits.
            unsafe { libc::syscall(libc::SYS_close_range, from as libc::c_uint, last, 0) };
        }
        from = fd.saturating_add(1);
    }
}
