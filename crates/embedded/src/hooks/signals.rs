//! News of traced processes as something to poll.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use bombus_kernel::{Error, Result};

/// A descriptor that is readable when a traced process stopped or ended. The signal that says so is
/// blocked for this thread from then on.
#[derive(Debug)]
pub(crate) struct ChildSignals(OwnedFd);

impl ChildSignals {
    pub(crate) fn watch() -> Result<ChildSignals> {
        // SAFETY: a zeroed set is valid; the descriptor is new and nobody else's.
        let fd = unsafe {
            let mut set: libc::sigset_t = mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGCHLD);
            libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            match libc::signalfd(-1, &set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) {
                -1 => {
                    let errno = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
                    return Err(Error::os("watch for the traced processes", errno));
                }
                fd => OwnedFd::from_raw_fd(fd),
            }
        };
        Ok(ChildSignals(fd))
    }

    /// Takes the news: whoever asks for changes afterwards gets all of them.
    pub(crate) fn take(&self) {
        let mut news = [0u8; 4 * size_of::<libc::signalfd_siginfo>()];
        // SAFETY: the kernel writes at most as many bytes as `news` has.
        unsafe { libc::read(self.0.as_raw_fd(), news.as_mut_ptr().cast(), news.len()) };
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
