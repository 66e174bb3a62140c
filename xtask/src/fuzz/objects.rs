//! Mutated object files through the reader: no panic, no hang, memory in proportion to the file, and
//! what comes out refers to nothing that is not there.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bombus_object::{ObjectFile, ObjectSpec, link, open};
use bombus_spec::{MapRole, ProgramSpec, Reference, Slot};

use super::random::Random;
use super::{OUTPUT, PANIC, record_panics};

/// What one file may take.
const LIMIT: Duration = Duration::from_secs(1);
/// Bytes of memory for each byte of a file, and for any file.
const MEMORY: (usize, usize) = (10, 64 << 10);

/// What was seen.
#[derive(Default)]
struct Tally {
    files: u64,
    opened: u64,
    slowest: Duration,
    failures: Vec<(String, PathBuf)>,
}

/// Opens mutated objects for a while.
pub(super) fn run(time: Duration, seed: u64, jobs: usize) -> Result<(), String> {
    let mut seeds = Vec::new();
    for dir in ["crates/object/tests/objects", "crates/object/tests/refused"] {
        let entries = fs::read_dir(dir).map_err(|error| format!("{dir}: {error}"))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "o") {
                seeds.push(fs::read(&path).map_err(|error| format!("{path:?}: {error}"))?);
            }
        }
    }
    println!("seed {seed}, {jobs} jobs, {time:?}, {} objects to start from", seeds.len());
    record_panics();
    let (tally, stop) = (Mutex::new(Tally::default()), AtomicBool::new(false));
    let before = peak_memory();
    thread::scope(|scope| {
        for job in 0..jobs {
            let random = Random::new(seed.wrapping_add((job as u64) << 32));
            scope.spawn(|| work(&seeds, random, &tally, &stop));
        }
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
    });
    let tally = tally.into_inner().map_err(|error| error.to_string())?;
    let Tally { files, opened, slowest, failures } = &tally;
    let peak = peak_memory().saturating_sub(before) >> 20;
    println!("{files} files: {opened} opened; the slowest took {slowest:.1?}, {peak} MiB at most");
    for (failure, path) in failures {
        println!("{failure}: {}", path.display());
    }
    if failures.is_empty() { Ok(()) } else { Err(format!("{} failures", failures.len())) }
}

/// The most memory that the process has had (`VmHWM`), in bytes.
fn peak_memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<usize>().ok());
    kib.unwrap_or_default() << 10
}

fn work(seeds: &[Vec<u8>], mut random: Random, tally: &Mutex<Tally>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let mut bytes = seeds[random.below(seeds.len())].clone();
        mutate(&mut bytes, &mut random);
        let start = Instant::now();
        let other = &seeds[random.below(seeds.len())];
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| examine(&bytes, other)));
        let time = start.elapsed();
        let failure = match outcome {
            Ok(Ok(_)) if time > LIMIT => Some(format!("it took {time:.1?}")),
            Ok(Ok(_)) => None,
            Ok(Err(ref failure)) => Some(failure.clone()),
            Err(_) => Some(PANIC.with_borrow(|place| format!("panic at {place}"))),
        };
        let Ok(mut tally) = tally.lock() else { return };
        tally.files += 1;
        tally.slowest = tally.slowest.max(time);
        tally.opened += u64::from(matches!(outcome, Ok(Ok(true))));
        let known = |failure: &String| tally.failures.iter().any(|(known, _)| known == failure);
        if let Some(failure) = failure.filter(|failure| !known(failure)) {
            let path = Path::new(OUTPUT).join(format!("failure-{}.o", tally.failures.len()));
            // The report names the file; without it there is the seed.
            let _ = fs::write(&path, &bytes);
            tally.failures.push((failure, path));
        }
    }
}

/// A few changes: a byte, a number with an interesting value, a piece from elsewhere, the end.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    const NUMBERS: [u64; 12] =
        [0, 1, 2, 7, 8, 0x7f, 0xff, 0xff00, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX];
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len());
        match random.below(12) {
            0..3 => bytes[at] ^= 1 << random.below(8),
            3..5 => bytes[at] = random.next() as u8,
            5..8 => {
                let width = 1 << (1 + random.below(3));
                let at = at & !(width - 1);
                let number = match random.below(3) {
                    0 => random.below(bytes.len() * 2) as u64,
                    _ => NUMBERS[random.below(NUMBERS.len())],
                };
                for (byte, value) in bytes[at..].iter_mut().zip(&number.to_le_bytes()[..width]) {
                    *byte = *value;
                }
            }
            8..11 => {
                let (from, len) = (random.below(bytes.len()), 1 << random.below(8));
                let piece = bytes[from..].iter().take(len).copied().collect::<Vec<u8>>();
                for (byte, value) in bytes[at..].iter_mut().zip(piece) {
                    *byte = value;
                }
            }
            _ if random.once_in(8) => bytes.truncate(at.max(1)),
            _ => {}
        }
    }
}

/// Whether the file opens; an error says what does not hold of the result. It is also linked with
/// another one, and what comes out is opened.
fn examine(bytes: &[u8], other: &[u8]) -> Result<bool, String> {
    let files = [("mutated", bytes), ("other", other)];
    if let Ok(linked) = link(&files.map(|(name, bytes)| ObjectFile { name, bytes })) {
        let limit = (bytes.len() + other.len()) * MEMORY.0 + MEMORY.1;
        if linked.len() > limit {
            return Err("linked it takes more memory than its size allows".into());
        }
        open(&linked).map_or(Ok(()), |spec| consistent(&spec))?;
    }
    match open(bytes) {
        Ok(spec) => {
            let (size, limit) = (size(&spec), bytes.len() * MEMORY.0 + MEMORY.1);
            if size > limit {
                return Err("it takes more memory than its size allows".into());
            }
            consistent(&spec)?;
            Ok(true)
        }
        Err(error) if error.reason.is_empty() => Err("refused without a reason".into()),
        Err(_) => Ok(false),
    }
}

/// About as many bytes as it takes.
fn size(spec: &ObjectSpec) -> usize {
    let maps = spec.maps.iter().map(|map| {
        let contents = map.contents.iter().map(|(key, value)| 48 + key.len() + value.len());
        size_of_val(map) + map.name.len() + contents.sum::<usize>() + size_of_val(&map.slots[..])
    });
    let programs = spec.programs.iter().map(|program| {
        size_of_val(program)
            + size_of_val(&program.insns[..])
            + size_of_val(&program.lines[..])
            + size_of_val(&program.functions[..])
            + size_of_val(&program.core_relocations[..])
    });
    maps.sum::<usize>()
        + programs.sum::<usize>()
        + size_of_val(&spec.variables[..])
        + size_of_val(&spec.externs[..])
        + spec.btf.as_ref().map_or(0, |btf| btf.len())
}

/// Whether every number names something.
fn consistent(spec: &ObjectSpec) -> Result<(), String> {
    let check = |holds: bool, what: &str| holds.then_some(()).ok_or_else(|| what.to_owned());
    let (maps, programs) = (spec.maps.len(), spec.programs.len());
    for map in &spec.maps {
        for (_, slot) in &map.slots {
            check(
                match slot {
                    Slot::Map(map) => (*map as usize) < maps,
                    Slot::Program(program) => (*program as usize) < programs,
                },
                "a map holds something that is not there",
            )?;
        }
        if let MapRole::StructOps { functions, .. } = &map.role {
            for (offset, program) in functions {
                check(*offset < map.value_size, "a callback is outside of its structure")?;
                check((*program as usize) < programs, "a callback is no program")?;
            }
        }
    }
    for variable in &spec.variables {
        let map = spec.maps.get(variable.map as usize).ok_or("a variable is in no map")?;
        let end = variable.offset.checked_add(variable.size);
        let arena = map.value_size == 0;
        check(arena || end.is_some_and(|end| end <= map.value_size), "a variable is outside")?;
    }
    spec.programs.iter().try_for_each(|program| consistent_program(spec, program))
}

fn consistent_program(spec: &ObjectSpec, program: &ProgramSpec) -> Result<(), String> {
    let check = |holds: bool, what: &str| holds.then_some(()).ok_or_else(|| what.to_owned());
    let slots = program.insns.len();
    for slot in &program.insns {
        check(slot.line.is_none_or(|line| (line as usize) < program.lines.len()), "no such line")?;
        let known = match slot.reference {
            None => true,
            Some(Reference::Map(map) | Reference::MapValue { map, .. }) => {
                (map as usize) < spec.maps.len()
            }
            Some(Reference::Function(index)) => (index as usize) < program.functions.len(),
            Some(Reference::Extern(index)) => (index as usize) < spec.externs.len(),
        };
        check(known, "a slot refers to something that is not there")?;
    }
    let starts: Vec<u32> = program.functions.iter().map(|function| function.start).collect();
    check(starts.first() == Some(&0), "the first function does not start the program")?;
    check(starts.is_sorted(), "functions are not in order")?;
    check(starts.iter().all(|&start| (start as usize) < slots), "a function is outside")?;
    let relocated = program.core_relocations.iter().all(|each| (each.slot as usize) < slots);
    check(relocated, "a CO-RE relocation is outside")
}
