//! The few things that only the C library gives: signals as a file, clocks, and dates.
//!
//! The crate's only unsafe code.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Signals that arrive through a file instead of a handler, so that none gets lost.
#[derive(Debug)]
pub struct Signals {
    file: OwnedFd,
}

impl Signals {
    /// Blocks the signals and opens a `signalfd(2)` for them. Call it before the process has a
    /// second thread: the mask belongs to the thread, and threads inherit it.
    pub fn catch(signals: &[i32]) -> io::Result<Signals> {
        let set = signal_set(signals);
        // SAFETY: `set` is an initialised signal set that outlives the calls; the descriptor is
        // new and nobody else's.
        unsafe {
            let failed = libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            if failed != 0 {
                return Err(io::Error::from_raw_os_error(failed));
            }
            let file = libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if file < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Signals { file: OwnedFd::from_raw_fd(file) })
        }
    }

    /// The signals that came since the last call.
    pub fn take(&self) -> Vec<i32> {
        let mut taken = Vec::new();
        loop {
            let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
            let size = size_of::<libc::signalfd_siginfo>();
            // SAFETY: the kernel writes at most `size` bytes into `info`, which has that many.
            let read = unsafe { libc::read(self.file.as_raw_fd(), info.as_mut_ptr().cast(), size) };
            if read != size as isize {
                return taken;
            }
            // SAFETY: the whole structure was just filled in; it is plain integers.
            taken.push(unsafe { info.assume_init() }.ssi_signo as i32);
        }
    }

    /// Lets these signals do again what they do by default.
    pub fn release(&self, signals: &[i32]) {
        let set = signal_set(signals);
        // SAFETY: `set` is an initialised signal set; the default dispositions need no handler.
        unsafe {
            signals.iter().for_each(|&signal| {
                libc::signal(signal, libc::SIG_DFL);
            });
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
        }
    }
}

impl Signals {
    /// As [`Signals::release`], but these signals only throw away what is still to be written: the
    /// standard output and error lead nowhere from then on, and a write that waits for its reader
    /// is tried again there.
    pub fn release_to_silence(&self, signals: &[i32]) {
        extern "C" fn silence(_signal: i32) {
            // SAFETY: `open`, `dup2` and `close` may be called in a handler (signal-safety(7)); the
            // name ends with a zero, and `errno` is put back for whoever was interrupted.
            unsafe {
                let errno = *libc::__errno_location();
                let null = libc::open(c"/dev/null".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
                if null >= 0 {
                    libc::dup2(null, libc::STDOUT_FILENO);
                    libc::dup2(null, libc::STDERR_FILENO);
                    libc::close(null);
                }
                *libc::__errno_location() = errno;
            }
        }
        let set = signal_set(signals);
        // SAFETY: a zeroed `sigaction` is valid: no flags, so that a write does not go on where it
        // waits; the handler does what a handler may.
        unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            action.sa_sigaction = silence as extern "C" fn(i32) as *const () as usize;
            signals.iter().for_each(|&signal| {
                libc::sigaction(signal, &action, std::ptr::null_mut());
            });
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn signal_set(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: `sigemptyset` initialises the set before anything reads it.
    unsafe {
        let mut set = mem::zeroed();
        libc::sigemptyset(&mut set);
        signals.iter().for_each(|&signal| {
            libc::sigaddset(&mut set, signal);
        });
        set
    }
}

/// Whether the process was started with this signal ignored (`nohup`).
pub fn is_ignored(signal: i32) -> bool {
    // SAFETY: with a null new action the call only fills in `old`.
    unsafe {
        let mut old: libc::sigaction = mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &mut old) == 0
            && old.sa_sigaction == libc::SIG_IGN
    }
}

/// Nanoseconds of `CLOCK_BOOTTIME`.
pub(crate) fn since_boot() -> u64 {
    clock(libc::CLOCK_BOOTTIME)
}

fn clock(id: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable for the call; both clocks always exist on Linux.
    unsafe { libc::clock_gettime(id, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Wall-clock time from the time since boot, and its text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clock {
    /// Nanoseconds from 1970 to boot.
    boot: u64,
}

impl Clock {
    /// As things are now.
    pub fn now() -> Clock {
        Clock { boot: clock(libc::CLOCK_REALTIME).saturating_sub(since_boot()) }
    }

    /// The local date and time, `nanoseconds` after boot, in a `strftime(3)` format in which `%f`
    /// stands for microseconds, `%k` for nanoseconds and `%l` for milliseconds.
    pub fn format_since_boot(&self, format: &str, nanoseconds: u64) -> Option<Vec<u8>> {
        let time = self.boot.wrapping_add(nanoseconds);
        let rest = time % 1_000_000_000;
        let format = format
            .replace("%f", &format!("{:06}", rest / 1_000))
            .replace("%k", &format!("{rest:09}"))
            .replace("%l", &format!("{:03}", rest / 1_000_000));
        strftime(&format, (time / 1_000_000_000) as i64)
    }

    /// The local date and time as it is now, in a `strftime(3)` format.
    pub fn format_now(format: &str) -> Option<Vec<u8>> {
        strftime(format, (clock(libc::CLOCK_REALTIME) / 1_000_000_000) as i64)
    }
}

/// `None` when the text is empty or longer than a line has any use for.
fn strftime(format: &str, seconds: i64) -> Option<Vec<u8>> {
    let format = CString::new(format).ok()?;
    let mut text = vec![0u8; 1024];
    // SAFETY: `localtime_r` fills in `date` from `seconds`; `strftime` writes at most the given
    // number of bytes and reads a format that ends with a zero.
    let length = unsafe {
        let mut date: libc::tm = mem::zeroed();
        if libc::localtime_r(&seconds, &mut date).is_null() {
            return None;
        }
        libc::strftime(text.as_mut_ptr().cast(), text.len(), format.as_ptr(), &date)
    };
    text.truncate(length);
    (length > 0).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let clock = Clock { boot: 1_700_000_000_123_456_789 };
        let text = clock.format_since_boot("%Y .%l .%f .%k", 0).expect("a date");
        assert_eq!(String::from_utf8_lossy(&text), "2023 .123 .123456 .123456789");
        assert_eq!(clock.format_since_boot("", 0), None);
        assert_eq!(clock.format_since_boot("a\0b", 0), None);
    }

    #[test]
    fn signals_arrive_through_the_file() {
        let signals = Signals::catch(&[libc::SIGUSR2]).expect("a signalfd");
        assert!(signals.take().is_empty());
        // SAFETY: the signal is blocked in this thread and goes to this thread.
        unsafe { libc::raise(libc::SIGUSR2) };
        assert_eq!(signals.take(), [libc::SIGUSR2]);
        assert!(signals.take().is_empty());
    }
}
