//! `cargo xtask fuzz script`: random and mutated scripts through the whole compiler, without a
//! kernel. Nothing may panic, nothing may hang, and every message must name a place in the script.
//! `cargo xtask fuzz elf` does the same to the reader of object files, `btf`, `btf-ext` and `core` to
//! those of types, of what belongs to instructions, and of CO-RE relocations; these may not take
//! more memory than the file's size allows, either. `cargo xtask fuzz vm`,
//! `verifier`, `objects`, `bytes`, `packets` and `maps` are other matters: see [`vm`], [`verifier`],
//! [`loads`], [`bytes`], [`packets`] and [`maps`].

mod bytes;
mod corrupt;
mod loads;
mod maps;
mod memory;
mod mutation;
mod objects;
mod packets;
mod random;
mod scripts;
mod seeds;
mod types;
mod verifier;
mod vm;
mod world;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bombus_script::diagnostic::{Diagnostic, Source};
use bombus_script::render::render;
use bombus_script::syntax::{dump, parse, print};
use bombus_script::{Env, Options, compile};

use corrupt::{Settings, Target};
use random::Random;
use scripts::Scripts;
use world::World;

/// A script that takes longer hangs.
const HANG: Duration = Duration::from_secs(20);
/// What a thread of the fuzzer has for its stack: as much as a process's first thread.
const STACK: usize = 8 << 20;
/// Where scripts that fail are kept, and what each thread is at (`current-N.bt`), which tells after
/// a stack overflow.
const OUTPUT: &str = "target/fuzz";

const USAGE: &str = "usage: cargo xtask fuzz script|elf|btf|btf-ext|core [--seconds N] [--seed S] \
                     [--jobs N] [--corpus DIR]";

/// Runs a target.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    match args.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        Some(("vm", rest)) => return vm::run(rest),
        Some(("objects", rest)) => return loads::run(rest),
        Some(("verifier", rest)) => return verifier::run(rest),
        Some(("bytes", rest)) => return bytes::run(rest),
        Some(("packets", rest)) => return packets::run(rest),
        Some(("maps", rest)) => return maps::run(rest),
        _ => {}
    }
    let mut seconds = 600;
    let mut seed = 1;
    let mut jobs = thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let mut corpus = None;
    let mut args = args.iter().map(String::as_str);
    let target = args.next();
    while let Some(arg) = args.next() {
        let option = match arg {
            "--seconds" => &mut seconds,
            "--seed" => &mut seed,
            "--jobs" => &mut jobs,
            "--corpus" => {
                corpus = Some(args.next().ok_or(USAGE)?.into());
                continue;
            }
            _ => return Err(USAGE.into()),
        };
        *option = args.next().and_then(|value| value.parse().ok()).ok_or(USAGE)?;
    }
    fs::create_dir_all(OUTPUT).map_err(|error| format!("{OUTPUT}: {error}"))?;
    if let Some(target) = target.and_then(Target::named) {
        let (time, jobs) = (Duration::from_secs(seconds), jobs as usize);
        return corrupt::run(target, &Settings { time, seed, jobs, corpus });
    }
    if target != Some("script") || corpus.is_some() {
        return Err(USAGE.into());
    }
    let corpus = [Path::new("crates/script/tests"), Path::new("tests")];
    let scripts = Arc::new(Scripts::new(&corpus)?);
    println!("seed {seed}, {jobs} jobs, {seconds} s, {} scripts to start from", scripts.seeds());
    let watch = Arc::new(Watch::new(jobs as usize));
    record_panics();
    let workers: Vec<_> = (0..jobs as usize)
        .map(|job| {
            let (scripts, watch) = (Arc::clone(&scripts), Arc::clone(&watch));
            let random = Random::new(seed.wrapping_add((job as u64) << 32));
            thread::Builder::new()
                .stack_size(STACK)
                .spawn(move || work(job, &scripts, random, &watch))
        })
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    let end = watch.epoch + Duration::from_secs(seconds);
    while Instant::now() < end {
        thread::sleep(Duration::from_millis(200));
        watch.check_hangs()?;
    }
    watch.stop.store(true, Ordering::Relaxed);
    while workers.iter().any(|worker| !worker.is_finished()) {
        thread::sleep(Duration::from_millis(10));
        watch.check_hangs()?;
    }
    watch.report()
}

/// Reads `--count` (a million if it is not said) and `--seed` (1).
fn count_and_seed(args: &[String], target: &str) -> Result<(u64, u64), String> {
    let usage = || format!("usage: cargo xtask fuzz {target} [--count N] [--seed S]");
    let (mut count, mut seed) = (1_000_000, 1);
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        let number = match arg {
            "--count" => &mut count,
            "--seed" => &mut seed,
            _ => return Err(usage()),
        };
        *number = args.next().and_then(|value| value.parse().ok()).ok_or_else(usage)?;
    }
    Ok((count, seed))
}

/// What the threads share.
struct Watch {
    epoch: Instant,
    stop: AtomicBool,
    /// For each job, when it took up its script: milliseconds from the epoch.
    started: Vec<AtomicU64>,
    tally: Mutex<Tally>,
}

/// What was seen.
#[derive(Default)]
struct Tally {
    scripts: u64,
    parsed: u64,
    compiled: u64,
    diagnostics: u64,
    slowest: Duration,
    /// What went wrong, with how often and the first script.
    failures: BTreeMap<String, (u64, PathBuf)>,
}

impl Watch {
    fn new(jobs: usize) -> Watch {
        Watch {
            epoch: Instant::now(),
            stop: AtomicBool::new(false),
            started: (0..jobs).map(|_| AtomicU64::new(0)).collect(),
            tally: Mutex::default(),
        }
    }

    fn now(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }

    fn check_hangs(&self) -> Result<(), String> {
        for (job, started) in self.started.iter().enumerate() {
            let since = self.now().saturating_sub(started.load(Ordering::Relaxed));
            if Duration::from_millis(since) > HANG && !self.stop.load(Ordering::Relaxed) {
                return Err(format!("a hang: {}", current(job).display()));
            }
        }
        Ok(())
    }

    fn report(&self) -> Result<(), String> {
        let Tally { scripts, parsed, compiled, diagnostics, slowest, failures } =
            &*self.tally.lock().map_err(|error| error.to_string())?;
        println!(
            "{scripts} scripts in {:.0} s: {parsed} parsed, {compiled} compiled; {diagnostics} \
             messages; the slowest took {slowest:.1?}",
            self.epoch.elapsed().as_secs_f64()
        );
        for (failure, (count, path)) in failures {
            println!("{count} times: {failure}: {}", path.display());
        }
        if failures.is_empty() { Ok(()) } else { Err(format!("{} failures", failures.len())) }
    }
}

/// Where a job keeps the script that it is at.
fn current(job: usize) -> PathBuf {
    Path::new(OUTPUT).join(format!("current-{job}.bt"))
}

/// One thread: scripts, until told to stop.
fn work(job: usize, scripts: &Scripts, mut random: Random, watch: &Watch) {
    let world = World::new();
    while !watch.stop.load(Ordering::Relaxed) {
        let text = scripts.next(&mut random);
        let path = current(job);
        // Only for whoever looks into a crash.
        let _ = fs::write(&path, &text);
        let start = Instant::now();
        watch.started[job].store(watch.now(), Ordering::Relaxed);
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| examine(&text, &world)));
        let Ok(mut tally) = watch.tally.lock() else { return };
        tally.scripts += 1;
        tally.slowest = tally.slowest.max(start.elapsed());
        let failure = match outcome {
            Ok(Ok(seen)) => {
                tally.parsed += u64::from(seen.parsed);
                tally.compiled += u64::from(seen.compiled);
                tally.diagnostics += seen.diagnostics;
                continue;
            }
            Ok(Err(failure)) => failure,
            Err(_) => PANIC.with_borrow(|panic| format!("panic at {panic}")),
        };
        let next = Path::new(OUTPUT).join(format!("failure-{}.bt", tally.failures.len()));
        let entry = tally.failures.entry(failure).or_insert_with(|| {
            let _ = fs::write(&next, &text);
            (0, next)
        });
        entry.0 += 1;
    }
}

thread_local! {
    /// Where this thread's last panic was.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps panics' places instead of printing them.
fn record_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, ToString::to_string);
        PANIC.set(place);
    }));
}

/// What became of a script.
struct Seen {
    parsed: bool,
    compiled: bool,
    diagnostics: u64,
}

/// Puts a script through everything; an error says what does not hold.
fn examine(text: &str, world: &World) -> Result<Seen, String> {
    let source = Source::new("stdin", text);
    let (program, diagnostics) = parse(&source);
    check_places(&source, &diagnostics)?;
    let mut seen = Seen {
        parsed: diagnostics.is_empty(),
        compiled: false,
        diagnostics: diagnostics.len() as u64,
    };
    if !seen.parsed {
        return Ok(seen);
    }
    let printed = print(&program);
    let (again, _) = parse(&Source::new("printed", printed));
    if dump(&again, false) != dump(&program, false) {
        return Err("what is printed does not parse to the same tree".into());
    }
    let env = Env { catalog: world, binaries: world, features: &world.features };
    let options = Options { params: vec!["7".into(), "word".into()], ..Options::default() };
    match compile(&source, &env, &options) {
        Ok(compilation) => {
            seen.compiled = true;
            check_places(&source, &compilation.warnings)?;
        }
        Err(diagnostics) if diagnostics.is_empty() => {
            return Err("a script is refused without a reason".into());
        }
        Err(diagnostics) => {
            seen.diagnostics += diagnostics.len() as u64;
            check_places(&source, &diagnostics)?;
        }
    }
    Ok(seen)
}

/// Every message must name a place in the script, and there must be a way to show it.
fn check_places(source: &Source, diagnostics: &[Diagnostic]) -> Result<(), String> {
    for diagnostic in diagnostics {
        let related = diagnostic.related.iter().map(|(span, _)| span);
        for span in related.chain([&diagnostic.span]) {
            if source.text.get(span.start as usize..span.end as usize).is_none() {
                return Err(format!("`{}` has a place outside", diagnostic.message));
            }
        }
    }
    render(source, &diagnostics[..diagnostics.len().min(3)], false);
    Ok(())
}
