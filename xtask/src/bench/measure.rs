//! Runs a command and says what it cost.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What one run cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    pub wall: Duration,
    /// User and system time of the process and the children that it waited for.
    pub cpu: Duration,
    /// Peak resident memory of the largest process, in KiB.
    pub peak_kib: u64,
}

/// Runs the command with its output thrown away. An exit code other than 0 is an error.
pub(super) fn run(command: &mut Command) -> Result<Cost, String> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let name = format!("{command:?}");
    let start = Instant::now();
    let child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
    let (mut status, mut usage) = (0, std::mem::MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: both pointers are to live locals of the right type; the child is ours and nobody
    // else waits for it.
    let waited = unsafe { libc::wait4(child.id() as i32, &mut status, 0, usage.as_mut_ptr()) };
    let wall = start.elapsed();
    if waited < 0 || status != 0 {
        return Err(format!("{name} ended with wait status {status}"));
    }
    // SAFETY: zero bytes are a valid rusage, and wait4 filled it in.
    let usage = unsafe { usage.assume_init() };
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    Ok(Cost {
        wall,
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
        peak_kib: usage.ru_maxrss as u64,
    })
}

/// Runs commands in turn, `rounds` times each, so that noise hits all alike; gives each one's runs.
pub(super) fn in_turn(
    rounds: usize,
    commands: &mut [Box<dyn FnMut() -> Command>],
) -> Result<Vec<Vec<Cost>>, String> {
    let mut costs = vec![Vec::new(); commands.len()];
    for _ in 0..rounds {
        for (make, costs) in commands.iter_mut().zip(&mut costs) {
            costs.push(run(&mut make())?);
        }
    }
    Ok(costs)
}

/// Least, and middle, of a measure over runs.
pub(super) fn least_and_median<T: Copy + Ord>(runs: &[Cost], of: impl Fn(&Cost) -> T) -> (T, T) {
    let mut values: Vec<T> = runs.iter().map(of).collect();
    values.sort();
    (values[0], values[values.len() / 2])
}

/// The user and group of nobody, without any capability.
pub(super) fn as_nobody(command: &mut Command) -> &mut Command {
    command.uid(65534).gid(65534)
}

/// Milliseconds with two digits.
pub(super) fn ms(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64() * 1e3)
}
