//! `cargo xtask fuzz vm`: random valid programs on every engine, and on a kernel. What they give,
//! the packet and the maps that they leave must be the same.
//!
//! A program that a kernel is given should not hurt it, but kernels have had their bugs: `--kernel`
//! is for virtual machines, `--vm VERSION` boots one for it.

mod generate;
mod kernel;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::random::Random;
use generate::Case;
use kernel::Running;
use world::{Engines, State, difference};

const USAGE: &str = "usage: cargo xtask fuzz vm [--programs N] [--first N] [--seed S] [--jobs N] \
                     [--vm VERSION | --kernel]";
/// Runs of each program, each with a packet and maps of its own.
const INPUTS: usize = 4;
/// Differences that are shown.
const SHOWN: usize = 5;

struct Settings {
    programs: u64,
    /// Number of the first: a report names its program's.
    first: u64,
    seed: u64,
    jobs: u64,
    /// Compare with the running kernel.
    kernel: bool,
}

/// What was seen.
#[derive(Default)]
struct Tally {
    programs: AtomicU64,
    runs: AtomicU64,
    /// Programs that there was guarded machine code for.
    guarded: AtomicU64,
    /// Programs that the kernel refused: there is nothing to compare then. (Linux 6.12 has `EFAULT`
    /// for a `bpf_loop` with no rounds: it takes out the callback that it never reached, and then
    /// misses it, `jit_subprogs` in `kernel/bpf/verifier.c`.)
    refused: AtomicU64,
    stop: AtomicBool,
    differences: Mutex<Vec<String>>,
}

/// Runs the command.
pub(super) fn run(args: &[String]) -> Result<(), String> {
    let jobs = thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let mut settings = Settings { programs: 100_000, first: 0, seed: 1, jobs, kernel: false };
    let mut machine = None;
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        let number = match arg {
            "--programs" => &mut settings.programs,
            "--first" => &mut settings.first,
            "--seed" => &mut settings.seed,
            "--jobs" => &mut settings.jobs,
            "--kernel" => {
                settings.kernel = true;
                continue;
            }
            "--vm" => {
                machine = Some(args.next().ok_or(USAGE)?);
                continue;
            }
            _ => return Err(USAGE.into()),
        };
        *number = args.next().and_then(|value| value.parse().ok()).ok_or(USAGE)?;
    }
    match machine {
        Some(version) => in_machine(version, &settings),
        None => all(&settings),
    }
}

/// The same command in a virtual machine, against its kernel.
fn in_machine(version: &str, settings: &Settings) -> Result<(), String> {
    let mut files = crate::vm::Archive::new();
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    files.file("bin/xtask", &own, 0o755)?;
    let Settings { programs, first, seed, jobs, .. } = settings;
    let script = format!(
        "#!/bin/sh\nxtask fuzz vm --kernel --programs {programs} --first {first} --seed {seed} --jobs {jobs} 2>&1\n\
         echo \"@end $?\"\n"
    );
    let mut end = None;
    let mut heard = |line: &str| match line.trim_end().strip_prefix("@end ") {
        Some(code) => end = Some(code == "0"),
        None => println!("{}", line.trim_end()),
    };
    let silence = Duration::from_secs(300);
    let console = crate::vm::watch(version, files, &script, silence, &mut heard)?;
    match end {
        Some(true) => Ok(()),
        Some(false) => Err("there are differences".into()),
        None => Err(format!("the machine died:\n{console}")),
    }
}

fn all(settings: &Settings) -> Result<(), String> {
    let tally = Tally::default();
    let start = Instant::now();
    thread::scope(|scope| {
        let jobs: Vec<_> = (0..settings.jobs)
            .map(|job| {
                let tally = &tally;
                scope.spawn(move || {
                    let outcome = work(job, settings, tally);
                    if outcome.is_err() {
                        tally.stop.store(true, Ordering::Relaxed);
                    }
                    outcome
                })
            })
            .collect();
        let mut shown = Instant::now();
        while !jobs.iter().all(thread::ScopedJoinHandle::is_finished) {
            thread::sleep(Duration::from_millis(50));
            if shown.elapsed() > Duration::from_secs(30) {
                shown = Instant::now();
                println!("{}", tally.summary(start));
            }
        }
        let outcomes =
            jobs.into_iter().map(|job| job.join().unwrap_or_else(|_| Err("a panic".into())));
        outcomes.collect::<Result<Vec<()>, String>>()
    })?;
    println!("{}", tally.summary(start));
    let differences = tally.differences.into_inner().map_err(|error| error.to_string())?;
    differences.iter().take(SHOWN).for_each(|difference| println!("{difference}"));
    match differences.len() {
        0 => Ok(()),
        count => Err(format!("{count} programs do not give the same everywhere")),
    }
}

impl Tally {
    fn summary(&self, start: Instant) -> String {
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let differences = self.differences.lock().map_or(0, |differences| differences.len());
        format!(
            "{} programs ({} in guarded code), {} runs in {:.0} s: {differences} differences; the \
             kernel refused {}",
            number(&self.programs),
            number(&self.guarded),
            number(&self.runs),
            start.elapsed().as_secs_f64(),
            number(&self.refused)
        )
    }
}

/// Every program of one job: each has its own seed, so that it can be made again.
fn work(job: u64, settings: &Settings, tally: &Tally) -> Result<(), String> {
    let mut engines = Engines::new();
    let kernel = settings.kernel.then(Running::new).transpose()?;
    let (mut number, end) = (settings.first + job, settings.first + settings.programs);
    while number < end && !tally.stop.load(Ordering::Relaxed) {
        let seed = settings.seed.wrapping_mul(0x1_0000_0000).wrapping_add(number);
        let mut random = Random::new(seed);
        let case = Case::new(&mut random);
        let outcome = examine(&case, &mut random, &mut engines, kernel.as_ref(), tally);
        if let Err(difference) = outcome {
            let text = bombus_isa::disasm(case.own(), &());
            let report =
                format!("== program {number} of seed {}\n{text}\n{difference}", settings.seed);
            tally.differences.lock().map_err(|error| error.to_string())?.push(report);
        }
        tally.programs.fetch_add(1, Ordering::Relaxed);
        number += settings.jobs;
    }
    Ok(())
}

/// Runs a program everywhere; an error says what differs.
fn examine(
    case: &Case,
    random: &mut Random,
    engines: &mut Engines,
    kernel: Option<&Running>,
    tally: &Tally,
) -> Result<(), String> {
    // Beside a kernel, which is emulated, one of them is enough: the same seed tells of the others.
    let loaded = engines.load(case, kernel.is_none())?;
    tally.guarded.fetch_add(loaded.guarded.is_some().into(), Ordering::Relaxed);
    let in_kernel = match kernel.map(|kernel| (kernel, kernel.load(case))) {
        Some((kernel, Ok(program))) => Some((kernel, program)),
        Some((_, Err(refusal))) => {
            let count = tally.refused.fetch_add(1, Ordering::Relaxed);
            if count < SHOWN as u64 {
                println!("refused: {}", refusal.lines().last().unwrap_or_default());
            }
            return Ok(());
        }
        None => None,
    };
    for _ in 0..INPUTS {
        let start = State::new(random);
        let expected = engines.run(&loaded, &start)?;
        if let Some((kernel, program)) = &in_kernel {
            let found = kernel.run(program, &start)?;
            if found != expected {
                return Err(format!("kernel: {}", difference(&expected, &found)));
            }
        }
        tally.runs.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_agree() {
        let settings = Settings { programs: 3000, first: 0, seed: 7, jobs: 2, kernel: false };
        all(&settings).unwrap();
    }

    #[test]
    fn what_was_found_once() {
        let lines = include_str!("found.txt").lines().filter(|line| !line.starts_with('#'));
        for line in lines {
            let mut words = line.split(' ').map_while(|word| word.parse().ok());
            let (Some(seed), Some(first)) = (words.next(), words.next()) else {
                panic!("{line:?} names no program");
            };
            let settings = Settings { programs: 1, first, seed, jobs: 1, kernel: false };
            all(&settings).unwrap();
        }
    }
}
