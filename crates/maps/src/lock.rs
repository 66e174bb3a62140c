//! Locks that are held for some instructions only.
//!
//! A holder can lose its CPU, so whoever waits gives up its own after a while.

use crate::sync::{AtomicU32, Ordering, fence, spin_loop, yield_now};

/// How often a waiter looks before it lets others run.
const SPINS: u32 = 16;

/// Waits, longer the more often it was called: who has the lock's cache line shall be able to do
/// several things with it before it moves.
#[cold]
pub(crate) fn wait(round: &mut u32) {
    *round += 1;
    if *round < SPINS {
        for _ in 0..1 << (*round).min(5) {
            spin_loop();
        }
    } else {
        yield_now();
    }
}

/// A lock that counts its holders: odd while there is one. Readers that do not take it see by the
/// count whether what they read may have changed under them.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct SequenceLock(AtomicU32);

/// The count, as a reader found it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sequence(u32);

impl SequenceLock {
    /// Takes the lock.
    #[inline]
    pub(crate) fn lock(&self) -> Held<'_> {
        let mut round = 0;
        loop {
            let count = self.0.load(Ordering::Relaxed);
            if count & 1 == 0
                && self
                    .0
                    .compare_exchange_weak(count, count + 1, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
            {
                // A reader that sees a write of this holder sees the odd count, too.
                fence(Ordering::Release);
                return Held { lock: &self.0, count };
            }
            wait(&mut round);
        }
    }

    /// Takes it where another lock is held anyway that keeps all other writers out.
    #[inline(always)]
    pub(crate) fn change(&self) -> Held<'_> {
        let count = self.0.load(Ordering::Relaxed);
        self.0.store(count.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        Held { lock: &self.0, count }
    }

    /// The count before reading.
    #[inline]
    pub(crate) fn begin(&self) -> Sequence {
        Sequence(self.0.load(Ordering::Acquire))
    }

    /// Whether nobody has held the lock since.
    #[inline]
    pub(crate) fn unchanged(&self, since: Sequence) -> bool {
        fence(Ordering::Acquire);
        since.0 & 1 == 0 && self.0.load(Ordering::Relaxed) == since.0
    }
}

/// The lock is held as long as this lives.
pub(crate) struct Held<'a> {
    lock: &'a AtomicU32,
    count: u32,
}

impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        self.lock.store(self.count.wrapping_add(2), Ordering::Release);
    }
}
