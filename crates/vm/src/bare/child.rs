//! A process for a program that may break it.
//!
//! The child can compute and end, and nothing else: seccomp kills it at any other system call, and a
//! limit ends it when it has computed for too long.

use std::fmt;
use std::mem::offset_of;
use std::time::{Duration, Instant};

use super::{Failure, Outcome};

/// Seconds of processor time that a child has.
const SECONDS: u64 = 10;

/// How a program broke its process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// It touched memory that is not there or not its own.
    Memory,
    /// It did not end.
    Time,
    /// It went astray, and the process was ended by this signal.
    Signal(i32),
    /// It went astray, and the process ended with this status.
    Status(i32),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Memory => write!(f, "the program touched memory that is not its own"),
            Fault::Time => write!(f, "the program did not end within {SECONDS} seconds"),
            Fault::Signal(signal) => write!(f, "the program broke its process: signal {signal}"),
            Fault::Status(status) => write!(f, "the program broke its process: status {status}"),
        }
    }
}

/// What the child tells.
#[derive(Clone, Copy)]
#[repr(C)]
struct Told {
    value: u64,
    nanoseconds: u64,
    done: u64,
}

/// A page that the child shares with us.
struct Shared(*mut Told);

impl Shared {
    fn new() -> Result<Shared, Failure> {
        let (access, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping of zeros, nobody's memory before.
        let page =
            unsafe { libc::mmap(std::ptr::null_mut(), size_of::<Told>(), access, kind, -1, 0) };
        if page == libc::MAP_FAILED {
            return Err(Failure::Process(std::io::Error::last_os_error()));
        }
        Ok(Shared(page.cast()))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: `new` mapped it, and nothing points there any more.
        unsafe { libc::munmap(self.0.cast(), size_of::<Told>()) };
    }
}

/// Calls `once`, in a child, as often as is said.
pub(super) fn time(repeat: u32, once: &dyn Fn() -> u64) -> Result<Outcome, Failure> {
    let shared = Shared::new()?;
    // SAFETY: the child calls nothing that needs another thread of ours, nor memory: `once` only
    // runs a program that is ready.
    let child = unsafe { libc::fork() };
    match child {
        0 => {
            confine();
            let start = Instant::now();
            let value = once();
            for _ in 1..repeat {
                once();
            }
            let nanoseconds = start.elapsed().as_nanos() as u64;
            // SAFETY: the page is there for this.
            unsafe {
                shared.0.write_volatile(Told { value, nanoseconds, done: 1 });
                libc::_exit(0)
            }
        }
        1.. => {
            let mut status = 0;
            // SAFETY: the child is ours, and nobody else waits for it.
            while unsafe { libc::waitpid(child, &raw mut status, 0) } < 0 {
                let error = std::io::Error::last_os_error();
                if error.kind() != std::io::ErrorKind::Interrupted {
                    return Err(Failure::Process(error));
                }
            }
            // SAFETY: the child has ended, so nobody writes there any more.
            let told = unsafe { shared.0.read_volatile() };
            if libc::WIFSIGNALED(status) {
                return Err(Failure::Fault(match libc::WTERMSIG(status) {
                    libc::SIGSEGV | libc::SIGBUS => Fault::Memory,
                    libc::SIGXCPU | libc::SIGKILL => Fault::Time,
                    signal => Fault::Signal(signal),
                }));
            }
            if libc::WEXITSTATUS(status) != 0 || told.done != 1 {
                return Err(Failure::Fault(Fault::Status(libc::WEXITSTATUS(status))));
            }
            let time = Duration::from_nanos(told.nanoseconds / u64::from(repeat.max(1)));
            Ok(Outcome { value: told.value, time })
        }
        _ => Err(Failure::Process(std::io::Error::last_os_error())),
    }
}

/// Takes everything from this process that computing does not need. A child that cannot be confined
/// ends.
fn confine() {
    let limit = |seconds| libc::rlimit { rlim_cur: seconds, rlim_max: seconds + 1 };
    let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the calls only change this process, and the pointers are to live values.
    unsafe {
        for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGXCPU] {
            libc::signal(signal, libc::SIG_DFL);
        }
        let limited = libc::setrlimit(libc::RLIMIT_CPU, &limit(SECONDS)) == 0
            && libc::setrlimit(libc::RLIMIT_CORE, &no_core) == 0;
        if !limited || !filter() {
            libc::_exit(1);
        }
    }
}

/// From now on there is nothing but telling the time and ending; false if that cannot be.
fn filter() -> bool {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let allow_if = |number: libc::c_long, ahead: u8| libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt: ahead,
        jf: 0,
        k: number as u32,
    };
    let number = offset_of!(libc::seccomp_data, nr) as u32;
    let mut code = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, number),
        allow_if(libc::SYS_clock_gettime, 3),
        allow_if(libc::SYS_exit_group, 2),
        allow_if(libc::SYS_exit, 1),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_KILL_PROCESS),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: code.len() as u16, filter: code.as_mut_ptr() };
    // SAFETY: the filter is a live value, and only binds this process.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    }
}
