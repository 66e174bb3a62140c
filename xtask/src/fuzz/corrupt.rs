//! Corrupt files: seeds with a few bytes changed, through everything that reads them. No panic, no
//! hang, and never more memory than a file's size allows.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::memory::{peak_of, time_worked};
use super::mutation::mutate;
use super::random::Random;
use super::seeds::{self, Seed};
use super::{OUTPUT, PANIC, objects, record_panics, types};

/// Bytes of memory that reading may take for each byte of a file.
const TIMES: usize = 10;
/// Bytes that any file may take, however small: the text of one declaration before it is handed on,
/// and messages that name a field by up to 64 names of up to 4 KiB.
const ANYHOW: usize = 256 << 10;
/// How long a processor may work on any file, and on each MiB of one; a tenth of it is a lot.
const LIMIT: Duration = Duration::from_secs(10);

/// What reads the files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// Object files: opened, and linked with another.
    Elf,
    /// Types.
    Btf,
    /// What belongs to the instructions of an object.
    BtfExt,
    /// CO-RE relocations, with types of both sides.
    Core,
}

impl Target {
    pub(super) const ALL: [(&str, Target); 4] = [
        ("elf", Target::Elf),
        ("btf", Target::Btf),
        ("btf-ext", Target::BtfExt),
        ("core", Target::Core),
    ];

    pub(super) fn named(name: &str) -> Option<Target> {
        Target::ALL.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
    }

    /// Puts a file through; whether it was taken for one, and an error says what does not hold.
    fn examine(self, seed: &Seed, other: &Seed, meter: &mut Meter) -> Result<bool, String> {
        match self {
            Target::Elf => objects::examine(&seed.file, &other.file, meter),
            Target::Btf => types::examine_types(seed, meter),
            Target::BtfExt => types::examine_ext(seed, meter),
            Target::Core => types::examine_relocations(seed, other, meter),
        }
    }

    /// Changes what the target reads.
    fn corrupt(self, seed: &mut Seed, random: &mut Random) {
        // Records are found by strings of the types, so these stay mostly whole for them.
        let (file, ext) = match self {
            Target::Elf | Target::Btf => (true, false),
            Target::BtfExt => (random.once_in(4), true),
            Target::Core => (!random.once_in(4), random.once_in(2)),
        };
        if file {
            mutate(&mut seed.file, random);
        }
        if ext {
            mutate(&mut seed.ext, random);
        }
    }
}

/// How long, how, and with what to start.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) time: Duration,
    pub(super) seed: u64,
    pub(super) jobs: usize,
    /// Files to start from beside those of the repository.
    pub(super) corpus: Option<PathBuf>,
}

/// Measures what reading takes.
#[derive(Default)]
pub(super) struct Meter {
    /// The most bytes for each byte of a file, beyond [`ANYHOW`].
    largest: f64,
}

impl Meter {
    /// What `read` makes of files of `size` bytes together. An error says that it took too much.
    pub(super) fn within<T>(
        &mut self,
        what: &str,
        size: usize,
        read: impl FnOnce() -> T,
    ) -> Result<T, String> {
        let (result, peak) = peak_of(read);
        let ratio = peak.saturating_sub(ANYHOW) as f64 / size.max(1) as f64;
        self.largest = self.largest.max(ratio);
        match ratio > TIMES as f64 {
            true => Err(format!("{what} takes more than {TIMES} times the size")),
            false => Ok(result),
        }
    }
}

/// What was seen.
#[derive(Default)]
struct Tally {
    files: u64,
    /// Those that were taken for what they ought to be.
    read: u64,
    slowest: Duration,
    largest: f64,
    failures: Vec<(String, PathBuf)>,
}

/// Reads corrupt files for a while.
pub(super) fn run(target: Target, settings: &Settings) -> Result<(), String> {
    let seeds = seeds::of(target, settings.corpus.as_deref())?;
    let Settings { time, seed, jobs, .. } = *settings;
    println!("{target:?}: seed {seed}, {jobs} jobs, {time:?}, {} files to start from", seeds.len());
    fs::create_dir_all(output()).map_err(|error| format!("{OUTPUT}: {error}"))?;
    let hook = panic::take_hook();
    record_panics();
    let (tally, stop) = (Mutex::new(Tally::default()), AtomicBool::new(false));
    // The seeds come first, as they are.
    for seed in &seeds {
        one(target, seed, seed, &tally);
    }
    thread::scope(|scope| {
        for job in 0..jobs {
            let random = Random::new(seed.wrapping_add((job as u64) << 32));
            scope.spawn(|| work(target, &seeds, random, &tally, &stop));
        }
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
    });
    panic::set_hook(hook);
    let tally = tally.into_inner().map_err(|error| error.to_string())?;
    let Tally { files, read, slowest, largest, failures } = &tally;
    println!(
        "{files} files, {read} of them read; the slowest took {slowest:.1?}, the largest \
         {largest:.1} times its size beyond {} KiB",
        ANYHOW >> 10
    );
    for (failure, path) in failures {
        println!("{failure}: {}", path.display());
    }
    if failures.is_empty() { Ok(()) } else { Err(format!("{} failures", failures.len())) }
}

/// Where files that fail are kept.
fn output() -> PathBuf {
    seeds::root().join(OUTPUT)
}

fn work(
    target: Target,
    seeds: &[Seed],
    mut random: Random,
    tally: &Mutex<Tally>,
    stop: &AtomicBool,
) {
    while !stop.load(Ordering::Relaxed) {
        let mut seed = seeds[random.below(seeds.len())].clone();
        target.corrupt(&mut seed, &mut random);
        one(target, &seed, &seeds[random.below(seeds.len())], tally);
    }
}

/// Puts one file through.
fn one(target: Target, seed: &Seed, other: &Seed, tally: &Mutex<Tally>) {
    let mut meter = Meter::default();
    let start = time_worked();
    let examine = || target.examine(seed, other, &mut meter);
    let outcome = panic::catch_unwind(AssertUnwindSafe(examine));
    let time = time_worked().saturating_sub(start);
    let size = seed.len() + other.len();
    let failure = match outcome {
        Ok(Ok(_)) if time > LIMIT + LIMIT.mul_f64(size as f64 / f64::from(1 << 20)) => {
            Some("it takes too long".to_owned())
        }
        Ok(Ok(_)) => None,
        Ok(Err(ref failure)) => Some(failure.clone()),
        Err(_) => Some(PANIC.with_borrow(|place| format!("panic at {place}"))),
    };
    let Ok(mut tally) = tally.lock() else { return };
    tally.files += 1;
    tally.read += u64::from(matches!(outcome, Ok(Ok(true))));
    tally.slowest = tally.slowest.max(time);
    tally.largest = tally.largest.max(meter.largest);
    let known = |failure: &String| tally.failures.iter().any(|(known, _)| known == failure);
    if let Some(failure) = failure.filter(|failure| !known(failure)) {
        let number = tally.failures.len();
        let path = output().join(format!("failure-{target:?}-{number}"));
        // The report names the file; without it there is the seed.
        for (extension, bytes) in [
            ("file", &seed.file),
            ("ext", &seed.ext),
            ("other", &other.file),
            ("other-ext", &other.ext),
        ] {
            let _ = fs::write(path.with_extension(extension), bytes);
        }
        tally.failures.push((failure, path.with_extension("file")));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Settings, Target, run};

    /// A second of each; `cargo xtask fuzz` takes its time.
    #[test]
    fn a_second_each() {
        let settings = Settings { time: Duration::from_secs(1), seed: 1, jobs: 1, corpus: None };
        for (name, target) in Target::ALL {
            assert_eq!(run(target, &settings), Ok(()), "{name}");
        }
    }
}
