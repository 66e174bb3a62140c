//! One place to wait for everything that can happen.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use bombus_kernel::{Error, MapFd, Result, Wake};

use crate::error::errno_of;
use crate::sys::poll::Epoll;
use crate::{Linux, maps, spawn};

/// What is waited for.
pub(crate) struct Waiter {
    epoll: Epoll,
    signals: Option<OwnedFd>,
    /// The ring buffers that are in `epoll`.
    rings: Vec<MapFd>,
}

const SIGNALS: u64 = 0;
const TARGET: u64 = 1;
const RING: u64 = 2;

fn failed(errno: i32) -> Error {
    Error::os("wait for events", errno)
}

impl Waiter {
    pub(crate) fn new() -> Result<Waiter> {
        Ok(Waiter { epoll: Epoll::new().map_err(failed)?, signals: None, rings: Vec::new() })
    }

    /// Watches a `signalfd` instead of the one before.
    pub(crate) fn watch_signals(&mut self, signals: BorrowedFd<'_>) -> Result<()> {
        if let Some(before) = self.signals.take() {
            self.epoll.remove(before.as_fd()).map_err(failed)?;
        }
        let signals = signals.try_clone_to_owned().map_err(|error| failed(errno_of(&error)))?;
        self.epoll.add(signals.as_fd(), SIGNALS).map_err(failed)?;
        self.signals = Some(signals);
        Ok(())
    }

    /// Watches for the end of a process.
    pub(crate) fn watch_target(&mut self, pidfd: &OwnedFd) -> Result<()> {
        self.epoll.add(pidfd.as_fd(), TARGET).map_err(failed)
    }

    /// Stops watching for the end of a process.
    pub(crate) fn forget_target(&mut self, pidfd: &OwnedFd) {
        // Closing the descriptor removes it as well.
        let _ = self.epoll.remove(pidfd.as_fd());
    }

    fn watch_rings(&mut self, linux: &Linux, wanted: &[MapFd]) -> Result<()> {
        if self.rings == wanted {
            return Ok(());
        }
        for ring in self.rings.drain(..) {
            // Closing it has removed it as well.
            let Ok(map) = maps::get(linux, ring) else { continue };
            for readable in map.readable()? {
                self.epoll.remove(readable).map_err(failed)?;
            }
        }
        for ring in wanted {
            if !self.rings.contains(ring) {
                for readable in maps::get(linux, *ring)?.readable()? {
                    self.epoll.add(readable, RING).map_err(failed)?;
                }
                self.rings.push(*ring);
            }
        }
        Ok(())
    }
}

/// Waits until something happens. When several things have: signals first, then the end of the
/// target, then the deadline (records that keep coming must not delay it), then records; the
/// caller takes what is left in the ring buffers at its own end.
pub(crate) fn wait(linux: &Linux, wanted: &[MapFd], deadline: Option<Instant>) -> Result<Wake> {
    linux.waiter.borrow_mut().watch_rings(linux, wanted)?;
    loop {
        let timeout = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let ready = linux.waiter.borrow().epoll.wait(timeout).map_err(failed)?;
        match ready.into_iter().min() {
            Some(SIGNALS) => return Ok(Wake::Signal),
            Some(TARGET) => return Ok(Wake::TargetExited { status: spawn::collect(linux) }),
            _ if deadline.is_some_and(|at| at <= Instant::now()) => return Ok(Wake::Deadline),
            Some(_) => return Ok(Wake::Records),
            None => {}
        }
    }
}
