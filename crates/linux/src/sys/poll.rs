//! `epoll(7)`, `pidfd_open(2)`, `signalfd(2)`.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::{Errno, check, check_fd};

/// A set of descriptors to wait for, each with a number of the caller's.
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    pub(crate) fn new() -> Result<Epoll, Errno> {
        // SAFETY: the descriptor is new.
        unsafe { check_fd(libc::epoll_create1(libc::EPOLL_CLOEXEC).into()) }.map(Epoll)
    }

    /// Watches `fd` for something to read.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, token: u64) -> Result<(), Errno> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token };
        let add = libc::EPOLL_CTL_ADD;
        // SAFETY: `event` outlives the call.
        check(
            unsafe { libc::epoll_ctl(self.0.as_raw_fd(), add, fd.as_raw_fd(), &mut event) }.into(),
        )
        .map(drop)
    }

    /// Stops watching `fd`.
    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        let (remove, unused) = (libc::EPOLL_CTL_DEL, std::ptr::null_mut());
        // SAFETY: removing takes no event.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), remove, fd.as_raw_fd(), unused) }.into())
            .map(drop)
    }

    /// The numbers of what is ready, at least one unless the time is over or a signal handler ran.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> Result<Vec<u64>, Errno> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 16];
        // Rounded up: waking early would make the caller wait again, and again.
        let timeout = timeout
            .map_or(-1, |time| i32::try_from(time.as_micros().div_ceil(1000)).unwrap_or(i32::MAX));
        let room = events.len() as i32;
        // SAFETY: the kernel writes at most `room` events.
        let ready =
            unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), room, timeout) };
        match check(ready.into()) {
            Ok(count) => Ok(events[..count as usize].iter().map(|event| event.u64).collect()),
            Err(libc::EINTR) => Ok(Vec::new()),
            Err(errno) => Err(errno),
        }
    }
}

/// `pidfd_open(2)` (Linux 5.3): readable once the process is gone.
pub(crate) fn pidfd(pid: u32) -> Result<OwnedFd, Errno> {
    let pid = i32::try_from(pid).map_err(|_| libc::ESRCH)?;
    // SAFETY: there are no pointers; the descriptor is new.
    unsafe { check_fd(libc::syscall(libc::SYS_pidfd_open, pid, 0)) }
}

/// A signal mask.
#[derive(Clone, Copy)]
pub(crate) struct Mask(libc::sigset_t);

impl Mask {
    pub(crate) fn of(signals: &[i32]) -> Result<Mask, Errno> {
        // SAFETY: a signal set is plain bits; `sigemptyset` makes it valid whatever was there.
        let mut set = unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            set
        };
        for signal in signals {
            // SAFETY: `set` is a valid set.
            check(unsafe { libc::sigaddset(&mut set, *signal) }.into())?;
        }
        Ok(Mask(set))
    }

    /// Blocks these signals for the calling thread as well; gives the mask from before.
    pub(crate) fn block(&self) -> Result<Mask, Errno> {
        self.change(libc::SIG_BLOCK)
    }

    /// Makes this the calling thread's mask. Safe to call between `fork` and `execve`.
    pub(crate) fn restore(&self) -> Result<Mask, Errno> {
        self.change(libc::SIG_SETMASK)
    }

    fn change(&self, how: i32) -> Result<Mask, Errno> {
        // SAFETY: a signal set is plain bits.
        let mut before = Mask(unsafe { std::mem::zeroed() });
        // SAFETY: both sets outlive the call.
        match unsafe { libc::pthread_sigmask(how, &self.0, &mut before.0) } {
            0 => Ok(before),
            errno => Err(errno),
        }
    }

    /// A descriptor to read these signals from, without waiting.
    pub(crate) fn signalfd(&self) -> Result<OwnedFd, Errno> {
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: the set outlives the call; the descriptor is new.
        unsafe { check_fd(libc::signalfd(-1, &self.0, flags).into()) }
    }
}

/// The next signal from a `signalfd`, if there is one.
pub(crate) fn read_signal(signals: BorrowedFd<'_>) -> Option<i32> {
    // SAFETY: `struct signalfd_siginfo` is plain numbers.
    let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
    let size = size_of_val(&info);
    let to: *mut libc::signalfd_siginfo = &mut info;
    // SAFETY: the kernel writes whole structures only, here one at most.
    let got = unsafe { libc::read(signals.as_raw_fd(), to.cast(), size) };
    (got == size as isize).then_some(info.ssi_signo as i32)
}
