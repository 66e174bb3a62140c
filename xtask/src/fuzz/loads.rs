//! `cargo xtask fuzz objects`: corrupt objects through everything that stands before a kernel: reader,
//! loader (maps, relocations, CO-RE), verifier. No panic, no hang, memory bounded. Bytes change
//! anywhere, instructions change where code is, and sections get pieces of each other.

use std::collections::HashMap;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bombus_btf::Btf;
use bombus_kernel::{Described, KernelVersion, Loader, Prover};
use bombus_verifier::Options;
use object::{Object, ObjectSection, SectionKind};

use super::memory::{peak_of, time_worked};
use super::mutation::mutate;
use super::random::Random;
use super::{PANIC, record_panics, seeds};

const USAGE: &str = "usage: cargo xtask fuzz objects [--count N] [--first N] [--seed S] \
                     [--seconds T] [--objects DIR] [--btf FILE] [--largest KIB]";
/// How long a processor may work on one object: a walk of a million instructions takes a second, and
/// there may be several programs.
const LIMIT: Duration = Duration::from_secs(20);
/// Bytes of memory that one object may take.
const MEMORY: usize = 512 << 20;
/// Programs of an object that are verified, from one that is chosen at random on.
const PROGRAMS: usize = 1;
/// Where objects that fail are kept.
const OUTPUT: &str = "target/fuzz";

/// An object, and where it has code.
struct Seed {
    path: PathBuf,
    bytes: Vec<u8>,
    code: Vec<(usize, usize)>,
}

/// What was seen.
#[derive(Default)]
struct Tally {
    objects: u64,
    opened: u64,
    verified: u64,
    accepted: u64,
    slowest: (Duration, String),
    largest: (usize, String),
    failures: Vec<String>,
}

/// Runs the command.
pub(super) fn run(args: &[String]) -> Result<(), String> {
    let (mut count, mut first, mut seed, mut seconds) = (1_000_000, 0, 1, u64::MAX);
    let (mut objects, mut btf, mut largest) = (None, None, 64);
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        let value = args.next().ok_or(USAGE)?;
        let number = match arg {
            "--count" => &mut count,
            "--first" => &mut first,
            "--seed" => &mut seed,
            "--seconds" => &mut seconds,
            "--largest" => &mut largest,
            "--objects" => {
                objects = Some(PathBuf::from(value));
                continue;
            }
            "--btf" => {
                btf = Some(PathBuf::from(value));
                continue;
            }
            _ => return Err(USAGE.into()),
        };
        *number = value.parse().map_err(|_| USAGE)?;
    }
    let objects = objects.unwrap_or_else(|| seeds::root().join("crates/object/tests/objects"));
    let seeds = find(&objects, largest << 10)?;
    let machine = machine(btf.as_deref())?;
    println!("{} objects to start from", seeds.len());
    let hook = panic::take_hook();
    record_panics();
    let (start, mut tally, mut shown) = (Instant::now(), Tally::default(), Instant::now());
    for number in first..first.saturating_add(count) {
        if start.elapsed().as_secs() >= seconds {
            break;
        }
        one(&seeds, &machine, seed, number, &mut tally);
        if shown.elapsed() > Duration::from_secs(30) {
            shown = Instant::now();
            println!("{}", tally.summary(start));
        }
    }
    panic::set_hook(hook);
    println!("{}", tally.summary(start));
    tally.failures.iter().for_each(|failure| println!("{failure}"));
    match tally.failures.len() {
        0 => Ok(()),
        count => Err(format!("{count} failures")),
    }
}

impl Tally {
    fn summary(&self, start: Instant) -> String {
        format!(
            "{} objects in {:.0} s: {} open, {} programs verified, {} accepted; the slowest took \
             {:.2?} ({}), the largest {} KiB ({}), the process {} KiB; {} failures",
            self.objects,
            start.elapsed().as_secs_f64(),
            self.opened,
            self.verified,
            self.accepted,
            self.slowest.0,
            self.slowest.1,
            self.largest.0 >> 10,
            self.largest.1,
            peak_resident(),
            self.failures.len()
        )
    }
}

/// The most memory that the process ever had, in KiB (`VmHWM`).
fn peak_resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// The kernel that programs are proved for: one of these types, or of none.
fn machine(btf: Option<&Path>) -> Result<Described, String> {
    let types = match btf {
        Some(path) => {
            let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
            Some(Arc::new(Btf::parse(bytes).map_err(|error| error.to_string())?))
        }
        None => None,
    };
    let version = KernelVersion { major: 7, minor: 3, patch: 0 };
    Ok(Described { version, types, modules: Vec::new(), config: Arc::new(HashMap::new()) })
}

/// The objects of a folder, but those that are larger.
fn find(folder: &Path, largest: u64) -> Result<Vec<Seed>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let entries = fs::read_dir(folder).map_err(failed)?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut seeds = Vec::new();
    for path in paths.into_iter().filter(|path| path.extension().is_some_and(|end| end == "o")) {
        let bytes = fs::read(&path).map_err(failed)?;
        if bytes.len() as u64 > largest {
            continue;
        }
        let code = code(&bytes);
        seeds.push(Seed { path, bytes, code });
    }
    match seeds.is_empty() {
        true => Err(format!("{} has no objects", folder.display())),
        false => Ok(seeds),
    }
}

/// Where the code is in an object: start and length.
fn code(bytes: &[u8]) -> Vec<(usize, usize)> {
    let Ok(file) = object::File::parse(bytes) else { return Vec::new() };
    let of = |section: object::Section<'_, '_>| {
        let (start, length) = section.file_range()?;
        let is_code = section.kind() == SectionKind::Text && length >= 8;
        is_code.then_some((start as usize, length as usize))
    };
    file.sections().filter_map(of).collect()
}

/// Changes a seed.
fn changed(seeds: &[Seed], random: &mut Random) -> (String, Vec<u8>) {
    let seed = &seeds[random.below(seeds.len())];
    let mut bytes = seed.bytes.clone();
    let among = random.below(4);
    if among != 0 && !seed.code.is_empty() {
        for _ in 0..=random.below(4) {
            let (start, length) = seed.code[random.below(seed.code.len())];
            let at = start + 8 * random.below(length / 8);
            let from = start + 8 * random.below(length / 8);
            match random.below(8) {
                // Opcode, registers, offset, constant.
                0 => bytes[at] = random.next() as u8,
                1 => bytes[at] ^= 1 << random.below(8),
                2 => bytes[at + 1] = random.next() as u8 & 0x99 | bytes[at + 1] & 0x66,
                3 => {
                    bytes[at + 2] =
                        bytes[at + 2].wrapping_add(random.below(9) as u8).wrapping_sub(4)
                }
                4 => {
                    let by = (random.below(17) as u8).wrapping_sub(8);
                    bytes[at + 4] = bytes[at + 4].wrapping_add(by);
                }
                5 => bytes[at + 4 + random.below(4)] = random.next() as u8,
                6 => bytes.copy_within(from..from + 8, at),
                _ => {
                    let other: [u8; 8] = bytes[at..at + 8].try_into().unwrap_or_default();
                    bytes.copy_within(from..from + 8, at);
                    bytes[from..from + 8].copy_from_slice(&other);
                }
            }
        }
    }
    if among < 2 {
        mutate(&mut bytes, random);
    }
    let name = seed.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    (name, bytes)
}

/// What became of an object.
#[derive(Default)]
struct Seen {
    opened: bool,
    verified: u64,
    accepted: u64,
}

/// Reads an object and verifies some of its programs.
fn examine(bytes: &[u8], machine: &Described, random: &mut Random) -> Seen {
    let mut seen = Seen::default();
    let Ok(object) = bombus_object::open_named(bytes, "fuzz") else { return seen };
    seen.opened = true;
    let first = random.below(object.programs.len());
    let log_level = if random.once_in(8) { 1 + random.below(2) as u32 } else { 0 };
    // Now and then as long as a kernel would.
    let max_walked = if random.once_in(16) { 1_000_000 } else { 30_000 };
    for program in
        object.programs.iter().cycle().skip(first).take(PROGRAMS.min(object.programs.len()))
    {
        let options = Options { log_level, max_walked, max_log: 1 << 20, ..Options::default() };
        let prover = Prover::new(machine, options);
        let mut loader = Loader::new(&object);
        for other in &object.programs {
            loader = loader.autoload(&other.name, other.name == program.name);
        }
        // That the loader refuses it is as good as anything.
        let _ = loader.load(&prover);
        for proved in prover.proved().iter() {
            seen.verified += 1;
            seen.accepted += u64::from(proved.verdict.result.is_ok());
        }
    }
    seen
}

/// Puts one object through.
fn one(seeds: &[Seed], machine: &Described, seed: u64, number: u64, tally: &mut Tally) {
    let mut random = Random::new(seed.wrapping_mul(0x1_0000_0000).wrapping_add(number));
    let (name, bytes) = changed(seeds, &mut random);
    let start = time_worked();
    let (outcome, memory) =
        peak_of(|| panic::catch_unwind(AssertUnwindSafe(|| examine(&bytes, machine, &mut random))));
    let time = time_worked().saturating_sub(start);
    let failure = match &outcome {
        Err(_) => Some(PANIC.with_borrow(|place| format!("panic at {place}"))),
        Ok(_) if time > LIMIT => Some(format!("it takes {time:.1?}")),
        Ok(_) if memory > MEMORY => Some(format!("it takes {} MiB", memory >> 20)),
        Ok(_) => None,
    };
    tally.objects += 1;
    if let Ok(seen) = outcome {
        tally.opened += u64::from(seen.opened);
        tally.verified += seen.verified;
        tally.accepted += seen.accepted;
    }
    let what = || format!("{name}, number {number}");
    if time > tally.slowest.0 {
        tally.slowest = (time, what());
    }
    if memory > tally.largest.0 {
        tally.largest = (memory, what());
    }
    let Some(failure) = failure else { return };
    if !tally.failures.iter().any(|known| known.starts_with(&failure)) {
        let path = seeds::root().join(OUTPUT).join(format!("failure-object-{number}.o"));
        let _ = fs::create_dir_all(seeds::root().join(OUTPUT));
        let _ = fs::write(&path, &bytes);
        tally.failures.push(format!("{failure}: {}: {}", what(), path.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks() {
        let args = ["--count", "1500", "--largest", "32"].map(str::to_owned);
        assert_eq!(run(&args), Ok(()));
    }
}
