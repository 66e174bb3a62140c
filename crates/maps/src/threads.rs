//! The threads of this process as locks see them, see [`crate::bias`].
//!
//! What a thread says of itself stands in memory that is never freed, since others may look there
//! when the thread is gone; threads that come later use it, and inherit the number and every bias
//! with it.

use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::bias::{Presence, Thread, Threads};
use crate::sync;

/// Everybody who ever was.
struct Registry {
    presences: Vec<&'static Presence>,
    /// Numbers of threads that are gone.
    free: Vec<u32>,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry { presences: Vec::new(), free: Vec::new() });

thread_local! {
    static THIS: Cell<Option<Thread<'static>>> = const { Cell::new(None) };
    static ENLISTED: Enlisted = enlist();
}

/// A number that is given back when the thread ends.
struct Enlisted(Thread<'static>);

impl Drop for Enlisted {
    fn drop(&mut self) {
        // What other destructors of the thread do is done without a bias.
        THIS.set(None);
        registry().free.push(self.0.number);
    }
}

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

fn enlist() -> Enlisted {
    let Registry { presences, free } = &mut *registry();
    let number = free.pop().unwrap_or_else(|| {
        presences.push(Box::leak(Box::default()));
        presences.len() as u32
    });
    Enlisted(Thread { number, presence: presences[number as usize - 1] })
}

/// The threads of the process.
#[derive(Clone, Copy)]
pub(crate) struct OfProcess {
    /// Whether they can be given a bias.
    pub(crate) biased: bool,
}

impl OfProcess {
    /// This thread, unless it never came yet.
    #[inline(always)]
    pub(crate) fn known(self) -> Option<Thread<'static>> {
        THIS.get()
    }
}

impl Threads<'static> for OfProcess {
    /// As many locked instructions as a barrier of all threads takes.
    const ROW: u32 = 64;
    const NOTICE: u32 = 64;

    #[inline(always)]
    fn this(&self) -> Option<Thread<'static>> {
        if self.biased { self.known().or_else(first_time) } else { None }
    }

    fn presence(&self, number: u32) -> Option<&'static Presence> {
        registry().presences.get(number as usize - 1).copied()
    }
}

/// A thread that comes for the first time. None where the system has no barrier for all threads, so
/// that no lock can be taken back from one.
#[cold]
fn first_time() -> Option<Thread<'static>> {
    static BARRIER: OnceLock<bool> = OnceLock::new();
    if !BARRIER.get_or_init(sync::prepare_heavy_fence) {
        return None;
    }
    let this = ENLISTED.try_with(|enlisted| enlisted.0).ok()?;
    THIS.set(Some(this));
    Some(this)
}
