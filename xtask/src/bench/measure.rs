//! Runs a command and says what it cost.

use std::io::Read;
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
    let (cost, status) = cost(command)?;
    match status {
        0 => Ok(cost),
        _ => Err(format!("{command:?} ended with wait status {status}")),
    }
}

/// Runs the command with its output thrown away: what it cost, and how it ended (wait(2)).
pub(super) fn cost(command: &mut Command) -> Result<(Cost, i32), String> {
    command.stdout(Stdio::null());
    captured(command).map(|(cost, status, _)| (cost, status))
}

/// Runs the command: what it cost, how it ended, and its output, where that is a pipe.
pub(super) fn captured(command: &mut Command) -> Result<(Cost, i32, Vec<u8>), String> {
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let mut output = Vec::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_end(&mut output).map_err(|error| format!("{command:?}: {error}"))?;
    }
    let (mut status, mut usage) = (0, std::mem::MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: both pointers are to live locals of the right type; the child is ours and nobody
    // else waits for it.
    let waited = unsafe { libc::wait4(child.id() as i32, &mut status, 0, usage.as_mut_ptr()) };
    let wall = start.elapsed();
    if waited < 0 {
        return Err(format!("{command:?} cannot be waited for"));
    }
    // SAFETY: zero bytes are a valid rusage, and wait4 filled it in.
    let usage = unsafe { usage.assume_init() };
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    let cost = Cost {
        wall,
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
        peak_kib: usage.ru_maxrss as u64,
    };
    Ok((cost, status, output))
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

/// The median, over the rounds, of one command's time to another's in the same round.
pub(super) fn paired(runs: &[Cost], to: &[Cost]) -> f64 {
    let ratio = |(own, other): (&Cost, &Cost)| own.wall.as_secs_f64() / other.wall.as_secs_f64();
    let mut ratios: Vec<f64> = runs.iter().zip(to).map(ratio).collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

/// What the CPUs did since the machine started, in ticks (`/proc/stat`, proc(5)).
pub(super) struct CpuTime {
    all: u64,
    stolen: u64,
}

impl CpuTime {
    /// Of all CPUs together.
    pub(super) fn now() -> Result<CpuTime, String> {
        let text = std::fs::read_to_string("/proc/stat").map_err(|e| format!("/proc/stat: {e}"))?;
        CpuTime::parse(&text).ok_or_else(|| "/proc/stat has no line of all CPUs".to_owned())
    }

    fn parse(text: &str) -> Option<CpuTime> {
        let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<u64> = line.split_whitespace().map_while(|n| n.parse().ok()).collect();
        // user, nice, system, idle, iowait, irq, softirq, steal; time of guests is user time again.
        Some(CpuTime { all: ticks.iter().take(8).sum(), stolen: *ticks.get(7)? })
    }

    /// Per cent of the time since then that the host ran something else.
    pub(super) fn stolen_since(&self, before: &CpuTime) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1);
        100.0 * self.stolen.saturating_sub(before.stolen) as f64 / all as f64
    }
}

/// The user and group of nobody, without any capability.
pub(super) fn as_nobody(command: &mut Command) -> &mut Command {
    command.uid(65534).gid(65534)
}

/// Milliseconds with two digits.
pub(super) fn ms(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stolen_time() {
        let at = |text: &str| CpuTime::parse(text).expect("a line of all CPUs");
        let before = at("cpu  100 0 50 800 20 0 10 20 7 0\ncpu0 1 2 3\n");
        let after = at("cpu  150 0 60 810 20 0 10 50 9 0\n");
        assert_eq!(after.stolen_since(&before), 30.0);
        assert!(CpuTime::parse("cpu0 1 2 3\n").is_none());
    }

    #[test]
    fn rounds_are_compared_with_themselves() {
        let cost = |ms| Cost { wall: Duration::from_millis(ms), cpu: Duration::ZERO, peak_kib: 0 };
        // One round was disturbed as a whole.
        let (own, other) = ([cost(20), cost(200), cost(24)], [cost(10), cost(100), cost(10)]);
        assert_eq!(paired(&own, &other), 2.0);
    }
}
