//! What the helpers need of the host's C library: clocks, ids, signals.
#![allow(unsafe_code, reason = "calls of the C library; each block says why it is sound")]

/// A clock of `clock_gettime(2)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Clock {
    Monotonic,
    Boot,
    Tai,
}

/// Nanoseconds on a clock.
pub(crate) fn now(clock: Clock) -> u64 {
    let id = match clock {
        Clock::Monotonic => libc::CLOCK_MONOTONIC,
        Clock::Boot => libc::CLOCK_BOOTTIME,
        Clock::Tai => libc::CLOCK_TAI,
    };
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a timespec that the call may write; it keeps no pointer to it.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The thread that runs this.
pub(crate) fn thread_id() -> u32 {
    // SAFETY: takes nothing, touches no memory.
    unsafe { libc::gettid() as u32 }
}

/// Real user and group of this process.
pub(crate) fn user_and_group() -> (u32, u32) {
    // SAFETY: take nothing, touch no memory.
    unsafe { (libc::getuid(), libc::getgid()) }
}

/// The CPU that runs this.
pub(crate) fn current_cpu() -> u32 {
    // SAFETY: takes nothing, touches no memory of ours.
    u32::try_from(unsafe { libc::sched_getcpu() }).unwrap_or(0)
}

/// Sends a signal to a process; the error number when that fails.
pub(crate) fn kill(pid: u32, signal: i32) -> Result<(), i32> {
    let Some(pid) = i32::try_from(pid).ok().filter(|&pid| pid > 0) else {
        return Err(libc::ESRCH);
    };
    // SAFETY: touches no memory. `pid` names one process, never a group.
    match unsafe { libc::kill(pid, signal) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EPERM)),
    }
}
