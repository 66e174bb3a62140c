//! Signals for this process, as something to wait for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use bombus_kernel::{Error, Result};

use crate::sys::poll::{Mask, read_signal};

/// The mask from before the first [`Signals::block`], which commands start with.
static ORIGINAL_MASK: OnceLock<Mask> = OnceLock::new();

/// Signals that are blocked, and read from a descriptor instead of being handled: none is lost
/// between two waits, and none interrupts a system call.
///
/// Pass it to [`bombus_kernel::Tracer::watch_signals`], and call [`Signals::take`] after each
/// [`bombus_kernel::Wake::Signal`] until it is empty. They stay blocked when this is dropped.
pub struct Signals {
    fd: OwnedFd,
}

impl Signals {
    /// Blocks these signals (numbers as the C library has them) for the calling thread and for
    /// the threads that it starts later: call it before there are any.
    pub fn block(signals: &[i32]) -> Result<Signals> {
        let error = |errno| Error::os("wait for signals", errno);
        let mask = Mask::of(signals).map_err(error)?;
        let before = mask.block().map_err(error)?;
        ORIGINAL_MASK.get_or_init(|| before);
        Ok(Signals { fd: mask.signalfd().map_err(error)? })
    }

    /// The next signal that came, if any. Never waits.
    pub fn take(&self) -> Option<i32> {
        read_signal(self.fd.as_fd())
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The mask that a command should start with; `None` when nothing was changed.
pub(crate) fn original_mask() -> Option<Mask> {
    ORIGINAL_MASK.get().copied()
}
