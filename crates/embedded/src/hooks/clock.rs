//! Interrupts a blocking `waitpid` in time, and again until it is noticed.
//!
//! A timer signal that comes just before `waitpid` begins would be lost. So the timer repeats: the
//! worst that a lost one costs is the next tick. The same ticks notice signals in a `signalfd`,
//! which `waitpid` cannot watch.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The rhythm when nothing is due.
pub(super) const TICK: Duration = Duration::from_millis(20);
/// The rhythm from a deadline on.
const INSIST: Duration = Duration::from_millis(1);

static TICKED: AtomicBool = AtomicBool::new(false);

extern "C" fn tick(_signal: i32) {
    TICKED.store(true, Ordering::Relaxed);
}

/// The signal, near the end of the real-time ones so that it meets no other use.
fn signal() -> i32 {
    libc::SIGRTMAX() - 4
}

/// A timer that interrupts the thread that made it.
#[derive(Debug)]
pub(super) struct Clock {
    timer: i32,
}

impl Clock {
    /// A timer that is not running.
    pub(super) fn new() -> io::Result<Clock> {
        // SAFETY: all zeros is a valid `sigaction`; the handler only stores to an atomic; without
        // SA_RESTART so that `waitpid` comes back.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = tick as *const () as usize;
            if libc::sigaction(signal(), &action, ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        let mut timer = 0;
        // SAFETY: all zeros is a valid `sigevent`; the kernel writes one `int` to `timer`.
        let made = unsafe {
            let mut event: libc::sigevent = std::mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = signal();
            event.sigev_notify_thread_id = libc::gettid();
            libc::syscall(libc::SYS_timer_create, libc::CLOCK_MONOTONIC, &event, &mut timer)
        };
        if made == 0 { Ok(Clock { timer }) } else { Err(io::Error::last_os_error()) }
    }

    /// Ticks from now on, and at the deadline if that is sooner.
    pub(super) fn run(&self, deadline: Option<Instant>) {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match left {
            Some(left) if left < TICK => self.set(left.max(Duration::from_nanos(1)), INSIST),
            _ => self.set(TICK, TICK),
        }
    }

    /// Stops ticking.
    pub(super) fn halt(&self) {
        self.set(Duration::ZERO, Duration::ZERO);
        TICKED.store(false, Ordering::Relaxed);
    }

    /// Whether there was a tick since the last question.
    pub(super) fn ticked(&self) -> bool {
        TICKED.load(Ordering::Relaxed) && TICKED.swap(false, Ordering::Relaxed)
    }

    fn set(&self, first: Duration, interval: Duration) {
        let spec = |duration: Duration| libc::timespec {
            tv_sec: duration.as_secs() as libc::time_t,
            tv_nsec: duration.subsec_nanos().into(),
        };
        let times = libc::itimerspec { it_interval: spec(interval), it_value: spec(first) };
        // SAFETY: the timer is ours, `times` is valid, the old value is not wanted. It cannot fail
        // with values in range.
        unsafe {
            libc::syscall(
                libc::SYS_timer_settime,
                self.timer,
                0,
                &times,
                ptr::null_mut::<libc::itimerspec>(),
            );
        }
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        // SAFETY: the timer is ours and not used afterwards.
        unsafe { libc::syscall(libc::SYS_timer_delete, self.timer) };
    }
}
