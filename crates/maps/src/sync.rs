//! What threads synchronise by, in one place: `tests/interleavings.rs` compiles the modules that use
//! it with those of a model checker instead.

pub(crate) use std::hint::spin_loop;
pub(crate) use std::sync::atomic::{AtomicU32, Ordering, fence};
pub(crate) use std::thread::yield_now;

use std::sync::atomic::compiler_fence;

/// Leaves the CPU to others for about as long as so many turns of a waiting loop take.
pub(crate) fn rest(turns: u32) {
    std::thread::sleep(std::time::Duration::from_nanos(50) * turns);
}

/// A barrier that costs nothing, and only is one against [`heavy_fence`] of other threads.
#[inline(always)]
pub(crate) fn light_fence() {
    compiler_fence(Ordering::SeqCst);
}

/// A barrier that every thread of the process passes through, wherever it is.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) fn heavy_fence() {
    // Another than this may have forked the process, or have changed what system calls it may do.
    let done = membarrier(PRIVATE_EXPEDITED)
        || prepare_heavy_fence() && membarrier(PRIVATE_EXPEDITED)
        || membarrier(GLOBAL);
    if !done {
        // Nothing that promises it is left. No store waits that long to be seen.
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    fence(Ordering::SeqCst);
}

/// Tells the system that [`heavy_fence`] will be used; `false` if it has none.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) fn prepare_heavy_fence() -> bool {
    membarrier(REGISTER_PRIVATE_EXPEDITED)
}

/// Commands of `membarrier(2)` (`linux/membarrier.h`).
#[cfg(all(target_os = "linux", not(miri)))]
const GLOBAL: i32 = 1;
#[cfg(all(target_os = "linux", not(miri)))]
const PRIVATE_EXPEDITED: i32 = 1 << 3;
#[cfg(all(target_os = "linux", not(miri)))]
const REGISTER_PRIVATE_EXPEDITED: i32 = 1 << 4;

#[cfg(all(target_os = "linux", not(miri)))]
fn membarrier(command: i32) -> bool {
    // SAFETY: it takes no pointers.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
pub(crate) fn heavy_fence() {
    fence(Ordering::SeqCst);
}

#[cfg(not(all(target_os = "linux", not(miri))))]
pub(crate) fn prepare_heavy_fence() -> bool {
    false
}
