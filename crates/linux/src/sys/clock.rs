//! Clocks.

use std::time::Duration;

use bombus_kernel::inspect::Moment;

/// What a clock says.
fn read(clock: libc::clockid_t) -> libc::timespec {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to `now` alone.
    unsafe { libc::clock_gettime(clock, &mut now) };
    now
}

/// The processor time that this thread has had.
pub(crate) fn processor_time() -> Duration {
    let now = read(libc::CLOCK_THREAD_CPUTIME_ID);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// The moment so many nanoseconds after boot.
pub(crate) fn after_boot(nanoseconds: u64) -> Moment {
    let now = |clock| {
        let now = read(clock);
        i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
    };
    let boot = now(libc::CLOCK_REALTIME) - now(libc::CLOCK_BOOTTIME);
    let unix_seconds = ((boot + i128::from(nanoseconds)) / 1_000_000_000) as i64;
    // SAFETY: all fields of `tm` are integers or a pointer, for which zeros are values.
    let mut local: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both arguments are valid for the call.
    let known = unsafe { libc::localtime_r(&unix_seconds, &mut local) };
    let utc_offset = if known.is_null() { 0 } else { local.tm_gmtoff as i32 };
    Moment { unix_seconds, utc_offset }
}
