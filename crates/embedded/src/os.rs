//! What the helpers need of the host's C library: clocks, ids, signals.
#![allow(unsafe_code, reason = "calls of the C library; each block says why it is sound")]

/// A clock of `clock_gettime(2)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Clock {
    Monotonic,
    /// As of the last tick.
    MonotonicCoarse,
    Boot,
    Tai,
    Realtime,
}

/// Nanoseconds on a clock.
pub(crate) fn now(clock: Clock) -> u64 {
    let id = match clock {
        Clock::Monotonic => libc::CLOCK_MONOTONIC,
        Clock::MonotonicCoarse => libc::CLOCK_MONOTONIC_COARSE,
        Clock::Boot => libc::CLOCK_BOOTTIME,
        Clock::Tai => libc::CLOCK_TAI,
        Clock::Realtime => libc::CLOCK_REALTIME,
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

/// Memory of this process below 4 GiB, zeros at first.
#[derive(Debug)]
pub(crate) struct LowMemory {
    start: std::ptr::NonNull<u8>,
    len: usize,
}

impl LowMemory {
    /// This many bytes; the error number when there are none.
    pub(crate) fn new(len: usize) -> Result<LowMemory, i32> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
        // SAFETY: a new mapping, at a place where nothing else is.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(libc::ENOMEM);
        }
        let start = std::ptr::NonNull::new(start.cast()).ok_or(libc::ENOMEM)?;
        Ok(LowMemory { start, len })
    }

    /// Where it starts.
    pub(crate) fn address(&self) -> u32 {
        // `MAP_32BIT` means the first 2 GiB.
        self.start.as_ptr() as usize as u32
    }
}

impl std::ops::Deref for LowMemory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping has `len` initialized bytes, and is ours for as long as `self` is.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl std::ops::DerefMut for LowMemory {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for LowMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nothing points to it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// The number of this thread's network namespace.
pub(crate) fn network_namespace() -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/thread-self/ns/net").ok().map(|found| found.ino())
}
